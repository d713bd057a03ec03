//! From API objects to the facts that a decision may rest on.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        batch::v1::Job,
        core::v1::{Affinity, ConfigMap, Node, NodeSelectorTerm, NodeStatus, Pod, PodSpec, Taint},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::OwnerReference},
};
use kube::{Resource, ResourceExt};
use switchyard_api::{Decimal, MiningProfile, ProfileRef, keys};
use switchyard_core::{
    people::{Hold, Pin},
    quantity::UsdPerGpuHour,
    snapshot::{
        Barrier, Constraints, DaemonSetFacts, Labels, Marks, NodeFacts, PodFacts, Resources,
        Strings, Work,
    },
};

use super::quantity::whole;

/// What many objects repeat: labels, names of resources, and what pods say of nodes and owners.
fn strings() -> MutexGuard<'static, Strings> {
    static STRINGS: LazyLock<Mutex<Strings>> = LazyLock::new(Mutex::default);
    STRINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shared(text: &str) -> Arc<str> {
    strings().text(text)
}

fn shared_labels(labels: &BTreeMap<String, String>) -> Labels {
    strings().labels(labels)
}

/// A node, and what a patch of it has to know besides.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRecord {
    /// The facts; `empty_since` is not among them yet.
    pub facts: NodeFacts,
    /// Has it any annotation? A JSON patch cannot add a member to nothing.
    pub annotated: bool,
    /// The annotations of ours, as written.
    pub annotations: BTreeMap<&'static str, String>,
}

/// Reads a node.
pub fn node(node: Node) -> Option<NodeRecord> {
    let (name, uid) = (node.name_any(), node.uid()?);
    let annotations = node.metadata.annotations.unwrap_or_default();
    let labels = node.metadata.labels.unwrap_or_default();
    let spec = node.spec.unwrap_or_default();
    let taints = spec.taints.unwrap_or_default();
    let status = node.status.unwrap_or_default();
    let facts = NodeFacts {
        name: shared(&name),
        uid: uid.as_str().into(),
        marks: marks(&labels, &annotations, &taints),
        skip: annotations.get(keys::SKIP).is_some_and(|value| value != "false"),
        pin: annotations.get(keys::PIN).map(|text| Pin::parse(text)),
        cordoned: spec.unschedulable.unwrap_or(false),
        ready: is_ready(&status),
        allocatable: resources(&status.allocatable.unwrap_or_default()),
        empty_since: None,
        labels: shared_labels(&labels),
        taints: taints.into(),
    };
    let ours = keys::NODE_ANNOTATIONS.into_iter();
    let ours = ours.filter_map(|key| Some((key, annotations.get(key)?.clone()))).collect();
    Some(NodeRecord { annotated: !annotations.is_empty(), annotations: ours, facts })
}

/// The marks of ours; a mark that cannot be read counts as missing and is written anew.
fn marks(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    taints: &[Taint],
) -> Marks {
    let ours =
        taints.iter().find(|taint| taint.key == keys::TAINT && taint.effect == keys::TAINT_EFFECT);
    Marks {
        pool: labels.get(keys::POOL).map(|value| shared(value)),
        node_use: labels.get(keys::USE).and_then(|value| keys::parse_use(value)),
        taint: ours.and_then(|taint| Barrier::parse(taint.value.as_deref().unwrap_or_default())),
        profile: labels.get(keys::MINING_PROFILE).map(|value| shared(value)),
        gpus: labels.get(keys::GPUS).and_then(|value| value.parse().ok()),
        claim: annotations.get(keys::SHIFT).map(|value| shared(value)),
        since: annotations.get(keys::USE_SINCE).and_then(|value| value.parse().ok()),
    }
}

fn is_ready(status: &NodeStatus) -> bool {
    let conditions = status.conditions.iter().flatten();
    conditions.filter(|condition| condition.type_ == "Ready").any(|one| one.status == "True")
}

