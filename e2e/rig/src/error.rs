//! Why a control plane did not start.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::binaries::BinariesError;
use crate::component::Component;
use crate::pki::PkiError;

/// Why a control plane, or a component of it, did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A program is missing.
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    /// The files every component needs could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The system refused something.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// A component ended before it was ready.
    #[error(
        "{component} ended with {status} before it was ready; its log {} ends with:\n{tail}",
        log.display()
    )]
    Ended {
        /// Which one.
        component: Component,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        tail: String,
        /// All of its log.
        log: PathBuf,
    },
    /// A component runs, and is not ready.
    #[error(
        "{component} was not ready after {} s; on a slow machine raise `Options::patience`. \
         Its log {} ends with:\n{tail}",
        patience.as_secs(), log.display()
    )]
    NotReady {
        /// Which one.
        component: Component,
        /// How long we waited.
        patience: Duration,
        /// The last lines of its log.
        tail: String,
        /// All of its log.
        log: PathBuf,
    },
}

impl StartError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { action: action.into(), source }
    }

    /// Whether another process took the component's port between our choice and its use.
    pub(crate) fn is_lost_port(&self, of: Component) -> bool {
        matches!(self, Self::Ended { component, tail, .. }
            if *component == of && tail.contains("address already in use"))
    }
}
