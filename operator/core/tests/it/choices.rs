//! Which use is found best for a node, and why.

#![allow(clippy::unwrap_used)]

use rstest::rstest;
use switchyard_api::{ProfileRef, Reason, Use};
use switchyard_core::quantity::Measure;

use crate::support::{self, BIG, World};

/// A node that idles and one that mines; whatever is better happens at once.
fn idle_and_mining() -> World {
    let mut world = World::mining(0);
    world.add_node("idles", BIG, Use::Idle);
    world.add_node("mines", BIG, Use::Mining);
    world
}

/// Where a node should go, if anywhere, and why.
fn told(world: &World, node: &str) -> (Option<Use>, Reason) {
    let decision = world.decision(node);
    (decision.candidate.map(|candidate| candidate.to), decision.reason)
}

#[rstest]
#[case::mining_pays(|_: &mut World| {}, (Some(Use::Mining), Reason::MiningPays), (None, Reason::BestUse))]
#[case::mining_costs_more_than_it_earns(
    |world: &mut World| world.set("power", 9.0),
    (None, Reason::NothingPays),
    (Some(Use::Idle), Reason::NothingPays)
)]
#[case::no_profile_lists_the_model(
    |world: &mut World| world.pool().mining.profiles.clear(),
    (None, Reason::NoHashRate),
    (None, Reason::NoHashRate)
)]
#[case::nobody_knows_what_mining_earns(
    |world: &mut World| { world.signals.remove("mining"); },
    (None, Reason::NothingPays),
    (None, Reason::ValueUnknown)
)]
fn a_node_is_told_what_pays(
    #[case] happens: fn(&mut World),
    #[case] idle: (Option<Use>, Reason),
    #[case] mining: (Option<Use>, Reason),
) {
    let mut world = idle_and_mining();
    happens(&mut world);
    assert_eq!(told(&world, "idles"), idle);
    assert_eq!(told(&world, "mines"), mining);
}

/// A miner that draws no more than idling does and earns nothing.
#[test]
fn what_is_worth_the_same_moves_nobody() {
    let mut world = idle_and_mining();
    let mut profile = support::profile_yaml();
    profile.hardware[0].watts = 25;
    world.profiles.insert(support::etc(), profile);
    world.set("mining", 0.0);
    assert_eq!(told(&world, "idles"), (None, Reason::NothingPays));
    assert_eq!(told(&world, "mines"), (None, Reason::BestUse));
}

#[test]
fn a_better_profile_gains_what_it_pays_more() {
    let mut world = idle_and_mining();
    let other = ProfileRef { namespace: "mining".into(), name: "other".into() };
    let mut profile = support::profile_yaml();
    profile.income.signal = "other".into();
    world.profiles.insert(other.clone(), profile);
    world.pool().mining.profiles.push(other.clone());
    world.signal("other", Measure::HashIncome, 1.5e-6 * support::INCOME);
    let candidate = world.decision("mines").candidate.unwrap();
    assert_eq!((candidate.reason, candidate.profile), (Reason::BetterProfile, Some(other.into())));
    // 4.00 USD/h half as much again, for the same power.
    assert!((candidate.gain.unwrap().number() - 2.0).abs() < 1e-9, "{:?}", candidate.gain);
}

#[test]
fn an_open_node_that_waiting_work_fits_on_is_kept_for_it() {
    let mut world = World::new();
    world.add_node("serves", BIG, Use::Hpc);
    assert_eq!(told(&world, "serves"), (Some(Use::Mining), Reason::MiningPays));
    world.add_job("next", 8);
    assert_eq!(told(&world, "serves"), (None, Reason::ReservedForDemand));
}
