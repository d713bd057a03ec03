//! Clusters as they might be found on any day, of any size, and the same every time.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Toleration};
use switchyard_api::{
    BreakerStatus, Cause, GPUPoolSpec, MiningProfileSpec, Mode, NodeRef, NodeShiftSpec,
    NodeShiftStatus, ProfileRef, Selector, Use, keys,
};
use switchyard_core::{
    quantity::{Measure, UsdPerGpuHour},
    snapshot::{
        Barrier, Constraints, DaemonSetFacts, Labels, Marks, NodeFacts, PodFacts, PoolFacts,
        ProfileFacts, Reading, Resources, ShiftFacts, Snapshot, Strings, Work,
    },
};

const POOLS: usize = 4;
const PODS_PER_NODE: usize = 4;
const GPU: &str = "nvidia.com/gpu";
/// Model, memory, network, watts in HPC and mining, MH/s: the last two may not serve HPC.
const CLASSES: [(&str, u32, u32, u32, u32, u32); 8] = [
    ("NVIDIA-H100-80GB-HBM3", 80, 400, 650, 420, 210),
    ("NVIDIA-A100-SXM4-80GB", 80, 200, 380, 260, 170),
    ("NVIDIA-L40S", 48, 100, 330, 280, 130),
    ("NVIDIA-A40", 48, 100, 290, 240, 95),
    ("NVIDIA-GeForce-RTX-4090", 24, 25, 430, 300, 132),
    ("NVIDIA-GeForce-RTX-3090", 24, 10, 320, 290, 121),
    ("NVIDIA-GeForce-RTX-3060-Ti", 8, 1, 190, 125, 61),
    ("NVIDIA-GeForce-GTX-1080", 8, 1, 170, 140, 38),
];
const PROFILES: [&str; 5] = ["etc", "ergo", "kaspa", "ravencoin", "flux"];
const NAMESPACES: [&str; 4] = ["research", "vision", "weather", "rendering"];

/// What the controller keeps once when it reads objects is kept once here, too.
fn strings() -> MutexGuard<'static, Strings> {
    static STRINGS: LazyLock<Mutex<Strings>> = LazyLock::new(Mutex::default);
    STRINGS.lock().unwrap()
}

fn shared(text: &str) -> Arc<str> {
    strings().text(text)
}

fn shared_labels(labels: &BTreeMap<String, String>) -> Labels {
    strings().labels(labels)
}

