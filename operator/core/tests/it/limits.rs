//! Floors, ceilings and the power cap of a pool: who makes way, for what, and what is said about it.

#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::SignedDuration;
use rstest::rstest;
use switchyard_api::{Cause, Decimal, NodeCount, ProfileRef, Reason, Use};

use crate::support::{self, BIG, SMALL, World};

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

#[test]
fn no_limit_takes_a_node_from_its_jobs() {
    let mut world = World::new();
    for name in ["a", "b"] {
        world.add_node(name, BIG, Use::Hpc);
        world.bind_job(&format!("on-{name}"), name, 2);
    }
    world.pool().hpc.nodes.max = NodeCount::Count(0);
    world.pool().mining.nodes.min = NodeCount::Count(2);
    assert_eq!(told(&world), [(None, Reason::JobsRunning); 2]);
}

#[test]
fn a_node_that_another_hand_has_claimed_makes_no_way() {
    let mut world = World::mining(2);
    world.pool().mining.nodes.max = NodeCount::Count(1);
    world.node("n000").marks.claim = Some("shift-of-yesterday".into());
    assert_eq!(
        told(&world),
        [(None, Reason::ShiftRunning), (Some(Use::Idle), Reason::AboveCeiling)]
    );
}

#[test]
fn a_node_that_a_job_has_landed_on_counts_for_the_floor() {
    let mut world = World::mining(2);
    world.bind_job("lands", "n000", 8);
    world.pool().hpc.nodes.min = NodeCount::Count(1);
    assert_eq!(told(&world)[1], (None, Reason::BestUse));
}

#[test]
fn a_ceiling_is_kept_while_a_price_waits_for_its_window() {
    let mut world = World::mining(3);
    world.set("power", 9.0);
    world.pool().shifting.windows =
        serde_yaml::from_str("[{schedule: '0 8 * * *', duration: 2h, causes: [Price]}]").unwrap();
    world.pool().mining.nodes.max = NodeCount::Count(2);
    assert_eq!(count(&world, Some(Use::Idle), Reason::AboveCeiling), 1, "{:?}", told(&world));
    assert_eq!(count(&world, Some(Use::Idle), Reason::OutsideWindow), 2, "{:?}", told(&world));
}

#[test]
fn a_cap_is_kept_although_the_prices_that_would_idle_all_are_not_trusted() {
    let mut world = World::mining(4);
    world.set("power", 9.0);
    world.distrust("mining");
    world.pool().power.cap_kw = Decimal::new(8.0);
    world.run(30, 60);
    assert_eq!(world.count(Use::Idle), 2);
}

/// Of three miners one is not ready, and may draw what a full node does. The job pays more than the
/// two others earn, and its node and an idle one are within the cap.
#[test]
fn a_miner_that_cannot_be_reached_counts_for_the_floor_when_others_idle_for_work() {
    let mut world = World::mining(3);
    world.node("n002").ready = false;
    world.pool().mining.nodes.min = NodeCount::Count(1);
    world.pool().power.cap_kw = Decimal::new(9.2);
    world.add_job("train", 8);
    world.run(12, 1);
    assert_eq!(world.running("train"), 1, "{:?}", world.plan().waiting);
    assert_eq!(world.count(Use::Idle), 1);
}

#[test]
fn no_floor_takes_a_node_that_waiting_work_goes_to() {
    let mut world = World::new();
    world.add_node("serves", BIG, Use::Hpc);
    world.pool().mining.nodes.min = NodeCount::Count(1);
    world.add_job("next", 8);
    assert_eq!(told(&world), [(None, Reason::ReservedForDemand)]);
}

#[test]
fn what_a_landed_job_draws_is_taken_from_miners() {
    let mut world = World::mining(2);
    world.bind_job("lands", "n000", 8);
    world.pool().power.cap_kw = Decimal::new(5.0);
    assert_eq!(told(&world)[1], (Some(Use::Idle), Reason::PowerCap));
}

