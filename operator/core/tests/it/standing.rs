//! For how long a plan stands when nothing but time changes.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use switchyard_api::{Decimal, Reason, Use};
use switchyard_core::{people::Hold, plan, standing::stands_until, survey::survey, upkeep::upkeep};

use crate::support::{BIG, World};

/// What a plan says, apart from how much has been missed by now.
fn said(world: &World) -> (String, Option<Timestamp>) {
    let snapshot = world.snapshot();
    let survey = survey(&snapshot);
    let plan = plan::decide(&survey);
    let mut text = format!("{:?} {}", plan.waiting, upkeep(&survey, &plan).writes.len());
    for pool in &plan.pools {
        let allowed = pool.allowed_disruptions;
        write!(text, "{:?} {allowed} {:?}", pool.orders, pool.shut).unwrap();
        for decision in &pool.decisions {
            let blocks = decision.blocks.iter().map(|block| (block.gate, block.reason));
            let candidate = decision.candidate.as_ref();
            let to = candidate.map(|one| (one.to, &one.profile, one.cause, one.reason));
            let blocks: Vec<_> = blocks.collect();
            write!(text, "{:?} {to:?} {blocks:?}", decision.reason).unwrap();
        }
    }
    (text, stands_until(&survey, &plan))
}

/// Checks that a plan stands for as long as it says, which is right to a second: at a share (0 to 1) of
/// that time, and right before its end. Says for how long.
pub fn check(world: &World, share: f64) -> Option<SignedDuration> {
    let mut world = world.clone();
    let snapshot = world.snapshot();
    world.observer.look(&survey(&snapshot));
    let (plan, until) = said(&world);
    let stands = until?.min(world.now + SignedDuration::from_hours(24 * 365)) - world.now;
    let stands = stands.total(jiff::Unit::Second).unwrap();
    let told = (stands - 1.001).max(0.0);
    for seconds in [told * share, told] {
        let mut later = world.clone();
        later.now += SignedDuration::from_secs_f64(seconds);
        let found = said(&later).0;
        assert_eq!(found, plan, "after {seconds} s of {stands}");
    }
    Some(SignedDuration::from_secs_f64(stands))
}

/// A pool at rest that mines.
fn at_rest() -> World {
    let mut world = World::new();
    for name in ["a", "b"] {
        world.add_node(name, BIG, Use::Mining);
    }
    world.run_controllers();
    world.run(3, 3600);
    world
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

#[rstest]
#[case::pin(|world: &mut World| {
    let until = world.now + minutes(7);
    world.node("a").pin = Some(format!("use=Mining,until={until}"));
}, 7)]
#[case::hold(|world: &mut World| {
    world.hold = Some(Hold { until: Some(Ok(world.now + minutes(9))), ..Hold::default() });
}, 9)]
#[case::dwell(|world: &mut World| {
    let now = world.now;
    world.pool().shifting.min_dwell.mining = "11m".parse().unwrap();
    world.node("a").marks.since = Some(now);
}, 11)]
#[case::window(|world: &mut World| {
    // The first window of the day is hours away.
    let opens = world.now + minutes(13);
    let schedule = opens.strftime("{schedule: '%M %H * * *', duration: 1h}");
    world.pool().shifting.windows = serde_yaml::from_str(&format!("[{schedule}]")).unwrap();
}, 13)]
#[case::idle_after(|world: &mut World| {
    world.pool().hpc.idle_after = "21m".parse().unwrap();
    let (now, node) = (world.now, world.node("a"));
    node.marks.node_use = Some(Use::Hpc);
    node.marks.taint = None;
    (node.marks.profile, node.empty_since) = (None, Some(now - minutes(4)));
    node.marks.since = Some(now - minutes(600));
    world.pods.retain(|_, pod| pod.node.as_deref() != Some("a"));
}, 17)]
fn a_plan_stands_until_something_ends(#[case] change: fn(&mut World), #[case] wanted: i64) {
    let mut world = at_rest();
    assert!(check(&world, 0.5).unwrap() > minutes(60 * 24), "nothing is going to happen");
    change(&mut world);
    assert_eq!(check(&world, 0.5), Some(minutes(wanted)));
}

/// Power at which mining loses a little, so that a switch takes hours to pay back.
#[test]
fn a_plan_stands_until_a_move_has_paid_for_itself() {
    let mut world = at_rest();
    world.set("power", 2.0);
    world.pool().shifting.patience = Decimal::new(20.0).unwrap();
    let until = check(&world, 0.9).unwrap();
    let decision = world.decision("a");
    assert_eq!(decision.reason, Reason::NotPaidBack);
    let due = decision.candidate.unwrap().payback.unwrap().due_at(world.now);
    assert_eq!(Some(world.now + until), due);
}

/// What was never seen before is looked at again, and so is what is under way.
#[test]
fn nothing_stands_while_something_is_under_way() {
    let mut world = at_rest();
    world.node("a").empty_since = None;
    assert_eq!(check(&world, 0.5), None, "its last job is just gone");
    let mut world = at_rest();
    world.add_job("job", 8);
    assert_eq!(check(&world, 0.5), None, "a node is ordered");
    world.tick(1);
    assert!(!world.shifts.is_empty());
    assert_eq!(check(&world, 0.5), None, "it is on the move");
}
