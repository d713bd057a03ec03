//! Odd answers of the API server, one conversation each.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::{Client, client::Body};
use rstest::rstest;
use serde_json::{Value, json};
use switchyard_api::{GPUPool, NodeShift, Reason, Use};
use switchyard_core::{
    snapshot::{Barrier, Marks},
    writes::{Eviction, NodeWrite},
};
use tokio::time::{Duration, timeout};
use tower_test::mock::{self, Handle};

use super::Hands;
use crate::{
    Settings,
    leader::Leadership,
    tell::{Announcer, Metrics},
    watch::{
        Caches,
        caches::{guarded, written},
        read,
    },
};

type ApiServer = Handle<Request<Body>, Response<Body>>;

/// Hands that talk to an API server of which the test plays the part.
fn hands(leads: bool) -> (Hands, ApiServer) {
    let (service, server) = mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "default");
    let (announcer, _publish) = Announcer::new(client.clone(), "test");
    let settings = Settings {
        namespace: "switchyard-system".into(),
        identity: "test".into(),
        lease: "switchyard".into(),
        lease_duration: Duration::from_secs(15),
        listen: ([127, 0, 0, 1], 0).into(),
        decide_every: Duration::from_secs(10),
        miner_priority_class: "switchyard-miners".into(),
        keep_shifts: 10,
    };
    let hands = Hands {
        client,
        caches: Caches::unwatched(),
        metrics: Metrics::new().unwrap(),
        announcer,
        settings: Arc::new(settings),
        leadership: Leadership::lasting(leads),
    };
    (hands, server)
}

/// No request comes, because nobody is left who could ask.
async fn asked_nothing_more(hands: Hands, mut server: ApiServer) {
    drop(hands);
    let more = timeout(Duration::from_secs(5), server.next_request()).await;
    assert!(more.expect("the end in time").is_none());
}

/// Answers the next request, and says what was asked.
async fn answer(server: &mut ApiServer, code: StatusCode, body: &Value) -> Request<Body> {
    let asked = timeout(Duration::from_secs(5), server.next_request()).await;
    let (request, reply) = asked.expect("a request in time").expect("a request");
    let body = Body::from(serde_json::to_vec(body).unwrap());
    reply.send_response(Response::builder().status(code).body(body).unwrap());
    request
}

fn refusal(code: StatusCode) -> Value {
    json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": "Any", "message": "no"})
}

fn miner() -> Eviction {
    Eviction {
        namespace: "mining".into(),
        name: "miner".into(),
        uid: "u-1".into(),
        node: Some("gpu-0".into()),
    }
}

#[rstest]
#[case::gone(StatusCode::NOT_FOUND, "gone")]
#[case::another_pod_of_that_name(StatusCode::CONFLICT, "gone")]
#[case::disruption_budget(StatusCode::TOO_MANY_REQUESTS, "blocked")]
#[case::server_error(StatusCode::INTERNAL_SERVER_ERROR, "failed")]
#[case::forbidden(StatusCode::FORBIDDEN, "failed")]
#[tokio::test]
async fn an_eviction_is_asked_for_once_and_its_answer_counted(
    #[case] code: StatusCode,
    #[case] counted: &str,
) {
    let (hands, mut server) = hands(true);
    let (evictions, refused) = (vec![miner()], refusal(code));
    let ((), request) = tokio::join!(hands.evict(evictions), answer(&mut server, code, &refused));
    assert_eq!(request.uri().path(), "/api/v1/namespaces/mining/pods/miner/eviction");
    let body = request.into_body().collect_bytes().await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["deleteOptions"]["preconditions"]["uid"], "u-1");
    assert_eq!(hands.metrics.evictions.with_label_values(&[counted]).get(), 1);
    // No second try: the client does not repeat what was refused.
    asked_nothing_more(hands, server).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_holds_nothing_up_for_long() {
    let (hands, mut server) = hands(true);
    let silence = async {
        let unanswered = server.next_request().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(unanswered);
    };
    tokio::select! {
        () = hands.evict(vec![miner()]) => {}
        () = silence => panic!("the eviction waited for a minute"),
    }
    assert_eq!(hands.metrics.write_errors.with_label_values(&["eviction", "timed_out"]).get(), 1);
}

#[tokio::test]
async fn who_does_not_lead_sends_nothing() {
    let (hands, server) = hands(false);
    hands.evict(vec![miner()]).await;
    asked_nothing_more(hands, server).await;
}

