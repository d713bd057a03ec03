//! Gates by name, and what a closed one says.

use jiff::Timestamp;
use switchyard_api::Reason;

/// A gate by name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::Display, strum::EnumIter,
)]
pub enum Gate {
    /// No person holds the pool, or all of them.
    Hold,
    /// The pool is about as large as it is believed to be.
    PoolSize,
    /// The DaemonSets that the nodes need tolerate the taint.
    SystemPods,
    /// Nobody put `skip` on the node.
    Skip,
    /// No person pinned the node to another use.
    Pin,
    /// The node is not cordoned.
    Cordon,
    /// The node is Ready, advertises GPUs, and its model is known.
    Usable,
    /// The class may serve HPC.
    Eligible,
    /// A window is open for the cause.
    Window,
    /// The signals that the move rests on are trusted.
    Signals,
    /// The node has been long enough in its use.
    Dwell,
    /// As much was missed as the switch and the way back cost.
    Payback,
    /// Prices have not moved too many nodes back and forth.
    Breaker,
    /// Not too many nodes are on the move, and floors and ceilings are kept.
    Budget,
}

/// A closed gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Which.
    pub gate: Gate,
    /// Why.
    pub reason: Reason,
    /// When it opens by itself, if it does.
    pub until: Option<Timestamp>,
}

impl Block {
    /// A gate that stays closed until somebody does something.
    pub fn closed(gate: Gate, reason: Reason) -> Self {
        Self { gate, reason, until: None }
    }
}
