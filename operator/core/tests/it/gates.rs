//! What keeps a node where it is, and what does not: windows, budgets by the clock, pins, holds, the
//! breaker.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use rstest::rstest;
use switchyard_api::{Cause, Conditions, Judgement, Mode, Phase, ProfileRef, Reason, Use};
use switchyard_core::{
    block::Gate,
    calendar::Calendar,
    people::Hold,
    plan,
    quantity::Measure,
    report::judge,
    snapshot::{Barrier, Constraints},
    survey::survey,
};

use crate::support::{self, BIG, SMALL, World, etc};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Every node should idle.
fn expensive(count: usize) -> World {
    let mut world = World::mining(count);
    world.set("power", 9.0);
    world
}

fn judgements(world: &World) -> BTreeMap<String, Judgement> {
    let snapshot = world.snapshot();
    let survey = survey(&snapshot);
    let plan = plan::decide(&survey);
    let judged = judge(&survey, &survey.pools[0], &plan.pools[0]);
    judged.into_iter().map(|judgement| (judgement.kind.to_string(), judgement)).collect()
}

fn gates(world: &World, node: &str) -> Vec<(Gate, Reason)> {
    world.decision(node).blocks.iter().map(|block| (block.gate, block.reason)).collect()
}

// Windows and budgets by the clock.

#[rstest]
// Ten hours over the night in which the clocks go forward: from 22:00 to 09:00.
#[case("0 22 * * *", "10h", "2026-03-08T03:59:59Z", Some("2026-03-08T04:00:00Z"))]
#[case("0 22 * * *", "10h", "2026-03-08T04:00:00Z", None)]
#[case("0 22 * * *", "10h", "2026-03-08T13:59:59.9Z", None)]
#[case("0 22 * * *", "10h", "2026-03-08T14:00:00Z", Some("2026-03-09T03:00:00Z"))]
// And back: from 22:00 to 07:00.
#[case("0 22 * * *", "10h", "2026-11-01T12:59:59Z", None)]
#[case("0 22 * * *", "10h", "2026-11-01T13:00:00Z", Some("2026-11-02T04:00:00Z"))]
// What the clocks skip comes right after.
#[case("30 2 * * *", "1h", "2026-03-08T07:59:59Z", Some("2026-03-08T08:00:00Z"))]
#[case("30 2 * * *", "1h", "2026-03-08T08:00:00Z", None)]
// What they repeat comes once.
#[case("30 1 * * *", "20m", "2026-11-01T06:40:00Z", None)]
#[case("30 1 * * *", "20m", "2026-11-01T07:40:00Z", Some("2026-11-02T07:30:00Z"))]
// Weekdays, and a window that is longer than the time between two openings.
#[case("0 8 * * 1-5", "10h", "2026-01-03T15:00:00Z", Some("2026-01-05T14:00:00Z"))]
#[case("0 8 * * *", "30h", "2026-01-03T13:59:00Z", None)]
// Farther away than a year.
#[case("0 0 29 2 *", "1h", "2025-01-01T00:00:00Z", Some(""))]
fn a_window_is_open_for_its_duration_after_each_opening(
    #[case] schedule: &str,
    #[case] duration: &str,
    #[case] now: &str,
    #[case] next: Option<&str>,
) {
    let shifting = serde_yaml::from_str(&format!(
        "windows: [{{schedule: {schedule:?}, timeZone: America/Chicago, duration: {duration}}}]"
    ));
    let calendar = Calendar::of(&shifting.unwrap(), time(now));
    assert!(calendar.unreadable.is_empty(), "{:?}", calendar.unreadable);
    let until = calendar.closed(Cause::Price).map(|block| block.until);
    let next = next.map(|next| if next.is_empty() { None } else { Some(time(next)) });
    assert_eq!(until, next);
    assert_eq!(calendar.closed(Cause::Demand), None, "it names Price and Rebalance by default");
}

