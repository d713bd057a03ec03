//! The hands of Switchyard: they watch, let the core decide, act, and tell.
//!
//! ```text
//! watch → Snapshot → core → act (nodes, evictions, shifts, miners) → watch …
//!                        └→ tell (conditions, Events, metrics)
//! ```
//!
//! Everything that must survive a crash is in the API server: orders as `NodeShift` objects, how far
//! they are as marks on the nodes. What is kept in memory only ever makes the operator slower when
//! it is lost, never wrong.

mod about;
mod act;
mod admin;
pub mod api;
pub mod explain;
mod leader;
mod operate;
pub mod preflight;
mod record;
pub mod release;
mod settings;
mod signals;
mod tell;
mod watch;

pub use about::{BUILD, Build};
pub use operate::{RunError, run};
pub use settings::Settings;
pub use tell::{Described, Metrics};
