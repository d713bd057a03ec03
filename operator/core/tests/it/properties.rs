//! What must hold in every story, whatever happens in it.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;
use proptest::prelude::*;
use switchyard_api::{Cause, Decimal, Mode, NodeShiftStatus, Use};
use switchyard_core::{
    explain::Step,
    people::{Hold, Pin},
    plan::Plan,
    snapshot::{Barrier, ShiftFacts},
};

use crate::{
    standing,
    support::{self, BIG, SMALL, World, steps::promised},
};

/// Something that happens in a world.
#[derive(Debug, Clone)]
enum Happening {
    Tick(u16),
    Job { gpus: u8, price: u8 },
    Gang { size: u8, gpus: u8 },
    PodGone(u8),
    Power(u8),
    Income(u8),
    Trust(bool),
    Cordon { node: u8, cordoned: bool },
    Skip { node: u8, skip: bool },
    Pin { node: u8, node_use: u8 },
    Hold(bool),
    ResetBreaker(u8),
    LandsAnywhere { node: u8 },
    MinerStays { node: u8, stays: bool },
    EditLabel { node: u8, node_use: u8 },
    LoseStatus,
    DeleteShift,
    Cap(u8),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (1..400_u16).prop_map(Happening::Tick),
        4 => (1..=8_u8, 0..40_u8).prop_map(|(gpus, price)| Happening::Job { gpus, price }),
        2 => (2..5_u8, 1..=8_u8).prop_map(|(size, gpus)| Happening::Gang { size, gpus }),
        1 => any::<u8>().prop_map(Happening::PodGone),
        2 => (0..100_u8).prop_map(Happening::Power),
        2 => (0..100_u8).prop_map(Happening::Income),
        1 => any::<bool>().prop_map(Happening::Trust),
        1 => any::<(u8, bool)>().prop_map(|(node, cordoned)| Happening::Cordon { node, cordoned }),
        1 => any::<(u8, bool)>().prop_map(|(node, skip)| Happening::Skip { node, skip }),
        1 => any::<(u8, u8)>().prop_map(|(node, node_use)| Happening::Pin { node, node_use }),
        1 => (0..4_u8).prop_map(|dice| Happening::Hold(dice == 0)),
        1 => any::<u8>().prop_map(Happening::ResetBreaker),
        1 => any::<u8>().prop_map(|node| Happening::LandsAnywhere { node }),
        1 => any::<(u8, bool)>().prop_map(|(node, stays)| Happening::MinerStays { node, stays }),
        1 => any::<(u8, u8)>().prop_map(|(node, node_use)| Happening::EditLabel { node, node_use }),
        1 => Just(Happening::LoseStatus),
        1 => Just(Happening::DeleteShift),
        2 => (0..45_u8).prop_map(Happening::Cap),
    ]
}

/// A pool of ten nodes, some of which may not serve HPC, with a budget of two price-driven moves.
fn world() -> World {
    let mut world = World::new();
    for index in 0..10 {
        let model = if index < 7 { BIG } else { SMALL };
        let node_use = if index % 4 == 3 { Use::Idle } else { Use::Mining };
        world.add_node(&format!("n{index}"), model, node_use);
    }
    world.pool().shifting.budgets = serde_yaml::from_str("[{nodes: 2}]").unwrap();
    world.run_controllers();
    world
}

fn name(world: &World, node: u8) -> String {
    let names: Vec<_> = world.nodes.keys().cloned().collect();
    names[usize::from(node) % names.len()].clone()
}

