//! Keeps the DaemonSets of the miners as the profiles say.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, ValidationDirective},
};
use switchyard_api::{MiningProfile, Mode, ProfileRef, keys};
use switchyard_core::survey::{PoolView, Survey};
use tokio::time::Instant;

use super::{
    Hands, log,
    miner_set::{MinerSet, MinersOf, miner_set},
};
use crate::{
    api::WriteError,
    watch::read::{self, DaemonSetRecord},
};

/// Miners that the API server refused, and what it said. They are tried again after a while, or at
/// once when the profile changes.
#[derive(Debug, Default)]
pub struct RefusedMiners(BTreeMap<(String, String), Refusal>);

#[derive(Debug)]
struct Refusal {
    profile: ProfileRef,
    hash: String,
    message: String,
    again: Instant,
}

const TRY_AGAIN_AFTER: Duration = Duration::from_secs(30);

impl RefusedMiners {
    /// What the API server said of a profile's miners.
    pub fn of(&self, profile: &ProfileRef) -> Option<&str> {
        let mut refusals = self.0.values().filter(|refusal| refusal.profile == *profile);
        refusals.next().map(|refusal| refusal.message.as_str())
    }

    fn waits(&self, set: &MinerSet) -> bool {
        let refusal = self.0.get(&(set.namespace.clone(), set.name.clone()));
        refusal.is_some_and(|one| one.hash == set.hash && Instant::now() < one.again)
    }
}

impl Hands {
    /// Makes, changes and deletes DaemonSets so that every profile has its miners on every pool.
    pub async fn keep_miners(&self, survey: &Survey<'_>, refused: &mut RefusedMiners) {
        let wanted = self.wanted(survey);
        let names: BTreeSet<(String, String)> =
            wanted.iter().map(|(_, set)| (set.namespace.clone(), set.name.clone())).collect();
        let found: Vec<DaemonSetRecord> =
            self.caches.daemon_sets.collect(|_, set| set.pool.is_some().then(|| set.clone()));
        let hashes: BTreeMap<_, _> = found
            .iter()
            .map(|record| (record.facts.full_name(), record.spec_hash.clone().unwrap_or_default()))
            .collect();
        refused.0.retain(|name, _| names.contains(name));
        for (profile, set) in wanted {
            let current = hashes.get(&format!("{}/{}", set.namespace, set.name));
            if current == Some(&set.hash) || refused.waits(&set) {
                continue;
            }
            let name = (set.namespace.clone(), set.name.clone());
            match self.apply(&set).await {
                Ok(()) => drop(refused.0.remove(&name)),
                Err(error) => {
                    log("daemonset", &set.name, &error);
                    let refusal = Refusal {
                        profile,
                        hash: set.hash,
                        message: said(&error),
                        again: Instant::now() + TRY_AGAIN_AFTER,
                    };
                    refused.0.insert(name, refusal);
                }
            }
        }
        for record in found.iter().filter(|record| is_surplus(record, &names, survey)) {
            self.delete(record).await;
        }
    }

    fn wanted(&self, survey: &Survey<'_>) -> Vec<(ProfileRef, MinerSet)> {
        let acting = survey
            .pools
            .iter()
            .filter(|pool| pool.facts.spec.shifting.mode != Mode::DryRun && !pool.facts.deleting);
        let class = &self.settings.miner_priority_class;
        acting
            .flat_map(|pool| {
                pool.facts.spec.mining.profiles.iter().flat_map(move |name| {
                    let key = (name.namespace.clone(), name.name.clone());
                    let profile: Option<MiningProfile> =
                        self.caches.profiles.get(&key, |profile| profile.good().cloned()).flatten();
                    let sizes = sizes(pool, name).into_iter().collect::<Vec<_>>();
                    profile.into_iter().flat_map(move |profile| {
                        sizes
                            .clone()
                            .into_iter()
                            .filter_map(|gpus| {
                                let nodes = MinersOf {
                                    pool: &pool.facts.name,
                                    resource: &pool.facts.spec.gpu.resource_name,
                                    gpus,
                                };
                                Some((name.clone(), miner_set(&profile, &nodes, class)?))
                            })
                            .collect::<Vec<_>>()
                    })
                })
            })
            .collect()
    }

    async fn apply(&self, set: &MinerSet) -> Result<(), WriteError> {
        let sets = Api::<DaemonSet>::namespaced(self.client.clone(), &set.namespace);
        // Strict: a misspelt field of the template is an error and not silently dropped.
        let params = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::apply(keys::MANAGER).force()
        };
        let patch = Patch::Apply(&set.manifest);
        let applied = self.write("daemonset", sets.patch(&set.name, &params, &patch)).await?;
        tracing::info!(daemon_set = set.name, namespace = set.namespace, "miners applied");
        self.caches.daemon_sets.put(applied, read::daemon_set);
        Ok(())
    }

    async fn delete(&self, record: &DaemonSetRecord) {
        let sets = Api::<DaemonSet>::namespaced(self.client.clone(), &record.facts.namespace);
        let params = DeleteParams::background();
        match self.write("daemonset", sets.delete(&record.facts.name, &params)).await {
            Ok(_) => tracing::info!(daemon_set = %record.facts.name, "miners removed"),
            Err(error) => log("daemonset", &record.facts.name, &error),
        }
    }
}

/// The numbers of GPUs that nodes of the pool have whose model the profile lists.
fn sizes(pool: &PoolView<'_>, profile: &ProfileRef) -> BTreeSet<u32> {
    let nodes = pool.nodes.iter().filter(|node| node.unusable.is_none());
    let able = nodes.filter(|node| {
        pool.class_of(node)
            .is_some_and(|class| class.profiles.iter().any(|one| *one.profile == *profile))
    });
    able.map(|node| node.gpus).collect()
}

/// A DaemonSet of ours that nothing asks for any more and that no node mines with.
fn is_surplus(
    record: &DaemonSetRecord,
    wanted: &BTreeSet<(String, String)>,
    survey: &Survey<'_>,
) -> bool {
    let Some(pool_name) = &record.pool else {
        return false;
    };
    let facts = &record.facts;
    if wanted.contains(&(facts.namespace.to_string(), facts.name.to_string()))
        || survey.snapshot.unreadable_pools.contains(pool_name.as_str())
    {
        return false;
    }
    let Some(pool) = survey.pools.iter().find(|pool| *pool.facts.name == **pool_name) else {
        return true;
    };
    let label = facts
        .profile
        .as_ref()
        .map(|profile| keys::profile_value(&profile.namespace, &profile.name));
    let in_use =
        pool.nodes.iter().any(|node| node.facts.marks.profile.as_deref() == label.as_deref());
    pool.facts.deleting || (pool.facts.spec.shifting.mode != Mode::DryRun && !in_use)
}

/// What the API server said, for people.
fn said(error: &WriteError) -> String {
    match error {
        WriteError::Refused(status) => status.message.clone(),
        other => other.to_string(),
    }
}
