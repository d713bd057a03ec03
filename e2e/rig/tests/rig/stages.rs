//! How kwok plays nodes and pods. These tests share a control plane, each in its own namespace.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use switchyard_rig::{ControlPlane, Options};

use crate::support::{apply, gpu_node, kubectl, start, wait};

/// Never dropped: the guardian ends it when the tests' process ends.
static CONTROL_PLANE: LazyLock<ControlPlane> = LazyLock::new(|| {
    let control_plane = start(Options::default());
    apply(&control_plane, &gpu_node("for-pods"));
    wait(&control_plane, "node/for-pods", "condition=Ready");
    control_plane
});

/// A pod with annotations and more of a spec, running in a namespace of its own.
fn running_pod(namespace: &str, annotations: &str, spec: &str) {
    create_pod(namespace, annotations, spec);
    wait(&CONTROL_PLANE, &format!("pod/pod -n {namespace}"), "condition=Ready");
}

fn create_pod(namespace: &str, annotations: &str, spec: &str) {
    kubectl(&CONTROL_PLANE, &format!("create namespace {namespace}"));
    wait(&CONTROL_PLANE, &format!("serviceaccount/default -n {namespace}"), "create");
    apply(
        &CONTROL_PLANE,
        &format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: pod, namespace: {namespace}, annotations: {{{annotations}}}}}
spec:
  {spec}
  containers: [{{name: main, image: none, resources: {{limits: {{nvidia.com/gpu: 1}}}}}}]
"
        ),
    );
}

fn pod(namespace: &str, path: &str) -> String {
    kubectl(&CONTROL_PLANE, &format!("get pod pod -n {namespace} -o jsonpath={{{path}}}"))
}

/// How long it takes until the pod is gone.
fn time_to_delete(namespace: &str) -> Duration {
    let started = Instant::now();
    kubectl(&CONTROL_PLANE, &format!("delete pod pod -n {namespace} --timeout=60s"));
    started.elapsed()
}

fn start_deleting(namespace: &str) {
    kubectl(&CONTROL_PLANE, &format!("delete pod pod -n {namespace} --wait=false"));
}

fn is_there(namespace: &str) -> bool {
    !kubectl(&CONTROL_PLANE, &format!("get pod pod -n {namespace} --ignore-not-found")).is_empty()
}

#[test]
fn nodes_become_ready_and_keep_their_gpus() {
    let nodes = ["gpu-1", "gpu-2", "gpu-3"];
    apply(&CONTROL_PLANE, &nodes.map(gpu_node).concat());
    wait(&CONTROL_PLANE, "node/gpu-1 node/gpu-2 node/gpu-3", "condition=Ready");
    for node in nodes {
        let gpus = kubectl(
            &CONTROL_PLANE,
            &format!("get node {node} -o jsonpath={{.status.allocatable.nvidia\\.com/gpu}}"),
        );
        assert_eq!(gpus, "8");
    }
}

#[test]
fn a_node_without_the_annotation_belongs_to_nobody() {
    apply(&CONTROL_PLANE, "{apiVersion: v1, kind: Node, metadata: {name: stranger}}");
    // Created later, so kwok has had its chance with the stranger.
    apply(&CONTROL_PLANE, &gpu_node("acquaintance"));
    wait(&CONTROL_PLANE, "node/acquaintance", "condition=Ready");
    let status =
        kubectl(&CONTROL_PLANE, "get node stranger -o jsonpath={.status.nodeInfo.kubeletVersion}");
    assert_eq!(status, "");
}

#[test]
fn a_node_is_not_ready_while_its_annotation_says_so() {
    apply(&CONTROL_PLANE, &gpu_node("moody"));
    wait(&CONTROL_PLANE, "node/moody", "condition=Ready");
    kubectl(&CONTROL_PLANE, "annotate node moody rig.switchyard.dev/ready=false");
    wait(&CONTROL_PLANE, "node/moody", "condition=Ready=False");
    kubectl(&CONTROL_PLANE, "annotate node moody rig.switchyard.dev/ready-");
    wait(&CONTROL_PLANE, "node/moody", "condition=Ready");
}

#[test]
fn a_pod_with_init_containers_starts_and_gets_an_address() {
    let inits = "initContainers: [{name: once, image: none}, {name: beside, image: none, restartPolicy: Always}]";
    running_pod("starting", "", inits);
    assert!(pod("starting", ".status.podIP").starts_with("10."));
    assert_eq!(pod("starting", ".status.initContainerStatuses[*].ready"), "true true");
}

