//! The way out: takes everything of ours off a cluster, with or without an operator. Pods run on.
//!
//! Miners first: a DaemonSet stops its pods when the label goes that they were put there by, so it is
//! deleted before, and its pods are left behind. Then orders, marks on nodes, and the finalizers of
//! pools. It looks again until nothing is left.

mod lead;

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet},
    core::v1::Node,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use switchyard_api::{GPUPool, NodeShift, Reason, keys};
use switchyard_core::{snapshot::Marks, writes::NodeWrite};

pub use self::lead::{Lead, lead, take_over};
use crate::{
    act::node_patch,
    api::{WriteError, write},
    watch::read::{self, NodeRecord},
};

/// Requests at the same time.
const AT_ONCE: usize = 16;
/// Objects of one answer.
const PAGE: u32 = 500;
/// What comes back so often does not go by itself.
const ROUNDS: usize = 30;
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to be released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything of ours.
    All,
    /// What belongs to a pool.
    Pool(String),
}

impl Scope {
    fn covers(&self, pool: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Pool(name) => pool == Some(name),
        }
    }
}

/// What was released.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Released {
    /// DaemonSets of miners whose pods were left behind.
    pub miners: usize,
    /// Orders that were deleted.
    pub shifts: usize,
    /// Nodes that were given back.
    pub nodes: usize,
    /// Pools that lost our finalizer.
    pub pools: usize,
}

/// Not everything could be released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The API server could not be asked.
    #[error("cannot list {what}")]
    List {
        /// What was to be listed.
        what: &'static str,
        /// Why it was not.
        #[source]
        source: WriteError,
    },
    /// Something is still there.
    #[error(
        "{left} are still there: {names}. Does an operator run that puts them back, or does somebody refuse \
         the writes? The last answer was: {last}"
    )]
    Left {
        /// How many.
        left: usize,
        /// The first of them.
        names: String,
        /// What the API server said last.
        last: String,
    },
}

/// Releases what the scope covers; `say` is told how far it is.
pub async fn release(
    client: &Client,
    scope: &Scope,
    say: impl Fn(&str) + Sync,
) -> Result<Released, ReleaseError> {
    let mut released = Released::default();
    let mut last = Round::default();
    for _ in 0..ROUNDS {
        let round = Round::of(client, scope).await?;
        released.count(&round);
        if round.left.is_empty() {
            say(&format!(
                "nothing is left: {} nodes given back, {} orders and {} DaemonSets of miners \
                 deleted, {} pools let go; pods run on",
                released.nodes, released.shifts, released.miners, released.pools
            ));
            return Ok(released);
        }
        say(&round.progress());
        last = round;
        tokio::time::sleep(PAUSE).await;
    }
    let names: Vec<&str> = last.left.iter().map(String::as_str).take(5).collect();
    Err(ReleaseError::Left {
        left: last.left.len(),
        names: names.join(", "),
        last: last.errors.into_iter().next_back().unwrap_or_else(|| "none".into()),
    })
}

impl Released {
    fn count(&mut self, round: &Round) {
        self.miners += round.miners;
        self.shifts += round.shifts;
        self.nodes += round.nodes;
        self.pools += round.pools;
    }
}

/// One look at everything, and what was done about it.
#[derive(Debug, Default)]
struct Round {
    miners: usize,
    shifts: usize,
    nodes: usize,
    pools: usize,
    /// What was found.
    left: BTreeSet<String>,
    errors: Vec<String>,
}

impl Round {
    async fn of(client: &Client, scope: &Scope) -> Result<Self, ReleaseError> {
        let mut round = Self::default();
        round.miners(client, scope).await?;
        // A node that is unmarked while they are there would lose its miner.
        if round.left.is_empty() {
            round.shifts(client, scope).await?;
            round.nodes(client, scope).await?;
            round.pools(client, scope).await?;
        }
        Ok(round)
    }

