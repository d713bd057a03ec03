use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use strum::EnumMessage;

/// Why something is as it is. The one list for conditions, Events, metrics and explanations.
///
/// PascalCase everywhere people read it, `snake_case` as a metric label ([`Reason::label`]).
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
    strum::Display,
    strum::EnumIter,
    strum::EnumMessage,
    strum::IntoStaticStr,
)]
pub enum Reason {
    // Why a node stays.
    /// It is in the best use already.
    BestUse,
    /// It is on the move.
    ShiftRunning,
    /// Jobs run on it, and a job is never hurt for a price.
    JobsRunning,
    /// It has not been without a job for `hpc.idleAfter`.
    RecentlyBusy,
    /// It is kept for jobs by `hpc.nodes.min`.
    WarmStandby,
    /// It is kept for waiting jobs.
    ReservedForDemand,
    /// Fuller nodes have room: it takes no new jobs until they have not.
    Packed,
    /// Neither use is known to be better, because a price is missing.
    ValueUnknown,

    // Why a node moves.
    /// Waiting work pays more than what it displaces.
    DemandPays,
    /// A job was bound to it although it is in another use.
    JobLanded,
    /// Mining earns more than idling.
    MiningPays,
    /// Another profile earns more.
    BetterProfile,
    /// Neither use would pay for its power.
    NothingPays,
    /// The pool has fewer nodes in a use than its floor.
    BelowFloor,
    /// The pool has more nodes in a use than its ceiling.
    AboveCeiling,
    /// With it in another use, the pool would draw more than `power.capKW`.
    PowerCap,
    /// A person pinned it to another use than it has.
    ToPinnedUse,

    // Gates: why a node may not move although it would pay.
    /// `shifting.mode` is `DryRun`.
    DryRun,
    /// `shifting.mode` is `Hold`.
    Hold,
    /// A person holds every pool by the ConfigMap `switchyard-hold`.
    GlobalHold,
    /// A person pinned it to another use.
    Pinned,
    /// What its annotation `switchyard.dev/pin` says cannot be read.
    PinUnreadable,
    /// A person put `switchyard.dev/skip` on it.
    Skipped,
    /// It is cordoned; somebody is working on it.
    Cordoned,
    /// It is not Ready.
    NotReady,
    /// It is a node of the control plane.
    ControlPlane,
    /// Two pools select it.
    TwoPools,
    /// Its GPU model is not in `classes`.
    UnknownModel,
    /// It advertises no GPU.
    NoGpus,
    /// It lacks what `hpc.eligibility` asks for.
    NotEligible,
    /// No profile lists its GPU model.
    NoHashRate,
    /// Less than half of the pool is seen.
    PoolHalfEmpty,
    /// A DaemonSet that it needs does not tolerate the taint.
    SystemPodsIntolerant,
    /// A signal that the decision rests on is not trusted.
    SignalUntrusted,
    /// `shifting.minDwell` is not over.
    DwellNotOver,
    /// What was missed has not yet come to what the switch and the way back cost.
    NotPaidBack,
    /// By the forecast, the other use will not be better for long enough to pay for the switch.
    SoonOver,
    /// None of the `shifting.windows` for the cause is open.
    OutsideWindow,
    /// A schedule in `shifting` cannot be read.
    ScheduleUnreadable,
    /// Prices moved too many nodes back and forth.
    BreakerOpen,
    /// Enough nodes are on the move.
    BudgetExhausted,

    // Why waiting work gets no node.
    /// It fits on a node that is open to it; the scheduler will come to it.
    FitsNow,
    /// Nodes are on the way.
    NodesComing,
    /// It pays less than what it would displace.
    PaysTooLittle,
    /// It is expected to end before it has paid for the switch, the way back and the wait after it.
    RunsTooShort,
    /// Even all nodes that may serve it cannot hold it.
    FitsNowhere,
    /// What it pays, or what it would displace, is not known.
    PriceUnknown,
    /// Not all pods of the gang have been created yet.
    GangIncomplete,

    // What a shift waits for, and how it ends.
    /// Ordered, not begun.
    Ordered,
    /// Miners are still on the node.
    WaitsForMiners,
    /// It is made sure that no job landed before the taint did.
    WaitsForTaint,
    /// The other nodes of the gang are not free yet.
    WaitsForGang,
    /// The miner has not started.
    WaitsForMinerStart,
    /// An API write has yet to be seen.
    WaitsForWrite,
    /// A PodDisruptionBudget holds the eviction up.
    EvictionBlocked,
    /// It is in its new use.
    Done,
    /// The node was deleted or replaced.
    NodeGone,
    /// The node changed under the order, which was therefore not begun.
    NodeChanged,
    /// The work that it was to serve is gone.
    DemandGone,
    /// A job landed on the node; the job wins.
    JobWins,
    /// The deadline passed.
    DeadlinePassed,
    /// The shift was deleted.
    ShiftDeleted,

