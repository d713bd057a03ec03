//! Whole moves in a small world: what a person would see happen.

#![allow(clippy::unwrap_used)]

use jiff::SignedDuration;
use rstest::rstest;
use switchyard_api::{BelowCost, Cause, Decimal, Mode, NodeCount, Phase, Reason, Use};
use switchyard_core::snapshot::{Barrier, Constraints, Marks};

use crate::support::{self, BIG, SMALL, World, etc};

#[test]
fn a_job_that_pays_gets_a_node_and_the_node_goes_back_afterwards() {
    let mut world = World::mining(3);
    world.add_job("train", 8);
    world.run(6, 10);
    assert_eq!(world.running("train"), 1);
    assert_eq!(world.count(Use::Hpc), 1);

    world.run(400, 30);
    assert_eq!(world.running("train"), 0, "an hour is over");
    assert_eq!(world.count(Use::Mining), 3, "and the node mines again");
    assert_eq!(world.running("miner"), 3);
    assert!(world.hurt.is_empty());
}

#[test]
fn a_job_that_pays_less_than_it_displaces_waits() {
    let mut world = World::mining(3);
    world.set("gpu-hour", 0.40);
    world.add_job("cheap", 8);
    world.run(10, 60);
    assert_eq!(world.count(Use::Hpc), 0);
    let waiting = world.plan().waiting.remove(0);
    assert_eq!(waiting.verdict.reason, Reason::PaysTooLittle);
    let (pays, displaces) = (waiting.verdict.pays.unwrap(), waiting.verdict.displaces.unwrap());
    assert!(pays < displaces, "{pays} < {displaces}");
}

#[test]
fn jobs_that_pay_only_together_get_a_node_together() {
    let mut world = World::mining(2);
    // One GPU pays 1.00 USD/h; the node mines for some 3.70 USD/h.
    world.add_job("one", 1);
    world.run(5, 10);
    assert_eq!(world.count(Use::Hpc), 0);
    for index in 0..5 {
        world.add_job(&format!("more{index}"), 1);
    }
    world.run(6, 10);
    assert_eq!(world.count(Use::Hpc), 1);
    assert_eq!(world.running("more") + world.running("one"), 6);
}

#[test]
fn a_gang_that_cannot_be_completed_gets_no_node() {
    let mut world = World::mining(3);
    world.add_gang("huge", 4, 8);
    world.run(5, 10);
    assert_eq!(world.count(Use::Hpc), 0);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::FitsNowhere);
}

#[test]
fn a_gang_waits_until_all_of_its_pods_exist() {
    let mut world = World::mining(3);
    world.add_gang("gang", 3, 8);
    let late = world.pods.remove("gang-2").unwrap();
    world.run(3, 10);
    assert_eq!(world.count(Use::Hpc), 0);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::GangIncomplete);
    world.pods.insert("gang-2".into(), late);
    world.run(5, 10);
    assert_eq!(world.running("gang"), 3);
}

#[test]
fn a_gang_gets_its_nodes_at_the_same_time() {
    let mut world = World::mining(4);
    world.add_gang("gang", 3, 8);
    world.pod("miner-etc-n001").never_stops = true;
    world.run(3, 5);
    let open =
        |world: &World| world.nodes.values().filter(|node| node.marks.taint.is_none()).count();
    assert_eq!(open(&world), 0, "the others wait for the one whose miner stays");
    world.pod("miner-etc-n001").never_stops = false;
    world.run(3, 5);
    assert_eq!(open(&world), 3);
    assert_eq!(world.running("gang"), 3);
}

#[test]
fn work_goes_to_nodes_that_may_serve_it() {
    let mut world = World::new();
    world.add_node("small", SMALL, Use::Mining);
    world.add_node("big", BIG, Use::Mining);
    world.run_controllers();
    world.add_gang("train", 2, 8);
    world.add_job("single", 8);
    world.run(6, 10);
    assert_eq!(world.uses()["big"], Use::Hpc);
    assert_eq!(world.uses()["small"], Use::Mining);
}

#[test]
fn nodes_idle_while_power_costs_more_than_mining_earns() {
    let mut world = World::mining(4);
    world.set("power", 9.0);
    world.run(3, 60);
    assert_eq!(world.count(Use::Idle), 4);
    assert_eq!(world.running("miner"), 0);
    world.set("power", 0.05);
    world.run(10, 60);
    assert_eq!(world.count(Use::Mining), 4);
    assert_eq!(world.running("miner"), 4);
}

