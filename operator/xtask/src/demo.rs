//! `cargo xtask demo`.

use std::{process::Command, thread};

use anyhow::{Result, anyhow, bail};

use crate::run::{build_rig, cargo, root, step, target};

/// Builds what the demo takes and runs it.
pub fn run(args: &[String]) -> Result<()> {
    let asks_for_help = args.iter().any(|arg| arg == "--help" || arg == "-h");
    if asks_for_help {
        build("demo")?;
    } else {
        // Linking takes one core; the other need not wait for it.
        thread::scope(|scope| {
            let rig = scope.spawn(build_rig);
            build("demo")?;
            rig.join().map_err(|_| anyhow!("the control plane could not be built"))?
        })?;
    }
    let mut demo = Command::new(target().join("debug/demo"));
    // The path of a site is the caller's, the report is the repository's.
    if !args.iter().any(|arg| arg.starts_with("--report")) {
        demo.arg("--report").arg(root().join("target/demo/report.json"));
    }
    let status = demo.args(args).status()?;
    if !status.success() {
        bail!("the demo ended with {status}");
    }
    Ok(())
}

/// Builds the operator, and the program that tries it.
pub fn build(program: &str) -> Result<()> {
    step(&format!("operator and {program}"), || {
        crate::run::run(cargo(&["build", "--bin", "switchyard", "--bin", program]))
    })
}
