//! What nodes do that run no jobs.

use std::sync::Arc;

use switchyard_api::{ProfileRef, Use};

/// What a node does that runs no jobs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rest {
    /// Nothing.
    Idle,
    /// It mines with a profile.
    Mining(Arc<ProfileRef>),
}

impl Rest {
    /// The use that it is.
    pub fn node_use(&self) -> Use {
        match self {
            Self::Idle => Use::Idle,
            Self::Mining(_) => Use::Mining,
        }
    }

    /// The profile that it mines with.
    pub fn profile(&self) -> Option<Arc<ProfileRef>> {
        match self {
            Self::Idle => None,
            Self::Mining(profile) => Some(profile.clone()),
        }
    }
}
