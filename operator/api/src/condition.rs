use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::Reason;

/// The conditions that Switchyard sets. All are good when `True`, but for `Shifting`, which only says
/// that nodes are on the move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
pub enum ConditionType {
    /// Pool: decisions are taken and, in mode Active, carried out. Profile: its miners are accepted.
    Ready,
    /// Pool: every node that it selects can be used.
    NodesUsable,
    /// Pool: every signal that it uses is trusted.
    SignalsTrusted,
    /// Pool: the DaemonSets that its nodes need tolerate the taint.
    SystemPodsTolerate,
    /// Pool: nodes are on the move.
    Shifting,
    /// Pool: a price may move more nodes.
    BudgetAvailable,
    /// Pool: prices may move nodes, because they have not moved too many back and forth.
    BreakerClosed,
    /// Signal: decisions may rest on it.
    Trusted,
}

/// What a condition is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Which condition.
    pub kind: ConditionType,
    /// `Some(true)`, `Some(false)`, or unknown.
    pub holds: Option<bool>,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people: names the field and what to do.
    pub message: String,
}

impl Judgement {
    /// A condition that holds.
    pub fn holds(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, holds: Some(true), reason, message: message.into() }
    }

    /// A condition that does not hold.
    pub fn fails(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, holds: Some(false), reason, message: message.into() }
    }
}

/// The API server takes condition messages up to 32 KiB; people read the first lines.
const MESSAGE_MAX: usize = 1024;

/// Conditions as a list in a status.
pub trait Conditions {
    /// The list with the judgements merged in. The transition time of a condition changes only with
    /// its status, so that an unchanged judgement leaves the list equal to what it was.
    #[must_use]
    fn judged(&self, judgements: &[Judgement], generation: i64, now: Timestamp) -> Vec<Condition>;

    /// The condition of a type.
    fn find(&self, kind: ConditionType) -> Option<&Condition>;
}

impl Conditions for [Condition] {
    fn judged(&self, judgements: &[Judgement], generation: i64, now: Timestamp) -> Vec<Condition> {
        judgements.iter().map(|judgement| judged(self, judgement, generation, now)).collect()
    }

    fn find(&self, kind: ConditionType) -> Option<&Condition> {
        let name: &'static str = kind.into();
        self.iter().find(|condition| condition.type_ == name)
    }
}

fn judged(old: &[Condition], judgement: &Judgement, generation: i64, now: Timestamp) -> Condition {
    let status = match judgement.holds {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let unchanged = old.find(judgement.kind).filter(|condition| condition.status == status);
    Condition {
        type_: judgement.kind.to_string(),
        status: status.into(),
        reason: judgement.reason.to_string(),
        message: judgement.message.chars().take(MESSAGE_MAX).collect(),
        observed_generation: Some(generation),
        last_transition_time: unchanged
            .map_or(Time(now), |condition| condition.last_transition_time.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let good = Judgement::holds(ConditionType::Ready, Reason::AsPlanned, "fine");
        let bad = Judgement::fails(ConditionType::Ready, Reason::NoNodes, "none");
        let first = [].as_slice().judged(std::slice::from_ref(&good), 1, early);
        let same = first.judged(std::slice::from_ref(&good), 1, late);
        let other = first.judged(&[bad], 1, late);
        assert_eq!(first, same);
        assert_eq!(other[0].last_transition_time, Time(late));
    }
}
