//! When a better use is worth the switch.
//!
//! A price that is better now may be worse again in a minute, and a switch costs: while a node drains
//! and warms up it earns nothing. So a node moves for a price when what it has missed by staying comes
//! to `shifting.patience` times what the switch and the way back cost. With a patience of 1 this is the
//! ski-rental rule, which never loses more than twice what the best decision in hindsight would have
//! (Karlin et al., "Competitive snoopy caching", 1988). It needs no forecast and knows no percentages.
//!
//! A node is given to waiting work if that is expected to run long enough to pay for the switch, the
//! way back, and the time the node then waits for another job.

use jiff::{SignedDuration, Timestamp};
use switchyard_api::Use;

use crate::{
    economics::ClassEconomics,
    experience::Rest,
    quantity::{Usd, UsdPerHour},
    survey::{NodeView, PoolView, Survey},
};

/// What a switch must have paid, and what has been missed by not making it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payback {
    /// What the switch and the way back cost, times the pool's patience.
    pub price: Usd,
    /// What has been missed so far.
    pub missed: Usd,
    /// By how much that grows at the prices of now.
    pub gain: UsdPerHour,
}

impl Payback {
    /// Has as much been missed as it takes?
    pub fn due(&self) -> bool {
        self.missed >= self.price
    }

    /// When it will have been, if prices stay; to the next second.
    pub fn due_at(&self, now: Timestamp) -> Option<Timestamp> {
        let hours = (self.price - self.missed).number() / self.gain.number();
        let seconds = (hours * 3600.0).max(0.0).ceil();
        let wait = SignedDuration::try_from_secs_f64(seconds).ok()?;
        now.checked_add(wait).ok()
    }
}

/// The account of a move for a price, from what a node without jobs does to another rest.
pub fn payback(
    survey: &Survey<'_>,
    pool: &PoolView<'_>,
    node: &NodeView<'_>,
    class: &ClassEconomics,
    (from, to): (&Rest, &Rest),
    gain: UsdPerHour,
) -> Payback {
    let now = survey.snapshot.now;
    let missed = match node.node_use {
        // Each open node has been empty for a time of its own.
        Use::Hpc => gain.over(node.empty_for(now)),
        Use::Mining | Use::Idle => {
            survey.snapshot.experience.missed(pool, class, node, (from, to), now)
        }
    };
    let cost = there_and_back(survey, pool, node, class, to.node_use());
    Payback { price: cost.scaled(patience(pool)), missed, gain }
}

/// What work must have earned beyond what it displaces before a node is opened for it.
pub fn opening_cost(survey: &Survey<'_>, pool: &PoolView<'_>, node: &NodeView<'_>) -> Usd {
    let Some(class) = pool.class_of(node) else {
        return Usd::ZERO;
    };
    // Once empty again, the node waits for as long as comes to its patience.
    there_and_back(survey, pool, node, class, Use::Hpc).scaled(1.0 + patience(pool))
}

/// What a switch and the way back cost: for as long as both take, what the node would be paid for
/// mining, its power not deducted, because it draws power all the same.
fn there_and_back(
    survey: &Survey<'_>,
    pool: &PoolView<'_>,
    node: &NodeView<'_>,
    class: &ClassEconomics,
    to: Use,
) -> Usd {
    let takes = |from, to| survey.snapshot.experience.switch_takes(&pool.facts.name, from, to);
    let both = takes(node.node_use, to).saturating_add(takes(to, node.node_use));
    class.best_income(node.gpus).unwrap_or_default().over(both)
}

fn patience(pool: &PoolView<'_>) -> f64 {
    pool.facts.spec.shifting.patience.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_pays_for_the_switch_in_time() {
        let usd = |number| Usd::new(number).unwrap();
        let gain = UsdPerHour::new(0.5).unwrap();
        let payback = Payback { price: usd(1.0), missed: usd(0.75), gain };
        assert!(!payback.due());
        let half_an_hour = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(30);
        assert_eq!(payback.due_at(Timestamp::UNIX_EPOCH), Some(half_an_hour));
        assert!(Payback { missed: usd(1.0), ..payback }.due());
        let never = Payback { gain: UsdPerHour::ZERO, ..payback };
        assert_eq!(never.due_at(Timestamp::UNIX_EPOCH), None);
    }
}
