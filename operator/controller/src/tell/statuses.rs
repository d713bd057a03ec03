//! Writes what is known into the status of our objects, where it has changed.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use switchyard_api::{
    ConditionType, Conditions, GPUPool, GPUPoolStatus, Judgement, LastDecision, MiningProfile,
    MiningProfileStatus, ProfileRef, Reason, Selector, Use, keys,
};
use switchyard_core::{
    plan::{Plan, PoolPlan, reason_counts},
    report::{Totals, judge},
    survey::{PoolView, Survey},
};
use tokio::time::Instant;

use crate::{
    act::{Hands, RefusedMiners},
    signals::Signals,
    watch::{
        Written,
        cache::Cache,
        caches::{guarded, written},
    },
};

/// Numbers change all the time while nodes move; they are written this often at most. Conditions are
/// written at once.
const NUMBERS_EVERY: Duration = Duration::from_secs(1);

/// What was written when, as far as it matters for what is written next.
#[derive(Debug, Default)]
pub struct Said {
    numbers: HashMap<String, Instant>,
    unreadable: HashMap<String, String>,
}

impl Said {
    fn may_write_numbers(&mut self, object: &str) -> bool {
        let now = Instant::now();
        let last = self.numbers.get(object);
        let may = last.is_none_or(|last| now.duration_since(*last) >= NUMBERS_EVERY);
        if may {
            self.numbers.insert(object.to_owned(), now);
        }
        may
    }
}

/// A status that an object is to have.
struct Change<'s, S> {
    old: &'s [Condition],
    new: &'s [Condition],
    status: &'s S,
}

impl Hands {
    /// Writes the status of every pool.
    pub async fn tell_pools(
        &self,
        survey: &Survey<'_>,
        totals: &[Totals],
        plan: &Plan,
        said: &mut Said,
    ) {
        for ((view, totals), plan) in survey.pools.iter().zip(totals).zip(&plan.pools) {
            let key = (String::new(), view.facts.name.to_string());
            let pool = self.caches.pools.get(&key, |pool| pool.good().cloned()).flatten();
            let Some(pool) = pool else { continue };
            let old = pool.status.clone().unwrap_or_default();
            let status = pool_status(survey, view, totals, plan, &pool, &old);
            let same_conditions = status.conditions == old.conditions;
            if status == old || (same_conditions && !said.may_write_numbers(&view.facts.name)) {
                continue;
            }
            let change = Change { old: &old.conditions, new: &status.conditions, status: &status };
            let api = Api::all(self.client.clone());
            self.write_status("gpupool", &api, &self.caches.pools, &pool, change).await;
        }
    }

    /// Writes the status of every profile.
    pub async fn tell_profiles(&self, survey: &Survey<'_>, refused: &RefusedMiners) {
        for profile in good(&self.caches.profiles) {
            let old = profile.status.clone().unwrap_or_default();
            let status = profile_status(survey, &profile, &old, refused);
            if status == old {
                continue;
            }
            let change = Change { old: &old.conditions, new: &status.conditions, status: &status };
            let namespace = profile.namespace().unwrap_or_default();
            let api = Api::namespaced(self.client.clone(), &namespace);
            self.write_status("miningprofile", &api, &self.caches.profiles, &profile, change).await;
        }
    }

    /// Writes the status of every signal: when it changed, and else once per half of its `maxAge`, so
    /// that a value outlives a restart.
    pub async fn tell_signals(&self, signals: &Signals, now: Timestamp) {
        for signal in good(&self.caches.signals) {
            let Some(status) = signals.status(&signal, now) else {
                continue;
            };
            let old = signal.status.clone().unwrap_or_default();
            let mut same = status.clone();
            same.time = old.time;
            let refresh_after = signal.spec.max_age.signed() / 2;
            let aged = status
                .time
                .zip(old.time)
                .is_none_or(|(new, old)| new.duration_since(old) >= refresh_after);
            if same == old && !aged {
                continue;
            }
            let change = Change { old: &old.conditions, new: &status.conditions, status: &status };
            let api = Api::all(self.client.clone());
            self.write_status("profitabilitysignal", &api, &self.caches.signals, &signal, change)
                .await;
        }
    }

