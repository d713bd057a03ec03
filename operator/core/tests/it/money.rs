//! What is done for money: switches that pay for themselves, work that is worth its nodes, and jobs
//! that share nodes.

#![allow(clippy::unwrap_used)]

use jiff::SignedDuration;
use proptest::prelude::*;
use rstest::rstest;
use switchyard_api::{Cause, Decimal, Packing, Reason, Use};
use switchyard_core::{block::Gate, plan, snapshot::Barrier, survey::survey, switching};

use crate::support::{self, BIG, World};

/// Mining nodes in a pool that is as patient as pools are by default.
fn patient(count: usize) -> World {
    let mut world = World::mining(count);
    world.pool().shifting.patience = Decimal::new(2.0).unwrap();
    world.run(2, 10);
    world
}

#[test]
fn a_price_that_soon_comes_back_moves_nothing() {
    let mut world = patient(2);
    for _ in 0..20 {
        // Mining now loses a little, now earns a little.
        world.set("power", 1.8);
        world.tick(30);
        let decision = world.decision("n000");
        assert_eq!(decision.candidate.as_ref().map(|one| one.to), Some(Use::Idle));
        assert_eq!(decision.reason, Reason::NotPaidBack);
        world.set("power", 0.1);
        world.tick(60);
    }
    assert_eq!(world.count(Use::Mining), 2);
    assert!(world.ended.is_empty(), "no shift was ordered");
}

#[test]
fn a_price_that_stays_moves_nodes_when_as_much_was_missed_as_the_switch_costs() {
    let mut world = patient(2);
    world.set("power", 4.0);
    world.tick(10);
    let block = world.decision("n000").blocks.into_iter().find(|one| one.gate == Gate::Payback);
    let due = block.unwrap().until.unwrap();
    while world.now < due {
        assert!(world.shifts.is_empty(), "not before {due}, but at {}", world.now);
        world.tick(5);
    }
    world.run(3, 5);
    assert_eq!(world.count(Use::Idle), 2);
}

/// A node that goes to idle and comes back wears off twice, and a price has to pay for that as well, and
/// twice over in a pool that is so patient.
#[test]
fn wear_makes_a_price_wait() {
    let wait = |wear: f64| {
        let mut world = patient(1);
        world.pool().shifting.wear_usd = Decimal::new(wear).unwrap();
        world.set("power", 4.0);
        world.tick(1);
        let payback = world.decision("n000").candidate.unwrap().payback.unwrap();
        (payback.price.number(), payback.due_at(world.now).unwrap() - world.now)
    };
    let ((without, soon), (with, late)) = (wait(0.0), wait(1.0));
    assert!((with - without - 2.0 * 2.0).abs() < 1e-9, "{with} and {without}");
    assert!(late.total(jiff::Unit::Second).unwrap() > soon.total(jiff::Unit::Second).unwrap());
}

#[test]
fn a_greater_loss_moves_nodes_sooner() {
    let wait = |power: f64| {
        let mut world = patient(1);
        world.set("power", power);
        world.tick(1);
        let payback = world.decision("n000").candidate.unwrap().payback.unwrap();
        payback.due_at(world.now).unwrap().duration_since(world.now)
    };
    let (small, large) = (wait(1.8), wait(9.0));
    assert!(large * 3 < small, "{large:?} and {small:?}");
}

#[test]
fn an_empty_hpc_node_waits_for_the_next_job_as_long_as_that_is_cheaper_than_going() {
    let mut world = patient(1);
    world.pool().hpc.idle_after = switchyard_api::Period::from_secs(0);
    world.add_job("train", 8);
    world.run(6, 10);
    assert_eq!(world.running("train"), 1);
    world.pods.remove("train-0");
    world.tick(30);
    assert_eq!(world.decision("n000").reason, Reason::NotPaidBack);
    world.add_job("next", 8);
    world.run(2, 10);
    assert_eq!(world.running("next"), 1, "without a switch");
    assert_eq!(world.ended.len(), 1);
    world.pods.remove("next-0");
    world.run(60, 30);
    assert_eq!(world.count(Use::Mining), 1, "nobody came");
}

