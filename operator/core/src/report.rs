//! What people are told of a pool: its numbers, and its conditions with what to do about them.

mod limits;

use std::collections::{BTreeMap, BTreeSet};

use switchyard_api::{
    ClassTotals, ConditionType, Decimal, GpuTotals, Judgement, Mode, NodeTotals, Reason, Use,
    ValueTotals, keys,
};

use crate::{
    plan::PoolPlan,
    quantity::{Measure, UsdPerHour, Watts},
    survey::{NodeView, PoolView, Survey},
};

/// How many names a message spells out.
const NAMED: usize = 5;

/// The numbers of a pool's status.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Totals {
    /// Nodes by use.
    pub nodes: NodeTotals,
    /// GPUs by what they do.
    pub gpus: GpuTotals,
    /// Nodes by GPU model and use.
    pub classes: Vec<ClassTotals>,
    /// What the pool earns at present.
    pub value: ValueTotals,
}

/// Adds a pool up.
pub fn totals(pool: &PoolView<'_>) -> Totals {
    let resource = &pool.facts.spec.gpu.resource_name;
    let mut totals = Totals {
        classes: pool
            .classes
            .iter()
            .map(|class| ClassTotals {
                model: class.class.model.clone(),
                hpc_eligible: class.eligible,
                ..ClassTotals::default()
            })
            .collect(),
        ..Totals::default()
    };
    let mut earned: BTreeMap<Use, Option<UsdPerHour>> = BTreeMap::new();
    let mut watts = Watts::ZERO;
    for node in &pool.nodes {
        totals.nodes.total += 1;
        totals.nodes.shifting += u32::from(node.moving());
        totals.gpus.total += node.gpus;
        let busy = node.busy(resource);
        totals.gpus.hpc_busy += busy;
        let class = node.class.and_then(|class| totals.classes.get_mut(class));
        let count = match node.node_use {
            Use::Mining => {
                let mines = node.miners.iter().any(|miner| miner.pod.running);
                totals.gpus.mining += if mines { node.gpus } else { 0 };
                totals.nodes.mining += 1;
                class.map(|class| &mut class.mining)
            }
            Use::Hpc => {
                totals.gpus.hpc_free += node.gpus.saturating_sub(busy);
                totals.nodes.hpc += 1;
                class.map(|class| &mut class.hpc)
            }
            Use::Idle => {
                totals.nodes.idle += 1;
                class.map(|class| &mut class.idle)
            }
        };
        *count.unwrap_or(&mut 0) += 1;
        let (value, draw) = value_and_draw(pool, node);
        let sum = earned.entry(node.node_use).or_insert(Some(UsdPerHour::ZERO));
        *sum = sum.zip(value).map(|(sum, value)| sum + value);
        watts += draw;
    }
    totals.value = value_totals(&earned, watts);
    totals
}

/// What a node earns at present, and what it draws.
fn value_and_draw(pool: &PoolView<'_>, node: &NodeView<'_>) -> (Option<UsdPerHour>, Watts) {
    let Some(class) = pool.class_of(node) else {
        return (None, Watts::ZERO);
    };
    match node.node_use {
        Use::Mining => {
            let profile = class.profile_of_label(node.facts.marks.profile.as_deref());
            let value = profile.and_then(|profile| class.mining(profile, node.gpus).value);
            let draw = profile.map_or_else(
                || class.idle_watts(node.gpus),
                |profile| class.mining_watts(profile, node.gpus),
            );
            (value, draw)
        }
        Use::Hpc => {
            let busy = node.busy(&pool.facts.spec.gpu.resource_name);
            let value =
                pool.paid_by_jobs(node).and_then(|usd| class.hpc(usd, node.gpus, busy).value);
            (value, class.hpc_watts(node.gpus, busy))
        }
        Use::Idle => (class.idle(node.gpus).value, class.idle_watts(node.gpus)),
    }
}

