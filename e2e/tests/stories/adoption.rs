//! Nodes that come into a pool, and that leave it.

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Node, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::json;
use switchyard_api::{GPUPool, MiningProfile, Use, keys};
use switchyard_e2e::objects::{JobSpec, NodeSpec, SMALL};

use crate::scene::{POOL, Scene, big_nodes, phase_of, taint_of, use_of};

#[tokio::test(flavor = "multi_thread")]
async fn brownfield_nodes_are_adopted_in_the_use_they_have() {
    let mut scene = Scene::set(big_nodes(3)).await;
    // Somebody else's miner on gpu-0, a customer's pod on gpu-1, nothing on gpu-2.
    let pod = |name: &str, namespace: &str, node: &str, gpus: &str| -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": node},
                "containers": [{"name": "c", "image": "c", "resources": {"limits": {"nvidia.com/gpu": gpus}}}],
            },
        }))
        .unwrap()
    };
    for object in [pod("theirs", "mining", "gpu-0", "8"), pod("customer", "research", "gpu-1", "2")]
    {
        scene.cluster.create(&object).await.unwrap();
    }
    for (namespace, name) in [("mining", "theirs"), ("research", "customer")] {
        scene
            .until("the pods run", |cluster| {
                let pods = Api::<Pod>::namespaced(cluster.client.clone(), namespace);
                async move {
                    anyhow::ensure!(
                        phase_of(&pods.get(name).await?) == "Running",
                        "{name} does not"
                    );
                    Ok(())
                }
            })
            .await;
    }
    // Power costs as much as mining earns: nothing but adoption happens.
    scene
        .create::<MiningProfile>(
            "
apiVersion: switchyard.dev/v1alpha1
kind: MiningProfile
metadata: {name: own, namespace: mining}
spec:
  coin: ETC
  algorithm: etchash
  income: {signal: mining}
  hardware: [{model: NVIDIA-GeForce-RTX-3090, hashrate: 120M, watts: 290}]
  podSelector: {matchLabels: {app: theirs}}
",
        )
        .await;
    let pool = POOL
        .replace("name: etc", "name: own")
        .replace("mining: 1s, hpc: 1s, idle: 1s", "mining: 1h, hpc: 1h, idle: 1h");
    scene.create::<GPUPool>(&pool).await;
    scene.operate().await;
    scene.until_uses(&[(Use::Mining, 1), (Use::Hpc, 1), (Use::Idle, 1)]).await;

    let (mines, serves, idles) =
        (scene.node("gpu-0").await, scene.node("gpu-1").await, scene.node("gpu-2").await);
    assert_eq!((use_of(&mines), taint_of(&mines).as_deref()), (Some(Use::Mining), Some("mining")));
    assert_eq!(mines.labels()[keys::MINING_PROFILE], "mining.own");
    assert_eq!((use_of(&serves), taint_of(&serves)), (Some(Use::Hpc), None));
    assert_eq!((use_of(&idles), taint_of(&idles).as_deref()), (Some(Use::Idle), Some("idle")));
    assert!(scene.shifts().await.is_empty());
    for (namespace, name) in [("mining", "theirs"), ("research", "customer")] {
        let pod = scene.of::<Pod>(namespace).get(name).await.unwrap();
        assert_eq!(pod.metadata.deletion_timestamp, None, "adoption evicts nobody");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_run_decides_and_touches_nothing() {
    let mut scene = Scene::set(big_nodes(2)).await;
    scene.create::<GPUPool>(&POOL.replace("mode: Active", "mode: DryRun")).await;
    scene.operate().await;
    let condition = scene.until_condition("pool", "Ready", "True", "AsPlanned").await;
    assert!(condition.message.contains("Active"), "{}", condition.message);
    scene
        .until("it says what it would do", |cluster| {
            let pools = Api::<GPUPool>::all(cluster.client.clone());
            async move {
                let status = pools.get("pool").await?.status.unwrap_or_default();
                let decision = status.last_decision.unwrap();
                anyhow::ensure!(decision.moves == 2, "{decision:?}");
                Ok(())
            }
        })
        .await;
    for name in ["gpu-0", "gpu-1"] {
        let node = scene.node(name).await;
        assert!(!node.labels().keys().any(|key| key.starts_with("switchyard.dev/")));
        assert_eq!(taint_of(&node), None);
    }
    assert!(scene.shifts().await.is_empty());
    let sets = scene.of::<DaemonSet>("mining").list(&ListParams::default()).await.unwrap();
    assert!(sets.items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn control_plane_nodes_and_nodes_without_gpus_are_never_touched() {
    let control_plane =
        NodeSpec::gpu("cp", switchyard_e2e::objects::BIG).label(keys::CONTROL_PLANE, "");
    let bare = NodeSpec::system("bare").label("site", "demo");
    let mut scene = Scene::set([big_nodes(1), vec![control_plane, bare]].concat()).await;
    scene.create::<GPUPool>(POOL).await;
    scene.operate().await;
    scene.until_uses(&[(Use::Mining, 1)]).await;
    let condition = scene.until_condition("pool", "NodesUsable", "False", "NoGpus").await;
    assert!(condition.message.contains("control-plane"), "{}", condition.message);
    for name in ["cp", "bare"] {
        let node = scene.node(name).await;
        assert_eq!((use_of(&node), taint_of(&node)), (None, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pool_leaves_nothing_of_ours() {
    let small = NodeSpec::gpu("small", SMALL);
    let mut scene = Scene::mining([big_nodes(2), vec![small]].concat()).await;
    scene.give(JobSpec::new("train", 8)).await;
    scene.until_running("train", 1).await;
    scene.all::<GPUPool>().delete("pool", &DeleteParams::default()).await.unwrap();
    scene
        .until("nothing is left", |cluster| {
            let client = cluster.client.clone();
            async move {
                let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?;
                for node in nodes {
                    let keys = node.labels().keys().chain(node.annotations().keys());
                    let ours: Vec<_> =
                        keys.filter(|key| key.starts_with("switchyard.dev/")).collect();
                    anyhow::ensure!(ours.is_empty(), "{}: {ours:?}", node.name_any());
                    anyhow::ensure!(taint_of(&node).is_none(), "{} is tainted", node.name_any());
                }
                let pools =
                    Api::<GPUPool>::all(client.clone()).list(&ListParams::default()).await?;
                anyhow::ensure!(pools.items.is_empty(), "the pool is held by its finalizer");
                let shifts = Api::<switchyard_api::NodeShift>::all(client.clone());
                let shifts = shifts.list(&ListParams::default()).await?.items.len();
                anyhow::ensure!(shifts == 0, "{shifts} shifts are left");
                let sets = Api::<DaemonSet>::namespaced(client, "mining");
                let sets = sets.list(&ListParams::default()).await?.items.len();
                anyhow::ensure!(sets == 0, "{sets} DaemonSets are left");
                Ok(())
            }
        })
        .await;
    let job = scene.pods("research").await.remove(0);
    assert_eq!(job.metadata.deletion_timestamp, None, "the customer's pod stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_the_pool_is_given_back() {
    let mut scene = Scene::mining(big_nodes(2)).await;
    scene.merge::<Node>("gpu-0", json!({"metadata": {"labels": {"site": "elsewhere"}}})).await;
    scene
        .until("it carries no mark", |cluster| {
            let nodes = Api::<Node>::all(cluster.client.clone());
            async move {
                let node = nodes.get("gpu-0").await?;
                anyhow::ensure!(taint_of(&node).is_none() && use_of(&node).is_none(), "it does");
                Ok(())
            }
        })
        .await;
    assert_eq!(use_of(&scene.node("gpu-1").await), Some(Use::Mining));
}
