//! What an explanation says comes true.

#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::SignedDuration;
use rstest::rstest;
use switchyard_api::{Mode, Reason, Use, keys};
use switchyard_core::{
    explain::{self, Flip, PriceChange, Step, Unexplained},
    plan,
    survey::survey,
};

use crate::support::{BIG, SMALL, World, steps::promised};

/// The one price that a flip is about.
fn price(flip: &Flip) -> &PriceChange {
    match flip.steps.as_slice() {
        [Step::Price(change)] => change,
        other => panic!("no price: {other:?}"),
    }
}

/// Does all that a flip asks for and sees that the decision is what it says.
fn come_true(world: &mut World, node: &str, flip: &Flip) {
    for step in &flip.steps {
        world.step(node, step, 1.0);
    }
    assert_eq!(world.verdict(node), promised(flip), "{flip:?}");
}

#[test]
fn a_mining_node_says_at_which_prices_it_would_idle() {
    let mut world = World::mining(3);
    world.set("power", 0.50);
    let told = world.explain("n001");
    assert_eq!(told.decision.reason, Reason::BestUse);
    assert_eq!(told.decision.to, None);
    assert!(told.gates.is_empty(), "no gate was asked");
    let [income, power] = told.flips.as_slice() else { panic!("{:#?}", told.flips) };
    // Mining earns 4.00 USD/h and draws 8 x (290 - 25) W more than doing nothing does, times 1.10:
    // both are worth the same at 4.00 / 2.332 = 1.7153 USD/kWh, or at 29 % of the income.
    assert!((price(power).to - 1.7153).abs() < 0.002, "{power:?}");
    assert!((price(power).relative - 2.4305).abs() < 0.003, "{power:?}");
    assert!((price(income).relative + 0.7085).abs() < 0.002, "the smallest comes first");
    assert_eq!(price(income).unit, "USD/(MH/s)/day");
    for flip in [power, income] {
        assert_eq!(flip.to.as_ref().map(|to| to.node_use), Some(Use::Idle));
        assert!(flip.moves && flip.held_by.is_empty());
    }
    assert_eq!(told.indifferent_to, ["gpu-hour"]);
    let flip = power.clone();
    come_true(&mut world, "n001", &flip);
}

#[test]
fn what_a_node_earns_is_shown_with_what_it_is_made_of() {
    let mut world = World::mining(1);
    world.distrust("gpu-hour");
    let told = world.explain("n000");
    let of = |node_use| told.uses.iter().find(|one| one.node_use == node_use).unwrap();
    let mining = of(Use::Mining);
    assert!(mining.current && !of(Use::Hpc).current && !of(Use::Idle).current);
    assert!((mining.watts - 2670.0).abs() < 1e-9);
    assert!((mining.income.unwrap() - 4.0).abs() < 1e-9);
    assert!((mining.power.unwrap() - 0.2937).abs() < 1e-9);
    assert!((mining.net.unwrap() - 3.7063).abs() < 1e-9);
    assert_eq!(mining.hashrate, Some(120e6));
    assert_eq!((of(Use::Hpc).busy_gpus, of(Use::Hpc).trusted), (8, false));
    assert!(of(Use::Idle).income.unwrap().abs() < 1e-9);
    let untrusted: Vec<_> = told.prices.iter().filter(|price| !price.trusted).collect();
    assert_eq!(untrusted.len(), 1);
    assert_eq!(untrusted[0].signal.as_deref(), Some("gpu-hour"));
}

#[test]
fn an_empty_node_says_when_it_goes_back() {
    let mut world = World::new();
    world.add_node("n", BIG, Use::Hpc);
    let (empty, opened) =
        (world.now - SignedDuration::from_secs(100), SignedDuration::from_secs(90));
    world.node("n").empty_since = Some(empty);
    world.node("n").marks.since = Some(world.now - opened);
    world.pool().shifting.min_dwell.hpc = "10m".parse().unwrap();
    let told = world.explain("n");
    assert_eq!(told.decision.reason, Reason::RecentlyBusy);
    let flip = told.flips[0].clone();
    let over = world.now - opened + SignedDuration::from_secs(600);
    assert_eq!(flip.steps, [Step::Wait { until: over }], "idleAfter ends before the dwell does");
    world.now = over - SignedDuration::from_millis(1);
    assert!(!world.verdict("n").1);
    come_true(&mut world, "n", &flip);
    assert_eq!(flip.to.unwrap().node_use, Use::Mining);
}

