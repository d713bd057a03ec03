//! Money is conserved: an auditor who keeps books of his own, node by node and job by job, from nothing
//! but what policies are shown, comes to the same result as the ledger.

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::{random, wild::Wild};
use switchyard_sim::{
    engine::{self, Activity, Running},
    policy::{Decision, Policy, View},
    series::Series,
    site::Site,
};

/// Watches another policy at work.
struct Auditor<P> {
    policy: P,
    /// What each node does, and since when.
    nodes: Vec<(Activity, f64)>,
    /// When policies were asked last.
    asked: f64,
    jobs: BTreeMap<usize, Running>,
    /// What mining brought beyond what an idle node would have cost, USD.
    mined: f64,
}

impl<P: Policy> Policy for Auditor<P> {
    fn name(&self) -> &'static str {
        "audited"
    }

    fn start(&self, site: &Site) -> Vec<Activity> {
        self.policy.start(site)
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        if self.nodes.is_empty() {
            self.nodes = view.nodes.iter().map(|node| (node.activity, 0.0)).collect();
        }
        for (index, node) in view.nodes.iter().enumerate() {
            let (before, since) = self.nodes[index];
            if before != node.activity {
                self.mined += mining(view.site, node.class, before, since, self.asked);
                self.nodes[index] = (node.activity, node.since);
            }
        }
        for running in view.running {
            self.jobs.insert(running.job, running.clone());
        }
        self.asked = view.now;
        // At the end nothing may happen that nobody sees.
        if view.now + 3.0 * view.site.model.step >= view.site.length {
            return Decision { refuse: view.waiting.to_vec(), ..Decision::default() };
        }
        self.policy.decide(view)
    }
}

/// What a node mined from one time to another, less what it drew beyond idling, USD.
fn mining(site: &Site, class: usize, activity: Activity, from: f64, to: f64) -> f64 {
    let Activity::Mining(profile) = activity else { return 0.0 };
    let (class, profile_facts) = (&site.classes[class], &site.profiles[profile]);
    let gpus = f64::from(class.gpus);
    let rate = class.hashrate[profile].unwrap_or(0.0) * gpus * profile_facts.arriving / 24.0;
    let more_watts = gpus * (class.mining_watts[profile] - class.idle_watts);
    rate * hours(&profile_facts.income, from, to) - energy(site, more_watts, from, to)
}

/// What power costs, USD.
fn energy(site: &Site, watts: f64, from: f64, to: f64) -> f64 {
    watts / 1000.0 * site.model.pue * hours(&site.power, from, to)
}

/// The integral of a series over time, by the hour.
fn hours(series: &Series, from: f64, to: f64) -> f64 {
    let to = to.max(from);
    let inner = series.changes().filter(|time| *time > from && *time < to);
    let borders: Vec<f64> = std::iter::once(from).chain(inner).chain([to]).collect();
    borders.windows(2).map(|pair| series.at(pair[0]) * (pair[1] - pair[0]) / 3600.0).sum()
}

impl<P> Auditor<P> {
    /// What the window brought, USD.
    fn total(&self, site: &Site) -> f64 {
        let end = site.length;
        let resting = site.nodes.iter().map(|node| {
            let class = &site.classes[node.class];
            energy(site, class.host_watts + f64::from(class.gpus) * class.idle_watts, 0.0, end)
        });
        let still = self.nodes.iter().zip(&site.nodes);
        let still =
            still.map(|((activity, since), node)| mining(site, node.class, *activity, *since, end));
        let jobs = self.jobs.values().map(|running| {
            let over = (running.started + site.jobs[running.job].duration).min(end);
            let paid = running.price * f64::from(running.gpus) * (over - running.started) / 3600.0;
            let watts = running.nodes.iter().map(|(node, gpus)| {
                let class = &site.classes[site.nodes[*node].class];
                f64::from(*gpus) * (class.hpc_watts - class.idle_watts)
            });
            paid - energy(site, watts.sum(), running.started, over)
        });
        self.mined + still.sum::<f64>() + jobs.sum::<f64>() - resting.sum::<f64>()
    }
}

proptest! {
    #[test]
    fn the_ledger_and_an_auditor_agree(seed: u64) {
        let mut site = random::site(seed);
        // A job that comes and goes between two looks would be missed by the auditor.
        for job in &mut site.jobs {
            job.duration = job.duration.max(2.0 * site.model.step);
        }
        let mut auditor = Auditor {
            policy: Wild::new(seed),
            nodes: Vec::new(),
            asked: 0.0,
            jobs: BTreeMap::new(),
            mined: 0.0,
        };
        let outcome = engine::run(&site, &mut auditor);
        let audited = auditor.total(&site);
        let scale = 1.0 + outcome.money.hpc_income.abs() + outcome.money.mining_income.abs();
        prop_assert!(
            (audited - outcome.usd_net).abs() < 1e-6 * scale,
            "the auditor has {audited}, the ledger {}", outcome.usd_net
        );
        let again = engine::run(&site, &mut Wild::new(seed));
        prop_assert_eq!(again.clone(), engine::run(&site, &mut Wild::new(seed)), "the same again");
    }
}
