//! The simulator puts jobs where the real scheduler puts their pods.
//!
//! Both get the same arrivals, one after the other. The scheduler breaks ties at random and the
//! simulator by the order of nodes, so after each arrival the free GPUs of all nodes are compared
//! without their names; nobody leaves, so these decide everything that follows. kube-scheduler's
//! default profile looks at CPU and memory and not at GPUs: it spreads by GPUs where pods ask for CPU
//! and memory in proportion to them, as these do.

use std::collections::BTreeMap;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::PostParams};
use rstest::rstest;
use serde_json::json;
use switchyard_e2e::{Cluster, eventually, objects::GPU};
use switchyard_rig::Options;
use switchyard_sim::{
    engine::{self, Activity},
    generate::Random,
    grid,
    policy::{Decision, Policy, View},
    site::{Job, Node, Placement, Site},
};

use crate::scene::{SOON, big_nodes};

const NODES: usize = 8;
const GPUS: u32 = 8;
const ARRIVALS: u32 = 36;

/// Fills the fullest node first, by GPUs.
const MOST_ALLOCATED: &str = "
profiles:
- schedulerName: default-scheduler
  pluginConfig:
  - name: NodeResourcesFit
    args:
      scoringStrategy: {type: MostAllocated, resources: [{name: nvidia.com/gpu, weight: 1}]}
";

#[rstest]
#[case(Placement::LeastAllocated, "")]
#[case(Placement::MostAllocated, MOST_ALLOCATED)]
#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_places_as_the_scheduler_does(
    #[case] placement: Placement,
    #[case] config: &str,
) {
    let sizes = sizes();
    let simulated = simulate(placement, &sizes);
    let real = schedule(config, &sizes).await;
    for (index, (simulated, real)) in simulated.iter().zip(&real).enumerate() {
        assert_eq!(simulated, real, "after {:?}, {placement}", &sizes[..=index]);
    }
    assert_eq!(simulated.len(), real.len());
    let full = real.last().unwrap().iter().sum::<u32>();
    assert!(full < GPUS, "the last arrivals were to find hardly any room: {real:?}");
}

/// GPUs of one pod after the other: in sum more than there are, so that some fit nowhere.
fn sizes() -> Vec<u32> {
    let mut random = Random::new(11, "arrivals");
    let shares = [(1, 0.4), (2, 0.2), (3, 0.1), (4, 0.1), (5, 0.05), (6, 0.05), (8, 0.1)];
    (0..ARRIVALS).map(|_| random.pick(&shares)).collect()
}

/// Free GPUs of the nodes in ascending order, after each arrival.
type Free = Vec<Vec<u32>>;

fn sorted(mut free: Vec<u32>) -> Vec<u32> {
    free.sort_unstable();
    free
}

/// What the simulator does: all nodes are open, and one job comes every ten minutes.
fn simulate(placement: Placement, sizes: &[u32]) -> Free {
    let mut site: Site = grid::cells().next().unwrap().site;
    site.nodes = (0..NODES).map(|index| Node { name: format!("gpu-{index}"), class: 0 }).collect();
    site.model.placement = placement;
    site.model.patience = site.length;
    let job = |(index, gpus): (u32, &u32)| Job {
        submit: 600.0 * f64::from(index) + 1.0,
        gpus: *gpus,
        duration: site.length,
        price: None,
    };
    site.jobs = (0..).zip(sizes).map(job).collect();
    let mut watch = Watch(BTreeMap::new());
    engine::run(&site, &mut watch);
    watch.0.into_values().take(sizes.len()).collect()
}

/// Notes what is free after each job that came.
struct Watch(BTreeMap<usize, Vec<u32>>);

impl Policy for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn start(&self, site: &Site) -> Vec<Activity> {
        vec![Activity::Hpc; site.nodes.len()]
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let came = view.waiting.len() + view.running.len();
        if came > 0 {
            self.0.insert(came, sorted(view.nodes.iter().map(|node| node.free).collect()));
        }
        Decision::default()
    }
}

/// What the scheduler does with pods of the same sizes.
async fn schedule(config: &str, sizes: &[u32]) -> Free {
    let options = Options { extra_scheduler_config: config.to_owned(), ..Options::default() };
    let cluster = Cluster::start(options).await.unwrap();
    cluster.make_nodes(big_nodes(NODES)).await.unwrap();
    let pods = Api::<Pod>::default_namespaced(cluster.client.clone());
    let mut free: BTreeMap<String, u32> =
        (0..NODES).map(|index| (format!("gpu-{index}"), GPUS)).collect();
    let mut after = Vec::new();
    for (index, gpus) in sizes.iter().enumerate() {
        let pod = pods.create(&PostParams::default(), &pod(index, *gpus)).await.unwrap();
        if let Some(node) = judged(&pods, &pod.name_any()).await {
            *free.get_mut(&node).unwrap() -= gpus;
        }
        after.push(sorted(free.values().copied().collect()));
    }
    after
}

/// A pod that asks for an eighth of a node's CPU and memory, less something, with every GPU.
fn pod(index: usize, gpus: u32) -> Pod {
    let amounts = json!({
        "cpu": (6 * gpus).to_string(),
        "memory": format!("{}Gi", 48 * gpus),
        GPU: gpus.to_string(),
    });
    let container = json!({"name": "train", "image": "train", "resources": {"requests": amounts, "limits": amounts}});
    let pod = json!({
        "metadata": {"name": format!("job-{index}")},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    });
    serde_json::from_value(pod).unwrap()
}

/// The node of a pod, once the scheduler has judged it; none: it fits nowhere.
async fn judged(pods: &Api<Pod>, name: &str) -> Option<String> {
    eventually("the scheduler has judged the pod", SOON, || async {
        let pod = pods.get(name).await?;
        let node = pod.spec.and_then(|spec| spec.node_name);
        let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
        let refused = conditions.iter().any(|one| one.reason.as_deref() == Some("Unschedulable"));
        ensure!(node.is_some() || refused, "{name} is not");
        Ok(node)
    })
    .await
    .unwrap()
}
