use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Breaker, BreakerStatus, Budget, Decimal, NodeCount, Period, Reason, Window,
    limits::default_budgets,
};

/// What a node is for at the moment.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
pub enum Use {
    /// Mining pods run, customers' pods are kept away by the taint.
    Mining,
    /// Open to HPC and AI jobs.
    #[serde(rename = "HPC")]
    #[strum(serialize = "HPC")]
    Hpc,
    /// Curtailed: neither mining nor HPC would pay for its power.
    Idle,
}

/// A set of GPU nodes, what they may be used for, and the rules of shifting them.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchyard.dev",
    version = "v1alpha1",
    kind = "GPUPool",
    plural = "gpupools",
    shortname = "gpool",
    category = "switchyard",
    status = "GPUPoolStatus",
    derive = "PartialEq",
    doc = "A set of GPU nodes, what they may be used for, and the rules of shifting them between mining and HPC.",
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("metadata.name is used as a label value on nodes: choose one of at most 63 characters"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.shifting.mode"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes.total"),
    printcolumn(name = "Mining", type_ = "integer", json_path = ".status.nodes.mining"),
    printcolumn(name = "HPC", type_ = "integer", json_path = ".status.nodes.hpc"),
    printcolumn(name = "Idle", type_ = "integer", json_path = ".status.nodes.idle"),
    printcolumn(name = "Shifting", type_ = "integer", json_path = ".status.nodes.shifting"),
    printcolumn(name = "USD/h", type_ = "string", json_path = ".status.value.totalUSDPerHour"),
    printcolumn(name = "Why", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct GPUPoolSpec {
    /// The nodes of the pool, by their labels. A node that two pools select is touched by neither,
    /// and control-plane nodes never belong to a pool.
    #[x_kube(validation = Rule::new("(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)")
        .message("an empty selector would take every node: name at least one label in matchLabels or matchExpressions"))]
    pub node_selector: LabelSelector,
    /// How GPUs are counted and told apart.
    #[serde(default)]
    pub gpu: GpuResource,
    /// Facts per GPU model that node labels do not carry. A node whose model is not listed here is
    /// reported and left alone.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["model".into()]))]
    pub classes: Vec<GpuClass>,
    /// What electricity costs.
    pub power: Power,
    /// What the nodes mine.
    #[serde(default)]
    pub mining: Mining,
    /// What customers' jobs pay, and which nodes may serve them.
    pub hpc: Hpc,
    /// When and how fast nodes are moved.
    #[serde(default)]
    pub shifting: Shifting,
}

/// How GPUs are counted and told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GpuResource {
    /// The extended resource that a GPU pod asks for.
    #[serde(default = "default_resource_name")]
    #[schemars(length(min = 1, max = 253))]
    pub resource_name: String,
    /// The node label that names the GPU model.
    #[serde(default = "default_model_label")]
    #[schemars(length(min = 1, max = 316))]
    pub model_label: String,
}

fn default_resource_name() -> String {
    "nvidia.com/gpu".into()
}

fn default_model_label() -> String {
    "nvidia.com/gpu.product".into()
}

impl Default for GpuResource {
    fn default() -> Self {
        Self { resource_name: default_resource_name(), model_label: default_model_label() }
    }
}

/// Facts about the nodes of one GPU model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GpuClass {
    /// The value of `gpu.modelLabel` on the nodes of this class.
    #[schemars(length(min = 1, max = 63))]
    pub model: String,
    /// Memory of one GPU, GiB.
    #[serde(rename = "memoryGiB")]
    #[schemars(range(min = 1, max = 65_536))]
    pub memory_gib: u32,
    /// Network of the node, Gbit/s.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub network_gbps: u32,
    /// Power drawn by such a node.
    pub watts: ClassWatts,
}

/// Power drawn by a node, outside mining (a profile says what mining draws).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClassWatts {
    /// One GPU that runs a customer's job, W.
    #[serde(rename = "hpcPerGPU")]
    #[schemars(range(min = 0, max = 100_000))]
    pub hpc_per_gpu: u32,
    /// One GPU without work, W.
    #[serde(rename = "idlePerGPU")]
    #[schemars(range(min = 0, max = 100_000))]
    pub idle_per_gpu: u32,
    /// The rest of the node: board, CPU, fans, W.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub host: u32,
}