#[test]
fn prices_wait_for_a_window_and_jobs_do_not() {
    let mut world = expensive(3);
    world.pool().shifting.windows =
        serde_yaml::from_str("[{schedule: '0 8 * * *', duration: 2h}]").unwrap();
    world.set("gpu-hour", 20.0);
    world.add_job("urgent", 8);
    world.run(5, 60);
    assert_eq!(world.running("urgent"), 1);
    assert_eq!(world.count(Use::Mining), 2);
    let block = world.decision("n001").blocks[0];
    assert_eq!((block.gate, block.reason), (Gate::Window, Reason::OutsideWindow));
    assert_eq!(block.until, Some(time("2026-01-01T08:00:00Z")));
    let budget = judgements(&world)["BudgetAvailable"].clone();
    assert_eq!((budget.holds, budget.reason), (Some(false), Reason::OutsideWindow));
    assert!(budget.message.contains("2026-01-01T08:00:00Z"), "{}", budget.message);

    world.now = time("2026-01-01T08:00:00Z");
    world.run(3, 60);
    assert_eq!(world.count(Use::Idle), 2);
}

#[test]
fn an_order_that_was_not_begun_when_its_window_closed_is_not_begun() {
    let mut world = expensive(1);
    world.pool().shifting.windows =
        serde_yaml::from_str("[{schedule: '0 0 * * *', duration: 1h}]").unwrap();
    world.operate();
    assert_eq!(world.shifts.len(), 1);
    world.now = time("2026-01-01T01:00:00Z");
    world.shifts[0].spec = {
        let mut spec = (*world.shifts[0].spec).clone();
        spec.deadline = time("2026-01-02T00:00:00Z");
        spec.into()
    };
    world.operate();
    assert_eq!(world.ended[0].status.phase, Phase::RolledBack);
    assert_eq!(world.ended[0].status.nodes[0].reason, Reason::OutsideWindow);
}

#[test]
fn windows_hold_up_what_they_name() {
    let mut world = World::mining(2);
    world.pool().shifting.windows = serde_yaml::from_str(
        "[{schedule: '0 8 * * *', duration: 2h, causes: [Demand]},
          {schedule: '0 12 * * *', duration: 2h, causes: [Demand, Price]}]",
    )
    .unwrap();
    world.add_job("train", 8);
    world.run(3, 60);
    assert_eq!(world.running("train"), 0);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::OutsideWindow);
    world.now = time("2026-01-01T08:30:00Z");
    world.run(5, 10);
    assert_eq!(world.running("train"), 1);
}

#[test]
fn a_budget_applies_while_its_schedule_says_so() {
    let mut world = expensive(10);
    world.pool().shifting.budgets =
        serde_yaml::from_str("[{nodes: 0, schedule: '0 0 * * *', duration: 1h}, {nodes: 50%}]")
            .unwrap();
    world.run(20, 60);
    assert_eq!(world.count(Use::Mining), 10);
    assert_eq!(world.decision("n000").reason, Reason::BudgetExhausted);
    world.now = time("2026-01-01T01:00:00Z");
    world.operate();
    assert_eq!(world.shifts.iter().map(|shift| shift.spec.nodes.len()).sum::<usize>(), 5);
}

#[rstest]
#[case("budgets: [{nodes: 1, schedule: '0 8 * * 1-5'}]", "spec.shifting.budgets[0]", "give both")]
#[case(
    "windows: [{schedule: 0 25 * * *, duration: 24h}]",
    "spec.shifting.windows[0]",
    "write minute, hour, day, month and weekday"
)]
#[case(
    "windows: [{schedule: 0 0 0 * * *, duration: 24h}]",
    "spec.shifting.windows[0]",
    "write minute, hour, day, month and weekday"
)]
#[case(
    "windows: [{schedule: 0 0 30 2 *, duration: 24h}]",
    "spec.shifting.windows[0]",
    "never comes"
)]
#[case(
    "windows: [{schedule: 0 0 * * *, timeZone: Mars/Phobos, duration: 24h}]",
    "spec.shifting.windows[0]",
    "such as America/Chicago"
)]
fn a_schedule_that_cannot_be_read_stops_prices_and_says_what_to_write(
    #[case] shifting: &str,
    #[case] field: &str,
    #[case] remedy: &str,
) {
    let mut world = expensive(2);
    world.pool().shifting = serde_yaml::from_str(&format!("{{mode: Active, {shifting}}}")).unwrap();
    world.set("gpu-hour", 20.0);
    world.add_job("urgent", 8);
    world.run(5, 60);
    assert_eq!(world.running("urgent"), 1, "jobs do not wait for it");
    assert_eq!(world.count(Use::Idle), 0);
    assert_eq!(gates(&world, "n001"), [(Gate::Window, Reason::ScheduleUnreadable)]);
    let ready = judgements(&world)["Ready"].clone();
    assert_eq!((ready.holds, ready.reason), (Some(false), Reason::ScheduleUnreadable));
    assert!(ready.message.contains(field) && ready.message.contains(remedy), "{}", ready.message);
}

