//! A site as the simulator knows it.

mod draft;
mod error;
mod load;
pub mod manifest;
mod tables;

use jiff::Timestamp;
use switchyard_api::{
    Eligibility, GPUPoolSpec, GpuClass, Hardware, MiningProfileSpec, ProfileRef, Use,
};

pub use draft::draft;
pub use error::SiteError;

use crate::series::Series;

/// A site: its nodes, its prices, its jobs, and the rules of the model.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// The start of the window.
    pub start: Timestamp,
    /// The length of the window, s.
    pub length: f64,
    /// The kinds of nodes.
    pub classes: Vec<Class>,
    /// The class of each node, in the order of `nodes.csv`.
    pub nodes: Vec<Node>,
    /// USD per kWh.
    pub power: Series,
    /// The day-ahead forecast of it, if there is one: see [`forecast`](crate::forecast).
    pub power_forecast: Option<Series>,
    /// What can be mined, in the order of the pool.
    pub profiles: Vec<Profile>,
    /// USD per GPU-hour.
    pub hpc: Series,
    /// The jobs in the order of their submission.
    pub jobs: Vec<Job>,
    /// The rules of the model.
    pub model: Model,
    /// The policy of the site's people.
    pub pool: GPUPoolSpec,
}

/// A way to mine.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name.
    pub name: ProfileRef,
    /// What its people declared.
    pub spec: MiningProfileSpec,
    /// The share of the income that arrives, 0 to 1: the haircut and the mining pool's fee taken off.
    pub arriving: f64,
    /// What the network pays, USD per H/s and day.
    pub income: Series,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its class, an index of [`Site::classes`].
    pub class: usize,
}

/// Nodes that are alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// The GPU model.
    pub model: String,
    /// GPUs of a node.
    pub gpus: u32,
    /// Hash rate of a GPU with each profile, H/s; none: the profile does not list the model.
    pub hashrate: Vec<Option<f64>>,
    /// A GPU that mines with each profile, W.
    pub mining_watts: Vec<f64>,
    /// A GPU that runs a job, W.
    pub hpc_watts: f64,
    /// A GPU without work, W.
    pub idle_watts: f64,
    /// The rest of the node, W.
    pub host_watts: f64,
    /// May it serve HPC?
    pub eligible: bool,
}

impl Class {
    /// Nodes of a GPU model as a pool describes it.
    pub fn of(
        model: &GpuClass,
        gpus: u32,
        eligibility: &Eligibility,
        profiles: &[Profile],
    ) -> Self {
        let hardware = |profile: &Profile| {
            profile.spec.hardware.iter().find(|hardware| hardware.model == model.model).cloned()
        };
        let hardware: Vec<Option<Hardware>> = profiles.iter().map(hardware).collect();
        Self {
            model: model.model.clone(),
            gpus,
            hashrate: hardware
                .iter()
                .map(|hardware| hardware.as_ref().map(|hardware| hardware.hashrate.per_second()))
                .collect(),
            mining_watts: hardware
                .iter()
                .map(|hardware| hardware.as_ref().map_or(0.0, |hardware| hardware.watts.into()))
                .collect(),
            hpc_watts: model.watts.hpc_per_gpu.into(),
            idle_watts: model.watts.idle_per_gpu.into(),
            host_watts: model.watts.host.into(),
            eligible: model.memory_gib >= eligibility.memory_gib
                && model.network_gbps >= eligibility.network_gbps,
        }
    }

    /// Can it mine with a profile?
    pub fn mines(&self, profile: usize) -> bool {
        self.hashrate.get(profile).copied().flatten().is_some()
    }
}

/// A customer's job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// When it is submitted, s since the start.
    pub submit: f64,
    /// How many GPUs it takes.
    pub gpus: u32,
    /// How long it runs, s. No policy but the clairvoyant one knows.
    pub duration: f64,
    /// What it pays by itself, USD per GPU-hour; none: the price when it starts.
    pub price: Option<f64>,
}

/// The rules of the model. See `docs/reference/simulator.md`.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Watts at the meter per watt of the nodes.
    pub pue: f64,
    /// Time between two decisions, s; and how late signals are seen.
    pub step: f64,
    /// How long a job waits before it is lost, s.
    pub patience: f64,
    /// How many waiting jobs the scheduler looks at.
    pub backfill: usize,
    /// Time that a node is in transit, s, by from and to.
    pub transit: Transit,
    /// On which node a job goes of those that have room.
    pub placement: Placement,
    /// Nodes that a job of more than this many GPUs takes whole.
    pub gpus_per_node: u32,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            pue: 1.10,
            step: 300.0,
            patience: 7200.0,
            backfill: 200,
            transit: Transit::default(),
            placement: Placement::LeastAllocated,
            gpus_per_node: 8,
        }
    }
}

/// Time in transit, s.
#[derive(Debug, Clone, PartialEq)]
pub struct Transit {
    /// Mining to HPC.
    pub mining_to_hpc: f64,
    /// HPC to Mining.
    pub hpc_to_mining: f64,
    /// Idle to Mining.
    pub idle_to_mining: f64,
    /// Mining to Idle.
    pub mining_to_idle: f64,
    /// Idle to HPC.
    pub idle_to_hpc: f64,
    /// HPC to Idle.
    pub hpc_to_idle: f64,
}

impl Default for Transit {
    fn default() -> Self {
        Self {
            mining_to_hpc: 60.0,
            hpc_to_mining: 120.0,
            idle_to_mining: 120.0,
            mining_to_idle: 10.0,
            idle_to_hpc: 60.0,
            hpc_to_idle: 10.0,
        }
    }
}

impl Transit {
    /// No time at all.
    pub const NONE: Self = Self {
        mining_to_hpc: 0.0,
        hpc_to_mining: 0.0,
        idle_to_mining: 0.0,
        mining_to_idle: 0.0,
        idle_to_hpc: 0.0,
        hpc_to_idle: 0.0,
    };

    /// The time from one use to another, s.
    pub fn seconds(&self, from: Use, to: Use) -> f64 {
        match (from, to) {
            (Use::Mining, Use::Hpc) => self.mining_to_hpc,
            (Use::Hpc, Use::Mining) => self.hpc_to_mining,
            (Use::Idle | Use::Mining, Use::Mining) => self.idle_to_mining,
            (Use::Mining, Use::Idle) => self.mining_to_idle,
            (Use::Idle, Use::Hpc) => self.idle_to_hpc,
            (Use::Hpc, Use::Idle) => self.hpc_to_idle,
            (Use::Hpc, Use::Hpc) | (Use::Idle, Use::Idle) => 0.0,
        }
    }
}

/// On which node a job goes of those that have room; ties in the order of the nodes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::EnumString, strum::EnumIter,
)]
#[strum(serialize_all = "camelCase")]
pub enum Placement {
    /// The emptiest, kube-scheduler's default.
    LeastAllocated,
    /// The fullest.
    MostAllocated,
}
