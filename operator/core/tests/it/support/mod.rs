//! A small world for tests: nodes, pods, a DaemonSet controller and a scheduler of a few lines each,
//! and a clock that only moves when told. It does what the core orders, so that a test can watch
//! whole stories without an API server.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::struct_excessive_bools)]

pub mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Taint;
use switchyard_api::{
    BreakerStatus, GPUPoolSpec, MiningProfileSpec, NodeShiftStatus, ProfileRef, Selector, Use, keys,
};
use switchyard_core::{
    breaker, fit,
    forecast::Forecast,
    observer::Observer,
    people::{Hold, Pin},
    phase,
    plan::{self, Plan},
    quantity::{Measure, UsdPerGpuHour},
    snapshot::{
        Barrier, Constraints, DaemonSetFacts, Marks, NodeFacts, PodFacts, PoolFacts, ProfileFacts,
        Reading, Resources, ShiftFacts, Snapshot, Work,
    },
    survey::survey,
    upkeep::upkeep,
    writes::{Eviction, NodeWrite},
};

pub const GPU: &str = "nvidia.com/gpu";
pub const BIG: &str = "RTX-3090";
pub const SMALL: &str = "GTX-1080";

/// One MH/s for a day earns so much where nothing else is said: a node of eight big GPUs then mines
/// for 4.00 USD/h, power unpaid, and costs 0.2885 USD/h of power.
pub const INCOME: f64 = 0.10;

#[derive(Clone)]
pub struct World {
    pub now: Timestamp,
    pub pools: BTreeMap<String, GPUPoolSpec>,
    pub deleting: BTreeSet<String>,
    pub unreadable: BTreeSet<String>,
    pub believed: BTreeMap<String, u32>,
    pub profiles: BTreeMap<ProfileRef, MiningProfileSpec>,
    pub signals: BTreeMap<String, Reading>,
    pub forecasts: BTreeMap<String, Arc<Forecast>>,
    pub nodes: BTreeMap<String, Node>,
    pub pods: BTreeMap<String, Pod>,
    pub shifts: Vec<ShiftFacts>,
    pub ended: Vec<ShiftFacts>,
    pub system: Vec<DaemonSetFacts>,
    pub hold: Option<Hold>,
    /// What the status of each pool remembers of its breaker.
    pub breakers: BTreeMap<String, BreakerStatus>,
    pub reset_breaker: Option<String>,
    /// Pods of customers that were evicted; must stay empty.
    pub hurt: Vec<String>,
    pub evicted: Vec<String>,
    uids: u32,
    pub observer: Observer,
}

#[derive(Clone)]
pub struct Node {
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    pub other_taints: Vec<Taint>,
    pub marks: Marks,
    pub skip: bool,
    pub pin: Option<String>,
    pub cordoned: bool,
    pub ready: bool,
    pub gpus: u32,
    pub empty_since: Option<Timestamp>,
}

#[derive(Clone)]
pub struct Pod {
    pub uid: String,
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
    pub node: Option<String>,
    pub running: bool,
    pub terminating: bool,
    pub never_stops: bool,
    pub gated: bool,
    pub gpus: u32,
    pub constraints: Constraints,
    pub owner: Option<String>,
    pub work: Work,
    pub created: Timestamp,
    pub price: Option<f64>,
    pub runs_until: Option<Timestamp>,
    pub run_for: Option<SignedDuration>,
}

/// The pool of most tests. Big GPUs may serve HPC, small ones may not.
pub fn pool_yaml() -> GPUPoolSpec {
    serde_yaml::from_str(
        "
        nodeSelector: {matchLabels: {site: texas}}
        classes:
        - {model: RTX-3090, memoryGiB: 24, networkGbps: 10, watts: {hpcPerGPU: 320, idlePerGPU: 25, host: 350}}
        - {model: GTX-1080, memoryGiB: 8, networkGbps: 1, watts: {hpcPerGPU: 230, idlePerGPU: 15, host: 350}}
        power: {price: {signal: power}, pue: '1.10'}
        mining: {profiles: [{namespace: mining, name: etc}]}
        hpc:
          price:
            signal: gpu-hour
            podAnnotation: {namespaces: [research], maxUSDPerGPUHour: '3'}
          eligibility: {memoryGiB: 16}
          idleAfter: 5m
        shifting: {mode: Active, budgets: [], patience: '0'}
        ",
    )
    .unwrap()
}

