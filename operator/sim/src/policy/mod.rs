//! Policies: what may be decided, and on what.

mod baselines;
pub mod rooms;
mod switchyard;

use switchyard_api::Use;

pub use baselines::*;
pub use switchyard::Switchyard;

use crate::{
    engine::{Activity, NodeState, Running},
    site::Site,
};

/// What a policy may know at a moment.
pub struct View<'v> {
    /// The site: its nodes, the model. Its signals' future is not for looking at; see [`View::seen`].
    pub site: &'v Site,
    /// The time, s since the start.
    pub now: f64,
    /// Every node.
    pub nodes: &'v [NodeState],
    /// The jobs that wait, in the order of their submission. How long they run nobody knows.
    pub waiting: &'v [usize],
    /// The jobs that run.
    pub running: &'v [Running],
}

/// Prices as they are seen: one step after they were true.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// USD per kWh.
    pub power: f64,
    /// USD per H/s and day by profile.
    pub income: Vec<f64>,
    /// USD per GPU-hour.
    pub hpc: f64,
}

impl View<'_> {
    /// The prices that can be known now.
    pub fn seen(&self) -> Seen {
        seen(self.site, self.now)
    }
}

/// The prices that can be known at a time.
pub fn seen(site: &Site, now: f64) -> Seen {
    let known = now - site.model.step;
    Seen {
        power: site.power.at(known),
        income: site.profiles.iter().map(|profile| profile.income.at(known)).collect(),
        hpc: site.hpc.at(known),
    }
}

/// A node that is to do something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Its index.
    pub node: usize,
    /// What it is to do.
    pub to: Activity,
}

/// What a policy decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// Nodes that are to do something else.
    pub moves: Vec<Move>,
    /// Waiting jobs that are sent away.
    pub refuse: Vec<usize>,
    /// Nodes in use HPC that are to take no new jobs any more, or again.
    pub doors: Vec<(usize, Door)>,
}

/// Whether a node in use HPC takes new jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// It does.
    Open,
    /// It does not.
    Shut,
}

/// A policy.
pub trait Policy {
    /// Its name in reports.
    fn name(&self) -> &str;

    /// What each node does at the start. By default it mines.
    fn start(&self, site: &Site) -> Vec<Activity> {
        site.nodes.iter().map(|node| Activity::mining(&site.classes[node.class])).collect()
    }

    /// What is to be done now. It is asked at every step and whenever a job comes.
    fn decide(&mut self, view: &View<'_>) -> Decision;
}

/// What a node of a class is worth by prices, USD per hour, power paid.
#[derive(Debug, Clone, PartialEq)]
pub struct Worth {
    /// Mining with each profile; none: it does not list the class.
    pub profiles: Vec<Option<f64>>,
    /// Mining with the best profile, and which that is; none lists the class: none.
    pub mining: Option<(usize, f64)>,
    /// Doing nothing.
    pub idle: f64,
    /// What the power of one busy GPU costs beyond an idle one's.
    pub gpu_power: f64,
}

impl Worth {
    /// By the prices that are seen.
    pub fn of(site: &Site, class: usize, seen: &Seen) -> Self {
        let facts = &site.classes[class];
        let gpus = f64::from(facts.gpus);
        let cost = |watts: f64| watts / 1000.0 * site.model.pue * seen.power;
        let idle = -cost(facts.host_watts + gpus * facts.idle_watts);
        let profiles = facts.hashrate.iter().enumerate().map(|(profile, rate)| {
            let arriving = site.profiles[profile].arriving;
            let earned = (*rate)? * gpus * seen.income[profile] / 24.0 * arriving;
            Some(earned - cost(facts.host_watts + gpus * facts.mining_watts[profile]))
        });
        let profiles: Vec<_> = profiles.collect();
        let known =
            profiles.iter().enumerate().filter_map(|(index, value)| Some((index, (*value)?)));
        Self {
            mining: known.reduce(|best, other| if other.1 > best.1 { other } else { best }),
            profiles,
            idle,
            gpu_power: cost(facts.hpc_watts - facts.idle_watts),
        }
    }

    /// The better of mining and doing nothing, and its value.
    pub fn without_jobs(&self) -> (Activity, f64) {
        match self.mining {
            Some((profile, value)) if value > self.idle => (Activity::Mining(profile), value),
            _ => (Activity::Idle, self.idle),
        }
    }
}

/// The use of what a node does.
pub fn node_use(node: &NodeState) -> Use {
    crate::engine::use_of(node.activity)
}