fn resources(amounts: &BTreeMap<String, Quantity>) -> Resources {
    let of = |name: &str, scale| amounts.get(name).map_or(0, |amount| whole(amount, scale));
    Resources {
        cpu_milli: of("cpu", 1000.0),
        memory_bytes: of("memory", 1.0),
        pods: of("pods", 1.0),
        extended: amounts
            .iter()
            .filter(|(name, _)| name.contains('/'))
            .map(|(name, amount)| (shared(name), whole(amount, 1.0)))
            .collect(),
    }
}

/// Reads a pod; one that is finished holds nothing and need not be known. The size of its gang is
/// filled in when its Job is known, too.
pub fn pod(pod: Pod) -> Option<PodFacts> {
    let (name, namespace, uid) = (pod.name_any(), pod.namespace()?, pod.uid()?);
    let status = pod.status.unwrap_or_default();
    let phase = status.phase.unwrap_or_default();
    if phase == "Succeeded" || phase == "Failed" {
        return None;
    }
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let created =
        pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let annotations = pod.metadata.annotations.unwrap_or_default();
    let owner = pod.metadata.owner_references.unwrap_or_default().into_iter().find(controls);
    let spec = pod.spec.unwrap_or_default();
    let (kind, work) = match &owner {
        Some(owner) if owner.kind == "Job" => ("Job", owner.name.as_str()),
        _ => ("Pod", name.as_str()),
    };
    let namespace = shared(&namespace);
    Some(PodFacts {
        work: Work { kind, namespace: namespace.clone(), name: work.into(), size: 1 },
        namespace,
        name: name.as_str().into(),
        uid: uid.as_str().into(),
        labels: shared_labels(&pod.metadata.labels.unwrap_or_default()),
        node: spec.node_name.as_deref().map(shared),
        running: phase == "Running",
        terminating,
        gated: spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()),
        requests: requests(&spec),
        constraints: Arc::new(constraints(&spec)),
        owner: owner.map(|owner| shared(&owner.uid)),
        created,
        named_price: annotations
            .get(keys::USD_PER_GPU_HOUR)
            .and_then(|price| price.parse::<Decimal>().ok())
            .and_then(|price| UsdPerGpuHour::new(price.value())),
    })
}

fn controls(owner: &OwnerReference) -> bool {
    owner.controller == Some(true)
}

/// What the scheduler reserves for a pod: all containers and sidecars together, or an init container
/// with the sidecars before it if that is more; and the overhead.
fn requests(spec: &PodSpec) -> Resources {
    let mut running = Resources { pods: 1, ..Resources::default() };
    let mut peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let asks = asked(container.resources.as_ref());
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut running, &asks);
        } else {
            let mut with_sidecars = running.clone();
            add(&mut with_sidecars, &asks);
            raise(&mut peak, &with_sidecars);
        }
    }
    for container in &spec.containers {
        add(&mut running, &asked(container.resources.as_ref()));
    }
    raise(&mut running, &peak);
    if let Some(whole_pod) = &spec.resources {
        let whole_pod = asked(Some(whole_pod));
        running.cpu_milli = running.cpu_milli.max(whole_pod.cpu_milli);
        running.memory_bytes = running.memory_bytes.max(whole_pod.memory_bytes);
    }
    add(&mut running, &resources(&spec.overhead.clone().unwrap_or_default()));
    running
}

fn asked(asks: Option<&k8s_openapi::api::core::v1::ResourceRequirements>) -> Resources {
    asks.and_then(|asks| asks.requests.as_ref()).map(resources).unwrap_or_default()
}

fn add(sum: &mut Resources, more: &Resources) {
    sum.cpu_milli += more.cpu_milli;
    sum.memory_bytes += more.memory_bytes;
    sum.extended.merge(&more.extended, |one, other| one + other);
}

