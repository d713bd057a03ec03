//! Whatever is wrong is said once, with the field and the remedy; and nothing is moved.

use k8s_openapi::api::core::v1::Node;
use kube::{Api, api::ListParams};
use switchyard_api::{GPUPool, ProfitabilitySignal, Use};
use switchyard_e2e::{
    Answer,
    objects::{NodeSpec, SMALL},
};

use crate::scene::{POOL, Scene, big_nodes, use_of};

/// A pool that is wrong in one way, on two nodes that mine.
struct Case {
    pool: String,
    kind: &'static str,
    reason: &'static str,
    /// What the message must name.
    names: &'static [&'static str],
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pool_is_told_what_is_wrong_and_moves_nothing() {
    let cases = [
        Case {
            pool: POOL.replace("site: demo", "site: nowhere"),
            kind: "Ready",
            reason: "NoNodes",
            names: &["spec.nodeSelector"],
        },
        Case {
            pool: POOL.replace("name: etc", "name: missing"),
            kind: "Ready",
            reason: "ProfileNotFound",
            names: &["spec.mining.profiles", "mining/missing"],
        },
        Case {
            pool: POOL.replace("signal: power", "signal: missing"),
            kind: "Ready",
            reason: "SignalNotFound",
            names: &["spec.power.price.signal", "missing"],
        },
        Case {
            pool: POOL.replace("signal: power", "signal: gpu-hour"),
            kind: "Ready",
            reason: "WrongUnit",
            names: &["spec.power.price.signal", "energy price"],
        },
        Case {
            pool: POOL.replace("model: NVIDIA-GeForce-RTX-3090", "model: Voodoo2"),
            kind: "NodesUsable",
            reason: "UnknownModel",
            names: &["spec.classes", "NVIDIA-GeForce-RTX-3090"],
        },
        Case {
            pool: POOL.replace(
                "{matchLabels: {site: demo}}",
                "{matchExpressions: [{key: site, operator: Near, values: [demo]}]}",
            ),
            kind: "Ready",
            reason: "InvalidSpec",
            names: &["spec.nodeSelector", "Near"],
        },
    ];
    let mut scene = Scene::set(big_nodes(2)).await;
    scene.operate().await;
    for case in cases {
        let pool: GPUPool = scene.create(&case.pool).await;
        let condition = scene.until_condition("pool", case.kind, "False", case.reason).await;
        for name in case.names {
            assert!(condition.message.contains(name), "{}: {}", case.reason, condition.message);
        }
        told_once(&mut scene, "pool", case.reason).await;
        assert!(scene.shifts().await.is_empty(), "{}: something was moved", case.reason);
        delete(&mut scene, pool).await;
    }
}

async fn delete(scene: &mut Scene, pool: GPUPool) {
    let name = pool.metadata.name.unwrap();
    scene.all::<GPUPool>().delete(&name, &Default::default()).await.unwrap();
    scene
        .until("the pool is gone", |cluster| {
            let pools = Api::<GPUPool>::all(cluster.client.clone());
            async move {
                let left = pools.list(&ListParams::default()).await?.items.len();
                anyhow::ensure!(left == 0, "it is not");
                Ok(())
            }
        })
        .await;
}

