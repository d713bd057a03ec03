//! What should become of a node, gates and budgets aside.

use std::sync::Arc;

use switchyard_api::{Cause, ProfileRef, Reason, Use};

use crate::{quantity::UsdPerHour, switching::Payback};

/// What should become of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// It is well where it is, or nothing better is known.
    Stay(Reason),
    /// It should move.
    Move(Candidate),
}

/// A move that is worth making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The use it gets.
    pub to: Use,
    /// The profile it then mines with.
    pub profile: Option<Arc<ProfileRef>>,
    /// Why, for budgets and gates.
    pub cause: Cause,
    /// Why, for people.
    pub reason: Reason,
    /// What it gains, USD per hour; not known where a value is not.
    pub gain: Option<UsdPerHour>,
    /// Is every value that it rests on trusted?
    pub trusted: bool,
    /// Of a move for a price, whether it pays for the switch.
    pub payback: Option<Payback>,
}
