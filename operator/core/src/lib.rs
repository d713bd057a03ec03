//! The brain of Switchyard, pure: facts in, decisions and reasons out.
//!
//! ```text
//! Snapshot → survey → demand, economics → allocation → gates, budgets → Plan
//! NodeShift + survey → phase::step → writes, evictions, status
//! ```
//!
//! Nothing here reads a clock, an environment or a network, and the dependencies see to that: `now`
//! is a field of the [`snapshot::Snapshot`].

mod admission;
pub mod allocation;
mod belief;
pub mod block;
pub mod breaker;
pub mod budget;
pub mod calendar;
pub mod choice;
pub mod demand;
pub mod door;
mod draw;
pub mod economics;
pub mod experience;
pub mod explain;
pub mod fit;
pub mod forecast;
pub mod gate;
mod labels;
mod limits;
mod market;
pub mod observer;
pub mod optimum;
pub mod outlook;
pub mod people;
pub mod phase;
pub mod plan;
mod power;
pub mod quantity;
pub mod report;
mod resources;
pub mod rest;
mod rooms;
pub mod serving;
pub mod signal;
pub mod snapshot;
pub mod standing;
pub mod survey;
pub mod switching;
pub mod upkeep;
pub mod writes;
