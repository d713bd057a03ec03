//! A site that is left alone.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use switchyard_api::keys;
use switchyard_e2e::{Observer, eventually, objects::JobSpec};

use crate::scene::{SOON, Scene, big_nodes};

/// The longest of all stories: nothing changes for five minutes, and nothing is written but the Lease
/// and what keeps a signal fresh.
#[tokio::test(flavor = "multi_thread")]
async fn when_nothing_changes_nothing_is_written() {
    let mut scene = Scene::mining(big_nodes(5)).await;
    scene.give(JobSpec::new("train", 8).gang(2)).await;
    scene.until_running("train", 2).await;
    scene.until_at_rest().await;
    let observer = Observer::start(&scene.cluster).unwrap();
    said_everything(&observer).await;
    let since = Timestamp::now();
    let promise = observer.quiet(Duration::from_secs(300)).await.unwrap();
    assert!(promise.ok, "{}", promise.evidence);
    // One status a signal and half of its maxAge of 60 s; and the Lease every three seconds.
    let writes = observer.writes(since).unwrap();
    let signals =
        writes.iter().filter(|one| one.resource.starts_with("profitabilitysignals")).count();
    assert!(signals <= 3 * 11, "{signals} statuses of 3 signals in 5 minutes");
    assert!(writes.iter().any(|one| one.resource == "leases"), "the observer sees writes at all");
    let node = scene.node("gpu-0").await;
    assert!(node.annotations().contains_key(keys::USE_SINCE));
}

/// The last status of the pool comes a moment after the last shift has ended.
async fn said_everything(observer: &Observer) {
    let look = || async {
        let a_while_ago = Timestamp::now() - jiff::SignedDuration::from_secs(3);
        let writes = observer.writes(a_while_ago)?;
        let news = writes.iter().find(|one| one.resource.starts_with("gpupools"));
        anyhow::ensure!(news.is_none(), "{news:?}");
        Ok(())
    };
    eventually("the pool's status is complete", SOON, look).await.unwrap();
}
