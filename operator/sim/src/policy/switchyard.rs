//! The product itself: the very core that runs live, shown the simulated site as a [`Snapshot`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use switchyard_api::{
    BreakerStatus, Cause, Decimal, GPUPoolSpec, MinDwell, Mode, NodeRef, NodeShiftSpec,
    NodeShiftStatus, Period, PodAnnotationPrice, ProfileRef, Selector, Use, keys,
};
use switchyard_core::{
    forecast::Forecast,
    observer::Observer,
    plan,
    quantity::{Measure, UsdPerGpuHour},
    snapshot::{
        Barrier, Constraints, Labels, Marks, NodeFacts, PodFacts, PoolFacts, ProfileFacts, Reading,
        Resources, ShiftFacts, Snapshot, Work,
    },
    survey, upkeep,
};

use crate::{
    engine::{Activity, NodeState},
    forecast::Told,
    policy::{Decision, Door, Move, Policy, Seen, View, node_use},
    site::{Job, Site},
};

const POOL: &str = "site";
const NAMESPACE: &str = "jobs";
/// What a node and a pod have and want of everything but GPUs, so that only GPUs are scarce.
const PLENTY: i64 = 1 << 40;

/// The product's own policy, by the pool of the site.
#[derive(Debug)]
pub struct Switchyard {
    name: String,
    pool: PoolFacts,
    profiles: BTreeMap<ProfileRef, ProfileFacts>,
    nodes: Vec<NodeFacts>,
    by_name: HashMap<Arc<str>, usize>,
    labels: Vec<Arc<str>>,
    pods: HashMap<usize, PodFacts>,
    resource: Arc<str>,
    observer: Observer,
    told: Told,
    /// What is published of the power price, and until when it stays so, s.
    forecast: (Option<Arc<Forecast>>, f64),
    /// When each node that is in transit set out, s.
    departures: BTreeMap<usize, f64>,
}

impl Switchyard {
    /// By the site's own pool.
    pub fn new(site: &Site) -> Self {
        Self::with_pool("switchyard", site, &site.pool)
    }

    /// By the site's own pool, and what it is told of the future.
    pub fn told(name: impl Into<String>, site: &Site, told: Told) -> Self {
        Self { told, ..Self::with_pool(name, site, &site.pool) }
    }

    /// By the site's own pool, but for all that makes it wait: patience, dwell, budgets.
    pub fn impatient(name: impl Into<String>, site: &Site) -> Self {
        let mut spec = site.pool.clone();
        spec.shifting.patience = Decimal::new(0.0).unwrap_or(spec.shifting.patience);
        spec.shifting.budgets.clear();
        let none = Period::from_secs(0);
        spec.shifting.min_dwell = MinDwell { mining: none, hpc: none, idle: none };
        spec.hpc.idle_after = none;
        Self::with_pool(name, site, &spec)
    }

    /// By another pool's policy.
    pub fn with_pool(name: impl Into<String>, site: &Site, spec: &GPUPoolSpec) -> Self {
        let spec = as_simulated(site, spec);
        let pool: Arc<str> = POOL.into();
        let nodes: Vec<NodeFacts> = site
            .nodes
            .iter()
            .map(|node| {
                let class = &site.classes[node.class];
                let labels = BTreeMap::from([(spec.gpu.model_label.clone(), class.model.clone())]);
                NodeFacts {
                    name: node.name.as_str().into(),
                    uid: node.name.as_str().into(),
                    labels: labels.into(),
                    taints: Arc::default(),
                    marks: Marks {
                        pool: Some(pool.clone()),
                        gpus: Some(class.gpus),
                        ..Marks::default()
                    },
                    skip: false,
                    pin: None,
                    cordoned: false,
                    ready: true,
                    allocatable: resources(&spec.gpu.resource_name, class.gpus, PLENTY),
                    empty_since: None,
                }
            })
            .collect();
        let by_name = nodes.iter().enumerate();
        Self {
            name: name.into(),
            by_name: by_name.map(|(index, node)| (node.name.clone(), index)).collect(),
            nodes,
            profiles: site
                .profiles
                .iter()
                .map(|profile| {
                    let facts =
                        ProfileFacts { spec: Arc::new(profile.spec.clone()), pod_selector: None };
                    (profile.name.clone(), facts)
                })
                .collect(),
            labels: site
                .profiles
                .iter()
                .map(|profile| {
                    keys::profile_value(&profile.name.namespace, &profile.name.name).into()
                })
                .collect(),
            pods: HashMap::new(),
            resource: spec.gpu.resource_name.as_str().into(),
            observer: Observer::default(),
            told: Told::Published,
            forecast: (None, f64::MIN),
            departures: BTreeMap::new(),
            pool: PoolFacts {
                name: pool,
                selector: Selector::everything(),
                spec: Arc::new(spec),
                deleting: false,
                learned: Vec::new(),
                believed_size: u32::try_from(site.nodes.len()).unwrap_or(u32::MAX),
                confirmed_size: None,
                // It has no history to look at, so it stays closed.
                breaker: BreakerStatus::default(),
                reset_breaker: None,
            },
        }
    }

