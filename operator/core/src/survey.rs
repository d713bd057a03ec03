//! Who stands where: each node in its pool, with its class, its use, its jobs and its miners.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use foldhash::fast::FixedState;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Taint;
use smallvec::SmallVec;
use switchyard_api::{BreakerStatus, ProfileRef, Reason, Use, keys};

use crate::{
    breaker,
    calendar::Calendar,
    economics::{ClassEconomics, Prices},
    outlook::Outlook,
    people::{Hold, Pin, PinError},
    quantity::{UsdPerGpuHour, UsdPerHour},
    snapshot::{Barrier, NodeFacts, PodFacts, PoolFacts, Resources, ShiftFacts, Snapshot},
};

/// Every pool, surveyed, and what belongs to none.
#[derive(Debug)]
pub struct Survey<'a> {
    /// The facts.
    pub snapshot: &'a Snapshot,
    /// In the order of the snapshot.
    pub pools: Vec<PoolView<'a>>,
    /// GPU pods that wait for a node, but for our miners and those that somebody holds back.
    pub waiting: Vec<&'a PodFacts>,
    /// Pods of gangs that have a node already.
    pub mates: Vec<&'a PodFacts>,
    /// Nodes with marks of ours that no pool selects any more.
    pub strays: Vec<&'a NodeFacts>,
}

/// A node of a survey: the pool's and the node's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Index of [`Survey::pools`].
    pub pool: usize,
    /// Index of [`PoolView::nodes`].
    pub node: usize,
}

impl<'a> Survey<'a> {
    /// Every node of every pool.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.pools
            .iter()
            .enumerate()
            .flat_map(|(pool, view)| (0..view.nodes.len()).map(move |node| NodeId { pool, node }))
    }

    /// A node and its pool.
    pub fn node(&self, id: NodeId) -> Option<(&PoolView<'a>, &NodeView<'a>)> {
        let pool = self.pools.get(id.pool)?;
        Some((pool, pool.nodes.get(id.node)?))
    }
}

/// A pool and its nodes.
#[derive(Debug)]
pub struct PoolView<'a> {
    /// The facts.
    pub facts: &'a PoolFacts,
    /// The prices that hold in it.
    pub prices: Prices,
    /// Its classes, in the order of `spec.classes`.
    pub classes: Vec<ClassEconomics>,
    /// The nodes that it alone selects and may touch.
    pub nodes: Vec<NodeView<'a>>,
    /// How many nodes it selects but may not touch, by why: `ControlPlane`, `TwoPools`.
    pub refused: BTreeMap<Reason, Vec<&'a NodeFacts>>,
    /// The pools that select some of its nodes, too.
    pub overlaps: BTreeSet<&'a str>,
    /// DaemonSets that match its nodes without tolerating the taint, `namespace/name`.
    pub intolerant: BTreeSet<String>,
    /// The best price that a waiting pod names itself, as far as the pool believes it.
    pub best_offer: Option<UsdPerGpuHour>,
    /// The person's hold on all pools, while it is in force.
    pub hold: Option<&'a Hold>,
    /// What its schedules say.
    pub calendar: Calendar,
    /// How its breaker stands.
    pub breaker: BreakerStatus,
    /// What forecasts say to its nodes.
    pub outlook: Outlook,
}