#[test]
fn dwell_holds_up_prices_and_not_jobs() {
    let mut world = World::mining(2);
    for node in world.nodes.values_mut() {
        node.marks.since = Some(world.now);
    }
    world.set("power", 9.0);
    world.run(3, 60);
    assert_eq!(world.count(Use::Mining), 2);
    assert_eq!(world.decision("n000").reason, Reason::DwellNotOver);
    world.set("gpu-hour", 20.0);
    world.add_job("urgent", 8);
    world.run(3, 10);
    assert_eq!(world.count(Use::Hpc), 1);
}

#[test]
fn a_budget_limits_how_many_nodes_a_price_moves_at_once() {
    let mut world = World::mining(10);
    world.pool().shifting.budgets = serde_yaml::from_str("[{nodes: 20%}]").unwrap();
    world.set("power", 9.0);
    world.operate();
    assert_eq!(world.shifts.iter().map(|shift| shift.spec.nodes.len()).sum::<usize>(), 2);
    let exhausted =
        world.nodes.keys().filter(|name| world.decision(name).reason == Reason::BudgetExhausted);
    assert_eq!(exhausted.count(), 8);
    world.run(30, 10);
    assert_eq!(world.count(Use::Idle), 10, "in the end all of them");
}

#[rstest]
#[case::power("power")]
#[case::income("mining")]
fn nothing_is_moved_for_a_price_that_is_not_trusted(#[case] signal: &str) {
    let mut world = World::mining(2);
    world.set("power", 9.0);
    world.distrust(signal);
    world.run(5, 60);
    assert_eq!(world.count(Use::Mining), 2);
    assert_eq!(world.decision("n000").reason, Reason::SignalUntrusted);
}

#[test]
fn jobs_are_served_although_the_mining_income_is_not_trusted() {
    let mut world = World::mining(2);
    world.distrust("mining");
    world.add_job("train", 8);
    world.run(5, 10);
    assert_eq!(world.running("train"), 1);
}

#[test]
fn a_missing_price_is_never_zero() {
    let mut world = World::mining(2);
    world.signals.remove("mining");
    world.add_job("train", 8);
    world.run(10, 60);
    assert_eq!(world.count(Use::Mining), 2);
    assert_eq!(world.decision("n000").reason, Reason::ValueUnknown);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::PriceUnknown);
}

#[rstest]
#[case(Mode::DryRun)]
#[case(Mode::Hold)]
fn only_the_mode_active_starts_shifts(#[case] mode: Mode) {
    let mut world = World::mining(3);
    world.pool().shifting.mode = mode;
    world.add_job("train", 8);
    world.set("power", 9.0);
    world.add_bare_node("new", BIG);
    let before: Vec<Marks> = world.nodes.values().map(|node| node.marks.clone()).collect();
    world.run(5, 60);
    let after: Vec<Marks> = world.nodes.values().map(|node| node.marks.clone()).collect();
    assert_eq!(before, after);
    assert!(world.decision("n000").candidate.is_some(), "but it says what it would do");
}

#[test]
fn hold_finishes_what_was_begun() {
    let mut world = World::mining(1);
    world.add_job("train", 8);
    world.pod("miner-etc-n000").never_stops = true;
    world.run(3, 1);
    assert_eq!(world.shifts[0].status.phase, Phase::Draining);
    world.pool().shifting.mode = Mode::Hold;
    world.pod("miner-etc-n000").never_stops = false;
    world.run(3, 1);
    assert_eq!(world.running("train"), 1);
}

#[test]
fn brownfield_nodes_keep_the_use_that_they_have() {
    let mut world = World::new();
    for name in ["empty", "mines", "serves"] {
        world.add_bare_node(name, BIG);
    }
    world.add_miner("theirs", &etc(), "mines", 8);
    world.pod("theirs").node = Some("mines".into());
    world.pod("theirs").running = true;
    world.bind_job("theirs-job", "serves", 2);
    let pods = world.pods.len();
    world.operate();
    let uses = world.uses();
    assert_eq!(uses["empty"], Use::Idle);
    assert_eq!(uses["mines"], Use::Mining);
    assert_eq!(uses["serves"], Use::Hpc);
    assert_eq!(world.nodes["serves"].marks.taint, None);
    assert_eq!(world.nodes["mines"].marks.profile.as_deref(), Some("mining.etc"));
    assert!(world.evicted.is_empty());
    assert_eq!(world.pods.len(), pods);
}

