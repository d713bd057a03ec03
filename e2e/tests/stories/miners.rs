//! The DaemonSets of the miners, and miners that people run themselves.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    policy::v1::PodDisruptionBudget,
};
use kube::{Api, api::ListParams};
use serde_json::json;
use switchyard_api::{GPUPool, MiningProfile, NodeShift, ProfileRef, Use};
use switchyard_e2e::objects::JobSpec;

use crate::scene::{POOL, Scene, big_nodes};

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_the_api_server_refuses_is_reported_with_its_words() {
    let mut scene = Scene::set(big_nodes(1)).await;
    scene
        .create::<MiningProfile>(
            "
apiVersion: switchyard.dev/v1alpha1
kind: MiningProfile
metadata: {name: typo, namespace: mining}
spec:
  coin: ETC
  algorithm: etchash
  income: {signal: mining}
  hardware: [{model: NVIDIA-GeForce-RTX-3090, hashrate: 120M, watts: 290}]
  template: {spec: {contaners: [{name: miner, image: miner}]}}
",
        )
        .await;
    scene.create::<GPUPool>(&POOL.replace("name: etc", "name: typo")).await;
    scene.operate().await;
    let message = scene
        .until("the profile says so", |cluster| {
            let profiles = Api::<MiningProfile>::namespaced(cluster.client.clone(), "mining");
            async move {
                let status = profiles.get("typo").await?.status.unwrap_or_default();
                let refused =
                    status.conditions.into_iter().find(|one| one.reason == "MinersRefused");
                anyhow::Context::context(refused.map(|one| one.message), "not yet")
            }
        })
        .await;
    assert!(message.contains("contaners"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_better_paying_profile_takes_over() {
    let mut scene = Scene::mining(big_nodes(2)).await;
    scene.prices.set("rvn", 0.2);
    scene.signal("rvn", "USDPerMHsDay").await;
    scene
        .create::<MiningProfile>(
            &crate::scene::PROFILE
                .replace("name: etc", "name: rvn")
                .replace("signal: mining", "signal: rvn"),
        )
        .await;
    let both = [("mining", "etc"), ("mining", "rvn")]
        .map(|(namespace, name)| ProfileRef { namespace: namespace.into(), name: name.into() });
    scene.merge::<GPUPool>("pool", json!({"spec": {"mining": {"profiles": both}}})).await;
    scene
        .until("both nodes mine the other coin", |cluster| {
            let sets = Api::<DaemonSet>::namespaced(cluster.client.clone(), "mining");
            async move {
                let set = sets.get("rvn-pool-8gpu").await?;
                let ready = set.status.map_or(0, |status| status.number_ready);
                anyhow::ensure!(ready == 2, "{ready} do");
                Ok(())
            }
        })
        .await;
    scene.until_at_rest().await;
    let shifts = scene.shifts().await;
    assert!(
        shifts.iter().any(|shift| shift.spec.from == Use::Mining && shift.spec.to == Use::Mining)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disruption_budget_of_selected_miners_holds() {
    let mut scene = Scene::set(big_nodes(1)).await;
    let miners: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "own", "namespace": "mining"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "own"}},
            "template": {
                "metadata": {"labels": {"app": "own"}},
                "spec": {
                    "nodeSelector": {"switchyard.dev/use": "mining"},
                    "tolerations": [{"key": "switchyard.dev/use", "operator": "Exists"}],
                    "containers": [{"name": "miner", "image": "miner", "resources": {"limits": {"nvidia.com/gpu": "8"}}}],
                },
            },
        },
    }))
    .unwrap();
    scene.cluster.create(&miners).await.unwrap();
    let budget: PodDisruptionBudget = serde_json::from_value(json!({
        "metadata": {"name": "own", "namespace": "mining"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "own"}}},
    }))
    .unwrap();
    scene.cluster.create(&budget).await.unwrap();
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
  podSelector: {matchLabels: {app: own}}
",
        )
        .await;
    scene.create::<GPUPool>(&POOL.replace("name: etc", "name: own")).await;
    scene.operate().await;
    scene.until_uses(&[(Use::Mining, 1)]).await;
    scene
        .until("the miner runs", |cluster| {
            let own = Api::<Deployment>::namespaced(cluster.client.clone(), "mining");
            async move {
                let ready = own.get("own").await?.status.and_then(|status| status.ready_replicas);
                anyhow::ensure!(ready == Some(1), "it does not");
                Ok(())
            }
        })
        .await;
    scene.until_at_rest().await;
    let before = scene.shifts().await.len();
    let miner = scene.miners().await.remove("gpu-0").unwrap();
    scene.give(JobSpec::new("train", 8)).await;
    scene
        .until("the budget holds the eviction up, and somebody says so", |cluster| {
            let events = Api::<k8s_openapi::api::events::v1::Event>::namespaced(
                cluster.client.clone(),
                "mining",
            );
            async move {
                let events = events.list(&ListParams::default()).await?;
                let told =
                    events.iter().any(|event| event.reason.as_deref() == Some("EvictionBlocked"));
                anyhow::ensure!(told, "not yet");
                Ok(())
            }
        })
        .await;
    let found = scene.miners().await.remove("gpu-0").unwrap();
    assert_eq!(found.metadata.uid, miner.metadata.uid);
    let shifts = scene.all::<NodeShift>().list(&ListParams::default()).await.unwrap();
    assert_eq!(shifts.items.len(), before + 1, "it waits");

    // When the budget goes, the job gets its node.
    let budgets = scene.of::<PodDisruptionBudget>("mining");
    budgets.delete("own", &Default::default()).await.unwrap();
    scene.until_running("train", 1).await;
}
