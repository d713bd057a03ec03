//! Waiting work, and what is to be done for it.

use std::collections::{BTreeMap, BTreeSet};

use switchyard_api::Reason;

use crate::{
    quantity::UsdPerHour,
    snapshot::{PodFacts, Work},
    survey::NodeId,
};

/// What is to be done for the waiting work.
#[derive(Debug)]
pub struct Demand<'a> {
    /// Every piece of waiting work, best payer first.
    pub gangs: Vec<Gang<'a>>,
    /// The nodes to open, and for which work.
    pub openings: BTreeMap<NodeId, Opening>,
    /// Open nodes that waiting work is expected to go to.
    pub reserved: BTreeSet<NodeId>,
    /// By pool, W at the meter that are to be made free below its cap for work that has no nodes yet.
    pub wanted: BTreeMap<usize, u64>,
}

/// Waiting work, and what becomes of it.
#[derive(Debug)]
pub struct Gang<'a> {
    /// The work.
    pub work: &'a Work,
    /// Those of its pods that wait; the largest first.
    pub pods: Vec<&'a PodFacts>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of waiting work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// `FitsNow`, `NodesComing`, `DemandPays`, or why it gets no node.
    pub reason: Reason,
    /// What it pays beyond its power, USD per hour, where that decided.
    pub pays: Option<UsdPerHour>,
    /// What the nodes that it needs could earn otherwise, where that decided.
    pub displaces: Option<UsdPerHour>,
}

impl Verdict {
    pub(crate) fn of(reason: Reason) -> Self {
        Self { reason, pays: None, displaces: None }
    }
}

/// A node that is opened for waiting work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// Indexes of [`Demand::gangs`], in their order.
    pub gangs: Vec<usize>,
    /// What its jobs will pay, USD per hour.
    pub revenue: UsdPerHour,
    /// The GPUs they will hold.
    pub busy: u32,
}
