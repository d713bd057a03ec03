//! Finding programs and building them, with a Go that only pretends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Barrier;
use std::thread;

use switchyard_rig::{BinariesError, Search, Tool};
use tempfile::TempDir;

use crate::support::output;

/// A Go that writes what it was asked for, and a line for every time it was asked.
const GO: &str = r#"
echo "$@" >> "$0.calls"
while [ "$1" != -o ]; do shift; done
case $2 in
    */) for name in kube-apiserver kube-controller-manager kube-scheduler kubectl; do echo built > "$2$name"; done ;;
    *) echo built > "$2" ;;
esac
"#;

/// A Go whose process, and the one that started it, are killed half way.
const KILLED_GO: &str = r#"
while [ "$1" != -o ]; do shift; done
echo half > "$2"
kill -s KILL "$PPID" $$
"#;

const BROKEN_GO: &str = "echo first; echo 'no space left on device' >&2; exit 2";

/// A machine: folders of programs, and an empty cache.
struct Machine {
    root: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { root: TempDir::new().unwrap() }
    }

    /// Puts a program into a folder. A shell writes it: while another thread of ours forks, a file
    /// that we have open for writing cannot be run.
    fn install(&self, folder: &str, name: &str, script: &str) -> PathBuf {
        let path = self.folder(folder).join(name);
        fs::create_dir_all(self.folder(folder)).unwrap();
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""#;
        output(Command::new("sh").args(["-c", write]).arg(&path).arg(script));
        path
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn search(&self, path: &[&str]) -> Search {
        Search {
            assets: None,
            path: std::env::join_paths(path.iter().map(|folder| self.folder(folder))).unwrap(),
            cache: self.folder("cache/rig"),
        }
    }

    /// Resolves every tool in a process of its own.
    fn resolve_elsewhere(&self, path: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_switchyard-rig"))
            .arg("binaries")
            .env_remove("KUBEBUILDER_ASSETS")
            .env("PATH", self.folder(path))
            .env("SWITCHYARD_CACHE", self.folder("cache"))
            .output()
            .unwrap()
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.folder("go/go.calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// What is in the cache besides locks and logs.
    fn built(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder("cache/rig")).unwrap().map(Result::unwrap);
        entries
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    }
}

/// The major and minor version in one of our `go.mod` files.
fn version(module: &str, path: &str) -> (u32, u32) {
    let file = format!("{}/go/{module}/go.mod", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{path} v")));
    let mut numbers = line.unwrap().split('.').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

fn kubernetes() -> (u32, u32) {
    version("kubernetes", "k8s.io/kubernetes")
}

fn resolve(search: &Search, tool: Tool) -> Result<PathBuf, BinariesError> {
    search.resolve(&[tool]).map(|binaries| binaries.path(tool).unwrap().to_path_buf())
}

fn contents(path: &Path) -> String {
    fs::read_to_string(path).unwrap().trim().to_owned()
}

#[test]
fn a_program_of_the_wrong_version_is_passed_over() {
    let machine = Machine::new();
    machine.install("old", "kubectl", "echo Client Version: v1.32.4-dispatcher");
    machine.install("silent", "kubectl", "exit 1");
    let (major, minor) = kubernetes();
    let fits = format!("echo Client Version: v{major}.{minor}.99");
    let fits = machine.install("new", "kubectl", &fits);
    let found = resolve(&machine.search(&["old", "silent", "missing", "new"]), Tool::Kubectl);
    assert_eq!(found.unwrap(), fits);
}

#[test]
fn the_assets_come_before_the_path() {
    let machine = Machine::new();
    let (major, minor) = version("etcd", "go.etcd.io/etcd/server/v3");
    let script = format!("echo etcd Version: {major}.{minor}.99");
    let asset = machine.install("assets", "etcd", &script);
    machine.install("bin", "etcd", &script);
    let mut search = machine.search(&["bin"]);
    search.assets = Some(machine.folder("assets"));
    assert_eq!(resolve(&search, Tool::Etcd).unwrap(), asset);
}

#[test]
fn only_what_was_asked_for_is_resolved() {
    let machine = Machine::new();
    let (major, _) = version("helm", "helm.sh/helm/v4");
    let script = format!(r#"echo 'version.BuildInfo{{Version:"v{major}.99"}}'"#);
    machine.install("bin", "helm", &script);
    let binaries = machine.search(&["bin"]).resolve(&[Tool::Helm]).unwrap();
    assert_eq!(binaries.iter().count(), 1);
    let message = binaries.path(Tool::Kwok).unwrap_err().to_string();
    assert!(message.starts_with("kwok was not resolved"), "{message}");
}

#[test]
fn what_is_missing_is_built_once() {
    let machine = Machine::new();
    machine.install("go", "go", GO);
    let search = machine.search(&["go"]);
    let scheduler = resolve(&search, Tool::KubeScheduler).unwrap();
    assert_eq!(contents(&scheduler), "built");
    // One module, one build, and later not even Go is needed.
    resolve(&search, Tool::KubeScheduler).unwrap();
    resolve(&machine.search(&[]), Tool::Kubectl).unwrap();
    let [call] = &machine.calls()[..] else { panic!("{:?}", machine.calls()) };
    assert!(call.starts_with("build -trimpath -ldflags -s -w -X"), "{call}");
    assert!(
        call.contains("gitVersion=v") && call.ends_with("k8s.io/kubernetes/cmd/kubectl"),
        "{call}"
    );
}

#[test]
fn who_has_a_program_that_does_not_fit_is_told() {
    let machine = Machine::new();
    machine.install("go", "go", GO);
    let old = machine.install("go", "helm", "echo v3.19.0");
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let first = told(&machine.resolve_elsewhere("go"));
    assert!(first.contains(&format!("{} is helm 3.19, but ", old.display())), "{first}");
    // Once it is built, that is nobody's concern.
    assert_eq!(told(&machine.resolve_elsewhere("go")), "");
}

#[test]
fn builds_that_start_together_build_once() {
    let machine = Machine::new();
    // It takes its time, so that the others really meet a build that is under way.
    machine.install("go", "go", &format!("/bin/sleep 0.3{GO}"));
    let start = Barrier::new(3);
    let outputs = thread::scope(|scope| {
        let resolve = || {
            start.wait();
            machine.resolve_elsewhere("go")
        };
        [(); 3].map(|()| scope.spawn(resolve)).map(|process| process.join().unwrap())
    });
    for output in &outputs {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, outputs[0].stdout);
    }
    assert_eq!(machine.calls().len(), 4, "kubernetes, etcd, kwok, helm: {:?}", machine.calls());
}

#[test]
fn half_a_build_is_never_used() {
    let machine = Machine::new();
    machine.install("killed", "go", KILLED_GO);
    assert!(!machine.resolve_elsewhere("killed").status.success());
    let [left] = &machine.built()[..] else { panic!("{:?}", machine.built()) };
    assert!(left.starts_with(".building-etcd-"), "{left}");

    machine.install("go", "go", GO);
    let etcd = resolve(&machine.search(&["go"]), Tool::Etcd).unwrap();
    assert_eq!(contents(&etcd), "built");
    let [kept] = &machine.built()[..] else { panic!("{:?}", machine.built()) };
    assert!(kept.starts_with("etcd-v"), "{kept}");
}

#[test]
fn a_failed_build_tells_the_end_of_its_log_and_may_be_tried_again() {
    let machine = Machine::new();
    machine.install("broken", "go", BROKEN_GO);
    let error = resolve(&machine.search(&["broken"]), Tool::Helm).unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("building helm v"), "{message}");
    assert!(message.ends_with("no space left on device"), "{message}");
    let BinariesError::Build { log, .. } = error else { panic!("{error}") };
    assert!(message.contains(log.to_str().unwrap()), "{message}");
    assert!(contents(&log).starts_with("first"));

    machine.install("go", "go", GO);
    resolve(&machine.search(&["go"]), Tool::Helm).unwrap();
}

#[test]
fn without_go_the_message_says_what_to_install() {
    let machine = Machine::new();
    let message = resolve(&machine.search(&[]), Tool::Kubectl).unwrap_err().to_string();
    assert!(message.contains("install Go 1."), "{message}");
    let (major, minor) = kubernetes();
    let kubectl = format!("kubectl {major}.{} or {major}.{minor}", minor - 1);
    assert!(message.contains(&kubectl), "{message}");
}

/// A machine whose package manager only pretends.
fn debian(machine: &Machine, apt_get: &str) -> Search {
    for program in ["mkdir", "mv", "touch"] {
        machine.install("debian", program, &format!(r#"exec /bin/{program} "$@""#));
    }
    machine.install("debian", "apt-get", apt_get);
    machine.install(
        "debian",
        "dpkg",
        "mkdir -p root/usr/bin; echo p > root/usr/bin/prometheus; echo t > root/usr/bin/promtool",
    );
    machine.search(&["debian"])
}

#[test]
fn prometheus_is_taken_out_of_its_package_once() {
    let machine = Machine::new();
    let search = debian(&machine, r#"echo "$@" >> "$0.calls"; touch prometheus.deb"#);
    for _ in 0..2 {
        let found = search.resolve(&Tool::MONITORING).unwrap();
        let promtool = fs::read_to_string(found.path(Tool::Promtool).unwrap()).unwrap();
        assert_eq!(promtool, "t\n");
    }
    let calls = fs::read_to_string(machine.folder("debian/apt-get.calls")).unwrap();
    assert_eq!(calls, "download prometheus\n");
}

#[test]
fn a_package_that_cannot_be_fetched_is_reported_with_a_remedy_and_tried_again() {
    let machine = Machine::new();
    let search = debian(&machine, "echo 'Unable to locate package' >&2; exit 100");
    let error = search.resolve(&Tool::MONITORING).unwrap_err();
    assert!(matches!(error, BinariesError::Fetch { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("apt-get update") && error.contains("Unable to locate"), "{error}");
    let search = debian(&machine, "touch prometheus.deb");
    search.resolve(&Tool::MONITORING).unwrap();
}
