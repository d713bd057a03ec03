//! `cargo xtask bench mutants`.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::rows;
use crate::run::{cargo, root, run as run_to_end, step, target};

/// What decides, in operator/core/src.
const FILES: [&str; 9] = [
    "gate.rs",
    "budget.rs",
    "economics.rs",
    "switching.rs",
    "allocation.rs",
    "limits.rs",
    "power.rs",
    "draw.rs",
    "optimum/*.rs",
];
const VERSION: &str = "27.1.0";
/// What cargo-mutants ends with when it has worked: all caught; some missed; some timed out.
const WORKED: [i32; 3] = [0, 2, 3];
/// There are hundreds of mutants, and each is tried by all tests: few random cases per property, the
/// same for every mutant and in every run, and nobody reads what a failing case shrinks to.
const PROPERTIES: [(&str, &str); 4] = [
    ("PROPTEST_CASES", "8"),
    ("PROPTEST_RNG_SEED", "1"),
    ("PROPTEST_MAX_SHRINK_ITERS", "0"),
    ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1"),
];
/// Built hundreds of times and run a few seconds each: half optimised takes least of both.
const PROFILE: [&str; 2] =
    ["profile.dev.package.switchyard-core.opt-level=1", "profile.dev.debug=0"];
/// Seconds for the tests of a mutant, which take two or three: the rest never ends.
const TIMEOUT: &str = "20";

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
        mutants.current_dir(root()).envs(PROPERTIES).env("RUST_BACKTRACE", "0");
        // Each job builds into a folder of its own.
        mutants.env_remove("CARGO_TARGET_DIR");
        mutants.args(["mutants", "--package", "switchyard-core"]);
        mutants.args(["--jobs", "2", "--timeout", TIMEOUT, "--colors", "never"]);
        mutants.args(PROFILE.map(|setting| format!("--cargo-arg=--config={setting}")));
        mutants.arg("--output").arg(&folder);
        for file in &files {
            mutants.arg("--file").arg(format!("operator/core/src/{file}"));
        }
        // The core has no examples in its documentation, and looking for them takes seconds.
        mutants.args(["--", "--tests"]);
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
    let (caught, missed, timeout) = (count("caught")?, count("missed")?, count("timeout")?);
    let counts = json!({
        "caught": caught,
        "missed": missed,
        "timeout": timeout,
        "unviable": count("unviable")?,
    });
    fs::write(&rows, serde_json::to_string_pretty(&counts)?)?;
    println!("{counts}\nmissed:\n{}", named("missed")?);
    let viable = caught + missed + timeout;
    eprintln!("   {:.1} % of {viable} are caught", 100.0 * caught as f64 / viable.max(1) as f64);
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
