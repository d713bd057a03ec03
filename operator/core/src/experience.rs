//! What has been learned: what nodes have missed by staying in their use, how long switches take, and
//! how long jobs run.
//!
//! An [`Observer`] looks at every survey and keeps an [`Experience`], which goes into the next
//! snapshot. All of it is bounded by the number of pools, classes, profiles and namespaces.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use switchyard_api::{LearnedSwitch, NodeShiftStatus, Phase, ProfileRef, Use};

use crate::{
    belief::Record,
    economics::ClassEconomics,
    quantity::{Usd, UsdPerHour},
    snapshot::{ShiftFacts, Snapshot},
    survey::{PoolView, Survey},
};

/// What a node does that runs no jobs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rest {
    /// Nothing.
    Idle,
    /// It mines with a profile.
    Mining(Arc<ProfileRef>),
}

impl Rest {
    /// The use that it is.
    pub fn node_use(&self) -> Use {
        match self {
            Self::Idle => Use::Idle,
            Self::Mining(_) => Use::Mining,
        }
    }

    /// The profile that it mines with.
    pub fn profile(&self) -> Option<Arc<ProfileRef>> {
        match self {
            Self::Idle => None,
            Self::Mining(profile) => Some(profile.clone()),
        }
    }
}

/// Everything that has been learned.
#[derive(Debug, Clone, Default)]
pub struct Experience {
    regrets: BTreeMap<Unmade, Regret>,
    forecasts: BTreeMap<String, Record>,
    switches: BTreeMap<Arc<str>, BTreeMap<(Use, Use), SignedDuration>>,
    runs: BTreeMap<Arc<str>, Runs>,
}

/// A switch that the nodes of a kind have not made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Unmade {
    pool: Arc<str>,
    model: Arc<str>,
    gpus: u32,
    from: Rest,
    to: Rest,
}

/// What was missed up to a time, and how it goes on from there.
#[derive(Debug, Clone, Copy)]
struct Regret {
    missed: Usd,
    gain: UsdPerHour,
    at: Timestamp,
}

impl Regret {
    /// Losses count against it, but it never falls below zero: what was saved long ago is no reason
    /// to stay.
    fn up_to(self, now: Timestamp) -> Usd {
        (self.missed + self.gain.over(now.duration_since(self.at))).max(Usd::ZERO)
    }
}

/// How long the jobs of a namespace run: the time that all of them ran, and how many ended. Running
/// ones count with the time they have had, so that long jobs are not overlooked until they end.
#[derive(Debug, Clone, Copy, Default)]
struct Runs {
    seconds: f64,
    ended: f64,
}

/// What is believed of a namespace of which nothing is known: one job that ran for an hour.
const USUAL_RUN: f64 = 3600.0;
/// What is that old counts 1/e as much, s: a week.
const RUNS_FADE: f64 = 7.0 * 86_400.0;

impl Runs {
    fn expected(self) -> SignedDuration {
        let mean = (self.seconds + USUAL_RUN) / (self.ended + 1.0);
        SignedDuration::try_from_secs_f64(mean).unwrap_or(SignedDuration::MAX)
    }

    fn fade(&mut self, seconds: f64) {
        let left = (-seconds / RUNS_FADE).exp();
        self.seconds *= left;
        self.ended *= left;
    }
}

