//! How many nodes may move: budgets, floors, ceilings, and the moment a dwell ends.

#![allow(clippy::unwrap_used)]

use jiff::SignedDuration;
use rstest::rstest;
use switchyard_api::{NodeCount, Reason, Use};
use switchyard_core::snapshot::ShiftFacts;

use crate::support::World;

fn budgets(world: &mut World, yaml: &str) {
    world.pool().shifting.budgets = serde_yaml::from_str(yaml).unwrap();
}

/// Power so dear that nobody mines any more.
fn in_a_storm(nodes: usize, yaml: &str) -> World {
    let mut world = World::mining(nodes);
    budgets(&mut world, yaml);
    world.set("power", 5.0);
    world
}

fn ordered(world: &World) -> usize {
    let plan = world.plan();
    plan.pools[0].orders.iter().map(|order| order.nodes.len()).sum()
}

#[rstest]
#[case::counts("[{nodes: 3}]", 3)]
#[case::a_share_is_rounded_up("[{nodes: 15%}]", 2)]
#[case::the_least_counts("[{nodes: 4}, {nodes: 2}]", 2)]
#[case::of_the_use_that_it_names("[{nodes: 1, from: [Mining]}]", 1)]
#[case::not_of_another("[{nodes: 1, from: [Idle, HPC]}]", 10)]
#[case::for_the_cause_that_it_names("[{nodes: 1, causes: [Price]}]", 1)]
#[case::not_for_another("[{nodes: 1, causes: [Demand]}]", 10)]
#[case::both_have_to_fit("[{nodes: 1, from: [Idle], causes: [Price]}]", 10)]
#[case::none("[]", 10)]
fn a_budget_limits_the_moves_that_it_names(#[case] yaml: &str, #[case] moves: usize) {
    assert_eq!(ordered(&in_a_storm(10, yaml)), moves);
}

#[rstest]
#[case::budget("[{nodes: 3}]", 3)]
#[case::of_one_use(
    "[{nodes: 3, from: [Mining]}, {nodes: 2, from: [HPC]}, {nodes: 1, from: [Idle]}]",
    3
)]
#[case::none("[]", 10)]
fn a_plan_says_how_many_more_nodes_a_price_may_move(#[case] yaml: &str, #[case] more: usize) {
    let mut world = World::mining(10);
    budgets(&mut world, yaml);
    assert_eq!(world.plan().pools[0].allowed_disruptions, more);
}

#[test]
fn what_is_on_the_move_is_taken_off_the_budget() {
    let mut world = in_a_storm(10, "[{nodes: 3}]");
    world.pod("miner-etc-n000").never_stops = true;
    for _ in 0..40 {
        world.tick(1);
        let ended = |shift: &ShiftFacts| {
            shift.status.nodes.iter().filter(|node| node.phase.is_final()).count()
        };
        let moving = world.shifts.iter().map(|shift| shift.spec.nodes.len() - ended(shift));
        assert!(moving.sum::<usize>() <= 3);
    }
    assert_eq!(world.count(Use::Idle), 10, "the others went past the slow one");
}

#[test]
fn demand_is_not_held_up_by_a_budget_that_does_not_name_it() {
    let mut world = World::mining(3);
    budgets(&mut world, "[{nodes: 0}]");
    world.add_job("train", 8);
    assert_eq!(ordered(&world), 1);
    budgets(&mut world, "[{nodes: 0, causes: [Demand]}]");
    assert_eq!(ordered(&world), 0);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::BudgetExhausted);
}

#[rstest]
#[case(1, 1, Reason::DemandPays)]
#[case(2, 0, Reason::BelowFloor)]
fn demand_takes_no_node_off_the_floor_of_mining(
    #[case] floor: u32,
    #[case] moves: usize,
    #[case] verdict: Reason,
) {
    let mut world = World::mining(2);
    world.pool().mining.nodes.min = NodeCount::Count(floor);
    world.add_job("train", 8);
    assert_eq!(ordered(&world), moves);
    assert_eq!(world.plan().waiting[0].verdict.reason, verdict);
}

/// A single GPU at a good price comes first, but does not pay for a node; all eight at a usual one do.
#[test]
fn what_was_reserved_for_work_that_is_refused_serves_others_even_at_a_limit() {
    let mut world = World::mining(3);
    world.pool().hpc.nodes.max = NodeCount::Count(1);
    world.pool().mining.nodes.min = NodeCount::Count(2);
    budgets(&mut world, "[{nodes: 1, causes: [Demand]}]");
    world.add_job("one", 1);
    world.pod("one-0").price = Some(3.0);
    world.add_job("eight", 8);
    let plan = world.plan();
    let verdicts: Vec<_> = plan.waiting.iter().map(|waiting| waiting.verdict.reason).collect();
    assert_eq!(verdicts, [Reason::PaysTooLittle, Reason::DemandPays]);
    assert_eq!(ordered(&world), 1);
}

#[rstest]
#[case(-1, Reason::DwellNotOver)]
#[case(0, Reason::NothingPays)]
fn a_dwell_ends_on_the_second(#[case] seconds: i64, #[case] reason: Reason) {
    let mut world = in_a_storm(1, "[]");
    let dwell = world.pool().shifting.min_dwell.mining.signed();
    let now = world.now;
    world.node("n000").marks.since = Some(now - dwell - SignedDuration::from_secs(seconds));
    assert_eq!(world.decision("n000").reason, reason);
}

#[test]
fn a_dwell_says_when_it_ends() {
    let mut world = in_a_storm(1, "[]");
    let (dwell, now) = (world.pool().shifting.min_dwell.mining.signed(), world.now);
    world.node("n000").marks.since = Some(now);
    assert_eq!(world.decision("n000").blocks[0].until, Some(now + dwell));
}