    fn snapshot(&mut self, view: &View<'_>) -> Snapshot {
        let now = time(view.site, view.now);
        if view.now >= self.forecast.1 {
            self.forecast = self.told.at(view.site, view.now);
        }
        let power = self.pool.spec.power.price.signal.clone();
        let nodes = view.nodes.iter().enumerate();
        let moving = nodes.clone().filter(|(_, node)| node.in_transit);
        Snapshot {
            now,
            pools: vec![self.pool.clone()],
            profiles: self.profiles.clone(),
            signals: signals(&self.pool.spec, view.site, &view.seen()),
            forecasts: power.into_iter().zip(self.forecast.0.clone()).collect(),
            shifts: moving.map(|(index, node)| self.shift(index, node, now)).collect(),
            nodes: nodes.map(|(index, node)| self.node(view.site, index, node)).collect(),
            pods: self.pods(view),
            experience: self.observer.experience(),
            ..Snapshot::default()
        }
    }

    fn node(&self, site: &Site, index: usize, state: &NodeState) -> NodeFacts {
        let known = &self.nodes[index];
        let node_use = node_use(state);
        let profile = match state.activity {
            Activity::Mining(profile) => self.labels.get(profile).cloned(),
            Activity::Hpc | Activity::Idle => None,
        };
        NodeFacts {
            marks: Marks {
                node_use: Some(node_use),
                taint: if state.closed { Some(Barrier::Closed) } else { Barrier::of(node_use) },
                profile,
                claim: state.in_transit.then(|| known.name.clone()),
                since: Some(time(site, state.since)),
                ..known.marks.clone()
            },
            empty_since: (state.jobs == 0).then(|| time(site, state.empty_since)),
            ..known.clone()
        }
    }

    /// Learns how long the switches took that have ended.
    fn measure_switches(&mut self, view: &View<'_>) {
        let arrived = |node: &usize| !view.nodes[*node].in_transit;
        let ended: Vec<usize> = self.departures.keys().copied().filter(arrived).collect();
        for node in ended {
            let state = &view.nodes[node];
            let departed = self.departures.remove(&node).unwrap_or(state.since);
            let took = SignedDuration::try_from_secs_f64(state.since - departed);
            let (from, to) = (state.from, node_use(state));
            self.observer.measured(&self.pool.name, from, to, took.unwrap_or_default());
        }
    }

    /// The shift of a node in transit, named after it.
    fn shift(&self, index: usize, state: &NodeState, now: Timestamp) -> ShiftFacts {
        let name = &self.nodes[index].name;
        let to = node_use(state);
        let spec = NodeShiftSpec {
            pool: POOL.to_owned(),
            from: state.from,
            from_profile: None,
            to,
            profile: None,
            nodes: vec![NodeRef { name: name.to_string(), uid: name.to_string() }],
            cause: if to == Use::Hpc { Cause::Demand } else { Cause::Price },
            gang: None,
            serves: Vec::new(),
            gain_usd_per_hour: None,
            deadline: Timestamp::MAX,
        };
        ShiftFacts {
            name: name.clone(),
            spec: Arc::new(spec),
            created: now,
            status: NodeShiftStatus::default(),
        }
    }

    /// The jobs that run, and those that the scheduler looks at.
    fn pods(&mut self, view: &View<'_>) -> Vec<PodFacts> {
        let mut pods = Vec::new();
        for running in view.running {
            for (node, gpus) in &running.nodes {
                let mut pod = self.pod(view.site, running.job).clone();
                pod.requests = resources(&self.resource, *gpus, 0);
                pod.node = Some(self.nodes[*node].name.clone());
                pod.running = true;
                pods.push(pod);
            }
        }
        for job in view.waiting.iter().take(view.site.model.backfill) {
            let pod = self.pod(view.site, *job);
            let size = usize::try_from(pod.work.size).unwrap_or(usize::MAX);
            pods.extend(std::iter::repeat_n(pod, size).cloned());
        }
        pods
    }

