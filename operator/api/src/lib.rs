//! Switchyard's custom resources and the words everything else shares.
//!
//! This crate holds types only: the kinds of the group [`GROUP`], their conditions and
//! [`Reason`]s, and every key that Switchyard writes on objects of others ([`keys`]). It does no I/O
//! and takes no decisions.

// One `printcolumn(…)` per column repeats its keys.
#![allow(clippy::duplicated_attributes)]

mod condition;
mod crds;
pub mod keys;
mod leader;
mod limits;
mod pool;
mod profile;
mod reason;
mod selector;
mod shift;
mod signal;
mod value;

pub use condition::{ConditionType, Conditions, Judgement};
pub use crds::{CrdError, crds, crds_yaml};
pub use leader::*;
pub use limits::{Breaker, BreakerStatus, Budget, Window};
pub use pool::*;
pub use profile::*;
pub use reason::Reason;
pub use selector::{Selector, SelectorError};
pub use shift::*;
pub use signal::*;
pub use value::{Decimal, HashRate, NodeCount, ParseValueError, Period};

/// API group of every kind here.
pub const GROUP: &str = "switchyard.dev";
/// The one served and stored version.
pub const VERSION: &str = "v1alpha1";