impl PoolView<'_> {
    /// Is less than half of the pool seen that is believed to exist, and nobody says that this is all
    /// there is? The number has to be exact, so that an old confirmation does not cover a new loss.
    pub fn half_empty(&self) -> bool {
        let confirmed = self.facts.confirmed_size.map(size) == Some(self.nodes.len());
        self.nodes.len() * 2 < size(self.facts.believed_size) && !confirmed
    }

    /// The economics of a node's class.
    pub fn class_of(&self, node: &NodeView<'_>) -> Option<&ClassEconomics> {
        self.classes.get(node.class?)
    }

    /// What the pool pays for a pod, USD per hour for all its GPUs, and how many these are.
    pub fn revenue(&self, pod: &PodFacts) -> (Option<UsdPerHour>, u32) {
        let gpus = pod.requests.extended(&self.facts.spec.gpu.resource_name);
        (self.price_of(pod).map(|price| price.of(gpus)), gpus)
    }

    /// What the pool pays for a GPU-hour of a pod.
    pub fn price_of(&self, pod: &PodFacts) -> Option<UsdPerGpuHour> {
        self.named_price(pod).or(self.prices.hpc.value)
    }

    /// What the jobs on a node pay, USD per hour, as far as every price is known.
    pub fn paid_by_jobs(&self, node: &NodeView<'_>) -> Option<UsdPerHour> {
        let mut jobs = node.jobs.iter();
        jobs.try_fold(UsdPerHour::ZERO, |sum, pod| Some(sum + self.revenue(pod).0?))
    }

    /// The price that a pod names itself, if its namespace may.
    fn named_price(&self, pod: &PodFacts) -> Option<UsdPerGpuHour> {
        let allowed = self.facts.spec.hpc.price.pod_annotation.as_ref()?;
        let may = allowed.namespaces.iter().any(|namespace| **namespace == *pod.namespace);
        let cap = UsdPerGpuHour::new(allowed.max_usd_per_gpu_hour.value())?;
        pod.named_price.filter(|_| may).map(|price| price.min(cap))
    }

    /// The kinds of its nodes: class and GPUs.
    pub fn kinds(&self) -> BTreeSet<(usize, u32)> {
        self.nodes.iter().filter_map(|node| Some((node.class?, node.gpus))).collect()
    }

    /// How many of its nodes are in a use.
    pub fn count(&self, node_use: Use) -> usize {
        self.nodes.iter().filter(|node| node.node_use == node_use).count()
    }
}

/// A node of a pool.
#[derive(Debug)]
pub struct NodeView<'a> {
    /// The facts.
    pub facts: &'a NodeFacts,
    /// Its class, as an index of [`PoolView::classes`]; none: its model is not listed.
    pub class: Option<usize>,
    /// How many GPUs it advertises.
    pub gpus: u32,
    /// What it is in use for.
    pub node_use: Use,
    /// Do marks of ours say so? If not, what runs there does.
    pub adopted: bool,
    /// The shift that moves it.
    pub shift: Option<&'a ShiftFacts>,
    /// Customers' GPU pods that are bound to it.
    pub jobs: Vec<&'a PodFacts>,
    /// Miners that are bound to it.
    pub miners: Vec<Miner<'a>>,
    /// What is left of it when its miners are gone.
    pub room: Resources,
    /// Why it cannot be used at all.
    pub unusable: Option<Reason>,
    /// The pin that is in force.
    pub pin: Option<&'a Pin>,
}

impl NodeView<'_> {
    /// Is a shift under way on it, or was one, and its claim has not been cleared up yet?
    pub fn moving(&self) -> bool {
        self.shift.is_some() || self.facts.marks.claim.is_some()
    }

    /// How long it has been open without a job.
    pub fn empty_for(&self, now: Timestamp) -> SignedDuration {
        self.empty_since().map_or(SignedDuration::ZERO, |since| now.duration_since(since))
    }

    /// Since when it has been open without a job.
    pub fn empty_since(&self) -> Option<Timestamp> {
        let empty = self.facts.empty_since?;
        Some(self.facts.marks.since.map_or(empty, |opened| empty.max(opened)))
    }

    /// Why its pin cannot be read.
    pub fn pin_error(&self) -> Option<&PinError> {
        self.facts.pin.as_ref()?.as_ref().err()
    }

    /// GPUs that jobs hold.
    pub fn busy(&self, resource: &str) -> u32 {
        self.jobs.iter().map(|pod| pod.requests.extended(resource)).sum()
    }
}

/// A miner and the profile it mines with.
#[derive(Debug, Clone, Copy)]
pub struct Miner<'a> {
    /// The pod.
    pub pod: &'a PodFacts,
    /// The profile.
    pub profile: &'a ProfileRef,
}

