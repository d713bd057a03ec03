use std::fmt::Debug;

use super::{
    solver::{Branch, Point, Relaxed, amounts},
    *,
};
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

/// Does a branch have a split?
fn within(branch: &Branch, point: &Point) -> bool {
    let mut lots = branch.lots.iter().zip(&point.lots);
    let mut counts = branch.counts.iter().flatten().zip(point.counts.iter().flatten());
    lots.all(|(decided, housed)| decided.is_none_or(|decided| decided == *housed))
        && counts.all(|((least, most), count)| (least..=most).contains(&count))
}

/// Every split of a branch.
fn splits(problem: &Problem, branch: &Branch) -> Vec<Point> {
    let mut all = Vec::new();
    for chosen in 0..1_u32 << problem.lots.len() {
        let lots: Vec<bool> = (0..problem.lots.len()).map(|lot| chosen >> lot & 1 == 1).collect();
        let mut decided = branch.lots.iter().zip(&lots);
        if decided.any(|(decided, housed)| decided.is_some_and(|decided| decided != *housed)) {
            continue;
        }
        let mut points = vec![Vec::new()];
        for (index, class) in problem.classes.iter().enumerate() {
            let housed = problem.lots.iter().zip(&lots).filter(|(_, housed)| **housed);
            let taken: u32 = housed
                .flat_map(|(lot, _)| lot.nodes.iter().filter(|(class, _)| *class == index))
                .map(|(_, nodes)| *nodes)
                .sum();
            let left = i64::from(class.nodes) - i64::from(taken);
            let mut ways = if left < 0 { Vec::new() } else { ways(left, class.options.len()) };
            ways.retain(|way| {
                let mut bounds = way.iter().zip(&branch.counts[index]);
                bounds.all(|(count, (least, most))| (least..=most).contains(&count))
            });
            points = points
                .iter()
                .flat_map(|counts| {
                    ways.iter()
                        .map(move |way| [counts.as_slice(), std::slice::from_ref(way)].concat())
                })
                .collect();
        }
        all.extend(points.into_iter().map(|counts| Point { counts, lots: lots.clone() }));
    }
    all
}

/// By how much a split exceeds the cap.
fn over(solver: &Solver<'_>, point: &Point) -> i64 {
    (solver.used(point)[0] - solver.axes[0].max).max(0)
}

/// The value of the best of all splits of a branch that keep the cap.
fn best_of(problem: &Problem, branch: &Branch) -> f64 {
    let solver = Solver::new(problem);
    let splits = splits(problem, branch).into_iter();
    let kept = splits.filter(|point| over(&solver, point) == 0);
    kept.map(|point| solver.value(&point)).fold(f64::NEG_INFINITY, f64::max)
}

/// The value of the best of all splits that keep the cap, or else of those that draw least.
fn brute_force(problem: &Problem) -> f64 {
    best_of(problem, &Solver::new(problem).root())
}

/// Numbers below others, as a seed has them.
fn dice(seed: u32) -> impl FnMut(i64) -> i64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i64::from(state >> 8) % below
    }
}

/// Any split, whatever it is worth.
fn some_split(problem: &Problem, roll: &mut impl FnMut(i64) -> i64) -> Point {
    let mut left: Vec<_> = problem.classes.iter().map(|class| i64::from(class.nodes)).collect();
    let mut house = |lot: &Lot| {
        let fits = lot.nodes.iter().all(|(class, nodes)| i64::from(*nodes) <= left[*class]);
        let housed = fits && roll(2) == 0;
        for (class, nodes) in lot.nodes.iter().filter(|_| housed) {
            left[*class] -= i64::from(*nodes);
        }
        housed
    };
    let lots = problem.lots.iter().map(&mut house).collect();
    let mut share = |(class, nodes): (&Class, i64)| {
        let mut counts = vec![0; class.options.len()];
        for _ in 0..nodes {
            let option = roll(i64::try_from(counts.len()).unwrap());
            counts[usize::try_from(option).unwrap()] += 1;
        }
        counts
    };
    let counts = problem.classes.iter().zip(left).map(&mut share).collect();
    Point { counts, lots }
}

