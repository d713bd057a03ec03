//! `cargo xtask e2e`.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Subcommand;
use switchyard_rig::{Binaries, Tool};

use crate::{
    demo,
    run::{build_rig, root, step, target},
};

#[derive(Subcommand)]
pub enum Trial {
    /// Install the chart, let a day pass under its fences, upgrade it in the middle of a shift, and
    /// uninstall it. The figures are in target/e2e/install.json.
    Install {
        /// How many GPU nodes the day has, at least 20.
        #[arg(long, default_value_t = 40)]
        nodes: u32,
        /// The commit whose chart is upgraded; by default the last one whose chart is another.
        #[arg(long, value_name = "COMMIT")]
        from: Option<String>,
    },
}

/// Builds what a trial takes and runs it.
pub fn run(trial: &Trial) -> Result<()> {
    build_rig()?;
    match trial {
        Trial::Install { nodes, from } => {
            step("prometheus", || {
                Binaries::resolve_only(&Tool::MONITORING)?;
                Ok(())
            })?;
            demo::build("install")?;
            let mut install = Command::new(target().join("debug/install"));
            install.args(["--nodes", &nodes.to_string()]);
            install.arg("--report").arg(root().join("target/e2e/install.json"));
            if let Some(commit) = from {
                install.args(["--from", commit]);
            }
            let status = install.status()?;
            if !status.success() {
                bail!("the trial ended with {status}");
            }
            Ok(())
        }
    }
}
