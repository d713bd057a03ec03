//! Components that crash, or do not start.

use std::net::TcpListener;
use std::time::Duration;

use switchyard_rig::{Binaries, Component, ControlPlane, Options, StartError, Tool};

use crate::support::{BINARIES, apply, gpu_node, kubectl, processes, start, wait};

/// The message of a start that fails, after checking that nothing but the logs is left of it.
fn failure(options: Options) -> String {
    let error = ControlPlane::start(&BINARIES, options).unwrap_err();
    let (StartError::Ended { log, .. } | StartError::NotReady { log, .. }) = &error else {
        panic!("{error}")
    };
    let dir = log.ancestors().nth(2).unwrap();
    assert!(log.is_file());
    assert_eq!(processes(dir.to_str().unwrap()), [""; 0]);
    std::fs::remove_dir_all(dir).unwrap();
    error.to_string()
}

#[test]
fn a_broken_flag_is_told_with_the_end_of_the_log() {
    for component in Component::ALL {
        let extra_flags = vec![(component, "--no-such-flag=1".to_owned())];
        let message = failure(Options { extra_flags, ..Options::default() });
        assert!(message.starts_with(&format!("{component} ended")), "{message}");
        assert!(message.contains("no-such-flag"), "{message}");
        assert!(message.contains(&format!("/logs/{component}.log")), "{message}");
    }
}

#[test]
fn a_taken_port_is_told_with_the_end_of_the_log() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = Some(other.local_addr().unwrap().port());
    let message = failure(Options { port, ..Options::default() });
    assert!(message.starts_with("kube-apiserver ended"), "{message}");
    assert!(message.contains("address already in use"), "{message}");
}

#[test]
fn a_component_that_is_never_ready_is_given_up() {
    let extra_flags = vec![(Component::Kwok, "--server-address=127.0.0.1:0".to_owned())];
    let patience = Duration::from_secs(15); // for the others, which start
    let message = failure(Options { patience, extra_flags, ..Options::default() });
    assert!(message.starts_with("kwok was not ready after 15 s"), "{message}");
    assert!(message.contains("Starting HTTP server"), "{message}");
}

#[test]
fn a_missing_program_is_named() {
    let few = Binaries::resolve_only(&[Tool::Etcd, Tool::Kubectl]).unwrap();
    let message = ControlPlane::start(&few, Options::default()).unwrap_err().to_string();
    assert!(message.starts_with("kube-apiserver was not resolved"), "{message}");
}

#[test]
fn every_component_can_crash_and_come_back() {
    let mut control_plane = start(Options::default());
    let url = control_plane.server_url();
    kubectl(&control_plane, "create configmap before");
    for component in Component::ALL {
        control_plane.restart(component).unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(control_plane.server_url(), url);
    kubectl(&control_plane, "get configmap before");

    // A node and a pod need all of them.
    apply(&control_plane, &gpu_node("after"));
    wait(&control_plane, "node/after", "condition=Ready");
    kubectl(&control_plane, "create deployment after --image=none");
    wait(&control_plane, "deployment/after", "condition=Available");
}

#[test]
fn nodes_die_with_kwok_and_come_back_with_it() {
    let mut control_plane = start(Options { node_lease_seconds: 4, ..Options::default() });
    apply(&control_plane, &gpu_node("mortal"));
    wait(&control_plane, "node/mortal", "condition=Ready");
    control_plane.kill(Component::Kwok).unwrap();
    wait(&control_plane, "node/mortal", "condition=Ready=Unknown");
    control_plane.restart(Component::Kwok).unwrap_or_else(|error| panic!("{error}"));
    wait(&control_plane, "node/mortal", "condition=Ready");
}
