//! A day at a site, in a minute or two, on a real control plane.
//!
//! `stage` sets the scene: nodes, chart, operator, signals, pool. Then either `day` tells its
//! story or `site` replays a real one, while `hours` counts and `screen` shows. `report` says
//! how it went, by what the observer saw.

mod day;
mod hours;
mod report;
mod screen;
mod site;
mod stage;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use jiff::Timestamp;

pub use report::Report;

use self::{hours::Hours, screen::Screen, stage::Stage};

/// Lets a day pass at a mining and HPC site, on a real Kubernetes control plane on this machine.
///
/// 100 simulated GPU nodes mine. HPC jobs come and go, the power price spikes, mining income falls; the
/// operator shifts nodes accordingly, under its own ServiceAccount. An observer that reads only the
/// API server checks what Switchyard promises. The report is in target/demo/report.json.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo")]
pub struct Args {
    /// How many GPU nodes, at least 20.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(20..=5000))]
    pub nodes: u32,
    /// Kill the operator (SIGKILL) so many times, at random moments.
    #[arg(long, default_value_t = 0)]
    pub kill: u32,
    /// Leave everything running at the end, and say how to look at it.
    #[arg(long)]
    pub keep: bool,
    /// Replay the site in this folder (signals/*.csv, nodes.csv, jobs.csv.gz) instead.
    #[arg(long, value_name = "DIR", requires = "from")]
    pub site: Option<PathBuf>,
    /// Where the replay begins, such as 2021-02-14T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,
    /// How many hours are replayed.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=720))]
    pub hours: u32,
    /// How much faster than real time the replay is.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub speed: u32,
    /// Where the report is written.
    #[arg(long, default_value = "target/demo/report.json", value_name = "FILE")]
    pub report: PathBuf,
}

/// Runs the demo. The report says whether all went well; an error means that it could not be run to
/// its end.
pub async fn run(args: &Args) -> Result<Report> {
    let screen = Arc::new(Screen::new());
    let site = match (&args.site, args.from) {
        (Some(folder), Some(from)) => {
            let length = Duration::from_secs(u64::from(args.hours) * 3600);
            Some(site::Site::read(folder, from, length, args.speed)?)
        }
        _ => None,
    };
    let plan = match &site {
        Some(site) => site.plan(),
        None => day::plan(args.nodes),
    };
    let mut stage = Stage::set(plan, &screen).await?;
    let hours = Hours::start(&stage);
    let showing = screen.show(&stage);
    let assassin = stage.assassin(args.kill, &screen);

    let told = match &site {
        Some(site) => site.replay(&stage, &screen).await,
        None => day::tell(&stage, &screen).await,
    };
    let hours = hours.finish().await;
    let kills = assassin.finish().await;
    let told = match told {
        Ok(()) => stage.come_to_rest(&screen).await,
        failed => failed,
    };
    let mut report = Report::of(&stage, &hours, kills, site.is_some()).await?;
    report.tell(told);
    if args.keep {
        showing.finish();
        report.write(&args.report)?;
        Screen::end(&report);
        return stage.keep().map(|()| report);
    }
    let closed = stage.close(&screen).await;
    report.promises.push(closed.context("the pool could not be deleted")?);
    showing.finish();
    report.write(&args.report)?;
    Screen::end(&report);
    Ok(report)
}

/// A day that is part of something longer.
pub(crate) struct Day {
    /// Where it happens.
    pub(crate) stage: Stage,
    /// Where it is told.
    pub(crate) screen: Arc<Screen>,
}

impl Day {
    /// Sets the scene.
    pub(crate) async fn begin(nodes: u32) -> Result<Self> {
        let screen = Arc::new(Screen::new());
        let stage = Stage::set(day::plan(nodes), &screen).await?;
        Ok(Self { stage, screen })
    }

    /// Lets it pass, until everything has come to rest.
    pub(crate) async fn pass(&self) -> Result<Report> {
        let hours = Hours::start(&self.stage);
        let told = match day::tell(&self.stage, &self.screen).await {
            Ok(()) => self.stage.come_to_rest(&self.screen).await,
            failed => failed,
        };
        let mut report = Report::of(&self.stage, &hours.finish().await, 0, false).await?;
        report.tell(told);
        Ok(report)
    }
}
