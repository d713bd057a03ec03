//! No policy beats the bound, and the bound is not far from what can be reached.

// Times and sizes are small whole numbers here.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod support;

use support::{
    random, shared,
    tiny::{self, Tiny},
    wild,
};
use switchyard_sim::{
    bound::{Effort, clairvoyant, prompt},
    engine::run,
    policy::{Fixed, Policy, Rules, Serve, Switch},
    series::Series,
    site::{Job, Placement, Site},
};

/// Sites to try: fewer where nothing is optimised.
const SITES: u64 = if cfg!(debug_assertions) { 150 } else { 4000 };
/// Of these, such as are solved by other means.
const SOLVED: u64 = if cfg!(debug_assertions) { 4 } else { 200 };

const QUICK: Effort = Effort { iterations: 25, cell_seconds: 1800.0 };

/// The bound holds for any rents, so it must hold however little effort is made.
fn bound(site: &Site, effort: Effort) -> f64 {
    let bound = clairvoyant(site, effort).usd;
    assert!(bound.is_finite());
    bound
}

fn tolerance(usd: f64) -> f64 {
    1e-6 * usd.abs().max(1.0)
}

#[test]
fn no_policy_beats_it_on_thousands_of_sites() {
    for seed in 0..SITES {
        let site = random::site(seed);
        let cell_seconds = [300.0, 1800.0, 7200.0][usize::try_from(seed % 3).unwrap()];
        let bound = bound(&site, Effort { iterations: 1 + (seed as usize % 4) * 10, cell_seconds });
        for mut policy in wild::policies(&site, seed) {
            let outcome = run(&site, policy.as_mut());
            let (policy, usd) = (outcome.policy, outcome.usd_net);
            assert!(
                usd <= bound + tolerance(bound),
                "seed {seed}: {policy} earns {usd} where {bound} is the bound"
            );
        }
    }
}

/// Who starts every job as it comes earns no more than the best who does.
#[test]
fn nobody_beats_the_prompt_bound_who_lets_no_job_wait() {
    let mut prompt_runs = 0;
    for seed in 0..SITES {
        let site = random::site(seed);
        let bound = prompt(&site).min(bound(&site, QUICK));
        let runs = wild::policies(&site, seed).into_iter();
        let runs = runs.map(|mut policy| run(&site, policy.as_mut()));
        for outcome in runs.filter(|outcome| outcome.waits.iter().all(|wait| *wait <= 0.0)) {
            prompt_runs += usize::from(!outcome.waits.is_empty());
            let (policy, usd) = (outcome.policy, outcome.usd_net);
            assert!(
                usd <= bound + tolerance(bound),
                "seed {seed}: {policy} earns {usd} where {bound} is the bound"
            );
        }
    }
    assert!(prompt_runs as u64 > SITES, "only {prompt_runs} runs with jobs let none wait");
}

/// A node of 8 GPUs that mines at 1.20 USD per hour, power at 0.05 USD/kWh: 0.115 USD for its GPUs'
/// mining, 0.035 for idling with its host, and 0.015 USD for each busy GPU.
#[test]
fn the_prompt_bound_of_a_site_worked_out_by_hand() {
    let mut site = random::plain(1);
    site.model.pue = 1.0;
    site.length = 4.0 * 3600.0;
    site.hpc = Series::new([(0.0, 0.5), (3600.0, 2.0)]);
    site.profiles = vec![random::profile(Series::constant(36e-9), 0.0)];
    let (mining, idle, busy) = (1.2 - 0.115, -0.035, 0.015);
    let of = |jobs: &[Job]| prompt(&Site { jobs: jobs.to_vec(), ..site.clone() });
    let near =
        |found: f64, worth: f64| assert!((found - worth).abs() < 1e-9, "{found} for {worth}");
    near(of(&[]), 4.0 * mining);
    // It does not wait for the better price of the second hour, and at 0.50 USD a node is not opened for it.
    near(of(&[random::job(0.0, 1, 3600.0)]), 4.0 * mining);
    let early = random::job(0.0, 4, 3600.0);
    near(of(&[early]), 3.0 * mining + idle + 4.0 * (0.5 - busy));
    // Two jobs of an hour at the better price, half an hour apart: the node is open for 90 minutes.
    let later = [random::job(3600.0, 1, 3600.0), random::job(5400.0, 1, 3600.0)];
    near(of(&later), 2.5 * mining + 1.5 * idle + 2.0 * (2.0 - busy));
}

/// The relaxation can be solved by the book where it is tiny, and the best plan be found by trying
/// everything.
#[test]
fn it_is_the_relaxation_and_near_what_can_be_reached() {
    let effort = Effort { iterations: 2000, cell_seconds: tiny::SLOT };
    for sizes in [&[1, 2, 4, 8][..], &[8, 16], &[1, 5], &[5], &[3, 5, 12, 16]] {
        let (mut looseness, mut reached) = (Vec::new(), 0);
        for seed in 0..SOLVED {
            let tiny = Tiny::random(seed, 3, sizes);
            let (best, relaxed, bound) = (tiny.best(), tiny.relaxed(), bound(&tiny.site(), effort));
            let scale = relaxed.abs().max(1.0);
            assert!(bound >= best - 1e-9 * scale, "seed {seed}: {best} instead of {bound}");
            assert!(bound >= relaxed - 1e-6 * scale, "seed {seed}: {relaxed} instead of {bound}");
            assert!(bound <= relaxed + 1e-3 * scale, "seed {seed}: {relaxed} instead of {bound}");
            reached += u64::from(bound - best <= 1e-3 * scale);
            looseness.push((bound - tiny.rest()) / (best - tiny.rest()));
        }
        let (mean, most) = mean_and_most(&looseness);
        println!(
            "jobs of {sizes:?} GPUs: bound / best plan {mean:.3} on average, {most:.3} at most; \
             {reached} of {SOLVED} are equal"
        );
        assert!(mean < 1.3);
    }
}

