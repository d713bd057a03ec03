//! The breaker: stops moves for money when prices that go up and down have moved too many nodes back
//! and forth, until a person has looked.
//!
//! What prices did is read off the stored shifts; only that it opened, and the last reset, must be
//! remembered besides. So it holds across restarts and leaders, and a node that was moved back and
//! forth ten times counts as one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use switchyard_api::{
    Breaker, BreakerStatus, Cause, NodeShiftSpec, Period, Phase, ProfileRef, Use, keys,
};

use crate::snapshot::{PoolFacts, ShiftFacts, Snapshot};

/// What a pool's status has room for.
const RESET_MAX: usize = 63;

/// Does a breaker look at a shift that ended then?
pub fn looks_at(spec: &NodeShiftSpec, finished: Timestamp, within: Period, now: Timestamp) -> bool {
    spec.cause == Cause::Price && finished >= begin(within, now)
}

fn begin(within: Period, now: Timestamp) -> Timestamp {
    now.saturating_sub(within.signed()).unwrap_or(Timestamp::MIN)
}

/// What is to be remembered from now on of the breaker of a pool with `nodes` nodes.
pub fn judge(pool: &PoolFacts, nodes: usize, snapshot: &Snapshot) -> BreakerStatus {
    let (known, now) = (&pool.breaker, snapshot.now);
    let Breaker { reversals: limit, within } = pool.spec.shifting.breaker;
    let closed = BreakerStatus { open_since: None, reversals: 0, ..known.clone() };
    let asked = pool.reset_breaker.as_deref().map(|value| keys::fit(value, RESET_MAX));
    if asked.is_some() && asked != known.reset {
        return BreakerStatus { reset: asked, reset_at: Some(now), ..closed };
    }
    if within.duration().is_zero() {
        return closed;
    }
    if known.open_since.is_some() {
        return known.clone();
    }
    let since = begin(within, now).max(known.reset_at.unwrap_or(Timestamp::MIN));
    let shifts = snapshot.shifts.iter().chain(&snapshot.history);
    let shifts = shifts.filter(|shift| *shift.spec.pool == *pool.name);
    let reversals = reversals(shifts, since);
    if reversals < limit.of(nodes).max(1) {
        return closed;
    }
    let reversals = u32::try_from(reversals).unwrap_or(u32::MAX);
    BreakerStatus { open_since: Some(now), reversals, ..closed }
}

/// A node's arrival in a new state because of a price.
struct Arrival<'s> {
    at: Timestamp,
    spec: &'s NodeShiftSpec,
}

impl Arrival<'_> {
    /// Does the next arrival undo this one?
    fn is_undone_by(&self, next: &Self) -> bool {
        let (there, back) = (self.spec, next.spec);
        let uses = (back.from, back.to) == (there.to, there.from);
        // Where the use is the same throughout, the profile is what changed.
        let left: Option<&ProfileRef> = there.from_profile.as_ref();
        let same_profile = left.is_some() && left == back.profile.as_ref();
        uses && (there.from != Use::Mining || there.to != Use::Mining || same_profile)
    }
}

/// How many nodes prices have moved and moved back since then.
fn reversals<'s>(shifts: impl Iterator<Item = &'s ShiftFacts>, since: Timestamp) -> usize {
    let mut by_node: BTreeMap<&str, Vec<Arrival<'_>>> = BTreeMap::new();
    for shift in shifts.filter(|shift| shift.spec.cause == Cause::Price) {
        for node in &shift.status.nodes {
            // A miner that did not start in time makes a move a failed one; the node has moved.
            let arrived = matches!(node.phase, Phase::Completed | Phase::Failed);
            if arrived && node.since > since {
                let arrival = Arrival { at: node.since, spec: &shift.spec };
                by_node.entry(&node.name).or_default().push(arrival);
            }
        }
    }
    let reversed = by_node.into_values().filter_map(|mut arrivals| {
        arrivals.sort_by_key(|arrival| arrival.at);
        arrivals.windows(2).any(|pair| pair[0].is_undone_by(&pair[1])).then_some(())
    });
    reversed.count()
}
