//! When a better use is worth the switch.
//!
//! A price that is better now may be worse again in a minute, and a switch costs: while a node drains
//! and warms up it earns nothing. So a node moves for a price when what it has missed by staying comes
//! to `shifting.patience` times what the switch and the way back cost. With a patience of 1 this is the
//! ski-rental rule, which never loses more than twice what the best decision in hindsight would have
//! (Karlin et al., "Competitive snoopy caching", 1988). It needs no forecast and knows no percentages.
//!
//! Where a forecast is published and [believed](Experience::believes), the move is made at once if it
//! says so, and put off, but not for good, if it advises to wait.
//!
//! A node is given to waiting work if that is expected to run long enough to pay for the switch, the
//! way back, and the time the node then waits for another job.

use jiff::{SignedDuration, Timestamp};
use switchyard_api::Use;

use crate::{
    economics::ClassEconomics,
    experience::Experience,
    outlook::Timing,
    quantity::{Usd, UsdPerHour},
    rest::Rest,
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
    /// What a forecast that is believed says.
    pub timing: Option<Timing>,
}

/// A move that a forecast advises against is made all the same when so many times as much was missed as
/// would do without it: for so long at most can a wrong forecast hold it up.
const PUT_OFF: f64 = 3.0;

impl Payback {
    /// Has as much been missed as it takes?
    pub fn due(&self) -> bool {
        self.missed >= self.asked()
    }

    /// Does a forecast alone hold the move up?
    pub fn put_off(&self) -> bool {
        !self.due() && self.missed >= self.price
    }

    /// What has to be missed before the move is made.
    fn asked(&self) -> Usd {
        match self.timing {
            None => self.price,
            Some(Timing::Now) => Usd::ZERO,
            Some(Timing::Later) => self.price.scaled(PUT_OFF),
        }
    }

    /// How long the gain of now takes to pay the price, h.
    fn hours(price: Usd, gain: UsdPerHour) -> f64 {
        price.number() / gain.number()
    }

    /// When it will have been, if prices stay; to the next second.
    pub fn due_at(&self, now: Timestamp) -> Option<Timestamp> {
        let hours = Self::hours(self.asked() - self.missed, self.gain);
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
    let (now, experience) = (survey.snapshot.now, &survey.snapshot.experience);
    let missed = match node.node_use {
        // Each open node has been empty for a time of its own.
        Use::Hpc => gain.over(node.empty_for(now)),
        Use::Mining | Use::Idle => {
            experience.missed(&class.unmade(&pool.facts.name, node.gpus, from, to), now)
        }
    };
    let uses = (node.node_use, to.node_use());
    let back = there_and_back(experience, pool, class, node.gpus, uses);
    let known = node.class.and_then(|class| pool.outlook.advice(class, node.gpus));
    let timing = known
        .filter(|_| node.node_use != Use::Hpc)
        .and_then(|advice| advice.on(from, to, Payback::hours(back, gain)));
    Payback { price: back.scaled(patience(pool)), missed, gain, timing }
}

/// What work must have earned beyond what it displaces before a node is opened for it.
pub fn opening_cost(survey: &Survey<'_>, pool: &PoolView<'_>, node: &NodeView<'_>) -> Usd {
    let Some(class) = pool.class_of(node) else {
        return Usd::ZERO;
    };
    let experience = &survey.snapshot.experience;
    // Once empty again, the node waits for as long as comes to its patience.
    there_and_back(experience, pool, class, node.gpus, (node.node_use, Use::Hpc))
        .scaled(1.0 + patience(pool))
}

/// What a switch and the way back cost.
fn there_and_back(
    experience: &Experience,
    pool: &PoolView<'_>,
    class: &ClassEconomics,
    gpus: u32,
    (from, to): (Use, Use),
) -> Usd {
    let cost = |uses| class.switch_cost(experience, &pool.facts.name, gpus, uses);
    cost((from, to)) + cost((to, from))
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
        let payback = Payback { price: usd(1.0), missed: usd(0.75), gain, timing: None };
        assert!(!payback.due());
        let half_an_hour = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(30);
        assert_eq!(payback.due_at(Timestamp::UNIX_EPOCH), Some(half_an_hour));
        assert!(Payback { missed: usd(1.0), ..payback }.due());
        let never = Payback { gain: UsdPerHour::ZERO, ..payback };
        assert_eq!(never.due_at(Timestamp::UNIX_EPOCH), None);
    }
}
