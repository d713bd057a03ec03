//! The facts of one moment: everything a decision may rest on, and nothing else.
//!
//! The controller gathers it from its caches, the simulator from its model. Strings are shared, so
//! that a snapshot of a large site is cheap to take.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NodeSelectorTerm, Taint, Toleration};
use switchyard_api::{
    BreakerStatus, GPUPoolSpec, LearnedSwitch, MiningProfileSpec, NodeShiftSpec, NodeShiftStatus,
    ProfileRef, Selector, Use, keys,
};

use crate::{
    experience::Experience,
    forecast::Forecast,
    people::{Hold, Pin, PinError},
    quantity::{Measure, UsdPerGpuHour},
};
pub use crate::{
    labels::{Labels, Strings},
    resources::{Extended, Resources},
};

/// Everything that is known at `now`.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The time of the facts; nothing in this crate reads a clock.
    pub now: Timestamp,
    /// The pools, in the order of their names.
    pub pools: Vec<PoolFacts>,
    /// Pools that exist but cannot be read: what is marked as theirs is left as it is.
    pub unreadable_pools: BTreeSet<Arc<str>>,
    /// The profiles that exist.
    pub profiles: BTreeMap<ProfileRef, ProfileFacts>,
    /// The signals that exist.
    pub signals: BTreeMap<String, Reading>,
    /// What is published of the future of signals.
    pub forecasts: BTreeMap<String, Arc<Forecast>>,
    /// Every node that a pool selects or that carries a mark of ours, in the order of their names.
    pub nodes: Vec<NodeFacts>,
    /// Every pod that is bound to one of the nodes and not finished, and every waiting GPU pod.
    pub pods: Vec<PodFacts>,
    /// The shifts that have not ended.
    pub shifts: Vec<ShiftFacts>,
    /// Shifts for a price that ended so lately that their pool's breaker looks at them.
    pub history: Vec<ShiftFacts>,
    /// What a person says about all pools.
    pub hold: Option<Hold>,
    /// The DaemonSets of the cluster.
    pub daemon_sets: Vec<DaemonSetFacts>,
    /// What was learned before.
    pub experience: Arc<Experience>,
}

/// A pool as its people declared it.
#[derive(Debug, Clone)]
pub struct PoolFacts {
    /// Its name.
    pub name: Arc<str>,
    /// Its spec.
    pub spec: Arc<GPUPoolSpec>,
    /// `spec.nodeSelector`, read.
    pub selector: Selector,
    /// Is it being deleted?
    pub deleting: bool,
    /// What its status says was learned of the times of its switches.
    pub learned: Vec<LearnedSwitch>,
    /// How many nodes it is believed to have; zero: not yet known.
    pub believed_size: u32,
    /// How many nodes a person says it has.
    pub confirmed_size: Option<u32>,
    /// What is remembered of its breaker.
    pub breaker: BreakerStatus,
    /// By which a person asks for its breaker to be closed, if it is another value than before.
    pub reset_breaker: Option<Arc<str>>,
}

/// A profile as its people declared it.
#[derive(Debug, Clone)]
pub struct ProfileFacts {
    /// Its spec.
    pub spec: Arc<MiningProfileSpec>,
    /// `spec.podSelector`, read.
    pub pod_selector: Option<Selector>,
}

/// What is known of a signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// What it measures.
    pub measure: Measure,
    /// The last value that was trusted, in this crate's unit of the measure; none was ever read: none.
    pub value: Option<f64>,
    /// May a price-driven decision rest on it?
    pub trusted: bool,
}

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeFacts {
    /// Its name.
    pub name: Arc<str>,
    /// Its UID.
    pub uid: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// Its taints in their order, ours too.
    pub taints: Arc<[Taint]>,
    /// What the marks of ours on it say.
    pub marks: Marks,
    /// Did a person ask us to keep off it?
    pub skip: bool,
    /// The use that a person wants it to have, if that can be read.
    pub pin: Option<Result<Pin, PinError>>,
    /// Is it cordoned?
    pub cordoned: bool,
    /// Is it Ready?
    pub ready: bool,
    /// What pods may use of it.
    pub allocatable: Resources,
    /// Since when it has been seen without a customer's GPU pod.
    pub empty_since: Option<Timestamp>,
}

