//! The real binary, as a process that can be killed.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use switchyard_rig::{Child, ControlPlane, Guardian, free_port};

/// A running operator.
#[derive(Debug)]
pub struct Operator {
    process: Child,
    guardian: Guardian,
    name: String,
    command: Vec<String>,
    environment: Vec<(String, String)>,
    /// Where it serves `/metrics`.
    pub address: String,
}

impl Operator {
    /// Starts the operator in the place of a pod: with the command, arguments and environment that the
    /// pod has, and more arguments.
    pub fn start(
        plane: &ControlPlane,
        pod: &Pod,
        kubeconfig: &Path,
        more: &[&str],
    ) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut command = command_of(pod)?;
        command.extend(["--listen", &address].map(str::to_owned));
        command.extend(more.iter().map(ToString::to_string));
        let environment = environment_of(pod, kubeconfig);
        let (name, guardian) = (pod.name_any(), plane.guardian().clone());
        let process = spawn(&guardian, &name, &command, &environment)?;
        Ok(Self { process, guardian, name, command, environment, address })
    }

    /// Ends it as a crash would, and starts it again at once, as the kubelet would.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process = spawn(&self.guardian, &self.name, &self.command, &self.environment)?;
        Ok(())
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        Ok(())
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop(Duration::from_secs(20))?;
        Ok(())
    }

    /// Did it end by itself? Then what it logged last.
    pub fn check(&mut self) -> Result<()> {
        let ended = self.process.try_wait()?;
        ensure!(ended.is_none(), "the operator ended: {}", self.process.log_tail());
        Ok(())
    }

    /// The name of the pod that it acts for.
    pub fn pod(&self) -> &str {
        &self.name
    }

    /// What it logged last.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// Where it logs to.
    pub fn log(&self) -> PathBuf {
        self.guardian.log(&self.name)
    }

    /// The address of its metrics.
    pub fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }
}

/// The command line, as the administrator.
pub fn switchyard(plane: &ControlPlane, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(args).env("KUBECONFIG", plane.kubeconfig());
    Ok(command)
}

/// What a pod runs, by the binary on this machine in place of the image.
pub(crate) fn command_of(pod: &Pod) -> Result<Vec<String>> {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let container = containers.first().context("the pod has no container")?;
    let mut command = vec![binary()?.display().to_string()];
    command.extend(container.args.iter().flatten().cloned());
    Ok(command)
}

/// The environment that the chart's pods have by the downward API.
pub(crate) fn environment_of(pod: &Pod, kubeconfig: &Path) -> Vec<(String, String)> {
    vec![
        ("KUBECONFIG".to_owned(), kubeconfig.display().to_string()),
        ("POD_NAME".to_owned(), pod.name_any()),
        ("POD_NAMESPACE".to_owned(), pod.namespace().unwrap_or_default()),
    ]
}

fn spawn(
    guardian: &Guardian,
    name: &str,
    command: &[String],
    environment: &[(String, String)],
) -> Result<Child> {
    let (program, args) = command.split_first().context("no command")?;
    let mut process = Command::new(program);
    process.args(args).envs(environment.iter().cloned());
    Ok(guardian.spawn(name, &process)?)
}

/// The operator's binary: what `SWITCHYARD_BIN` names, or what cargo built beside this program.
fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("SWITCHYARD_BIN") {
        return Ok(named.into());
    }
    let here = std::env::current_exe()?;
    let folders = here.ancestors().skip(1).take(2);
    folders.map(|folder| folder.join("switchyard")).find(|candidate| candidate.is_file()).context(
        "the operator is not built: run `cargo build -p switchyard-cli`, or use `cargo xtask`",
    )
}
