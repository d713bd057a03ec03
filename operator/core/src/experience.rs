//! What has been learned: what nodes have missed by staying in their use, how long switches take, and
//! how long jobs run.
//!
//! An [`Observer`](crate::observer::Observer) looks at every survey and keeps an [`Experience`], which
//! goes into the next snapshot. All of it is bounded by the number of pools, classes, profiles and
//! namespaces.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use switchyard_api::{LearnedSwitch, Use};

use crate::{
    belief::Record,
    quantity::{Usd, UsdPerHour},
    rest::Rest,
};

/// Everything that has been learned.
#[derive(Debug, Clone, Default)]
pub struct Experience {
    pub(crate) regrets: BTreeMap<Unmade, Regret>,
    pub(crate) forecasts: BTreeMap<String, Record>,
    pub(crate) switches: BTreeMap<Arc<str>, BTreeMap<(Use, Use), SignedDuration>>,
    pub(crate) runs: BTreeMap<Arc<str>, Runs>,
}

/// A switch that the nodes of a kind have not made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unmade {
    pub(crate) pool: Arc<str>,
    pub(crate) model: Arc<str>,
    pub(crate) gpus: u32,
    pub(crate) from: Rest,
    pub(crate) to: Rest,
}

/// What was missed up to a time, and how it goes on from there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Regret {
    pub(crate) missed: Usd,
    pub(crate) gain: UsdPerHour,
    pub(crate) at: Timestamp,
}

impl Regret {
    /// Losses count against it, but it never falls below zero: what was saved long ago is no reason
    /// to stay.
    pub(crate) fn up_to(self, now: Timestamp) -> Usd {
        (self.missed + self.gain.over(now.duration_since(self.at))).max(Usd::ZERO)
    }
}

/// How long the jobs of a namespace run: the time that all of them ran, and how many ended. Running
/// ones count with the time they have had, so that long jobs are not overlooked until they end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Runs {
    pub(crate) seconds: f64,
    pub(crate) ended: f64,
}

/// What is believed of a namespace of which little is known: one more job that ran for an hour, s.
const USUAL_RUN: f64 = 3600.0;
/// For so long the jobs of a namespace are believed to run before one has ended, s: were they taken for
/// short where switches are dear, none would ever run, and nobody learn how long they do.
const UNKNOWN_RUN: f64 = 86_400.0;
/// What is that old counts 1/e as much, s: a week.
const RUNS_FADE: f64 = 7.0 * 86_400.0;

impl Runs {
    fn expected(self) -> SignedDuration {
        let mean = (self.seconds + USUAL_RUN) / (self.ended + 1.0);
        let mean = if self.is_known() { mean } else { mean.max(UNKNOWN_RUN) };
        SignedDuration::try_from_secs_f64(mean).unwrap_or(SignedDuration::MAX)
    }

    /// Has a job ended, and not too long ago?
    fn is_known(self) -> bool {
        self.ended >= 0.5
    }

    pub(crate) fn fade(&mut self, seconds: f64) {
        let left = (-seconds / RUNS_FADE).exp();
        self.seconds *= left;
        self.ended *= left;
    }
}

impl Experience {
    /// What a node without jobs would have earned more by another rest, since that began to be better.
    pub(crate) fn missed(&self, unmade: &Unmade, now: Timestamp) -> Usd {
        self.regrets.get(unmade).map_or(Usd::ZERO, |regret| regret.up_to(now))
    }

    /// Is the forecast of a signal to be believed?
    pub fn believes(&self, signal: &str) -> bool {
        self.forecasts.get(signal).is_some_and(Record::convinces)
    }

    /// How long a switch takes in a pool: as measured, or as usual.
    pub fn switch_takes(&self, pool: &str, from: Use, to: Use) -> SignedDuration {
        let measured = self.switches.get(pool).and_then(|pool| pool.get(&(from, to)));
        measured.copied().unwrap_or_else(|| usual_switch(from, to))
    }

    /// How long a job of a namespace is expected to run.
    pub fn expected_run(&self, namespace: &str) -> SignedDuration {
        self.runs.get(namespace).copied().unwrap_or_default().expected()
    }

    /// The measured times of a pool's switches, for its status.
    pub fn learned(&self, pool: &str) -> Vec<LearnedSwitch> {
        let switches = self.switches.get(pool).into_iter().flatten();
        let learned = switches.map(|((from, to), took)| LearnedSwitch {
            from: *from,
            to: *to,
            seconds: u32::try_from(took.as_secs()).unwrap_or(0),
        });
        learned.collect()
    }

    pub(crate) fn measure(&mut self, pool: &Arc<str>, from: Use, to: Use, took: SignedDuration) {
        let before = self.switch_takes(pool, from, to);
        let took = took.clamp(SignedDuration::ZERO, before.saturating_mul(2).max(LEAST_CEILING));
        let times = self.switches.entry(pool.clone()).or_default();
        let first = !times.contains_key(&(from, to));
        let share = if first { 1 } else { 4 };
        times.insert((from, to), before + (took - before) / share);
    }
}

/// A measured time counts as at most twice what is believed, so that one node that hangs does not
/// spoil the average; but this much is always believed.
const LEAST_CEILING: SignedDuration = SignedDuration::from_secs(600);

/// How long a switch takes before any was measured; the times that the simulator assumes.
fn usual_switch(from: Use, to: Use) -> SignedDuration {
    SignedDuration::from_secs(match (from, to) {
        (Use::Hpc, Use::Hpc) => 0,
        (_, Use::Idle) => 10,
        (_, Use::Hpc) => 60,
        (_, Use::Mining) => 120,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_a_day_until_jobs_say_otherwise() {
        let mut runs = Runs { seconds: 60.0, ended: 0.0 };
        assert_eq!(runs.expected().as_secs(), 86_400);
        (runs.seconds, runs.ended) = (9.0 * 60.0, 9.0);
        assert_eq!(runs.expected().as_secs(), (3600 + 540) / 10);
        runs.fade(RUNS_FADE * 50.0);
        assert_eq!(runs.expected().as_secs(), 86_400, "forgotten");
    }
}