fn happen(world: &mut World, happening: &Happening, serial: usize) {
    match *happening {
        Happening::Tick(seconds) => world.tick(i64::from(seconds)),
        Happening::Job { gpus, price } => {
            world.add_job(&format!("job{serial}"), u32::from(gpus));
            world.pod(&format!("job{serial}-0")).price = Some(f64::from(price) / 10.0);
        }
        Happening::Gang { size, gpus } => {
            world.add_gang(&format!("gang{serial}"), u32::from(size), u32::from(gpus));
        }
        Happening::PodGone(index) => {
            let jobs: Vec<_> =
                world.pods.keys().filter(|name| !name.starts_with("miner")).cloned().collect();
            if !jobs.is_empty() {
                world.pods.remove(&jobs[usize::from(index) % jobs.len()]);
            }
        }
        Happening::Power(cents) => world.set("power", f64::from(cents) / 50.0),
        Happening::Income(percent) => {
            world.set("mining", support::INCOME * 1e-6 * f64::from(percent) / 50.0);
        }
        Happening::Trust(trusted) => {
            world.signals.get_mut("mining").unwrap().trusted = trusted;
        }
        Happening::Cordon { node, cordoned } => {
            let node = name(world, node);
            world.node(&node).cordoned = cordoned;
        }
        Happening::Skip { node, skip } => {
            let node = name(world, node);
            world.node(&node).skip = skip;
        }
        Happening::Pin { node, node_use } => {
            let node = name(world, node);
            let pins = [Some("use=Mining"), Some("use=HPC"), Some("use=Idle"), Some("HPC"), None];
            world.node(&node).pin = pins[usize::from(node_use) % 5].map(str::to_owned);
        }
        Happening::Hold(held) => world.hold = held.then(Hold::default),
        Happening::ResetBreaker(value) => world.reset_breaker = Some(value.to_string()),
        Happening::LandsAnywhere { node } => {
            let node = name(world, node);
            if !world.pods.values().any(|pod| pod.node.as_deref() == Some(&node)) {
                world.bind_job(&format!("guest{serial}"), &node, 2);
            }
        }
        Happening::MinerStays { node, stays } => {
            let pod = format!("miner-etc-{}", name(world, node));
            if let Some(pod) = world.pods.get_mut(&pod) {
                pod.never_stops = stays;
            }
        }
        Happening::EditLabel { node, node_use } => {
            let node = name(world, node);
            let uses = [Some(Use::Mining), Some(Use::Hpc), Some(Use::Idle), None];
            world.node(&node).marks.node_use = uses[usize::from(node_use) % 4];
        }
        // A crash before the status was written. That a node's move ended is always written before
        // anything is ordered in its place.
        Happening::LoseStatus => {
            for shift in &mut world.shifts {
                let ended = shift.status.nodes.iter().filter(|node| node.phase.is_final());
                let nodes = ended.cloned().collect();
                shift.status = NodeShiftStatus { nodes, ..NodeShiftStatus::default() };
            }
        }
        Happening::DeleteShift => {
            world.shifts.pop();
        }
        // Ten idle nodes draw some 6 kW, and 32 when all are busy.
        Happening::Cap(kilowatts) => {
            world.pool().power.cap_kw =
                Decimal::new(f64::from(kilowatts)).filter(|_| kilowatts < 40);
        }
    }
}

/// Two nodes at any time, one in the second quarter of each hour, and none in the last; moves for money
/// begin in the first half only.
fn by_the_clock(world: &mut World) {
    let shifting = &mut world.pool().shifting;
    shifting.budgets = serde_yaml::from_str(
        "[{nodes: 2}, {nodes: 1, schedule: '15 * * * *', duration: 15m}, \
          {nodes: 0, schedule: '45 * * * *', duration: 15m}]",
    )
    .unwrap();
    shifting.windows = serde_yaml::from_str("[{schedule: '0 * * * *', duration: 30m}]").unwrap();
}

/// The shifts that a happening brought.
fn new_shifts<'w>(world: &'w World, known: &BTreeSet<Arc<str>>) -> Vec<&'w ShiftFacts> {
    let all = world.shifts.iter().chain(&world.ended);
    all.filter(|shift| !known.contains(&shift.name)).collect()
}

fn known_shifts(world: &World) -> BTreeSet<Arc<str>> {
    world.shifts.iter().chain(&world.ended).map(|shift| shift.name.clone()).collect()
}

