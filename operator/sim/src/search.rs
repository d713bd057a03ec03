//! Policies that are tuned in hindsight: what the best of a kind would have earned.

use std::collections::BTreeMap;

use crate::{
    engine::{self, Activity},
    policy::{Fixed, Rules, Serve, Switch, Worth, seen},
    site::Site,
};

/// The best fixed split: so many nodes of each class open for jobs, the rest doing for good what pays
/// better over the whole window, mining or nothing.
///
/// Coordinate search: the count of one class after the other is tried in steps that halve, until no
/// single change is better. Exact for one class if the outcome has one peak, which it does but for
/// noise of the queue.
pub fn best_static(site: &Site) -> Fixed {
    let rest = best_rest(site);
    let sizes: Vec<usize> = (0..site.classes.len())
        .map(|class| site.nodes.iter().filter(|node| node.class == class).count())
        .collect();
    let fixed = |split: &[usize]| Fixed::new("best-static", spread(site, split, &rest));
    let mut tried: BTreeMap<Vec<usize>, f64> = BTreeMap::new();
    let mut value = |split: &[usize]| {
        let run = || engine::run(site, &mut fixed(split)).usd_net;
        *tried.entry(split.to_vec()).or_insert_with(run)
    };
    let mut best = vec![0; sizes.len()];
    let mut best_value = value(&best);
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let mut step = largest.next_power_of_two().max(1);
    while step > 0 {
        let mut better = true;
        while better {
            better = false;
            for class in (0..sizes.len()).filter(|class| site.classes[*class].eligible) {
                let count = best[class];
                for count in [count.saturating_sub(step), (count + step).min(sizes[class])] {
                    let mut split = best.clone();
                    split[class] = count;
                    let found = value(&split);
                    if found > best_value {
                        (best, best_value, better) = (split, found, true);
                    }
                }
            }
        }
        step /= 2;
    }
    fixed(&best)
}

/// What nodes without jobs of each class do for good: the better one over the whole window.
fn best_rest(site: &Site) -> Vec<Activity> {
    let steps = (site.length / site.model.step).ceil();
    let mut sums = vec![vec![0.0; site.profiles.len() + 1]; site.classes.len()];
    let mut time = 0.0;
    while time < steps * site.model.step {
        // What is seen a step later is what was true.
        let prices = seen(site, time + site.model.step);
        for (class, sums) in sums.iter_mut().enumerate() {
            let worth = Worth::of(site, class, &prices);
            for (profile, sum) in sums.iter_mut().enumerate() {
                *sum += match worth.profiles.get(profile) {
                    Some(value) => value.unwrap_or(f64::NEG_INFINITY),
                    None => worth.idle,
                };
            }
        }
        time += site.model.step;
    }
    let best = sums.into_iter().map(|sums| {
        let best = sums.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1));
        match best {
            Some((profile, _)) if profile < site.profiles.len() => Activity::Mining(profile),
            _ => Activity::Idle,
        }
    });
    best.collect()
}

/// The first nodes of each class open for jobs, the others at rest.
fn spread(site: &Site, split: &[usize], rest: &[Activity]) -> Vec<Activity> {
    let mut left = split.to_vec();
    let start = site.nodes.iter().map(|node| {
        if left[node.class] > 0 {
            left[node.class] -= 1;
            Activity::Hpc
        } else {
            rest[node.class]
        }
    });
    start.collect()
}

/// What rules with thresholds can reach when they know what policies know, and the thresholds are
/// chosen with the whole window in sight: coordinate search over when jobs are served and refused,
/// when an empty node is taken back, and from which lead on mining begins and ends.
pub fn causal_ceiling(site: &Site) -> Rules {
    let scale = usual_lead(site);
    let mut best = Tuned { serve: 2, switch: 0, idle_after: 0, refuse: 1 };
    let mut tried: BTreeMap<Tuned, f64> = BTreeMap::new();
    let mut value = |tuned: Tuned| {
        let run = || engine::run(site, &mut tuned.rules(scale)).usd_net;
        *tried.entry(tuned).or_insert_with(run)
    };
    let mut best_value = value(best);
    let mut better = true;
    while better {
        better = false;
        for tuned in best.neighbours() {
            let found = value(tuned);
            if found > best_value {
                (best, best_value, better) = (tuned, found, true);
            }
        }
    }
    best.rules(scale)
}

/// A choice of thresholds, as places in the lists below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Tuned {
    serve: usize,
    switch: usize,
    idle_after: usize,
    refuse: usize,
}

/// A job is served if it pays so many times what it displaces.
const SERVE: [f64; 7] = [0.0, 0.6, 1.0, 1.3, 1.8, 2.5, 4.0];
/// An empty open node is taken back after so many seconds.
const IDLE_AFTER: [f64; 4] = [0.0, 300.0, 1200.0, 7200.0];
/// Mining begins at the first and ends at the second multiple of the usual lead; a negative end
/// stops it while it still leads.
const SWITCH: [(f64, f64); 9] = [
    (0.0, 0.0),
    (0.05, 0.05),
    (0.2, 0.2),
    (0.5, 0.5),
    (1.0, 1.0),
    (0.2, 0.0),
    (0.0, 0.2),
    (0.1, -0.05),
    (0.3, -0.1),
];

impl Tuned {
    /// Every choice that differs in one.
    fn neighbours(self) -> Vec<Self> {
        let serve = (0..SERVE.len()).map(|serve| Self { serve, ..self });
        let switch = (0..SWITCH.len()).map(|switch| Self { switch, ..self });
        let idle = (0..IDLE_AFTER.len()).map(|idle_after| Self { idle_after, ..self });
        let refuse = (0..2).map(|refuse| Self { refuse, ..self });
        serve.chain(switch).chain(idle).chain(refuse).collect()
    }

    fn rules(self, scale: f64) -> Rules {
        let (enter, leave) = SWITCH[self.switch];
        let switch = Switch::Thresholds { enter: enter * scale, leave: leave * scale };
        let mut rules = Rules::new("causal-ceiling", Serve::IfPays(SERVE[self.serve]), switch);
        rules.idle_after = IDLE_AFTER[self.idle_after];
        rules.refuse = self.refuse == 1;
        rules
    }
}

/// By how much mining and doing nothing usually differ, USD per hour and node: the mean over the
/// window and the classes.
fn usual_lead(site: &Site) -> f64 {
    let steps = 500_u32;
    let (mut sum, mut count) = (0.0, 0.0);
    for step in 0..steps {
        let prices = seen(site, site.length * f64::from(step) / f64::from(steps));
        for class in 0..site.classes.len() {
            let worth = Worth::of(site, class, &prices);
            if let Some((_, mining)) = worth.mining {
                sum += (mining - worth.idle).abs();
                count += 1.0;
            }
        }
    }
    if count > 0.0 { sum / count } else { 0.0 }
}