fn value_totals(earned: &BTreeMap<Use, Option<UsdPerHour>>, watts: Watts) -> ValueTotals {
    // Hundredths of a cent: finer changes are noise that would be written to the API server.
    let shown = |usd: UsdPerHour| Decimal::new((usd.number() * 1e4).round() / 1e4);
    let of = |node_use| earned.get(&node_use).copied().unwrap_or(Some(UsdPerHour::ZERO));
    let (mining, hpc, idle) = (of(Use::Mining), of(Use::Hpc), of(Use::Idle));
    let total = mining.zip(hpc).zip(idle).map(|((mining, hpc), idle)| mining + hpc + idle);
    ValueTotals {
        mining: mining.and_then(shown),
        hpc: hpc.and_then(shown),
        idle: idle.and_then(shown),
        total: total.and_then(shown),
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // watts are positive
        watts: watts.number().round() as u64,
    }
}

/// The conditions of a pool.
pub fn judge(survey: &Survey<'_>, pool: &PoolView<'_>, plan: &PoolPlan) -> Vec<Judgement> {
    vec![
        ready(survey, pool),
        nodes_usable(pool),
        signals_trusted(survey, pool),
        system_pods_tolerate(pool),
        shifting(pool),
        limits::budget_available(pool, plan),
        limits::breaker_closed(pool),
    ]
}

/// Something that is wrong, for `Ready` or `NodesUsable`: why, and which field or node to mend how.
type Problem = (Reason, String);

fn verdict(kind: ConditionType, problems: &[Problem], fine: impl Into<String>) -> Judgement {
    let Some((reason, _)) = problems.first() else {
        return Judgement::holds(kind, Reason::AsPlanned, fine);
    };
    let messages: Vec<_> = problems.iter().map(|(_, message)| message.as_str()).collect();
    Judgement::fails(kind, *reason, messages.join("; "))
}

fn ready(survey: &Survey<'_>, pool: &PoolView<'_>) -> Judgement {
    let mut problems = Vec::new();
    if pool.facts.deleting {
        problems.push((Reason::Deleting, "the pool is deleted, its nodes are given back".into()));
    } else {
        problems.extend(no_nodes(pool));
        problems.extend(overlap(pool));
        problems.extend(missing_profiles(survey, pool));
        problems.extend(bad_signals(survey, pool));
        problems.extend(half_empty(pool));
        problems.extend(limits::bad_schedules(pool));
        if !pool.intolerant.is_empty() {
            let sets = names(pool.intolerant.iter().map(String::as_str));
            problems
                .push((Reason::SystemPodsIntolerant, format!("see SystemPodsTolerate: {sets}")));
        }
    }
    let fine = match pool.facts.spec.shifting.mode {
        Mode::Active => "decides and acts",
        Mode::DryRun => {
            "decides and reports; set spec.shifting.mode to Active to let it shift nodes"
        }
        Mode::Hold => "finishes running shifts and starts none, because spec.shifting.mode is Hold",
    };
    verdict(ConditionType::Ready, &problems, fine)
}

fn no_nodes(pool: &PoolView<'_>) -> Option<Problem> {
    (pool.nodes.is_empty() && pool.refused.is_empty()).then(|| {
        let message = "spec.nodeSelector matches no node: label the nodes, or change the selector";
        (Reason::NoNodes, message.into())
    })
}

fn overlap(pool: &PoolView<'_>) -> Option<Problem> {
    let shared = pool.refused.get(&Reason::TwoPools)?;
    let others = names(pool.overlaps.iter().copied());
    Some((
        Reason::Overlap,
        format!(
            "spec.nodeSelector selects {} nodes that {others} selects, too, such as {}: no pool \
             touches them until the selectors are disjoint",
            shared.len(),
            shared.first().map_or("", |node| &*node.name),
        ),
    ))
}

