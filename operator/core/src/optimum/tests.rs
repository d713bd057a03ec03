use std::fmt::Debug;

use super::{solver::Point, *};
use proptest::{prelude::*, test_runner::TestRunner};
use rstest::rstest;

/// A few hundred branches suffice.
const EFFORT: usize = 300;

fn usd(number: f64) -> UsdPerHour {
    UsdPerHour::new(number).unwrap()
}

fn outlet() -> impl Strategy<Value = Outlet> {
    let uses = prop_oneof![Just(Use::Mining), Just(Use::Hpc), Just(Use::Idle)];
    (uses, -20..40_i32, 0..12_u64).prop_map(|(node_use, value, watts)| Outlet {
        node_use,
        value: usd(f64::from(value) / 4.0),
        watts,
    })
}

fn class() -> impl Strategy<Value = Class> {
    (0..6_u32, prop::collection::vec(outlet(), 1..4))
        .prop_map(|(nodes, options)| Class { nodes, options })
}

fn limits() -> impl Strategy<Value = Limits> {
    let penalty = prop::option::of((0..20_i32).prop_map(|value| usd(f64::from(value) / 2.0)));
    (0..6_u32, 0..10_u32, penalty).prop_map(|(min, more, penalty)| Limits {
        min,
        max: min + more,
        penalty,
    })
}

fn problem() -> impl Strategy<Value = Problem> {
    let classes = prop::collection::vec(class(), 1..4);
    let lot = |classes: usize| {
        let nodes = prop::collection::btree_map(0..classes, 1..4_u32, 1..=classes.min(2));
        (nodes, -10..60_i32, 0..40_u64).prop_map(|(nodes, value, watts)| Lot {
            nodes: nodes.into_iter().collect(),
            value: usd(f64::from(value) / 2.0),
            watts,
        })
    };
    classes.prop_flat_map(move |classes| {
        let lots = prop::collection::vec(lot(classes.len()), 0..4);
        (Just(classes), lots, limits(), limits(), prop::option::of(0..140_u64)).prop_map(
            |(classes, lots, hpc, mining, watts)| Problem { classes, lots, hpc, mining, watts },
        )
    })
}

fn point(split: &Split) -> Point {
    let counts = split.nodes.iter().map(|class| class.iter().copied().map(i64::from).collect());
    Point { counts: counts.collect(), lots: split.lots.clone() }
}

/// Every way to put `nodes` nodes into `options` options.
fn ways(nodes: i64, options: usize) -> Vec<Vec<i64>> {
    if options == 1 {
        return vec![vec![nodes]];
    }
    let more = |first: i64| {
        ways(nodes - first, options - 1).into_iter().map(move |mut rest| {
            rest.insert(0, first);
            rest
        })
    };
    (0..=nodes).flat_map(more).collect()
}

/// The value of the best of all splits that keep the cap, or else of those that draw least.
fn brute_force(problem: &Problem) -> f64 {
    let solver = Solver::new(problem);
    let mut best = f64::NEG_INFINITY;
    for chosen in 0..1_u32 << problem.lots.len() {
        let lots: Vec<bool> = (0..problem.lots.len()).map(|lot| chosen >> lot & 1 == 1).collect();
        let mut points = vec![Vec::new()];
        for (index, class) in problem.classes.iter().enumerate() {
            let housed = problem.lots.iter().zip(&lots).filter(|(_, housed)| **housed);
            let taken: u32 = housed
                .flat_map(|(lot, _)| lot.nodes.iter().filter(|(class, _)| *class == index))
                .map(|(_, nodes)| *nodes)
                .sum();
            let left = i64::from(class.nodes) - i64::from(taken);
            let ways = if left < 0 { Vec::new() } else { ways(left, class.options.len()) };
            points = points
                .iter()
                .flat_map(|counts| {
                    ways.iter()
                        .map(move |way| [counts.as_slice(), std::slice::from_ref(way)].concat())
                })
                .collect();
        }
        for counts in points {
            let point = Point { counts, lots: lots.clone() };
            if solver.used(&point)[0] <= solver.axes[0].max {
                best = best.max(solver.value(&point));
            }
        }
    }
    best
}