#[rstest]
#[case::dry_run(|world: &mut World| world.pool().shifting.mode = Mode::DryRun, Reason::DryRun, "\"Active\"")]
#[case::hold(|world: &mut World| world.pool().shifting.mode = Mode::Hold, Reason::Hold, "\"Active\"")]
#[case::cordoned(|world: &mut World| world.node("n").cordoned = true, Reason::Cordoned, "uncordon n")]
#[case::skipped(|world: &mut World| world.node("n").skip = true, Reason::Skipped, "switchyard.dev/skip-")]
#[case::lost(|world: &mut World| { world.believed.insert("texas".into(), 9); }, Reason::PoolHalfEmpty, "=1")]
fn a_gate_says_who_opens_it(
    #[case] close: fn(&mut World),
    #[case] reason: Reason,
    #[case] command: &str,
) {
    let mut world = World::new();
    world.add_node("n", BIG, Use::Idle);
    close(&mut world);
    let told = world.explain("n");
    assert!(!told.decision.moves);
    let closed: Vec<_> = told.gates.iter().filter(|gate| !gate.open).collect();
    assert_eq!(closed.iter().map(|gate| gate.reason).collect::<Vec<_>>(), [Some(reason)]);
    assert_eq!(told.first_closed.as_ref(), Some(&closed[0].gate));
    assert!(closed[0].remedy.as_ref().unwrap().contains(command), "{closed:?}");
    let flip = told.flips[0].clone();
    assert!(matches!(flip.steps.as_slice(), [Step::Do { what, .. }] if what.contains(command)));
    assert!(flip.moves);
    come_true(&mut world, "n", &flip);
}

#[test]
fn of_several_closed_gates_all_are_told_and_opened_together() {
    let mut world = World::new();
    world.add_node("n", BIG, Use::Idle);
    world.node("n").cordoned = true;
    world.node("n").marks.since = Some(world.now);
    world.pool().shifting.mode = Mode::DryRun;
    let told = world.explain("n");
    let closed: Vec<_> =
        told.gates.iter().filter(|gate| !gate.open).map(|gate| gate.gate.as_str()).collect();
    assert_eq!(closed, ["Cordon", "Dwell", "Mode"]);
    assert_eq!(told.first_closed.as_deref(), Some("Cordon"));
    let flip = told.flips[0].clone();
    assert_eq!(flip.steps.len(), 3);
    for left_out in 0..3 {
        let mut partly = world.clone();
        let others = flip.steps.iter().enumerate().filter(|(index, _)| *index != left_out);
        others.for_each(|(_, step)| partly.step("n", step, 1.0));
        assert!(!partly.verdict("n").1, "without step {left_out}");
    }
    come_true(&mut world, "n", &flip);
}

#[test]
fn a_node_says_at_which_price_a_job_would_get_it() {
    let mut world = World::mining(1);
    world.set("gpu-hour", 0.40);
    world.add_job("cheap", 8);
    let told = world.explain("n000");
    let flip = told.flips.iter().find(|flip| price(flip).signal.as_deref() == Some("gpu-hour"));
    let flip = flip.unwrap().clone();
    assert_eq!(flip.to.as_ref().unwrap().node_use, Use::Hpc);
    assert!((0.50..0.60).contains(&price(&flip).to), "{flip:?}");
    come_true(&mut world, "n000", &flip);
    world.run(6, 10);
    assert_eq!(world.running("cheap"), 1, "and gets it");
}

#[test]
fn a_price_in_the_spec_is_a_price_too() {
    let mut world = World::mining(1);
    let price = &mut world.pool().hpc.price;
    (price.signal, price.usd_per_gpu_hour) = (None, Some("0.4".parse().unwrap()));
    world.add_job("cheap", 8);
    let told = world.explain("n000");
    let of_spec = |flip: &&Flip| match flip.steps.as_slice() {
        [Step::Price(change)] => change.signal.is_none(),
        _ => false,
    };
    let flip = told.flips.iter().find(of_spec).unwrap();
    let [Step::Price(change)] = flip.steps.as_slice() else { unreachable!() };
    assert_eq!(change.field, "spec.hpc.price.usdPerGPUHour");
    world.pool().hpc.price.usd_per_gpu_hour = switchyard_api::Decimal::new(change.to);
    assert_eq!(world.verdict("n000"), promised(flip));
}

#[test]
fn a_price_that_is_not_trusted_holds_a_move_up_and_is_named() {
    let mut world = World::mining(1);
    world.set("mining", 1e-9);
    world.distrust("mining");
    let told = world.explain("n000");
    assert_eq!(told.decision.reason, Reason::SignalUntrusted);
    assert_eq!(told.decision.wanted_because, Some(Reason::NothingPays));
    assert_eq!(told.first_closed.as_deref(), Some("Signals"));
    let flip = told.flips[0].clone();
    assert!(matches!(flip.steps.as_slice(), [Step::Do { what, .. }] if what.contains("mining")));
    come_true(&mut world, "n000", &flip);
}

#[test]
fn an_idle_node_says_that_trust_in_a_price_would_set_it_to_mine() {
    let mut world = World::new();
    world.add_node("n", BIG, Use::Idle);
    world.distrust("mining");
    let told = world.explain("n");
    assert_eq!(told.decision.to, None);
    let flip = told.flips[0].clone();
    assert_eq!(flip.to.as_ref().unwrap().node_use, Use::Mining);
    come_true(&mut world, "n", &flip);
}

