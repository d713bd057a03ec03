//! Which HPC nodes take new jobs: those that have room where it is wanted, and none while jobs would
//! not even pay for their own power.
//!
//! A job that runs is never touched, and what it pays was agreed when it started. But the scheduler
//! likes to put each new job on the emptiest node, and then no node is ever free for work that wants a
//! whole one, or to be given back. So of the nodes with room only the fullest is open, and the others
//! when waiting work fits nowhere else. What keeps jobs off is the taint, which changes nothing for
//! those that run.

use std::collections::BTreeMap;

use switchyard_api::{BelowCost, Mode, Packing, Reason, Use};

use crate::{
    demand::Demand,
    economics::ClassEconomics,
    snapshot::Barrier,
    survey::{NodeId, NodeView, PoolView, Survey},
};

/// A door that is shut for its price opens only when that is this many times the cost, so that it
/// does not flap.
const OPENS_AT: f64 = 1.05;

/// The nodes of a pool whose doors are to be shut or to stay so, by their indexes, and why.
pub fn shut(survey: &Survey<'_>, index: usize, demand: &Demand<'_>) -> BTreeMap<usize, Reason> {
    let Some(pool) = survey.pools.get(index) else {
        return BTreeMap::new();
    };
    let (mut shut, mut spare, mut open) = (BTreeMap::new(), Vec::new(), 0);
    for (position, node) in pool.nodes.iter().enumerate().filter(|(_, node)| has_a_door(node)) {
        let free = node.room.extended(&pool.facts.spec.gpu.resource_name);
        if let Some(reason) = stays_shut(pool, node) {
            shut.insert(position, reason);
        } else if demand.reserved.contains(&NodeId { pool: index, node: position }) {
            open += 1;
        } else if free > 0 {
            spare.push((free, position));
        }
    }
    if acts(pool) && pool.facts.spec.hpc.packing == Packing::Tight {
        spare.sort_unstable();
        let packed = spare.into_iter().skip(open_with_room(pool).saturating_sub(open));
        shut.extend(packed.map(|(_, position)| (position, Reason::Packed)));
    }
    shut
}

/// How many nodes with room stay open for jobs to come: a warm standby is open, too.
fn open_with_room(pool: &PoolView<'_>) -> usize {
    pool.facts.spec.hpc.nodes.min.of(pool.nodes.len()).max(1)
}

/// Why a node that is or will be shut cannot be opened for waiting work.
pub fn stays_shut(pool: &PoolView<'_>, node: &NodeView<'_>) -> Option<Reason> {
    if below_cost(pool, node) {
        return Some(Reason::PaysTooLittle);
    }
    (!acts(pool) && has_a_door(node) && is_shut(node)).then_some(Reason::Hold)
}

/// Would jobs not pay for their own power on the node? By the last prices that were trusted.
fn below_cost(pool: &PoolView<'_>, node: &NodeView<'_>) -> bool {
    if !has_a_door(node) || pool.facts.spec.hpc.below_cost == BelowCost::Serve || !acts(pool) {
        return false;
    }
    let margin = pool.class_of(node).and_then(|class| margin(pool, class));
    let opens_at = if is_shut(node) { OPENS_AT } else { 1.0 };
    margin.is_some_and(|margin| margin < opens_at)
}

fn has_a_door(node: &NodeView<'_>) -> bool {
    node.node_use == Use::Hpc && node.adopted && !node.moving()
}

fn is_shut(node: &NodeView<'_>) -> bool {
    node.facts.marks.taint == Some(Barrier::Closed)
}

fn acts(pool: &PoolView<'_>) -> bool {
    pool.facts.spec.shifting.mode == Mode::Active && pool.intolerant.is_empty()
}

/// What the best payer pays for a GPU-hour, as a multiple of what its power costs: by the pool's
/// price, or by a price that a waiting job names itself.
fn margin(pool: &PoolView<'_>, class: &ClassEconomics) -> Option<f64> {
    let usual = pool.prices.hpc.value?.number();
    let cost = class.job_power(1).value?.number();
    let best = pool.best_offer.map_or(usual, |offer| offer.number().max(usual));
    Some(if cost > 0.0 { best / cost } else { f64::INFINITY })
}