fn missing_profiles(survey: &Survey<'_>, pool: &PoolView<'_>) -> Option<Problem> {
    let profiles = pool.facts.spec.mining.profiles.iter();
    let missing: Vec<_> = profiles
        .filter(|name| !survey.snapshot.profiles.contains_key(*name))
        .map(ToString::to_string)
        .collect();
    (!missing.is_empty()).then(|| {
        let missing = names(missing.iter().map(String::as_str));
        let message = format!(
            "spec.mining.profiles names {missing}, which cannot be found or read: create the \
             MiningProfile or take it off the list"
        );
        (Reason::ProfileNotFound, message)
    })
}

/// Every signal that a pool uses: the field that names it, its name, and what it must measure.
pub fn signals_of<'a>(
    survey: &'a Survey<'_>,
    pool: &'a PoolView<'_>,
) -> Vec<(String, &'a str, Measure)> {
    let spec = &pool.facts.spec;
    let power = spec.power.price.signal.as_deref();
    let hpc = spec.hpc.price.signal.as_deref();
    let own = [
        power.map(|name| ("spec.power.price.signal".to_owned(), name, Measure::Energy)),
        hpc.map(|name| ("spec.hpc.price.signal".to_owned(), name, Measure::GpuHour)),
    ];
    let profiles = spec.mining.profiles.iter().filter_map(|name| {
        let profile = survey.snapshot.profiles.get(name)?;
        let field = format!("spec.income.signal of MiningProfile {name}");
        Some((field, profile.spec.income.signal.as_str(), Measure::HashIncome))
    });
    own.into_iter().flatten().chain(profiles).collect()
}

fn bad_signals(survey: &Survey<'_>, pool: &PoolView<'_>) -> Vec<Problem> {
    let signals = signals_of(survey, pool).into_iter();
    signals
        .filter_map(|(field, name, measure)| match survey.snapshot.signals.get(name) {
            None => Some((
                Reason::SignalNotFound,
                format!(
                    "{field} is {name}, which cannot be found or read: create the \
                     ProfitabilitySignal or correct the name"
                ),
            )),
            Some(reading) if reading.measure != measure => Some((
                Reason::WrongUnit,
                format!(
                    "{field} is {name}, a signal of {}: it must be one of {measure}",
                    reading.measure
                ),
            )),
            Some(_) => None,
        })
        .collect()
}

fn half_empty(pool: &PoolView<'_>) -> Option<Problem> {
    pool.half_empty().then(|| {
        let message = format!(
            "{} nodes are seen of {} that are believed to exist, so nothing is moved: bring them \
             back, or confirm with `kubectl annotate gpupool {} {}={}`",
            pool.nodes.len(),
            pool.facts.believed_size,
            pool.facts.name,
            keys::CONFIRM_SIZE,
            pool.nodes.len(),
        );
        (Reason::PoolHalfEmpty, message)
    })
}

fn nodes_usable(pool: &PoolView<'_>) -> Judgement {
    let mut problems: Vec<Problem> = Vec::new();
    let label = &pool.facts.spec.gpu.model_label;
    let unknown: Vec<_> = unusable(pool, Reason::UnknownModel).collect();
    if !unknown.is_empty() {
        let models: BTreeSet<_> = unknown
            .iter()
            .map(|node| node.facts.labels.get(label).unwrap_or("(no label)"))
            .collect();
        problems.push((
            Reason::UnknownModel,
            format!(
                "{} nodes have in the label {label} a GPU model that spec.classes does not list: \
                 add {}",
                unknown.len(),
                names(models),
            ),
        ));
    }
    let lacking: Vec<_> = unusable(pool, Reason::NoGpus).collect();
    if !lacking.is_empty() {
        problems.push((
            Reason::NoGpus,
            format!(
                "{} nodes advertise no {} (spec.gpu.resourceName), such as {}: is the device \
                 plugin running there?",
                lacking.len(),
                pool.facts.spec.gpu.resource_name,
                lacking.first().map_or("", |node| &*node.facts.name),
            ),
        ));
    }
    problems.extend(no_hash_rate(pool));
    problems.extend(limits::bad_pins(pool));
    if let Some(nodes) = pool.refused.get(&Reason::ControlPlane) {
        let message = format!(
            "spec.nodeSelector selects {} control-plane nodes, which are left alone: exclude them",
            nodes.len()
        );
        problems.push((Reason::ControlPlane, message));
    }
    verdict(ConditionType::NodesUsable, &problems, "every node can be used")
}

