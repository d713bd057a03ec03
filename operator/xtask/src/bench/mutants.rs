//! `cargo xtask bench mutants`.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::rows;
use crate::run::{cargo, root, run as run_to_end, step, target};

/// What decides, in operator/core/src.
const FILES: [&str; 11] = [
    "economics.rs",
    "switching.rs",
    "allocation.rs",
    "limits.rs",
    "power.rs",
    "gate.rs",
    "budget.rs",
    "demand.rs",
    "market.rs",
    "rooms.rs",
    "optimum/*.rs",
];
const VERSION: &str = "27.1.0";
/// What cargo-mutants ends with when it has worked: all caught; some missed; some timed out.
const WORKED: [i32; 3] = [0, 2, 3];
/// Fewer random cases per property: there are hundreds of mutants, and each is tried by all tests.
const CASES: &str = "8";

pub fn run(files: Vec<String>) -> Result<()> {
    let mut tool = PathBuf::new();
    step("cargo-mutants", || {
        tool = installed()?;
        Ok(())
    })?;
    let rows = rows("mutants")?;
    let folder = target().join("bench");
    let files = if files.is_empty() { FILES.map(String::from).to_vec() } else { files };
    step("mutants", || {
        let mut mutants = Command::new(&tool);
        mutants.current_dir(root()).env("PROPTEST_CASES", CASES).env("RUST_BACKTRACE", "0");
        mutants.args(["mutants", "--package", "switchyard-core"]);
        mutants.args(["--jobs", "2", "--no-shuffle", "--colors", "never"]);
        // Built hundreds of times and run a few seconds each.
        mutants.arg("--cargo-arg=--config=profile.dev.package.switchyard-core.opt-level=1");
        mutants.arg("--output").arg(&folder);
        for file in &files {
            mutants.arg("--file").arg(format!("operator/core/src/{file}"));
        }
        let status = mutants.status().with_context(|| format!("cannot run {mutants:?}"))?;
        if !status.code().is_some_and(|code| WORKED.contains(&code)) {
            bail!("{mutants:?} ended with {status}");
        }
        Ok(())
    })?;
    let named = |outcome: &str| {
        let list = folder.join("mutants.out").join(outcome).with_extension("txt");
        fs::read_to_string(&list).with_context(|| format!("{}", list.display()))
    };
    let count = |outcome: &str| named(outcome).map(|names| names.lines().count());
    let counts = json!({
        "caught": count("caught")?,
        "missed": count("missed")?,
        "timeout": count("timeout")?,
        "unviable": count("unviable")?,
    });
    fs::write(&rows, serde_json::to_string_pretty(&counts)?)?;
    println!("{counts}\nmissed:\n{}", named("missed")?);
    eprintln!("   counts: {}", rows.display());
    Ok(())
}

/// cargo-mutants from the PATH, or from the cache, where it is built if need be.
fn installed() -> Result<PathBuf> {
    let known = |tool: &PathBuf| {
        let asked = Command::new(tool).args(["mutants", "--version"]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    let on_path = PathBuf::from("cargo-mutants");
    let home = env::var_os("HOME").context("HOME is not set")?;
    let folder = PathBuf::from(home).join(".cache/switchyard/cargo-mutants");
    let built = folder.join("bin/cargo-mutants");
    if let Some(tool) = [on_path, built.clone()].into_iter().find(known) {
        return Ok(tool);
    }
    let mut install = cargo(&["install", "--locked", "cargo-mutants", "--version", VERSION]);
    install.arg("--root").arg(folder);
    run_to_end(install)?;
    Ok(built)
}
