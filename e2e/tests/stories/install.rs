//! Install, look ahead, upgrade, and the ways out.

use std::{process::Command, time::Duration};

use anyhow::ensure;
use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{Namespace, Node},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};
use switchyard_api::{GPUPool, Use, keys};
use switchyard_e2e::{
    Chart, Cluster, MINING, Prometheus, SYSTEM,
    objects::{BIG, JobSpec, NodeSpec},
    run, switchyard, upgrade,
};
use switchyard_rig::Options;

use crate::scene::{POOL, Scene, big_nodes, phase_of};

/// Runs the command line as the administrator: its exit code, and all that it printed.
async fn cli(scene: &Scene, args: &[&str]) -> (i32, String) {
    let mut command = switchyard(&scene.cluster.plane, args).unwrap();
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

async fn uids(scene: &Scene, namespace: &str) -> Vec<String> {
    let pods = scene.pods(namespace).await.into_iter();
    let there = pods.filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let mut uids: Vec<_> =
        there.filter(|pod| phase_of(pod) == "Running").filter_map(|pod| pod.uid()).collect();
    uids.sort();
    uids
}

/// Two nodes mine, one runs a job.
async fn busy() -> Scene {
    let theirs = NodeSpec::gpu("gpu-9", BIG).taint("example.com/noisy", "PreferNoSchedule");
    let mut scene = Scene::mining([big_nodes(2), vec![theirs]].concat()).await;
    scene.give(JobSpec::new("train", 8)).await;
    scene.until_running("train", 1).await;
    scene.until_at_rest().await;
    scene
}

async fn pods_run_on(scene: &Scene, before: &(Vec<String>, Vec<String>)) {
    let after = (uids(scene, MINING).await, uids(scene, "research").await);
    assert_eq!(&after, before, "pods were stopped");
    assert_eq!((after.0.len(), after.1.len()), (2, 1));
}

/// What GitOps would want to put right after the operator has worked for a while. The Lease is the one
/// object of the chart that the operator writes.
async fn drift(scene: &Scene) -> String {
    let mut helm = scene.cluster.plane.helm().unwrap();
    helm.args(["template", "switchyard"]).arg(Chart::of_this_tree().path);
    helm.args(["--namespace", SYSTEM, "--no-hooks"]);
    let rendered = run(helm).await.unwrap();
    let declared = rendered.split("\n---").filter(|object| !object.contains("\nkind: Lease\n"));
    let file = scene.cluster.plane.dir().join("declared.yaml");
    std::fs::write(&file, declared.collect::<Vec<_>>().join("\n---")).unwrap();
    let mut kubectl = scene.cluster.plane.kubectl();
    // Not as Helm, which adds annotations of its own to what is rendered.
    kubectl.args(["diff", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f"]);
    kubectl.arg(&file);
    let output = tokio::task::spawn_blocking(move || kubectl.output()).await.unwrap().unwrap();
    assert!(output.status.code() < Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_drifts_and_an_uninstall_leaves_only_definitions_and_what_people_wrote() {
    let mut scene = busy().await;
    assert_eq!(drift(&scene).await, "");
    let before = (uids(&scene, MINING).await, uids(&scene, "research").await);
    let mut operator = scene.operator.take().unwrap();
    let said = scene.cluster.uninstall(&mut operator).await.unwrap();
    assert!(said.contains("took the lead"), "{said}");
    assert_eq!(scene.cluster.leftovers().await.unwrap(), Vec::<String>::new());
    pods_run_on(&scene, &before).await;
    let node = scene.node("gpu-9").await;
    assert_eq!(node.spec.unwrap().taints.unwrap()[0].key, "example.com/noisy");
    let crds = scene.all::<CustomResourceDefinition>().list(&ListParams::default()).await.unwrap();
    assert_eq!(crds.items.len(), switchyard_api::crds().len());
    scene.all::<GPUPool>().delete("pool", &DeleteParams::default()).await.unwrap();
    let pool = scene.all::<GPUPool>().get_opt("pool").await.unwrap();
    assert!(pool.is_none(), "no finalizer holds the pool");
}

#[tokio::test(flavor = "multi_thread")]
async fn release_works_without_an_operator_and_not_against_one() {
    let mut scene = busy().await;
    let before = (uids(&scene, MINING).await, uids(&scene, "research").await);
    let (code, said) = cli(&scene, &["release", "--all"]).await;
    assert!(code == 1 && said.contains("leads") && said.contains("--take-over"), "{said}");

    scene.operator.take().unwrap().kill().unwrap();
    let (code, said) = cli(&scene, &["release", "--pool", "other", "--take-over"]).await;
    assert!(code == 0 && said.contains("0 nodes given back"), "{said}");
    assert_eq!(scene.node("gpu-0").await.labels()[keys::POOL], "pool", "not its pool");
    let (code, said) = cli(&scene, &["release", "--pool", "pool", "--take-over"]).await;
    assert!(code == 0 && said.contains("3 nodes given back"), "{said}");
    pods_run_on(&scene, &before).await;
    let nodes = scene.all::<Node>().list(&ListParams::default()).await.unwrap();
    let marked = nodes.iter().filter(|node| {
        node.labels()
            .keys()
            .chain(node.annotations().keys())
            .any(|key| key.starts_with("switchyard.dev/"))
    });
    assert_eq!(marked.count(), 0);
    let pool = scene.all::<GPUPool>().get("pool").await.unwrap();
    assert!(pool.finalizers().is_empty());
    assert!(scene.shifts().await.is_empty());
}

/// The commands of a section of the guide, as people would paste them.
fn commands(section: &str) -> String {
    let guide = Chart::of_this_tree().path.join("../../docs/guides/install.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, section) = guide.split_once(&format!("## {section}\n")).unwrap();
    let (_, commands) = section.split_once("```sh\n").unwrap();
    commands.split_once("```").unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_worst_day_kubectl_is_enough() {
    let mut scene = busy().await;
    let before = (uids(&scene, MINING).await, uids(&scene, "research").await);
    scene.operator.take().unwrap().stop().unwrap();
    let kubectl = scene.cluster.plane.kubectl();
    let folder = std::path::Path::new(kubectl.get_program()).parent().unwrap().to_owned();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-ec", &commands("The worst day")]).env("PATH", path);
    shell.envs(kubectl.get_envs().filter_map(|(key, value)| Some((key, value?))));
    run(shell).await.unwrap();
    pods_run_on(&scene, &before).await;
    for node in scene.all::<Node>().list(&ListParams::default()).await.unwrap() {
        let keys = node.labels().keys().chain(node.annotations().keys());
        let ours: Vec<_> = keys.filter(|key| key.starts_with("switchyard.dev/")).collect();
        assert!(ours.is_empty(), "{}: {ours:?}", node.name_any());
        let taints = node.spec.unwrap_or_default().taints.unwrap_or_default();
        assert!(taints.iter().all(|taint| taint.key != keys::TAINT));
    }
    assert!(scene.all::<GPUPool>().get("pool").await.unwrap().finalizers().is_empty());
    assert!(scene.shifts().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_says_what_would_happen_and_writes_nothing() {
    let control_plane = NodeSpec::gpu("cp", BIG).label(keys::CONTROL_PLANE, "");
    let scene = Scene::set([big_nodes(3), vec![control_plane]].concat()).await;
    scene.cluster.make_device_plugin(false).await.unwrap();
    scene.all::<Node>().cordon("gpu-2").await.unwrap();
    scene.merge::<Namespace>(MINING, json!({"metadata": {"labels": {keys::MINERS: null}}})).await;
    let file = scene.cluster.plane.dir().join("pool.yaml");
    let pool = POOL.replace("mode: Active", "mode: DryRun");
    std::fs::write(&file, &pool).unwrap();
    let file = file.display().to_string();
    let (code, said) = cli(&scene, &["preflight", "-f", &file]).await;
    assert_eq!(code, 2, "{said}");
    for part in [
        "pool pool: 4 nodes match",
        "3 Idle",
        "SystemPodsTolerate: kube-system/device-plugin",
        "ControlPlane: 1 nodes are left alone (a node of the control plane): cp",
        "Cordoned: 1 nodes are left alone (a person cordoned it): gpu-2",
        "namespace mining: it is not open to miners",
        "Nothing was written",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let open = json!({"metadata": {"labels": {keys::MINERS: keys::MINERS_ALLOWED}}});
    scene.merge::<Namespace>(MINING, open).await;
    scene.all::<Node>().uncordon("gpu-2").await.unwrap();
    scene.all::<Node>().delete("cp", &DeleteParams::default()).await.unwrap();
    scene
        .of::<DaemonSet>("kube-system")
        .delete("device-plugin", &DeleteParams::default())
        .await
        .unwrap();
    let (code, said) = cli(&scene, &["preflight", "-f", &file, "-o", "json"]).await;
    assert_eq!(code, 0, "{said}");
    let preview: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(preview[0]["tainted"], 3);
    assert_eq!(
        preview[0]["moves"][0],
        json!({"from": "Idle", "to": "Mining", "cause": "Price", "nodes": 3})
    );

    std::fs::write(&file, pool.replace("nodeSelector:", "nodeSelektor:")).unwrap();
    let (code, said) = cli(&scene, &["preflight", "-f", &file]).await;
    assert!(code == 1 && said.contains("nodeSelector"), "{said}");
    std::fs::write(&file, pool.replace("idleAfter: 2s", "idleAfter: soon")).unwrap();
    let (code, said) = cli(&scene, &["preflight", "-f", &file]).await;
    assert!(code == 1 && said.contains("soon"), "{said}");

    assert!(scene.all::<GPUPool>().list(&ListParams::default()).await.unwrap().items.is_empty());
    for node in scene.all::<Node>().list(&ListParams::default()).await.unwrap() {
        assert!(!node.labels().keys().any(|key| key.starts_with("switchyard.dev/")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_in_the_middle_of_a_shift_loses_nothing() {
    let upgraded = upgrade::mid_shift(None).await.unwrap();
    upgrade::check(&upgraded).unwrap();
}

/// The kinds of the Prometheus Operator, as far as the API server has to know them.
fn monitors(plural: &str, kind: &str) -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
        "spec": {
            "group": "monitoring.coreos.com",
            "names": {"plural": plural, "kind": kind, "singular": kind.to_lowercase()},
            "scope": "Namespaced",
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_everything_that_is_rendered_and_the_restricted_namespace_the_pods() {
    let cluster = Cluster::prepared(Options::default()).await.unwrap();
    for (plural, kind) in
        [("servicemonitors", "ServiceMonitor"), ("prometheusrules", "PrometheusRule")]
    {
        cluster.create(&monitors(plural, kind)).await.unwrap();
    }
    let chart = Chart::of_this_tree();
    for values in [None, Some("everything"), Some("bare")] {
        let mut helm = cluster.plane.helm().unwrap();
        helm.args(["template", "switchyard"]).arg(&chart.path).args(["--namespace", SYSTEM]);
        if let Some(values) = values {
            helm.arg("--values").arg(chart.path.join(format!("ci/{values}-values.yaml")));
        }
        let rendered = run(helm).await.unwrap();
        let file = cluster.plane.dir().join("rendered.yaml");
        std::fs::write(&file, rendered).unwrap();
        let mut kubectl = cluster.plane.kubectl();
        kubectl.args(["apply", "--server-side", "--dry-run=server", "-f"]).arg(&file);
        run(kubectl).await.unwrap();
    }

    let notes = cluster.helm("install", &chart).await.unwrap();
    assert!(notes.contains("switchyard preflight -f pool.yaml"), "{notes}");
    let replicas = cluster.replicas().await.unwrap();
    assert_eq!(replicas.len(), 2);
    let namespace = Api::<Namespace>::all(cluster.client.clone());
    let namespace = namespace.get(SYSTEM).await.unwrap();
    assert_eq!(namespace.labels()["pod-security.kubernetes.io/enforce"], "restricted");
    let mut kubectl = cluster.plane.kubectl();
    kubectl.args(["get", "servicemonitors,prometheusrules", "-A", "-o", "name"]);
    let found = run(kubectl).await.unwrap();
    assert_eq!(found.lines().count(), 2, "auto: they are known here, so they are made: {found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_finds_a_value_for_what_dashboards_and_alerts_ask() {
    let mut scene = Scene::mining(big_nodes(2)).await;
    let address = scene.operator.as_ref().unwrap().address.clone();
    let prometheus = Prometheus::scrape(scene.cluster.plane.guardian(), &address).await.unwrap();
    scene.give(JobSpec::new("train", 8).runs_for(Duration::from_secs(3))).await;
    scene.until_running("train", 1).await;
    scene.until_uses(&[(Use::Mining, 2)]).await;
    scene
        .until("every expression has a value", |_| {
            let prometheus = &prometheus;
            let evaluated = prometheus.evaluate();
            async move {
                let evaluated = evaluated.await?;
                ensure!(evaluated.without.is_empty(), "{:?}", evaluated.without);
                ensure!(evaluated.total > 25, "only {}", evaluated.total);
                Ok(())
            }
        })
        .await;
}
