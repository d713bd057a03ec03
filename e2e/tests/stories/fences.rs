//! The admission policies of the chart.

use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy, apps::v1::DaemonSet, core::v1::Namespace,
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;
use switchyard_api::{GPUPool, MiningProfile, Use, keys};
use switchyard_e2e::{
    MINING,
    fences::{Grounds, try_fences},
    objects::{BIG, NodeSpec},
};

use crate::scene::{POOL, Scene, big_nodes};

#[tokio::test(flavor = "multi_thread")]
async fn every_fence_lets_the_operator_work_and_nothing_else() {
    let control_plane = NodeSpec::gpu("cp", BIG).label(keys::CONTROL_PLANE, "");
    let scene = Scene::mining_among(big_nodes(1), vec![control_plane]).await;
    let foreign = scene.cluster.make_device_plugin(true).await.unwrap();
    let grounds = Grounds {
        node: "gpu-0".into(),
        control_plane: "cp".into(),
        pool: "pool".into(),
        miners: "etc-pool-8gpu".into(),
        foreign: foreign.name_any(),
    };
    let tried = try_fences(&scene.cluster, &grounds).await.unwrap();
    let policies = scene.all::<ValidatingAdmissionPolicy>().list(&ListParams::default()).await;
    for policy in policies.unwrap() {
        let name = policy.name_any();
        let tried = tried.get(name.as_str()).copied().unwrap_or_default();
        assert!(tried.allowed > 0 && tried.refused > 0, "{name} was not tried: {tried:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_not_open_gets_no_miners_and_the_profile_says_how_to_open_it() {
    let mut scene = Scene::set(big_nodes(1)).await;
    let closed = json!({"metadata": {"labels": {keys::MINERS: null}}});
    scene.merge::<Namespace>(MINING, closed).await;
    scene.create::<GPUPool>(POOL).await;
    scene.operate().await;
    let message = scene
        .until("the profile says so", |cluster| {
            let profiles = Api::<MiningProfile>::namespaced(cluster.client.clone(), MINING);
            async move {
                let status = profiles.get("etc").await?.status.unwrap_or_default();
                let refused =
                    status.conditions.into_iter().find(|one| one.reason == "NamespaceClosed");
                anyhow::Context::context(refused.map(|one| one.message), "not yet")
            }
        })
        .await;
    let remedy = "kubectl label namespace mining switchyard.dev/miners=allowed";
    assert!(message.contains("metadata.namespace") && message.contains(remedy), "{message}");
    let told = scene.events(MINING, "etc").await;
    assert!(told.iter().any(|(reason, _)| reason == "NamespaceClosed"), "{told:?}");
    let sets = scene.of::<DaemonSet>(MINING).list(&ListParams::default()).await.unwrap();
    assert!(sets.items.is_empty(), "and nothing is made there");

    let open = json!({"metadata": {"labels": {keys::MINERS: keys::MINERS_ALLOWED}}});
    scene.merge::<Namespace>(MINING, open).await;
    scene.until_uses(&[(Use::Mining, 1)]).await;
    scene.until_at_rest().await;
    assert_eq!(scene.miners().await.len(), 1);
}