    async fn write_status<K, S>(
        &self,
        label: &'static str,
        api: &Api<K>,
        cache: &Cache<Written<K>>,
        object: &K,
        change: Change<'_, S>,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + PartialEq,
        S: Serialize,
    {
        let patch = Patch::Merge(json!({"status": change.status}));
        let name = object.name_any();
        match self.write(label, api.patch_status(&name, &PatchParams::default(), &patch)).await {
            Ok(written_object) => {
                self.announcer.conditions_changed(&object.object_ref(&()), change.old, change.new);
                cache.put(guarded(written_object), written);
            }
            Err(error) => crate::act::log(label, &name, &error),
        }
    }

    /// Tells pools, profiles and signals that cannot be read that they cannot, each once.
    pub async fn tell_unreadable(&self, said: &mut Said, now: Timestamp) {
        let selector_of = |pool: &GPUPool| {
            let error = Selector::parse(&pool.spec.node_selector).err()?;
            Some(format!("spec.nodeSelector: {error}"))
        };
        let pod_selector_of = |profile: &MiningProfile| {
            let error = Selector::parse(profile.spec.pod_selector.as_ref()?).err()?;
            Some(format!("spec.podSelector: {error}"))
        };
        let ready = ConditionType::Ready;
        self.tell_bad("gpupool", &self.caches.pools, ready, selector_of, said, now).await;
        self.tell_bad("miningprofile", &self.caches.profiles, ready, pod_selector_of, said, now)
            .await;
        let trusted = ConditionType::Trusted;
        self.tell_bad("profitabilitysignal", &self.caches.signals, trusted, |_| None, said, now)
            .await;
    }

    async fn tell_bad<K>(
        &self,
        label: &'static str,
        cache: &Cache<Written<K>>,
        kind: ConditionType,
        fault: impl Fn(&K) -> Option<String>,
        said: &mut Said,
        now: Timestamp,
    ) where
        K: Resource<DynamicType = ()> + PartialEq,
    {
        let bad: Vec<(ObjectMeta, String)> = cache.collect(|_, object| match object {
            Written::Good(object) => Some((object.meta().clone(), fault(object)?)),
            Written::Bad { metadata, error } => Some((*metadata.clone(), error.clone())),
        });
        for (metadata, error) in bad {
            let uid = metadata.uid.clone().unwrap_or_default();
            if said.unreadable.get(&uid) == Some(&error) {
                continue;
            }
            said.unreadable.insert(uid, error.clone());
            let message = format!("the object cannot be used as it is: {error}");
            let judgement = Judgement::fails(kind, Reason::InvalidSpec, message);
            let generation = metadata.generation.unwrap_or(0);
            let conditions = [].as_slice().judged(&[judgement], generation, now);
            let resource = ApiResource::erase::<K>(&());
            let name = metadata.name.clone().unwrap_or_default();
            let api: Api<DynamicObject> = match &metadata.namespace {
                Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
                None => Api::all_with(self.client.clone(), &resource),
            };
            let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
            match self.write(label, api.patch_status(&name, &PatchParams::default(), &patch)).await
            {
                Ok(object) => {
                    let about = object.object_ref(&resource);
                    self.announcer.conditions_changed(&about, &[], &conditions);
                }
                Err(error) => crate::act::log(label, &name, &error),
            }
        }
    }
}

fn good<K: Clone + PartialEq>(cache: &Cache<Written<K>>) -> Vec<K> {
    cache.collect(|_, object| object.good().cloned())
}

fn pool_status(
    survey: &Survey<'_>,
    view: &PoolView<'_>,
    totals: &Totals,
    plan: &PoolPlan,
    pool: &GPUPool,
    old: &GPUPoolStatus,
) -> GPUPoolStatus {
    let now = survey.snapshot.now;
    let generation = pool.metadata.generation.unwrap_or(0);
    let judgements = judge(survey, view, plan);
    let moves = plan.decisions.iter().filter(|decision| decision.moves()).count();
    let mut decision = LastDecision {
        time: now,
        moves: u32::try_from(moves).unwrap_or(u32::MAX),
        reasons: reason_counts(&plan.decisions),
    };
    if let Some(last) = &old.last_decision {
        let time = std::mem::replace(&mut decision.time, last.time);
        if decision != *last {
            decision.time = time;
        }
    }
    GPUPoolStatus {
        observed_generation: generation,
        conditions: old.conditions.judged(&judgements, generation, now),
        nodes: totals.nodes,
        believed_size: if view.half_empty() { old.believed_size } else { totals.nodes.total },
        gpus: totals.gpus,
        classes: totals.classes.clone(),
        value: totals.value.clone(),
        allowed_disruptions: u32::try_from(plan.allowed_disruptions).unwrap_or(u32::MAX),
        switches: survey.snapshot.experience.learned(&view.facts.name),
        breaker: view.breaker.clone(),
        last_decision: Some(decision),
    }
}

fn profile_status(
    survey: &Survey<'_>,
    profile: &MiningProfile,
    old: &MiningProfileStatus,
    refused: &RefusedMiners,
) -> MiningProfileStatus {
    let name =
        ProfileRef { namespace: profile.namespace().unwrap_or_default(), name: profile.name_any() };
    let generation = profile.metadata.generation.unwrap_or(0);
    let used = survey.pools.iter().any(|pool| pool.facts.spec.mining.profiles.contains(&name));
    let kind = ConditionType::Ready;
    let judgement = match refused.of(&name) {
        Some(message) if message.contains(keys::MINERS) => {
            let message = format!(
                "metadata.namespace: {namespace} is not open to miners: `kubectl label namespace \
                 {namespace} {}={}`, if those who may write MiningProfiles there may run pods there",
                keys::MINERS,
                keys::MINERS_ALLOWED,
                namespace = name.namespace,
            );
            Judgement::fails(kind, Reason::NamespaceClosed, message)
        }
        Some(message) => {
            let message = format!("spec.template: the API server refuses the DaemonSet: {message}");
            Judgement::fails(kind, Reason::MinersRefused, message)
        }
        None if used => Judgement::holds(kind, Reason::MinersAccepted, "its miners are in place"),
        None => Judgement {
            holds: None,
            ..Judgement::fails(kind, Reason::Unused, "no GPUPool names it in spec.mining.profiles")
        },
    };
    let label = keys::profile_value(&name.namespace, &name.name);
    let nodes = survey.pools.iter().flat_map(|pool| &pool.nodes);
    let mining: Vec<_> = nodes
        .filter(|node| node.node_use == Use::Mining)
        .filter(|node| node.facts.marks.profile.as_deref() == Some(&label))
        .collect();
    let running = mining.iter().flat_map(|node| &node.miners).filter(|miner| miner.pod.running);
    MiningProfileStatus {
        observed_generation: generation,
        conditions: old.conditions.judged(&[judgement], generation, survey.snapshot.now),
        nodes: u32::try_from(mining.len()).unwrap_or(u32::MAX),
        running_miners: u32::try_from(running.count()).unwrap_or(u32::MAX),
    }
}
