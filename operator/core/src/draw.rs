//! What nodes draw at the meter.
//!
//! Nodes on the move count as what they draw in the hungrier of both uses when something more is to be
//! drawn, because nobody knows how far they are: work that only fits once miners have stopped waits
//! for them. But they count as where they go when it is asked what is to be stopped, because what is
//! on its way need not be asked for again.

use switchyard_api::Use;

use crate::{
    demand::Opening,
    economics::ClassEconomics,
    quantity::Watts,
    survey::{NodeView, PoolView},
};

/// Whole watts at the meter; rounded up, so that sums are exact.
pub(crate) fn at_meter(pool: &PoolView<'_>, draw: Watts) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // watts are positive
    let watts = (draw.number() * pool.prices.pue).ceil() as u64;
    watts
}

/// The pool's cap, W at the meter.
pub(crate) fn cap(pool: &PoolView<'_>) -> Option<u64> {
    let cap = pool.facts.spec.power.cap_kw?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the API takes none below 0
    let watts = (cap.value() * 1000.0).floor() as u64;
    Some(watts)
}

/// What a node may draw as it stands, W at the meter. One that waiting work is about to take counts
/// as full; one of an unknown model as nothing.
pub(crate) fn load(pool: &PoolView<'_>, node: &NodeView<'_>, reserved: bool) -> u64 {
    let from = node.shift.map(|shift| shift.spec.from);
    let before = from.map_or(0, |from| in_use(pool, node, from));
    settled(pool, node, reserved).max(before)
}

/// What a node draws when the shift has ended that it is in, if any, W at the meter.
pub(crate) fn settled(pool: &PoolView<'_>, node: &NodeView<'_>, reserved: bool) -> u64 {
    let to = match node.shift {
        Some(shift) => in_use(pool, node, shift.spec.to),
        None if node.moving() || node.unusable.is_some() => {
            in_use(pool, node, Use::Mining).max(in_use(pool, node, Use::Hpc))
        }
        None if reserved => in_use(pool, node, Use::Hpc),
        None if node.node_use == Use::Mining => in_use(pool, node, Use::Mining),
        None => 0,
    };
    to.max(in_use(pool, node, Use::Idle))
}

/// What a node draws in a use, W at the meter: full of jobs, mining, or with those jobs that it has.
fn in_use(pool: &PoolView<'_>, node: &NodeView<'_>, node_use: Use) -> u64 {
    let Some(class) = pool.class_of(node) else {
        return 0;
    };
    let draw = match node_use {
        Use::Mining => mining(class, node),
        Use::Hpc => class.hpc_watts(node.gpus, node.gpus),
        Use::Idle => class.hpc_watts(node.gpus, node.busy(&pool.facts.spec.gpu.resource_name)),
    };
    at_meter(pool, draw)
}

/// What a node draws when it mines with its profile, or with the hungriest if that is not known.
fn mining(class: &ClassEconomics, node: &NodeView<'_>) -> Watts {
    let watts = |profile| class.mining_watts(profile, node.gpus);
    let own = class.profile_of_label(node.facts.marks.profile.as_deref()).map(watts);
    let most = || class.profiles.iter().map(watts).max();
    own.or_else(most).unwrap_or_else(|| class.idle_watts(node.gpus))
}

/// What a node draws when its jobs run, W at the meter.
pub(crate) fn opened(pool: &PoolView<'_>, node: &NodeView<'_>, opening: &Opening) -> u64 {
    let draw = pool.class_of(node).map(|class| class.hpc_watts(node.gpus, opening.busy));
    at_meter(pool, draw.unwrap_or_default())
}