/// Surveys a snapshot.
pub fn survey(snapshot: &Snapshot) -> Survey<'_> {
    let roles = Roles::of(snapshot);
    let House { lodgers, waiting, mates } = House::of(snapshot, &roles);
    let selectors = Selectors::of(snapshot);
    let mut pools: Vec<_> =
        snapshot.pools.iter().map(|facts| empty_view(facts, snapshot)).collect();
    let mut strays = Vec::new();
    let shifts = Running::of_nodes(snapshot);

    for (node, lodgers) in snapshot.nodes.iter().zip(lodgers) {
        match selectors.selecting(node).as_slice() {
            [] if node.marks.any() => strays.push(node),
            [] => {}
            [one] => {
                let Some(pool) = pools.get_mut(*one) else {
                    continue;
                };
                if node.labels.get(keys::CONTROL_PLANE).is_some() {
                    pool.refused.entry(Reason::ControlPlane).or_default().push(node);
                } else {
                    let shift = shifts.of(node);
                    let mut view = node_view(node, &pool.classes, pool.facts, lodgers, shift);
                    view.pin = view.pin.filter(|pin| pin.holds(snapshot.now));
                    pool.nodes.push(view);
                }
            }
            several => refuse_shared(several, node, &mut pools),
        }
    }
    for pool in &mut pools {
        pool.intolerant = intolerant(pool, snapshot);
        let size = pool.nodes.len().max(size(pool.facts.believed_size));
        pool.breaker = breaker::judge(pool.facts, size, snapshot);
        pool.outlook = outlook(pool, snapshot);
        pool.best_offer = waiting.iter().filter_map(|pod| pool.named_price(pod)).max();
    }
    Survey { snapshot, pools, waiting, mates, strays }
}

fn outlook(pool: &PoolView<'_>, snapshot: &Snapshot) -> Outlook {
    let Snapshot { forecasts, experience, now, .. } = snapshot;
    if forecasts.is_empty() {
        return Outlook::default();
    }
    let named = (&pool.facts.name, &*pool.facts.spec);
    Outlook::of(named, &pool.classes, pool.kinds(), forecasts, (experience, *now))
}

/// The pools that still want nodes, by a label that they require.
struct Selectors<'a> {
    by_label: BTreeMap<&'a str, Vec<(&'a str, usize)>>,
    without: Vec<usize>,
    pools: &'a [PoolFacts],
}

impl<'a> Selectors<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let (mut by_label, mut without) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
        for (index, pool) in snapshot.pools.iter().enumerate().filter(|(_, pool)| !pool.deleting) {
            match pool.selector.required() {
                Some((key, value)) => by_label.entry(key).or_default().push((value, index)),
                None => without.push(index),
            }
        }
        Self { by_label, without, pools: &snapshot.pools }
    }

    /// The pools that select a node.
    fn selecting(&self, node: &NodeFacts) -> SmallVec<[usize; 2]> {
        let labelled = self.by_label.iter().flat_map(|(key, pools)| {
            let found = node.labels.get(key);
            let pools = pools.iter().filter(move |(value, _)| found == Some(*value));
            pools.map(|(_, index)| *index)
        });
        let selects = |index: &usize| {
            self.pools
                .get(*index)
                .is_some_and(|pool| pool.selector.matches(|key| node.labels.get(key)))
        };
        let mut selecting: SmallVec<[usize; 2]> =
            labelled.chain(self.without.iter().copied()).filter(selects).collect();
        selecting.sort_unstable();
        selecting
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn empty_view<'a>(facts: &'a PoolFacts, snapshot: &'a Snapshot) -> PoolView<'a> {
    let prices = Prices::of(&facts.spec, &snapshot.signals);
    PoolView {
        facts,
        prices,
        classes: ClassEconomics::of_pool(&facts.spec, prices, snapshot),
        nodes: Vec::with_capacity(size(facts.believed_size)),
        refused: BTreeMap::new(),
        overlaps: BTreeSet::new(),
        intolerant: BTreeSet::new(),
        best_offer: None,
        hold: snapshot.hold.as_ref().filter(|hold| hold.holds(snapshot.now)),
        calendar: Calendar::of(&facts.spec.shifting, snapshot.now),
        breaker: BreakerStatus::default(),
        outlook: Outlook::default(),
    }
}

fn refuse_shared<'a>(selecting: &[usize], node: &'a NodeFacts, pools: &mut [PoolView<'a>]) {
    let names: Vec<&'a str> =
        selecting.iter().filter_map(|index| Some(&*pools.get(*index)?.facts.name)).collect();
    for index in selecting {
        let Some(pool) = pools.get_mut(*index) else {
            continue;
        };
        pool.refused.entry(Reason::TwoPools).or_default().push(node);
        pool.overlaps.extend(names.iter().filter(|name| **name != &*pool.facts.name));
    }
}

/// What a pod is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role<'a> {
    Miner(&'a ProfileRef),
    Job,
    Other,
}

/// Tells miners from customers' pods. Wrong answers would hurt customers, so a template miner is
/// known by the DaemonSet that controls it, which is ours, and not by a label that anybody can set.
struct Roles<'a> {
    our_daemon_sets: BTreeMap<&'a str, &'a ProfileRef>,
    selected: Vec<(&'a ProfileRef, &'a switchyard_api::Selector)>,
    resources: BTreeSet<&'a str>,
}

