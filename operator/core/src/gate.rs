//! The named gates. Each says whether a node may move for a cause; all are asked, all are reported.
//!
//! | gate | stops |
//! |---|---|
//! | hold, pool size, system pods, skip, pin, cordon, readiness, eligibility | every cause |
//! | window | the causes that windows name; Price and Rebalance while a schedule cannot be read |
//! | signals, dwell | Price and Rebalance |
//! | breaker | Price and Rebalance, but for a trusted move to Idle that stops a loss |
//! | budget | the causes that budgets name |
//!
//! Nodes of two pools and of the control plane never get here: the survey keeps them out. Budgets are
//! asked last, by the planner, because what they say depends on who came before.

use jiff::Timestamp;
use switchyard_api::{Cause, Mode, Reason, Use};

use crate::{
    block::{Block, Gate},
    survey::{NodeView, PoolView},
    switching::Payback,
};

/// A move that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a, 'n> {
    /// The pool.
    pub pool: &'n PoolView<'a>,
    /// The node.
    pub node: &'n NodeView<'a>,
    /// Its use afterwards.
    pub to: Use,
    /// Why.
    pub cause: Cause,
    /// Is every value that the move rests on trusted?
    pub trusted: bool,
    /// Of a move for a price, whether it pays for the switch.
    pub payback: Option<Payback>,
}

/// What a gate says to a move.
type Check = fn(Request<'_, '_>, Timestamp) -> Option<Block>;

/// The gates that can be asked of each node alone, in the order of [`Gate`].
const CHECKS: [Check; 13] = [
    |request, _| hold(request),
    |request, _| pool_size(request),
    |request, _| system_pods(request),
    |request, _| skip(request),
    |request, _| pin(request),
    |request, _| cordon(request),
    |request, _| usable(request),
    |request, _| eligible(request),
    |request, _| request.pool.calendar.closed(request.cause),
    |request, _| signals(request),
    dwell,
    payback,
    |request, _| breaker(request),
];

/// The gates that are closed to a move, in the order of [`Gate`]. They are asked one after the other,
/// as they are wanted.
pub fn closed<'r>(
    request: Request<'r, 'r>,
    now: Timestamp,
) -> impl Iterator<Item = Block> + use<'r> {
    CHECKS.iter().filter_map(move |check| check(request, now))
}

/// Is every gate open to a move?
pub fn open(request: Request<'_, '_>, now: Timestamp) -> bool {
    closed(request, now).next().is_none()
}

fn hold(request: Request<'_, '_>) -> Option<Block> {
    if let Some(hold) = request.pool.hold {
        let until = hold.ends();
        return Some(Block { gate: Gate::Hold, reason: Reason::GlobalHold, until });
    }
    let held = request.pool.facts.spec.shifting.mode == Mode::Hold;
    held.then(|| Block::closed(Gate::Hold, Reason::Hold))
}

fn pool_size(request: Request<'_, '_>) -> Option<Block> {
    let suspicious = request.pool.half_empty();
    suspicious.then(|| Block::closed(Gate::PoolSize, Reason::PoolHalfEmpty))
}

/// Asks even of nodes that are tainted already: a shift may remove the taint and put it back.
fn system_pods(request: Request<'_, '_>) -> Option<Block> {
    let taints = request.to != Use::Hpc;
    (taints && !request.pool.intolerant.is_empty())
        .then(|| Block::closed(Gate::SystemPods, Reason::SystemPodsIntolerant))
}

fn skip(request: Request<'_, '_>) -> Option<Block> {
    request.node.facts.skip.then(|| Block::closed(Gate::Skip, Reason::Skipped))
}

fn pin(request: Request<'_, '_>) -> Option<Block> {
    if request.node.pin_error().is_some() {
        return Some(Block::closed(Gate::Pin, Reason::PinUnreadable));
    }
    let pin = request.node.pin.filter(|pin| pin.node_use != request.to)?;
    Some(Block { gate: Gate::Pin, reason: Reason::Pinned, until: pin.until })
}

fn cordon(request: Request<'_, '_>) -> Option<Block> {
    request.node.facts.cordoned.then(|| Block::closed(Gate::Cordon, Reason::Cordoned))
}

fn usable(request: Request<'_, '_>) -> Option<Block> {
    request.node.unusable.map(|reason| Block::closed(Gate::Usable, reason))
}

fn eligible(request: Request<'_, '_>) -> Option<Block> {
    let class = request.node.class.and_then(|class| request.pool.classes.get(class));
    let may = request.to != Use::Hpc || class.is_none_or(|class| class.eligible);
    (!may).then(|| Block::closed(Gate::Eligible, Reason::NotEligible))
}

fn signals(request: Request<'_, '_>) -> Option<Block> {
    (request.cause.is_for_money() && !request.trusted)
        .then(|| Block::closed(Gate::Signals, Reason::SignalUntrusted))
}

/// When a node may leave its use for money.
pub(crate) fn dwells_until(pool: &PoolView<'_>, node: &NodeView<'_>) -> Option<Timestamp> {
    let dwell = pool.facts.spec.shifting.min_dwell.of(node.node_use);
    let since = node.facts.marks.since?;
    Some(since.saturating_add(dwell.signed()).unwrap_or(Timestamp::MAX))
}

fn dwell(request: Request<'_, '_>, now: Timestamp) -> Option<Block> {
    let over = dwells_until(request.pool, request.node)?;
    (request.cause.is_for_money() && now < over).then_some(Block {
        gate: Gate::Dwell,
        reason: Reason::DwellNotOver,
        until: Some(over),
    })
}

fn payback(request: Request<'_, '_>, now: Timestamp) -> Option<Block> {
    let payback = request.payback.filter(|payback| !payback.due())?;
    let reason = if payback.put_off() { Reason::SoonOver } else { Reason::NotPaidBack };
    Some(Block { gate: Gate::Payback, reason, until: payback.due_at(now) })
}

fn breaker(request: Request<'_, '_>) -> Option<Block> {
    let open = request.pool.breaker.open_since.is_some();
    // No price moves a node to Idle but one at which mining costs more than it earns.
    let stops_a_loss = request.cause == Cause::Price && request.to == Use::Idle && request.trusted;
    (open && request.cause.is_for_money() && !stops_a_loss)
        .then(|| Block::closed(Gate::Breaker, Reason::BreakerOpen))
}
