//! A bound that no policy can beat, not even one that knows the future.
//!
//! The site is taken apart: nodes rent their GPUs out, jobs rent GPUs, and neither knows of the other
//! but by the rents, which are given by class of nodes and by time and are never negative. Every node
//! then chooses the best course for itself, every job its best start and class, or none; and what
//! they bring together is a bound *for any rents* (Lagrangian relaxation of "jobs hold no more GPUs
//! of a class than its open nodes have"). Rents only move money between jobs and nodes, so whatever a
//! policy does is one of the choices, and its balance of rents is not negative. [`clairvoyant`] looks
//! for rents that make the bound low.
//!
//! The bound knows all prices, jobs and durations ahead. Of the engine's rules it keeps:
//! - what a node earns and draws mining, open, idle and in transit, the time that transits take, and
//!   which profiles and uses its class is able to;
//! - when a job comes, how long it waits, what it pays from its start to its end or the window's, the
//!   power of the GPUs it holds (of whole nodes if it is larger than one), and which classes have
//!   nodes that are large enough for it;
//! - how many GPUs the open nodes of each class have at each time.
//!
//! It ignores, each time to the policy's advantage:
//! - which node a job is on: GPUs of a class are one pool, so that jobs fit however they are cut, and
//!   a node that closes needs not be empty;
//! - that a large job needs its nodes at once and whole; it takes all its nodes of one class, even
//!   if the class has too few;
//! - that a node and a job cannot be split, nor change from day to day what share of them is where;
//! - the order of the queue, backfill and placement;
//! - when decisions are taken and what is known by then: things may happen at any moment, and a
//!   transit may go on by stops that take no time if that is shorter;
//! - within a cell of the grid, when exactly GPUs are busy: there they have to suffice on average;
//! - how a node rests between two stays, so long as the rest is no shorter than a transit: from
//!   Mining to Mining the time of a change of the profile will do, even if it takes up the old one.
//!
//! A policy may start its nodes in any use that their class is able to (see
//! [`Policy::start`](crate::policy::Policy::start)), and so may the bound.
//!
//! [`prompt()`] is another one, for those who let no customer wait.

mod descent;
mod grid;
mod jobs;
mod node;
mod prompt;
mod relaxation;

pub use self::prompt::prompt;
use self::relaxation::Relaxation;
use crate::{series::Series, site::Site};

/// How hard to look for a low bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// How often rents are tried at most.
    pub iterations: usize,
    /// For how long a rent holds at most, s.
    pub cell_seconds: f64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { iterations: 300, cell_seconds: 1800.0 }
    }
}

/// A bound that no policy can beat.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// No policy earns more, USD.
    pub usd: f64,
    /// How often rents were tried.
    pub iterations: usize,
    /// What a GPU of an open node is worth to the one who knows the future, by class: USD per
    /// GPU-hour, beyond its power.
    pub rents: Vec<Series>,
}

/// The bound of a site. It does not depend on the placement.
pub fn clairvoyant(site: &Site, effort: Effort) -> Bound {
    let relaxation = Relaxation::new(site, effort);
    let lowest = descent::lowest(&relaxation, effort.iterations);
    let starts = relaxation.grid().borders().iter().copied();
    let series = |rents: Vec<f64>| Series::new(starts.clone().zip(rents));
    Bound {
        usd: lowest.usd,
        iterations: lowest.rounds,
        rents: lowest.rents.into_iter().map(series).collect(),
    }
}

/// How many nodes each class has.
fn counts(site: &Site) -> Vec<u32> {
    let mut counts = vec![0; site.classes.len()];
    for node in &site.nodes {
        counts[node.class] += 1;
    }
    counts
}
