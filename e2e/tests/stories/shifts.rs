//! Moves between mining, HPC and idle, and what they promise.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;
use switchyard_api::{Cause, GPUPool, NodeShift, Phase, Use};
use switchyard_e2e::objects::{JobSpec, NodeSpec, SMALL};

use crate::scene::{Scene, big_nodes, phases};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_gets_a_node_and_the_node_goes_back_to_mining() {
    let mut scene = Scene::mining(big_nodes(2)).await;
    scene.give(JobSpec::new("train", 8).runs_for(Duration::from_secs(3))).await;
    scene.until_running("train", 1).await;
    let shift = scene.shifts().await.into_iter().find(|shift| shift.spec.to == Use::Hpc).unwrap();
    assert_eq!(shift.spec.cause, Cause::Demand);
    assert_eq!(shift.spec.serves, ["Job research/train"]);
    assert!(shift.spec.gain_usd_per_hour.unwrap().value() > 0.0);
    scene.until_uses(&[(Use::Mining, 2)]).await;
    scene.until_at_rest().await;
    assert!(phases(&scene.shifts().await).iter().all(|phase| *phase == Phase::Completed));
    assert_eq!(scene.miners().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gang_that_cannot_be_completed_gets_no_node() {
    let small = NodeSpec::gpu("small", SMALL);
    let mut scene = Scene::mining([big_nodes(2), vec![small]].concat()).await;
    scene.give(JobSpec::new("huge", 8).gang(3)).await;
    // Its owner is told why it waits.
    scene
        .until("its owner is told", |cluster| {
            let events = Api::<k8s_openapi::api::events::v1::Event>::namespaced(
                cluster.client.clone(),
                "research",
            );
            async move {
                let events = events.list(&ListParams::default()).await?;
                let told =
                    events.iter().any(|event| event.reason.as_deref() == Some("FitsNowhere"));
                anyhow::ensure!(told, "not yet");
                Ok(())
            }
        })
        .await;
    scene.until_uses(&[(Use::Mining, 3)]).await;
    assert!(scene.shifts().await.iter().all(|shift| shift.spec.to != Use::Hpc));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_miner_is_no_demand() {
    let mut scene = Scene::mining(big_nodes(1)).await;
    // A miner of another profile's DaemonSet that finds no room is still a miner.
    let miner = scene.miners().await.remove("gpu-0").unwrap();
    let mut twin = Pod { metadata: miner.metadata.clone(), spec: miner.spec.clone(), status: None };
    twin.metadata.name = Some("twin".into());
    twin.metadata.uid = None;
    twin.metadata.resource_version = None;
    twin.metadata.generate_name = None;
    twin.spec.as_mut().unwrap().node_name = None;
    scene.cluster.create(&twin).await.unwrap();
    let waiting: Pod = serde_json::from_value(json!({
        "metadata": {"name": "gated", "namespace": "research"},
        "spec": {
            "schedulingGates": [{"name": "example.com/quota"}],
            "containers": [{"name": "c", "image": "c", "resources": {"limits": {"nvidia.com/gpu": "8"}}}],
        },
    }))
    .unwrap();
    scene.cluster.create(&waiting).await.unwrap();
    let since = Timestamp::now();
    scene
        .until("the operator has looked at it", |cluster| {
            let pools = Api::<GPUPool>::all(cluster.client.clone());
            async move {
                pools.get("pool").await?;
                anyhow::ensure!(Timestamp::now().duration_since(since).as_secs() >= 4, "not yet");
                Ok(())
            }
        })
        .await;
    assert!(scene.shifts().await.iter().all(|shift| shift.spec.to != Use::Hpc));
    scene.until_uses(&[(Use::Mining, 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_pays_too_little_waits_and_its_owner_is_told_why() {
    let mut scene = Scene::mining(big_nodes(1)).await;
    scene.prices.set("gpu-hour", 0.3);
    scene
        .until("the price is known", |cluster| {
            let signals = Api::<switchyard_api::ProfitabilitySignal>::all(cluster.client.clone());
            async move {
                let value = signals.get("gpu-hour").await?.status.and_then(|status| status.value);
                anyhow::ensure!(value.is_some_and(|value| value.value() < 0.31), "{value:?}");
                Ok(())
            }
        })
        .await;
    scene.give(JobSpec::new("cheap", 8)).await;
    let note = scene
        .until("its owner is told", |cluster| {
            let events = Api::<k8s_openapi::api::events::v1::Event>::namespaced(
                cluster.client.clone(),
                "research",
            );
            async move {
                let events = events.list(&ListParams::default()).await?;
                let told = events
                    .items
                    .into_iter()
                    .find(|one| one.reason.as_deref() == Some("PaysTooLittle"));
                anyhow::Context::context(told.and_then(|event| event.note), "not yet")
            }
        })
        .await;
    assert!(note.contains("displaces"), "{note}");
    scene.until_uses(&[(Use::Mining, 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_that_is_deleted_lets_its_nodes_go() {
    let mut scene = Scene::mining(big_nodes(1)).await;
    let miner = scene.miners().await.remove("gpu-0").unwrap().name_any();
    scene.annotate_pod("mining", &miner, "rig.switchyard.dev/never-stops", Some("true")).await;
    scene.give(JobSpec::new("train", 8)).await;
    let shift = scene
        .until("the shift drains", |cluster| {
            let shifts = Api::<NodeShift>::all(cluster.client.clone());
            async move {
                let shifts = shifts.list(&ListParams::default()).await?.items;
                let draining = shifts.into_iter().find(|shift| {
                    shift.status.as_ref().is_some_and(|status| status.phase == Phase::Draining)
                });
                anyhow::Context::context(draining, "none does")
            }
        })
        .await;
    scene.all::<NodeShift>().delete(&shift.name_any(), &Default::default()).await.unwrap();
    scene.annotate_pod("mining", &miner, "rig.switchyard.dev/never-stops", None).await;
    scene.until_running("train", 1).await;
    scene.until_at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_that_never_stops_does_not_hold_a_node_for_ever() {
    let mut scene = Scene::mining(big_nodes(1)).await;
    scene
        .merge::<GPUPool>("pool", json!({"spec": {"shifting": {"drainTimeout": {"mining": "1s"}}}}))
        .await;
    let miner = scene.miners().await.remove("gpu-0").unwrap().name_any();
    scene.annotate_pod("mining", &miner, "rig.switchyard.dev/never-stops", Some("true")).await;
    scene.give(JobSpec::new("train", 8)).await;
    scene
        .until("the shift drains", |cluster| {
            let shifts = Api::<NodeShift>::all(cluster.client.clone());
            async move {
                let shifts = shifts.list(&ListParams::default()).await?.items;
                let deadline = shifts.iter().map(|shift| shift.spec.deadline).max();
                anyhow::ensure!(deadline.is_some(), "none does");
                Ok(())
            }
        })
        .await;
    let deadline = scene.shifts().await.iter().map(|shift| shift.spec.deadline).max().unwrap();
    let wait = deadline.duration_since(Timestamp::now());
    assert!(wait.as_secs() < 150, "the deadline is the drain timeout and the steps after it");
}
