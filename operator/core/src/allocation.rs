//! Which use each node should have, gates and budgets aside.
//!
//! Jobs first: where a job runs the node is HPC, and nodes that waiting work pays for become HPC.
//! Of the rest each takes the better of mining with its best profile and doing nothing; then floors,
//! ceilings and the power cap are kept with the nodes for which that costs least.

use jiff::Timestamp;
use switchyard_api::{Cause, Reason, Use};

use crate::{
    choice::{Candidate, Choice},
    demand::Demand,
    economics::{ClassEconomics, ProfileValue},
    limits,
    quantity::UsdPerHour,
    rest::Rest,
    survey::{NodeId, NodeView, PoolView, Survey},
    switching,
};

/// Chooses for every node of a pool, in the order of its nodes.
pub fn choose(survey: &Survey<'_>, index: usize, demand: &Demand<'_>) -> Vec<Choice> {
    let Some(pool) = survey.pools.get(index) else {
        return Vec::new();
    };
    let ids = (0..pool.nodes.len()).map(|node| NodeId { pool: index, node });
    let mut choices: Vec<_> = ids
        .filter_map(|id| {
            let (pool, node) = survey.node(id)?;
            Some(choose_one(survey, pool, node, id, demand))
        })
        .collect();
    limits::keep(survey, index, demand, &mut choices);
    choices
}

fn choose_one(
    survey: &Survey<'_>,
    pool: &PoolView<'_>,
    node: &NodeView<'_>,
    id: NodeId,
    demand: &Demand<'_>,
) -> Choice {
    if node.moving() {
        return Choice::Stay(Reason::ShiftRunning);
    }
    if let Some(reason) = node.unusable {
        return Choice::Stay(reason);
    }
    let Some(class) = pool.class_of(node) else {
        return Choice::Stay(Reason::UnknownModel);
    };
    if !node.jobs.is_empty() {
        return match node.node_use {
            Use::Hpc => Choice::Stay(Reason::JobsRunning),
            Use::Mining | Use::Idle => Choice::Move(to_hpc(Reason::JobLanded, None)),
        };
    }
    if let Some(opening) = demand.openings.get(&id) {
        let worth = class.hpc(opening.revenue, node.gpus, opening.busy).value;
        let gain = worth.zip(class.displaced(node.gpus)).map(|(worth, other)| worth - other);
        return Choice::Move(to_hpc(Reason::DemandPays, gain));
    }
    if let Some(pin) = node.pin.filter(|pin| pin.node_use != node.node_use) {
        return to_pinned(class, node, pin.node_use);
    }
    match node.node_use {
        Use::Hpc if demand.reserved.contains(&id) => Choice::Stay(Reason::ReservedForDemand),
        Use::Hpc if !rested(pool, node, survey) => Choice::Stay(Reason::RecentlyBusy),
        Use::Hpc | Use::Mining | Use::Idle => best_without_jobs(survey, pool, node, class),
    }
}

fn to_hpc(reason: Reason, gain: Option<UsdPerHour>) -> Candidate {
    Candidate {
        to: Use::Hpc,
        profile: None,
        cause: Cause::Demand,
        reason,
        gain,
        trusted: true,
        payback: None,
    }
}

/// What a person asks for rests on no price; a price only says which profile to mine with.
fn to_pinned(class: &ClassEconomics, node: &NodeView<'_>, to: Use) -> Choice {
    let best = class.best_profile(node.gpus).map(|(profile, _)| profile);
    let profile = best.or(class.profiles.first()).filter(|_| to == Use::Mining);
    if to == Use::Mining && profile.is_none() {
        return Choice::Stay(Reason::NoHashRate);
    }
    Choice::Move(Candidate {
        to,
        profile: profile.map(|profile| profile.profile.clone()),
        cause: Cause::Rebalance,
        reason: Reason::ToPinnedUse,
        gain: None,
        trusted: true,
        payback: None,
    })
}

/// Has the node been without a job for `idleAfter`?
fn rested(pool: &PoolView<'_>, node: &NodeView<'_>, survey: &Survey<'_>) -> bool {
    rests_at(pool, node).is_some_and(|rested| survey.snapshot.now >= rested)
}

/// When the node will have been without a job for `idleAfter`, if none comes.
pub(crate) fn rests_at(pool: &PoolView<'_>, node: &NodeView<'_>) -> Option<Timestamp> {
    let since = node.empty_since()?;
    let idle_after = pool.facts.spec.hpc.idle_after.signed();
    Some(since.saturating_add(idle_after).unwrap_or(Timestamp::MAX))
}

/// The better of mining and doing nothing. An HPC node without a job is worth what an idle one is,
/// so it is only ever taken back to mine: kept warm it serves the next job at once.
fn best_without_jobs(
    survey: &Survey<'_>,
    pool: &PoolView<'_>,
    node: &NodeView<'_>,
    class: &ClassEconomics,
) -> Choice {
    let Some(idle) = class.idle(node.gpus).value else {
        return Choice::Stay(Reason::ValueUnknown);
    };
    let best = class.best_profile(node.gpus).filter(|(_, value)| *value > idle);
    let (to, reason, gain, trusted) = match (node.node_use, best) {
        (Use::Mining, best) => match (mined_value(class, node), best) {
            (None, _) if class.profiles.is_empty() => return Choice::Stay(Reason::NoHashRate),
            (None, _) => return Choice::Stay(Reason::ValueUnknown),
            (Some(now), Some((profile, value))) if value > now.value => {
                (mining(profile), Reason::BetterProfile, value - now.value, now.trusted)
            }
            (Some(now), None) if now.value < idle => {
                (Rest::Idle, Reason::NothingPays, idle - now.value, now.trusted)
            }
            (Some(_), _) => return Choice::Stay(Reason::BestUse),
        },
        (Use::Hpc | Use::Idle, Some((profile, value))) => {
            (mining(profile), Reason::MiningPays, value - idle, true)
        }
        (Use::Hpc | Use::Idle, None) if class.profiles.is_empty() => {
            return Choice::Stay(Reason::NoHashRate);
        }
        (Use::Hpc | Use::Idle, None) => return Choice::Stay(Reason::NothingPays),
    };
    let from = current_rest(class, node);
    let payback = switching::payback(survey, pool, node, class, (&from, &to), gain);
    Choice::Move(Candidate {
        to: to.node_use(),
        profile: to.profile(),
        cause: Cause::Price,
        reason,
        gain: Some(gain),
        trusted,
        payback: Some(payback),
    })
}

fn mining(profile: &ProfileValue) -> Rest {
    Rest::Mining(profile.profile.clone())
}

/// What a node without jobs does at present.
fn current_rest(class: &ClassEconomics, node: &NodeView<'_>) -> Rest {
    let profile = class.profile_of_label(node.facts.marks.profile.as_deref());
    profile.filter(|_| node.node_use == Use::Mining).map_or(Rest::Idle, mining)
}

struct Known {
    value: UsdPerHour,
    trusted: bool,
}

/// What a mining node earns at present.
fn mined_value(class: &ClassEconomics, node: &NodeView<'_>) -> Option<Known> {
    let profile = class.profile_of_label(node.facts.marks.profile.as_deref())?;
    let quote = class.mining(profile, node.gpus);
    Some(Known { value: quote.value?, trusted: quote.trusted })
}