#[test]
fn a_daemon_set_that_does_not_tolerate_the_taint_stops_the_first_one() {
    let mut world = World::new();
    world.add_bare_node("bare", BIG);
    world.add_daemon_set("device-plugin", Constraints::default());
    // A fresh node's own taint keeps the set's pods off only until it is ready.
    let fresh = "[{key: node.kubernetes.io/not-ready, effect: NoSchedule}]";
    world.node("bare").other_taints = serde_yaml::from_str(fresh).unwrap();
    world.run(3, 10);
    assert_eq!(world.nodes["bare"].marks, Marks::default());
    world.node("bare").other_taints.clear();
    world.run(3, 10);
    assert_eq!(world.nodes["bare"].marks, Marks::default());

    let tolerations =
        serde_yaml::from_str("[{key: switchyard.dev/use, operator: Exists}]").unwrap();
    world.system.clear();
    world.add_daemon_set("device-plugin", Constraints { tolerations, ..Constraints::default() });
    world.run(1, 10);
    assert_eq!(world.nodes["bare"].marks.taint, Some(Barrier::Idle));
}

#[test]
fn an_intolerant_daemon_set_that_was_accepted_by_name_is_no_obstacle() {
    let mut world = World::new();
    world.add_bare_node("bare", BIG);
    world.add_daemon_set("log-shipper", Constraints::default());
    world.pool().shifting.accept_intolerant_daemon_sets = vec!["kube-system/log-shipper".into()];
    world.run(1, 10);
    assert_eq!(world.nodes["bare"].marks.taint, Some(Barrier::Idle));
}

#[test]
fn a_cordoned_node_gets_no_shift_and_its_miner_stops() {
    let mut world = World::mining(2);
    world.node("n000").cordoned = true;
    world.add_gang("train", 2, 8);
    world.run(5, 10);
    assert_eq!(world.uses()["n000"], Use::Idle);
    assert_eq!(world.running("miner"), 1, "the other one");
    assert_eq!(world.running("train"), 0, "a cordoned node is no capacity");
    world.node("n000").cordoned = false;
    world.run(8, 10);
    assert_eq!(world.running("train"), 2);
}

#[test]
fn a_skipped_node_is_left_alone() {
    let mut world = World::mining(2);
    world.node("n000").skip = true;
    world.set("power", 9.0);
    world.run(5, 60);
    assert_eq!(world.uses()["n000"], Use::Mining);
    assert_eq!(world.uses()["n001"], Use::Idle);
    assert_eq!(world.decision("n000").reason, Reason::Skipped);
}

#[test]
fn where_label_and_taint_disagree_the_taint_holds() {
    let mut world = World::mining(1);
    world.node("n000").marks.node_use = Some(Use::Hpc);
    world.operate();
    assert_eq!(world.uses()["n000"], Use::Mining);
    assert_eq!(world.nodes["n000"].marks.taint, Some(Barrier::Mining));
}

#[test]
fn a_job_that_lands_on_a_mining_node_is_never_evicted() {
    let mut world = World::mining(2);
    world.pods.remove("miner-etc-n000");
    world.bind_job("guest", "n000", 4);
    world.run(5, 30);
    assert_eq!(world.uses()["n000"], Use::Hpc, "the node serves it");
    world.set("power", 9.0);
    world.run(20, 60);
    assert_eq!(world.pods["guest-0"].node.as_deref(), Some("n000"));
    assert!(world.hurt.is_empty());
}

#[test]
fn a_job_that_lands_while_its_node_is_taken_away_wins() {
    let mut world = World::new();
    world.add_node("n0", BIG, Use::Hpc);
    world.node("n0").empty_since = Some(world.now - SignedDuration::from_hours(1));
    world.run(2, 1);
    assert_eq!(world.nodes["n0"].marks.taint, Some(Barrier::Mining), "taken away");
    world.bind_job("late", "n0", 1);
    world.run(5, 1);
    assert_eq!(world.uses()["n0"], Use::Hpc);
    assert_eq!(world.nodes["n0"].marks.taint, None);
    assert_eq!(world.ended[0].status.phase, Phase::RolledBack);
    assert_eq!(world.ended[0].status.nodes[0].reason, Reason::JobWins);
}

