//! A control plane as its user sees it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use switchyard_rig::{Component, Options, Tool};

use crate::support::{
    BINARIES, apply, eventually, gpu_node, kubectl, output, processes, start, wait,
};

#[test]
fn it_starts_in_seconds_and_leaves_nothing() {
    let _ = &*BINARIES;
    let started = Instant::now();
    let control_plane = start(Options::default());
    println!("ready after {:.1} s", started.elapsed().as_secs_f32());

    let dir = control_plane.dir().to_path_buf();
    assert!(control_plane.ca_pem().unwrap().starts_with("-----BEGIN CERTIFICATE"));
    assert!(kubectl(&control_plane, "version").contains("Server Version: v1."));
    assert!(Component::ALL.iter().all(|component| control_plane.log(*component).is_file()));
    assert_eq!(control_plane.audit_log(), None);
    assert!(processes(dir.to_str().unwrap()).len() >= Component::ALL.len());

    drop(control_plane);
    assert!(!dir.exists());
    assert_eq!(processes(dir.to_str().unwrap()), [""; 0]);
}

#[test]
fn every_write_of_every_user_is_audited() {
    let control_plane = start(Options { audit: true, ..Options::default() });
    kubectl(&control_plane, "create serviceaccount robot");
    kubectl(
        &control_plane,
        "create rolebinding robot --clusterrole=edit --serviceaccount=default:robot",
    );
    let token = kubectl(&control_plane, "create token robot");
    let kubeconfig = control_plane.kubeconfig_for_token("robot", &token).unwrap();
    let as_robot = |arguments: &str| {
        let mut kubectl = control_plane.kubectl();
        output(kubectl.env("KUBECONFIG", &kubeconfig).args(arguments.split_whitespace()))
    };
    assert!(as_robot("auth whoami").contains("system:serviceaccount:default:robot"));
    as_robot("create configmap made-by-robot");
    as_robot("get configmap made-by-robot");

    let log = control_plane.audit_log().unwrap();
    let lines = eventually("the line of the last write", || {
        let lines = fs::read_to_string(&log).ok()?;
        lines.contains(r#""name":"made-by-robot""#).then_some(lines)
    });
    let about: Vec<&str> = lines.lines().filter(|line| line.contains("made-by-robot")).collect();
    let [line] = about[..] else { panic!("{about:#?}") };
    assert!(line.starts_with('{') && line.ends_with('}'));
    for part in [
        r#""verb":"create""#,
        r#""username":"system:serviceaccount:default:robot""#,
        r#""stage":"ResponseComplete""#,
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(lines.contains(r#""user":{"username":"admin""#));
    assert!(!lines.contains(r#""verb":"get""#) && !lines.contains(r#""verb":"watch""#));
}

#[test]
fn its_options_reach_its_components() {
    let control_plane = start(Options {
        fsync: true,
        request_rate: None,
        pod_max_backoff_seconds: Some(1),
        extra_stages: "
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: doomed}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchLabels: {doomed: 'yes'}
    matchExpressions: [{jq: {key: .status.phase, operator: In, values: [Pending]}}]
  weight: 1
  steps: [{patch: {subresource: status, root: status, template: 'phase: Failed'}}]
"
        .to_owned(),
        ..Options::default()
    });
    let dir = control_plane.dir().to_str().unwrap().to_owned();
    let commands = processes(&dir).join("\n");
    assert!(!commands.contains("--unsafe-no-fsync") && !commands.contains("--kube-api-qps"));

    apply(&control_plane, &gpu_node("node"));
    kubectl(&control_plane, "run doomed --image=none --labels=doomed=yes");
    wait(&control_plane, "pod/doomed", "jsonpath={.status.phase}=Failed");

    let scheduler = control_plane.url(Component::Scheduler).unwrap();
    let config = kubectl(&control_plane, &format!("get --server={scheduler} --raw=/configz"));
    assert!(config.contains(r#""podMaxBackoffSeconds":1"#), "{config}");
}

#[test]
fn a_process_of_the_test_is_an_administrator() {
    let control_plane = start(Options::default());
    let mut command = BINARIES.command(Tool::Kubectl).unwrap();
    let mut child = control_plane.spawn("me", command.args(["auth", "whoami"])).unwrap();
    assert!(child.wait().unwrap().success(), "{}", child.log_tail());
    assert!(child.log_tail().contains("system:masters"));
}

#[test]
fn helm_works_and_keeps_to_the_directory() {
    let control_plane = start(Options::default());
    let listed =
        output(control_plane.helm().unwrap().args(["list", "--all-namespaces", "--output=json"]));
    assert_eq!(listed, "[]");
    let folders = output(control_plane.helm().unwrap().arg("env"));
    let dir = control_plane.dir().to_str().unwrap();
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        let value = folders.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(value.contains(dir), "{value}");
    }
}

#[test]
fn nothing_outlives_a_killed_owner() {
    let mut owner =
        Command::new(env!("CARGO_BIN_EXE_switchyard-rig")).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let kubeconfig = line.trim().strip_prefix("export KUBECONFIG=").unwrap();
    let dir = kubeconfig.strip_suffix("/kubeconfig/admin").unwrap();
    assert!(processes(dir).len() >= Component::ALL.len());

    owner.kill().unwrap(); // SIGKILL
    owner.wait().unwrap();
    eventually("no process and no directory", || {
        (processes(dir).is_empty() && !fs::exists(dir).unwrap()).then_some(())
    });
}

#[test]
fn a_kept_control_plane_outlives_its_owner_until_it_is_stopped() {
    let mut keep = Command::new(env!("CARGO_BIN_EXE_switchyard-rig"));
    let line = output(keep.arg("keep"));
    let kubeconfig = line.strip_prefix("export KUBECONFIG=").unwrap();
    let dir = kubeconfig.strip_suffix("/kubeconfig/admin").unwrap();

    let mut kubectl = BINARIES.command(Tool::Kubectl).unwrap();
    output(kubectl.env("KUBECONFIG", kubeconfig).args(["get", "--raw=/readyz"]));

    output(Command::new("sh").arg(format!("{dir}/stop.sh")));
    eventually("no process and no directory", || {
        (processes(dir).is_empty() && !fs::exists(dir).unwrap()).then_some(())
    });
}
