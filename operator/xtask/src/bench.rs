//! `cargo xtask bench`.

mod decide;
mod mutants;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::run::{cargo, output, root, run, step, target};

#[derive(Subcommand)]
pub enum Bench {
    /// Replay sites and the regime grid with every policy.
    ///
    /// Writes target/bench/backtest.json, and the tables into docs/benchmarks.md.
    Backtest {
        /// Site folders; without any those of ../shared/sites, as far as they are there.
        sites: Vec<PathBuf>,
    },
    /// Time whole decisions, from the facts to the orders, on clusters of up to 100,000 nodes.
    ///
    /// Writes target/bench/decide.json, and the table into docs/benchmarks.md.
    Decide,
    /// Break the core's decisions in every small way, and see which breaks no test notices.
    ///
    /// Writes target/bench/mutants.json. Takes up to an hour on two cores that have nothing else to
    /// do, and the first time builds cargo-mutants into ~/.cache/switchyard, unless it is on the PATH.
    /// Which ones are known to go unnoticed, and why, is in docs/reference/mutants.md.
    Mutants {
        /// Files of operator/core/src; without any economics, switching, gates, budgets and
        /// allocation. Those about waiting work are others, and go beyond the hour: demand.rs,
        /// market.rs, rooms.rs.
        files: Vec<String>,
    },
}

impl Bench {
    /// Measures.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Backtest { sites } => backtest(sites),
            Self::Decide => decide::run(),
            Self::Mutants { files } => mutants::run(files),
        }
    }
}

/// Where the rows of a measurement go.
fn rows(name: &str) -> Result<PathBuf> {
    let folder = target().join("bench");
    fs::create_dir_all(&folder)?;
    Ok(folder.join(name).with_extension("json"))
}

fn backtest(named: Vec<PathBuf>) -> Result<()> {
    let sites = if named.is_empty() { shared_sites() } else { named };
    if sites.is_empty() {
        eprintln!("   ../shared/sites is not there: only the regime grid is replayed");
    }
    step("operator, optimised", || {
        run(cargo(&["build", "--release", "--package", "switchyard-cli"]))
    })?;
    let rows = rows("backtest")?;
    let mut tables = String::new();
    step("backtest", || {
        let mut replay = Command::new(target().join("release/switchyard"));
        replay.args(["backtest", "--all", "--placement", "both", "--grid", "--output", "markdown"]);
        replay.arg("--save").arg(&rows).args(&sites);
        tables = output(replay)?;
        Ok(())
    })?;
    println!("{tables}");
    eprintln!("   rows: {}", rows.display());
    if sites.is_empty() { Ok(()) } else { publish("backtest", &tables) }
}

/// The folders of ../shared/sites, in the order of their names.
fn shared_sites() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("../shared/sites")).into_iter().flatten();
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut folders: Vec<_> = folders.filter(|path| path.join("nodes.csv").exists()).collect();
    folders.sort();
    folders
}

/// Puts tables between their marks in docs/benchmarks.md.
fn publish(mark: &str, tables: &str) -> Result<()> {
    let page: &Path = &root().join("docs/benchmarks.md");
    let text = fs::read_to_string(page).with_context(|| format!("{}", page.display()))?;
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let missing = || format!("{} has no marks {begin}", page.display());
    let (before, rest) = text.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    fs::write(page, format!("{before}{begin}\n{}\n\n{end}{after}", tables.trim()))?;
    Ok(())
}
