//! From facts to orders: the whole decision, and why every node moves or stays.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use switchyard_api::{
    Cause, Decimal, Mode, NodeRef, NodeShiftSpec, ProfileRef, Reason, ReasonCount, Use,
};

use crate::{
    allocation,
    block::{Block, Gate},
    budget::{Allowance, Move},
    choice::{Candidate, Choice},
    demand::{Demand, Gang, Verdict},
    door,
    gate::{self, Request},
    quantity::UsdPerHour,
    serving,
    snapshot::Work,
    survey::{NodeId, NodeView, PoolView, Survey},
};

/// What is to be done, and why.
#[derive(Debug)]
pub struct Plan {
    /// One for each pool of the survey, in its order.
    pub pools: Vec<PoolPlan>,
    /// What becomes of each piece of waiting work; one entry per gang, or per pod outside of gangs.
    pub waiting: Vec<Waiting>,
}

/// What is to be done in a pool, and why.
#[derive(Debug, Default)]
pub struct PoolPlan {
    /// The orders; none in other modes than `Active`.
    pub orders: Vec<NodeShiftSpec>,
    /// Every node of the pool, in its order.
    pub decisions: Vec<NodeDecision>,
    /// How many more nodes a price may move.
    pub allowed_disruptions: usize,
    /// HPC nodes whose doors are to be shut, and why.
    pub shut: BTreeMap<usize, Reason>,
}

/// What was decided about a node.
#[derive(Debug, Clone)]
pub struct NodeDecision {
    /// Why it moves or stays; of closed gates, the first.
    pub reason: Reason,
    /// The move that it makes, or would make.
    pub candidate: Option<Candidate>,
    /// The gates that keep it from that.
    pub blocks: Vec<Block>,
}

impl NodeDecision {
    /// Does it move, the mode of the pool apart?
    pub fn moves(&self) -> bool {
        self.candidate.is_some() && self.blocks.is_empty()
    }
}

/// What becomes of waiting work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The work.
    pub work: Work,
    /// The UIDs and names of its pods that wait.
    pub pods: Vec<(Arc<str>, Arc<str>)>,
    /// How many GPUs they ask for.
    pub gpus: u32,
    /// Whether it gets nodes.
    pub verdict: Verdict,
    /// The nodes that are opened for it.
    pub nodes: Vec<String>,
}

/// A shift serves at most so many nodes; its status lists each of them.
const NODES_PER_SHIFT: usize = 256;
/// A shift names at most so many pieces of work.
const SERVES_PER_SHIFT: usize = 64;
/// Time for the steps of a shift other than draining: writes, watches, starting a miner.
const STEPS: SignedDuration = SignedDuration::from_secs(120);

/// Takes the decision.
pub fn decide(survey: &Survey<'_>) -> Plan {
    let mut allowances = Allowance::of_pools(survey);
    let demand = serving::serve(survey, &mut allowances);
    let pools = survey.pools.iter().zip(&mut allowances).enumerate();
    let pools = pools
        .map(|(index, (pool, allowance))| plan_pool(survey, index, pool, &demand, allowance))
        .collect();
    Plan { pools, waiting: waiting(survey, &demand) }
}

fn plan_pool(
    survey: &Survey<'_>,
    index: usize,
    pool: &PoolView<'_>,
    demand: &Demand<'_>,
    allowance: &mut Allowance,
) -> PoolPlan {
    let choices = allocation::choose(survey, index, demand);
    let mut decisions: Vec<NodeDecision> = choices
        .into_iter()
        .zip(&pool.nodes)
        .map(|(choice, node)| ask_gates(survey, pool, node, choice))
        .collect();
    spend_allowance(pool, allowance, &mut decisions);
    let price = |from| Move { from, to: Use::Idle, cause: Cause::Price };
    let left = [Use::Mining, Use::Hpc, Use::Idle].map(|from| allowance.budget_left(price(from)));
    PoolPlan {
        orders: match pool.facts.spec.shifting.mode {
            Mode::Active => orders(survey, index, pool, demand, &decisions),
            Mode::DryRun | Mode::Hold => Vec::new(),
        },
        shut: door::shut(survey, index, demand),
        allowed_disruptions: match pool.calendar.closed(Cause::Price) {
            Some(_) => 0,
            None => left.into_iter().max().unwrap_or(0).min(pool.nodes.len()),
        },
        decisions,
    }
}