#[rstest]
#[case::worth_it(60, 1)]
#[case::not_worth_two_drains(1, 0)]
fn work_gets_a_node_if_it_is_expected_to_run_long_enough(
    #[case] minutes: i64,
    #[case] nodes: usize,
) {
    let mut world = patient(2);
    world.add_node("serves", BIG, Use::Hpc);
    // Forty jobs of the namespace come and go.
    for index in 0..40 {
        world.bind_job(&format!("short{index}"), "serves", 8);
        world.tick(minutes * 60);
        world.pods.remove(&format!("short{index}-0"));
        world.tick(1);
    }
    world.bind_job("stays", "serves", 8);
    world.add_job("asks", 8);
    world.run(6, 10);
    assert_eq!(world.running("asks"), nodes);
    if nodes == 0 {
        assert_eq!(world.plan().waiting[0].verdict.reason, Reason::RunsTooShort);
    }
}

#[rstest]
#[case(0.0, 1.0)]
#[case(1.0, 2.0)]
#[case(2.0, 3.0)]
fn work_pays_for_the_switch_the_way_back_and_the_wait_in_between(
    #[case] patience: f64,
    #[case] times: f64,
) {
    let mut world = World::mining(1);
    world.pool().shifting.patience = Decimal::new(patience).unwrap();
    world.pool().shifting.wear_usd = Decimal::new(0.05).unwrap();
    let snapshot = world.snapshot();
    let survey = survey(&snapshot);
    let pool = &survey.pools[0];
    let takes = |from, to| snapshot.experience.switch_takes(&pool.facts.name, from, to);
    let both = takes(Use::Mining, Use::Hpc) + takes(Use::Hpc, Use::Mining);
    // A node mines for 4.00 USD/h.
    let wanted = (4.0 * both.as_secs_f64() / 3600.0 + 2.0 * 0.05) * times;
    let cost = switching::opening_cost(&survey, pool, &pool.nodes[0]).number();
    assert!(cost > 0.0 && (cost - wanted).abs() < 1e-9, "{cost} instead of {wanted}");
}

/// Where switches are dear nobody would ever learn how long jobs run if strange ones were taken for short.
#[test]
fn a_queue_that_nobody_knows_is_tried() {
    let mut world = World::mining(1);
    world.pool().shifting.wear_usd = Decimal::new(10.0).unwrap();
    world.add_job("strange", 8);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::DemandPays);
    world.run(6, 10);
    assert_eq!(world.running("strange"), 1);
    world.pods.remove("strange-0");
    world.run(60, 60);
    assert_eq!(world.count(Use::Mining), 1);
    world.add_job("known", 8);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::RunsTooShort);
}

/// Three HPC nodes with 2, 6 and no GPUs of 8 in use.
fn half_used() -> World {
    let mut world = World::new();
    for (name, busy) in [("a", 2), ("b", 6), ("c", 0)] {
        world.add_node(name, BIG, Use::Hpc);
        if busy > 0 {
            world.bind_job(&format!("on-{name}"), name, busy);
        }
    }
    // Nothing pays but jobs, so that no node leaves.
    world.set("mining", 0.0);
    world.run(2, 10);
    world
}

fn shut(world: &World, node: &str) -> bool {
    world.nodes[node].marks.taint == Some(Barrier::Closed)
}

#[test]
fn new_jobs_go_to_the_fullest_node_that_has_room() {
    let mut world = half_used();
    assert_eq!(["a", "b", "c"].map(|node| shut(&world, node)), [true, false, true]);
    world.add_job("small", 2);
    world.run(2, 10);
    assert_eq!(world.pods["small-0"].node.as_deref(), Some("b"));
    assert!(!shut(&world, "a"), "the next one that has room");
    assert!(shut(&world, "c"), "kept whole");
}

#[test]
fn work_that_fits_nowhere_else_opens_a_door() {
    let mut world = half_used();
    world.add_job("whole", 8);
    world.run(2, 10);
    assert_eq!(world.pods["whole-0"].node.as_deref(), Some("c"));
    assert!(world.ended.is_empty() && world.shifts.is_empty(), "no node was moved");
    assert!(world.hurt.is_empty());
}

#[test]
fn a_warm_standby_is_open() {
    let mut world = half_used();
    world.pool().hpc.nodes.min = switchyard_api::NodeCount::Count(3);
    world.run(2, 10);
    assert_eq!(["a", "b", "c"].map(|node| shut(&world, node)), [false, false, false]);
}

