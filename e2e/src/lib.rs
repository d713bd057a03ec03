//! Switchyard on a real control plane: what stories, demos and benchmarks are made of.
//!
//! - [`Cluster`] starts the rig, installs the chart, makes nodes;
//! - [`Operator`] runs the real binary under the chart's own ServiceAccount;
//! - [`Prices`] serves signals over HTTP, and lies where it is told to;
//! - [`Observer`] reads the API server, never the operator, and checks the promises;
//! - [`fences`] tries the chart's admission policies from both sides;
//! - [`Prometheus`] scrapes the operator and evaluates what dashboards and alerts ask;
//! - [`upgrade`] and [`install`] do what an administrator does to the chart;
//! - [`demo`] lets a day pass.

mod cluster;
pub mod demo;
pub mod fences;
pub mod install;
pub mod monitoring;
pub mod objects;
mod observer;
mod operator;
mod prices;
mod prometheus;
pub mod rbac;
mod uninstall;
pub mod upgrade;
mod wait;

pub use cluster::{Chart, Cluster, Setup, run};
pub use observer::{Observer, Promise};
pub use operator::{Operator, switchyard};
pub use prices::{Answer, Prices};
pub use prometheus::{Evaluated, Prometheus};
pub use wait::eventually;

/// The namespace that the chart is installed into.
pub const SYSTEM: &str = "switchyard-system";
/// The namespace of the miners.
pub const MINING: &str = "mining";
/// The namespace of the customers' jobs.
pub const RESEARCH: &str = "research";
