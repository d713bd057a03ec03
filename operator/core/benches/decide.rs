//! How long one full decision takes, from a snapshot by the survey to the plan, on one core; and how long it
//! takes to see that none is needed.
//!
//! `cargo xtask bench decide` runs it and judges. It prints one row of JSON per cluster; two numbers
//! as arguments, nodes and gangs, make it look at that cluster alone.

// Here the clock is what is asked.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

mod cluster;

use std::{
    alloc::System,
    hint::black_box,
    time::{Duration, Instant},
};

use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use switchyard_core::{plan, snapshot::Snapshot, standing::Standing, survey};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Nodes of each cluster, and how much waits there: the same everywhere, and in proportion.
const CLUSTERS: [(usize, usize); 9] = [
    (1_000, 500),
    (3_000, 500),
    (10_000, 500),
    (30_000, 500),
    (100_000, 500),
    (1_000, 50),
    (3_000, 150),
    (30_000, 1_500),
    (100_000, 5_000),
];
const RUNS: std::ops::RangeInclusive<usize> = 11..=201;
const AT_LEAST: Duration = Duration::from_secs(3);

fn main() {
    let asked: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let clusters = match asked[..] {
        [nodes, gangs] => vec![(nodes, gangs)],
        _ => CLUSTERS.to_vec(),
    };
    for (nodes, gangs) in clusters {
        let snapshot = cluster::snapshot(nodes, gangs);
        let times = times(|| drop(black_box(decide(&snapshot))));
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
        let row = json!({
            "nodes": nodes,
            "pods": snapshot.pods.len(),
            "gangs": gangs,
            "decide_ms_min": at(0),
            "decide_ms_p50": at(50),
            "decide_ms_p95": at(95),
            "allocations": allocations(&snapshot),
            "unchanged_us_p50": unchanged(cluster::at_rest(snapshot)).as_secs_f64() * 1e6,
        });
        println!("{row}");
    }
}

/// How long it took each time, the quickest first.
fn times(work: impl Fn()) -> Vec<Duration> {
    work();
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.len() < *RUNS.start() || (times.len() < *RUNS.end() && begun.elapsed() < AT_LEAST) {
        let started = Instant::now();
        work();
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times
}

/// How often one decision asks for memory.
fn allocations(snapshot: &Snapshot) -> usize {
    let region = Region::new(ALLOCATOR);
    black_box(decide(snapshot));
    let asked = region.change();
    asked.allocations + asked.reallocations
}

/// How long it takes to see, on a cluster at rest, that nothing relevant has changed; the median.
fn unchanged(snapshot: Snapshot) -> Duration {
    let standing = decide(&snapshot).expect("a plan for a cluster at rest stands");
    let Snapshot { now, signals, forecasts, .. } = snapshot;
    let times = times(|| {
        assert!(standing.holds(black_box(now), black_box(&signals), black_box(&forecasts)));
    });
    times[times.len() / 2]
}

fn decide(snapshot: &Snapshot) -> Option<Standing> {
    let survey = survey::survey(black_box(snapshot));
    let plan = black_box(plan::decide(&survey));
    Standing::of(&survey, &plan)
}