#[test]
fn where_the_scheduler_packs_every_door_is_open() {
    let mut world = half_used();
    world.pool().hpc.packing = Packing::Scheduler;
    world.run(2, 10);
    assert_eq!(["a", "b", "c"].map(|node| shut(&world, node)), [false, false, false]);
}

#[test]
fn a_door_that_is_shut_opens_for_work_when_prices_are_not_trusted() {
    let mut world = half_used();
    world.distrust("gpu-hour");
    world.distrust("power");
    world.add_job("whole", 8);
    world.run(2, 10);
    assert_eq!(world.running("whole"), 1);
}

/// Two pools of two nodes and a tenant for each, whose jobs pay to the last digit what mining does.
#[test]
fn equal_prices_move_nothing_back_and_forth() {
    let mut world = patient(4);
    let mut second = world.pools["texas"].clone();
    let selector = |site: &str| serde_yaml::from_str(&format!("{{matchLabels: {{site: {site}}}}}"));
    second.node_selector = selector("ohio").unwrap();
    world.pools.insert("ohio".to_owned(), second);
    for name in ["n002", "n003"] {
        let node = world.node(name);
        node.labels.insert("site".to_owned(), "ohio".to_owned());
        node.marks.pool = Some("ohio".into());
    }
    world.run(3, 10);
    // A node that idles costs what mining then earns beyond its power: nothing is better.
    let idle_power = (350.0 + 8.0 * 25.0) / 1000.0;
    let mining_power = (350.0 + 8.0 * 290.0) / 1000.0;
    let income = support::INCOME * 1e-6 * 120e6 * 8.0 / 24.0;
    world.set("power", income / ((mining_power - idle_power) * 1.1));
    world.set("gpu-hour", 0.5);
    for round in 0..6 {
        world.add_job(&format!("tenant-{}-{round}", round % 2), 8);
        world.pod(&format!("tenant-{}-{round}-0", round % 2)).run_for =
            Some(SignedDuration::from_mins(9));
        world.run(40, 20);
    }
    let for_money = world.ended.iter().filter(|shift| shift.spec.cause != Cause::Demand);
    let moved: usize = for_money.map(|shift| shift.spec.nodes.len()).sum();
    assert!(moved <= 4, "each node went to its best use once at most: {moved}");
}

proptest! {
    /// A plan is never worth less than standing still, the cost of switching included.
    #[test]
    fn a_plan_is_worth_more_than_standing_still(
        power in 0..300_u32,
        income in 0..200_u32,
        price in 0..300_u32,
        jobs in prop::collection::vec((1..=8_u32, 0..300_u32), 0..12),
        gang in 1..4_u32,
        ticks in 1..40_usize,
    ) {
        let mut world = patient(5);
        world.add_node("idle", BIG, Use::Idle);
        world.add_node("open", BIG, Use::Hpc);
        world.set("power", f64::from(power) / 100.0);
        world.set("mining", support::INCOME * 1e-6 * f64::from(income) / 100.0);
        world.set("gpu-hour", f64::from(price) / 100.0);
        for (index, (gpus, price)) in jobs.iter().enumerate() {
            world.add_job(&format!("job{index}"), *gpus);
            world.pod(&format!("job{index}-0")).price = Some(f64::from(*price) / 100.0);
        }
        world.add_gang("gang", gang, 8);
        for _ in 0..ticks {
            let snapshot = world.snapshot();
            let survey = survey(&snapshot);
            let plan = plan::decide(&survey);
            let run = snapshot.experience.expected_run("research");
            let (mut gained, mut cost) = (0.0, 0.0);
            for (decision, node) in plan.pools[0].decisions.iter().zip(&survey.pools[0].nodes) {
                let Some(candidate) = decision.candidate.as_ref().filter(|_| decision.moves()) else {
                    continue;
                };
                match (candidate.payback, candidate.reason) {
                    (Some(payback), _) => {
                        prop_assert!(candidate.gain.unwrap().number() > 0.0);
                        prop_assert!(payback.missed >= payback.price);
                    }
                    (None, Reason::DemandPays) => {
                        gained += candidate.gain.unwrap().over(run).number();
                        cost += switching::opening_cost(&survey, &survey.pools[0], node).number();
                    }
                    (None, _) => {}
                }
            }
            prop_assert!(gained >= cost - 1e-9, "{gained} USD for {cost} USD");
            world.tick(30);
        }
    }
}