    fn progress(&self) -> String {
        let kinds = [
            (self.miners, "DaemonSets of miners"),
            (self.shifts, "orders"),
            (self.nodes, "nodes"),
            (self.pools, "pools"),
        ];
        let done: Vec<_> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, kind)| format!("{count} {kind}"))
            .collect();
        let done = if done.is_empty() { "nothing".to_owned() } else { done.join(", ") };
        let refused = self.errors.last().map(|error| format!("; refused: {error}"));
        format!("{} found, released {done}{}", self.left.len(), refused.unwrap_or_default())
    }

    /// Deletes the DaemonSets of the miners, and what is left of them; but not their pods.
    async fn miners(&mut self, client: &Client, scope: &Scope) -> Result<(), ReleaseError> {
        let ours = format!("{}={}", keys::MANAGED_BY, keys::MANAGER);
        let sets: Vec<DaemonSet> = list(client, "DaemonSets", &ours).await?;
        let of_miners = sets.into_iter().filter(|set| {
            let record = read::daemon_set(set.clone());
            record.and_then(|set| set.pool).is_some_and(|pool| scope.covers(Some(&pool)))
        });
        let of_miners: Vec<_> = of_miners.collect();
        let orphan = DeleteParams::orphan();
        self.miners += self.delete(client, &of_miners, &orphan).await;

        let revisions: Vec<ControllerRevision> = list(client, "ControllerRevisions", &ours).await?;
        let left_behind = revisions.into_iter().filter(|revision| {
            let pool = revision.labels().get(keys::POOL).map(String::as_str);
            revision.owner_references().is_empty() && scope.covers(pool)
        });
        let left_behind: Vec<_> = left_behind.collect();
        self.delete(client, &left_behind, &DeleteParams::default()).await;
        Ok(())
    }

    async fn shifts(&mut self, client: &Client, scope: &Scope) -> Result<(), ReleaseError> {
        let shifts: Vec<NodeShift> = list(client, "NodeShifts", "").await?;
        let covered = shifts.into_iter().filter(|shift| scope.covers(Some(&shift.spec.pool)));
        let covered: Vec<_> = covered.collect();
        self.shifts += self.delete(client, &covered, &DeleteParams::default()).await;
        Ok(())
    }

    async fn nodes(&mut self, client: &Client, scope: &Scope) -> Result<(), ReleaseError> {
        let nodes: Vec<Node> = list(client, "nodes", "").await?;
        let api = Api::<Node>::all(client.clone());
        let marked: Vec<_> = nodes
            .into_iter()
            .filter(|node| scope.covers(node.labels().get(keys::POOL).map(String::as_str)))
            .filter_map(read::node)
            .filter_map(|found| Some((found.facts.name.to_string(), unmark(&found)?)))
            .collect();
        let patches = marked.into_iter().map(|(name, patch)| {
            let api = api.clone();
            async move {
                let params = PatchParams::default();
                let patch = Patch::Json::<()>(patch);
                let patched = write(api.patch(&name, &params, &patch)).await;
                (format!("node {name}"), patched.map(drop))
            }
        });
        self.nodes += self.all(patches).await;
        Ok(())
    }

    async fn pools(&mut self, client: &Client, scope: &Scope) -> Result<(), ReleaseError> {
        let kind = ApiResource::erase::<GPUPool>(&());
        let pools = Api::<DynamicObject>::all_with(client.clone(), &kind);
        let found = match write(pools.list(&ListParams::default())).await {
            Ok(found) => found.items,
            Err(error) if error.code() == Some(404) => Vec::new(),
            Err(source) => return Err(ReleaseError::List { what: "GPUPools", source }),
        };
        let held = found.into_iter().filter(|pool| {
            let ours = pool.finalizers().iter().any(|one| one == keys::POOL_FINALIZER);
            ours && scope.covers(Some(&pool.name_any()))
        });
        let patches = held.map(|pool| {
            let pools = pools.clone();
            async move {
                let theirs = pool.finalizers().iter().filter(|one| *one != keys::POOL_FINALIZER);
                let patch = Patch::Merge(json!({"metadata": {
                    "resourceVersion": pool.resource_version(),
                    "finalizers": theirs.collect::<Vec<_>>(),
                }}));
                let name = pool.name_any();
                let patched = write(pools.patch(&name, &PatchParams::default(), &patch)).await;
                (format!("gpupool {name}"), patched.map(drop))
            }
        });
        self.pools += self.all(patches.collect::<Vec<_>>()).await;
        Ok(())
    }

    async fn delete<K>(&mut self, client: &Client, objects: &[K], params: &DeleteParams) -> usize
    where
        K: Resource<DynamicType = ()> + Clone,
    {
        let kind = ApiResource::erase::<K>(&());
        let (going, there): (Vec<&K>, Vec<&K>) =
            objects.iter().partition(|object| object.meta().deletion_timestamp.is_some());
        self.left.extend(going.into_iter().map(title));
        let deletes = there.into_iter().map(|object| {
            let namespace = object.namespace();
            let api: Api<DynamicObject> = match &namespace {
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
                None => Api::all_with(client.clone(), &kind),
            };
            let (name, title) = (object.name_any(), title(object));
            async move { (title, write(api.delete(&name, params)).await.map(drop)) }
        });
        self.all(deletes.collect::<Vec<_>>()).await
    }

    /// Makes all requests. What they are about counts as left until it is not found any more.
    async fn all<F>(&mut self, requests: impl IntoIterator<Item = F>) -> usize
    where
        F: Future<Output = (String, Result<(), WriteError>)>,
    {
        let mut answers = stream::iter(requests).buffer_unordered(AT_ONCE);
        let mut done = 0;
        while let Some((about, answer)) = answers.next().await {
            match answer {
                Ok(()) => done += 1,
                // Gone, or changed meanwhile: the next look will tell.
                Err(error) if matches!(error.code(), Some(404 | 409 | 422)) => {}
                Err(error) => self.errors.push(format!("{about}: {}", said(&error))),
            }
            self.left.insert(about);
        }
        done
    }
}