#[test]
fn a_pod_starts_after_the_time_it_was_given() {
    let started = Instant::now();
    running_pod("slow-start", "rig.switchyard.dev/start-after: 3s", "");
    assert!(started.elapsed() >= Duration::from_secs(3));
}

#[test]
fn a_job_completes_after_its_run_time() {
    apply(
        &CONTROL_PLANE,
        "
apiVersion: batch/v1
kind: Job
metadata: {name: training, namespace: default}
spec:
  completions: 2
  parallelism: 2
  template:
    metadata: {annotations: {rig.switchyard.dev/run-for: 2s}}
    spec: {restartPolicy: Never, containers: [{name: main, image: none}]}
",
    );
    let started = Instant::now();
    wait(&CONTROL_PLANE, "job/training", "condition=Complete");
    assert!(started.elapsed() >= Duration::from_secs(2));
}

#[test]
fn a_job_without_a_run_time_runs_on() {
    let job = |name, annotations: &str| {
        format!(
            "
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, namespace: default}}
spec:
  template:
    metadata: {{annotations: {{{annotations}}}}}
    spec: {{restartPolicy: Never, containers: [{{name: main, image: none}}]}}
---"
        )
    };
    apply(&CONTROL_PLANE, &(job("endless", "") + &job("short", "rig.switchyard.dev/run-for: 1s")));
    wait(&CONTROL_PLANE, "job/endless", "jsonpath={.status.ready}=1");
    wait(&CONTROL_PLANE, "job/short", "condition=Complete");
    let active = kubectl(&CONTROL_PLANE, "get job endless -o jsonpath={.status.active}");
    assert_eq!(active, "1");
}

#[test]
fn a_pod_fails_after_the_time_it_was_given() {
    running_pod("failing", "rig.switchyard.dev/fail-after: 1s", "restartPolicy: Never");
    wait(&CONTROL_PLANE, "pod/pod -n failing", "jsonpath={.status.phase}=Failed");
    assert_eq!(pod("failing", ".status.containerStatuses[0].state.terminated.exitCode"), "1");
}

#[test]
fn a_deleted_pod_is_gone_at_once() {
    running_pod("quick", "", "");
    let time = time_to_delete("quick");
    assert!(time < Duration::from_secs(10), "{time:?} is about its whole grace period");
}

#[test]
fn a_deleted_pod_takes_the_time_it_was_given() {
    running_pod("slow-stop", "rig.switchyard.dev/stop-after: 2s", "");
    let time = time_to_delete("slow-stop");
    assert!((2..15).contains(&time.as_secs()), "{time:?}");
}

#[test]
fn a_deleted_pod_never_takes_longer_than_its_grace_period() {
    let spec = "terminationGracePeriodSeconds: 3";
    running_pod("cut-short", "rig.switchyard.dev/stop-after: 10m", spec);
    let time = time_to_delete("cut-short");
    // Its deadline is kept in whole seconds, rounded down.
    assert!((2..30).contains(&time.as_secs()), "{time:?}");
}

#[test]
fn a_pod_that_never_stops_goes_when_it_is_told_to() {
    let annotations = "rig.switchyard.dev/never-stops: 'true', rig.switchyard.dev/fail-after: 1s";
    let spec = "terminationGracePeriodSeconds: 1";
    running_pod("stubborn", annotations, spec);
    start_deleting("stubborn");
    // A later pod has come and gone: what should have happened to this one would have.
    running_pod("mortal", "rig.switchyard.dev/stop-after: 2s", "");
    time_to_delete("mortal");
    assert_eq!(pod("stubborn", ".status.phase"), "Running");
    kubectl(&CONTROL_PLANE, "annotate pod pod -n stubborn rig.switchyard.dev/never-stops-");
    wait(&CONTROL_PLANE, "pod/pod -n stubborn", "delete");
}

#[test]
fn a_pod_with_a_finalizer_ends_and_waits_for_it() {
    running_pod("finalized", "", "");
    let patch = |finalizers| {
        let patch = format!(r#"{{"metadata":{{"finalizers":{finalizers}}}}}"#);
        kubectl(&CONTROL_PLANE, &format!("patch pod pod -n finalized --type=merge -p {patch}"))
    };
    patch(r#"["test.switchyard.dev/wait"]"#);
    start_deleting("finalized");
    wait(
        &CONTROL_PLANE,
        "pod/pod -n finalized",
        "jsonpath={.metadata.deletionGracePeriodSeconds}=0",
    );
    assert_eq!(pod("finalized", ".status.phase"), "Failed");
    assert!(is_there("finalized"));
    patch("[]");
    wait(&CONTROL_PLANE, "pod/pod -n finalized", "delete");
}
