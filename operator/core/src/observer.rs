//! Learning by looking on.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use switchyard_api::{LearnedSwitch, NodeShiftStatus, Phase, Use};

use crate::{
    experience::{Experience, Regret, Unmade},
    quantity::Usd,
    snapshot::{ShiftFacts, Snapshot},
    survey::Survey,
};

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
                    let unmade = class.unmade(&pool.facts.name, gpus, from, to);
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
}
