//! Two replicas, of which one acts.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, ResourceExt};
use switchyard_api::{GPUPool, Use};
use switchyard_e2e::{SYSTEM, objects::JobSpec};

use crate::scene::{POOL, Scene, big_nodes};

const ARGS: [&str; 4] = ["--decide-every", "1s", "--lease-duration", "4s"];

async fn holder(scene: &Scene) -> Option<String> {
    let lease = Api::<Lease>::namespaced(scene.cluster.client.clone(), SYSTEM)
        .get_opt("switchyard")
        .await
        .unwrap();
    lease.and_then(|lease| lease.spec?.holder_identity).filter(|holder| !holder.is_empty())
}

async fn until_held_by(scene: &mut Scene, name: &str) {
    let name = name.to_owned();
    scene
        .until("the Lease is held", |cluster| {
            let leases = Api::<Lease>::namespaced(cluster.client.clone(), SYSTEM);
            let name = name.clone();
            async move {
                let holder =
                    leases.get("switchyard").await?.spec.and_then(|spec| spec.holder_identity);
                anyhow::ensure!(holder.as_deref() == Some(&name), "{holder:?} holds it");
                Ok(())
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_replica_goes_on_when_the_leader_stops_or_dies() {
    let mut scene = Scene::set(big_nodes(2)).await;
    scene.create::<GPUPool>(POOL).await;
    let replicas = scene.cluster.replicas().await.unwrap();
    let names: Vec<_> = replicas.iter().map(ResourceExt::name_any).collect();
    let mut first = scene.cluster.operator_for(&replicas[0], &ARGS).await.unwrap();
    until_held_by(&mut scene, &names[0]).await;
    scene.until_uses(&[(Use::Mining, 2)]).await;
    scene.operator = Some(scene.cluster.operator_for(&replicas[1], &ARGS).await.unwrap());

    // A leader that is asked to stop gives the Lease back.
    first.stop().unwrap();
    until_held_by(&mut scene, &names[1]).await;
    scene.give(JobSpec::new("train", 8).runs_for(Duration::from_secs(2))).await;
    scene.until_running("train", 1).await;

    // One that dies is replaced when its Lease has run out.
    let mut first = scene.cluster.operator_for(&replicas[0], &ARGS).await.unwrap();
    scene.operator.as_mut().unwrap().kill().unwrap();
    scene.operator = None;
    until_held_by(&mut scene, &names[0]).await;
    scene.give(JobSpec::new("again", 8)).await;
    scene.until_running("again", 1).await;
    first.check().unwrap();
    assert_eq!(holder(&scene).await.as_ref(), Some(&names[0]));
}