fn raise(sum: &mut Resources, least: &Resources) {
    sum.cpu_milli = sum.cpu_milli.max(least.cpu_milli);
    sum.memory_bytes = sum.memory_bytes.max(least.memory_bytes);
    sum.extended.merge(&least.extended, i64::max);
}

fn constraints(spec: &PodSpec) -> Constraints {
    Constraints {
        node_selector: spec.node_selector.clone().unwrap_or_default(),
        affinity: required_terms(spec.affinity.as_ref()),
        tolerations: spec.tolerations.clone().unwrap_or_default(),
    }
}

fn required_terms(affinity: Option<&Affinity>) -> Option<Vec<NodeSelectorTerm>> {
    let nodes = affinity?.node_affinity.as_ref()?;
    let required = nodes.required_during_scheduling_ignored_during_execution.as_ref()?;
    Some(required.node_selector_terms.clone())
}

/// Reads the hold.
#[allow(clippy::unnecessary_wraps)] // as the caches read every kind
pub fn hold(hold: ConfigMap) -> Option<Hold> {
    Some(Hold::read(&hold.data.unwrap_or_default()))
}

/// A Job whose pods run together: how many of them still have to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GangJob {
    /// The Job's UID.
    pub uid: Arc<str>,
    /// Pods that must run together.
    pub size: u32,
}

/// Reads a Job. A gang is what Kubernetes itself takes for one: an indexed Job that runs all of its
/// completions at once. The pods of other Jobs are independent.
pub fn job(job: Job) -> Option<GangJob> {
    let uid = job.uid()?;
    let spec = job.spec?;
    let together = spec.parallelism? > 1
        && spec.completions == spec.parallelism
        && spec.completion_mode.as_deref() == Some("Indexed")
        && spec.suspend != Some(true);
    let done = job.status.and_then(|status| status.succeeded).unwrap_or(0);
    let size = u32::try_from(spec.parallelism?.saturating_sub(done)).ok()?;
    together.then(|| GangJob { uid: uid.as_str().into(), size })
}

/// A DaemonSet, and what is known of it besides.
#[derive(Debug, Clone, PartialEq)]
pub struct DaemonSetRecord {
    /// The facts.
    pub facts: DaemonSetFacts,
    /// The pool whose miners it runs, if it is ours.
    pub pool: Option<String>,
    /// The hash of what it was made from.
    pub spec_hash: Option<String>,
    /// Of its pods, those that run.
    pub ready: u32,
}

/// Annotation on our DaemonSets: the hash of what they were made from.
pub const SPEC_HASH: &str = "switchyard.dev/spec-hash";

/// Reads a DaemonSet.
pub fn daemon_set(set: DaemonSet) -> Option<DaemonSetRecord> {
    let (name, namespace, uid) = (set.name_any(), set.namespace()?, set.uid()?);
    let labels = set.metadata.labels.unwrap_or_default();
    let owner = set.metadata.owner_references.unwrap_or_default().into_iter().find(controls);
    let ours = labels.get(keys::MANAGED_BY).is_some_and(|manager| manager == keys::MANAGER);
    let profile = owner
        .filter(|owner| ours && owner.kind == MiningProfile::kind(&()))
        .map(|owner| ProfileRef { namespace: namespace.clone(), name: owner.name });
    let spec = set.spec.and_then(|spec| spec.template.spec).unwrap_or_default();
    let ready = set.status.map_or(0, |status| status.number_ready);
    Some(DaemonSetRecord {
        pool: labels.get(keys::POOL).cloned().filter(|_| profile.is_some()),
        spec_hash: set.metadata.annotations.unwrap_or_default().remove(SPEC_HASH),
        ready: u32::try_from(ready).unwrap_or(0),
        facts: DaemonSetFacts {
            namespace: namespace.as_str().into(),
            name: name.as_str().into(),
            uid: uid.as_str().into(),
            profile,
            constraints: Arc::new(constraints(&spec)),
        },
    })
}