/// Nodes on the move for a price or a floor.
fn moved_for_money(world: &World) -> usize {
    let shifts = world.shifts.iter().filter(|shift| shift.spec.cause != Cause::Demand);
    shifts
        .map(|shift| {
            let ended = shift.status.nodes.iter().filter(|node| node.phase.is_final()).count();
            shift.spec.nodes.len() - ended
        })
        .sum()
}

/// Watts at the meter of a node in a use, with so many GPUs held by jobs.
fn draw(node: &support::Node, node_use: Use, busy: u32) -> u32 {
    let big = node.labels["nvidia.com/gpu.product"] == BIG;
    let (mining, hpc, idle) = if big { (290, 320, 25) } else { (200, 230, 15) };
    let watts = match node_use {
        Use::Mining => 350 + 8 * mining,
        Use::Hpc | Use::Idle => 350 + busy * hpc + (8 - busy) * idle,
    };
    (watts * 11).div_ceil(10)
}

/// What the nodes may draw at most, W at the meter, when each is in the hungriest of its uses: the
/// present one, and those that shifts and the orders of a plan give it.
fn load(world: &World, plan: Option<&Plan>) -> u32 {
    let ended = |shift: &ShiftFacts, name: &str| {
        shift.status.nodes.iter().any(|node| node.name == name && node.phase.is_final())
    };
    let of_node = |(name, node): (&String, &support::Node)| {
        let jobs = world.pods.values().filter(|pod| pod.namespace == "research");
        let bound = jobs.filter(|pod| pod.node.as_deref() == Some(name));
        let busy = bound.map(|pod| pod.gpus).sum::<u32>();
        let waiting = plan.iter().flat_map(|plan| &plan.waiting);
        let served: u32 = waiting
            .filter(|waiting| waiting.nodes.contains(name))
            .map(|waiting| waiting.gpus)
            .sum();
        let stands = node.marks.taint.map_or(Use::Hpc, Barrier::node_use);
        let now = draw(node, stands, busy).max(draw(node, Use::Hpc, busy));
        let running = world.shifts.iter().filter(|shift| !ended(shift, name)).map(|one| &one.spec);
        let moving = running
            .filter(|spec| spec.nodes.iter().any(|one| one.name == *name))
            .flat_map(|spec| {
                let full = if spec.to == Use::Hpc { 8 } else { busy };
                [draw(node, spec.from, busy), draw(node, spec.to, full)]
            });
        let orders = plan.iter().flat_map(|plan| &plan.pools).flat_map(|pool| &pool.orders);
        let ordered = orders
            .filter(|spec| spec.nodes.iter().any(|one| one.name == *name))
            .flat_map(|spec| [draw(node, spec.from, busy), draw(node, spec.to, served)]);
        moving.chain(ordered).fold(now, u32::max)
    };
    world.nodes.iter().map(of_node).sum()
}

fn check(world: &World) -> Result<(), TestCaseError> {
    prop_assert!(world.hurt.is_empty(), "a customer's pod was evicted: {:?}", world.hurt);
    prop_assert!(moved_for_money(world) <= 2, "the budget is two nodes");
    let mut moving = BTreeSet::new();
    for shift in &world.shifts {
        for node in &shift.spec.nodes {
            let ended =
                shift.status.nodes.iter().any(|one| one.name == node.name && one.phase.is_final());
            prop_assert!(ended || moving.insert(&node.name), "{} is in two shifts", node.name);
        }
    }
    Ok(())
}

