//! What others put on nodes, and the system pods that run there.

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Node, Pod},
};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use switchyard_api::{GPUPool, Use, keys};
use switchyard_e2e::objects::JobSpec;

use crate::scene::{POOL, Scene, big_nodes, phase_of, taint_of, use_of};

#[tokio::test(flavor = "multi_thread")]
async fn another_owners_taint_survives_ours() {
    let nodes =
        big_nodes(2).into_iter().map(|node| node.taint("example.com/theirs", "PreferNoSchedule"));
    let mut scene = Scene::mining(nodes.collect()).await;
    // One more, put on while ours is there, so that ours is not the last in the list.
    let node = scene.node("gpu-0").await;
    let mut taints = node.spec.unwrap().taints.unwrap();
    taints.push(
        serde_json::from_value(json!({"key": "example.com/late", "effect": "PreferNoSchedule"}))
            .unwrap(),
    );
    scene.merge::<Node>("gpu-0", json!({"spec": {"taints": taints}})).await;

    scene.give(JobSpec::new("train", 8).gang(2)).await;
    scene.until_running("train", 2).await;
    for name in ["gpu-0", "gpu-1"] {
        let node = scene.node(name).await;
        assert_eq!(taint_of(&node), None, "ours is gone");
        let theirs: Vec<_> =
            node.spec.unwrap().taints.unwrap().into_iter().map(|taint| taint.key).collect();
        assert!(theirs.contains(&"example.com/theirs".to_owned()), "{theirs:?}");
        assert_eq!(theirs.contains(&"example.com/late".to_owned()), name == "gpu-0", "{theirs:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_plugin_without_our_toleration_stops_the_first_taint() {
    let mut scene = Scene::set(big_nodes(2)).await;
    scene.cluster.make_device_plugin(false).await.unwrap();
    scene.create::<GPUPool>(POOL).await;
    scene.operate().await;
    let condition =
        scene.until_condition("pool", "SystemPodsTolerate", "False", "SystemPodsIntolerant").await;
    assert!(condition.message.contains("kube-system/device-plugin"), "{}", condition.message);
    assert!(condition.message.contains(keys::TAINT), "{}", condition.message);
    for name in ["gpu-0", "gpu-1"] {
        let node = scene.node(name).await;
        assert_eq!((taint_of(&node), use_of(&node)), (None, None), "nothing is tainted");
    }

    // With the toleration all goes on, and its pod, deleted on a mining node, comes back.
    let tolerations = json!([{"key": keys::TAINT, "operator": "Exists"}]);
    let patch = Patch::Merge(json!({"spec": {"template": {"spec": {"tolerations": tolerations}}}}));
    let sets = scene.of::<DaemonSet>("kube-system");
    sets.patch("device-plugin", &PatchParams::default(), &patch).await.unwrap();
    scene.until_uses(&[(Use::Mining, 2)]).await;
    plugin_comes_back(&mut scene).await;
}

/// Deletes the plugin's pod on a mining node and waits for another one.
async fn plugin_comes_back(scene: &mut Scene) {
    let plugins = scene.of::<Pod>("kube-system");
    let on_node = ListParams::default().labels("app=device-plugin").fields("spec.nodeName=gpu-0");
    scene
        .until("the plugin runs on a mining node", |_| {
            let (plugins, on_node) = (plugins.clone(), on_node.clone());
            async move {
                let pods = plugins.list(&on_node).await?.items;
                anyhow::ensure!(pods.iter().any(|pod| phase_of(pod) == "Running"), "it does not");
                Ok(())
            }
        })
        .await;
    let old = plugins.list(&on_node).await.unwrap().items.remove(0);
    let name = old.metadata.name.clone().unwrap();
    plugins.delete(&name, &DeleteParams::default().grace_period(0)).await.unwrap();
    scene
        .until("the plugin is back", |_| {
            let (plugins, on_node, old) = (plugins.clone(), on_node.clone(), old.clone());
            async move {
                let pods = plugins.list(&on_node).await?.items;
                let back = pods
                    .iter()
                    .any(|pod| pod.metadata.uid != old.metadata.uid && phase_of(pod) == "Running");
                anyhow::ensure!(back, "it is not");
                Ok(())
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_node_gets_no_shift_and_its_miner_stops() {
    let mut scene = Scene::mining(big_nodes(2)).await;
    scene.all::<Node>().cordon("gpu-0").await.unwrap();
    scene.until_uses(&[(Use::Mining, 1), (Use::Idle, 1)]).await;
    scene
        .until("the miner is gone", |cluster| {
            let pods = kube::Api::<Pod>::namespaced(cluster.client.clone(), "mining");
            async move {
                let pods = pods.list(&ListParams::default().fields("spec.nodeName=gpu-0")).await?;
                anyhow::ensure!(pods.items.is_empty(), "it is still there");
                Ok(())
            }
        })
        .await;
    let before = scene.shifts().await.len();
    scene.give(JobSpec::new("first", 8)).await;
    scene.until_running("first", 1).await;
    scene.give(JobSpec::new("second", 8)).await;
    scene.until_condition("pool", "Ready", "True", "AsPlanned").await;
    let moved: Vec<_> = scene.shifts().await.into_iter().skip(before).collect();
    let touched = moved.iter().flat_map(|shift| &shift.spec.nodes);
    assert!(touched.clone().all(|node| node.name != "gpu-0"), "{moved:?}");
    let node = scene.node("gpu-0").await;
    assert_eq!(node.spec.unwrap().unschedulable, Some(true), "the cordon is left as found");

    scene.all::<Node>().uncordon("gpu-0").await.unwrap();
    scene.until_running("second", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_label_edit_is_put_right() {
    let mut scene = Scene::mining(big_nodes(1)).await;
    let edits = [
        json!({keys::USE: "hpc"}),
        json!({keys::USE: null}),
        json!({keys::POOL: "other", keys::GPUS: "4"}),
    ];
    for edit in edits {
        scene.merge::<Node>("gpu-0", json!({"metadata": {"labels": edit}})).await;
        scene
            .until("the labels are right again", |cluster| {
                let nodes = kube::Api::<Node>::all(cluster.client.clone());
                async move {
                    let node = nodes.get("gpu-0").await?;
                    let label = |key: &str| node.metadata.labels.as_ref()?.get(key).cloned();
                    let labels = [label(keys::USE), label(keys::POOL), label(keys::GPUS)];
                    let wanted = ["mining", "pool", "8"].map(|text| Some(text.to_owned()));
                    anyhow::ensure!(labels == wanted, "{labels:?}");
                    anyhow::ensure!(
                        taint_of(&node).as_deref() == Some("mining"),
                        "the taint is gone"
                    );
                    Ok(())
                }
            })
            .await;
    }
    let told = scene.events("default", "gpu-0").await;
    assert!(told.iter().any(|(reason, _)| reason == "Repaired"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_tolerates_everything_is_never_evicted_from_a_mining_node() {
    let mut scene = Scene::mining(big_nodes(1)).await;
    // It asks for no GPU, so it finds room beside the miner.
    let guest: Pod = serde_json::from_value(json!({
        "metadata": {"name": "guest", "namespace": "research"},
        "spec": {
            "tolerations": [{"operator": "Exists"}],
            "nodeSelector": {"site": "demo"},
            "containers": [{"name": "c", "image": "c"}],
        },
    }))
    .unwrap();
    let guest = scene.cluster.create(&guest).await.unwrap();
    scene
        .until("it runs beside the miner", |cluster| {
            let pods = kube::Api::<Pod>::namespaced(cluster.client.clone(), "research");
            async move {
                let pod = pods.get("guest").await?;
                anyhow::ensure!(phase_of(&pod) == "Running", "it is {}", phase_of(&pod));
                Ok(())
            }
        })
        .await;
    scene.prices.set("power", 9.0);
    scene.until_uses(&[(Use::Idle, 1)]).await;
    scene.prices.set("power", 0.06);
    scene.give(JobSpec::new("train", 8)).await;
    scene.until_running("train", 1).await;
    let found = scene.of::<Pod>("research").get("guest").await.unwrap();
    assert_eq!(found.metadata.uid, guest.metadata.uid);
    assert_eq!(found.metadata.deletion_timestamp, None);

    // One that asks for GPUs and lands on an idle node makes it an HPC node.
    scene.of::<Pod>("research").delete("guest", &DeleteParams::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_pod_that_lands_on_an_idle_node_makes_it_an_hpc_node() {
    let mut scene = Scene::mining(big_nodes(1)).await;
    scene.prices.set("power", 9.0);
    scene.until_uses(&[(Use::Idle, 1)]).await;
    scene.until_at_rest().await;
    let mut job = JobSpec::new("sneaks-in", 4);
    job.tolerates_everything = true;
    scene.give(job).await;
    scene.until_running("sneaks-in", 1).await;
    scene.until_uses(&[(Use::Hpc, 1)]).await;
    // At this price of power its door is shut to others; when power is cheap nothing of ours is left.
    scene.until_taint("gpu-0", Some("closed")).await;
    scene.prices.set("power", 0.06);
    scene.until_taint("gpu-0", None).await;
}