#[test]
fn a_miner_that_never_stops_does_not_hold_a_node_up_for_ever() {
    let mut world = World::mining(1);
    world.pod("miner-etc-n000").never_stops = true;
    world.add_job("train", 8);
    world.run(40, 10);
    let ended = &world.ended[0];
    assert_eq!(ended.status.phase, Phase::RolledBack);
    assert_eq!(ended.status.nodes[0].reason, Reason::DeadlinePassed);
}

#[test]
fn when_the_job_goes_before_the_shift_begins_nothing_is_touched() {
    let mut world = World::mining(1);
    world.add_job("train", 8);
    world.operate();
    world.pods.remove("train-0");
    world.run(3, 1);
    assert_eq!(world.ended[0].status.nodes[0].reason, Reason::DemandGone);
    assert_eq!(world.running("miner"), 1);
}

#[test]
fn warm_standby_is_kept_and_made() {
    let mut world = World::mining(4);
    world.pool().hpc.nodes.min = NodeCount::Count(2);
    world.run(200, 60);
    assert_eq!(world.count(Use::Hpc), 2);
    assert_eq!(world.count(Use::Mining), 2);
}

#[test]
fn ceilings_hold() {
    let mut world = World::mining(4);
    world.pool().hpc.nodes.max = NodeCount::Count(1);
    world.pool().mining.nodes.max = NodeCount::Percent(50);
    world.add_job("one", 8);
    world.add_job("two", 8);
    world.run(20, 60);
    assert_eq!(world.count(Use::Hpc), 1);
    assert_eq!(world.count(Use::Mining), 2);
    let verdicts: Vec<_> = world.plan().waiting.iter().map(|one| one.verdict.reason).collect();
    assert_eq!(verdicts, [Reason::AboveCeiling]);
}

/// At the meter a big node draws 2,937 W when it mines, 605 W when it idles, and 3,201 W when jobs
/// have all of its GPUs.
fn capped(nodes: usize, kilowatts: f64) -> World {
    let mut world = World::mining(nodes);
    world.pool().power.cap_kw = Decimal::new(kilowatts);
    world
}

fn reasons(world: &World) -> Vec<Reason> {
    world.plan().pools[0].decisions.iter().map(|decision| decision.reason).collect()
}

#[test]
fn as_much_is_mined_as_the_power_cap_allows() {
    let mut world = capped(4, 8.0);
    world.run(1, 1);
    let order = &world.shifts[0].spec;
    assert_eq!((order.from, order.to, order.cause), (Use::Mining, Use::Idle, Cause::Rebalance));
    world.run(30, 60);
    assert_eq!(world.count(Use::Mining), 2);
    assert_eq!(world.count(Use::Idle), 2);
    assert_eq!(reasons(&world).iter().filter(|reason| **reason == Reason::PowerCap).count(), 2);
    assert_eq!(world.operate(), 0, "and it stays so");
    world.pool().power.cap_kw = None;
    world.run(30, 60);
    assert_eq!(world.count(Use::Mining), 4);
}

#[test]
fn the_least_valuable_watts_go_first() {
    // A small node mines 1.25 USD/h for 2,145 W, a big one 3.71 USD/h for 2,937 W.
    let mut world = World::new();
    world.add_node("big", BIG, Use::Mining);
    world.add_node("small", SMALL, Use::Mining);
    world.run_controllers();
    world.pool().power.cap_kw = Decimal::new(4.0);
    world.run(30, 60);
    assert_eq!(world.uses()["big"], Use::Mining);
    assert_eq!(world.uses()["small"], Use::Idle);
}

#[test]
fn a_cap_holds_when_nobody_knows_a_price() {
    let mut world = capped(4, 8.0);
    for signal in ["power", "mining", "gpu-hour"] {
        world.distrust(signal);
        world.signals.get_mut(signal).unwrap().value = None;
    }
    world.run(30, 60);
    assert_eq!(world.count(Use::Mining), 2);
}