/// What electricity costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Power {
    /// The price of a kilowatt-hour.
    pub price: PowerPrice,
    /// Power usage effectiveness: watts at the meter per watt of the nodes; at least 1.
    #[serde(default = "default_pue")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "double(self) >= 1.0 && double(self) <= 10.0",
        "message": "pue is watts at the meter per watt of the nodes: give a decimal from \"1\" to \"10\", such as \"1.10\"",
    }]))]
    pub pue: Decimal,
    /// The most that all nodes together may draw at the meter (their watts times `pue`), kW. While it
    /// binds, mining that earns least for its watts idles first, and jobs are only served within it.
    /// Jobs that run are never stopped for it.
    #[serde(default, rename = "capKW", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "double(self) >= 0.0",
        "message": "capKW is the most that the pool may draw at the meter, in kilowatts: give a decimal such as \"1800\", or leave it out",
    }]))]
    pub cap_kw: Option<Decimal>,
}

fn default_pue() -> Decimal {
    Decimal::new(1.0).unwrap_or_else(|| unreachable!("one is finite"))
}

/// The price of a kilowatt-hour: a signal, or a constant.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.signal) != has(self.usdPerKWh)")
    .message("give power.price either a signal or usdPerKWh"))]
pub struct PowerPrice {
    /// Name of a `ProfitabilitySignal` in a unit of energy price, such as `USDPerKWh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub signal: Option<String>,
    /// A constant price, USD per kWh.
    #[serde(default, rename = "usdPerKWh", skip_serializing_if = "Option::is_none")]
    pub usd_per_kwh: Option<Decimal>,
}

/// What the nodes mine.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mining {
    /// The profiles to choose from; the best paying one per GPU model is used. None: the pool never mines.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into(), "name".into()]))]
    pub profiles: Vec<ProfileRef>,
    /// How many nodes may mine.
    #[serde(default)]
    pub nodes: NodeRange,
}

/// A `MiningProfile` by name.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct ProfileRef {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl std::fmt::Display for ProfileRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How many nodes at least and at most; what fits the economics in between is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeRange {
    /// At least so many.
    #[serde(default = "none")]
    pub min: NodeCount,
    /// At most so many.
    #[serde(default = "all")]
    pub max: NodeCount,
}

fn none() -> NodeCount {
    NodeCount::Count(0)
}

fn all() -> NodeCount {
    NodeCount::Percent(100)
}

impl Default for NodeRange {
    fn default() -> Self {
        Self { min: none(), max: all() }
    }
}

/// What customers' jobs pay, and which nodes may serve them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hpc {
    /// What a GPU-hour is sold for.
    pub price: HpcPrice,
    /// How many nodes may serve HPC; `min` keeps a warm standby.
    #[serde(default)]
    pub nodes: NodeRange,
    /// What a node must have to serve HPC at all.
    #[serde(default)]
    pub eligibility: Eligibility,
    /// How long an HPC node must have been without a job before it is taken back;
    /// `shifting.patience` may keep it warm for longer.
    #[serde(default = "default_idle_after")]
    pub idle_after: Period,
    /// How jobs are spread over the nodes that are open to them.
    #[serde(default)]
    pub packing: Packing,
    /// What becomes of new jobs while the price of a GPU-hour is below what its power costs.
    #[serde(default)]
    pub below_cost: BelowCost,
}

/// What becomes of new jobs while the price of a GPU-hour is below what its power costs. Jobs that
/// run go on either way.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum BelowCost {
    /// They wait: open nodes are closed to them by the taint `switchyard.dev/use=closed`.
    #[default]
    Wait,
    /// They are served where nodes are open.
    Serve,
}

/// How jobs are spread over the nodes that are open to them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum Packing {
    /// Of the nodes with room only the fullest takes new jobs (more of them with `hpc.nodes.min`), the
    /// others when waiting work fits nowhere else: meanwhile they have the taint
    /// `switchyard.dev/use=closed`. So whole nodes stay free for work that needs them.
    #[default]
    Tight,
    /// As the scheduler likes; kube-scheduler by default prefers the emptiest node.
    Scheduler,
}

fn default_idle_after() -> Period {
    Period::from_secs(60)
}

/// What a GPU-hour is sold for: a signal or a constant, and which tenants may name their own price.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.signal) != has(self.usdPerGPUHour)")
    .message("give hpc.price either a signal or usdPerGPUHour"))]
pub struct HpcPrice {
    /// Name of a `ProfitabilitySignal` in the unit `USDPerGPUHour`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub signal: Option<String>,
    /// A constant price, USD per GPU-hour.
    #[serde(default, rename = "usdPerGPUHour", skip_serializing_if = "Option::is_none")]
    pub usd_per_gpu_hour: Option<Decimal>,
    /// Lets pods of some namespaces name their own price by the annotation
    /// `switchyard.dev/usd-per-gpu-hour`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_annotation: Option<PodAnnotationPrice>,
}

/// Which pods may name their own price, and up to where it is believed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodAnnotationPrice {
    /// Namespaces whose pods may.
    #[schemars(length(min = 1, max = 64))]
    pub namespaces: Vec<String>,
    /// A higher price is read as this one, USD per GPU-hour.
    #[serde(rename = "maxUSDPerGPUHour")]
    pub max_usd_per_gpu_hour: Decimal,
}