fn unusable<'v, 'a>(
    pool: &'v PoolView<'a>,
    reason: Reason,
) -> impl Iterator<Item = &'v NodeView<'a>> {
    pool.nodes.iter().filter(move |node| node.unusable == Some(reason))
}

/// GPU models of the pool's nodes that no profile lists, where the pool has profiles at all.
fn no_hash_rate(pool: &PoolView<'_>) -> Option<Problem> {
    if pool.facts.spec.mining.profiles.is_empty() {
        return None;
    }
    let models: BTreeSet<_> = pool
        .nodes
        .iter()
        .filter_map(|node| pool.class_of(node))
        .filter(|class| class.profiles.is_empty())
        .map(|class| class.class.model.as_str())
        .collect();
    (!models.is_empty()).then(|| {
        let message = format!(
            "no profile in spec.mining.profiles has a hash rate for {}, so these never mine: add \
             them to spec.hardware of a MiningProfile",
            names(models)
        );
        (Reason::NoHashRate, message)
    })
}

fn signals_trusted(survey: &Survey<'_>, pool: &PoolView<'_>) -> Judgement {
    let kind = ConditionType::SignalsTrusted;
    let used: BTreeSet<_> = signals_of(survey, pool).into_iter().map(|(_, name, _)| name).collect();
    let untrusted = used
        .iter()
        .copied()
        .filter(|name| survey.snapshot.signals.get(*name).is_none_or(|reading| !reading.trusted));
    let untrusted: Vec<_> = untrusted.collect();
    if untrusted.is_empty() {
        return Judgement::holds(
            kind,
            Reason::Fresh,
            format!("{} signals are trusted", used.len()),
        );
    }
    let message = format!(
        "no node is moved for a price while {} is not trusted: `kubectl get signal -o wide` says why",
        names(untrusted)
    );
    Judgement::fails(kind, Reason::SignalUntrusted, message)
}

fn system_pods_tolerate(pool: &PoolView<'_>) -> Judgement {
    let kind = ConditionType::SystemPodsTolerate;
    if pool.intolerant.is_empty() {
        return Judgement::holds(
            kind,
            Reason::AllTolerate,
            "every DaemonSet that matches the nodes tolerates the taint",
        );
    }
    let message = format!(
        "{} would lose its pods on tainted nodes, so no node is tainted: add the toleration \
         {{key: {}, operator: Exists, effect: {}}} to it, or accept that in \
         spec.shifting.acceptIntolerantDaemonSets",
        names(pool.intolerant.iter().map(String::as_str)),
        keys::TAINT,
        keys::TAINT_EFFECT,
    );
    Judgement::fails(kind, Reason::SystemPodsIntolerant, message)
}

fn shifting(pool: &PoolView<'_>) -> Judgement {
    let kind = ConditionType::Shifting;
    let mut moves: BTreeMap<(Use, Use), usize> = BTreeMap::new();
    for shift in pool.nodes.iter().filter_map(|node| node.shift) {
        *moves.entry((shift.spec.from, shift.spec.to)).or_default() += 1;
    }
    if moves.is_empty() {
        let (reason, message) = limits::held(pool)
            .unwrap_or_else(|| (Reason::NothingMoves, "no node is on the move".into()));
        return Judgement::fails(kind, reason, message);
    }
    let moves: Vec<_> =
        moves.iter().map(|((from, to), nodes)| format!("{nodes} {from} -> {to}")).collect();
    Judgement::holds(kind, Reason::NodesMoving, moves.join(", "))
}

/// The first few names, and how many more there are.
fn names<'n>(all: impl IntoIterator<Item = &'n str>) -> String {
    let all: Vec<_> = all.into_iter().collect();
    let shown = all.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}
