//! What people are told of holds, pins, windows, budgets and the breaker.

use switchyard_api::{Cause, ConditionType, Judgement, Mode, Reason, keys};

use super::{Problem, names};
use crate::{plan::PoolPlan, survey::PoolView};

pub(super) fn bad_schedules(pool: &PoolView<'_>) -> Option<Problem> {
    let errors = pool.calendar.unreadable.iter();
    let errors: Vec<_> = errors.map(|(field, error)| format!("{field}: {error}")).collect();
    (!errors.is_empty()).then(|| {
        let message =
            format!("{}; until then no node is moved for a price or a floor", errors.join("; "));
        (Reason::ScheduleUnreadable, message)
    })
}

pub(super) fn bad_pins(pool: &PoolView<'_>) -> Option<Problem> {
    let bad = || pool.nodes.iter().filter(|node| node.pin_error().is_some());
    bad().next().map(|_| {
        let message = format!(
            "the annotation {} of {} cannot be read, so these are not moved: write such as \
             `use=HPC,until=2026-12-24T18:00Z,reason=benchmark`, or take it off",
            keys::PIN,
            names(bad().map(|node| &*node.facts.name)),
        );
        (Reason::PinUnreadable, message)
    })
}

/// Why no shift begins, in the words of the person who wants it so.
pub(super) fn held(pool: &PoolView<'_>) -> Option<Problem> {
    if let Some(hold) = pool.hold {
        let words = hold.reason.as_deref().map_or(String::new(), |words| format!(": {words}"));
        let end = match &hold.until {
            None => " until it is deleted".to_owned(),
            Some(Ok(until)) => format!(" until {until}"),
            Some(Err(error)) => format!(" until it is deleted, because its {error}"),
        };
        let message = format!("the ConfigMap {} holds every pool{end}{words}", keys::HOLD);
        return Some((Reason::GlobalHold, message));
    }
    let held = pool.facts.spec.shifting.mode == Mode::Hold;
    held.then(|| (Reason::Hold, "spec.shifting.mode is Hold".into()))
}

pub(super) fn budget_available(pool: &PoolView<'_>, plan: &PoolPlan) -> Judgement {
    let kind = ConditionType::BudgetAvailable;
    if let Some(block) = pool.calendar.closed(Cause::Price) {
        let message = match (block.reason, block.until) {
            (Reason::ScheduleUnreadable, _) => "a schedule cannot be read; see Ready".to_owned(),
            (_, Some(until)) => format!("the next of spec.shifting.windows opens at {until}"),
            (_, None) => "none of spec.shifting.windows opens within a year".to_owned(),
        };
        return Judgement::fails(kind, block.reason, message);
    }
    if plan.allowed_disruptions > 0 || pool.nodes.is_empty() {
        return Judgement::holds(kind, Reason::AsPlanned, "a price may move more nodes");
    }
    let message = "as many nodes are on the move for a price as spec.shifting.budgets allow";
    Judgement::fails(kind, Reason::BudgetExhausted, message)
}

pub(super) fn breaker_closed(pool: &PoolView<'_>) -> Judgement {
    let kind = ConditionType::BreakerClosed;
    if pool.breaker.open_since.is_none() {
        let message = "prices have moved few nodes back and forth";
        return Judgement::holds(kind, Reason::FewReversals, message);
    }
    let message = format!(
        "prices moved {} nodes and moved them back within {}, which spec.shifting.breaker does not \
         allow: no node is moved for a price or a floor, but to Idle where mining makes a loss, until \
         a person has looked at the signals and closes it: \
         `kubectl annotate --overwrite gpupool {} {}=\"$(date)\"`",
        pool.breaker.reversals,
        pool.facts.spec.shifting.breaker.within,
        pool.facts.name,
        keys::RESET_BREAKER,
    );
    Judgement::fails(kind, Reason::BreakerOpen, message)
}
