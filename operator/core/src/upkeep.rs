//! Keeping the marks on nodes true outside of shifts: adoption, repair, giving back.

use switchyard_api::{Mode, Reason, Use, keys};

use crate::{
    plan::Plan,
    snapshot::{Barrier, Marks, NodeFacts},
    survey::{NodeView, PoolView, Survey},
    writes::{Eviction, NodeWrite},
};

/// What is to be put right.
#[derive(Debug, Default)]
pub struct Upkeep {
    /// On nodes.
    pub writes: Vec<NodeWrite>,
    /// Miners where nothing is to be mined.
    pub evictions: Vec<Eviction>,
}

/// Looks what is to be put right.
pub fn upkeep(survey: &Survey<'_>, plan: &Plan) -> Upkeep {
    let mut upkeep = Upkeep::default();
    for (pool, planned) in survey.pools.iter().zip(&plan.pools) {
        if pool.facts.spec.shifting.mode == Mode::DryRun || pool.half_empty() {
            continue;
        }
        for (position, node) in pool.nodes.iter().enumerate().filter(|(_, node)| in_our_hands(node))
        {
            upkeep.writes.extend(write(survey, pool, node, planned.shut.get(&position).copied()));
            upkeep.evictions.extend(misplaced_miners(node));
        }
    }
    upkeep.writes.extend(survey.strays.iter().filter_map(|node| give_back(survey, node)));
    upkeep
}

/// What a shift left half done is finished even on a node that people asked us to keep off.
fn in_our_hands(node: &NodeView<'_>) -> bool {
    let asked_off = node.facts.skip && node.facts.marks.claim.is_none();
    node.shift.is_none() && node.unusable.is_none() && !asked_off
}

fn write(
    survey: &Survey<'_>,
    pool: &PoolView<'_>,
    node: &NodeView<'_>,
    shut: Option<Reason>,
) -> Option<NodeWrite> {
    let (marks, why) = if node.adopted {
        kept(survey, pool, node, shut)
    } else {
        (adopted(survey, pool, node)?, Reason::Adopted)
    };
    (marks != node.facts.marks).then(|| NodeWrite::new(node.facts, marks, why))
}

/// The marks of a node that the pool sees for the first time: its use is what runs there now. One
/// that would be tainted waits until the system pods tolerate that.
fn adopted(survey: &Survey<'_>, pool: &PoolView<'_>, node: &NodeView<'_>) -> Option<Marks> {
    let may_taint = pool.intolerant.is_empty();
    let active = pool.facts.spec.shifting.mode == Mode::Active;
    let welcome = active && !node.facts.cordoned && (node.node_use == Use::Hpc || may_taint);
    let profile = node.miners.first().map(|miner| miner.profile);
    welcome.then(|| Marks {
        profile: profile
            .filter(|_| node.node_use == Use::Mining)
            .map(|profile| keys::profile_value(&profile.namespace, &profile.name).as_str().into()),
        ..marks_of(pool, node, node.node_use, survey)
    })
}

/// The marks as they should be, given what the node is in use for. A person who works on a node has
/// cordoned it: its miner is stopped.
fn kept(
    survey: &Survey<'_>,
    pool: &PoolView<'_>,
    node: &NodeView<'_>,
    shut: Option<Reason>,
) -> (Marks, Reason) {
    let found = &node.facts.marks;
    let stop = node.facts.cordoned && node.node_use == Use::Mining;
    let node_use = if stop { Use::Idle } else { node.node_use };
    let marks = Marks {
        profile: found.profile.clone().filter(|_| node_use == Use::Mining),
        since: found.since.filter(|_| !stop).or(Some(survey.snapshot.now)),
        taint: if shut.is_some() { Some(Barrier::Closed) } else { Barrier::of(node_use) },
        ..marks_of(pool, node, node_use, survey)
    };
    let was_closed = found.taint == Some(Barrier::Closed);
    let why = match (stop, &found.claim, shut) {
        (true, ..) => Reason::Cordoned,
        (false, Some(_), _) => Reason::ShiftDeleted,
        (false, None, Some(reason)) if !was_closed => reason,
        (false, None, None) if was_closed => Reason::DoorOpened,
        (false, None, _) => Reason::Repaired,
    };
    (marks, why)
}

fn marks_of(pool: &PoolView<'_>, node: &NodeView<'_>, node_use: Use, survey: &Survey<'_>) -> Marks {
    Marks {
        pool: Some(pool.facts.name.clone()),
        node_use: Some(node_use),
        taint: Barrier::of(node_use),
        profile: None,
        gpus: Some(node.gpus),
        claim: None,
        since: Some(survey.snapshot.now),
    }
}

/// Miners that somebody else runs do not go by themselves when their node is relabelled.
fn misplaced_miners(node: &NodeView<'_>) -> Vec<Eviction> {
    if !node.adopted || node.node_use == Use::Mining && !node.facts.cordoned {
        return Vec::new();
    }
    node.miners.iter().filter_map(Eviction::of).collect()
}

/// A node that no pool selects is given back as it was before us; but not while its pool cannot be
/// read, because then nobody knows.
fn give_back(survey: &Survey<'_>, node: &NodeFacts) -> Option<NodeWrite> {
    let unreadable = node
        .marks
        .pool
        .as_ref()
        .is_some_and(|pool| survey.snapshot.unreadable_pools.contains(pool));
    (!unreadable).then(|| NodeWrite::new(node, Marks::default(), Reason::Deleting))
}