pub fn profile_yaml() -> MiningProfileSpec {
    serde_yaml::from_str(
        "
        coin: ETC
        algorithm: etchash
        poolFeePercent: '0'
        income: {signal: mining}
        hardware:
        - {model: RTX-3090, hashrate: 120M, watts: 290}
        - {model: GTX-1080, hashrate: 45M, watts: 200}
        template: {spec: {containers: [{name: miner, image: miner}]}}
        ",
    )
    .unwrap()
}

pub fn etc() -> ProfileRef {
    ProfileRef { namespace: "mining".into(), name: "etc".into() }
}

impl World {
    /// A pool `texas` in mode Active, one profile, three trusted signals, no node.
    pub fn new() -> Self {
        let mut world = Self {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            pools: BTreeMap::from([("texas".to_owned(), pool_yaml())]),
            observer: Observer::default(),
            deleting: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            believed: BTreeMap::new(),
            profiles: BTreeMap::from([(etc(), profile_yaml())]),
            signals: BTreeMap::new(),
            forecasts: BTreeMap::new(),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            shifts: Vec::new(),
            ended: Vec::new(),
            system: Vec::new(),
            hold: None,
            breakers: BTreeMap::new(),
            reset_breaker: None,
            hurt: Vec::new(),
            evicted: Vec::new(),
            uids: 0,
        };
        world.signal("power", Measure::Energy, 0.10);
        world.signal("mining", Measure::HashIncome, INCOME * 1e-6);
        world.signal("gpu-hour", Measure::GpuHour, 1.0);
        world
    }

    /// The same with `count` big nodes that have mined for a day.
    pub fn mining(count: usize) -> Self {
        let mut world = Self::new();
        for index in 0..count {
            world.add_node(&format!("n{index:03}"), BIG, Use::Mining);
        }
        world.run_controllers();
        world
    }

    pub fn pool(&mut self) -> &mut GPUPoolSpec {
        self.pools.get_mut("texas").unwrap()
    }

    pub fn signal(&mut self, name: &str, measure: Measure, value: f64) {
        self.signals
            .insert(name.to_owned(), Reading { measure, value: Some(value), trusted: true });
    }

    pub fn set(&mut self, name: &str, value: f64) {
        self.signals.get_mut(name).unwrap().value = Some(value);
    }

    pub fn distrust(&mut self, name: &str) {
        self.signals.get_mut(name).unwrap().trusted = false;
    }

    fn uid(&mut self) -> String {
        self.uids += 1;
        format!("uid-{}", self.uids)
    }

    /// A node without marks.
    pub fn add_bare_node(&mut self, name: &str, model: &str) {
        let uid = self.uid();
        let labels = BTreeMap::from([
            ("site".to_owned(), "texas".to_owned()),
            ("nvidia.com/gpu.product".to_owned(), model.to_owned()),
            ("kubernetes.io/hostname".to_owned(), name.to_owned()),
        ]);
        let node = Node {
            uid,
            labels,
            other_taints: Vec::new(),
            marks: Marks::default(),
            skip: false,
            pin: None,
            cordoned: false,
            ready: true,
            gpus: 8,
            empty_since: Some(self.now - SignedDuration::from_hours(24)),
        };
        self.nodes.insert(name.to_owned(), node);
    }

    /// A node that has been in its use for a day.
    pub fn add_node(&mut self, name: &str, model: &str, node_use: Use) {
        self.add_bare_node(name, model);
        let since = self.now - SignedDuration::from_hours(24);
        let profile = keys::profile_value("mining", "etc");
        self.nodes.get_mut(name).unwrap().marks = Marks {
            pool: Some("texas".into()),
            node_use: Some(node_use),
            taint: Barrier::of(node_use),
            profile: (node_use == Use::Mining).then(|| profile.as_str().into()),
            gpus: Some(8),
            claim: None,
            since: Some(since),
        };
    }