#[test]
fn a_miner_starts_once_the_one_whose_watts_it_takes_has_stopped() {
    let mut world = World::mining(1);
    world.add_node("starts", BIG, Use::Idle);
    world.pool().power.cap_kw = Decimal::new(4.0);
    world.node("n000").pin = Some("use=Idle".into());
    world.pod("miner-etc-n000").never_stops = true;
    for _ in 0..5 {
        assert_eq!(world.decision("starts").reason, Reason::PowerCap, "{:?}", world.shifts);
        world.tick(1);
    }
    world.pod("miner-etc-n000").never_stops = false;
    world.run(10, 1);
    assert_eq!(world.uses()["starts"], Use::Mining);
}

/// A node full of jobs beside miners.
fn busy_and_mining(miners: usize) -> World {
    let mut world = World::mining(miners);
    world.add_node("busy", BIG, Use::Hpc);
    world.bind_job("runs", "busy", 8);
    world
}

#[rstest]
#[case::floor(
    |world: &mut World| world.pool().hpc.nodes.min = NodeCount::Count(2),
    Some(Use::Hpc), Reason::BelowFloor
)]
#[case::cap(
    |world: &mut World| world.pool().power.cap_kw = Decimal::new(7.0),
    Some(Use::Idle), Reason::PowerCap
)]
fn nodes_with_jobs_count_for_limits(
    #[case] limit: fn(&mut World),
    #[case] to: Option<Use>,
    #[case] reason: Reason,
) {
    let mut world = busy_and_mining(2);
    limit(&mut world);
    assert_eq!(count(&world, to, reason), 1, "{:?}", told(&world));
}

#[test]
fn a_node_that_cannot_be_reached_counts_as_what_it_may_draw() {
    let mut world = World::mining(1);
    world.add_node("silent", BIG, Use::Idle);
    world.node("silent").ready = false;
    world.pool().power.cap_kw = Decimal::new(4.0);
    assert_eq!(told(&world)[0], (Some(Use::Idle), Reason::PowerCap));
}

#[test]
fn an_open_node_counts_as_full_once_work_is_on_its_way_to_it() {
    let mut world = World::mining(1);
    world.add_node("serves", BIG, Use::Hpc);
    world.pool().power.cap_kw = Decimal::new(5.0);
    world.add_job("next", 8);
    assert_eq!(told(&world)[0], (Some(Use::Idle), Reason::PowerCap));
}

#[test]
fn a_cap_that_does_not_bind_is_not_blamed() {
    let mut world = World::mining(4);
    world.pool().mining.nodes.max = NodeCount::Count(3);
    world.pool().power.cap_kw = Decimal::new(20.0);
    assert_eq!(count(&world, Some(Use::Idle), Reason::AboveCeiling), 1, "{:?}", told(&world));
}

/// Another profile pays more, but draws more than the cap allows.
#[test]
fn a_node_keeps_the_frugal_profile_that_fits_under_the_cap() {
    let mut world = World::mining(1);
    let hungry = ProfileRef { namespace: "mining".into(), name: "hungry".into() };
    let mut profile = support::profile_yaml();
    profile.hardware[0].hashrate = serde_yaml::from_str("200M").unwrap();
    profile.hardware[0].watts = 500;
    world.profiles.insert(hungry.clone(), profile);
    world.pool().mining.profiles.push(hungry);
    assert_eq!(told(&world), [(Some(Use::Mining), Reason::BetterProfile)]);
    world.pool().power.cap_kw = Decimal::new(4.0);
    assert_eq!(told(&world), [(None, Reason::PowerCap)]);
}

/// A world with another model that is like the big one but for its hash rate.
fn alike(hashrate: &str) -> World {
    let mut world = World::new();
    let mut class = world.pool().classes[0].clone();
    class.model = "ALIKE".into();
    world.pool().classes.push(class);
    let mut profile = support::profile_yaml();
    let mut hardware = profile.hardware[0].clone();
    hardware.model = "ALIKE".into();
    hardware.hashrate = serde_yaml::from_str(hashrate).unwrap();
    profile.hardware.push(hardware);
    world.profiles.insert(support::etc(), profile);
    world
}

