//! `switchyard backtest`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use comfy_table::{TableStyle, presets};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use strum::IntoEnumIterator;
use switchyard_report::{Report, Run, SiteRuns};
use switchyard_sim::{
    backtest::{self, Named, Replay, Row},
    example, grid,
    site::{self, Placement, Site},
};

mod compare;
mod table;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    init: Option<Other>,
    /// Folders with a site.yaml, or with tables only (nodes.csv, jobs.csv, signals/).
    #[arg(value_name = "SITE", required_unless_present = "grid")]
    sites: Vec<PathBuf>,
    /// Replay the regime grid as well: small generated sites, from calm to rough.
    #[arg(long)]
    grid: bool,
    /// Try these policies; may be given several times. Without it the usual four are tried.
    #[arg(long, value_name = "NAME", value_parser = named, conflicts_with_all = ["all", "compare"])]
    policy: Vec<Named>,
    /// Try every policy, also those that are tuned in hindsight.
    #[arg(long)]
    all: bool,
    /// On which node a job goes; without it, as the site says.
    #[arg(long, value_enum)]
    placement: Option<WhichPlacement>,
    /// Compare the policies of two GPUPool manifests.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with = "all")]
    compare: Option<Vec<PathBuf>>,
    /// With --compare: exit with 3 if the new policy earns less than so many percent of what the old
    /// one does, on any site.
    #[arg(long, value_name = "PERCENT", requires = "compare")]
    fail_below: Option<f64>,
    /// Write a page with charts, too: one file that opens offline.
    #[arg(long, value_name = "FILE.html", conflicts_with = "compare")]
    report: Option<PathBuf>,
    /// Write the result as JSON to a file, too.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    save: Option<PathBuf>,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Subcommand)]
enum Other {
    /// Write a site to begin with.
    ///
    /// Into an empty folder: a documented example that runs as it is. Into a folder that has tables:
    /// a site.yaml for them.
    Init {
        /// The folder.
        dir: PathBuf,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WhichPlacement {
    /// The emptiest node, kube-scheduler's default.
    LeastAllocated,
    /// The fullest node.
    MostAllocated,
    /// One after the other.
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Table,
    /// For a pull request.
    Markdown,
    /// For programs.
    Json,
}

fn named(text: &str) -> Result<Named, String> {
    let known = || Named::iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ");
    text.parse().map_err(|_| format!("the policies are {}", known()))
}

/// Replays sites, and prints how policies did.
pub fn run(args: Args) -> Result<ExitCode> {
    if let Some(Other::Init { dir }) = args.init {
        init(&dir)?;
        return Ok(ExitCode::SUCCESS);
    }
    let sites = read(&args.sites, args.placement)?;
    if let Some(pools) = &args.compare {
        return compare::run(&sites, pools, args.fail_below, args.output);
    }
    let policies = match (args.all, args.policy.as_slice()) {
        (true, _) => Named::all(),
        (false, []) => Named::usual(),
        (false, chosen) => chosen.to_vec(),
    };
    let replay =
        |sites: &[Site]| side_by_side(sites, |site, say| Replay::run(site, &policies, say));
    let rows = |replays: &[Replay]| replays.iter().flat_map(Replay::rows).collect::<Vec<Row>>();
    let replays = replay(&sites);
    let of_sites = rows(&replays);
    let of_grid = if args.grid { rows(&replay(&grid_sites())) } else { Vec::new() };
    if let Some(file) = &args.report {
        fs::write(file, page(&sites, replays))
            .with_context(|| format!("{} cannot be written", file.display()))?;
        eprintln!("switchyard: wrote {}", file.display());
    }
    let json = serde_json::to_string_pretty(&[of_sites.as_slice(), &of_grid].concat())? + "\n";
    if let Some(file) = &args.save {
        fs::write(file, &json).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    let tables = |style: TableStyle| {
        let summaries = backtest::summarize(&of_grid);
        let tables = [
            (!of_sites.is_empty()).then(|| table::of_rows(&of_sites, style)),
            (!of_sites.is_empty()).then(|| table::of_sources(&of_sites, style)),
            (!summaries.is_empty()).then(|| table::of_summaries(&summaries, style)),
        ];
        tables.into_iter().flatten().collect::<Vec<_>>().join("\n")
    };
    crate::print(&match args.output {
        Output::Json => json,
        Output::Table => tables(presets::UTF8_HORIZONTAL_ONLY),
        Output::Markdown => tables(presets::ASCII_MARKDOWN),
    })
}

fn page(sites: &[Site], replays: Vec<Replay>) -> String {
    let runs = |replay: Replay| {
        let runs = replay.runs.into_iter();
        runs.map(|run| Run { outcome: run.outcome, timeline: run.timeline }).collect()
    };
    let sites = sites.iter().zip(replays).map(|(site, replay)| SiteRuns {
        site,
        note: None,
        usd_bound: Some(replay.usd_bound),
        runs: runs(replay),
    });
    switchyard_report::page(&Report { title: "Backtest".to_owned(), sites: sites.collect() })
}

fn grid_sites() -> Vec<Site> {
    grid::cells().map(|cell| cell.site).collect()
}

fn read(folders: &[PathBuf], which: Option<WhichPlacement>) -> Result<Vec<Site>> {
    let placements: Vec<Option<Placement>> = match which {
        None => vec![None],
        Some(WhichPlacement::LeastAllocated) => vec![Some(Placement::LeastAllocated)],
        Some(WhichPlacement::MostAllocated) => vec![Some(Placement::MostAllocated)],
        Some(WhichPlacement::Both) => Placement::iter().map(Some).collect(),
    };
    let mut sites = Vec::new();
    for folder in folders {
        for placement in &placements {
            sites.push(Site::read(folder, *placement)?);
        }
    }
    Ok(sites)
}

/// Does something for each site, as many at a time as there are cores, and shows how far it is.
fn side_by_side<T: Send>(
    sites: &[Site],
    work: impl Fn(&Site, &dyn Fn(&str)) -> T + Sync,
) -> Vec<T> {
    let bar = ProgressBar::new(sites.len() as u64);
    bar.set_style(style());
    let done = sites.par_iter().map(|site| {
        let name = format!("{}, {}", site.name, site.model.placement);
        let done = work(site, &|step| bar.set_message(format!("{name}: {step}")));
        bar.inc(1);
        if bar.is_hidden() {
            eprintln!("switchyard: replayed {name}");
        }
        done
    });
    let done = done.collect();
    bar.finish_and_clear();
    done
}

fn style() -> ProgressStyle {
    let template = "{elapsed} {bar:30} {pos}/{len} sites  {wide_msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Writes what is missing into a folder.
fn init(folder: &Path) -> Result<()> {
    let manifest = folder.join("site.yaml");
    if manifest.exists() {
        bail!("{} is there already: it is left as it is", manifest.display());
    }
    if folder.join("nodes.csv").exists() {
        fs::write(&manifest, site::draft(folder)?)
            .with_context(|| format!("{} cannot be written", manifest.display()))?;
        eprintln!("switchyard: wrote {} for the tables beside it", manifest.display());
    } else {
        for file in example::write(folder)? {
            eprintln!("switchyard: wrote {}", file.display());
        }
    }
    eprintln!("switchyard: next: switchyard backtest {}", folder.display());
    Ok(())
}