#[test]
fn what_no_price_changes_says_so() {
    let mut world = World::mining(1);
    world.bind_job("train", "n000", 8);
    world.node("n000").marks.node_use = Some(Use::Hpc);
    world.node("n000").marks.taint = None;
    let told = world.explain("n000");
    assert_eq!(told.decision.reason, Reason::JobsRunning);
    assert_eq!(told.flips, []);
    assert_eq!(told.indifferent_to, ["power", "gpu-hour", "mining"]);
    assert_eq!(told.jobs, ["research/train-0"]);
}

#[test]
fn names_that_are_unknown_are_answered_with_names_that_are_near() {
    let mut world = World::mining(12);
    world.add_node("boss", BIG, Use::Idle);
    world.node("boss").labels.insert(keys::CONTROL_PLANE.into(), String::new());
    let snapshot = world.snapshot();
    let survey = survey(&snapshot);
    let plan = plan::decide(&survey);
    let refused = explain::node(&survey, &plan, "boss").unwrap_err();
    assert!(matches!(refused, Unexplained::Refused { reason: Reason::ControlPlane, .. }));
    let unknown = explain::node(&survey, &plan, "n0011").unwrap_err().to_string();
    assert!(unknown.contains("n001") && unknown.contains("kubectl get nodes"), "{unknown}");
    let unknown = explain::pool(&survey, &plan, "texsa").unwrap_err().to_string();
    assert!(unknown.contains("near: texas") && unknown.contains("get gpupools"), "{unknown}");
    let far = explain::pool(&survey, &plan, "x").unwrap_err().to_string();
    assert!(!far.contains("near"), "{far}");
}

#[test]
fn a_pool_is_told_by_reasons_values_budgets_and_waiting_work() {
    let mut world = World::mining(4);
    world.add_node("z0", SMALL, Use::Idle);
    world.add_node("z1", SMALL, Use::Idle);
    world.pool().shifting.budgets = serde_yaml::from_str("[{nodes: 1, from: [Idle]}]").unwrap();
    world.set("gpu-hour", 0.40);
    world.add_job("cheap", 8);
    let told = world.explain_pool();
    let counts: Vec<_> =
        told.reasons.iter().map(|one| (one.reason, one.moves, one.nodes, &*one.example)).collect();
    assert_eq!(
        counts,
        [
            (Reason::BestUse, false, 4, "n000"),
            (Reason::MiningPays, true, 1, "z0"),
            (Reason::BudgetExhausted, false, 1, "z1"),
        ]
    );
    assert_eq!(told.classes.iter().map(|class| class.nodes).collect::<Vec<_>>(), [4, 2]);
    let left: Vec<_> = told.budgets_left.iter().map(|left| (left.from, left.nodes)).collect();
    assert_eq!(left, [(Use::Mining, None), (Use::Hpc, None), (Use::Idle, Some(1))]);
    let [cheap] = told.waiting.as_slice() else { panic!("{:?}", told.waiting) };
    assert_eq!((cheap.reason, cheap.gpus), (Reason::PaysTooLittle, 8));
    assert!(cheap.pays.unwrap() < cheap.displaces.unwrap());
}

/// A status would not fit into etcd if it grew with the nodes.
#[test]
fn a_pool_counts_each_reason_once_however_many_nodes_it_has() {
    let mut world = World::new();
    for index in 0..3000 {
        let node_use = [Use::Mining, Use::Idle, Use::Hpc][index % 3];
        let name = format!("n{index:04}");
        world.add_node(&name, if index % 2 == 0 { BIG } else { SMALL }, node_use);
        let node = world.node(&name);
        node.cordoned = index % 5 == 0;
        node.skip = index % 7 == 0;
        node.ready = index % 11 != 0;
        node.gpus = if index % 13 == 0 { 0 } else { 8 };
    }
    let counts = plan::reason_counts(&world.plan().pools[0].decisions);
    let reasons: std::collections::BTreeSet<_> = counts.iter().map(|count| count.reason).collect();
    assert!(reasons.len() > 4, "{counts:?}");
    assert_eq!(reasons.len(), counts.len(), "{counts:?}");
    assert_eq!(counts.iter().map(|count| count.nodes).sum::<u32>(), 3000);
}

/// What a person waits for may not take long, however large the pool.
#[test]
fn ten_thousand_nodes_are_not_too_many() {
    let mut world = World::new();
    for index in 0..10_000 {
        world.add_node(&format!("n{index:05}"), BIG, Use::Mining);
    }
    let snapshot = world.snapshot();
    let survey = survey(&snapshot);
    let plan = plan::decide(&survey);
    #[allow(clippy::disallowed_methods)] // it is about the time that it takes
    let begun = std::time::Instant::now();
    explain::node(&survey, &plan, "n05000").unwrap();
    let took = begun.elapsed();
    assert!(took.as_secs() < 5, "{took:?}, on a machine that others use, too");
}