/// A miner of another model earns less, so it would be the cheaper one to keep open.
#[rstest]
#[case::a_little_less("118M", (None, Reason::BestUse), (None, Reason::WarmStandby))]
#[case::much_less("60M", (Some(Use::Hpc), Reason::BelowFloor), (Some(Use::Mining), Reason::WarmStandby))]
fn for_a_little_more_no_node_takes_the_place_of_another(
    #[case] hashrate: &str,
    #[case] mines: (Option<Use>, Reason),
    #[case] serves: (Option<Use>, Reason),
) {
    let mut world = alike(hashrate);
    world.add_node("mines", "ALIKE", Use::Mining);
    world.add_node("serves", BIG, Use::Hpc);
    world.pool().hpc.nodes.min = NodeCount::Count(1);
    assert_eq!(told(&world), [mines, serves]);
}

/// A big node that no profile lists, beside small miners. Idle it draws 605 W at the meter and full of
/// jobs 3,201 W; a miner draws 2,145 W and idles with 517 W.
fn server_beside(miners: &[&str]) -> World {
    let mut world = World::new();
    let mut class = world.pool().classes[0].clone();
    class.model = "SERVER".into();
    world.pool().classes.push(class);
    world.add_node("server", "SERVER", Use::Idle);
    for name in miners {
        world.add_node(name, SMALL, Use::Mining);
    }
    world.run_controllers();
    world
}

#[test]
fn a_job_on_an_idle_node_gets_the_watts_of_a_miner() {
    let mut world = server_beside(&["mines"]);
    world.pool().power.cap_kw = Decimal::new(4.0);
    world.add_job("train", 8);
    world.run(12, 1);
    assert_eq!(world.running("train"), 1, "{:?}", world.plan().waiting);
    assert_eq!(world.uses()["mines"], Use::Idle);
}

/// There is room for one job now and for both once the miner has stopped.
#[test]
fn what_one_job_draws_is_not_left_for_the_next() {
    let mut world = server_beside(&["mines"]);
    world.add_node("twin", "SERVER", Use::Idle);
    world.pool().power.cap_kw = Decimal::new(7.0);
    world.add_job("train0", 8);
    world.add_job("train1", 8);
    let plan = world.plan();
    let capped = plan.waiting.iter().filter(|one| one.verdict.reason == Reason::PowerCap);
    assert_eq!(capped.count(), 1, "{:?}", plan.waiting);
    world.run(12, 1);
    assert_eq!(world.running("train"), 2);
}

#[rstest]
#[case::others_draw_too_much(
    &["mines"],
    |world: &mut World| {
        world.add_node("busy", "SERVER", Use::Hpc);
        world.bind_job("runs", "busy", 8);
    },
    6.5
)]
#[case::another_miner_may_not_stop(
    &["mines", "other"],
    |world: &mut World| world.node("other").skip = true,
    5.5
)]
#[case::a_floor_keeps_all_miners(
    &["mines", "other"],
    |world: &mut World| world.pool().mining.nodes.min = NodeCount::Count(2),
    6.5
)]
fn no_miner_stops_for_a_job_that_does_not_fit_even_then(
    #[case] miners: &[&str],
    #[case] happens: fn(&mut World),
    #[case] kilowatts: f64,
) {
    let mut world = server_beside(miners);
    happens(&mut world);
    world.pool().power.cap_kw = Decimal::new(kilowatts);
    world.add_job("train", 8);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::PowerCap);
    let decision = world.decision("mines");
    assert_eq!((decision.candidate, decision.reason), (None, Reason::BestUse));
}

/// A miner stops that no longer pays, and another starts: at once if there is room beside a job that
/// starts too, or else when the first has stopped.
#[rstest]
#[case::room_for_both(9.0, (Some(Use::Mining), Reason::MiningPays))]
#[case::room_for_one(7.0, (None, Reason::PowerCap))]
fn a_job_takes_room_before_a_miner(#[case] kilowatts: f64, #[case] starts: (Option<Use>, Reason)) {
    let mut world = server_beside(&["mines"]);
    world.add_node("starts", BIG, Use::Idle);
    world.set("power", 1.0);
    world.pool().power.cap_kw = Decimal::new(kilowatts);
    world.add_job("train", 8);
    let (hpc, idle) = (Some(Use::Hpc), Some(Use::Idle));
    let wanted = [(idle, Reason::NothingPays), (hpc, Reason::DemandPays), starts];
    assert_eq!(told(&world), wanted);
}

