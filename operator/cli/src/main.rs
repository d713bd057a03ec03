//! `switchyard`: shifts GPU nodes between mining and HPC.

mod backtest;
mod controller;
mod explain;
mod preflight;
mod reference;
mod release;
mod table;
mod version;

use std::{
    io::{ErrorKind, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Shifts the GPU nodes of a Kubernetes cluster between crypto mining and HPC/AI jobs, by what each
/// use pays.
#[derive(Parser)]
#[command(name = "switchyard", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the controller: watch pools, decide, shift nodes.
    ///
    /// Runs in the cluster (the Helm chart does that) or anywhere with a kubeconfig. Of several
    /// replicas one leads and the others stand by.
    Controller(controller::Args),
    /// Replay a site: what would this policy have earned?
    ///
    /// A site is a folder with the manifests that you would apply (site.yaml), the prices
    /// (signals/*.csv), the nodes (nodes.csv) and the jobs (jobs.csv or jobs.csv.gz) of a past time.
    ///
    /// To begin: switchyard backtest init DIR, then switchyard backtest DIR.
    #[command(verbatim_doc_comment)]
    Backtest(backtest::Args),
    /// Print the CustomResourceDefinitions as YAML.
    ///
    /// For example: switchyard crds | kubectl apply --server-side -f -
    Crds,
    /// Show what a pool would do, before it is applied: what it matches, taints and moves, and what is
    /// in the way.
    ///
    /// Reads the cluster, and the signals from where you are; writes nothing. Needs rights to list
    /// nodes, pods, jobs and DaemonSets. The exit code is 2 if something is in the way.
    ///
    /// For example: switchyard preflight -f pool.yaml
    Preflight(preflight::Args),
    /// Say why a node or a pool is as it is, and the smallest change that would change that.
    ///
    /// Of a node: what it would earn in each use and from which prices, what is decided, which gates
    /// are closed, and what would flip the decision: a price, time, or something that you do. Of a
    /// pool: why its nodes move or stay, what its GPUs are worth in each use, and what waits for nodes.
    ///
    /// The running operator answers. It is found by its Lease and reached through the API server, which
    /// takes the rights to get that Lease and to create pods/portforward; or at an --address.
    ///
    ///   switchyard explain node/gpu-0017
    ///   switchyard explain pool/texas -n gpu-system
    ///   kubectl -n switchyard-system port-forward pod/THE-LEADER 8080 &
    ///   switchyard explain node/gpu-0017 --address http://127.0.0.1:8080 -o json
    #[command(verbatim_doc_comment)]
    Explain(explain::Args),
    /// Take everything of Switchyard's off the cluster; pods run on.
    ///
    /// Labels, annotations and the taint on nodes, NodeShifts, DaemonSets of miners (their pods stay)
    /// and the finalizers of pools. Works without the operator. Pools, profiles and signals are yours
    /// and stay. `helm uninstall` runs it by itself.
    ///
    /// It looks again until nothing is left; if something stays, it names it and fails. It may be
    /// interrupted and run again. For example:
    ///
    ///   switchyard release --all --take-over   # out, now, whatever runs
    ///   switchyard release --pool texas        # only what belongs to a pool
    #[command(verbatim_doc_comment)]
    Release(release::Args),
    /// Print what this program was built from.
    Version(version::Args),
    /// Print a page of the reference as Markdown.
    #[command(hide = true)]
    Reference {
        /// Which page.
        page: reference::Page,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Controller(args) => controller::run(args).map(|()| ExitCode::SUCCESS),
        Command::Backtest(args) => backtest::run(args),
        Command::Preflight(args) => {
            preflight::run(&args).and_then(|(text, code)| print(&text).map(|_| code))
        }
        Command::Explain(args) => explain::run(args).and_then(|text| print(&text)),
        Command::Crds => crds().and_then(|text| print(&text)),
        Command::Release(args) => release::run(args).map(|()| ExitCode::SUCCESS),
        Command::Version(args) => version::show(&args).and_then(|text| print(&text)),
        Command::Reference { page } => reference::page(page).and_then(|text| print(&text)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("switchyard: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn crds() -> anyhow::Result<String> {
    let crds = switchyard_api::crds_yaml()?;
    Ok(crds.into_iter().map(|(_, text)| format!("---\n{text}")).collect())
}

/// Prints to whoever reads, as long as they do.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.map(|()| ExitCode::SUCCESS)?),
    }
}