#[test]
fn a_job_that_pays_more_gets_the_watts_of_a_miner_once_it_has_stopped() {
    let mut world = capped(2, 6.0);
    world.add_job("train", 8);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::PowerCap);
    world.run(1, 1);
    assert!(
        world.shifts.iter().all(|shift| shift.spec.to == Use::Idle),
        "first there is made room"
    );
    world.run(12, 1);
    assert_eq!(world.running("train"), 1);
    assert_eq!(world.count(Use::Mining), 0);
}

#[test]
fn a_job_that_pays_less_than_the_miners_whose_watts_it_needs_waits() {
    let mut world = capped(2, 6.0);
    world.set("gpu-hour", 0.9);
    world.add_job("train", 8);
    world.run(10, 60);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::PowerCap);
    assert_eq!(world.count(Use::Mining), 2);
    world.pool().power.cap_kw = Decimal::new(6.2);
    world.run(4, 1);
    assert_eq!(world.running("train"), 1);
    assert_eq!(world.count(Use::Mining), 1);
}

#[test]
fn running_jobs_are_never_stopped_for_a_cap() {
    let mut world = capped(3, 20.0);
    world.add_job("train", 8);
    world.pod("train-0").run_for = None;
    world.run(6, 1);
    world.pool().power.cap_kw = Decimal::new(1.0);
    world.run(30, 60);
    assert_eq!(world.running("train"), 1);
    assert_eq!(world.count(Use::Idle), 2);
    assert!(world.hurt.is_empty());
    assert_eq!(world.operate(), 0);
}

#[test]
fn the_best_paying_profile_is_mined() {
    let mut world = World::mining(2);
    let mut other = support::profile_yaml();
    other.income.signal = "other".into();
    let name = switchyard_api::ProfileRef { namespace: "mining".into(), name: "rvn".into() };
    world.profiles.insert(name.clone(), other);
    world.pool().mining.profiles.push(name);
    world.signal("other", switchyard_core::quantity::Measure::HashIncome, 0.2e-6);
    world.run(10, 60);
    assert_eq!(world.running("miner-rvn"), 2);
    assert_eq!(world.running("miner-etc"), 0);
}

#[test]
fn nothing_is_done_when_half_of_the_pool_vanishes_at_once() {
    let mut world = World::mining(3);
    world.believed.insert("texas".into(), 10);
    world.set("power", 9.0);
    world.add_job("train", 8);
    assert_eq!(world.operate(), 0);
    assert_eq!(world.decision("n000").reason, Reason::PoolHalfEmpty);
}

#[test]
fn nodes_of_two_pools_are_never_touched() {
    let mut world = World::mining(2);
    let twin = world.pools["texas"].clone();
    world.pools.insert("twin".into(), twin);
    world.set("power", 9.0);
    world.add_bare_node("bare", BIG);
    assert_eq!(world.operate(), 0);
}

#[test]
fn control_plane_nodes_are_never_touched() {
    let mut world = World::new();
    world.add_bare_node("cp", BIG);
    let label = switchyard_api::keys::CONTROL_PLANE.to_owned();
    world.node("cp").labels.insert(label, String::new());
    assert_eq!(world.operate(), 0);
}

#[test]
fn a_deleted_pool_gives_its_nodes_back() {
    let mut world = World::mining(2);
    world.deleting.insert("texas".into());
    world.run(2, 1);
    assert!(world.nodes.values().all(|node| node.marks == Marks::default()));
}

#[test]
fn a_pool_that_cannot_be_read_leaves_everything_as_it_is() {
    let mut world = World::mining(2);
    world.add_job("train", 8);
    world.run(2, 1);
    let before: Vec<Marks> = world.nodes.values().map(|node| node.marks.clone()).collect();
    assert!(before.iter().any(|marks| marks.claim.is_some()), "a shift is under way");
    world.unreadable.insert("texas".into());
    world.run(3, 1);
    let after: Vec<Marks> = world.nodes.values().map(|node| node.marks.clone()).collect();
    assert_eq!(before, after);
    world.unreadable.clear();
    world.run(5, 1);
    assert_eq!(world.running("train"), 1);
}

