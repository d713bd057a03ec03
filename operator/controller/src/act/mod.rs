//! Everything that changes the cluster.
//!
//! Each part is given what the core wants and does it as far as it can; what fails is counted, told
//! once, and tried again with the next look at the facts.

#[cfg(test)]
mod conversations;
mod evictions;
mod miner_set;
mod miners;
pub(crate) mod node_patch;
mod nodes;
mod pools;
mod shifts;

use std::{future::Future, sync::Arc};

use futures::{StreamExt, stream};
use kube::Client;
use tracing::{debug, warn};

use crate::{
    api::{WriteError, write},
    settings::Settings,
    tell::{Announcer, Metrics},
    watch::Caches,
};

pub use self::miners::RefusedMiners;

/// Requests that are made at the same time: enough to keep an API server busy, not enough to drown
/// it.
const AT_ONCE: usize = 32;

/// What acting takes.
#[derive(Clone)]
pub struct Hands {
    /// The way to the API server.
    pub client: Client,
    /// What is known of the cluster; takes in what writes return.
    pub caches: Caches,
    /// How writes went.
    pub metrics: Metrics,
    /// Tells people.
    pub announcer: Announcer,
    /// How the controller runs.
    pub settings: Arc<Settings>,
    /// Whether we may act at all. Asked again before every write, because a pass may take longer
    /// than a leader leads.
    pub leadership: crate::leader::Leadership,
}

impl Hands {
    /// Makes one write and counts how it went.
    pub(crate) async fn write<T>(
        &self,
        object: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, WriteError> {
        if !self.leadership.leads() {
            return Err(WriteError::NotLeading);
        }
        let written = write(request).await;
        match &written {
            Ok(_) => self.metrics.writes.with_label_values(&[object]).inc(),
            Err(error) => {
                self.metrics.write_errors.with_label_values(&[object, error.label()]).inc();
            }
        }
        written
    }

    /// Does something with each item, many at a time.
    async fn each<I, F: Future<Output = ()>>(
        &self,
        items: impl IntoIterator<Item = I>,
        act: impl Fn(I) -> F,
    ) {
        stream::iter(items).for_each_concurrent(AT_ONCE, act).await;
    }
}

/// Logs a write that was not made. One that the facts have overtaken is no fault: the next look at
/// them decides anew.
pub(crate) fn log(object: &'static str, name: &str, error: &WriteError) {
    let error_chain: &dyn std::error::Error = error;
    match (error.code(), error) {
        (Some(404 | 409 | 422), _) | (_, WriteError::NotLeading) => {
            debug!(object, name, error = error_chain, "overtaken");
        }
        _ => warn!(object, name, error = error_chain, "write failed; it is tried again"),
    }
}
