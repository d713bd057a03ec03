//! How many more nodes may move: disruption budgets, and the floors and ceilings of each use.
//!
//! Budgets count nodes on the move, read from the stored shifts, so they hold across restarts. Of
//! several that apply at the time the least counts.

use switchyard_api::{Budget, Cause, NodeCount, Reason, Use};

use crate::survey::{PoolView, Survey};

/// A move, as far as budgets ask about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The use that the node leaves.
    pub from: Use,
    /// The use that it gets.
    pub to: Use,
    /// Why.
    pub cause: Cause,
}

/// What is left of a pool's budgets, floors and ceilings.
#[derive(Debug, Clone)]
pub struct Allowance {
    budgets: Vec<(Budget, usize)>,
    mining: Bounds,
    hpc: Bounds,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    nodes: usize,
    min: usize,
    max: usize,
}

impl Allowance {
    /// What is left in each pool of a survey, in its order.
    pub fn of_pools(survey: &Survey<'_>) -> Vec<Self> {
        survey.pools.iter().map(Self::of).collect()
    }

    fn of(pool: &PoolView<'_>) -> Self {
        let spec = &pool.facts.spec;
        let total = pool.nodes.len();
        let running: Vec<Move> = pool
            .nodes
            .iter()
            .filter_map(|node| node.shift)
            .map(|shift| Move { from: shift.spec.from, to: shift.spec.to, cause: shift.spec.cause })
            .collect();
        // A node on the move counts where it goes.
        let heading = |node_use| {
            let heading = pool
                .nodes
                .iter()
                .filter(|node| node.shift.map_or(node.node_use, |shift| shift.spec.to) == node_use);
            heading.count()
        };
        let bounds = |node_use, min: NodeCount, max: NodeCount| Bounds {
            nodes: heading(node_use),
            min: min.of(total),
            max: max.of(total),
        };
        Self {
            budgets: pool
                .calendar
                .applying(&spec.shifting.budgets)
                .map(|budget| {
                    let used = running.iter().filter(|one| applies(budget, **one)).count();
                    (budget.clone(), budget.nodes.of(total).saturating_sub(used))
                })
                .collect(),
            mining: bounds(Use::Mining, spec.mining.nodes.min, spec.mining.nodes.max),
            hpc: bounds(Use::Hpc, spec.hpc.nodes.min, spec.hpc.nodes.max),
        }
    }

    /// How many more nodes a move of this kind may take by the budgets alone.
    pub fn budget_left(&self, wanted: Move) -> usize {
        let applying = self.budgets.iter().filter(|(budget, _)| applies(budget, wanted));
        applying.map(|(_, left)| *left).min().unwrap_or(usize::MAX)
    }

    /// May one more node move so? If not, why.
    pub fn check(&self, wanted: Move) -> Result<(), Reason> {
        if self.leaves_below_floor(wanted) {
            return Err(Reason::BelowFloor);
        }
        if self.enters_above_ceiling(wanted) {
            return Err(Reason::AboveCeiling);
        }
        if self.budget_left(wanted) == 0 {
            return Err(Reason::BudgetExhausted);
        }
        Ok(())
    }

    /// Counts a node that moves so.
    pub fn take(&mut self, moved: Move) {
        for (_, left) in self.budgets.iter_mut().filter(|(budget, _)| applies(budget, moved)) {
            *left = left.saturating_sub(1);
        }
        if let Some(bounds) = self.bounds_mut(moved.from) {
            bounds.nodes = bounds.nodes.saturating_sub(1);
        }
        if let Some(bounds) = self.bounds_mut(moved.to) {
            bounds.nodes += 1;
        }
    }

    /// Forgets a node that was counted after a check.
    pub fn give_back(&mut self, moved: Move) {
        for (_, left) in self.budgets.iter_mut().filter(|(budget, _)| applies(budget, moved)) {
            *left += 1;
        }
        if let Some(bounds) = self.bounds_mut(moved.from) {
            bounds.nodes += 1;
        }
        if let Some(bounds) = self.bounds_mut(moved.to) {
            bounds.nodes = bounds.nodes.saturating_sub(1);
        }
    }

    fn leaves_below_floor(&self, wanted: Move) -> bool {
        wanted.from != wanted.to
            && self.bounds(wanted.from).is_some_and(|bounds| bounds.nodes <= bounds.min)
    }

    fn enters_above_ceiling(&self, wanted: Move) -> bool {
        wanted.from != wanted.to
            && self.bounds(wanted.to).is_some_and(|bounds| bounds.nodes >= bounds.max)
    }

    fn bounds(&self, node_use: Use) -> Option<&Bounds> {
        match node_use {
            Use::Mining => Some(&self.mining),
            Use::Hpc => Some(&self.hpc),
            Use::Idle => None,
        }
    }

    fn bounds_mut(&mut self, node_use: Use) -> Option<&mut Bounds> {
        match node_use {
            Use::Mining => Some(&mut self.mining),
            Use::Hpc => Some(&mut self.hpc),
            Use::Idle => None,
        }
    }
}

fn applies(budget: &Budget, wanted: Move) -> bool {
    budget.causes.contains(&wanted.cause)
        && (budget.from.is_empty() || budget.from.contains(&wanted.from))
}