/// Waits for an Event with a reason about an object, and sees that there is only one.
async fn told_once(scene: &mut Scene, about: &'static str, reason: &'static str) {
    scene
        .until(&format!("an event {reason}"), |cluster| {
            let events = Api::<k8s_openapi::api::events::v1::Event>::namespaced(
                cluster.client.clone(),
                "default",
            );
            async move {
                let events = events.list(&ListParams::default()).await?;
                let told: Vec<_> = events
                    .iter()
                    .filter(|event| event.reason.as_deref() == Some(reason))
                    .filter(|event| {
                        event.regarding.as_ref().and_then(|one| one.name.as_deref()) == Some(about)
                    })
                    .collect();
                anyhow::ensure!(told.len() == 1, "{} events", told.len());
                anyhow::ensure!(told[0].series.is_none(), "it was repeated");
                Ok(())
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_hash_rate_never_mines_and_is_named() {
    let odd = NodeSpec::gpu("odd", "NVIDIA-H100");
    let mut scene = Scene::set([big_nodes(1), vec![odd]].concat()).await;
    let pool = POOL.replace(
        "  - {model: NVIDIA-GeForce-GTX-1080-Ti, memoryGiB: 11",
        "  - {model: NVIDIA-H100, memoryGiB: 80",
    );
    scene.create::<GPUPool>(&pool).await;
    scene.operate().await;
    let condition = scene.until_condition("pool", "NodesUsable", "False", "NoHashRate").await;
    assert!(condition.message.contains("NVIDIA-H100"), "{}", condition.message);
    assert!(condition.message.contains("spec.hardware"), "{}", condition.message);
    scene.until_uses(&[(Use::Mining, 1), (Use::Idle, 1)]).await;
    assert_eq!(use_of(&scene.node("odd").await), Some(Use::Idle));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_two_pools_are_touched_by_neither() {
    let mut scene = Scene::set(big_nodes(2)).await;
    scene.create::<GPUPool>(POOL).await;
    scene.create::<GPUPool>(&POOL.replace("name: pool", "name: rival")).await;
    scene.operate().await;
    for (pool, other) in [("pool", "rival"), ("rival", "pool")] {
        let condition = scene.until_condition(pool, "Ready", "False", "Overlap").await;
        assert!(condition.message.contains("spec.nodeSelector"), "{}", condition.message);
        assert!(condition.message.contains(other), "{}", condition.message);
        told_once(&mut scene, pool, "Overlap").await;
    }
    let nodes = scene.all::<Node>().list(&ListParams::default()).await.unwrap();
    assert!(nodes.iter().all(|node| use_of(node).is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_misbehaves_moves_nothing() {
    let cases = [
        (Answer::Status(500), "ErrorStatus", "500"),
        (Answer::Empty, "Empty", "jsonPath"),
        (Answer::NaN, "NotANumber", "number"),
        (Answer::Huge, "TooLarge", "64 KiB"),
        (Answer::Garbage, "NotJson", "JSON"),
        (Answer::Silence, "TimedOut", "no answer"),
    ];
    let mut scene =
        Scene::mining(vec![NodeSpec::gpu("small", SMALL), NodeSpec::gpu("other", SMALL)]).await;
    let ordered = scene.shifts().await.len();
    for (answer, reason, names) in cases {
        let name = format!("bad-{}", reason.to_lowercase());
        scene.prices.answer(&name, answer);
        scene.signal(&name, "USDPerMHsDay").await;
        let message = until_source(&mut scene, &name, reason).await;
        assert!(message.contains(names), "{reason}: {message}");
        assert!(!message.contains("secret"), "the text of an answer is never shown: {message}");
    }
    assert_eq!(scene.shifts().await.len(), ordered);

    // The pool's own signal fails: its last value is held, so that nothing is moved.
    scene.prices.answer("mining", Answer::Status(503));
    let message = until_source(&mut scene, "mining", "ErrorStatus").await;
    assert!(message.contains("held"), "{message}");
    scene.until_uses(&[(Use::Mining, 2)]).await;
    assert_eq!(scene.shifts().await.len(), ordered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_is_read_and_told_and_a_bad_one_says_what_is_wrong() {
    let mut scene = Scene::mining(vec![NodeSpec::gpu("small", SMALL)]).await;
    let begin = k8s_openapi::jiff::Timestamp::now().as_second() / 3600 * 3600;
    let hours = (0..24).map(|hour| (begin + hour * 3600, 0.05)).collect();
    scene.prices.set("ahead", 0.05);
    scene.prices.answer("ahead-hours", Answer::Series(hours));
    let forecast = |values: &str| {
        let (url, hours) = (scene.prices.url("ahead"), scene.prices.url("ahead-hours"));
        format!(
            "
            apiVersion: switchyard.dev/v1alpha1
            kind: ProfitabilitySignal
            metadata: {{name: ahead-{values}}}
            spec:
              unit: USDPerKWh
              interval: 1s
              sources: [{{name: web, http: {{url: '{url}', jsonPath: $.value}}}}]
              forecast: {{http: {{url: '{hours}', timesPath: '$.times[*]', valuesPath: '$.{values}[*]'}}}}
            "
        )
    };
    let (good, bad) = (forecast("values"), forecast("prices"));
    scene.create::<ProfitabilitySignal>(&good).await;
    scene.create::<ProfitabilitySignal>(&bad).await;
    let told = scene
        .until("both forecasts are told", |cluster| {
            let signals = Api::<ProfitabilitySignal>::all(cluster.client.clone());
            async move {
                let mut told = Vec::new();
                for name in ["ahead-values", "ahead-prices"] {
                    let status = signals.get(name).await?.status.unwrap_or_default();
                    told.push(anyhow::Context::context(status.forecast, "nothing is told")?);
                }
                Ok(told)
            }
        })
        .await;
    assert_eq!(told[0].reason.to_string(), "SourceRead");
    assert_eq!(told[0].until.map(k8s_openapi::jiff::Timestamp::as_second), Some(begin + 24 * 3600));
    assert_eq!(told[1].until, None);
    let message = told[1].message.clone().unwrap_or_default();
    assert!(
        message.contains("24 times and 0 values") && message.contains("valuesPath"),
        "{message}"
    );
}

/// Waits until a signal's source has a reason, and returns the message of its condition.
async fn until_source(scene: &mut Scene, name: &str, reason: &'static str) -> String {
    let name = name.to_owned();
    scene
        .until(&format!("{name} says {reason}"), |cluster| {
            let signals = Api::<ProfitabilitySignal>::all(cluster.client.clone());
            let name = name.clone();
            async move {
                let status = signals.get(&name).await?.status.unwrap_or_default();
                let found = status.sources.get("web").map(|source| source.reason.to_string());
                anyhow::ensure!(found.as_deref() == Some(reason), "{found:?}");
                let condition = status.conditions.into_iter().next();
                anyhow::Context::context(condition.map(|one| one.message), "no condition")
            }
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_does_not_parse_never_stops_the_watch_of_the_others() {
    let mut scene = Scene::set(big_nodes(1)).await;
    // What the schema lets through and the operator cannot read: a status of another version.
    scene
        .create::<GPUPool>(
            &POOL.replace("name: pool", "name: odd").replace("site: demo", "site: odd"),
        )
        .await;
    let broken = serde_json::json!({"status": {"lastDecision": {
        "time": "2026-01-01T00:00:00Z", "moves": 0, "reasons": [{"reason": "FromTheFuture", "nodes": 1}],
    }}});
    let pools = scene.all::<GPUPool>();
    pools.patch_status("odd", &Default::default(), &kube::api::Patch::Merge(broken)).await.unwrap();
    scene.operate().await;
    scene.create::<GPUPool>(POOL).await;
    scene.until_uses(&[(Use::Mining, 1)]).await;
}