// Pins.

#[test]
fn a_pinned_node_stays_whatever_prices_and_jobs_say() {
    let mut world = expensive(2);
    world.node("n000").pin = Some("use=Mining,reason=new fans".into());
    world.set("gpu-hour", 20.0);
    world.add_gang("big", 2, 8);
    world.run(10, 60);
    assert_eq!(world.uses()["n000"], Use::Mining);
    assert_eq!(gates(&world, "n000"), [(Gate::Pin, Reason::Pinned)]);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::Pinned);
    assert_eq!(world.uses()["n001"], Use::Idle);
}

#[test]
fn a_pin_moves_the_node_and_ends_when_it_says() {
    let mut world = World::mining(2);
    world.node("n000").pin = Some("use=HPC,until=2026-01-01T02:00Z".into());
    world.run(5, 60);
    assert_eq!(world.uses()["n000"], Use::Hpc);
    assert_eq!(world.ended[0].spec.cause, Cause::Rebalance);
    world.run(60, 60);
    assert_eq!(world.uses()["n000"], Use::Hpc, "although mining pays");
    world.now = time("2026-01-01T02:00:00Z");
    world.run(5, 60);
    assert_eq!(world.uses()["n000"], Use::Mining);
}

#[test]
fn a_pin_waits_for_the_jobs_on_the_node() {
    let mut world = World::new();
    world.add_node("busy", BIG, Use::Hpc);
    world.bind_job("train", "busy", 2);
    world.node("busy").pin = Some("use=Mining".into());
    world.run(10, 60);
    assert_eq!(world.decision("busy").reason, Reason::JobsRunning);
    world.pods.remove("train-0");
    world.run(10, 60);
    assert_eq!(world.uses()["busy"], Use::Mining);
    assert!(world.hurt.is_empty());
}

#[test]
fn a_pin_does_not_open_other_gates() {
    let mut world = World::new();
    world.add_node("small", SMALL, Use::Mining);
    world.node("small").pin = Some("use=HPC".into());
    world.run(5, 60);
    assert_eq!(gates(&world, "small"), [(Gate::Eligible, Reason::NotEligible)]);
}

#[test]
fn a_floor_is_met_with_nodes_that_are_not_pinned() {
    let mut world = World::mining(3);
    for name in ["n000", "n001"] {
        world.node(name).pin = Some("use=Mining".into());
    }
    world.pool().hpc.nodes.min = switchyard_api::NodeCount::Count(1);
    world.run(5, 60);
    assert_eq!(world.uses()["n002"], Use::Hpc);
}

#[test]
fn a_pin_that_cannot_be_read_keeps_the_node_where_it_is() {
    let mut world = expensive(1);
    world.node("n000").pin = Some("use=mining until noon".into());
    world.run(5, 60);
    assert_eq!(gates(&world, "n000"), [(Gate::Pin, Reason::PinUnreadable)]);
    let usable = judgements(&world)["NodesUsable"].clone();
    assert_eq!((usable.holds, usable.reason), (Some(false), Reason::PinUnreadable));
    assert!(usable.message.contains("n000") && usable.message.contains("use=HPC,until="));
}

// What nodes need to be of use.

#[test]
fn a_daemon_set_that_does_not_tolerate_the_taint_stops_what_taints_and_no_job() {
    let mut world = World::mining(1);
    world.add_node("serves", BIG, Use::Hpc);
    world.add_daemon_set("device-plugin", Constraints::default());
    world.run(3, 60);
    assert_eq!(world.uses()["serves"], Use::Hpc, "although mining pays");
    assert_eq!(gates(&world, "serves"), [(Gate::SystemPods, Reason::SystemPodsIntolerant)]);
    world.add_gang("train", 2, 8);
    world.run(6, 10);
    assert_eq!(world.running("train"), 2, "one of them on the node that mined");
}