    fn pod(&mut self, site: &Site, job: usize) -> &PodFacts {
        let resource = &self.resource;
        self.pods.entry(job).or_insert_with(|| pod(site, job, &site.jobs[job], resource))
    }
}

impl Policy for Switchyard {
    fn name(&self) -> &str {
        &self.name
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        self.measure_switches(view);
        let snapshot = self.snapshot(view);
        let survey = survey::survey(&snapshot);
        let plan = plan::decide(&survey);
        self.observer.look(&survey);
        let mut decision = Decision::default();
        for order in plan.pools.iter().flat_map(|pool| &pool.orders) {
            let Some(to) = activity(view.site, order) else { continue };
            let nodes = order.nodes.iter();
            for node in nodes.filter_map(|node| self.by_name.get(node.name.as_str())) {
                self.departures.insert(*node, view.now);
                decision.moves.push(Move { node: *node, to });
            }
        }
        for write in upkeep::upkeep(&survey, &plan).writes {
            let shut = write.marks.taint == Some(Barrier::Closed);
            let door = if shut { Door::Shut } else { Door::Open };
            decision.doors.extend(self.by_name.get(&write.node).map(|node| (*node, door)));
        }
        decision
    }
}

/// The pool as the simulator has it: it selects every node, acts, and lets jobs name the price that
/// the site's table gives them.
fn as_simulated(site: &Site, spec: &GPUPoolSpec) -> GPUPoolSpec {
    let mut spec = spec.clone();
    spec.shifting.mode = Mode::Active;
    let most = site.jobs.iter().filter_map(|job| job.price).reduce(f64::max);
    spec.hpc.price.pod_annotation = most.and_then(Decimal::new).map(|most| PodAnnotationPrice {
        namespaces: vec![NAMESPACE.to_owned()],
        max_usd_per_gpu_hour: most,
    });
    spec
}

fn time(site: &Site, seconds: f64) -> Timestamp {
    let since = SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::ZERO);
    site.start.saturating_add(since).unwrap_or(site.start)
}

fn signals(spec: &GPUPoolSpec, site: &Site, seen: &Seen) -> BTreeMap<String, Reading> {
    let reading = |measure, value| Reading { measure, value: Some(value), trusted: true };
    let power = spec.power.price.signal.clone();
    let hpc = spec.hpc.price.signal.clone();
    let incomes = site.profiles.iter().zip(&seen.income).map(|(profile, income)| {
        (profile.spec.income.signal.clone(), reading(Measure::HashIncome, *income))
    });
    power
        .map(|name| (name, reading(Measure::Energy, seen.power)))
        .into_iter()
        .chain(hpc.map(|name| (name, reading(Measure::GpuHour, seen.hpc))))
        .chain(incomes)
        .collect()
}

/// A job that is larger than a node is a gang of pods that each take a node.
fn pod(site: &Site, index: usize, job: &Job, resource: &str) -> PodFacts {
    let per_node = site.model.gpus_per_node;
    let name: Arc<str> = format!("job-{index}").into();
    let namespace: Arc<str> = NAMESPACE.into();
    PodFacts {
        namespace: namespace.clone(),
        name: name.clone(),
        uid: name.clone(),
        labels: Labels::default(),
        node: None,
        running: false,
        terminating: false,
        gated: false,
        requests: resources(resource, job.gpus.min(per_node), 0),
        constraints: Arc::new(Constraints::default()),
        owner: None,
        work: Work { kind: "Job", namespace, name, size: job.gpus.div_ceil(per_node) },
        created: time(site, job.submit),
        named_price: job.price.and_then(UsdPerGpuHour::new),
    }
}

fn resources(resource: &str, gpus: u32, rest: i64) -> Resources {
    Resources {
        cpu_milli: rest,
        memory_bytes: rest,
        pods: rest,
        extended: [(resource.into(), i64::from(gpus))].into_iter().collect(),
    }
}

fn activity(site: &Site, order: &NodeShiftSpec) -> Option<Activity> {
    match order.to {
        Use::Hpc => Some(Activity::Hpc),
        Use::Idle => Some(Activity::Idle),
        Use::Mining => {
            let profile = order.profile.as_ref()?;
            let index = site.profiles.iter().position(|known| known.name == *profile)?;
            Some(Activity::Mining(index))
        }
    }
}
