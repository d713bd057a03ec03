//! What the API server itself says to wrong manifests.

use kube::{Api, api::PostParams, core::DynamicObject, discovery::ApiResource};
use switchyard_e2e::Cluster;
use switchyard_rig::Options;

use crate::scene::{POOL, PROFILE};

const SIGNAL: &str = "
apiVersion: switchyard.dev/v1alpha1
kind: ProfitabilitySignal
metadata: {name: power}
spec:
  unit: USDPerKWh
  sources: [{name: fixed, static: {value: '0.06'}}]
";

/// A manifest, what is replaced in it by what, and what the API server then says.
const REFUSED: [(&str, &str, &str, &str); 39] = [
    (POOL, "{matchLabels: {site: demo}}", "{}", "would take every node"),
    (POOL, "{signal: power}", "{}", "either a signal or usdPerKWh"),
    (POOL, "{signal: power}", "{signal: power, usdPerKWh: '1'}", "either a signal or usdPerKWh"),
    (POOL, "{signal: gpu-hour}", "{}", "either a signal or usdPerGPUHour"),
    (POOL, "pue: '1.10'", "pue: '0.9'", "watts at the meter"),
    (POOL, "pue: '1.10'", "pue: 1.1", "must be of type string"),
    (POOL, "pue: '1.10'", "pue: lots", "should match"),
    (POOL, "mode: Active", "mode: active", "Unsupported value"),
    (POOL, "budgets: []", "budgets: [{nodes: '120%'}]", "share of the pool"),
    (POOL, "budgets: []", "budgets: [{nodes: -1}]", "share of the pool"),
    (POOL, "budgets: []", "budgets: [{nodes: 1, schedule: 0 8 * * *}]", "give both"),
    (POOL, "budgets: []", "budgets: [{nodes: 1, duration: 1h}]", "give both"),
    (POOL, "budgets: []", "budgets: [{nodes: 1, timeZone: UTC}]", "or no timeZone"),
    (POOL, "budgets: []", "windows: [{schedule: 0 8 * * *}]", "duration: Required value"),
    (POOL, "budgets: []", "windows: [{duration: 1h}]", "schedule: Required value"),
    (
        POOL,
        "budgets: []",
        "windows: [{schedule: 0 25 * * *, duration: 1h}]",
        "minute hour day month weekday",
    ),
    (
        POOL,
        "budgets: []",
        "windows: [{schedule: 0 0 8 * * *, duration: 1h}]",
        "minute hour day month weekday",
    ),
    (
        POOL,
        "budgets: []",
        "budgets: [{nodes: 1, schedule: in the morning, duration: 1h}]",
        "minute hour day month weekday",
    ),
    (
        POOL,
        "budgets: []",
        "windows: [{schedule: 0 8 * * *, timeZone: Mars/Phobos, duration: 1h}]",
        "such as America/Chicago",
    ),
    (
        POOL,
        "budgets: []",
        "windows: [{schedule: 0 8 * * *, duration: 0s}]",
        "duration must be at least 1m",
    ),
    (
        POOL,
        "budgets: []",
        "windows: [{schedule: 0 8 * * *, duration: 1h, causes: [Whim]}]",
        "Unsupported value",
    ),
    (POOL, "budgets: []", "breaker: {within: 48h}", "within must be at most 24h"),
    (POOL, "budgets: []", "breaker: {reversals: 110%}", "share of the pool"),
    (POOL, "idleAfter: 2s", "idleAfter: soon", "should match"),
    (POOL, "idleAfter: 2s", "idleAfter: -2s", "should match"),
    (
        POOL,
        "model: NVIDIA-GeForce-GTX-1080-Ti",
        "model: NVIDIA-GeForce-RTX-3090",
        "Duplicate value",
    ),
    (
        POOL,
        "{name: pool}",
        "{name: pool-of-a-very-long-name-that-does-not-fit-into-a-label-value-of-a-node}",
        "at most 63 characters",
    ),
    (PROFILE, "hashrate: 120M", "hashrate: 120MH", "should match"),
    (
        PROFILE,
        "  template:\n    spec:\n      terminationGracePeriodSeconds: 5\n      containers: [{name: miner, image: miner}]\n",
        "",
        "either a template",
    ),
    (
        PROFILE,
        "  template:",
        "  podSelector: {matchLabels: {a: b}}\n  template:",
        "either a template",
    ),
    (PROFILE, "  income:", "  poolFeePercent: '101'\n  income:", "what the mining pool keeps"),
    (
        PROFILE,
        "  income: {",
        "  income: {haircutPercent: '-1', ",
        "what is not believed of the signal",
    ),
    (POOL, "patience: '0'", "patience: '0'\n    wearUSD: '-1'", "what a switch wears off a node"),
    (SIGNAL, "USDPerKWh", "USDPerMonth", "Unsupported value"),
    (
        SIGNAL,
        "static: {value: '0.06'}",
        "static: {value: '0.06'}, http: {url: 'http://x', jsonPath: $.a}",
        "exactly one of",
    ),
    (
        SIGNAL,
        "static: {value: '0.06'}",
        "http: {url: 'ftp://x/y', jsonPath: $.a}",
        "https:// or http://",
    ),
    (SIGNAL, "static: {value: '0.06'}", "http: {url: 'http://x', jsonPath: price}", "should match"),
    (SIGNAL, "  unit:", "  quorum: 2\n  unit:", "quorum asks for more sources"),
    (SIGNAL, "  unit:", "  maxAge: 10s\n  unit:", "maxAge is shorter than interval"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_wrong_manifests_with_words_that_help() {
    let cluster = Cluster::with_crds(Options::default()).await.unwrap();
    let by_the_clock = POOL.replace("name: pool", "name: by-the-clock").replace(
        "budgets: []",
        "budgets: [{nodes: 1, schedule: '*/30 8-18/2,22 1,15 JAN-mar,12 1-5', timeZone: America/Chicago, duration: 10h}, {nodes: 5}]
    windows: [{schedule: '@daily', duration: 90m, causes: [Demand]}]",
    );
    for manifest in [POOL, PROFILE, SIGNAL, &by_the_clock] {
        create(&cluster, manifest).await.unwrap();
    }
    for (manifest, right, wrong, words) in REFUSED {
        let text = manifest.replace(right, wrong);
        assert_ne!(text, manifest, "{right} is not in the manifest");
        let Err(error) = create(&cluster, &text).await else { panic!("{wrong} was accepted") };
        assert!(error.contains(words), "{wrong}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_cannot_be_changed() {
    let cluster = Cluster::with_crds(Options::default()).await.unwrap();
    let shift = "
apiVersion: switchyard.dev/v1alpha1
kind: NodeShift
metadata: {name: one}
spec:
  pool: pool
  from: Mining
  to: HPC
  nodes: [{name: gpu-0, uid: u-0}]
  cause: Demand
  deadline: 2026-01-01T00:00:00Z
";
    create(&cluster, shift).await.unwrap();
    let (api, _) = api_of(&cluster, shift);
    let patch = serde_json::json!({"spec": {"to": "Idle"}});
    let changed = api.patch("one", &Default::default(), &kube::api::Patch::Merge(patch)).await;
    let error = changed.unwrap_err().to_string();
    assert!(error.contains("cannot be changed"), "{error}");
    let standing = shift.replace("to: HPC", "to: Mining").replace("name: one", "name: two");
    let error = create(&cluster, &standing).await.unwrap_err();
    assert!(error.contains("moves nothing"), "{error}");
}

fn api_of(cluster: &Cluster, manifest: &str) -> (Api<DynamicObject>, DynamicObject) {
    let object: DynamicObject = serde_yaml::from_str(manifest).unwrap();
    let types = object.types.clone().unwrap();
    let plural = match types.kind.as_str() {
        "GPUPool" => "gpupools",
        "MiningProfile" => "miningprofiles",
        "ProfitabilitySignal" => "profitabilitysignals",
        _ => "nodeshifts",
    };
    let resource = ApiResource {
        group: "switchyard.dev".into(),
        version: "v1alpha1".into(),
        api_version: types.api_version,
        kind: types.kind,
        plural: plural.into(),
    };
    let client = cluster.client.clone();
    let api = match object.metadata.namespace.as_deref() {
        Some(_) => Api::namespaced_with(client, "default", &resource),
        None => Api::all_with(client, &resource),
    };
    (api, object)
}

/// Creates what a manifest says, as it is: what the API server thinks of it is the question.
async fn create(cluster: &Cluster, manifest: &str) -> Result<(), String> {
    let (api, mut object) = api_of(cluster, manifest);
    if object.metadata.namespace.is_some() {
        object.metadata.namespace = Some("default".into());
    }
    let created = api.create(&PostParams::default(), &object).await;
    created.map(drop).map_err(|error| error.to_string())
}