#[test]
fn work_waits_rather_than_being_given_a_node_that_is_not_ready() {
    let mut world = World::mining(1);
    world.node("n000").ready = false;
    world.add_job("train", 8);
    let plan = world.plan();
    assert_eq!(plan.waiting[0].verdict.reason, Reason::NotReady);
    assert!(plan.waiting[0].nodes.is_empty(), "{:?}", plan.waiting[0].nodes);
}

// Holds.

#[test]
fn a_global_hold_lets_running_shifts_finish_and_none_begin() {
    let mut world = World::mining(2);
    world.add_job("train", 8);
    world.pod("miner-etc-n000").never_stops = true;
    world.run(3, 1);
    assert_eq!(world.shifts[0].status.phase, Phase::Draining);
    let data = [("reason", "power company works on the line"), ("until", "2026-01-01T02:00Z")];
    let data = data.map(|(key, value)| (key.to_owned(), value.to_owned()));
    world.hold = Some(Hold::read(&data.into()));
    world.pod("miner-etc-n000").never_stops = false;
    world.add_job("late", 8);
    world.run(20, 60);
    assert_eq!(world.running("train"), 1);
    assert_eq!(world.running("late"), 0);
    assert_eq!(world.plan().waiting[0].verdict.reason, Reason::GlobalHold);
    let shifting = judgements(&world)["Shifting"].clone();
    assert_eq!((shifting.holds, shifting.reason), (Some(false), Reason::GlobalHold));
    assert!(shifting.message.contains("power company works on the line"), "{}", shifting.message);
    world.now = time("2026-01-01T02:00:00Z");
    world.run(5, 60);
    assert_eq!(world.running("late"), 1);
}

#[test]
fn an_order_that_was_not_begun_when_the_hold_came_is_not_begun() {
    let mut world = expensive(1);
    world.operate();
    world.hold = Some(Hold::default());
    world.operate();
    assert_eq!(world.ended[0].status.nodes[0].reason, Reason::GlobalHold);
    assert_eq!(world.uses()["n000"], Use::Mining);
}

#[test]
fn every_closed_gate_is_reported() {
    let mut world = expensive(1);
    world.hold = Some(Hold::default());
    world.pool().shifting.mode = Mode::Hold;
    world.pool().shifting.windows =
        serde_yaml::from_str("[{schedule: '0 8 * * *', duration: 2h}]").unwrap();
    world.breakers.entry("texas".into()).or_default().open_since = Some(world.now);
    let node = world.node("n000");
    node.skip = true;
    node.cordoned = true;
    node.pin = Some("use=Mining".into());
    let closed: Vec<Gate> = gates(&world, "n000").into_iter().map(|(gate, _)| gate).collect();
    assert_eq!(closed, [Gate::Hold, Gate::Skip, Gate::Pin, Gate::Cordon, Gate::Window]);
}

// The breaker.

/// Prices that go up and down.
fn storm(world: &mut World, times: usize) {
    for _ in 0..times {
        for power in [9.0, 0.10] {
            world.set("power", power);
            world.run(11, 60);
        }
    }
}

fn opens(world: &World) -> bool {
    world.breakers["texas"].open_since.is_some()
}

#[test]
fn prices_that_go_up_and_down_open_the_breaker_and_a_person_closes_it() {
    let mut world = World::mining(10);
    storm(&mut world, 1);
    assert_eq!(world.count(Use::Mining), 10);
    assert!(opens(&world));
    let judged = judgements(&world)["BreakerClosed"].clone();
    assert_eq!((judged.holds, judged.reason), (Some(false), Reason::BreakerOpen));
    assert!(judged.message.contains("switchyard.dev/reset-breaker"), "{}", judged.message);
    let said = judged.message;

    world.set("power", 9.0);
    world.run(15, 60);
    assert_eq!(world.count(Use::Idle), 10, "what stops a loss passes");
    world.set("power", 0.10);
    world.run(200, 60);
    assert_eq!(world.count(Use::Idle), 10, "and nothing else does, not even after hours");
    assert_eq!(gates(&world, "n000"), [(Gate::Breaker, Reason::BreakerOpen)]);
    assert_eq!(judgements(&world)["BreakerClosed"].message, said, "and it says so once");

    world.add_job("train", 8);
    world.run(5, 10);
    assert_eq!(world.running("train"), 1, "jobs are served");

    world.reset_breaker = Some("looked at it".into());
    world.run(15, 60);
    assert!(!opens(&world));
    assert_eq!(world.count(Use::Mining), 9);
    storm(&mut world, 1);
    assert!(opens(&world), "the same value does not close it twice");
    world.reset_breaker = Some("looked again".into());
    world.run(2, 60);
    assert!(!opens(&world));
}

