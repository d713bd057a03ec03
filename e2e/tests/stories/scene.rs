//! A small site: a few nodes, three signals, a profile, a pool, and the operator.

use std::{collections::BTreeMap, fmt::Debug, future::Future, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{Node, Pod},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use switchyard_api::{GPUPool, MiningProfile, NodeShift, Phase, ProfitabilitySignal, Use, keys};
use switchyard_e2e::{
    Cluster, MINING, Operator, Prices, RESEARCH, Setup, eventually,
    objects::{BIG, JobSpec, NodeSpec, manifest},
};
use switchyard_rig::Options;

/// How long anything may take.
pub const SOON: Duration = Duration::from_secs(45);

/// The site.
pub struct Scene {
    pub operator: Option<Operator>,
    pub prices: Prices,
    pub cluster: Cluster,
}

/// `count` big nodes.
pub fn big_nodes(count: usize) -> Vec<NodeSpec> {
    (0..count).map(|index| NodeSpec::gpu(format!("gpu-{index}"), BIG)).collect()
}

/// The pool of most stories: mining pays, jobs pay more, nothing dwells.
pub const POOL: &str = "
apiVersion: switchyard.dev/v1alpha1
kind: GPUPool
metadata: {name: pool}
spec:
  nodeSelector: {matchLabels: {site: demo}}
  classes:
  - {model: NVIDIA-GeForce-RTX-3090, memoryGiB: 24, networkGbps: 10, watts: {hpcPerGPU: 320, idlePerGPU: 25, host: 350}}
  - {model: NVIDIA-GeForce-GTX-1080-Ti, memoryGiB: 11, networkGbps: 1, watts: {hpcPerGPU: 230, idlePerGPU: 15, host: 350}}
  power: {price: {signal: power}, pue: '1.10'}
  mining: {profiles: [{namespace: mining, name: etc}]}
  hpc:
    price: {signal: gpu-hour}
    eligibility: {memoryGiB: 16}
    idleAfter: 2s
  shifting:
    mode: Active
    patience: '0'
    minDwell: {mining: 1s, hpc: 1s, idle: 1s}
    budgets: []
    drainTimeout: {mining: 30s, hpc: 30s}
";

/// The profile of most stories.
pub const PROFILE: &str = "
apiVersion: switchyard.dev/v1alpha1
kind: MiningProfile
metadata: {name: etc, namespace: mining}
spec:
  coin: ETC
  algorithm: etchash
  income: {signal: mining}
  hardware:
  - {model: NVIDIA-GeForce-RTX-3090, hashrate: 120M, watts: 290}
  - {model: NVIDIA-GeForce-GTX-1080-Ti, hashrate: 45M, watts: 200}
  template:
    spec:
      terminationGracePeriodSeconds: 5
      containers: [{name: miner, image: miner}]
";

impl Scene {
    /// A control plane with nodes, signals and a profile; no pool yet, and no operator.
    pub async fn set(nodes: Vec<NodeSpec>) -> Self {
        let options = Options { audit: true, ..Options::default() };
        let setup = Setup { options, ..Setup::default() };
        let cluster = Cluster::with_switchyard(setup).await.unwrap();
        cluster.make_nodes(nodes).await.unwrap();
        let prices = Prices::serve().await.unwrap();
        let scene = Self { operator: None, prices, cluster };
        for (name, unit, value) in [
            ("power", "USDPerKWh", 0.06),
            ("mining", "USDPerMHsDay", 0.10),
            ("gpu-hour", "USDPerGPUHour", 1.2),
        ] {
            scene.prices.set(name, value);
            scene.signal(name, unit).await;
        }
        scene.create::<MiningProfile>(PROFILE).await;
        scene
    }

    /// The same with the usual pool and a running operator, when every node mines.
    pub async fn mining(nodes: Vec<NodeSpec>) -> Self {
        Self::mining_among(nodes, Vec::new()).await
    }

    /// The same, among nodes that are not the pool's.
    pub async fn mining_among(nodes: Vec<NodeSpec>, bystanders: Vec<NodeSpec>) -> Self {
        let count = nodes.len();
        let mut scene = Self::set([nodes, bystanders].concat()).await;
        scene.create::<GPUPool>(POOL).await;
        scene.operate().await;
        scene.until_uses(&[(Use::Mining, count)]).await;
        scene.until_at_rest().await;
        scene
    }

    /// Starts the operator.
    pub async fn operate(&mut self) {
        self.operator = Some(self.cluster.operator(&["--decide-every", "1s"]).await.unwrap());
    }

    /// A signal that is read every second.
    pub async fn signal(&self, name: &str, unit: &str) {
        let url = self.prices.url(name);
        self.create::<ProfitabilitySignal>(&format!(
            "
apiVersion: switchyard.dev/v1alpha1
kind: ProfitabilitySignal
metadata: {{name: {name}}}
spec:
  unit: {unit}
  interval: 1s
  maxAge: 60s
  sources: [{{name: web, http: {{url: {url}, jsonPath: $.value}}}}]
"
        ))
        .await;
    }

    /// Creates what a manifest says.
    pub async fn create<K>(&self, yaml: &str) -> K
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        self.cluster.create(&manifest::<K>(yaml).unwrap()).await.unwrap()
    }

    /// Gives a job.
    pub async fn give(&self, job: JobSpec) {
        let jobs = Api::<Job>::namespaced(self.cluster.client.clone(), RESEARCH);
        jobs.create(&PostParams::default(), &job.object().unwrap()).await.unwrap();
    }

    pub fn all<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.cluster.client.clone())
    }

    pub fn of<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.client.clone(), namespace)
    }

    /// Merges into an object of a cluster-scoped kind.
    pub async fn merge<K>(&self, name: &str, patch: serde_json::Value)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = self.all::<K>();
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Waits for something; an operator that ended by itself fails the story with its log.
    pub async fn until<T, F>(&mut self, what: &str, mut look: impl FnMut(&Cluster) -> F) -> T
    where
        F: Future<Output = Result<T>>,
    {
        let seen = eventually(what, SOON, || look(&self.cluster)).await;
        if let Some(operator) = &mut self.operator {
            operator.check().unwrap();
        }
        seen.unwrap()
    }

    /// Waits until so many nodes are in each use.
    pub async fn until_uses(&mut self, wanted: &[(Use, usize)]) {
        let wanted = wanted.to_vec();
        self.until(&format!("uses {wanted:?}"), |cluster| {
            let nodes = Api::<Node>::all(cluster.client.clone());
            let wanted = wanted.clone();
            async move {
                let mut found: BTreeMap<Option<Use>, usize> = BTreeMap::new();
                for node in nodes.list(&ListParams::default()).await? {
                    *found.entry(use_of(&node)).or_default() += 1;
                }
                for (node_use, count) in wanted {
                    let seen = found.get(&Some(node_use)).copied().unwrap_or(0);
                    ensure!(seen == count, "found {found:?}");
                }
                Ok(())
            }
        })
        .await;
    }

    /// Waits until our taint on a node has this value, or is gone.
    pub async fn until_taint(&mut self, node: &'static str, value: Option<&'static str>) {
        self.until(&format!("{node} has the taint {value:?}"), |cluster| {
            let nodes = Api::<Node>::all(cluster.client.clone());
            async move {
                let found = taint_of(&nodes.get(node).await?);
                ensure!(found.as_deref() == value, "it is {found:?}");
                Ok(())
            }
        })
        .await;
    }

    /// Waits until no shift runs and no node is claimed.
    pub async fn until_at_rest(&mut self) {
        self.until("no shift runs", |cluster| {
            let shifts = Api::<NodeShift>::all(cluster.client.clone());
            let nodes = Api::<Node>::all(cluster.client.clone());
            async move {
                let shifts = shifts.list(&ListParams::default()).await?.items;
                let running = shifts.iter().filter(|shift| {
                    !shift.status.as_ref().is_some_and(|status| status.phase.is_final())
                });
                let running: Vec<_> = running.map(ResourceExt::name_any).collect();
                ensure!(running.is_empty(), "running: {running:?}");
                let nodes = nodes.list(&ListParams::default()).await?.items;
                let claimed =
                    nodes.iter().filter(|node| node.annotations().contains_key(keys::SHIFT));
                ensure!(claimed.count() == 0, "nodes are claimed");
                Ok(())
            }
        })
        .await;
    }

    /// Waits for a condition of the pool with a status and a reason, and returns it.
    pub async fn until_condition(
        &mut self,
        pool: &'static str,
        kind: &'static str,
        status: &'static str,
        reason: &'static str,
    ) -> Condition {
        self.until(&format!("{kind}={status} {reason}"), |cluster| {
            let pools = Api::<GPUPool>::all(cluster.client.clone());
            async move {
                let pool = pools.get(pool).await?;
                let conditions = pool.status.unwrap_or_default().conditions;
                let condition = conditions.iter().find(|condition| condition.type_ == kind);
                let condition = condition.with_context(|| format!("no {kind}"))?;
                ensure!(condition.status == status && condition.reason == reason, "{condition:?}");
                Ok(condition.clone())
            }
        })
        .await
    }

    pub async fn node(&self, name: &str) -> Node {
        self.all::<Node>().get(name).await.unwrap()
    }

    /// The pods of a namespace.
    pub async fn pods(&self, namespace: &str) -> Vec<Pod> {
        self.of::<Pod>(namespace).list(&ListParams::default()).await.unwrap().items
    }

    /// Every shift there is.
    pub async fn shifts(&self) -> Vec<NodeShift> {
        self.all::<NodeShift>().list(&ListParams::default()).await.unwrap().items
    }

    /// Waits until a job's pods run.
    pub async fn until_running(&mut self, job: &str, pods: usize) {
        let job = job.to_owned();
        self.until(&format!("{job} runs"), |cluster| {
            let api = Api::<Pod>::namespaced(cluster.client.clone(), RESEARCH);
            let of_job = ListParams::default().labels(&format!("job-name={job}"));
            async move {
                let all = api.list(&of_job).await?.items;
                let running = all.iter().filter(|pod| phase_of(pod) == "Running").count();
                ensure!(running == pods, "{running} of {pods} pods run");
                Ok(())
            }
        })
        .await;
    }

    /// The Events about an object, by reason.
    pub async fn events(&self, namespace: &str, about: &str) -> Vec<(String, String)> {
        let events = self.of::<Event>(namespace).list(&ListParams::default()).await.unwrap();
        let about = events.items.into_iter().filter(|event| {
            event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(about)
        });
        about
            .map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default()))
            .collect()
    }

    /// Puts an annotation on a pod or takes it off.
    pub async fn annotate_pod(&self, namespace: &str, pod: &str, key: &str, value: Option<&str>) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
        self.of::<Pod>(namespace).patch(pod, &PatchParams::default(), &patch).await.unwrap();
    }

    /// The miners that run, by node.
    pub async fn miners(&self) -> BTreeMap<String, Pod> {
        let pods = self.pods(MINING).await.into_iter();
        let running = pods.filter(|pod| phase_of(pod) == "Running");
        running.filter_map(|pod| Some((pod.spec.as_ref()?.node_name.clone()?, pod))).collect()
    }
}

pub fn use_of(node: &Node) -> Option<Use> {
    node.labels().get(keys::USE).and_then(|value| keys::parse_use(value))
}

/// The value of our taint.
pub fn taint_of(node: &Node) -> Option<String> {
    let taints = node.spec.as_ref()?.taints.as_ref()?;
    taints.iter().find(|taint| taint.key == keys::TAINT)?.value.clone()
}

pub fn phase_of(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The phases of shifts.
pub fn phases(shifts: &[NodeShift]) -> Vec<Phase> {
    shifts.iter().filter_map(|shift| Some(shift.status.as_ref()?.phase)).collect()
}