/// What a node must have to serve HPC. Most mining GPUs cannot: those never shift to it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Eligibility {
    /// Least memory of a GPU, GiB.
    #[serde(default, rename = "memoryGiB")]
    #[schemars(range(min = 0, max = 65_536))]
    pub memory_gib: u32,
    /// Least network of the node, Gbit/s.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub network_gbps: u32,
}

/// When and how fast nodes are moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shifting {
    /// Whether decisions are carried out.
    #[serde(default)]
    pub mode: Mode,
    /// How long a node stays in a use before a price may move it on. Demand is not held up by it.
    #[serde(default)]
    pub min_dwell: MinDwell,
    /// How patient a price must be: a node moves when what it has missed by staying comes to so many
    /// times what the switch and the way back cost. At `"0"` it moves at once. Demand is not held up.
    #[serde(default = "default_patience")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "double(self) >= 0.0 && double(self) <= 1000.0",
        "message": "patience is a multiple of what a switch costs: give a decimal from \"0\" to \"1000\", such as \"2\"",
    }]))]
    pub patience: Decimal,
    /// What each switch wears off a node, USD, beyond the time that it takes: `"0.05"` where hot and cold
    /// GPUs, fans and disks are known to fail the sooner. A price and a job have to pay for it, too.
    #[serde(default, rename = "wearUSD")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "double(self) >= 0.0 && double(self) <= 1000.0",
        "message": "wearUSD is what a switch wears off a node: give a decimal from \"0\" to \"1000\", such as \"0.05\"",
    }]))]
    pub wear_usd: Decimal,
    /// How many nodes may be on the move at once; the least of those that apply counts.
    #[serde(default = "default_budgets")]
    #[schemars(length(max = 16))]
    pub budgets: Vec<Budget>,
    /// When nodes may be moved: moves for a cause that any window names begin only while one of the
    /// windows that name it is open. None: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<Window>,
    /// When prices that go up and down have moved too many nodes back and forth.
    #[serde(default)]
    pub breaker: Breaker,
    /// How long a node may take to be emptied before its shift is rolled back.
    #[serde(default)]
    pub drain_timeout: DrainTimeout,
    /// DaemonSets (`namespace/name`) that may lose their pods on tainted nodes. Others that match the
    /// pool's nodes without tolerating the taint stop all shifting until they do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub accept_intolerant_daemon_sets: Vec<String>,
}

impl Default for Shifting {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            min_dwell: MinDwell::default(),
            patience: default_patience(),
            wear_usd: Decimal::default(),
            budgets: default_budgets(),
            windows: Vec::new(),
            breaker: Breaker::default(),
            drain_timeout: DrainTimeout::default(),
            accept_intolerant_daemon_sets: Vec::new(),
        }
    }
}

fn default_patience() -> Decimal {
    Decimal::new(2.0).unwrap_or_else(|| unreachable!("two is finite"))
}

/// Whether decisions are carried out.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum Mode {
    /// Decides and reports, touches nothing.
    #[default]
    DryRun,
    /// Decides and acts.
    Active,
    /// Finishes running shifts and starts none.
    Hold,
}

/// How long a node stays in a use before a price may move it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MinDwell {
    /// In use Mining.
    #[serde(default = "default_mining_dwell")]
    pub mining: Period,
    /// In use HPC. `hpc.idleAfter` guards against moves that come too soon.
    #[serde(default = "default_hpc_dwell")]
    pub hpc: Period,
    /// In use Idle.
    #[serde(default = "default_idle_dwell")]
    pub idle: Period,
}

fn default_mining_dwell() -> Period {
    Period::from_secs(600)
}

fn default_hpc_dwell() -> Period {
    Period::from_secs(60)
}

fn default_idle_dwell() -> Period {
    Period::from_secs(300)
}

impl Default for MinDwell {
    fn default() -> Self {
        Self {
            mining: default_mining_dwell(),
            hpc: default_hpc_dwell(),
            idle: default_idle_dwell(),
        }
    }
}

impl MinDwell {
    /// The dwell of a use.
    pub fn of(&self, node_use: Use) -> Period {
        match node_use {
            Use::Mining => self.mining,
            Use::Hpc => self.hpc,
            Use::Idle => self.idle,
        }
    }
}

/// Why a node is moved.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
pub enum Cause {
    /// A customer's job waits for it.
    Demand,
    /// Another use earns more.
    Price,
    /// The pool's own floors and ceilings ask for it.
    Rebalance,
}

impl Cause {
    /// Is it for money? Demand is never held up by what only guards against chasing prices.
    pub fn is_for_money(self) -> bool {
        match self {
            Self::Price | Self::Rebalance => true,
            Self::Demand => false,
        }
    }
}

