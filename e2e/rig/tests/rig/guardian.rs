//! Children of a guardian, without a control plane.

use std::process::Command;
use std::time::{Duration, Instant};

use switchyard_rig::{Child, Guardian};

use crate::support::{eventually, processes};

/// A shell that says that it is up and then waits for ever.
fn spawn(guardian: &Guardian, name: &str, script: &str) -> Child {
    let marker = format!("{script}; echo up; while :; do sleep 1000; done");
    let child = guardian.spawn(name, Command::new("sh").args(["-c", &marker])).unwrap();
    eventually("a child that is up", || child.log_tail().contains("up").then_some(()));
    child
}

fn runs(child: &Child) -> bool {
    let pid = format!("{} ", child.id());
    processes(&pid).iter().any(|line| line.trim_start().starts_with(&pid))
}

#[test]
fn a_child_has_its_environment_and_folder_and_a_log() {
    let guardian = Guardian::new().unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo $WORD in $PWD; echo $HOME; cat; exit 3"])
        .env("WORD", "hello")
        .env_remove("HOME")
        .current_dir(guardian.dir());
    let mut child = guardian.spawn("greeter", &command).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let folder = guardian.dir().canonicalize().unwrap();
    assert_eq!(child.log_tail(), format!("hello in {}\n", folder.display()));
    assert_eq!(child.log(), guardian.log("greeter"));
}

#[test]
fn dropping_a_child_ends_it_and_what_it_started() {
    let guardian = Guardian::new().unwrap();
    let child = spawn(&guardian, "parent", "sleep 31415 & echo");
    let grandchild = processes("sleep 31415");
    assert!(!grandchild.is_empty());
    drop(child);
    eventually("no grandchild", || processes("sleep 31415").is_empty().then_some(()));
}

#[test]
fn stopping_asks_first() {
    let guardian = Guardian::new().unwrap();
    let mut polite = spawn(&guardian, "polite", "trap 'echo bye; exit 5' TERM");
    assert_eq!(polite.stop(Duration::from_secs(30)).unwrap().code(), Some(5));
    assert!(polite.log_tail().contains("bye"));
}

#[test]
fn stopping_kills_who_does_not_listen() {
    let guardian = Guardian::new().unwrap();
    let mut deaf = spawn(&guardian, "deaf", "trap '' TERM");
    let started = Instant::now();
    let status = deaf.stop(Duration::from_millis(200)).unwrap();
    assert!(!status.success());
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(!runs(&deaf));
}

#[test]
fn a_program_that_does_not_exist_is_told_in_the_log() {
    let guardian = Guardian::new().unwrap();
    let mut child = guardian.spawn("nobody", &Command::new("no-such-program")).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(127));
    assert!(child.log_tail().contains("no-such-program"));
}

#[test]
fn the_directory_goes_with_the_last_handle() {
    let guardian = Guardian::new().unwrap();
    let dir = guardian.dir().to_path_buf();
    let child = spawn(&guardian, "child", ":");
    drop(guardian);
    assert!(dir.exists() && runs(&child));
    drop(child);
    assert!(!dir.exists());
}