/// A branch that a split is in: some of its lots decided, or all and the counts bounded.
fn around(problem: &Problem, point: &Point, roll: &mut impl FnMut(i64) -> i64) -> Branch {
    let mut branch = Solver::new(problem).root();
    let openness = roll(4);
    for (decided, housed) in branch.lots.iter_mut().zip(&point.lots) {
        *decided = (roll(4) >= openness).then_some(*housed);
    }
    if branch.lots.iter().all(Option::is_some) {
        let bounds = branch.counts.iter_mut().flatten().zip(point.counts.iter().flatten());
        for ((least, most), count) in bounds {
            (*least, *most) = ((count - roll(4)).max(*least), (count + roll(4)).min(*most));
        }
    }
    branch
}

/// With a split, and a branch that it is in.
fn branched(
    problems: impl Strategy<Value = Problem>,
) -> impl Strategy<Value = (Problem, Point, Branch)> {
    (problems, any::<u32>()).prop_map(|(problem, seed)| {
        let mut roll = dice(seed);
        let point = some_split(&problem, &mut roll);
        let branch = around(&problem, &point, &mut roll);
        (problem, point, branch)
    })
}

/// What a split becomes when more and more nodes of an option take another, as the branch has it.
fn changed(branch: &Branch, point: &Point) -> Vec<Vec<Point>> {
    let mut all = Vec::new();
    for (class, bounds) in branch.counts.iter().enumerate() {
        for (from, to) in
            (0..bounds.len()).flat_map(|from| (0..bounds.len()).map(move |to| (from, to)))
        {
            let mut after = point.clone();
            let mut some = Vec::new();
            while from != to
                && after.counts[class][from] > bounds[from].0
                && after.counts[class][to] < bounds[to].1
            {
                after.counts[class][from] -= 1;
                after.counts[class][to] += 1;
                some.push(after.clone());
            }
            all.push(some);
        }
    }
    all
}

/// How much a change helps: per watt if there is a cap to come below, and nothing if it does not.
fn merit(problem: &Problem, before: &Point, after: &Point) -> Option<f64> {
    let solver = Solver::new(problem);
    let (over, still) = (over(&solver, before), over(&solver, after));
    let uncapped = Problem { watts: None, ..problem.clone() };
    let value = |point| Solver::new(&uncapped).value(point);
    let gain = value(after) - value(before);
    match over - still {
        0 if over == 0 => (gain > 1e-9).then_some(gain),
        saved => (saved > 0).then(|| gain / saved as f64),
    }
}

