//! A simulated site and clock: what would a policy have earned?
//!
//! [`engine::run`] lets a [`policy::Policy`] run a [`site::Site`] through its window and gives an
//! [`outcome::Outcome`]. It is deterministic: the same site and policy give the same numbers to the
//! last digit. The rules of the model are written down in `docs/reference/simulator.md`.

// Indexes of nodes, classes and jobs come from the site itself, which is checked when it is read.
#![allow(clippy::indexing_slicing)]

pub mod backtest;
pub mod bound;
pub mod engine;
pub mod example;
pub mod forecast;
pub mod generate;
pub mod grid;
pub mod outcome;
pub mod policy;
pub mod search;
pub mod series;
pub mod site;
pub mod timeline;
