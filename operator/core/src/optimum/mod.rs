//! The split of nodes among uses that is worth most, exactly.
//!
//! Nodes that are alike form a class. What couples the classes are limits: so many nodes in a use at
//! least or at most, and a cap on the watts of all. While none of them binds, each class takes its
//! best option, and work that waits (a [`Lot`], housed as a whole or not at all) is housed if it is
//! worth more than what its nodes would do otherwise.
//!
//! When a limit binds, each gets a price (a Lagrange multiplier): watts cost, and nodes in a use cost
//! or earn. For given prices the classes are independent again, and what they are worth then is a
//! bound on every split. Branch and bound over lots and counts closes what is left between the bound
//! and the best split found (Land and Doig 1960; Fisher 1981, "The Lagrangian relaxation method for
//! solving integer programming problems").

mod solver;
#[cfg(test)]
mod tests;

use switchyard_api::Use;

use crate::quantity::UsdPerHour;
use solver::{Prices, Solver};

/// What is to be split, and within which limits.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The nodes.
    pub classes: Vec<Class>,
    /// The work that waits.
    pub lots: Vec<Lot>,
    /// How many nodes may serve HPC.
    pub hpc: Limits,
    /// How many nodes may mine.
    pub mining: Limits,
    /// How much all may draw, W. If even the most frugal split draws more, that one is taken.
    pub watts: Option<u64>,
}

/// Nodes that are alike.
#[derive(Debug, Clone)]
pub struct Class {
    /// How many.
    pub nodes: u32,
    /// What each may do; of equals the first is taken.
    pub options: Vec<Outlet>,
}

/// What a node may do.
#[derive(Debug, Clone, Copy)]
pub struct Outlet {
    /// Its use.
    pub node_use: Use,
    /// What it is worth then.
    pub value: UsdPerHour,
    /// What it draws then, W.
    pub watts: u64,
}

/// Waiting work that is housed as a whole or not at all, on nodes that then serve HPC.
#[derive(Debug, Clone)]
pub struct Lot {
    /// How many nodes of which classes it takes; each class at most once.
    pub nodes: Vec<(usize, u32)>,
    /// What all its nodes are worth then.
    pub value: UsdPerHour,
    /// What all its nodes draw then, W.
    pub watts: u64,
}

/// How many nodes a use may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At least so many.
    pub min: u32,
    /// At most so many; more only if nothing else can be done with them.
    pub max: u32,
    /// What each node costs that is missing to `min`; none: more than all could earn.
    pub penalty: Option<UsdPerHour>,
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self { min: 0, max: u32::MAX, penalty: None };
}

/// How nodes are split.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// For each class, how many nodes take each of its options.
    pub nodes: Vec<Vec<u32>>,
    /// Which lots are housed.
    pub lots: Vec<bool>,
    /// What the best split could be worth more than this one: zero, unless the effort did not suffice.
    pub gap: UsdPerHour,
}

/// The best split. At most `effort` branches are looked at; a few hundred suffice for a site.
pub fn best(problem: &Problem, effort: usize) -> Split {
    let solver = Solver::new(problem);
    let mut best = (f64::NEG_INFINITY, solver.frugal());
    // Branches yet to be looked at, and what they are worth at most.
    let mut open = vec![(f64::INFINITY, solver.root(), Prices::default())];
    for _ in 0..effort.max(1) {
        let Some((bound, branch, prices)) = open.pop() else {
            break;
        };
        if beaten(bound, best.0) {
            continue;
        }
        let Some(relaxed) = solver.relax(&branch, prices) else {
            continue;
        };
        let found = solver.repair(&branch, &relaxed);
        if let Some((value, point)) = &found
            && *value > best.0
        {
            best = (*value, point.clone());
        }
        let bound = bound.min(relaxed.bound);
        if !beaten(bound, best.0) {
            let branches = solver.split(&branch, &relaxed, found.as_ref().map(|(_, point)| point));
            open.extend(branches.into_iter().map(|branch| (bound, branch, relaxed.prices)));
        }
    }
    let (value, point) = best;
    let bound = open.iter().map(|(bound, ..)| *bound).fold(value, f64::max);
    let gap = if beaten(bound, value) { 0.0 } else { bound - value };
    let count = |nodes: i64| u32::try_from(nodes).unwrap_or(0);
    Split {
        nodes: point
            .counts
            .iter()
            .map(|class| class.iter().copied().map(count).collect())
            .collect(),
        lots: point.lots,
        gap: UsdPerHour::new(gap).unwrap_or_default(),
    }
}

/// Is there nothing to win in a branch? Less than a ten-billionth is rounding.
fn beaten(bound: f64, value: f64) -> bool {
    bound <= value + 1e-10 * value.abs().max(1.0)
}
