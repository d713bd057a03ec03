//! How long a plan stands when nothing but time changes.
//!
//! Time alone ends dwells, pins and holds, opens and closes windows, and makes what is missed add up to
//! what a move costs. Each of these comes at a moment that is known beforehand; until the first of them
//! the same facts give the same plan, and it needs not be made again.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use switchyard_api::{Reason, Use};

use crate::{
    allocation,
    forecast::Forecast,
    gate,
    people::Hold,
    plan::{NodeDecision, Plan},
    snapshot::{Reading, Snapshot},
    survey::{NodeView, PoolView, Survey},
};

/// No plan stands for longer: how long jobs have run and what a forecast says of the rest of its hour
/// change all the time, by little.
const AT_MOST: SignedDuration = SignedDuration::from_secs(60);

/// A plan that needs not be made again for a while.
#[derive(Debug, Clone)]
pub struct Standing {
    until: Timestamp,
    signals: BTreeMap<String, Reading>,
    forecasts: BTreeMap<String, Arc<Forecast>>,
}

impl Standing {
    /// For how long a plan stands; none: not at all.
    pub fn of(survey: &Survey<'_>, plan: &Plan) -> Option<Self> {
        let Snapshot { now, signals, forecasts, .. } = survey.snapshot;
        let until = stands_until(survey, plan)?.min(now.saturating_add(AT_MOST).ok()?);
        Some(Self { until, signals: signals.clone(), forecasts: forecasts.clone() })
    }

    /// Would the plan be the same at a later time? Signals are judged by their age, too, so what is to be
    /// given are the readings of that time. That no other fact has changed is for the caller to know.
    pub fn holds(
        &self,
        now: Timestamp,
        signals: &BTreeMap<String, Reading>,
        forecasts: &BTreeMap<String, Arc<Forecast>>,
    ) -> bool {
        now < self.until && *signals == self.signals && told(forecasts).eq(told(&self.forecasts))
    }
}

/// What is told of the future: each forecast is read anew when it is fetched.
fn told(
    forecasts: &BTreeMap<String, Arc<Forecast>>,
) -> impl Iterator<Item = (&String, *const Forecast)> {
    forecasts.iter().map(|(signal, forecast)| (signal, Arc::as_ptr(forecast)))
}

/// Until when the same facts give the same plan; none: not even now, because something is under way, was
/// seen for the first time, or is not told. Right to a second.
///
/// The facts are those of the next snapshot: with the marks that the plan's pass writes, and with what an
/// [`Observer`](crate::observer::Observer) learned from this survey.
pub fn stands_until(survey: &Survey<'_>, plan: &Plan) -> Option<Timestamp> {
    let ordered = plan.pools.iter().any(|pool| !pool.orders.is_empty());
    if ordered || !survey.snapshot.shifts.is_empty() {
        return None;
    }
    let hold = survey.snapshot.hold.as_ref().and_then(Hold::ends);
    let mut first = Timestamp::MAX;
    for (pool, plan) in survey.pools.iter().zip(&plan.pools) {
        first = first.min(pool_stands_until(survey, pool, &plan.decisions)?);
    }
    Some(later_than(survey, hold).map_or(first, |ends| first.min(ends)))
}

fn pool_stands_until(
    survey: &Survey<'_>,
    pool: &PoolView<'_>,
    decisions: &[NodeDecision],
) -> Option<Timestamp> {
    let now = survey.snapshot.now;
    if decisions.iter().any(limited) || pool.nodes.iter().any(just_emptied) {
        return None;
    }
    let nodes = pool.nodes.iter().zip(decisions).flat_map(|(node, decision)| {
        let pin = node.pin.and_then(|pin| pin.until);
        [pin, gate::dwells_until(pool, node), empties(pool, node), paid_back(decision, now)]
    });
    let moments = nodes.chain([pool.calendar.changes]);
    Some(moments.filter_map(|moment| later_than(survey, moment)).min().unwrap_or(Timestamp::MAX))
}

/// A moment, if it has not passed.
fn later_than(survey: &Survey<'_>, moment: Option<Timestamp>) -> Option<Timestamp> {
    moment.filter(|moment| *moment > survey.snapshot.now)
}

/// Does a limit of the pool decide in the node's place? What the node would do by itself, and when, is
/// not told then.
fn limited(decision: &NodeDecision) -> bool {
    let by = |reason| {
        matches!(
            reason,
            Reason::PowerCap | Reason::BelowFloor | Reason::AboveCeiling | Reason::WarmStandby
        )
    };
    let candidate = decision.candidate.as_ref();
    by(decision.reason) || candidate.is_some_and(|candidate| by(candidate.reason))
}

/// Was its last job still there when one looked before?
fn just_emptied(node: &NodeView<'_>) -> bool {
    node.jobs.is_empty() && node.facts.empty_since.is_none()
}

/// When the node has been open without a job for long enough.
fn empties(pool: &PoolView<'_>, node: &NodeView<'_>) -> Option<Timestamp> {
    allocation::rests_at(pool, node).filter(|_| node.node_use == Use::Hpc)
}

/// When enough has been missed for the move that a node waits to make.
fn paid_back(decision: &NodeDecision, now: Timestamp) -> Option<Timestamp> {
    decision.candidate.as_ref()?.payback.filter(|payback| !payback.due())?.due_at(now)
}