fn mean_and_most(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().copied().fold(0.0, f64::max))
}

/// One job with more room than it needs: the bound is its best start, which is looked for here at
/// every second.
#[test]
fn a_job_starts_when_it_is_best_for_it() {
    for seed in 0..200 {
        let mut chance = random::Chance(seed);
        let mut site = random::plain(1);
        site.length = 4000.0;
        site.model.patience = 1500.0;
        let mut series = |low: f64, high: f64| {
            let step = 100.0 + 50.0 * chance.below(20) as f64;
            let points = (0..40).map(|point| (f64::from(point) * step, chance.between(low, high)));
            Series::new(points.collect::<Vec<_>>())
        };
        site.power = series(-0.1, 0.6);
        site.hpc = series(-0.1, 0.3);
        // Mining never pays, so that HPC costs no rent.
        site.profiles = vec![random::profile(Series::constant(0.0), 0.0)];
        site.classes[0].mining_watts = vec![50.0];
        let duration = 50.0 * (1 + chance.below(80)) as f64;
        let job = random::job(50.0 * chance.below(79) as f64, 5, duration);
        site.jobs = vec![job.clone()];
        let mut paid = vec![0.0];
        for second in 0..4000 {
            let power = site.power.at(f64::from(second)) * site.model.pue / 3.6e6;
            paid.push(paid.last().unwrap() + power);
        }
        let cost =
            |from: f64, to: f64, watts: f64| watts * (paid[to as usize] - paid[from as usize]);
        let starts =
            (0..=1500).map(|wait| job.submit + f64::from(wait)).filter(|start| *start < 4000.0);
        let values = starts.map(|start| {
            let end = (start + duration).min(4000.0);
            // Just before a price changes it is the old one.
            let before = site.hpc.at(if start > job.submit { start - 1.0 } else { start });
            let price = site.hpc.at(start).max(before);
            price * 5.0 * (end - start) / 3600.0 - cost(start, end, 5.0 * 300.0)
        });
        let best = values.fold(0.0, f64::max) - cost(0.0, 4000.0, 300.0 + 8.0 * 50.0);
        let bound = bound(&site, Effort { iterations: 1, cell_seconds: 700.0 });
        assert!((bound - best).abs() < 1e-9, "seed {seed}: {bound} instead of {best}");
    }
}

/// The real sites, where they are beside the project.
#[test]
fn no_policy_beats_it_on_real_sites() {
    // Without optimisation one of them takes long enough.
    let all = !cfg!(debug_assertions);
    for known in shared::SITES.into_iter().filter(|(name, ..)| all || name.starts_with("new")) {
        let Some(site) = shared::read(known, Placement::MostAllocated) else {
            println!("{} is not here: left out", known.0);
            continue;
        };
        let bound = bound(&site, QUICK);
        let whenever = Rules::new("hpc-whenever-asked", Serve::Always, Switch::Mine);
        let policies: [Box<dyn Policy>; 3] =
            [Box::new(Fixed::mining(&site)), Box::new(Fixed::hpc(&site)), Box::new(whenever)];
        let earned = policies.map(|mut policy| run(&site, policy.as_mut()).usd_net);
        assert!(earned.iter().all(|usd| *usd <= bound), "{}: {earned:?}, {bound}", site.name);
        let share = earned.into_iter().fold(0.0, f64::max) / bound;
        assert!(share > 0.7, "{}: {share}", site.name);
    }
}

#[test]
fn more_effort_never_gives_a_higher_bound() {
    for seed in 0..SITES / 10 {
        let site = random::site(seed);
        let bounds = [1, 10, 100].map(|iterations| bound(&site, Effort { iterations, ..QUICK }));
        assert!(bounds.is_sorted_by(|less, more| less >= more), "seed {seed}: {bounds:?}");
    }
}

#[test]
fn it_is_the_same_twice() {
    let site = random::site(7);
    assert_eq!(clairvoyant(&site, QUICK), clairvoyant(&site, QUICK));
}

/// Where jobs do not fit together, the bound is loose, because it knows GPUs and no nodes.
#[test]
fn packing_is_what_it_does_not_know() {
    for (name, sizes) in
        [("1", &[1][..]), ("1 and 5", &[1, 5]), ("5", &[5]), ("gangs", &[1, 12, 16])]
    {
        let looseness: Vec<f64> = (0..SOLVED.min(20))
            .map(|seed| {
                let site = random::crowded(seed, sizes);
                let base = run(&site, &mut wild::idle(&site)).usd_net;
                let best = wild::best(&site, seed).usd_net - base;
                (bound(&site, Effort::default()) - base) / best
            })
            .collect();
        let mean = looseness.iter().sum::<f64>() / looseness.len() as f64;
        let most = looseness.iter().copied().fold(0.0, f64::max);
        println!(
            "jobs of {name} GPUs: bound / best policy {mean:.3} on average, {most:.3} at most"
        );
        assert!(mean < 2.0, "{name}: {looseness:?}");
    }
}
