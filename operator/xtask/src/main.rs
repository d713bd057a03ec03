//! The one task runner of this repository.

mod bench;
mod check;
mod dashboards;
mod demo;
mod e2e;
mod generate;
mod run;
mod test;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything that is done with this repository, from a demo to a release check.
///
/// Needs Rust and Go. What else it takes (etcd, kube-apiserver, kwok, Helm, …) is built once, from Go
/// modules, into ~/.cache/switchyard.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Let a day pass at a mining and HPC site, on a real control plane (see `demo --help`).
    #[command(disable_help_flag = true)]
    Demo {
        /// Handed on to the demo.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run all tests: units, properties, stories on a real control plane, a short demo.
    Test(test::Args),
    /// Measure, and write target/bench/NAME.json beside a table.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Try at length what the tests try briefly, on a real control plane.
    #[command(subcommand)]
    E2e(e2e::Trial),
    /// Write what is generated: crds/, docs/reference/, the chart's definitions, dashboards and README.
    Generate {
        /// Write nothing; fail if something would change.
        #[arg(long)]
        check: bool,
    },
    /// Check format, lints, docs, dependencies, and that what is generated is up to date.
    Check,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Demo { args } => demo::run(&args),
        Task::Bench(bench) => bench.run(),
        Task::Test(args) => test::run(&args),
        Task::E2e(trial) => e2e::run(&trial),
        Task::Generate { check: false } => generate::write(),
        Task::Generate { check: true } => generate::check(),
        Task::Check => check::check(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
