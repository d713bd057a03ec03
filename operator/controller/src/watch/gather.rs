//! Takes the snapshot: everything that the caches and the signals know, at one moment.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use switchyard_api::{GPUPool, NodeShift, Period, ProfileRef, Selector, keys};
use switchyard_core::{
    breaker,
    observer::Observer,
    snapshot::{NodeFacts, PodFacts, PoolFacts, ProfileFacts, ShiftFacts, Snapshot},
    survey::Survey,
};

use super::{Caches, Written, cache::Cache};
use crate::signals::Signals;

/// What only watching over time can tell.
#[derive(Debug, Default)]
pub struct Memory {
    /// Since when each node, by UID, has been seen without a customer's GPU pod. After a restart the
    /// time begins anew, so a node is at worst taken back a little later.
    empty_since: HashMap<Arc<str>, Timestamp>,
    /// What was learned of prices, switches and jobs.
    pub observer: Observer,
}

impl Memory {
    /// Takes note of which nodes have jobs.
    pub fn learn(&mut self, survey: &Survey<'_>) {
        let nodes = || survey.pools.iter().flat_map(|pool| &pool.nodes);
        let empty: HashSet<&Arc<str>> =
            nodes().filter(|node| node.jobs.is_empty()).map(|node| &node.facts.uid).collect();
        self.empty_since.retain(|uid, _| empty.contains(uid));
        for uid in empty {
            self.empty_since.entry(uid.clone()).or_insert(survey.snapshot.now);
        }
        self.observer.look(survey);
    }
}

/// Takes the snapshot.
pub fn snapshot(caches: &Caches, signals: &Signals, memory: &Memory, now: Timestamp) -> Snapshot {
    let (pools, unreadable_pools) = pools(&caches.pools);
    let nodes = nodes(caches, &pools, memory);
    let (shifts, history) = shifts(caches, &pools, now);
    Snapshot {
        now,
        pods: pods(caches, &pools, &nodes),
        nodes,
        pools,
        unreadable_pools,
        profiles: profiles(caches),
        signals: signals.readings(caches, now),
        shifts,
        history,
        hold: caches.holds.collect::<_, Vec<_>>(|_, hold| Some(hold.clone())).pop(),
        daemon_sets: caches.daemon_sets.collect(|_, record| Some(record.facts.clone())),
        forecasts: signals.forecasts(),
        experience: memory.observer.experience(),
    }
}

/// The pools, and the names of those that cannot be read.
fn pools(cache: &Cache<Written<GPUPool>>) -> (Vec<PoolFacts>, BTreeSet<Arc<str>>) {
    let read: Vec<(Arc<str>, Option<PoolFacts>)> = cache
        .collect(|(_, name), pool| Some((name.as_str().into(), pool.good().and_then(pool_facts))));
    let unreadable = read.iter().filter(|(_, facts)| facts.is_none());
    let unreadable = unreadable.map(|(name, _)| name.clone()).collect();
    (read.into_iter().filter_map(|(_, facts)| facts).collect(), unreadable)
}

fn pool_facts(pool: &GPUPool) -> Option<PoolFacts> {
    let annotations = pool.metadata.annotations.as_ref();
    Some(PoolFacts {
        name: pool.metadata.name.as_deref()?.into(),
        selector: Selector::parse(&pool.spec.node_selector).ok()?,
        spec: Arc::new(pool.spec.clone()),
        deleting: pool.metadata.deletion_timestamp.is_some(),
        learned: pool.status.as_ref().map_or_else(Vec::new, |status| status.switches.clone()),
        believed_size: pool.status.as_ref().map_or(0, |status| status.believed_size),
        confirmed_size: annotations
            .and_then(|annotations| annotations.get(keys::CONFIRM_SIZE)?.parse().ok()),
        breaker: pool.status.as_ref().map(|status| status.breaker.clone()).unwrap_or_default(),
        reset_breaker: annotations
            .and_then(|annotations| Some(annotations.get(keys::RESET_BREAKER)?.as_str().into())),
    })
}

fn nodes(caches: &Caches, pools: &[PoolFacts], memory: &Memory) -> Vec<NodeFacts> {
    caches.nodes.collect(|_, record| {
        let node = &record.facts;
        let ours = || pools.iter().any(|pool| pool.selector.matches(|key| node.labels.get(key)));
        (node.marks.any() || ours()).then(|| NodeFacts {
            empty_since: memory.empty_since.get(&node.uid).copied(),
            ..node.clone()
        })
    })
}

/// Pods on the nodes, and GPU pods that wait.
fn pods(caches: &Caches, pools: &[PoolFacts], nodes: &[NodeFacts]) -> Vec<PodFacts> {
    let names: HashSet<&str> = nodes.iter().map(|node| &*node.name).collect();
    let resources: BTreeSet<&str> =
        pools.iter().map(|pool| pool.spec.gpu.resource_name.as_str()).collect();
    let gangs: HashMap<Arc<str>, u32> =
        caches.gangs.collect(|_, gang| Some((gang.uid.clone(), gang.size)));
    caches.pods.collect(|_, pod| {
        let matters = match &pod.node {
            Some(node) => names.contains(&**node),
            None => resources.iter().any(|resource| pod.requests.extended(resource) > 0),
        };
        matters.then(|| {
            let mut pod = pod.clone();
            if let Some(size) = pod.owner.as_ref().and_then(|owner| gangs.get(owner)) {
                pod.work.size = *size;
            }
            pod
        })
    })
}

fn profiles(caches: &Caches) -> BTreeMap<ProfileRef, ProfileFacts> {
    caches.profiles.collect(|(namespace, name), profile| {
        let spec = &profile.good()?.spec;
        let pod_selector = match &spec.pod_selector {
            Some(selector) => Some(Selector::parse(selector).ok()?),
            None => None,
        };
        let profile = ProfileRef { namespace: namespace.clone(), name: name.clone() };
        Some((profile, ProfileFacts { spec: Arc::new(spec.clone()), pod_selector }))
    })
}

/// The shifts that have not ended, and those that have and that a breaker looks at.
fn shifts(
    caches: &Caches,
    pools: &[PoolFacts],
    now: Timestamp,
) -> (Vec<ShiftFacts>, Vec<ShiftFacts>) {
    let withins: HashMap<&str, Period> =
        pools.iter().map(|pool| (&*pool.name, pool.spec.shifting.breaker.within)).collect();
    let matters = |shift: &NodeShift| {
        let within = withins.get(shift.spec.pool.as_str());
        !has_ended(shift) || within.is_some_and(|within| is_looked_at(shift, *within, now))
    };
    let facts: Vec<ShiftFacts> = caches.shifts.collect(|_, shift| {
        let shift = shift.good().filter(|shift| matters(shift))?;
        Some(ShiftFacts {
            name: shift.metadata.name.as_deref()?.into(),
            spec: Arc::new(shift.spec.clone()),
            created: shift.metadata.creation_timestamp.as_ref()?.0,
            status: shift.status.clone().unwrap_or_default(),
        })
    });
    facts.into_iter().partition(|shift| !shift.status.phase.is_final())
}

/// Does the breaker of its pool look at a shift that has ended?
pub fn is_looked_at(shift: &NodeShift, within: Period, now: Timestamp) -> bool {
    let finished = shift.status.as_ref().and_then(|status| status.finished);
    finished.is_some_and(|finished| breaker::looks_at(&shift.spec, finished, within, now))
}

/// Has every node of a shift come to rest?
pub fn has_ended(shift: &NodeShift) -> bool {
    shift.status.as_ref().is_some_and(|status| status.phase.is_final())
}
