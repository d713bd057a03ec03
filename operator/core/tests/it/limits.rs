//! Floors, ceilings and the power cap of a pool: who makes way, for what, and what is said about it.

#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::SignedDuration;
use rstest::rstest;
use switchyard_api::{Cause, Decimal, NodeCount, Reason, Use};

use crate::support::{BIG, World};

/// For each node where it should go, if anywhere, and why.
fn told(world: &World) -> Vec<(Option<Use>, Reason)> {
    let plan = world.plan();
    let decisions = plan.pools[0].decisions.iter();
    decisions.map(|one| (one.candidate.as_ref().map(|to| to.to), one.reason)).collect()
}

/// How many nodes are told so.
fn count(world: &World, to: Option<Use>, reason: Reason) -> usize {
    told(world).into_iter().filter(|one| *one == (to, reason)).count()
}

/// Two empty nodes that serve HPC beside two that mine; nothing pays, so that none would go back.
fn half_serving() -> World {
    let mut world = World::mining(2);
    world.add_node("s0", BIG, Use::Hpc);
    world.add_node("s1", BIG, Use::Hpc);
    world.set("mining", 0.0);
    world
}

#[rstest]
#[case::too_many_mine(
    |world: &mut World| world.pool().mining.nodes.max = NodeCount::Count(3),
    Some(Use::Idle), Reason::AboveCeiling, 1
)]
#[case::too_much_is_drawn(
    |world: &mut World| world.pool().power.cap_kw = Decimal::new(10.0),
    Some(Use::Idle), Reason::PowerCap, 1
)]
#[case::too_few_serve(
    |world: &mut World| world.pool().hpc.nodes.min = NodeCount::Count(3),
    Some(Use::Hpc), Reason::BelowFloor, 3
)]
#[case::too_few_would_mine(
    |world: &mut World| {
        world.pool().mining.nodes.min = NodeCount::Count(3);
        world.set("power", 9.0);
    },
    None, Reason::BelowFloor, 3
)]
#[case::all_is_within(
    |world: &mut World| {
        world.pool().mining.nodes.max = NodeCount::Count(4);
        world.pool().mining.nodes.min = NodeCount::Count(4);
        world.pool().power.cap_kw = Decimal::new(11.76);
    },
    None, Reason::BestUse, 4
)]
fn a_limit_moves_as_few_nodes_as_it_takes_and_is_named(
    #[case] limit: fn(&mut World),
    #[case] to: Option<Use>,
    #[case] reason: Reason,
    #[case] nodes: usize,
) {
    let mut world = World::mining(4);
    limit(&mut world);
    assert_eq!(count(&world, to, reason), nodes, "{:?}", told(&world));
}

#[test]
fn what_a_limit_costs_is_told() {
    let mut world = World::mining(2);
    world.pool().mining.nodes.max = NodeCount::Count(1);
    let plan = world.plan();
    let moves = plan.pools[0].decisions.iter().filter_map(|one| one.candidate.as_ref());
    let [candidate] = moves.collect::<Vec<_>>()[..] else { panic!("one node makes way") };
    assert_eq!(candidate.cause, Cause::Rebalance);
    // Mining earns 4.00 USD/h, less the power that it draws beyond idling.
    let wanted = -4.0 + (2670.0 - 550.0) * 0.00011;
    assert!((candidate.gain.unwrap().number() - wanted).abs() < 1e-9, "{:?}", candidate.gain);
}

#[rstest]
#[case(0, 1)]
#[case(1, 0)]
fn of_equal_nodes_the_one_makes_way_that_has_been_in_its_use_the_longest(
    #[case] longest: usize,
    #[case] other: usize,
) {
    let mut world = World::mining(2);
    world.pool().mining.nodes.max = NodeCount::Count(1);
    let now = world.now;
    world.node(&format!("n00{longest}")).marks.since = Some(now - SignedDuration::from_hours(30));
    assert_eq!(told(&world)[longest], (Some(Use::Idle), Reason::AboveCeiling));
    assert_eq!(told(&world)[other], (None, Reason::BestUse));
}

#[test]
fn a_floor_is_made_of_nodes_that_serve_already_and_says_so() {
    let mut world = half_serving();
    world.pool().hpc.nodes.min = NodeCount::Count(2);
    world.set("mining", 0.1e-6);
    let standing = &told(&world)[2..];
    assert_eq!(standing, [(None, Reason::WarmStandby), (None, Reason::WarmStandby)]);
}

#[test]
fn more_open_nodes_than_may_serve_close() {
    let mut world = half_serving();
    world.pool().hpc.nodes.max = NodeCount::Count(1);
    assert_eq!(count(&world, Some(Use::Idle), Reason::AboveCeiling), 1, "{:?}", told(&world));
}

#[test]
fn nodes_that_a_gate_keeps_count_where_they_are() {
    let mut world = World::mining(3);
    world.pool().mining.nodes.max = NodeCount::Count(2);
    world.node("n000").skip = true;
    world.node("n001").skip = true;
    assert_eq!(told(&world)[2], (Some(Use::Idle), Reason::AboveCeiling));
    // One that would leave but may not leaves nothing to make up for.
    let mut world = World::mining(3);
    world.set("power", 9.0);
    world.pool().mining.nodes.min = NodeCount::Count(1);
    world.node("n000").skip = true;
    assert_eq!(told(&world)[1..], [(Some(Use::Idle), Reason::NothingPays); 2]);
}

#[test]
fn a_limit_is_kept_while_a_node_is_on_its_way_to_it() {
    let mut world = World::mining(3);
    world.pool().mining.nodes.max = NodeCount::Count(2);
    for name in world.pods.keys().cloned().collect::<Vec<_>>() {
        world.pod(&name).never_stops = true;
    }
    world.run(3, 1);
    assert_eq!(world.shifts.len(), 1);
    world.run(10, 1);
    let moved: usize = world.shifts.iter().map(|shift| shift.spec.nodes.len()).sum();
    assert_eq!(moved, 1, "{:?}", world.shifts);
}
