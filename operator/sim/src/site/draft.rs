//! A first `site.yaml` for a folder that has only tables.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

use super::{
    SiteError,
    tables::{self, ModelRow},
};

/// The ends of the names of signal files, and the signal and unit that they stand for.
const SIGNALS: [(&str, &str, &str); 3] = [
    ("usd-per-kwh", "power", "USDPerKWh"),
    ("usd-per-mhps-day", "income", "USDPerMHsDay"),
    ("usd-per-gpu-hour", "gpu-hour", "USDPerGPUHour"),
];

/// Writes a manifest for the tables of a folder, to stand beside them.
///
/// The GPU models are described by the columns of `nodes.csv`; the window goes from the latest first
/// value of a signal to the midnight after the last value of all; everything else is as the API has
/// it by default, with the pool in mode `Active`.
pub fn draft(folder: &Path) -> Result<String, SiteError> {
    let name = folder
        .file_name()
        .map_or_else(|| "site".to_owned(), |name| name.to_string_lossy().into_owned());
    let signals = signals(folder)?;
    let (start, end) = window(folder, &signals)?;
    let classes = classes(&folder.join("nodes.csv"))?;
    let mut text = String::new();
    let _ = write!(
        text,
        "
apiVersion: switchyard.dev/v1alpha1
kind: Site
metadata: {{name: {name:?}}}
spec:
  start: {start}
  end: {end}
  signals:
"
    );
    for (signal, _, file) in &signals {
        let _ = writeln!(text, "    {signal}: \"signals/{}\"", file.name);
    }
    for (signal, unit, _) in &signals {
        let _ = write!(
            text,
            "---
apiVersion: switchyard.dev/v1alpha1
kind: ProfitabilitySignal
metadata: {{name: {signal}}}
spec: {{unit: {unit}, sources: [{{name: file, static: {{value: '1'}}}}]}}
"
        );
    }
    let _ = write!(
        text,
        "---
apiVersion: switchyard.dev/v1alpha1
kind: MiningProfile
metadata: {{name: coin, namespace: mining}}
spec:
  coin: coin
  algorithm: any
  poolFeePercent: '1'
  income: {{signal: income}}
  hardware:
"
    );
    for class in &classes {
        let _ = writeln!(
            text,
            "  - {{model: {:?}, hashrate: '{}', watts: {}}}",
            class.model, class.hashrate, class.mining_watts
        );
    }
    text.push_str(
        "  template: {spec: {containers: [{name: miner, image: miner}]}}
---
apiVersion: switchyard.dev/v1alpha1
kind: GPUPool
metadata: {name: site}
spec:
  nodeSelector: {}
  classes:
",
    );
    for class in &classes {
        let _ = writeln!(
            text,
            "  - {{model: {:?}, memoryGiB: {}, networkGbps: {}, watts: {{hpcPerGPU: {}, idlePerGPU: {}, host: {}}}}}",
            class.model,
            class.memory_gib,
            if class.eligible { 10 } else { 1 },
            class.hpc_watts,
            class.idle_watts,
            class.host_watts
        );
    }
    text.push_str(
        "  power: {price: {signal: power}, pue: '1.10'}
  mining: {profiles: [{namespace: mining, name: coin}]}
  # Whether a model may serve HPC is told by its network here: `hpc_eligible` of nodes.csv.
  hpc: {price: {signal: gpu-hour}, eligibility: {networkGbps: 10}}
  shifting: {mode: Active}
",
    );
    Ok(text.trim_start().to_owned())
}

/// A signal's file, and the times of its first and last value.
struct SignalFile {
    name: String,
    first: Timestamp,
    last: Timestamp,
}

fn signals(folder: &Path) -> Result<Vec<(&'static str, &'static str, SignalFile)>, SiteError> {
    let directory = folder.join("signals");
    let entries = std::fs::read_dir(&directory).map_err(|source| SiteError::Unreadable {
        file: directory.clone(),
        remedy: "a site has a folder `signals` with a CSV file for each price",
        source,
    })?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    SIGNALS
        .iter()
        .map(|(end, signal, unit)| {
            let fits = |file: &&PathBuf| {
                file.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(end))
            };
            let Some(path) = files.iter().find(fits).cloned() else {
                let problem = format!(
                    "there is no file that ends in {end}.csv: one is needed to draft a site.yaml"
                );
                return Err(SiteError::wrong(&directory, None, problem));
            };
            let points = tables::signal(&path)?;
            let first = points.first().map_or(Timestamp::UNIX_EPOCH, |point| point.0);
            let last = points.last().map_or(first, |point| point.0);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((*signal, *unit, SignalFile { name, first, last }))
        })
        .collect()
}

fn window(
    folder: &Path,
    signals: &[(&str, &str, SignalFile)],
) -> Result<(Timestamp, Timestamp), SiteError> {
    let start =
        signals.iter().map(|(_, _, file)| file.first).max().unwrap_or(Timestamp::UNIX_EPOCH);
    let last = signals.iter().map(|(_, _, file)| file.last).max().unwrap_or(start);
    let midnight = TimestampRound::new().smallest(Unit::Hour).increment(24).mode(RoundMode::Ceil);
    let end =
        last.checked_add(SignedDuration::from_nanos(1)).and_then(|after| after.round(midnight));
    let problem = "the last time is out of range";
    end.map(|end| (start, end)).map_err(|_| SiteError::wrong(folder.join("signals"), None, problem))
}

/// One row for each GPU model, in the order of the file.
fn classes(file: &Path) -> Result<Vec<ModelRow>, SiteError> {
    let mut classes: Vec<ModelRow> = Vec::new();
    for row in tables::models(file)? {
        if classes.iter().all(|known| known.model != row.model) {
            classes.push(row);
        }
    }
    Ok(classes)
}
