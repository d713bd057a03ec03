//! Does in a world what an explanation says would change a decision.

#![allow(clippy::panic)]

use switchyard_api::{Mode, NodeCount, Reason, Use};
use switchyard_core::{
    explain::{self, Flip, NodeExplanation, PoolExplanation, Step},
    plan,
    survey::survey,
};

use super::World;

/// Where a node should go, with which profile, and whether it goes there now.
pub type Verdict = (Option<(Use, Option<String>)>, bool);

impl World {
    pub fn explain(&self, node: &str) -> NodeExplanation {
        let snapshot = self.snapshot();
        let survey = survey(&snapshot);
        explain::node(&survey, &plan::decide(&survey), node).unwrap()
    }

    pub fn explain_pool(&self) -> PoolExplanation {
        let snapshot = self.snapshot();
        let survey = survey(&snapshot);
        explain::pool(&survey, &plan::decide(&survey), "texas").unwrap()
    }

    pub fn verdict(&self, node: &str) -> Verdict {
        let decision = self.decision(node);
        let active = self.pools["texas"].shifting.mode == Mode::Active;
        let moves = decision.moves() && active;
        let to = decision.candidate;
        (to.map(|to| (to.to, to.profile.map(|profile| profile.to_string()))), moves)
    }

    /// Makes a step of a change to a node come true; of a price only a share.
    pub fn step(&mut self, node: &str, step: &Step, share: f64) {
        match step {
            Step::Price(change) => {
                let per = if change.unit == "USD/(MH/s)/day" { 1e-6 } else { 1.0 };
                let price = change.from + (change.to - change.from) * share;
                self.set(change.signal.as_ref().unwrap(), price * per);
            }
            Step::Wait { until } => self.now = *until,
            Step::Do { reason, .. } => self.remedy(node, *reason),
        }
    }

    fn remedy(&mut self, node: &str, reason: Reason) {
        match reason {
            Reason::DryRun | Reason::Hold => self.pool().shifting.mode = Mode::Active,
            Reason::Skipped => self.node(node).skip = false,
            Reason::Pinned | Reason::PinUnreadable => self.node(node).pin = None,
            Reason::GlobalHold => self.hold = None,
            Reason::BreakerOpen => self.reset_breaker = Some(self.now.to_string()),
            Reason::Cordoned => self.node(node).cordoned = false,
            Reason::NotReady => self.node(node).ready = true,
            Reason::SignalUntrusted => {
                self.signals.values_mut().for_each(|signal| signal.trusted = true);
            }
            Reason::BudgetExhausted => self.pool().shifting.budgets.clear(),
            Reason::WarmStandby => self.pool().hpc.nodes.min = NodeCount::Count(0),
            Reason::PoolHalfEmpty => self.believed.clear(),
            other => panic!("no remedy for {other} is known here"),
        }
    }
}

/// What a flip says would be decided.
pub fn promised(flip: &Flip) -> Verdict {
    let to = flip.to.as_ref();
    let profile = |to: &explain::Destination| to.profile.as_ref().map(ToString::to_string);
    (to.map(|to| (to.node_use, profile(to))), flip.moves)
}
