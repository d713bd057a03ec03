//! The caches of every kind that we look at.

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    batch::v1::Job,
    core::v1::{ConfigMap, Node, Pod},
};
use kube::{
    Api, Client, Resource,
    api::ObjectMeta,
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::watcher,
};
use serde::de::DeserializeOwned;
use switchyard_api::{GPUPool, MiningProfile, NodeShift, ProfitabilitySignal, keys};
use switchyard_core::{people::Hold, snapshot::PodFacts};
use tokio::{sync::Notify, task::JoinSet};

use super::{
    cache::{Cache, Read, follow},
    read::{self, DaemonSetRecord, GangJob, NodeRecord},
};

/// An object of one of our kinds as people wrote it: it may be unreadable in spite of its schema, for
/// instance when another version of Switchyard wrote it.
#[derive(Debug, Clone, PartialEq)]
pub enum Written<K> {
    /// It can be read.
    Good(Box<K>),
    /// It cannot.
    Bad {
        /// Whose it is.
        metadata: Box<ObjectMeta>,
        /// Why.
        error: String,
    },
}

impl<K> Written<K> {
    /// The object, if it can be read.
    pub fn good(&self) -> Option<&K> {
        match self {
            Self::Good(object) => Some(object),
            Self::Bad { .. } => None,
        }
    }
}

/// Everything that we look at.
#[derive(Debug, Clone)]
pub struct Caches {
    /// All nodes.
    pub nodes: Arc<Cache<NodeRecord>>,
    /// All pods that are not finished.
    pub pods: Arc<Cache<PodFacts>>,
    /// Jobs that are gangs.
    pub gangs: Arc<Cache<GangJob>>,
    /// All DaemonSets.
    pub daemon_sets: Arc<Cache<DaemonSetRecord>>,
    /// All pools.
    pub pools: Arc<Cache<Written<GPUPool>>>,
    /// All profiles.
    pub profiles: Arc<Cache<Written<MiningProfile>>>,
    /// All signals.
    pub signals: Arc<Cache<Written<ProfitabilitySignal>>>,
    /// All shifts.
    pub shifts: Arc<Cache<Written<NodeShift>>>,
    /// The hold, while there is one.
    pub holds: Arc<Cache<Hold>>,
    /// Says when facts changed.
    pub changed: Arc<Notify>,
}

impl Caches {
    /// Starts to watch; the hold in the operator's namespace.
    pub fn start(client: &Client, namespace: &str, tasks: &mut JoinSet<()>) -> Self {
        let changed = Arc::new(Notify::new());
        let holds = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let mut watch = Watches { client, tasks, changed: changed.clone() };
        Self {
            nodes: watch.follow::<Node, _>("Node", read::node),
            pods: watch.follow::<Pod, _>("Pod", read::pod),
            gangs: watch.follow::<Job, _>("Job", read::job),
            daemon_sets: watch.follow::<DaemonSet, _>("DaemonSet", read::daemon_set),
            pools: watch.follow("GPUPool", written::<GPUPool>),
            profiles: watch.follow("MiningProfile", written::<MiningProfile>),
            signals: watch.follow("ProfitabilitySignal", written::<ProfitabilitySignal>),
            shifts: watch.follow("NodeShift", written::<NodeShift>),
            holds: watch.follow_one("ConfigMap", holds, keys::HOLD, read::hold),
            changed,
        }
    }

    /// Caches that no watch fills.
    pub fn unwatched() -> Self {
        let changed = Arc::new(Notify::new());
        Self {
            nodes: Cache::new("Node", changed.clone()),
            pods: Cache::new("Pod", changed.clone()),
            gangs: Cache::new("Job", changed.clone()),
            daemon_sets: Cache::new("DaemonSet", changed.clone()),
            pools: Cache::new("GPUPool", changed.clone()),
            profiles: Cache::new("MiningProfile", changed.clone()),
            signals: Cache::new("ProfitabilitySignal", changed.clone()),
            shifts: Cache::new("NodeShift", changed.clone()),
            holds: Cache::new("ConfigMap", changed.clone()),
            changed,
        }
    }

    /// The kinds whose list has not been read yet. Nothing is decided before there is none.
    pub fn unsynced(&self) -> Vec<&'static str> {
        let kinds = [
            (self.nodes.synced(), self.nodes.kind()),
            (self.pods.synced(), self.pods.kind()),
            (self.gangs.synced(), self.gangs.kind()),
            (self.daemon_sets.synced(), self.daemon_sets.kind()),
            (self.pools.synced(), self.pools.kind()),
            (self.profiles.synced(), self.profiles.kind()),
            (self.signals.synced(), self.signals.kind()),
            (self.shifts.synced(), self.shifts.kind()),
            (self.holds.synced(), self.holds.kind()),
        ];
        kinds.into_iter().filter(|(synced, _)| !synced).map(|(_, kind)| kind).collect()
    }
}

struct Watches<'c> {
    client: &'c Client,
    tasks: &'c mut JoinSet<()>,
    changed: Arc<Notify>,
}

impl Watches<'_> {
    fn follow<K, F>(&mut self, kind: &'static str, read: Read<K, F>) -> Arc<Cache<F>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        F: PartialEq + Send + Sync + 'static,
    {
        let all = Api::<K>::all(self.client.clone());
        self.follow_some(kind, all, watcher::Config::default(), read)
    }

    /// The one object of a name, which is all that RBAC may let us see.
    fn follow_one<K, F>(
        &mut self,
        kind: &'static str,
        api: Api<K>,
        name: &str,
        read: Read<K, F>,
    ) -> Arc<Cache<F>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        F: PartialEq + Send + Sync + 'static,
    {
        let named = watcher::Config::default().fields(&format!("metadata.name={name}"));
        self.follow_some(kind, api, named, read)
    }

    fn follow_some<K, F>(
        &mut self,
        kind: &'static str,
        api: Api<K>,
        config: watcher::Config,
        read: Read<K, F>,
    ) -> Arc<Cache<F>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        F: PartialEq + Send + Sync + 'static,
    {
        let cache = Cache::new(kind, self.changed.clone());
        self.tasks.spawn(follow(api, config, cache.clone(), read));
        cache
    }
}

/// Reads an object of ours, without what only fills memory.
#[allow(clippy::unnecessary_wraps)] // as the caches read every kind
pub fn written<K: Resource>(object: DeserializeGuard<K>) -> Option<Written<K>> {
    Some(match object.0 {
        Ok(mut object) => {
            object.meta_mut().managed_fields = None;
            Written::Good(Box::new(object))
        }
        Err(InvalidObject { metadata, error }) => {
            Written::Bad { metadata: Box::new(metadata), error }
        }
    })
}

/// An object as a watch would have brought it.
pub fn guarded<K: Resource>(object: K) -> DeserializeGuard<K> {
    DeserializeGuard(Ok(object))
}