#[test]
fn a_deleted_shift_leaves_no_claim() {
    let mut world = World::mining(1);
    world.add_job("train", 8);
    world.pod("miner-etc-n000").never_stops = true;
    world.run(3, 1);
    world.shifts.clear();
    world.pod("miner-etc-n000").never_stops = false;
    world.run(4, 1);
    assert_eq!(world.nodes["n000"].marks.claim, None);
    assert_eq!(world.running("train"), 1, "the node was on its way to HPC, so it is open now");
}

#[test]
fn a_waiting_miner_is_no_demand() {
    let mut world = World::mining(2);
    world.add_miner("extra", &etc(), "n000", 8);
    world.run(3, 1);
    assert!(world.plan().waiting.is_empty());
    assert_eq!(world.count(Use::Mining), 2);
}

#[test]
fn held_pods_are_no_demand() {
    let mut world = World::mining(1);
    world.add_job("gated", 8);
    world.pod("gated-0").gated = true;
    world.run(3, 1);
    assert_eq!(world.count(Use::Mining), 1);
}

#[test]
fn a_pod_names_its_price_only_where_it_may_and_only_up_to_the_cap() {
    let mut world = World::mining(1);
    world.set("gpu-hour", 0.1);
    world.add_job("rich", 8);
    world.pod("rich-0").price = Some(1000.0);
    let paid = |world: &World| {
        let plan = world.plan();
        plan.pools[0].orders.first().and_then(|order| order.gain_usd_per_hour)
    };
    let gain = paid(&world).unwrap().value();
    assert!((10.0..24.0).contains(&gain), "3 USD per GPU-hour at most: {gain}");
    world.pod("rich-0").namespace = "elsewhere".into();
    assert_eq!(paid(&world), None);
}

/// One node that runs a job of four GPUs, and power so dear that no job pays for its own.
fn in_a_storm() -> World {
    let mut world = World::new();
    world.add_node("serves", BIG, Use::Hpc);
    world.bind_job("runs", "serves", 4);
    world.run(2, 10);
    world.set("power", 9.0);
    world.run(2, 10);
    world
}

#[test]
fn while_jobs_do_not_pay_for_their_power_new_ones_wait_and_running_ones_go_on() {
    let mut world = in_a_storm();
    assert_eq!(world.nodes["serves"].marks.taint, Some(Barrier::Closed));
    assert_eq!(world.uses()["serves"], Use::Hpc);
    assert_eq!(world.running("runs"), 1);

    world.add_job("comes", 4);
    world.run(4, 10);
    assert_eq!(world.running("comes"), 0);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::PaysTooLittle);
    assert_eq!(world.operate(), 0, "and it stays so without further writes");

    world.set("power", 0.1);
    world.run(3, 10);
    assert_eq!(world.nodes["serves"].marks.taint, None);
    assert_eq!(world.running("comes"), 1);
    assert!(world.hurt.is_empty());
}

#[test]
fn a_job_that_names_a_price_which_pays_opens_the_door() {
    let mut world = in_a_storm();
    world.set("power", 4.0);
    world.run(2, 10);
    assert_eq!(world.nodes["serves"].marks.taint, Some(Barrier::Closed));
    world.add_job("comes", 4);
    world.pod("comes-0").price = Some(3.0);
    world.run(3, 10);
    assert_eq!(world.running("comes"), 1);
}

#[rstest]
#[case::asked_to_serve(|world: &mut World| world.pool().hpc.below_cost = BelowCost::Serve, false)]
#[case::last_trusted_price_pays(|world: &mut World| world.distrust("gpu-hour"), false)]
#[case::last_trusted_price_does_not(|world: &mut World| {
    world.set("power", 9.0);
    world.distrust("power");
}, true)]
#[case::on_hold(|world: &mut World| world.pool().shifting.mode = Mode::Hold, true)]
#[case::little_better(|world: &mut World| world.set("power", 2.95), true)]
fn the_door_stays_shut_until_prices_are_surely_sane(
    #[case] change: fn(&mut World),
    #[case] shut: bool,
) {
    let mut world = in_a_storm();
    world.set("power", 0.1);
    change(&mut world);
    world.run(3, 10);
    let closed = world.nodes["serves"].marks.taint == Some(Barrier::Closed);
    assert_eq!(closed, shut);
}