impl<'a> Roles<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let ours = snapshot.daemon_sets.iter();
        let selected = snapshot.profiles.iter();
        let resources = snapshot.pools.iter().map(|pool| pool.spec.gpu.resource_name.as_str());
        Self {
            our_daemon_sets: ours
                .filter_map(|set| Some((&*set.uid, set.profile.as_ref()?)))
                .collect(),
            selected: selected
                .filter_map(|(name, facts)| Some((name, facts.pod_selector.as_ref()?)))
                .collect(),
            resources: resources.collect(),
        }
    }

    fn of_pod(&self, pod: &PodFacts) -> Role<'a> {
        if let Some(profile) = self.profile_of(pod) {
            return Role::Miner(profile);
        }
        let asks_for_gpus =
            self.resources.iter().any(|resource| pod.requests.extended(resource) > 0);
        if asks_for_gpus { Role::Job } else { Role::Other }
    }

    fn profile_of(&self, pod: &PodFacts) -> Option<&'a ProfileRef> {
        let template = pod.owner.as_deref().and_then(|uid| self.our_daemon_sets.get(uid)).copied();
        template.or_else(|| {
            let mut selected = self.selected.iter();
            let chosen = selected.find(|(profile, selector)| {
                *profile.namespace == *pod.namespace && selector.matches(|key| pod.labels.get(key))
            });
            chosen.map(|(profile, _)| *profile)
        })
    }
}

/// The pods that are bound to a node.
struct Lodgers<'a> {
    jobs: Vec<&'a PodFacts>,
    miners: Vec<Miner<'a>>,
    /// What is left of the node when its miners are gone.
    room: Resources,
}

impl<'a> Lodgers<'a> {
    fn none(node: &NodeFacts) -> Self {
        Self { jobs: Vec::new(), miners: Vec::new(), room: node.allocatable.clone() }
    }

    fn add(&mut self, pod: &'a PodFacts, role: Role<'a>) {
        match role {
            Role::Miner(profile) => return self.miners.push(Miner { pod, profile }),
            Role::Job => self.jobs.push(pod),
            Role::Other => {}
        }
        self.room.take(&pod.requests);
    }
}

/// Who has a node, and who has none.
struct House<'a> {
    /// The pods on each node, in the order of the nodes.
    lodgers: Vec<Lodgers<'a>>,
    /// The jobs that wait for a node.
    waiting: Vec<&'a PodFacts>,
    /// The pods of gangs that have one.
    mates: Vec<&'a PodFacts>,
}

impl<'a> House<'a> {
    fn of(snapshot: &'a Snapshot, roles: &Roles<'a>) -> Self {
        let nodes = snapshot.nodes.iter().enumerate();
        let nodes: HashMap<&str, usize, FixedState> =
            nodes.map(|(index, node)| (&*node.name, index)).collect();
        let lodgers = snapshot.nodes.iter().map(Lodgers::none).collect();
        let mut house = Self { lodgers, waiting: Vec::new(), mates: Vec::new() };
        for pod in &snapshot.pods {
            let Some(node) = &pod.node else {
                if !pod.gated && !pod.terminating && roles.of_pod(pod) == Role::Job {
                    house.waiting.push(pod);
                }
                continue;
            };
            if pod.work.size > 1 {
                house.mates.push(pod);
            }
            let lodgers = nodes.get(&**node).and_then(|index| house.lodgers.get_mut(*index));
            if let Some(lodgers) = lodgers {
                lodgers.add(pod, roles.of_pod(pod));
            }
        }
        house
    }
}

/// The running shifts: of each node, by its name, its UID and the shift.
struct Running<'a>(HashMap<&'a str, Vec<(&'a str, &'a ShiftFacts)>, FixedState>);

impl<'a> Running<'a> {
    fn of_nodes(snapshot: &'a Snapshot) -> Self {
        let mut by_name: HashMap<_, Vec<_>, _> = HashMap::default();
        for shift in &snapshot.shifts {
            let ended: BTreeSet<&str> = shift
                .status
                .nodes
                .iter()
                .filter(|node| node.phase.is_final())
                .map(|node| node.name.as_str())
                .collect();
            for node in shift.spec.nodes.iter().filter(|node| !ended.contains(node.name.as_str())) {
                by_name.entry(node.name.as_str()).or_default().push((node.uid.as_str(), shift));
            }
        }
        Self(by_name)
    }