    pub fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).unwrap()
    }

    pub fn pod(&mut self, name: &str) -> &mut Pod {
        self.pods.get_mut(name).unwrap()
    }

    /// A job of one pod that waits; it runs for an hour.
    pub fn add_job(&mut self, name: &str, gpus: u32) {
        self.add_gang(name, 1, gpus);
    }

    /// A gang of `size` pods, each with `gpus` GPUs, that waits; it runs for an hour.
    pub fn add_gang(&mut self, name: &str, size: u32, gpus: u32) {
        for index in 0..size {
            let uid = self.uid();
            let work = Work { kind: "Job", namespace: "research".into(), name: name.into(), size };
            let pod = Pod {
                uid,
                namespace: "research".into(),
                labels: BTreeMap::new(),
                node: None,
                running: false,
                terminating: false,
                never_stops: false,
                gated: false,
                gpus,
                constraints: Constraints::default(),
                owner: Some(format!("job-{name}")),
                work,
                created: self.now,
                price: None,
                runs_until: None,
                run_for: Some(SignedDuration::from_hours(1)),
            };
            self.pods.insert(format!("{name}-{index}"), pod);
        }
    }

    /// A pod of a customer that is bound to a node, whatever its taints.
    pub fn bind_job(&mut self, name: &str, node: &str, gpus: u32) {
        self.add_job(name, gpus);
        let pod = self.pod(&format!("{name}-0"));
        pod.node = Some(node.to_owned());
        pod.running = true;
        pod.run_for = None;
    }

    /// A DaemonSet of somebody else's on every node.
    pub fn add_daemon_set(&mut self, name: &str, constraints: Constraints) {
        self.system.push(DaemonSetFacts {
            namespace: "kube-system".into(),
            name: name.into(),
            uid: format!("ds-{name}").as_str().into(),
            profile: None,
            constraints: Arc::new(constraints),
        });
    }

    pub fn uses(&self) -> BTreeMap<String, Use> {
        self.nodes
            .iter()
            .filter_map(|(name, node)| Some((name.clone(), node.marks.node_use?)))
            .collect()
    }

    pub fn count(&self, node_use: Use) -> usize {
        self.uses().values().filter(|found| **found == node_use).count()
    }

    pub fn running(&self, prefix: &str) -> usize {
        self.pods.iter().filter(|(name, pod)| name.starts_with(prefix) && pod.running).count()
    }

    pub fn snapshot(&self) -> Snapshot {
        let pools = self.pools.iter().filter(|(name, _)| !self.unreadable.contains(*name));
        Snapshot {
            now: self.now,
            pools: pools
                .map(|(name, spec)| PoolFacts {
                    name: name.as_str().into(),
                    spec: Arc::new(spec.clone()),
                    selector: Selector::parse(&spec.node_selector).unwrap(),
                    deleting: self.deleting.contains(name),
                    learned: Vec::new(),
                    believed_size: self.believed.get(name).copied().unwrap_or(0),
                    confirmed_size: None,
                    breaker: self.breakers.get(name).cloned().unwrap_or_default(),
                    reset_breaker: self.reset_breaker.as_deref().map(Into::into),
                })
                .collect(),
            unreadable_pools: self.unreadable.iter().map(|name| name.as_str().into()).collect(),
            profiles: self
                .profiles
                .iter()
                .map(|(name, spec)| {
                    let facts = ProfileFacts {
                        spec: Arc::new(spec.clone()),
                        pod_selector: spec
                            .pod_selector
                            .as_ref()
                            .map(|selector| Selector::parse(selector).unwrap()),
                    };
                    (name.clone(), facts)
                })
                .collect(),
            signals: self.signals.clone(),
            forecasts: self.forecasts.clone(),
            experience: self.observer.experience(),
            nodes: self.nodes.iter().map(|(name, node)| node_facts(name, node)).collect(),
            pods: self.pods.iter().map(|(name, pod)| pod_facts(name, pod)).collect(),
            shifts: self.shifts.clone(),
            history: self.history(),
            hold: self.hold.clone(),
            daemon_sets: self
                .system
                .iter()
                .cloned()
                .chain(self.profiles.keys().map(|profile| DaemonSetFacts {
                    namespace: profile.namespace.as_str().into(),
                    name: profile.name.as_str().into(),
                    uid: miner_set(profile).as_str().into(),
                    profile: Some(profile.clone()),
                    constraints: Arc::default(),
                }))
                .collect(),
        }
    }

    fn history(&self) -> Vec<ShiftFacts> {
        let looked_at = |shift: &&ShiftFacts| {
            let within = self.pools[&shift.spec.pool].shifting.breaker.within;
            shift
                .status
                .finished
                .is_some_and(|finished| breaker::looks_at(&shift.spec, finished, within, self.now))
        };
        self.ended.iter().filter(looked_at).cloned().collect()
    }

    pub fn plan(&self) -> Plan {
        let snapshot = self.snapshot();
        plan::decide(&survey(&snapshot))
    }

    /// What was decided about a node of the pool `texas`.
    pub fn decision(&self, node: &str) -> plan::NodeDecision {
        let snapshot = self.snapshot();
        let survey = survey(&snapshot);
        let pool = &survey.pools[0];
        let index = pool.nodes.iter().position(|view| *view.facts.name == *node).unwrap();
        plan::decide(&survey).pools[0].decisions[index].clone()
    }

    /// Everything once: upkeep, running shifts, new orders; then the cluster's own controllers.
    pub fn tick(&mut self, seconds: i64) {
        self.operate();
        self.run_controllers();
        self.now += SignedDuration::from_secs(seconds);
        self.age();
    }

    pub fn run(&mut self, ticks: usize, seconds: i64) {
        for _ in 0..ticks {
            self.tick(seconds);
        }
    }

    /// The operator's part of a tick. Returns how many writes it made.
    pub fn operate(&mut self) -> usize {
        let snapshot = self.snapshot();
        let survey = survey(&snapshot);
        let plan = plan::decide(&survey);
        let upkeep = upkeep(&survey, &plan);
        let steps: Vec<_> = snapshot
            .shifts
            .iter()
            .map(|shift| (shift.name.clone(), phase::step(&survey, shift)))
            .collect();
        for pool in &survey.pools {
            self.breakers.insert(pool.facts.name.to_string(), pool.breaker.clone());
        }

        let mut count = upkeep.writes.len();
        upkeep.writes.iter().for_each(|write| self.write(write));
        upkeep.evictions.iter().for_each(|eviction| self.evict(eviction));
        self.observer.look(&survey);
        for (name, step) in steps {
            if let Some(shift) = snapshot.shifts.iter().find(|shift| shift.name == name) {
                self.observer.shifted(&shift.spec.pool.as_str().into(), shift, &step.status);
            }
            count += step.writes.len();
            step.writes.iter().for_each(|write| self.write(write));
            step.evictions.iter().for_each(|eviction| self.evict(eviction));
            self.note(&name, step.status);
        }
        for spec in plan.pools.into_iter().flat_map(|pool| pool.orders) {
            count += 1;
            let name = format!("shift-{}", self.uid());
            self.shifts.push(ShiftFacts {
                name: name.as_str().into(),
                spec: Arc::new(spec),
                created: self.now,
                status: NodeShiftStatus::default(),
            });
        }
        count
    }

    fn note(&mut self, name: &str, status: NodeShiftStatus) {
        let index = self.shifts.iter().position(|shift| *shift.name == *name).unwrap();
        self.shifts[index].status = status;
        if self.shifts[index].status.phase.is_final() {
            self.ended.push(self.shifts.remove(index));
        }
    }

    pub fn write(&mut self, write: &NodeWrite) {
        let Some(node) = self.nodes.get_mut(&*write.node) else {
            return;
        };
        if *node.uid == *write.uid && node.marks.claim == write.found_claim {
            node.marks = write.marks.clone();
        }
    }

    fn evict(&mut self, eviction: &Eviction) {
        let Some(pod) = self.pods.get_mut(&*eviction.name) else {
            return;
        };
        if *pod.uid == *eviction.uid {
            pod.terminating = true;
            self.evicted.push(eviction.name.to_string());
            if pod.namespace == "research" {
                self.hurt.push(eviction.name.to_string());
            }
        }
    }

    /// DaemonSets, the scheduler and the kubelets, once.
    pub fn run_controllers(&mut self) {
        self.pods.retain(|_, pod| !pod.terminating || pod.never_stops);
        let now = self.now;
        self.pods.retain(|_, pod| pod.runs_until.is_none_or(|until| until > now));
        self.run_daemon_sets();
        self.schedule();
        for pod in self.pods.values_mut().filter(|pod| pod.node.is_some() && !pod.terminating) {
            if !pod.running {
                pod.running = true;
                pod.runs_until = pod.run_for.map(|run_for| now + run_for);
            }
        }
    }

    fn run_daemon_sets(&mut self) {
        for profile in self.profiles.keys().cloned().collect::<Vec<_>>() {
            if self.profiles[&profile].template.is_none() {
                continue;
            }
            let label = keys::profile_value(&profile.namespace, &profile.name);
            for (name, node) in self.nodes.clone() {
                let pod = format!("miner-{}-{name}", profile.name);
                let wanted = node.marks.node_use == Some(Use::Mining)
                    && node.marks.profile.as_deref() == Some(&label);
                match (wanted, self.pods.contains_key(&pod)) {
                    (true, false) => self.add_miner(&pod, &profile, &name, node.gpus),
                    (false, true) => self.pod(&pod).terminating = true,
                    _ => {}
                }
            }
        }
    }

    pub fn add_miner(&mut self, name: &str, profile: &ProfileRef, node: &str, gpus: u32) {
        let uid = self.uid();
        let pod = Pod {
            uid,
            namespace: profile.namespace.clone(),
            labels: BTreeMap::from([("app".to_owned(), "miner".to_owned())]),
            node: None,
            running: false,
            terminating: false,
            never_stops: false,
            gated: false,
            gpus,
            constraints: Constraints {
                node_selector: BTreeMap::from([(
                    "kubernetes.io/hostname".to_owned(),
                    node.to_owned(),
                )]),
                tolerations: vec![k8s_openapi::api::core::v1::Toleration {
                    operator: Some("Exists".into()),
                    ..Default::default()
                }],
                affinity: None,
            },
            owner: Some(miner_set(profile)),
            work: Work {
                kind: "Pod",
                namespace: profile.namespace.as_str().into(),
                name: name.into(),
                size: 1,
            },
            created: self.now,
            price: None,
            runs_until: None,
            run_for: None,
        };
        self.pods.insert(name.to_owned(), pod);
    }

    fn schedule(&mut self) {
        let mut waiting: Vec<String> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.node.is_none() && !pod.gated && !pod.terminating)
            .map(|(name, _)| name.clone())
            .collect();
        waiting.sort_by_key(|name| (self.pods[name].created, name.clone()));
        for name in waiting {
            let pod = self.pods[&name].clone();
            let host = self.nodes.iter().find(|(host, node)| {
                let used: u32 = self
                    .pods
                    .values()
                    .filter(|other| other.node.as_deref() == Some(host))
                    .map(|other| other.gpus)
                    .sum();
                let facts = node_facts(host, node);
                let target = fit::Target {
                    name: host,
                    labels: &facts.labels,
                    taints: &node.other_taints,
                    as_use: node.marks.taint.map_or(Use::Hpc, Barrier::node_use),
                };
                !node.cordoned
                    && node.marks.taint != Some(Barrier::Closed)
                    && node.gpus.saturating_sub(used) >= pod.gpus
                    && fit::admits(&pod.constraints, target)
            });
            if let Some((host, _)) = host {
                let host = host.clone();
                self.pod(&name).node = Some(host);
            }
        }
    }

    /// What the controller keeps in mind: since when a node has no job.
    fn age(&mut self) {
        for (name, node) in &mut self.nodes {
            let busy = self
                .pods
                .values()
                .any(|pod| pod.node.as_deref() == Some(name) && pod.namespace == "research");
            node.empty_since = if busy { None } else { node.empty_since.or(Some(self.now)) };
        }
    }
}

