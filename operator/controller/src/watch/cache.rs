//! What the cluster holds, as far as we need it, kept up to date by watches.
//!
//! Objects are read into facts when they arrive and then forgotten, so that a large cluster fits
//! into little memory and a snapshot is cheap. Our own writes are put in by hand, and older news
//! about an object never overwrites newer, so that the operator always sees what it has done.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Debug,
    sync::{Arc, RwLock, RwLockReadGuard},
};

use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tracing::{debug, warn};

/// The facts about all objects of a kind.
#[derive(Debug)]
pub struct Cache<F> {
    kind: &'static str,
    state: RwLock<State<F>>,
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct State<F> {
    entries: BTreeMap<Key, Entry<F>>,
    synced: bool,
}

/// Namespace (empty for cluster-scoped kinds) and name.
pub type Key = (String, String);

#[derive(Debug)]
struct Entry<F> {
    version: u64,
    facts: F,
}

/// How objects of a kind become facts; `None` for an object that need not be known.
pub type Read<K, F> = fn(K) -> Option<F>;

impl<F: PartialEq> Cache<F> {
    /// An empty cache that says by `changed` when facts change.
    pub fn new(kind: &'static str, changed: Arc<Notify>) -> Arc<Self> {
        let state = State { entries: BTreeMap::new(), synced: false };
        Arc::new(Self { kind, state: RwLock::new(state), changed })
    }

    /// Has the whole list been read at least once?
    pub fn synced(&self) -> bool {
        self.locked().synced
    }

    /// The name of the kind, for people.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What `pick` takes of the objects, in the order of namespace and name.
    pub fn collect<T, C: FromIterator<T>>(&self, mut pick: impl FnMut(&Key, &F) -> Option<T>) -> C {
        let state = self.locked();
        state.entries.iter().filter_map(|(key, entry)| pick(key, &entry.facts)).collect()
    }

    /// Is there an object of which `test` holds?
    pub fn any(&self, mut test: impl FnMut(&F) -> bool) -> bool {
        self.locked().entries.values().any(|entry| test(&entry.facts))
    }

    /// One object's facts.
    pub fn get<T>(&self, key: &Key, read: impl FnOnce(&F) -> T) -> Option<T> {
        self.locked().entries.get(key).map(|entry| read(&entry.facts))
    }

    /// Puts in an object that a write of ours returned.
    pub fn put<K: Resource>(&self, object: K, read: Read<K, F>) {
        if self.apply(object, read) {
            self.changed.notify_one();
        }
    }

    fn apply<K: Resource>(&self, object: K, read: Read<K, F>) -> bool {
        let (key, version) = (key(&object), version(&object));
        let Ok(mut state) = self.state.write() else {
            return false;
        };
        if state.entries.get(&key).is_some_and(|known| known.version > version) {
            return false;
        }
        match read(object) {
            Some(facts) => {
                let news = state.entries.get(&key).is_none_or(|known| known.facts != facts);
                state.entries.insert(key, Entry { version, facts });
                news
            }
            None => state.entries.remove(&key).is_some(),
        }
    }

    fn handle<K: Resource>(&self, event: Event<K>, listed: &mut HashSet<Key>, read: Read<K, F>) {
        let news = match event {
            Event::Init => {
                listed.clear();
                false
            }
            Event::InitApply(object) => {
                listed.insert(key(&object));
                self.apply(object, read)
            }
            Event::InitDone => self.drop_unlisted(listed),
            Event::Apply(object) => self.apply(object, read),
            Event::Delete(object) => {
                let removed =
                    self.state.write().map(|mut state| state.entries.remove(&key(&object)));
                removed.is_ok_and(|removed| removed.is_some())
            }
        };
        if news {
            self.changed.notify_one();
        }
    }

    /// The list is complete: what is not on it is gone.
    fn drop_unlisted(&self, listed: &HashSet<Key>) -> bool {
        let Ok(mut state) = self.state.write() else {
            return false;
        };
        state.entries.retain(|key, _| listed.contains(key));
        state.synced = true;
        debug!(kind = self.kind, objects = state.entries.len(), "cache synced");
        true
    }

    fn locked(&self) -> RwLockReadGuard<'_, State<F>> {
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn key<K: Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Resource versions of one kind grow and may be compared as numbers (KEP-5504).
fn version<K: Resource>(object: &K) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or(u64::MAX)
}

/// Watches a kind until the process ends. Interruptions are retried with growing pauses.
pub async fn follow<K, F>(
    api: Api<K>,
    config: watcher::Config,
    cache: Arc<Cache<F>>,
    read: Read<K, F>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    F: PartialEq + Send + Sync + 'static,
{
    let mut events = watcher::watcher(api, config.page_size(500)).default_backoff().boxed();
    let mut listed = HashSet::new();
    loop {
        match events.try_next().await {
            Ok(Some(event)) => cache.handle(event, &mut listed, read),
            Ok(None) => return,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(kind = cache.kind, error, "watch interrupted; it is retried");
            }
        }
    }
}