    /// The shift of a node; of several the first.
    fn of(&self, node: &NodeFacts) -> Option<&'a ShiftFacts> {
        let by_uid = self.0.get(&*node.name)?;
        by_uid.iter().find(|(uid, _)| *uid == &*node.uid).map(|(_, shift)| *shift)
    }
}

fn node_view<'a>(
    facts: &'a NodeFacts,
    classes: &[ClassEconomics],
    pool: &PoolFacts,
    lodgers: Lodgers<'a>,
    shift: Option<&'a ShiftFacts>,
) -> NodeView<'a> {
    let gpu = &pool.spec.gpu;
    let model = facts.labels.get(&gpu.model_label);
    let class = model.and_then(|model| classes.iter().position(|one| one.class.model == model));
    let gpus = facts.allocatable.extended(&gpu.resource_name);
    let Lodgers { jobs, miners, room } = lodgers;
    let (node_use, adopted) = standing(facts, !jobs.is_empty(), !miners.is_empty());
    NodeView {
        facts,
        class,
        gpus,
        node_use,
        adopted,
        shift,
        jobs,
        miners,
        room,
        unusable: unusable(facts, class, gpus),
        pin: facts.pin.as_ref().and_then(|pin| pin.as_ref().ok()),
    }
}

/// What a node is in use for, and whether our marks say so. Where taint and label disagree the taint
/// holds, because a kubelet can change its labels but not its taints; but while a shift has claimed
/// the node, the label leads and the taint follows. Without marks, what runs there counts.
fn standing(facts: &NodeFacts, jobs: bool, miners: bool) -> (Use, bool) {
    let marks = &facts.marks;
    match (marks.claim.is_some(), marks.taint, marks.node_use) {
        (true, _, Some(label)) => (label, true),
        (_, Some(barrier), _) => (barrier.node_use(), true),
        (_, None, Some(_)) => (Use::Hpc, true),
        (_, None, None) if jobs => (Use::Hpc, false),
        (_, None, None) if miners => (Use::Mining, false),
        (_, None, None) => (Use::Idle, false),
    }
}

fn unusable(facts: &NodeFacts, class: Option<usize>, gpus: u32) -> Option<Reason> {
    if gpus == 0 {
        return Some(Reason::NoGpus);
    }
    if class.is_none() {
        return Some(Reason::UnknownModel);
    }
    (!facts.ready).then_some(Reason::NotReady)
}

/// DaemonSets that would lose their pods on the pool's tainted nodes: they match a node as it is, and
/// do not tolerate the taint with every value.
fn intolerant(pool: &PoolView<'_>, snapshot: &Snapshot) -> BTreeSet<String> {
    let accepted = &pool.facts.spec.shifting.accept_intolerant_daemon_sets;
    let suspects = snapshot.daemon_sets.iter().filter(|set| {
        let tolerates = |barrier: Barrier| {
            let taint = barrier.taint();
            let mut tolerations = set.constraints.tolerations.iter();
            tolerations.any(|toleration| crate::fit::tolerates(toleration, &taint))
        };
        set.profile.is_none() && !Barrier::ALL.into_iter().all(tolerates)
    });
    suspects
        .filter(|set| {
            pool.nodes.iter().any(|node| {
                // Seen as an HPC node, because it would run there but for our taint.
                let target = crate::fit::Target {
                    name: &node.facts.name,
                    labels: &node.facts.labels,
                    taints: &lasting(&node.facts.taints),
                    as_use: Use::Hpc,
                };
                crate::fit::admits(&set.constraints, target)
            })
        })
        .map(crate::snapshot::DaemonSetFacts::full_name)
        .filter(|name| !accepted.contains(name))
        .collect()
}

/// The taints that say what a node is for, and not how it is at the moment: a fresh one is not ready,
/// and its DaemonSets have yet to come.
fn lasting(taints: &[Taint]) -> Cow<'_, [Taint]> {
    let passes = |taint: &Taint| taint.key.starts_with("node.kubernetes.io/");
    if taints.iter().any(passes) {
        Cow::Owned(taints.iter().filter(|taint| !passes(taint)).cloned().collect())
    } else {
        Cow::Borrowed(taints)
    }
}
