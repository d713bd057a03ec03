//! What the tests share: control planes, kubectl in one line, and waiting without sleeping blindly.

use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use switchyard_rig::{Binaries, ControlPlane, Options};

const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) static BINARIES: LazyLock<Binaries> = LazyLock::new(|| Binaries::resolve().unwrap());

pub(crate) fn start(options: Options) -> ControlPlane {
    ControlPlane::start(&BINARIES, options).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs kubectl with the words of `arguments` and returns what it prints.
pub(crate) fn kubectl(control_plane: &ControlPlane, arguments: &str) -> String {
    let mut kubectl = control_plane.kubectl();
    output(kubectl.args(arguments.split_whitespace()))
}

pub(crate) fn apply(control_plane: &ControlPlane, manifest: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), manifest).unwrap();
    let mut kubectl = control_plane.kubectl();
    output(kubectl.args(["apply", "--server-side", "-f"]).arg(file.path()));
}

/// Waits until kubectl sees `condition`, as in `kubectl wait --for`.
pub(crate) fn wait(control_plane: &ControlPlane, what: &str, condition: &str) {
    kubectl(
        control_plane,
        &format!("wait {what} --for={condition} --timeout={}s", DEADLINE.as_secs()),
    );
}

/// What a command prints; it must succeed.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Waits until `probe` finds what it looks for.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The processes whose command line mentions `text`.
pub(crate) fn processes(text: &str) -> Vec<String> {
    let all = output(Command::new("ps").args(["-A", "-ww", "-o", "pid=,args="]));
    all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// A node of kwok's with eight GPUs.
pub(crate) fn gpu_node(name: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Node
metadata: {{name: {name}, annotations: {{kwok.x-k8s.io/node: fake}}}}
status:
  capacity: {{cpu: '64', memory: 512Gi, pods: '110', nvidia.com/gpu: '8'}}
  allocatable: {{cpu: '64', memory: 512Gi, pods: '110', nvidia.com/gpu: '8'}}
---"
    )
}
