//! `cargo xtask test`.

use anyhow::Result;
use clap::Args as ClapArgs;

use crate::{
    demo, generate,
    run::{self, build_rig, cargo, step},
};

#[derive(ClapArgs)]
pub struct Args {
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// Each story has a control plane of its own and mostly waits for it, so there may be more of them at
/// once than cores.
const STORIES_AT_ONCE: &str = "--test-threads=3";

/// Runs all tests, the fast ones first.
pub fn run(args: &Args) -> Result<()> {
    let filter: Vec<&str> = args.filter.as_deref().into_iter().collect();
    let test = |name: &str, packages: &[&str]| {
        step(name, || run::run(cargo(&[&["test"], packages, &filter].concat())))
    };
    test(
        "units and properties",
        &["--workspace", "--exclude", "switchyard-e2e", "--exclude", "switchyard-rig"],
    )?;
    if args.filter.is_none() {
        step("generated files", generate::check)?;
    }
    build_rig()?;
    demo::build("demo")?;
    test("rig", &["--package", "switchyard-rig"])?;
    step("stories on a real control plane", || {
        let mut stories =
            cargo(&[&["test", "--package", "switchyard-e2e"], filter.as_slice()].concat());
        stories.args(["--", STORIES_AT_ONCE]);
        run::run(stories)
    })?;
    if args.filter.is_none() {
        step("short demo", || {
            demo::run(&["--nodes".into(), "20".into(), "--kill".into(), "1".into()])
        })?;
    }
    Ok(())
}