#[test]
fn a_node_that_may_not_move_takes_no_room_from_others() {
    let mut world = World::new();
    world.add_node("held", BIG, Use::Idle);
    world.add_node("starts", BIG, Use::Idle);
    world.node("held").skip = true;
    world.pool().power.cap_kw = Decimal::new(4.0);
    assert_eq!(told(&world)[1], (Some(Use::Mining), Reason::MiningPays));
}

/// A floor of miners is what makes a node mine that should idle, whether any may serve or none.
#[rstest]
fn a_floor_is_named_where_none_may_serve(#[values(0, 1)] most: u32) {
    let mut world = World::mining(2);
    world.set("power", 9.0);
    world.pool().mining.nodes.min = NodeCount::Count(1);
    world.pool().hpc.nodes.max = NodeCount::Count(most);
    assert_eq!(count(&world, None, Reason::BelowFloor), 1, "{:?}", told(&world));
}

#[test]
fn a_node_that_may_serve_no_more_mines_and_names_the_ceiling() {
    let mut world = World::new();
    world.add_node("serves", BIG, Use::Hpc);
    world.node("serves").empty_since = Some(world.now);
    assert_eq!(told(&world), [(None, Reason::RecentlyBusy)]);
    world.pool().hpc.nodes.max = NodeCount::Count(0);
    assert_eq!(told(&world), [(Some(Use::Mining), Reason::AboveCeiling)]);
}

/// Nobody knows what anything earns, and it would do to idle either: the one that draws less.
#[test]
fn when_nothing_is_at_stake_the_most_frugal_makes_way() {
    let mut world = World::new();
    world.add_node("big", BIG, Use::Mining);
    world.add_node("small", SMALL, Use::Mining);
    for signal in ["power", "mining"] {
        world.signals.get_mut(signal).unwrap().value = None;
    }
    world.pool().power.cap_kw = Decimal::new(4.0);
    let wanted = [(None, Reason::ValueUnknown), (Some(Use::Idle), Reason::PowerCap)];
    assert_eq!(told(&world), wanted);
}

/// One may mine. The other would, with some more hash rate, once the first has stopped.
#[rstest]
#[case::a_little_less("110M", (None, Reason::BestUse), (None, Reason::AboveCeiling))]
#[case::much_less("100M", (Some(Use::Idle), Reason::AboveCeiling), (Some(Use::Mining), Reason::AboveCeiling))]
fn for_a_little_more_no_miner_makes_way_to_another(
    #[case] hashrate: &str,
    #[case] mines: (Option<Use>, Reason),
    #[case] rests: (Option<Use>, Reason),
) {
    let mut world = alike(hashrate);
    world.add_node("mines", "ALIKE", Use::Mining);
    world.add_node("rests", BIG, Use::Idle);
    world.pool().mining.nodes.max = NodeCount::Count(1);
    assert_eq!(told(&world), [mines, rests]);
}

/// Too many nodes serve, so that the split is looked at anew. One that may start to mine does, although
/// that pays next to nothing.
#[test]
fn what_no_limit_concerns_happens_as_if_there_were_none() {
    let mut world = World::new();
    world.add_node("serves", BIG, Use::Hpc);
    world.node("serves").empty_since = Some(world.now);
    world.add_node("small", SMALL, Use::Idle);
    world.pool().hpc.nodes.max = NodeCount::Count(0);
    // It mines 1.50 USD/h for 1.628 kW at the meter.
    world.set("power", (1.5 - 1e-4) / 1.628);
    assert_eq!(told(&world)[1], (Some(Use::Mining), Reason::MiningPays));
}