impl Experience {
    /// What a node without jobs would have earned more by another rest, since that began to be better.
    pub fn missed(
        &self,
        pool: &PoolView<'_>,
        class: &ClassEconomics,
        gpus: u32,
        (from, to): (&Rest, &Rest),
        now: Timestamp,
    ) -> Usd {
        let unmade = Unmade::of(pool, class, gpus, from, to);
        self.regrets.get(&unmade).map_or(Usd::ZERO, |regret| regret.up_to(now))
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

    /// What a switch of a node costs: for as long as it takes, what the node would be paid for mining,
    /// its power not deducted, because it draws power all the same.
    pub fn switch_cost(
        &self,
        pool: &str,
        class: &ClassEconomics,
        gpus: u32,
        (from, to): (Use, Use),
    ) -> Usd {
        class.best_income(gpus).unwrap_or_default().over(self.switch_takes(pool, from, to))
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

    fn measure(&mut self, pool: &Arc<str>, from: Use, to: Use, took: SignedDuration) {
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

impl Unmade {
    fn of(pool: &PoolView<'_>, class: &ClassEconomics, gpus: u32, from: &Rest, to: &Rest) -> Self {
        Self {
            pool: pool.facts.name.clone(),
            model: class.model.clone(),
            gpus,
            from: from.clone(),
            to: to.clone(),
        }
    }
}

/// How long a switch takes before any was measured; the times that the simulator assumes.
fn usual_switch(from: Use, to: Use) -> SignedDuration {
    SignedDuration::from_secs(match (from, to) {
        (Use::Hpc, Use::Hpc) => 0,
        (_, Use::Idle) => 10,
        (_, Use::Hpc) => 60,
        (_, Use::Mining) => 120,
    })
}

/// Looks on, and learns.
#[derive(Debug, Clone, Default)]
pub struct Observer {
    experience: Arc<Experience>,
    /// The jobs' pods that run, by UID: their namespaces.
    running: HashMap<Arc<str>, Arc<str>>,
    looked: Option<Timestamp>,
}

impl Observer {
    /// What has been learned so far.
    pub fn experience(&self) -> Arc<Experience> {
        self.experience.clone()
    }

    /// Believes what a pool's status says was learned before a restart; what was measured since holds.
    fn recall(&mut self, pool: &Arc<str>, learned: &[LearnedSwitch]) {
        if learned.is_empty() || self.experience.switches.contains_key(pool) {
            return;
        }
        let times = learned
            .iter()
            .map(|one| ((one.from, one.to), SignedDuration::from_secs(one.seconds.into())));
        Arc::make_mut(&mut self.experience).switches.insert(pool.clone(), times.collect());
    }

    /// Takes note of a moment: its prices, and the jobs that run.
    pub fn look(&mut self, survey: &Survey<'_>) {
        for pool in &survey.pools {
            self.recall(&pool.facts.name, &pool.facts.learned);
        }
        let regrets = self.regrets(survey);
        let since = self.looked.replace(survey.snapshot.now);
        self.count_runs(survey, since);
        Arc::make_mut(&mut self.experience).regrets = regrets;
        self.test_forecasts(survey);
    }

    /// Compares what was forecast with what has come.
    fn test_forecasts(&mut self, survey: &Survey<'_>) {
        let Snapshot { forecasts, signals, now, .. } = survey.snapshot;
        let records = &mut Arc::make_mut(&mut self.experience).forecasts;
        records.retain(|name, _| forecasts.contains_key(name));
        for (name, forecast) in forecasts {
            let reading = signals.get(name).filter(|reading| reading.trusted);
            if let Some(value) = reading.and_then(|reading| reading.value) {
                records.entry(name.clone()).or_default().look(forecast, value, *now);
            }
        }
    }

    fn regrets(&self, survey: &Survey<'_>) -> BTreeMap<Unmade, Regret> {
        let now = survey.snapshot.now;
        let mut regrets = BTreeMap::new();
        for pool in &survey.pools {
            for (class, gpus) in pool.kinds() {
                let Some(class) = pool.classes.get(class) else { continue };
                let rests = class.rests(gpus);
                for ((from, worth), (to, other)) in itertools::iproduct!(&rests, &rests) {
                    let unmade = Unmade::of(pool, class, gpus, from, to);
                    let before = self.experience.regrets.get(&unmade);
                    let missed = before.map_or(Usd::ZERO, |regret| regret.up_to(now));
                    regrets.insert(unmade, Regret { missed, gain: *other - *worth, at: now });
                }
            }
        }
        regrets
    }

    fn count_runs(&mut self, survey: &Survey<'_>, since: Option<Timestamp>) {
        let passed = since
            .map_or(0.0, |since| survey.snapshot.now.duration_since(since).as_secs_f64().max(0.0));
        let jobs = survey.pools.iter().flat_map(|pool| &pool.nodes).flat_map(|node| &node.jobs);
        let running: HashMap<Arc<str>, Arc<str>> =
            jobs.map(|pod| (pod.uid.clone(), pod.namespace.clone())).collect();
        let runs = &mut Arc::make_mut(&mut self.experience).runs;
        for runs in runs.values_mut() {
            runs.fade(passed);
        }
        for (uid, namespace) in &self.running {
            let runs = runs.entry(namespace.clone()).or_default();
            runs.seconds += passed;
            if !running.contains_key(uid) {
                runs.ended += 1.0;
            }
        }
        runs.retain(|_, runs| runs.ended + runs.seconds > 1e-3);
        self.running = running;
    }

    /// Takes note of the nodes that a shift has brought to their new use just now.
    pub fn shifted(&mut self, pool: &Arc<str>, shift: &ShiftFacts, after: &NodeShiftStatus) {
        let Some(started) = shift.status.started else {
            return;
        };
        let arrived = |status: &NodeShiftStatus, name: &str| {
            status.nodes.iter().any(|node| node.name == name && node.phase == Phase::Completed)
        };
        for node in after.nodes.iter().filter(|node| node.phase == Phase::Completed) {
            if !arrived(&shift.status, &node.name) {
                self.measured(
                    pool,
                    shift.spec.from,
                    shift.spec.to,
                    node.since.duration_since(started),
                );
            }
        }
    }

    /// Takes note of how long a switch of a node took.
    pub fn measured(&mut self, pool: &Arc<str>, from: Use, to: Use, took: SignedDuration) {
        Arc::make_mut(&mut self.experience).measure(pool, from, to, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    #[test]
    fn measured_times_are_believed_and_one_that_hangs_is_not() {
        let (mut observer, pool) = (Observer::default(), Arc::from("texas"));
        let takes = |observer: &Observer| {
            observer.experience().switch_takes("texas", Use::Mining, Use::Hpc).as_secs()
        };
        assert_eq!(takes(&observer), 60, "the usual time");
        observer.measured(&pool, Use::Mining, Use::Hpc, secs(200));
        assert_eq!(takes(&observer), 200, "the first measured time is taken as it is");
        observer.measured(&pool, Use::Mining, Use::Hpc, secs(100));
        assert_eq!(takes(&observer), 175);
        observer.measured(&pool, Use::Mining, Use::Hpc, secs(86_400));
        assert_eq!(takes(&observer), 175 + (600 - 175) / 4);
        let status = observer.experience().learned("texas");
        let mut restarted = Observer::default();
        restarted.recall(&pool, &status);
        assert_eq!(takes(&restarted), takes(&observer));
    }

    #[test]
    fn a_run_is_an_hour_until_jobs_say_otherwise() {
        let mut runs = Runs::default();
        assert_eq!(runs.expected().as_secs(), 3600);
        (runs.seconds, runs.ended) = (9.0 * 60.0, 9.0);
        assert_eq!(runs.expected().as_secs(), (3600 + 540) / 10);
        runs.fade(RUNS_FADE * 50.0);
        assert_eq!(runs.expected().as_secs(), 3600, "forgotten");
    }
}
