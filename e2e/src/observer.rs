//! Checks the promises of the design from outside: it watches the API server and reads its audit log,
//! and never asks the operator.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use switchyard_api::{
    Cause, ConditionType, Conditions, GPUPool, NodeShift, ProfitabilitySignal, Use, keys,
};
use tokio::task::JoinSet;

use crate::{Cluster, MINING, RESEARCH};

/// The operator as the audit log names it.
const OPERATOR: &str = "system:serviceaccount:switchyard-system:switchyard";
/// What whole seconds, watches and clocks may add up to.
const SLACK: SignedDuration = SignedDuration::from_secs(2);

/// A promise, and whether it was kept.
#[derive(Debug, Clone, Serialize)]
pub struct Promise {
    /// Its name in the design: S1 to S9 for safety, L1 to L6 for liveness.
    pub id: &'static str,
    /// Was it kept?
    pub ok: bool,
    /// What was looked at, and what was found.
    pub evidence: String,
}

/// Watches everything that matters.
pub struct Observer {
    seen: Arc<Mutex<Seen>>,
    audit_log: PathBuf,
    client: Client,
    _watches: JoinSet<()>,
}

/// Everything that was seen.
#[derive(Debug, Default)]
struct Seen {
    nodes: BTreeMap<String, NodeSeen>,
    pods: BTreeMap<String, PodSeen>,
    shifts: BTreeMap<String, NodeShift>,
    pools: BTreeMap<String, GPUPool>,
    /// When each signal was first seen untrusted, and trusted again.
    untrusted: Vec<(String, Timestamp, Option<Timestamp>)>,
    signal_values: BTreeMap<String, Vec<f64>>,
    most_moving: usize,
    broken: Vec<(&'static str, String)>,
}

/// A node as it was found first, and since when it is in its use.
#[derive(Debug, Clone)]
struct NodeSeen {
    node_use: Option<Use>,
    since: Option<Timestamp>,
    before: Belongings,
    now: Belongings,
    marked: bool,
}

/// What of a node belongs to others.
#[derive(Debug, Clone, PartialEq)]
struct Belongings {
    labels: BTreeMap<String, String>,
    taints: Vec<Taint>,
    cordoned: bool,
}

/// A pod of a customer.
#[derive(Debug, Clone)]
struct PodSeen {
    name: String,
    created: Timestamp,
    started: Option<Timestamp>,
    finished: bool,
    gone: bool,
}

/// One line of the audit log, as far as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditLine {
    verb: String,
    user: AuditUser,
    object_ref: Option<AuditObject>,
    response_status: Option<AuditStatus>,
    stage_timestamp: Timestamp,
}

#[derive(Debug, Deserialize)]
struct AuditUser {
    username: String,
}

#[derive(Debug, Deserialize)]
struct AuditObject {
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct AuditStatus {
    #[serde(default)]
    code: u16,
}

/// A write of the operator, by the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// `create`, `patch`, …
    pub verb: String,
    /// `nodes`, `pods/eviction`, …
    pub resource: String,
    /// The namespace, if the resource has one.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The answer's status code.
    pub code: u16,
    /// When it was answered.
    pub time: Timestamp,
}

impl Observer {
    /// Starts to watch. The control plane must write an audit log.
    pub fn start(cluster: &Cluster) -> Result<Self> {
        let client = cluster.client.clone();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut watches = JoinSet::new();
        let mut watch = Watch { seen: &seen, watches: &mut watches };
        watch.kind(Api::<Node>::all(client.clone()), Seen::node);
        watch.kind(Api::<Pod>::namespaced(client.clone(), RESEARCH), Seen::pod);
        watch.kind(Api::<NodeShift>::all(client.clone()), Seen::shift);
        watch.kind(Api::<GPUPool>::all(client.clone()), Seen::pool);
        watch.kind(Api::<ProfitabilitySignal>::all(client.clone()), Seen::signal);
        let audit_log =
            cluster.plane.audit_log().context("the control plane writes no audit log")?;
        Ok(Self { seen, audit_log, client, _watches: watches })
    }