#[test]
fn the_breaker_counts_anew_after_a_reset() {
    let mut world = World::mining(4);
    storm(&mut world, 1);
    world.reset_breaker = Some("1".into());
    world.run(5, 1);
    assert!(!opens(&world), "what it counted before is still in the history");
}

#[test]
fn slow_changes_do_not_open_the_breaker() {
    let mut world = World::mining(4);
    for power in [9.0, 0.10, 9.0, 0.10] {
        world.set("power", power);
        world.run(61, 60);
    }
    assert!(!opens(&world));
}

#[test]
fn jobs_that_come_and_go_do_not_open_the_breaker() {
    let mut world = World::mining(4);
    world.pool().hpc.idle_after = switchyard_api::Period::from_secs(60);
    for round in 0..4 {
        world.add_job(&format!("job{round}"), 8);
        world.pod(&format!("job{round}-0")).run_for = Some(jiff::SignedDuration::from_secs(60));
        world.run(15, 60);
    }
    assert!(world.ended.len() >= 8, "{}", world.ended.len());
    assert!(!opens(&world));
}

#[rstest]
#[case("{reversals: 3, within: 1h}", 2, false)]
#[case("{reversals: 3, within: 1h}", 3, true)]
#[case("{reversals: 30%, within: 1h}", 2, false)]
#[case("{reversals: 30%, within: 1h}", 3, true)]
#[case("{reversals: 0, within: 1h}", 0, false)]
#[case("{reversals: 0, within: 0s}", 10, false)]
fn the_breaker_opens_when_so_many_nodes_were_reversed(
    #[case] breaker: &str,
    #[case] moving: usize,
    #[case] open: bool,
) {
    let mut world = World::mining(10);
    world.pool().shifting.breaker = serde_yaml::from_str(breaker).unwrap();
    for node in world.nodes.values_mut().skip(moving) {
        node.skip = true;
    }
    storm(&mut world, 1);
    assert_eq!(opens(&world), open);
}

#[test]
fn profiles_that_overtake_each_other_open_the_breaker() {
    let mut world = World::mining(4);
    let rvn = ProfileRef { namespace: "mining".into(), name: "rvn".into() };
    let mut profile = support::profile_yaml();
    profile.income.signal = "rvn-income".into();
    world.profiles.insert(rvn.clone(), profile);
    world.pool().mining.profiles = vec![etc(), rvn];
    let income = support::INCOME * 1e-6;
    world.signal("rvn-income", Measure::HashIncome, income * 1.5);
    world.run(12, 60);
    assert!(world.nodes.values().all(|node| node.marks.profile.as_deref() == Some("mining.rvn")));
    assert!(!opens(&world), "there and not back yet");
    world.set("rvn-income", income * 0.5);
    world.run(12, 60);
    assert!(world.nodes.values().all(|node| node.marks.profile.as_deref() == Some("mining.etc")));
    assert!(opens(&world));
    assert_eq!(world.nodes["n000"].marks.taint, Some(Barrier::Mining));
}

#[test]
fn a_gang_gets_nodes_of_two_profiles_by_one_shift() {
    let mut world = World::mining(2);
    let rvn = ProfileRef { namespace: "mining".into(), name: "rvn".into() };
    world.profiles.insert(rvn.clone(), support::profile_yaml());
    world.pool().mining.profiles = vec![etc(), rvn];
    world.node("n001").marks.profile = Some("mining.rvn".into());
    world.run_controllers();
    world.add_gang("train", 2, 8);
    world.operate();
    assert_eq!(world.shifts.len(), 1, "{:?}", world.shifts);
    assert_eq!(world.shifts[0].spec.nodes.len(), 2);
}

#[test]
fn the_condition_is_written_only_when_it_changes() {
    let mut world = World::mining(4);
    storm(&mut world, 1);
    let judged = |world: &World| {
        let all: Vec<Judgement> = judgements(world).into_values().collect();
        [].as_slice().judged(&all, 1, Timestamp::UNIX_EPOCH)
    };
    world.run(30, 60);
    let before = judged(&world);
    world.run(90, 60);
    assert_eq!(judged(&world), before);
}