proptest! {
    /// Jobs are never hurt, budgets never exceeded, and a node is never in two shifts.
    #[test]
    fn promises_are_kept(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut world = world();
        for (serial, happening) in happenings.iter().enumerate() {
            happen(&mut world, happening, serial);
            check(&world)?;
        }
    }

    /// The same facts give the same plan.
    #[test]
    fn plans_are_deterministic(happenings in prop::collection::vec(happening(), 1..40)) {
        let mut world = world();
        for (serial, happening) in happenings.iter().enumerate() {
            happen(&mut world, happening, serial);
        }
        let orders = |world: &World| {
            world.plan().pools.into_iter().map(|pool| pool.orders).collect::<Vec<_>>()
        };
        prop_assert_eq!(orders(&world), orders(&world));
    }

    /// Once nothing happens any more, everything comes to rest, and rest means no write at all.
    #[test]
    fn what_is_left_alone_comes_to_rest(happenings in prop::collection::vec(happening(), 1..40)) {
        let mut world = world();
        for (serial, happening) in happenings.iter().enumerate() {
            happen(&mut world, happening, serial);
        }
        for pod in world.pods.values_mut() {
            pod.never_stops = false;
            if pod.namespace == "research" {
                pod.run_for = None;
                pod.runs_until = None;
            }
        }
        world.run(150, 60);
        for _ in 0..10 {
            prop_assert_eq!(world.operate(), 0, "shifts: {:?}", world.shifts);
            world.run_controllers();
            world.now += SignedDuration::from_secs(60);
        }
        prop_assert!(world.nodes.values().all(|node| node.marks.claim.is_none()));
    }

    /// No plan brings a pool above its power cap, or further above it.
    #[test]
    fn a_cap_is_never_made_worse(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut world = world();
        world.pool().power.cap_kw = Decimal::new(20.0);
        for (serial, happening) in happenings.iter().enumerate() {
            // What a gang does to each of its nodes a plan does not tell.
            if !matches!(happening, Happening::Gang { .. }) {
                happen(&mut world, happening, serial);
            }
            let plan = world.plan();
            if let Some(cap) = world.pools["texas"].power.cap_kw {
                let (before, after) = (load(&world, None), load(&world, Some(&plan)));
                let within = f64::from(after) <= cap.value() * 1000.0;
                prop_assert!(after <= before || within, "{} W before, {} W after", before, after);
            }
        }
    }

    /// What begins for money begins in a window and within the budgets of its time.
    #[test]
    fn the_clock_is_kept(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut world = world();
        by_the_clock(&mut world);
        for (serial, happening) in happenings.iter().enumerate() {
            let known = known_shifts(&world);
            let minute = world.now.as_second() / 60 % 60;
            happen(&mut world, happening, serial);
            check(&world)?;
            let mut new = new_shifts(&world, &known).into_iter();
            if new.any(|shift| shift.spec.cause != Cause::Demand) {
                prop_assert!(minute < 30, "moved for money at minute {minute}");
                let most = if minute < 15 { 2 } else { 1 };
                prop_assert!(moved_for_money(&world) <= most, "at minute {minute}");
            }
        }
    }

    /// A node is never ordered away from the use that it is pinned to, nor anywhere while a pin cannot
    /// be read or a person holds all pools.
    #[test]
    fn people_are_obeyed(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut world = world();
        for (serial, happening) in happenings.iter().enumerate() {
            let known = known_shifts(&world);
            happen(&mut world, happening, serial);
            for shift in new_shifts(&world, &known) {
                prop_assert!(world.hold.is_none(), "{shift:?}");
                for node in &shift.spec.nodes {
                    let pin = world.nodes[&node.name].pin.as_deref().map(Pin::parse);
                    let pinned_to = pin.map(|pin| pin.map(|pin| pin.node_use));
                    let may = pinned_to.is_none_or(|pinned_to| pinned_to == Ok(shift.spec.to));
                    prop_assert!(may, "{} is pinned: {shift:?}", node.name);
                }
            }
        }
    }

    /// While the breaker is open nothing is ordered for money but what stops a loss.
    #[test]
    fn an_open_breaker_stops_what_it_should(
        happenings in prop::collection::vec(happening(), 1..60),
        open in any::<bool>(),
    ) {
        let mut world = world();
        world.pool().shifting.breaker = serde_yaml::from_str("{reversals: 1, within: 24h}").unwrap();
        if open {
            let now = world.now;
            world.breakers.entry("texas".into()).or_default().open_since = Some(now);
        }
        for (serial, happening) in happenings.iter().enumerate() {
            let known = known_shifts(&world);
            happen(&mut world, happening, serial);
            // The breaker was judged with the decision that brought the shifts.
            let open = world.breakers.get("texas").is_some_and(|one| one.open_since.is_some());
            let new = new_shifts(&world, &known).into_iter();
            for shift in new.filter(|shift| open && shift.spec.cause != Cause::Demand) {
                let stops_a_loss = shift.spec.cause == Cause::Price && shift.spec.to == Use::Idle;
                prop_assert!(stops_a_loss, "{shift:?}");
            }
        }
    }

    /// A price never moves a node on before its dwell is over.
    #[test]
    fn dwell_is_kept(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut world = world();
        for (serial, happening) in happenings.iter().enumerate() {
            let known: BTreeSet<_> = world.shifts.iter().map(|shift| shift.name.clone()).collect();
            let before = world.nodes.clone();
            happen(&mut world, happening, serial);
            let new = world.shifts.iter().filter(|shift| !known.contains(&shift.name));
            for shift in new.filter(|shift| shift.spec.cause != Cause::Demand) {
                let dwell = world.pools["texas"].shifting.min_dwell.of(shift.spec.from).signed();
                for node in &shift.spec.nodes {
                    if let Some(since) = before[&node.name].marks.since {
                        prop_assert!(shift.created.duration_since(since) >= dwell);
                    }
                }
            }
        }
    }

    /// Until a plan says that time changes it, time does not change it.
    #[test]
    fn plans_stand_for_as_long_as_they_say(
        happenings in prop::collection::vec(happening(), 1..40),
        clocked: bool,
        patience in prop_oneof![Just(0.0), 0.5..30.0],
        share in 0.0..1.0,
    ) {
        let mut world = world();
        world.pool().shifting.patience = Decimal::new(patience).unwrap();
        if clocked {
            by_the_clock(&mut world);
        }
        for (serial, happening) in happenings.iter().enumerate() {
            happen(&mut world, happening, serial);
            standing::check(&world, share);
        }
        world.run(20, 60);
        standing::check(&world, share);
    }

    /// What an explanation says would change a decision changes it, and a little less does not.
    #[test]
    fn explanations_come_true(
        happenings in prop::collection::vec(happening(), 1..40),
        node: u8,
        mode in prop_oneof![4 => Just(Mode::Active), 1 => Just(Mode::DryRun), 1 => Just(Mode::Hold)],
    ) {
        let mut world = world();
        for (serial, happening) in happenings.iter().enumerate() {
            happen(&mut world, happening, serial);
        }
        world.pool().shifting.mode = mode;
        let node = name(&world, node);
        let found = world.verdict(&node);
        for flip in world.explain(&node).flips {
            prop_assert_ne!(promised(&flip), found.clone());
            let mut changed = world.clone();
            flip.steps.iter().for_each(|step| changed.step(&node, step, 1.0));
            prop_assert_eq!(changed.verdict(&node), promised(&flip), "{:?}", flip);
            let mut short = world.clone();
            match flip.steps.as_slice() {
                // At a tie the slightest change is enough.
                [Step::Price(change)] if change.relative.abs() < 1e-4 => {}
                [step @ Step::Price(_)] => {
                    short.step(&node, step, 0.99);
                    prop_assert_eq!(short.verdict(&node), found.clone(), "{:?}", flip);
                }
                steps => {
                    let (last, others) = steps.split_last().unwrap();
                    for step in others {
                        short.step(&node, step, 1.0);
                    }
                    if let Step::Wait { until } = last {
                        short.now = *until - SignedDuration::from_millis(1);
                    }
                    prop_assert!(!short.verdict(&node).1, "without the last step: {:?}", flip);
                }
            }
        }
    }
}
