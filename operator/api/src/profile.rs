use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{Decimal, HashRate};

/// A coin and algorithm, the miner's pods, and what a GPU of each model yields and draws.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchyard.dev",
    version = "v1alpha1",
    kind = "MiningProfile",
    plural = "miningprofiles",
    shortname = "miner",
    category = "switchyard",
    namespaced,
    status = "MiningProfileStatus",
    derive = "PartialEq",
    doc = "A coin and algorithm, the miner's pods, and what a GPU of each model yields and draws.",
    printcolumn(name = "Coin", type_ = "string", json_path = ".spec.coin"),
    printcolumn(name = "Algorithm", type_ = "string", json_path = ".spec.algorithm"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes"),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.runningMiners"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.template) != has(self.podSelector)")
    .message("give either a template, from which the operator runs the miners, or a podSelector for miners that you run yourself"))]
pub struct MiningProfileSpec {
    /// The coin, for people: `ETC`.
    #[schemars(length(min = 1, max = 32))]
    pub coin: String,
    /// The algorithm, for people: `etchash`.
    #[schemars(length(min = 1, max = 64))]
    pub algorithm: String,
    /// What the pool that is mined with keeps, percent.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "double(self) >= 0.0 && double(self) <= 100.0",
        "message": "poolFeePercent is what the mining pool keeps: give a decimal from \"0\" to \"100\"",
    }]))]
    pub pool_fee_percent: Decimal,
    /// What the network pays for hash rate.
    pub income: Income,
    /// Yield and draw per GPU model. A model that is not listed does not mine with this profile.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["model".into()]))]
    pub hardware: Vec<Hardware>,
    /// The miner's pod. The operator runs it as one DaemonSet per pool and number of GPUs in this
    /// namespace, and fills in the GPU limit (of the container named `miner`, else of the first), the
    /// node selector, the toleration, the priority class and the settings of the restricted Pod
    /// Security Standard where they are left open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplate>,
    /// Selects, in this namespace, the miners that you run yourself. They must keep to nodes with the
    /// label `switchyard.dev/use=mining` and tolerate the taint of the same key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)")
        .message("an empty podSelector would make every pod of the namespace a miner, and miners are evicted: name at least one label"))]
    pub pod_selector: Option<LabelSelector>,
}

impl MiningProfileSpec {
    /// The share of the announced income that arrives, 0 to 1: the haircut and the pool's fee taken off.
    pub fn arriving(&self) -> f64 {
        let left = |percent: Decimal| (1.0 - percent.value() / 100.0).clamp(0.0, 1.0);
        left(self.income.haircut_percent) * left(self.pool_fee_percent)
    }
}

/// What the network pays for hash rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Income {
    /// Name of a `ProfitabilitySignal` in a unit of mining income, such as `USDPerMHsDay`.
    #[schemars(length(min = 1, max = 253))]
    pub signal: String,
    /// What is not believed of the signal, percent. Calculators know no stale shares, no orphaned blocks
    /// and no bad luck: `"10"` where payouts have been a tenth below what was announced.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "double(self) >= 0.0 && double(self) <= 100.0",
        "message": "haircutPercent is what is not believed of the signal: give a decimal from \"0\" to \"100\"",
    }]))]
    pub haircut_percent: Decimal,
}

/// What one GPU of a model yields and draws with this profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hardware {
    /// The value of the pool's `gpu.modelLabel`.
    #[schemars(length(min = 1, max = 63))]
    pub model: String,
    /// Hash rate of one GPU, H/s: `120M`.
    pub hashrate: HashRate,
    /// Power that one mining GPU draws, W.
    #[schemars(range(min = 0, max = 100_000))]
    pub watts: u32,
}

/// A pod template as it was written. It is handed on unread, and the API server judges it when the
/// DaemonSet is applied: an unknown field is an error there and not silently dropped here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodTemplate(pub serde_json::Map<String, serde_json::Value>);

impl JsonSchema for PodTemplate {
    fn schema_name() -> Cow<'static, str> {
        "PodTemplate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {
                "metadata": {
                    "type": "object",
                    "description": "Labels and annotations of the miner's pods.",
                    "x-kubernetes-preserve-unknown-fields": true,
                },
                "spec": {
                    "type": "object",
                    "description": "A PodSpec.",
                    "x-kubernetes-preserve-unknown-fields": true,
                },
            },
            "required": ["spec"],
        })
    }
}

/// What the operator knows of a profile.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MiningProfileStatus {
    /// The generation of the spec that this status is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// `Ready`: are its miners accepted by the API server?
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Nodes that mine with it.
    #[serde(default)]
    pub nodes: u32,
    /// Of its miners, those that run.
    #[serde(default)]
    pub running_miners: u32,
}