fn node(version: &str, labels: &Value) -> Node {
    serde_json::from_value(json!({
        "metadata": {
            "name": "gpu-0", "uid": "u-0", "resourceVersion": version,
            "labels": labels, "annotations": {"other": "yes"},
        },
        "status": {"allocatable": {"nvidia.com/gpu": "8"}},
    }))
    .unwrap()
}

fn to_idle() -> NodeWrite {
    NodeWrite {
        node: "gpu-0".into(),
        uid: "u-0".into(),
        found_claim: None,
        marks: Marks {
            pool: Some("pool".into()),
            node_use: Some(Use::Idle),
            taint: Some(Barrier::Idle),
            gpus: Some(8),
            ..Marks::default()
        },
        why: Reason::Adopted,
    }
}

fn known_use(hands: &Hands) -> Option<Use> {
    let key = (String::new(), "gpu-0".to_owned());
    hands.caches.nodes.get(&key, |record| record.facts.marks.node_use).flatten()
}

#[tokio::test]
async fn a_written_node_is_known_at_once_and_old_news_does_not_undo_it() {
    let (hands, mut server) = hands(true);
    hands.caches.nodes.put(node("5", &json!({})), read::node);
    let written = serde_json::to_value(node("7", &json!({"switchyard.dev/use": "idle"}))).unwrap();
    let ((), request) = tokio::join!(
        hands.mark_nodes(vec![to_idle()]),
        answer(&mut server, StatusCode::OK, &written)
    );
    assert_eq!(request.headers()["content-type"], "application/json-patch+json");
    assert_eq!(known_use(&hands), Some(Use::Idle));
    hands.caches.nodes.put(node("6", &json!({})), read::node);
    assert_eq!(known_use(&hands), Some(Use::Idle), "a watch that lags behind");
    hands.caches.nodes.put(node("8", &json!({})), read::node);
    assert_eq!(known_use(&hands), None, "and one that does not");
}

#[tokio::test]
async fn a_patch_whose_test_fails_changes_nothing_that_is_known() {
    let (hands, mut server) = hands(true);
    hands.caches.nodes.put(node("5", &json!({})), read::node);
    let code = StatusCode::UNPROCESSABLE_ENTITY;
    let refused = refusal(code);
    tokio::join!(hands.mark_nodes(vec![to_idle()]), answer(&mut server, code, &refused));
    assert_eq!(known_use(&hands), None);
    assert_eq!(hands.metrics.write_errors.with_label_values(&["node", "invalid"]).get(), 1);
}

/// A shift for a price that has ended.
fn ended(name: &str, finished: Timestamp) -> NodeShift {
    serde_json::from_value(json!({
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "NodeShift",
        "metadata": {"name": name},
        "spec": {
            "pool": "texas", "from": "Mining", "to": "Idle", "cause": "Price", "deadline": finished,
            "nodes": [{"name": "gpu-0", "uid": "u-0"}],
        },
        "status": {"phase": "Completed", "finished": finished},
    }))
    .unwrap()
}

#[tokio::test]
async fn shifts_that_a_breaker_looks_at_are_not_forgotten() {
    let (hands, mut server) = hands(true);
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let pool: GPUPool = serde_json::from_value(json!({
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "GPUPool",
        "metadata": {"name": "texas"},
        "spec": {
            "nodeSelector": {}, "classes": [], "power": {"price": {"usdPerKWh": "0.06"}},
            "hpc": {"price": {"usdPerGPUHour": "1"}},
        },
    }))
    .unwrap();
    hands.caches.pools.put(guarded(pool), written);
    let minutes = |count: usize| SignedDuration::from_mins(i64::try_from(count).unwrap());
    // Twenty within the hour, and eleven before; ten are kept besides those that count.
    for index in 0..20 {
        let shift = ended(&format!("lately-{index}"), now - minutes(index));
        hands.caches.shifts.put(guarded(shift), written);
    }
    for index in 0..11 {
        let shift = ended(&format!("before-{index}"), now - minutes(100 + index));
        hands.caches.shifts.put(guarded(shift), written);
    }
    let gone = json!({"kind": "Status", "status": "Success", "code": 200});
    let ((), request) =
        tokio::join!(hands.forget_old_shifts(now), answer(&mut server, StatusCode::OK, &gone));
    assert!(request.uri().path().ends_with("/nodeshifts/before-10"), "{}", request.uri());
    asked_nothing_more(hands, server).await;
}
