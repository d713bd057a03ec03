//! Says to the API server which replica leads, so that its admission policy refuses the writes of
//! every other one: a leader that was frozen may thaw in the middle of a write.

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Api, Client, Resource, ResourceExt, api::ObjectMeta};
use switchyard_api::{Leader, LeaderSpec};
use tracing::debug;

use crate::api::{WriteError, params, write};

/// The one object that names the leader.
#[derive(Debug)]
pub struct Record {
    leaders: Api<Leader>,
    name: String,
}

impl Record {
    /// The record beside a Lease: in its namespace and of its name.
    pub fn new(client: Client, namespace: &str, lease: &str) -> Self {
        Self { leaders: Api::namespaced(client, namespace), name: lease.to_owned() }
    }

    /// Names the holder of the Lease. Was somebody else named before? The record carries the version
    /// that was read, so of two replicas that both believe they hold the Lease the later one wins.
    pub async fn name(&self, holder: &str, lease: &Lease) -> Result<bool, WriteError> {
        let spec = LeaderSpec { holder: holder.to_owned(), since: Timestamp::now() };
        let Some(mut found) = found(&self.leaders, &self.name).await? else {
            return self.create(spec, lease).await;
        };
        if found.spec.holder == holder {
            return Ok(false);
        }
        found.spec = spec;
        write(self.leaders.replace(&self.name, &params(), &found)).await.map(|_| true)
    }

    /// Makes the record. It belongs to the Lease, so it goes when the chart is uninstalled.
    async fn create(&self, spec: LeaderSpec, lease: &Lease) -> Result<bool, WriteError> {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            owner_references: Some(vec![owner(lease)]),
            ..ObjectMeta::default()
        };
        match write(self.leaders.create(&params(), &Leader { metadata, spec })).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(404) => {
                debug!("the kind Leader is not known here, and so no policy reads it");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// The record; none, too, if its kind is not known here, which the client would take for an error.
pub(crate) async fn found(leaders: &Api<Leader>, name: &str) -> Result<Option<Leader>, WriteError> {
    match write(leaders.get_opt(name)).await {
        Err(error) if error.code() == Some(404) => Ok(None),
        found => found,
    }
}

fn owner(lease: &Lease) -> OwnerReference {
    OwnerReference {
        api_version: Lease::api_version(&()).into_owned(),
        kind: Lease::kind(&()).into_owned(),
        name: lease.name_any(),
        uid: lease.uid().unwrap_or_default(),
        ..OwnerReference::default()
    }
}
