//! Which replica acts. All watch; one leads.
//!
//! A Lease names the leader. It is taken and renewed by updates that carry the resource version that
//! was read, so of two replicas one is refused. Whether a Lease has run out is measured by how long
//! this replica has not seen it change, on a clock that only runs forward: a wrong clock on another
//! machine cannot make two leaders, and a leader that was frozen knows that its time is over. What it
//! had already sent by then, the API server refuses by the [`Record`] of who leads.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::ObjectMeta};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    api::{WriteError, params, write},
    record::Record,
    settings::Settings,
};

/// So long the API server's policy may take to see who leads now.
const RECORD_IS_SEEN: Duration = Duration::from_millis(300);

/// Until when this replica may act; none: it does not lead.
#[derive(Debug, Clone)]
pub struct Leadership(watch::Receiver<Option<Instant>>);

impl Leadership {
    /// May this replica act now?
    pub fn leads(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// One that lasts for a test.
    #[cfg(test)]
    pub fn lasting(leads: bool) -> Self {
        let until = leads.then(|| Instant::now() + Duration::from_secs(3600));
        Self(watch::channel(until).1)
    }

    /// Waits until the answer may have changed.
    pub async fn changed(&mut self) {
        // The sender is gone only when the process ends.
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// An election and what has been seen of it.
#[derive(Debug)]
pub struct Election {
    leases: Api<Lease>,
    record: Record,
    name: String,
    identity: String,
    duration: Duration,
    seen: Option<Seen>,
    leading: watch::Sender<Option<Instant>>,
}

/// A Lease, and when it was first seen as it is.
#[derive(Debug)]
struct Seen {
    version: Option<String>,
    at: Instant,
}

impl Election {
    /// An election that has not begun.
    pub fn new(client: Client, settings: &Settings) -> (Self, Leadership) {
        let (leading, leadership) = watch::channel(None);
        let election = Self {
            leases: Api::namespaced(client.clone(), &settings.namespace),
            record: Record::new(client, &settings.namespace, &settings.lease),
            name: settings.lease.clone(),
            identity: settings.identity.clone(),
            duration: settings.lease_duration,
            seen: None,
            leading,
        };
        (election, Leadership(leadership))
    }

    /// Stands for election until `stop`, then gives the Lease back.
    pub async fn run(mut self, stop: CancellationToken) {
        let pause = self.duration / 5;
        loop {
            let started = Instant::now();
            match self.stand(started).await {
                Ok(true) => self.lead_until(started + self.duration * 2 / 3),
                Ok(false) => self.follow(),
                Err(error) => warn!(error = &error as &dyn std::error::Error, "lease not renewed"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => break,
            }
        }
        self.give_back().await;
    }

    fn lead_until(&self, until: Instant) {
        if self.leading.send_replace(Some(until)).is_none() {
            info!(identity = self.identity, "leading");
        }
    }

    fn follow(&self) {
        if self.leading.send_replace(None).is_some() {
            warn!(identity = self.identity, "no longer leading");
        }
    }

    /// One attempt to lead: to hold the Lease, and to be named as the leader.
    async fn stand(&mut self, now: Instant) -> Result<bool, WriteError> {
        let Some(lease) = self.round(now).await? else {
            return Ok(false);
        };
        if self.record.name(&self.identity, &lease).await? {
            tokio::time::sleep(RECORD_IS_SEEN).await;
        }
        Ok(true)
    }

    /// One attempt to take or renew the Lease, which is returned if it is ours.
    async fn round(&mut self, now: Instant) -> Result<Option<Lease>, WriteError> {
        let Some(lease) = write(self.leases.get_opt(&self.name)).await? else {
            return self.put(None).await;
        };
        let version = lease.metadata.resource_version.clone();
        let since = match &self.seen {
            Some(seen) if seen.version == version => seen.at,
            _ => now,
        };
        self.seen = Some(Seen { version, at: since });
        let holder = holder(&lease);
        let duration =
            lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        let ran_out =
            now.duration_since(since) >= Duration::from_secs(duration.unsigned_abs().into());
        if holder == self.identity || holder.is_empty() || ran_out {
            return self.put(Some(lease)).await;
        }
        debug!(holder, "another replica leads");
        Ok(None)
    }

    /// Writes the Lease with us as its holder. Somebody else may have been faster.
    async fn put(&mut self, found: Option<Lease>) -> Result<Option<Lease>, WriteError> {
        let written = match found {
            Some(lease) => {
                let lease = self.held(lease);
                write(self.leases.replace(&self.name, &params(), &lease)).await
            }
            None => {
                let metadata =
                    ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let lease = self.held(Lease { metadata, spec: None });
                write(self.leases.create(&params(), &lease)).await
            }
        };
        match written {
            Ok(lease) => {
                let version = lease.metadata.resource_version.clone();
                self.seen = Some(Seen { version, at: Instant::now() });
                Ok(Some(lease))
            }
            Err(error) if error.code() == Some(409) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn held(&self, mut lease: Lease) -> Lease {
        let ours = holder(&lease) == self.identity;
        let now = MicroTime(Timestamp::now());
        let old = lease.spec.take().unwrap_or_default();
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            acquire_time: old.acquire_time.filter(|_| ours).or(Some(now.clone())),
            lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!ours)),
            renew_time: Some(now),
            ..LeaseSpec::default()
        });
        lease
    }

    async fn give_back(&mut self) {
        self.follow();
        let given = async {
            let Some(mut lease) = write(self.leases.get_opt(&self.name)).await? else {
                return Ok(());
            };
            if holder(&lease) == self.identity {
                if let Some(spec) = &mut lease.spec {
                    spec.holder_identity = None;
                }
                write(self.leases.replace(&self.name, &params(), &lease)).await?;
            }
            Ok::<_, WriteError>(())
        };
        if let Err(error) = given.await {
            warn!(error = &error as &dyn std::error::Error, "lease not given back; it runs out");
        }
    }
}

pub(crate) fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}