    // Signals.
    /// The source answered with a number.
    SourceRead,
    /// The source could not be reached.
    Unreachable,
    /// It did not answer in time.
    TimedOut,
    /// It answered with an error status.
    ErrorStatus,
    /// Its answer is larger than 64 KiB.
    TooLarge,
    /// Its answer is not JSON.
    NotJson,
    /// Its answer holds no value where one was expected.
    Empty,
    /// Its answer holds several values where one was expected.
    Ambiguous,
    /// The value is no finite number.
    NotANumber,
    /// The query or path cannot be read.
    BadExpression,
    /// Enough sources agree on a fresh value.
    Fresh,
    /// Too few sources answer; the last value is held.
    Held,
    /// Too few sources have answered for longer than `maxAge`.
    Stale,
    /// No value was ever read.
    NeverRead,

    // The pool as a whole.
    /// All is well.
    AsPlanned,
    /// The spec cannot be used.
    InvalidSpec,
    /// The selector matches no node.
    NoNodes,
    /// Another pool selects some of its nodes.
    Overlap,
    /// A profile that it names does not exist.
    ProfileNotFound,
    /// A signal that it names does not exist.
    SignalNotFound,
    /// A signal that it names is in a unit of another kind.
    WrongUnit,
    /// Some nodes cannot be used as they are.
    NodesUnusable,
    /// Nodes are on the move.
    NodesMoving,
    /// No node is on the move.
    NothingMoves,
    /// Prices have moved few nodes back and forth.
    FewReversals,
    /// Every system pod tolerates the taint.
    AllTolerate,
    /// The pool is being deleted and its nodes are given back.
    Deleting,

    // Profiles.
    /// The API server accepts the miners.
    MinersAccepted,
    /// The API server refuses the miners.
    MinersRefused,
    /// The profile's namespace is not open to miners.
    NamespaceClosed,
    /// No pool uses the profile.
    Unused,

    // Only Events.
    /// A node became part of a pool, in the use that it had.
    Adopted,
    /// A label that a person or kubelet changed was put right.
    Repaired,
    /// It takes new jobs again.
    DoorOpened,
    /// A shift was ordered.
    ShiftOrdered,
    /// A shift ended.
    ShiftEnded,

    /// A reason that another version of Switchyard wrote.
    #[serde(other)]
    Unknown,
}

impl Reason {
    /// The reason as a sentence about the node, work, source or object that it is said of.
    pub fn sentence(self) -> &'static str {
        self.get_documentation().unwrap_or_default()
    }

    /// The reason as a metric label.
    pub fn label(self) -> String {
        let name: &'static str = self.into();
        let mut label = String::with_capacity(name.len() + 4);
        for (position, letter) in name.chars().enumerate() {
            if letter.is_ascii_uppercase() && position > 0 {
                label.push('_');
            }
            label.push(letter.to_ascii_lowercase());
        }
        label
    }
}

/// An open string in the schema: the list grows with every release, and a status that a newer
/// operator wrote must pass the definitions of an older one.
impl JsonSchema for Reason {
    fn schema_name() -> Cow<'static, str> {
        "Reason".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 64 })
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn a_reason_of_another_version_is_read() {
        let reason: Reason = serde_json::from_str("\"PhaseOfTheMoon\"").unwrap();
        assert_eq!(reason, Reason::Unknown);
    }

    #[test]
    fn a_reason_is_one_short_sentence() {
        for reason in Reason::iter() {
            let sentence = reason.sentence();
            assert!(sentence.ends_with('.') && sentence.len() <= 100, "{reason}: {sentence:?}");
            assert_eq!(sentence.matches(". ").count(), 0, "{reason}: {sentence:?}");
        }
    }

    #[test]
    fn a_status_has_room_for_every_reason() {
        assert!(Reason::iter().count() <= 128, "raise the limit of lastDecision.reasons");
    }

    #[test]
    fn a_reason_is_spelt_for_each_surface() {
        assert_eq!(Reason::DwellNotOver.to_string(), "DwellNotOver");
        assert_eq!(Reason::DwellNotOver.label(), "dwell_not_over");
    }
}