fn ask_gates(
    survey: &Survey<'_>,
    pool: &PoolView<'_>,
    node: &NodeView<'_>,
    choice: Choice,
) -> NodeDecision {
    match choice {
        Choice::Stay(reason) => NodeDecision { reason, candidate: None, blocks: Vec::new() },
        Choice::Move(candidate) => {
            let request = Request {
                pool,
                node,
                to: candidate.to,
                cause: candidate.cause,
                trusted: candidate.trusted,
                payback: candidate.payback,
            };
            let blocks: Vec<_> = gate::closed(request, survey.snapshot.now).collect();
            let reason = blocks.first().map_or(candidate.reason, |block| block.reason);
            NodeDecision { reason, candidate: Some(candidate), blocks }
        }
    }
}

/// Spends budgets, floors and ceilings on the moves that gain most; of equals, on the node that has
/// been in its use the longest. Openings for demand were counted when they were found.
fn spend_allowance(pool: &PoolView<'_>, allowance: &mut Allowance, decisions: &mut [NodeDecision]) {
    let mut open: Vec<_> = decisions
        .iter()
        .enumerate()
        .filter(|(_, decision)| decision.moves() && decision.reason != Reason::DemandPays)
        .filter_map(|(index, decision)| {
            let (candidate, node) = (decision.candidate.as_ref()?, pool.nodes.get(index)?);
            let wanted = Move { from: node.node_use, to: candidate.to, cause: candidate.cause };
            // A job that landed is a fact, and what a person asks for comes before prices.
            let urgency = match (candidate.cause, candidate.reason) {
                (Cause::Demand, _) => 0,
                (_, Reason::ToPinnedUse) => 1,
                _ => 2,
            };
            Some((
                (urgency, std::cmp::Reverse(candidate.gain), node.facts.marks.since, index),
                wanted,
            ))
        })
        .collect();
    open.sort_by_key(|(order, _)| *order);
    for ((_, _, _, index), wanted) in open {
        let Some(decision) = decisions.get_mut(index) else {
            continue;
        };
        match allowance.check(wanted) {
            Ok(()) => allowance.take(wanted),
            // A job that landed is a fact; no budget undoes it.
            Err(_) if wanted.cause == Cause::Demand => allowance.take(wanted),
            Err(reason) => {
                decision.reason = match (reason, wanted.from) {
                    (Reason::BelowFloor, Use::Hpc) => Reason::WarmStandby,
                    (reason, _) => reason,
                };
                decision.blocks.push(Block::closed(Gate::Budget, decision.reason));
            }
        }
    }
}

/// Moves that one shift can carry out together.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    from: Use,
    from_profile: Option<Arc<ProfileRef>>,
    to: Use,
    profile: Option<Arc<ProfileRef>>,
    cause: Cause,
    /// The gang that needs all of its nodes; none: the nodes are independent.
    gang: Option<usize>,
}