fn title<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{} {}", K::kind(&()).to_lowercase(), object.name_any())
}

/// The patch that takes our marks off a node; none, if it carries none.
fn unmark(found: &NodeRecord) -> Option<json_patch::Patch> {
    let write = NodeWrite {
        node: found.facts.name.clone(),
        uid: found.facts.uid.clone(),
        found_claim: found.annotations.get(keys::SHIFT).map(|claim| claim.as_str().into()),
        marks: Marks::default(),
        why: Reason::Deleting,
    };
    let operations = node_patch::operations(found, &write);
    if operations.is_empty() {
        return None;
    }
    serde_json::from_value(Value::Array(operations)).ok()
}

/// Every object of a kind with some labels, page by page. A kind that is not known here has none.
async fn list<K>(client: &Client, what: &'static str, labels: &str) -> Result<Vec<K>, ReleaseError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api = Api::<K>::all(client.clone());
    let mut params = ListParams::default().labels(labels).limit(PAGE);
    let mut all = Vec::new();
    loop {
        match write(api.list(&params)).await {
            Ok(page) => {
                params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
                all.extend(page.items);
            }
            Err(error) if error.code() == Some(404) => return Ok(all),
            Err(source) => return Err(ReleaseError::List { what, source }),
        }
        if params.continue_token.is_none() {
            return Ok(all);
        }
    }
}

fn said(error: &WriteError) -> String {
    match error {
        WriteError::Refused(status) => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(node: &Value) -> Value {
        let record = read::node(serde_json::from_value(node.clone()).unwrap()).unwrap();
        let mut patched = node.clone();
        if let Some(patch) = unmark(&record) {
            // The API server takes a missing member for null in a test; the library does not.
            let kept = patch.0.into_iter().filter(|one| match one {
                json_patch::PatchOperation::Test(test) => !test.value.is_null(),
                _ => true,
            });
            json_patch::patch(&mut patched, &kept.collect::<Vec<_>>()).unwrap();
        }
        patched
    }

    #[test]
    fn marks_go_even_those_that_nobody_can_read_and_others_stay() {
        let theirs = json!({
            "metadata": {
                "name": "n1", "uid": "u1",
                "labels": {"zone": "a"}, "annotations": {keys::SKIP: "true"},
            },
            "spec": {"taints": [{"key": "theirs", "effect": "NoSchedule"}]},
        });
        assert_eq!(patched(&theirs), theirs);
        let mut marked = theirs.clone();
        for (key, value) in [(keys::USE, "gaming"), (keys::POOL, "texas"), (keys::GPUS, "many")] {
            marked["metadata"]["labels"][key] = json!(value);
        }
        marked["metadata"]["annotations"][keys::SHIFT] = json!("texas-mining-hpc-1");
        marked["metadata"]["annotations"][keys::USE_SINCE] = json!("yesterday");
        let taint = json!({"key": keys::TAINT, "effect": keys::TAINT_EFFECT, "value": "gaming"});
        marked["spec"]["taints"].as_array_mut().unwrap().push(taint);
        assert_eq!(patched(&marked), theirs);
    }
}
