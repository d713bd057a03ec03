//! The gates of a node, for people.

use strum::IntoEnumIterator;
use switchyard_api::Reason;

use super::{GateState, mode_reason, remedy::remedy};
use crate::{
    block::{Block, Gate},
    plan::NodeDecision,
    survey::{NodeView, PoolView, Survey},
};

/// The mode of a pool, among the gates.
const MODE: &str = "Mode";

/// Every gate and how it stands, and the mode of the pool, which comes last.
pub(super) fn gates(
    survey: &Survey<'_>,
    index: usize,
    pool: &PoolView<'_>,
    node: &NodeView<'_>,
    found: &NodeDecision,
) -> Vec<GateState> {
    if found.candidate.is_none() {
        return Vec::new();
    }
    let closed = |gate: String, reason: Reason, block: Option<&Block>| GateState {
        gate,
        open: false,
        reason: Some(reason),
        sentence: Some(reason.sentence().to_owned()),
        until: block.and_then(|block| block.until),
        remedy: remedy(reason, survey, index, pool, node).map(|remedy| remedy.what),
    };
    let state = |gate: Gate| {
        let block = found.blocks.iter().find(|block| block.gate == gate);
        block.map_or_else(
            || open(gate.to_string()),
            |block| closed(gate.to_string(), block.reason, Some(block)),
        )
    };
    let mode = mode_reason(pool.facts.spec.shifting.mode)
        .filter(|reason| found.blocks.iter().all(|block| block.reason != *reason));
    let mode = mode.map_or_else(|| open(MODE.into()), |reason| closed(MODE.into(), reason, None));
    Gate::iter().map(state).chain([mode]).collect()
}

fn open(gate: String) -> GateState {
    GateState { gate, open: true, reason: None, sentence: None, until: None, remedy: None }
}