fn orders(
    survey: &Survey<'_>,
    index: usize,
    pool: &PoolView<'_>,
    demand: &Demand<'_>,
    decisions: &[NodeDecision],
) -> Vec<NodeShiftSpec> {
    let mut groups: BTreeMap<Kind, Vec<(usize, &NodeView<'_>, &Candidate)>> = BTreeMap::new();
    for (position, (decision, node)) in decisions.iter().zip(&pool.nodes).enumerate() {
        let Some(candidate) = decision.candidate.as_ref().filter(|_| decision.moves()) else {
            continue;
        };
        // An unmarked node is adopted first, in the use that it has.
        if !node.adopted {
            continue;
        }
        let id = NodeId { pool: index, node: position };
        let kind = Kind {
            from: node.node_use,
            from_profile: profile_left(pool, node, candidate),
            to: candidate.to,
            profile: candidate.profile.clone(),
            cause: candidate.cause,
            gang: demand.openings.get(&id).and_then(|opening| {
                opening
                    .gangs
                    .iter()
                    .copied()
                    .find(|gang| demand.gangs.get(*gang).is_some_and(|gang| gang.work.size > 1))
            }),
        };
        groups.entry(kind).or_default().push((position, node, candidate));
    }
    let chunked = groups
        .iter()
        .flat_map(|(kind, nodes)| nodes.chunks(NODES_PER_SHIFT).map(move |nodes| (kind, nodes)));
    chunked.map(|(kind, nodes)| order(survey, index, pool, demand, kind, nodes)).collect()
}

/// The profile that a node changes for another.
fn profile_left(
    pool: &PoolView<'_>,
    node: &NodeView<'_>,
    candidate: &Candidate,
) -> Option<Arc<ProfileRef>> {
    let profile = pool.class_of(node)?.profile_of_label(node.facts.marks.profile.as_deref())?;
    let changes = (node.node_use, candidate.to) == (Use::Mining, Use::Mining);
    changes.then(|| profile.profile.clone())
}

fn order(
    survey: &Survey<'_>,
    index: usize,
    pool: &PoolView<'_>,
    demand: &Demand<'_>,
    kind: &Kind,
    nodes: &[(usize, &NodeView<'_>, &Candidate)],
) -> NodeShiftSpec {
    let gangs = nodes.iter().flat_map(|(position, _, _)| {
        let opening = demand.openings.get(&NodeId { pool: index, node: *position });
        opening.into_iter().flat_map(|opening| &opening.gangs)
    });
    let mut serves: Vec<String> = gangs
        .filter_map(|gang| demand.gangs.get(*gang))
        .map(|gang| gang.work.to_string())
        .collect();
    serves.sort();
    serves.dedup();
    serves.truncate(SERVES_PER_SHIFT);
    let gain: Option<UsdPerHour> =
        nodes.iter().try_fold(UsdPerHour::ZERO, |sum, (_, _, one)| one.gain.map(|gain| sum + gain));
    let timeouts = &pool.facts.spec.shifting.drain_timeout;
    let drain = match kind.from {
        Use::Hpc => timeouts.hpc.signed(),
        Use::Mining | Use::Idle => timeouts.mining.signed(),
    };
    NodeShiftSpec {
        pool: pool.facts.name.to_string(),
        from: kind.from,
        from_profile: kind.from_profile.as_deref().cloned(),
        to: kind.to,
        profile: kind.profile.as_deref().cloned(),
        nodes: nodes
            .iter()
            .map(|(_, node, _)| NodeRef {
                name: node.facts.name.to_string(),
                uid: node.facts.uid.to_string(),
            })
            .collect(),
        cause: kind.cause,
        gang: kind.gang.and_then(|gang| demand.gangs.get(gang)).map(|gang| gang.work.to_string()),
        serves,
        gain_usd_per_hour: gain.and_then(|gain| Decimal::new(gain.number())),
        deadline: survey
            .snapshot
            .now
            .saturating_add(drain.saturating_add(STEPS))
            .unwrap_or(jiff::Timestamp::MAX),
    }
}

fn waiting(survey: &Survey<'_>, demand: &Demand<'_>) -> Vec<Waiting> {
    let resources: Vec<_> =
        survey.pools.iter().map(|pool| pool.facts.spec.gpu.resource_name.as_str()).collect();
    let gpus = |gang: &Gang<'_>| {
        let of_pod = |pod: &&crate::snapshot::PodFacts| {
            resources.iter().map(|resource| pod.requests.extended(resource)).max().unwrap_or(0)
        };
        gang.pods.iter().map(of_pod).sum()
    };
    let mut opened: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (id, opening) in &demand.openings {
        let name = survey.node(*id).map(|(_, node)| &node.facts.name);
        for gang in &opening.gangs {
            opened.entry(*gang).or_default().extend(name.map(ToString::to_string));
        }
    }
    let gangs = demand.gangs.iter().enumerate();
    gangs
        .map(|(index, gang)| Waiting {
            work: gang.work.clone(),
            pods: gang.pods.iter().map(|pod| (pod.uid.clone(), pod.name.clone())).collect(),
            gpus: gpus(gang),
            verdict: gang.verdict,
            nodes: opened.remove(&index).unwrap_or_default(),
        })
        .collect()
}

/// How many nodes move or stay for each reason, the most frequent first.
pub fn reason_counts(decisions: &[NodeDecision]) -> Vec<ReasonCount> {
    let mut counts: BTreeMap<Reason, u32> = BTreeMap::new();
    for decision in decisions {
        *counts.entry(decision.reason).or_default() += 1;
    }
    let mut counts: Vec<_> =
        counts.into_iter().map(|(reason, nodes)| ReasonCount { reason, nodes }).collect();
    counts.sort_by_key(|count| (std::cmp::Reverse(count.nodes), count.reason));
    counts
}