/// Prices of what is limited at which a node is worth the same in two options, and the least and the
/// highest that make sense.
fn turns(problem: &Problem, axis: usize) -> Vec<f64> {
    let solver = Solver::new(problem);
    let (less, more) = (-solver.axes[axis].less, solver.axes[axis].more);
    let mut prices = vec![less, 0.0, more];
    for class in &problem.classes {
        for (one, other) in class.options.iter().flat_map(|one| {
            let others = class.options.iter();
            others.map(move |other| (one, other))
        }) {
            let amount = amounts(one)[axis] - amounts(other)[axis];
            let price = (one.value - other.value).number() / amount as f64;
            prices.extend((amount != 0 && (less..=more).contains(&price)).then_some(price));
        }
    }
    prices
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

/// While the cap is exceeded, what costs least for each watt; then what gains most. Fewer nodes than
/// would keep the cap need not be looked at: another change can follow.
#[test]
fn of_all_changes_of_one_option_the_best_is_made() {
    of_many(branched(problem()), |(problem, before, branch)| {
        let solver = Solver::new(&problem);
        let mut after = before.clone();
        let made = solver.improve(&branch, &mut after);
        let all = changed(&branch, &before);
        let most = all.iter().flat_map(|some| {
            let enough = |point: &&Point| over(&solver, point) == 0 || some.last() == Some(point);
            some.iter().filter(enough).filter_map(|after| merit(&problem, &before, after))
        });
        let most = most.max_by(f64::total_cmp);
        prop_assert_eq!(made, most.is_some());
        if let Some(most) = most {
            prop_assert!(all.concat().contains(&after), "{:?}", after);
            let merit = merit(&problem, &before, &after);
            prop_assert!(merit.is_some_and(|merit| merit > most - 1e-6), "{:?}, {}", merit, most);
        } else {
            prop_assert_eq!(before, after);
        }
        Ok(())
    });
}

#[test]
fn a_branch_is_worth_no_more_than_its_bound() {
    of_many(branched(problem()), |(problem, _, branch)| {
        let relaxed = Solver::new(&problem).relax(&branch, Prices::default()).unwrap();
        let wanted = best_of(&problem, &branch);
        prop_assert!(relaxed.bound >= wanted - 1e-6, "{} for {}", relaxed.bound, wanted);
        Ok(())
    });
}

/// What is repaired is a split of the branch that keeps the cap, and no change of one option is
/// better. There is none only if lots are to be housed that leave no such split.
#[test]
fn what_is_repaired_keeps_the_cap_and_is_best_of_all_near_it() {
    of_many(branched(problem()), |(problem, _, branch)| {
        let solver = Solver::new(&problem);
        let relaxed = solver.relax(&branch, Prices::default()).unwrap();
        let splits = splits(&problem, &branch);
        let Some((value, point)) = solver.repair(&branch, &relaxed) else {
            let mut firm = splits.iter().filter(|point| {
                let mut lots = branch.lots.iter().zip(&point.lots);
                lots.all(|(decided, housed)| decided.unwrap_or(false) == *housed)
            });
            prop_assert!(firm.all(|point| over(&solver, point) > 0));
            return Ok(());
        };
        prop_assert!(within(&branch, &point), "{:?}", point);
        prop_assert_eq!(over(&solver, &point), 0);
        prop_assert!((solver.value(&point) - value).abs() < 1e-9);
        let near = changed(&branch, &point).concat();
        prop_assert!(near.iter().all(|after| merit(&problem, &point, after).is_none()));
        Ok(())
    });
}

/// Each split of a branch is in one of its parts, of which there are several. What looks best comes
/// last.
#[test]
fn the_parts_of_a_branch_are_all_of_it() {
    of_many(branched(problem()), |(problem, _, branch)| {
        let solver = Solver::new(&problem);
        let relaxed = solver.relax(&branch, Prices::default()).unwrap();
        let found = solver.repair(&branch, &relaxed);
        let parts = solver.split(&branch, &relaxed, found.as_ref().map(|(_, point)| point));
        let Some(last) = parts.last() else {
            // Nothing is better than what was found, if anything.
            let known = found.map_or(f64::NEG_INFINITY, |(value, _)| value);
            prop_assert!(best_of(&problem, &branch) <= known + 1e-9);
            return Ok(());
        };
        prop_assert!(parts.len() > 1);
        for point in splits(&problem, &branch) {
            let having = parts.iter().filter(|part| within(part, &point)).count();
            prop_assert_eq!(having, 1, "{:?}", point);
        }
        if branch.lots.iter().all(Option::is_some) {
            prop_assert!(found.is_some_and(|(_, point)| within(last, &point)));
        } else {
            let mut lots = last.lots.iter().zip(&relaxed.lots);
            prop_assert!(lots.all(|(decided, lot)| decided.is_none_or(|decided| decided == *lot)));
        }
        Ok(())
    });
}

/// With one limit no price gives a lower bound.
#[test]
fn the_price_of_one_limit_is_the_best() {
    of_many(one_limit(), |problem| {
        let solver = Solver::new(&problem);
        let root = solver.root();
        let bound = solver.relax(&root, Prices::default()).unwrap().bound;
        for axis in 0..solver.axes.len() {
            for price in turns(&problem, axis) {
                let mut prices = Prices::default();
                prices[axis] = price;
                let other = solver.priced(&root, prices).unwrap().bound;
                prop_assert!(bound <= other + 1e-6, "{} instead of {}", bound, other);
            }
        }
        Ok(())
    });
}

/// With several limits each price is the best while the others are what they are: at least that of the
/// last one. Prices known before make no bound higher.
#[test]
fn prices_begin_where_they_were_and_each_is_improved() {
    let without_lots = problem().prop_map(|problem| Problem { lots: Vec::new(), ..problem });
    of_many(branched(without_lots), |(problem, _, branch)| {
        let solver = Solver::new(&problem);
        let turns: [Vec<f64>; 3] = std::array::from_fn(|axis| turns(&problem, axis));
        for known in 2..6 {
            let prices = std::array::from_fn(|axis| turns[axis][known % turns[axis].len()]);
            let before = solver.priced(&branch, prices).unwrap().bound;
            let Relaxed { prices, bound, .. } = solver.relax(&branch, prices).unwrap();
            let margin = 1e-9 * bound.abs().max(1.0);
            prop_assert!(bound <= before + margin, "{} after {}", bound, before);
            let again = solver.relax(&branch, prices).unwrap().bound;
            prop_assert!(again <= bound + margin, "{} after {}", again, bound);
            for price in &turns[2] {
                let other = solver.priced(&branch, [prices[0], prices[1], *price]).unwrap().bound;
                prop_assert!(bound <= other + margin, "{:?}: {} and {}", prices, bound, other);
            }
        }
        Ok(())
    });
}

/// Without limits nothing has a price, and what is decided is worth what it is.
#[test]
fn without_limits_a_bound_is_reached() {
    of_many((room_for_all(), any::<u32>()), |(problem, seed)| {
        let mut roll = dice(seed);
        let point = some_split(&problem, &mut roll);
        let mut branch = Solver::new(&problem).root();
        branch.lots = point.lots.iter().map(|housed| (roll(3) > 0).then_some(*housed)).collect();
        let solver = Solver::new(&problem);
        let relaxed = solver.relax(&branch, Prices::default()).unwrap();
        let (value, point) = solver.repair(&branch, &relaxed).unwrap();
        prop_assert!(within(&branch, &point));
        prop_assert!((relaxed.bound - value).abs() < 1e-6, "{} for {}", value, relaxed.bound);
        Ok(())
    });
}

/// Where the nodes of an option are not those that the prices alone would give, limits have a say; of
/// the others, what is nearest to the best of its class may yet be it.
#[rstest]
#[case::limited([1, 3, 0], &[], (1, 1))]
#[case::limited_but_settled([1, 3, 0], &[(1, 1)], (1, 2))]
#[case::as_priced([0, 4, 0], &[(0, 1), (1, 1)], (0, 2))]
fn a_branch_is_split_where_least_is_clear(
    #[case] found: [i64; 3],
    #[case] settled: &[(usize, usize)],
    #[case] wanted: (usize, usize),
) {
    let outlet = |node_use, value| Outlet { node_use, value: usd(value), watts: 0 };
    let class = |mining, hpc| {
        let options = [(Use::Idle, -5.0), (Use::Mining, mining), (Use::Hpc, hpc)];
        Class { nodes: 4, options: options.map(|(node_use, value)| outlet(node_use, value)).into() }
    };
    let classes = vec![class(9.0, 8.0), class(7.0, 3.0)];
    let (hpc, mining) = (Limits::NONE, Limits::NONE);
    let problem = Problem { classes, lots: Vec::new(), hpc, mining, watts: None };
    let solver = Solver::new(&problem);
    let point = Point { counts: vec![vec![0, 4, 0], found.to_vec()], lots: Vec::new() };
    let mut branch = solver.root();
    for (class, option) in settled {
        let count = point.counts[*class][*option];
        branch.counts[*class][*option] = (count, count);
    }
    let relaxed = solver.relax(&branch, Prices::default()).unwrap();
    let parts = solver.split(&branch, &relaxed, Some(&point));
    assert!(parts.len() > 1);
    let (class, option) = wanted;
    for mut part in parts {
        assert_ne!(part.counts, branch.counts);
        part.counts[class][option] = branch.counts[class][option];
        assert_eq!(part.counts, branch.counts);
    }
}

/// One node mines, two serve and four idle; of two lots one is housed, on two nodes more.
#[test]
fn watts_and_nodes_of_a_split_are_counted() {
    let outlet = |node_use, watts| Outlet { node_use, value: usd(1.0), watts };
    let options = vec![outlet(Use::Mining, 3), outlet(Use::Hpc, 50), outlet(Use::Idle, 700)];
    let lot = |watts| Lot { nodes: vec![(0, 2)], value: usd(1.0), watts };
    let problem = Problem {
        classes: vec![Class { nodes: 9, options }],
        lots: vec![lot(8000), lot(90_000)],
        hpc: Limits::NONE,
        mining: Limits::NONE,
        watts: None,
    };
    let point = Point { counts: vec![vec![1, 2, 4]], lots: vec![true, false] };
    assert_eq!(Solver::new(&problem).used(&point), [10_903, 4, 1]);
}