impl NodeFacts {
    /// Its taints but for ours.
    pub fn other_taints(&self) -> impl Iterator<Item = &Taint> {
        // Most nodes have no other, and then none need be looked at.
        let only_ours = self.taints.len() == usize::from(self.marks.taint.is_some());
        let taints = if only_ours { &[] } else { &*self.taints };
        taints.iter().filter(|taint| taint.key != keys::TAINT)
    }
}

/// The marks of ours on a node, as found: labels, annotations and the taint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// The pool.
    pub pool: Option<Arc<str>>,
    /// The use, by the label.
    pub node_use: Option<Use>,
    /// What the taint says; no taint: none.
    pub taint: Option<Barrier>,
    /// The profile's label value.
    pub profile: Option<Arc<str>>,
    /// The number of GPUs, by the label.
    pub gpus: Option<u32>,
    /// The shift that claims the node.
    pub claim: Option<Arc<str>>,
    /// Since when the node is in its use.
    pub since: Option<Timestamp>,
}

/// What keeps jobs off a node: the taint of ours, by its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Barrier {
    /// It mines.
    Mining,
    /// It idles.
    Idle,
    /// It serves HPC, but takes no new jobs for the moment.
    Closed,
}

impl Barrier {
    /// Every barrier.
    pub const ALL: [Self; 3] = [Self::Mining, Self::Idle, Self::Closed];

    /// The barrier of a use; an open HPC node has none.
    pub fn of(node_use: Use) -> Option<Self> {
        match node_use {
            Use::Mining => Some(Self::Mining),
            Use::Idle => Some(Self::Idle),
            Use::Hpc => None,
        }
    }

    /// The use of a node that has it.
    pub fn node_use(self) -> Use {
        match self {
            Self::Mining => Use::Mining,
            Self::Idle => Use::Idle,
            Self::Closed => Use::Hpc,
        }
    }

    /// The value of the taint.
    pub fn value(self) -> &'static str {
        match self {
            Self::Mining | Self::Idle => keys::use_value(self.node_use()),
            Self::Closed => keys::CLOSED,
        }
    }

    /// The barrier of a taint's value.
    pub fn parse(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.value() == value)
    }

    /// The taint.
    pub fn taint(self) -> Taint {
        Taint {
            key: keys::TAINT.into(),
            value: Some(self.value().into()),
            effect: keys::TAINT_EFFECT.into(),
            time_added: None,
        }
    }
}

impl Marks {
    /// Is there any mark at all?
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// A pod that is not finished.
#[derive(Debug, Clone, PartialEq)]
pub struct PodFacts {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its UID.
    pub uid: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// The node it is bound to; none: it waits.
    pub node: Option<Arc<str>>,
    /// Do its containers run?
    pub running: bool,
    /// Is it being deleted?
    pub terminating: bool,
    /// Is it held back by a scheduling gate?
    pub gated: bool,
    /// What it asks for.
    pub requests: Resources,
    /// Where it may run.
    pub constraints: Arc<Constraints>,
    /// The UID of the object that controls it.
    pub owner: Option<Arc<str>>,
    /// The work that it is part of.
    pub work: Work,
    /// When it was created.
    pub created: Timestamp,
    /// The price that its annotation names.
    pub named_price: Option<UsdPerGpuHour>,
}

/// A piece of work: what must run together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work {
    /// `Job` or `Pod`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// How many pods must run together: 1 but for gangs.
    pub size: u32,
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Where a pod may run: node selector, required node affinity, tolerations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constraints {
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Terms of which a node must satisfy one; none: every node will do.
    pub affinity: Option<Vec<NodeSelectorTerm>>,
    /// Taints that it puts up with.
    pub tolerations: Vec<Toleration>,
}

/// A shift.
#[derive(Debug, Clone)]
pub struct ShiftFacts {
    /// Its name.
    pub name: Arc<str>,
    /// The order.
    pub spec: Arc<NodeShiftSpec>,
    /// When it was ordered.
    pub created: Timestamp,
    /// How far it has come.
    pub status: NodeShiftStatus,
}

/// A DaemonSet.
#[derive(Debug, Clone, PartialEq)]
pub struct DaemonSetFacts {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its UID.
    pub uid: Arc<str>,
    /// The profile it runs the miners of, if it is ours.
    pub profile: Option<ProfileRef>,
    /// Where its pods may run.
    pub constraints: Arc<Constraints>,
}

impl DaemonSetFacts {
    /// `namespace/name`, as pools accept it.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}