/// How long a node may take to be emptied before its shift is rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainTimeout {
    /// Of miners.
    #[serde(default = "default_mining_drain")]
    pub mining: Period,
    /// Of a node that leaves HPC.
    #[serde(default = "default_hpc_drain")]
    pub hpc: Period,
}

fn default_mining_drain() -> Period {
    Period::from_secs(60)
}

fn default_hpc_drain() -> Period {
    Period::from_secs(1800)
}

impl Default for DrainTimeout {
    fn default() -> Self {
        Self { mining: default_mining_drain(), hpc: default_hpc_drain() }
    }
}

/// What the operator knows of a pool. Bounded: counts, never a list of nodes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GPUPoolStatus {
    /// The generation of the spec that this status is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// `Ready`, `NodesUsable`, `SignalsTrusted`, `SystemPodsTolerate`, `Shifting`, `BudgetAvailable`,
    /// `BreakerClosed`.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Nodes by use.
    #[serde(default)]
    pub nodes: NodeTotals,
    /// The size of the pool that is believed. Shifting stops when less than half of it is seen,
    /// until the nodes are back or a person confirms by the annotation `switchyard.dev/confirm-size`.
    #[serde(default)]
    pub believed_size: u32,
    /// GPUs by what they do.
    #[serde(default)]
    pub gpus: GpuTotals,
    /// Nodes by GPU model and use.
    #[serde(default)]
    pub classes: Vec<ClassTotals>,
    /// What the pool earns at present.
    #[serde(default)]
    pub value: ValueTotals,
    /// How many more nodes a price may move at present.
    #[serde(default)]
    pub allowed_disruptions: u32,
    /// How long switches take, as measured; the operator's memory across restarts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9))]
    pub switches: Vec<LearnedSwitch>,
    /// What is to be remembered of `spec.shifting.breaker`.
    #[serde(default)]
    pub breaker: BreakerStatus,
    /// The last decision that differed from the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<LastDecision>,
}

/// How long a switch takes: an average that one slow node does not spoil.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LearnedSwitch {
    /// The use that the node leaves.
    pub from: Use,
    /// The use that it gets.
    pub to: Use,
    /// From the first write to the end, s.
    pub seconds: u32,
}

/// Nodes by use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct NodeTotals {
    /// All nodes that the pool selects and may touch.
    pub total: u32,
    /// In use Mining.
    pub mining: u32,
    /// In use HPC. `hpc.idleAfter` guards against moves that come too soon.
    pub hpc: u32,
    /// In use Idle.
    pub idle: u32,
    /// Of all these, on the move.
    pub shifting: u32,
}

/// GPUs by what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GpuTotals {
    /// All GPUs of the pool.
    pub total: u32,
    /// Held by miners.
    pub mining: u32,
    /// Held by customers' jobs.
    pub hpc_busy: u32,
    /// Open to customers' jobs, without one.
    pub hpc_free: u32,
}

/// Nodes of one GPU model by use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassTotals {
    /// The GPU model.
    pub model: String,
    /// May its nodes serve HPC?
    pub hpc_eligible: bool,
    /// In use Mining.
    pub mining: u32,
    /// In use HPC. `hpc.idleAfter` guards against moves that come too soon.
    pub hpc: u32,
    /// In use Idle.
    pub idle: u32,
}

/// What the pool earns at present, USD per hour, power paid.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ValueTotals {
    /// Of mining nodes.
    #[serde(default, rename = "miningUSDPerHour", skip_serializing_if = "Option::is_none")]
    pub mining: Option<Decimal>,
    /// Of HPC nodes.
    #[serde(default, rename = "hpcUSDPerHour", skip_serializing_if = "Option::is_none")]
    pub hpc: Option<Decimal>,
    /// Of idle nodes: what their power costs.
    #[serde(default, rename = "idleUSDPerHour", skip_serializing_if = "Option::is_none")]
    pub idle: Option<Decimal>,
    /// The sum, where every part is known.
    #[serde(default, rename = "totalUSDPerHour", skip_serializing_if = "Option::is_none")]
    pub total: Option<Decimal>,
    /// Power drawn by the nodes, without PUE, W.
    #[serde(default)]
    pub watts: u64,
}

/// What was decided last, and how many nodes stay where they are for which reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastDecision {
    /// When it was first taken.
    #[schemars(with = "Time")]
    pub time: Timestamp,
    /// Nodes that it moves.
    pub moves: u32,
    /// Nodes by the reason why they move or stay.
    #[schemars(length(max = 128))]
    pub reasons: Vec<ReasonCount>,
}

/// So many nodes for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReasonCount {
    /// The reason.
    pub reason: Reason,
    /// How many nodes.
    pub nodes: u32,
}