    /// How many nodes are in each use.
    pub fn uses(&self) -> BTreeMap<Use, usize> {
        let mut uses = BTreeMap::new();
        for node_use in self.locked().nodes.values().filter_map(|node| node.node_use) {
            *uses.entry(node_use).or_default() += 1;
        }
        uses
    }

    /// The use of each node.
    pub fn use_of_nodes(&self) -> BTreeMap<String, Use> {
        let seen = self.locked();
        let uses = seen.nodes.iter();
        uses.filter_map(|(name, node)| Some((name.clone(), node.node_use?))).collect()
    }

    /// Nodes whose move was completed, by direction, such as `Mining->HPC`.
    pub fn completed_moves(&self) -> BTreeMap<String, u32> {
        let mut moves = BTreeMap::new();
        for shift in self.locked().shifts.values() {
            let completed = shift.status.as_ref().map_or(0, |status| status.counts.completed);
            *moves.entry(format!("{}->{}", shift.spec.from, shift.spec.to)).or_default() +=
                completed;
        }
        moves.retain(|_, completed| *completed > 0);
        moves
    }

    /// Shifts that have not ended.
    pub fn running_shifts(&self) -> Vec<NodeShift> {
        self.locked().shifts.values().filter(|shift| !ended(shift)).cloned().collect()
    }

    /// Every shift that was ever seen.
    pub fn shifts(&self) -> Vec<NodeShift> {
        self.locked().shifts.values().cloned().collect()
    }

    /// The pools as they were seen last.
    pub fn pools(&self) -> Vec<GPUPool> {
        self.locked().pools.values().cloned().collect()
    }

    /// The longest that a customer's pod waited for its start, and how many never started.
    pub fn waits(&self) -> (SignedDuration, usize) {
        let seen = self.locked();
        let waits =
            seen.pods.values().filter_map(|pod| Some(pod.started?.duration_since(pod.created)));
        let never = seen.pods.values().filter(|pod| pod.started.is_none()).count();
        (waits.max().unwrap_or_default(), never)
    }

    /// Customers' pods that were taken away before they had finished.
    pub fn hurt(&self) -> Vec<String> {
        let seen = self.locked();
        let hurt = seen.pods.values().filter(|pod| pod.gone && !pod.finished);
        hurt.map(|pod| pod.name.clone()).collect()
    }

    /// The operator's writes since a time, in their order.
    pub fn writes(&self, since: Timestamp) -> Result<Vec<Write>> {
        let text = std::fs::read_to_string(&self.audit_log)?;
        let mut writes = Vec::new();
        for line in text.lines() {
            // The last line may still be in the making.
            let Ok(line) = serde_json::from_str::<AuditLine>(line) else {
                continue;
            };
            if line.user.username == OPERATOR && line.stage_timestamp >= since {
                writes.push(line.into_write());
            }
        }
        Ok(writes)
    }

    /// Checks the promises that hold at every moment, for the nodes of a pool.
    pub fn safety(&self, pool_nodes: &BTreeSet<String>) -> Result<Vec<Promise>> {
        let writes = self.writes(Timestamp::MIN)?;
        let done = |write: &&Write| write.code < 300;
        let evictions: Vec<_> =
            writes.iter().filter(|one| one.resource == "pods/eviction").filter(done).collect();
        let foreign = evictions.iter().filter(|one| one.namespace != MINING).count();
        let deleted =
            writes.iter().filter(|one| one.resource == "pods" && one.verb == "delete").count();
        let hurt = self.hurt();
        let strangers: Vec<_> = writes
            .iter()
            .filter(|one| one.resource == "nodes" && !pool_nodes.contains(&one.name))
            .map(|one| one.name.clone())
            .collect();
        let seen = self.locked();
        let changed: Vec<_> = seen
            .nodes
            .iter()
            .filter(|(_, node)| node.before != node.now)
            .map(|(name, _)| name.clone())
            .collect();
        Ok(vec![
            Promise {
                id: "S1",
                ok: foreign == 0 && deleted == 0 && hurt.is_empty(),
                evidence: format!(
                    "{} evictions, {foreign} of them no miners; {deleted} pods deleted; jobs cut \
                     short: {hurt:?}",
                    evictions.len()
                ),
            },
            seen.promise(
                "S2",
                format!(
                    "{} shifts; at most {} nodes at once moved for a price",
                    seen.shifts.len(),
                    seen.most_moving
                ),
            ),
            seen.promise("S4", format!("{} times a signal was not trusted", seen.untrusted.len())),
            Promise {
                id: "S6",
                ok: strangers.is_empty(),
                evidence: format!("patched outside of the pool: {strangers:?}"),
            },
            Promise {
                id: "S9",
                ok: changed.is_empty(),
                evidence: format!("others' labels, taints or cordon changed on: {changed:?}"),
            },
            seen.overdue(),
        ])
    }

