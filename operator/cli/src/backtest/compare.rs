//! `switchyard backtest --compare`: what a change of policy would bring.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use comfy_table::{TableStyle, presets};
use serde::Serialize;
use switchyard_api::GPUPool;
use switchyard_sim::{engine, outcome::Outcome, policy::Switchyard, site::Site};

use super::{Output, side_by_side, table};
use crate::table::of_cells;

/// The exit code if the new policy earns too little.
const TOO_LITTLE: u8 = 3;

/// What a change of policy would bring at one site.
#[derive(Serialize)]
struct Change {
    site: String,
    placement: String,
    usd_old: f64,
    usd_new: f64,
    /// New as a percentage of old: 100 is no change.
    percent_of_old: f64,
    shifts_per_day_old: f64,
    shifts_per_day_new: f64,
    jobs_done_old: usize,
    jobs_done_new: usize,
    jobs_lost_old: usize,
    jobs_lost_new: usize,
    wait_p95_s_old: f64,
    wait_p95_s_new: f64,
}

impl Change {
    fn of(old: &Outcome, new: &Outcome) -> Self {
        let gain = (new.usd_net - old.usd_net) / old.usd_net.abs().max(f64::MIN_POSITIVE);
        Self {
            site: old.site.clone(),
            placement: old.placement.clone(),
            usd_old: old.usd_net,
            usd_new: new.usd_net,
            percent_of_old: 100.0 * (1.0 + gain),
            shifts_per_day_old: old.shifts_per_day(),
            shifts_per_day_new: new.shifts_per_day(),
            jobs_done_old: old.done,
            jobs_done_new: new.done,
            jobs_lost_old: old.lost,
            jobs_lost_new: new.lost,
            wait_p95_s_old: old.wait_p95_s,
            wait_p95_s_new: new.wait_p95_s,
        }
    }
}

/// Lets the policies of two pools run the sites.
pub fn run(
    sites: &[Site],
    pools: &[PathBuf],
    fail_below: Option<f64>,
    output: Output,
) -> Result<ExitCode> {
    let [old, new] = pools else { bail!("--compare takes two files") };
    let (old, new) = (pool(old)?, pool(new)?);
    let changes = side_by_side(sites, |site, say| {
        let outcome = |name: &str, pool: &GPUPool| {
            say(name);
            engine::run(site, &mut Switchyard::with_pool(name, site, &pool.spec))
        };
        Change::of(&outcome("old", &old), &outcome("new", &new))
    });
    crate::print(&match output {
        Output::Json => serde_json::to_string_pretty(&changes)? + "\n",
        Output::Table => text(&changes, presets::UTF8_HORIZONTAL_ONLY),
        Output::Markdown => text(&changes, presets::ASCII_MARKDOWN),
    })?;
    let Some(least) = fail_below else { return Ok(ExitCode::SUCCESS) };
    let failing: Vec<_> = changes.iter().filter(|change| change.percent_of_old < least).collect();
    for change in &failing {
        eprintln!(
            "switchyard: {}, {}: the new policy earns {:.2} % of what the old one does, less than {least} %",
            change.site, change.placement, change.percent_of_old
        );
    }
    Ok(if failing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(TOO_LITTLE) })
}

/// The one GPUPool of a file.
fn pool(file: &Path) -> Result<GPUPool> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read: is the path right?", file.display()))?;
    let found = switchyard_sim::site::manifest::pool(file, &text)?;
    Ok(found)
}

fn text(changes: &[Change], style: TableStyle) -> String {
    let titles = [
        "Site",
        "Placement",
        "",
        "USD net",
        "Change",
        "Shifts/day",
        "Jobs done",
        "Lost",
        "Wait p95",
    ];
    let rows = changes.iter().flat_map(|change| {
        [
            vec![
                change.site.clone(),
                change.placement.clone(),
                "old".into(),
                table::thousands(change.usd_old),
                String::new(),
                format!("{:.1}", change.shifts_per_day_old),
                change.jobs_done_old.to_string(),
                change.jobs_lost_old.to_string(),
                table::duration(change.wait_p95_s_old),
            ],
            vec![
                String::new(),
                String::new(),
                "new".into(),
                table::thousands(change.usd_new),
                format!("{:+.2} %", change.percent_of_old - 100.0),
                format!("{:.1}", change.shifts_per_day_new),
                change.jobs_done_new.to_string(),
                change.jobs_lost_new.to_string(),
                table::duration(change.wait_p95_s_new),
            ],
        ]
    });
    of_cells(&titles, rows, 3, style)
}
