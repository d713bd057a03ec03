//! What people say to nodes and to all pools, and the breaker that only they close.

use anyhow::{Context, ensure};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Node},
    events::v1::Event,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::json;
use switchyard_api::{Cause, GPUPool, Reason, Use, keys};
use switchyard_e2e::{SYSTEM, objects::JobSpec};

use crate::scene::{Scene, big_nodes, use_of};

async fn pin(scene: &Scene, node: &str, pin: &str) {
    scene.merge::<Node>(node, json!({"metadata": {"annotations": {keys::PIN: pin}}})).await;
}

/// Waits until the last decision about the pool has a reason for so many nodes.
async fn until_reason(scene: &mut Scene, reason: Reason, nodes: u32) {
    scene
        .until(&format!("{nodes} {reason}"), |cluster| {
            let pools = Api::<GPUPool>::all(cluster.client.clone());
            async move {
                let decision = pools.get("pool").await?.status.and_then(|one| one.last_decision);
                let reasons = decision.context("no decision")?.reasons;
                let found = reasons.iter().find(|count| count.reason == reason);
                ensure!(found.is_some_and(|found| found.nodes == nodes), "{reasons:?}");
                Ok(())
            }
        })
        .await;
}

/// Closes the breaker, and waits until that was obeyed.
async fn reset_breaker(scene: &mut Scene, value: &'static str) {
    let reset = json!({"metadata": {"annotations": {keys::RESET_BREAKER: value}}});
    scene.merge::<GPUPool>("pool", reset).await;
    scene
        .until("the breaker is reset", |cluster| {
            let pools = Api::<GPUPool>::all(cluster.client.clone());
            async move {
                let breaker = pools.get("pool").await?.status.unwrap_or_default().breaker;
                ensure!(breaker.reset.as_deref() == Some(value), "{breaker:?}");
                ensure!(breaker.open_since.is_none(), "{breaker:?}");
                Ok(())
            }
        })
        .await;
}

/// Waits for an Event about a cluster-scoped object, and returns what it says.
async fn until_told(scene: &mut Scene, about: &'static str, reason: &'static str) -> String {
    scene
        .until(&format!("{about} is told {reason}"), |cluster| {
            let events = Api::<Event>::namespaced(cluster.client.clone(), "default");
            async move {
                let told = events.list(&ListParams::default()).await?.items.into_iter();
                let mut notes = told
                    .filter(|event| {
                        event.regarding.as_ref().and_then(|one| one.name.as_deref()) == Some(about)
                    })
                    .filter(|event| event.reason.as_deref() == Some(reason))
                    .map(|event| event.note.unwrap_or_default());
                notes.next().context("not yet")
            }
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_holds_all_pools_and_pins_a_node() {
    let mut scene = Scene::mining(big_nodes(2)).await;
    let hold: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": keys::HOLD, "namespace": SYSTEM},
        "data": {"reason": "work on the power line"},
    }))
    .unwrap();
    scene.cluster.create(&hold).await.unwrap();
    let held = scene.until_condition("pool", "Shifting", "False", "GlobalHold").await;
    assert!(held.message.contains("work on the power line"), "{}", held.message);
    let before = scene.shifts().await.len();

    scene.give(JobSpec::new("train", 8)).await;
    scene.prices.set("power", 9.0);
    until_reason(&mut scene, Reason::GlobalHold, 2).await;
    assert_eq!(scene.shifts().await.len(), before, "a shift began");
    scene.prices.set("power", 0.06);
    until_reason(&mut scene, Reason::BestUse, 2).await;

    pin(&scene, "gpu-0", "use=Mining,reason=new fans").await;
    scene.of::<ConfigMap>(SYSTEM).delete(keys::HOLD, &DeleteParams::default()).await.unwrap();
    scene.until_running("train", 1).await;
    assert_eq!(use_of(&scene.node("gpu-0").await), Some(Use::Mining), "it is pinned");
    scene.give(JobSpec::new("waits", 8)).await;

    pin(&scene, "gpu-0", "mining, please").await;
    scene.until_condition("pool", "NodesUsable", "False", "PinUnreadable").await;
    let told = until_told(&mut scene, "gpu-0", "PinUnreadable").await;
    assert!(told.contains("write such as use=HPC"), "{told}");
    assert_eq!(use_of(&scene.node("gpu-0").await), Some(Use::Mining));

    pin(&scene, "gpu-0", "use=HPC").await;
    scene.until_uses(&[(Use::Hpc, 2)]).await;
    scene.until_running("waits", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_node_is_moved_where_it_is_pinned() {
    let mut scene = Scene::mining(big_nodes(1)).await;
    pin(&scene, "gpu-0", "use=Idle,reason=too loud").await;
    scene.until_uses(&[(Use::Idle, 1)]).await;
    scene.until_at_rest().await;
    let moved = scene.shifts().await.into_iter().find(|shift| shift.spec.to == Use::Idle).unwrap();
    assert_eq!(moved.spec.cause, Cause::Rebalance);
    until_reason(&mut scene, Reason::Pinned, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_that_go_up_and_down_open_the_breaker_until_a_person_closes_it() {
    let mut scene = Scene::mining(big_nodes(2)).await;
    // That they began to mine is the first half of a move back and forth, too.
    reset_breaker(&mut scene, "begin").await;
    for (power, node_use) in [(9.0, Use::Idle), (0.06, Use::Mining)] {
        scene.prices.set("power", power);
        scene.until_uses(&[(node_use, 2)]).await;
        scene.until_at_rest().await;
    }
    let open = scene.until_condition("pool", "BreakerClosed", "False", "BreakerOpen").await;
    assert!(open.message.contains(keys::RESET_BREAKER), "{}", open.message);

    // What stops a loss passes, and nothing else does, not even after a crash.
    scene.prices.set("power", 9.0);
    scene.until_uses(&[(Use::Idle, 2)]).await;
    scene.operator.as_mut().unwrap().kill_and_restart().unwrap();
    scene.prices.set("power", 0.06);
    until_reason(&mut scene, Reason::BreakerOpen, 2).await;
    let address = scene.operator.as_ref().unwrap().metrics_url();
    let metrics = reqwest::get(address).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("switchyard_breaker_open{pool=\"pool\"} 1"), "{metrics}");
    until_told(&mut scene, "pool", "BreakerOpen").await;

    reset_breaker(&mut scene, "looked at it").await;
    scene.until_uses(&[(Use::Mining, 2)]).await;
    scene.until_condition("pool", "BreakerClosed", "True", "FewReversals").await;
}
