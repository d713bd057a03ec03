//! `cargo xtask check`.

use anyhow::{Result, bail};

use crate::{
    generate,
    run::{cargo, output, run, step},
};

/// What must never be below the core: clients, runtimes, randomness.
const NOT_IN_CORE: [&str; 6] = ["kube-client", "tokio", "reqwest", "hyper", "rand", "getrandom"];

/// Checks everything that needs no control plane.
pub fn check() -> Result<()> {
    step("format", || run(cargo(&["fmt", "--all", "--check"])))?;
    step("lints", || {
        run(cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
    })?;
    step("docs", || {
        let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
        doc.env("RUSTDOCFLAGS", "--deny warnings");
        run(doc)
    })?;
    step("purity of the core", core_is_pure)?;
    step("dependencies", dependencies)?;
    step("generated files", generate::check)
}

/// The core may depend on nothing that does I/O; tests may.
fn core_is_pure() -> Result<()> {
    let tree = ["tree", "--package", "switchyard-core", "--edges", "normal", "--prefix", "none"];
    let tree = output(cargo(&tree))?;
    let named = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let found: Vec<String> =
        tree.lines().map(named).filter(|name| NOT_IN_CORE.contains(&name.as_str())).collect();
    if !found.is_empty() {
        bail!("switchyard-core depends on {}: it must stay pure", found.join(", "));
    }
    // Alone, so that no feature of another crate helps it along.
    run(cargo(&["check", "--quiet", "--package", "switchyard-core"]))
}

/// Licences, bans and sources by deny.toml. The advisory database is not asked: it needs the internet.
fn dependencies() -> Result<()> {
    let known = cargo(&["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if !known {
        eprintln!("   cargo-deny is not installed, so licences and sources are not checked:");
        eprintln!("   `cargo install --locked cargo-deny` installs it");
        return Ok(());
    }
    run(cargo(&["deny", "--all-features", "check", "bans", "licenses", "sources"]))
}