fn miner_set(profile: &ProfileRef) -> String {
    format!("set-{profile}")
}

fn node_facts(name: &str, node: &Node) -> NodeFacts {
    let mut labels = node.labels.clone();
    if let Some(node_use) = node.marks.node_use {
        labels.insert(keys::USE.to_owned(), keys::use_value(node_use).to_owned());
    }
    let ours = node.marks.taint.map(Barrier::taint);
    NodeFacts {
        name: name.into(),
        uid: node.uid.as_str().into(),
        labels: labels.into(),
        taints: node.other_taints.iter().cloned().chain(ours).collect(),
        marks: node.marks.clone(),
        skip: node.skip,
        pin: node.pin.as_deref().map(Pin::parse),
        cordoned: node.cordoned,
        ready: node.ready,
        allocatable: resources(node.gpus, 64_000, 110),
        empty_since: node.empty_since,
    }
}

fn pod_facts(name: &str, pod: &Pod) -> PodFacts {
    PodFacts {
        namespace: pod.namespace.as_str().into(),
        name: name.into(),
        uid: pod.uid.as_str().into(),
        labels: pod.labels.clone().into(),
        node: pod.node.as_deref().map(Into::into),
        running: pod.running,
        terminating: pod.terminating,
        gated: pod.gated,
        requests: resources(pod.gpus, 1000, 1),
        constraints: Arc::new(pod.constraints.clone()),
        owner: pod.owner.as_deref().map(Into::into),
        work: pod.work.clone(),
        created: pod.created,
        named_price: pod.price.and_then(UsdPerGpuHour::new),
    }
}

fn resources(gpus: u32, cpu_milli: i64, pods: i64) -> Resources {
    Resources {
        cpu_milli,
        memory_bytes: cpu_milli << 20,
        pods,
        extended: [(GPU.into(), i64::from(gpus))].into_iter().collect(),
    }
}