/// `PROPTEST_CASES` says how many worlds are tried elsewhere; problems are small, so many more are.
fn of_many<P: Debug>(
    problems: impl Strategy<Value = P>,
    holds: impl Fn(P) -> Result<(), TestCaseError>,
) {
    let usual = ProptestConfig::default();
    let cases = 40 * usual.cases;
    let mut runner = TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..usual });
    runner.run(&problems, holds).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn no_split_is_better() {
    of_many(problem(), |problem| {
        let split = best(&problem, EFFORT);
        let solver = Solver::new(&problem);
        let value = solver.value(&point(&split));
        let wanted = brute_force(&problem);
        prop_assert!(solver.used(&point(&split))[0] <= solver.axes[0].max);
        prop_assert_eq!(split.gap, UsdPerHour::ZERO);
        prop_assert!((value - wanted).abs() < 1e-6, "{} instead of {}", value, wanted);
        Ok(())
    });
}

/// Classes of up to a thousand nodes with one limit: on those in HPC, on those that mine, or on watts.
fn one_limit() -> impl Strategy<Value = Problem> {
    let class = (0..1000_u32, prop::collection::vec(outlet(), 1..4));
    let class = class.prop_map(|(nodes, options)| Class { nodes, options });
    let penalty = prop::option::of((0..20_i32).prop_map(|value| usd(f64::from(value) / 2.0)));
    let bounds = (0..1500_u32, 0..1500_u32, penalty);
    let bounds = bounds.prop_map(|(min, more, penalty)| Limits { min, max: min + more, penalty });
    let of_what = (0..3_usize, bounds, 0..20_000_u64);
    (prop::collection::vec(class, 1..5), of_what).prop_map(|(classes, (axis, bounds, watts))| {
        let on = |limited| if axis == limited { bounds } else { Limits::NONE };
        let (hpc, mining) = (on(0), on(1));
        Problem { classes, lots: Vec::new(), hpc, mining, watts: (axis == 2).then_some(watts) }
    })
}

/// Lots that all find nodes enough, and no limit.
fn room_for_all() -> impl Strategy<Value = Problem> {
    problem().prop_map(|mut problem| {
        problem.classes.iter_mut().for_each(|class| class.nodes += 20);
        Problem { hpc: Limits::NONE, mining: Limits::NONE, watts: None, ..problem }
    })
}

/// However little effort there was: the best split is worth no more than a gap says.
#[test]
fn a_gap_is_honest() {
    of_many((problem(), 1..4_usize), |(problem, effort)| {
        let split = best(&problem, effort);
        let most = Solver::new(&problem).value(&point(&split)) + split.gap.number();
        let wanted = brute_force(&problem);
        prop_assert!(most >= wanted - 1e-6, "at most {} instead of {}", most, wanted);
        Ok(())
    });
}

/// A price for what is limited settles all but a few of thousands of nodes.
#[test]
fn one_limit_is_nearly_kept_at_once() {
    of_many(one_limit(), |problem| {
        let split = best(&problem, 1);
        let options = problem.classes.iter().flat_map(|class| &class.options);
        let node = options.map(|option| option.value.number().abs()).fold(10.0, f64::max);
        prop_assert!(split.gap.number() <= 2.0 * node, "{} USD/h to win", split.gap);
        Ok(())
    });
}

/// What nothing limits is housed if it is worth more than its nodes would be otherwise.
#[test]
fn without_limits_each_lot_is_judged_by_itself() {
    of_many(room_for_all(), |problem| {
        let split = best(&problem, 1);
        let worth = |class: usize| {
            let options = problem.classes[class].options.iter();
            options.map(|option| option.value.number()).fold(f64::NEG_INFINITY, f64::max)
        };
        for (lot, housed) in problem.lots.iter().zip(&split.lots) {
            let displaced: f64 =
                lot.nodes.iter().map(|(class, nodes)| worth(*class) * f64::from(*nodes)).sum();
            prop_assert_eq!(*housed, lot.value.number() > displaced);
        }
        prop_assert_eq!(split.gap, UsdPerHour::ZERO);
        Ok(())
    });
}