/// A number that looks like chance and is the same every time (the finalizer of SplitMix64).
fn chance(of: usize, salt: u64, below: usize) -> usize {
    let mut bits = (of as u64).wrapping_add(salt << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((bits ^ (bits >> 31)) % below as u64).unwrap_or(0)
}

/// Half of the nodes mine, a third serves jobs, the others idle; one in fifty is on the move. There
/// are four pods to a node: miners, jobs of 1 to 8 GPUs, system pods, and `gangs` gangs that wait.
pub fn snapshot(nodes: usize, gangs: usize) -> Snapshot {
    let now: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
    let nodes: Vec<_> = (0..nodes).map(|index| node(index, now)).collect();
    let shifts = shifts(&nodes, now);
    let constraints = constraints();
    let mut pods: Vec<_> = nodes
        .iter()
        .enumerate()
        .flat_map(|(index, node)| lodgers(index, node, &constraints, now))
        .chain((0..gangs).flat_map(|index| gang(index, &constraints, now)))
        .collect();
    let missing = (nodes.len() * PODS_PER_NODE).saturating_sub(pods.len());
    let system = (0..missing).map(|index| system(index, &nodes[index % nodes.len()], now));
    pods.extend(system);
    pods.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    Snapshot {
        now,
        pools: (0..POOLS).map(|index| pool(index, nodes.len() / POOLS)).collect(),
        profiles: profiles(),
        signals: signals(),
        nodes,
        pods,
        shifts,
        daemon_sets: daemon_sets(),
        ..Snapshot::default()
    }
}

fn pool(index: usize, nodes: usize) -> PoolFacts {
    let classes = CLASSES.iter().map(|(model, memory, network, hpc, _, _)| {
        format!(
            "{{model: {model}, memoryGiB: {memory}, networkGbps: {network}, \
             watts: {{hpcPerGPU: {hpc}, idlePerGPU: 30, host: 400}}}}"
        )
    });
    let profiles = PROFILES.iter().map(|name| format!("{{namespace: mining, name: {name}}}"));
    let spec: GPUPoolSpec = serde_yaml::from_str(&format!(
        "
        nodeSelector: {{matchLabels: {{site: site-{index}}}}}
        classes: [{}]
        power: {{price: {{signal: power}}, pue: '1.10'}}
        mining: {{profiles: [{}], nodes: {{min: 5%}}}}
        hpc:
          price:
            signal: gpu-hour
            podAnnotation: {{namespaces: [{}], maxUSDPerGPUHour: '4'}}
          nodes: {{min: 5%}}
          eligibility: {{memoryGiB: 16}}
        shifting: {{mode: Active}}
        ",
        classes.collect::<Vec<_>>().join(", "),
        profiles.collect::<Vec<_>>().join(", "),
        NAMESPACES.join(", "),
    ))
    .unwrap();
    PoolFacts {
        name: format!("site-{index}").into(),
        selector: Selector::parse(&spec.node_selector).unwrap(),
        spec: Arc::new(spec),
        deleting: false,
        learned: Vec::new(),
        breaker: BreakerStatus::default(),
        reset_breaker: None,
        believed_size: nodes.try_into().unwrap(),
        confirmed_size: None,
    }
}

fn profile(index: usize) -> ProfileRef {
    ProfileRef { namespace: "mining".into(), name: PROFILES[index].into() }
}

/// Each profile mines with every second or third model.
fn profiles() -> BTreeMap<ProfileRef, ProfileFacts> {
    let facts = |index: usize| {
        let hardware = CLASSES.iter().enumerate().filter(|(class, _)| class % 3 != index % 3);
        let hardware = hardware.map(|(_, (model, _, _, _, watts, rate))| {
            let rate = rate * (10 + u32::try_from(index).unwrap()) / 10;
            format!("{{model: {model}, hashrate: {rate}M, watts: {watts}}}")
        });
        let spec: MiningProfileSpec = serde_yaml::from_str(&format!(
            "
            coin: {name}
            algorithm: {name}
            poolFeePercent: '1'
            income: {{signal: {name}-income}}
            hardware: [{}]
            template: {{spec: {{containers: [{{name: miner, image: miner}}]}}}}
            ",
            hardware.collect::<Vec<_>>().join(", "),
            name = PROFILES[index],
        ))
        .unwrap();
        ProfileFacts { spec: Arc::new(spec), pod_selector: None }
    };
    (0..PROFILES.len()).map(|index| (profile(index), facts(index))).collect()
}

fn signals() -> BTreeMap<String, Reading> {
    let reading = |measure, value| Reading { measure, value: Some(value), trusted: true };
    let incomes = PROFILES.iter().zip(0_u32..).map(|(name, index)| {
        let income = reading(Measure::HashIncome, (0.060 - 0.006 * f64::from(index)) * 1e-6);
        (format!("{name}-income"), income)
    });
    let prices = [
        ("power".to_owned(), reading(Measure::Energy, 0.09)),
        ("gpu-hour".to_owned(), reading(Measure::GpuHour, 1.1)),
    ];
    incomes.chain(prices).collect()
}

fn node(index: usize, now: Timestamp) -> NodeFacts {
    let name = format!("gpu-{index:06}");
    let (model, ..) = CLASSES[chance(index, 1, CLASSES.len())];
    let node_use = match chance(index, 2, 100) {
        0..50 => Use::Mining,
        50..85 => Use::Hpc,
        _ => Use::Idle,
    };
    let mines = profile(chance(index, 3, PROFILES.len()));
    let pool = format!("site-{}", index % POOLS);
    let moves = node_use == Use::Mining && chance(index, 9, 25) == 0;
    let marks = Marks {
        pool: Some(pool.as_str().into()),
        node_use: Some(if moves { Use::Hpc } else { node_use }),
        taint: Barrier::of(node_use),
        profile: (node_use == Use::Mining)
            .then(|| keys::profile_value(&mines.namespace, &mines.name).into()),
        gpus: Some(8),
        claim: moves.then(|| format!("{pool}-to-hpc-{}", index / 3_200).into()),
        since: Some(now - SignedDuration::from_mins(chance(index, 4, 2_000).try_into().unwrap())),
    };
    let mut labels = BTreeMap::from([
        ("site".to_owned(), pool),
        ("nvidia.com/gpu.product".to_owned(), model.to_owned()),
        ("kubernetes.io/hostname".to_owned(), name.clone()),
        ("topology.kubernetes.io/zone".to_owned(), format!("hall-{}", index % 12)),
        (keys::USE.to_owned(), keys::use_value(node_use).to_owned()),
    ]);
    // As many as a device plugin's feature discovery leaves on a node.
    labels.extend((0..20).map(|fact| (format!("nvidia.com/fact-{fact}"), fact.to_string())));
    NodeFacts {
        uid: format!("uid-{name}").into(),
        name: shared(&name),
        labels: shared_labels(&labels),
        taints: marks.taint.map(Barrier::taint).into_iter().collect(),
        marks,
        pin: None,
        skip: chance(index, 5, 500) == 0,
        cordoned: chance(index, 6, 200) == 0,
        ready: chance(index, 7, 100) != 0,
        allocatable: resources(8, 128_000, 110),
        empty_since: (chance(index, 8, 4) != 0).then(|| now - SignedDuration::from_mins(7)),
    }
}

/// The same, with nothing under way, looked at and not touched.
pub fn at_rest(mut snapshot: Snapshot) -> Snapshot {
    snapshot.shifts.clear();
    for pool in &mut snapshot.pools {
        Arc::make_mut(&mut pool.spec).shifting.mode = Mode::DryRun;
    }
    for node in &mut snapshot.nodes {
        node.marks.claim = None;
        node.empty_since.get_or_insert(snapshot.now);
    }
    snapshot
}

/// One shift from mining to HPC for all nodes with the same claim.
fn shifts(nodes: &[NodeFacts], now: Timestamp) -> Vec<ShiftFacts> {
    let mut by_claim: BTreeMap<Arc<str>, Vec<NodeRef>> = BTreeMap::new();
    for node in nodes {
        if let Some(claim) = &node.marks.claim {
            let node = NodeRef { name: node.name.to_string(), uid: node.uid.to_string() };
            by_claim.entry(claim.clone()).or_default().push(node);
        }
    }
    let shifts = by_claim.into_iter().map(|(name, nodes)| ShiftFacts {
        spec: Arc::new(NodeShiftSpec {
            pool: name.split_once("-to-").unwrap().0.to_owned(),
            from: Use::Mining,
            to: Use::Hpc,
            from_profile: None,
            profile: None,
            nodes,
            cause: Cause::Demand,
            gang: None,
            serves: Vec::new(),
            gain_usd_per_hour: None,
            deadline: now + SignedDuration::from_mins(2),
        }),
        name,
        created: now - SignedDuration::from_secs(20),
        status: NodeShiftStatus::default(),
    });
    shifts.collect()
}

/// The pods that are bound to a node because of its use: a miner, or up to four jobs.
fn lodgers(
    index: usize,
    node: &NodeFacts,
    any: &[Arc<Constraints>],
    now: Timestamp,
) -> Vec<PodFacts> {
    let bound = |mut pod: PodFacts| {
        pod.node = Some(shared(&node.name));
        pod.running = true;
        pod
    };
    match node.marks.taint.map(Barrier::node_use) {
        Some(Use::Mining) => {
            let profile = chance(index, 3, PROFILES.len());
            let mut miner = pod("mining", &format!("miner-{}", node.name), 8, &any[0], now);
            miner.owner = Some(shared(&format!("set-{}", PROFILES[profile])));
            vec![bound(miner)]
        }
        None => {
            let (jobs, gpus) = [(1, 8), (1, 8), (1, 4), (2, 2), (3, 1), (4, 2), (4, 1), (0, 0)]
                [chance(index, 10, 8)];
            let namespace = NAMESPACES[chance(index, 11, NAMESPACES.len())];
            let job = |job| pod(namespace, &format!("job-{}-{job}", node.name), gpus, &any[0], now);
            (0..jobs).map(job).map(bound).collect()
        }
        Some(Use::Hpc | Use::Idle) => Vec::new(),
    }
}

/// A pod of a DaemonSet that asks for no GPU.
fn system(index: usize, node: &NodeFacts, now: Timestamp) -> PodFacts {
    let mut pod = pod("kube-system", &format!("exporter-{index}"), 0, &Arc::default(), now);
    pod.node = Some(shared(&node.name));
    pod.running = true;
    pod.owner = Some(shared("set-exporter"));
    pod
}

/// A gang of 2 to 16 pods that waits. Its pods ask for 8 GPUs or 4; it names a price or takes the
/// pool's; it is particular about the model or the hall or not.
fn gang(index: usize, any: &[Arc<Constraints>], now: Timestamp) -> Vec<PodFacts> {
    let namespace = NAMESPACES[chance(index, 21, NAMESPACES.len())];
    let size = 2 + u32::try_from(chance(index, 22, 15)).unwrap();
    let gpus = if chance(index, 23, 4) == 0 { 4 } else { 8 };
    let cents = 30 + u32::try_from(chance(index, 24, 270)).unwrap();
    let named = chance(index, 25, 3) != 0;
    let constraints = &any[chance(index, 26, any.len())];
    let created = now - SignedDuration::from_secs(i64::try_from(index % 3_600).unwrap());
    let pods = (0..size).map(|member| {
        let name = format!("gang-{index:05}-{member}");
        let mut pod = pod(namespace, &name, gpus, constraints, created);
        pod.owner = Some(shared(&format!("job-{index}")));
        pod.work.kind = "Job";
        pod.work.name = format!("gang-{index:05}").into();
        pod.work.size = size;
        pod.named_price = UsdPerGpuHour::new(f64::from(cents) / 100.0).filter(|_| named);
        pod
    });
    pods.collect()
}

fn pod(
    namespace: &str,
    name: &str,
    gpus: i64,
    constraints: &Arc<Constraints>,
    created: Timestamp,
) -> PodFacts {
    PodFacts {
        namespace: shared(namespace),
        name: name.into(),
        uid: format!("uid-{name}").into(),
        labels: shared_labels(&BTreeMap::from([("app".to_owned(), name.to_owned())])),
        node: None,
        running: false,
        terminating: false,
        gated: false,
        requests: resources(gpus, 1_000 + 8_000 * gpus, 1),
        constraints: constraints.clone(),
        owner: None,
        work: Work { kind: "Pod", namespace: shared(namespace), name: name.into(), size: 1 },
        created,
        named_price: None,
    }
}

/// What pods ask of nodes: mostly nothing; a model; not these halls.
fn constraints() -> Vec<Arc<Constraints>> {
    let model = |class: usize| Constraints {
        node_selector: BTreeMap::from([(
            "nvidia.com/gpu.product".to_owned(),
            CLASSES[class].0.to_owned(),
        )]),
        ..Constraints::default()
    };
    let hall = NodeSelectorRequirement {
        key: "topology.kubernetes.io/zone".into(),
        operator: "NotIn".into(),
        values: Some(vec!["hall-3".into(), "hall-7".into()]),
    };
    let halls = Constraints {
        affinity: Some(vec![NodeSelectorTerm {
            match_expressions: Some(vec![hall]),
            match_fields: None,
        }]),
        ..Constraints::default()
    };
    let nothing = Constraints::default;
    let all = [nothing(), nothing(), nothing(), nothing(), model(0), model(1), model(4), halls];
    all.into_iter().map(Arc::new).collect()
}

fn daemon_sets() -> Vec<DaemonSetFacts> {
    let everywhere = Constraints {
        tolerations: vec![Toleration { operator: Some("Exists".into()), ..Toleration::default() }],
        ..Constraints::default()
    };
    let everywhere = Arc::new(everywhere);
    let set = |namespace: &str, name: &str, profile| DaemonSetFacts {
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("set-{name}").into(),
        profile,
        constraints: everywhere.clone(),
    };
    let miners = PROFILES.iter().enumerate();
    miners
        .map(|(index, name)| set("mining", name, Some(profile(index))))
        .chain([set("kube-system", "exporter", None)])
        .collect()
}

fn resources(gpus: i64, cpu_milli: i64, pods: i64) -> Resources {
    let gpus = (gpus > 0).then(|| (shared(GPU), gpus));
    Resources {
        cpu_milli,
        memory_bytes: cpu_milli << 22,
        pods,
        extended: gpus.into_iter().collect(),
    }
}