    /// S5: has a signal stayed where its honest sources put it?
    pub fn never_outside(&self, signal: &str, honest: std::ops::RangeInclusive<f64>) -> Promise {
        let seen = self.locked();
        let values = seen.signal_values.get(signal).map(Vec::as_slice).unwrap_or_default();
        let outside: Vec<_> = values.iter().filter(|value| !honest.contains(value)).collect();
        Promise {
            id: "S5",
            ok: outside.is_empty() && !values.is_empty(),
            evidence: format!(
                "{} values of {signal} seen, outside of {honest:?}: {outside:?}",
                values.len()
            ),
        }
    }

    /// L4: watches for a while in which nothing changes. No write but the Lease, and what refreshes a
    /// signal's status.
    pub async fn quiet(&self, during: Duration) -> Result<Promise> {
        let since = Timestamp::now();
        tokio::time::sleep(during).await;
        let writes = self.writes(since)?;
        let loud: Vec<_> = writes
            .iter()
            .filter(|write| write.resource != "leases")
            .filter(|write| write.resource != "profitabilitysignals/status")
            .map(|write| format!("{} {} {}", write.verb, write.resource, write.name))
            .collect();
        Ok(Promise {
            id: "L4",
            ok: loud.is_empty(),
            evidence: format!(
                "{} s, {} writes, not allowed: {loud:?}",
                during.as_secs(),
                writes.len()
            ),
        })
    }

    /// L3: is nothing of ours left on any node, and none of our objects?
    pub async fn nothing_left(&self) -> Result<Promise> {
        let left =
            crate::eventually("nothing of ours is left", Duration::from_secs(60), || async {
                let left: Vec<String> = {
                    let seen = self.locked();
                    let marked = seen.nodes.iter().filter(|(_, node)| node.marked);
                    marked.map(|(name, _)| name.clone()).collect()
                };
                ensure!(
                    left.is_empty(),
                    "{} nodes are marked, such as {:?}",
                    left.len(),
                    left.first()
                );
                let sets = Api::<k8s_openapi::api::apps::v1::DaemonSet>::namespaced(
                    self.client.clone(),
                    MINING,
                );
                let sets = sets.list(&kube::api::ListParams::default()).await?.items.len();
                ensure!(sets == 0, "{sets} DaemonSets of miners are left");
                Ok(())
            })
            .await;
        Ok(Promise {
            id: "L3",
            ok: left.is_ok(),
            evidence: left
                .map_or_else(|error| format!("{error:#}"), |()| "no mark, no miner".into()),
        })
    }

    fn locked(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ended(shift: &NodeShift) -> bool {
    shift.status.as_ref().is_some_and(|status| status.phase.is_final())
}

struct Watch<'w> {
    seen: &'w Arc<Mutex<Seen>>,
    watches: &'w mut JoinSet<()>,
}

impl Watch<'_> {
    /// Follows a kind; `note` is told of each object, and whether it is still there.
    fn kind<K>(&mut self, api: Api<K>, note: fn(&mut Seen, &K, bool))
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let seen = self.seen.clone();
        self.watches.spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
            // An interruption is retried by the stream itself.
            while let Some(event) = events.next().await {
                let mut seen = lock(&seen);
                match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => {
                        note(&mut seen, &object, true);
                    }
                    Ok(Event::Delete(object)) => note(&mut seen, &object, false),
                    Ok(Event::Init | Event::InitDone) => {}
                    Err(error) => tracing::debug!(%error, "a watch was interrupted"),
                }
            }
        });
    }
}