/// Two lots that want the same node, beside fifty that have just enough in another class.
#[rstest]
fn work_that_finds_no_room_leaves_other_work_where_it_is(#[values(0, 1)] crowded: usize) {
    let idle = Outlet { node_use: Use::Idle, value: usd(0.0), watts: 0 };
    let class = |nodes| Class { nodes, options: vec![idle] };
    let lot = |class, value| Lot { nodes: vec![(class, 1)], value: usd(value), watts: 0 };
    let mut classes = vec![class(50), class(50)];
    classes[crowded].nodes = 1;
    let mut lots = vec![lot(crowded, 5.0), lot(crowded, 6.0)];
    lots.extend((0..50).map(|_| lot(1 - crowded, 1.0)));
    let (hpc, mining) = (Limits::NONE, Limits::NONE);
    let split = best(&Problem { classes, lots, hpc, mining, watts: None }, 1);
    assert_eq!(split.lots[..2], [false, true]);
    assert!(split.lots[2..].iter().all(|housed| *housed));
}

/// Ten lots of which only half of the watts can be had: there are a thousand ways to choose, and what
/// cannot be best is not looked into.
#[rstest]
fn of_work_that_competes_for_watts_the_best_is_found_in_few_steps(
    #[values(0, 1, 2, 3, 4)] seed: u32,
) {
    let number =
        |index: u32, below: u32| ((100 * seed + index).wrapping_mul(2_654_435_761) >> 8) % below;
    let lot = |index: u32| Lot {
        nodes: vec![(0, 1 + number(index, 3))],
        value: usd(f64::from(500 + number(index + 50, 1000)) / 100.0),
        watts: u64::from(1000 + number(index + 70, 2000)),
    };
    let lots: Vec<_> = (0..10).map(lot).collect();
    let idle = Outlet { node_use: Use::Idle, value: usd(0.0), watts: 0 };
    let problem = Problem {
        classes: vec![Class { nodes: 100, options: vec![idle] }],
        watts: Some(lots.iter().map(|lot| lot.watts).sum::<u64>() / 2),
        lots,
        hpc: Limits::NONE,
        mining: Limits::NONE,
    };
    assert_eq!(best(&problem, EFFORT).gap, UsdPerHour::ZERO);
}

/// Thirty classes of up to a thousand nodes, two hundred lots, and a cap at two thirds of what
/// all would draw: a few hundred branches leave less than a ten-thousandth to win.
#[test]
fn a_large_site_is_split_in_few_steps() {
    let number = |seed: u32, below: u32| (seed.wrapping_mul(2_654_435_761) >> 8) % below;
    let outlet = |node_use, value: u32, watts: u32| Outlet {
        node_use,
        value: usd(f64::from(value) / 1000.0 - 0.5),
        watts: u64::from(watts),
    };
    let class = |seed: u32| Class {
        nodes: 200 + number(seed, 800),
        options: vec![
            outlet(Use::Mining, number(seed + 100, 4000), 2000 + number(seed + 200, 1500)),
            outlet(Use::Idle, 400, 400 + number(seed + 300, 300)),
            outlet(Use::Hpc, 400, 400 + number(seed + 300, 300)),
        ],
    };
    let classes: Vec<_> = (0..30).map(class).collect();
    let lot = |seed: u32| {
        let nodes = 1 + number(seed, 8);
        Lot {
            nodes: vec![(usize::try_from(number(seed + 1, 30)).unwrap(), nodes)],
            value: usd(f64::from(nodes * number(seed + 2, 20_000)) / 1000.0),
            watts: u64::from(nodes * (3000 + number(seed + 3, 2000))),
        }
    };
    let most = classes.iter().map(|class| u64::from(class.nodes) * class.options[0].watts);
    let problem = Problem {
        watts: Some(most.sum::<u64>() * 2 / 3),
        lots: (0..200).map(|index| lot(1000 + 4 * index)).collect(),
        hpc: Limits { min: 500, ..Limits::NONE },
        mining: Limits { min: 3000, max: 9000, penalty: None },
        classes,
    };
    let split = best(&problem, 50);
    let value = Solver::new(&problem).value(&point(&split));
    assert!(split.gap.number() < value.abs() * 1e-4, "{}", split.gap);
}
