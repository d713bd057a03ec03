//! Runs programs, and says what is going on.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder that cargo builds into.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A cargo command in the repository. What the cargo that runs us says of *our* package is taken out
/// of its environment: build scripts that look at it would run anew every time.
pub fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args).current_dir(root());
    let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    for (key, _) in std::env::vars_os() {
        if ours.iter().any(|prefix| key.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(key);
        }
    }
    cargo
}

/// One step: named before it runs, timed after it.
pub fn step(name: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("── {name}");
    let started = Instant::now();
    act().with_context(|| format!("{name} failed"))?;
    eprintln!("── {name}: ok, {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command to its end, with its output where ours goes.
pub fn run(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Runs a command and returns what it printed.
pub fn output(mut command: Command) -> Result<String> {
    command.stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Finds or builds the control plane's programs.
pub fn build_rig() -> Result<()> {
    step("control plane", || {
        switchyard_rig::Binaries::resolve()?;
        Ok(())
    })
}