impl Seen {
    fn node(&mut self, node: &Node, _there: bool) {
        let labels = node.labels().clone();
        let annotations = node.annotations().clone();
        let spec = node.spec.clone().unwrap_or_default();
        let taints = spec.taints.unwrap_or_default();
        let ours = |key: &String| key.starts_with("switchyard.dev/");
        let marked = labels.keys().any(ours)
            || keys::NODE_ANNOTATIONS.iter().any(|key| annotations.contains_key(*key))
            || taints.iter().any(|taint| taint.key == keys::TAINT);
        let now = Belongings {
            labels: labels
                .iter()
                .filter(|(key, _)| !ours(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            taints: taints
                .iter()
                .filter(|taint| {
                    taint.key != keys::TAINT && !taint.key.starts_with("node.kubernetes.io/")
                })
                .cloned()
                .collect(),
            cordoned: spec.unschedulable.unwrap_or(false),
        };
        let node_use = labels.get(keys::USE).and_then(|value| keys::parse_use(value));
        let since = annotations.get(keys::USE_SINCE).and_then(|text| text.parse().ok());
        let entry = self.nodes.entry(node.name_any()).or_insert_with(|| NodeSeen {
            node_use,
            since,
            before: now.clone(),
            now: now.clone(),
            marked,
        });
        *entry = NodeSeen { node_use, since, before: entry.before.clone(), now, marked };
    }

    fn pod(&mut self, pod: &Pod, there: bool) {
        let Some(uid) = pod.uid() else { return };
        let status = pod.status.clone().unwrap_or_default();
        let phase = status.phase.as_deref().unwrap_or_default();
        let created = pod.creation_timestamp().map_or(Timestamp::MIN, |time| time.0);
        let entry = self.pods.entry(uid).or_insert_with(|| PodSeen {
            name: pod.name_any(),
            created,
            started: None,
            finished: false,
            gone: false,
        });
        entry.started = entry.started.or(status.start_time.map(|time| time.0));
        entry.finished |= phase == "Succeeded";
        entry.gone |= !there || pod.metadata.deletion_timestamp.is_some();
    }

    fn shift(&mut self, shift: &NodeShift, there: bool) {
        let name = shift.name_any();
        if there && !self.shifts.contains_key(&name) {
            self.ordered(shift);
        }
        // Shifts that were deleted with the history are still counted as they ended.
        if there {
            self.shifts.insert(name, shift.clone());
        }
        self.count_moving();
    }

    /// A new order. For a price, its nodes must have served their dwell and its signals be trusted.
    fn ordered(&mut self, shift: &NodeShift) {
        let created = shift.creation_timestamp().map_or(Timestamp::MIN, |time| time.0);
        let pool = self.pools.get(&shift.spec.pool);
        if shift.spec.cause == Cause::Demand {
            return;
        }
        if let Some(pool) = pool {
            let dwell = pool.spec.shifting.min_dwell.of(shift.spec.from).signed();
            for node in &shift.spec.nodes {
                let since = self.nodes.get(&node.name).and_then(|node| node.since);
                let stayed = since.map(|since| created.duration_since(since) + SLACK);
                if stayed.is_some_and(|stayed| stayed < dwell) {
                    self.broken
                        .push(("S2", format!("{} left {} too early", node.name, shift.spec.from)));
                }
            }
        }
        let distrusted = self.untrusted.iter().find(|(_, from, to)| {
            let after = created.duration_since(*from) > SLACK;
            after && to.is_none_or(|to| created < to)
        });
        if let Some((signal, _, _)) = distrusted {
            self.broken.push((
                "S4",
                format!("{} was ordered while {signal} was not trusted", shift.name_any()),
            ));
        }
    }

    /// Counts nodes that are on the move for a price against the budget.
    fn count_moving(&mut self) {
        let mut moving: BTreeMap<&str, usize> = BTreeMap::new();
        for shift in self.shifts.values().filter(|shift| shift.spec.cause != Cause::Demand) {
            let counts = shift.status.as_ref().map(|status| status.counts).unwrap_or_default();
            let done = counts.completed + counts.rolled_back + counts.failed;
            let left = shift.spec.nodes.len().saturating_sub(done as usize);
            *moving.entry(&shift.spec.pool).or_default() += left;
        }
        let mut broken = Vec::new();
        for (pool, moving) in &moving {
            self.most_moving = self.most_moving.max(*moving);
            let Some(pool) = self.pools.get(*pool) else {
                continue;
            };
            let size = pool.status.as_ref().map_or(0, |status| status.nodes.total as usize);
            let budgets = pool.spec.shifting.budgets.iter();
            let least =
                budgets.filter(|one| one.from.is_empty()).map(|one| one.nodes.of(size)).min();
            if size > 0 && least.is_some_and(|least| *moving > least) {
                broken.push(("S2", format!("{moving} nodes moved at once for a price")));
            }
        }
        self.broken.extend(broken);
    }

    fn pool(&mut self, pool: &GPUPool, _there: bool) {
        self.pools.insert(pool.name_any(), pool.clone());
    }

    fn signal(&mut self, signal: &ProfitabilitySignal, there: bool) {
        let name = signal.name_any();
        let Some(status) = signal.status.as_ref().filter(|_| there) else {
            return;
        };
        if let Some(value) = status.value {
            self.signal_values.entry(name.clone()).or_default().push(value.value());
        }
        let condition = status.conditions.find(ConditionType::Trusted);
        let trusted = condition.is_some_and(|condition| condition.status == "True");
        let since = condition.map_or_else(Timestamp::now, |one| one.last_transition_time.0);
        let open = self.untrusted.iter_mut().find(|(one, _, to)| *one == name && to.is_none());
        match (open, trusted) {
            (Some((_, _, to)), true) => *to = Some(since),
            (None, false) => self.untrusted.push((name, since, None)),
            _ => {}
        }
    }

    fn promise(&self, id: &'static str, evidence: String) -> Promise {
        let broken: Vec<_> = self
            .broken
            .iter()
            .filter(|(one, _)| *one == id)
            .map(|(_, what)| what.clone())
            .collect();
        let evidence = if broken.is_empty() { evidence } else { broken.join("; ") };
        Promise { id, ok: broken.is_empty(), evidence }
    }

    /// L2: did every shift end by its deadline, give or take a few steps?
    fn overdue(&self) -> Promise {
        let grace = SignedDuration::from_secs(15);
        let now = Timestamp::now();
        let late: Vec<_> = self
            .shifts
            .iter()
            .filter(|(_, shift)| {
                let finished = shift.status.as_ref().and_then(|status| status.finished);
                finished.unwrap_or(now).duration_since(shift.spec.deadline) > grace
            })
            .map(|(name, _)| name.clone())
            .collect();
        let running = self.shifts.values().filter(|shift| !ended(shift)).count();
        Promise {
            id: "L2",
            ok: late.is_empty(),
            evidence: format!(
                "{} shifts, {running} still run; overdue: {late:?}",
                self.shifts.len()
            ),
        }
    }
}

impl AuditLine {
    fn into_write(self) -> Write {
        let object = self.object_ref;
        let (resource, namespace, name) = object.map_or_else(Default::default, |object| {
            let resource = match object.subresource.as_str() {
                "" => object.resource,
                subresource => format!("{}/{subresource}", object.resource),
            };
            (resource, object.namespace, object.name)
        });
        Write {
            verb: self.verb,
            resource,
            namespace,
            name,
            code: self.response_status.map_or(0, |status| status.code),
            time: self.stage_timestamp,
        }
    }
}
