//! An example site that runs as it is: the start of somebody's own.

use std::{
    f64::consts::{PI, TAU},
    fs, io,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    generate::{Demand, Random, Reverting},
    site::{Job, manifest::Manifest},
};

/// An example that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ExampleError {
    /// There is something already.
    #[error("{}: is there already: choose another folder, or remove it first", .0.display())]
    Exists(PathBuf),
    /// A file or folder cannot be written.
    #[error("{}: cannot be written: choose a folder that you may write to", .file.display())]
    Unwritable {
        /// The file or folder.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

const SITE: &str = include_str!("site.yaml");
const START: &str = "2024-01-08T00:00:00Z";
const SEED: u64 = 2024;
const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
const LENGTH: f64 = 28.0 * DAY;
/// Nodes by GPU model; each has 8 GPUs.
const NODES: [(&str, u32); 2] =
    [("NVIDIA-GeForce-RTX-3090", 16), ("NVIDIA-GeForce-GTX-1080-Ti", 8)];
const STORM_START: f64 = 16.0 * DAY + 6.0 * HOUR;
const STORM_LENGTH: f64 = 60.0 * HOUR;

/// Writes an example site into a folder, which is made if need be. What it wrote, in order.
pub fn write(dir: &Path) -> Result<Vec<PathBuf>, ExampleError> {
    let files = [
        ("site.yaml", SITE.to_owned()),
        ("nodes.csv", nodes()),
        ("jobs.csv", jobs()),
        ("signals/power.csv", signal(&power(), 4)),
        ("signals/etc-income.csv", signal(&income(), 5)),
        ("signals/gpu-hour.csv", signal(&gpu_hour(), 3)),
    ];
    let files = files.map(|(name, text)| (dir.join(name), text));
    if let Some((there, _)) = files.iter().find(|(file, _)| file.exists()) {
        return Err(ExampleError::Exists(there.clone()));
    }
    let signals = dir.join("signals");
    fs::create_dir_all(&signals)
        .map_err(|source| ExampleError::Unwritable { file: signals, source })?;
    for (file, text) in &files {
        fs::write(file, text)
            .map_err(|source| ExampleError::Unwritable { file: file.clone(), source })?;
    }
    Ok(files.map(|(file, _)| file).into())
}

/// What the example's `site.yaml` says.
pub(crate) fn manifest() -> Manifest {
    Manifest::parse(Path::new("site.yaml"), SITE)
        .unwrap_or_else(|error| unreachable!("the example is tested: {error}"))
}

fn nodes() -> String {
    let models = NODES.iter().flat_map(|(model, count)| (0..*count).map(move |_| model));
    let rows = models.enumerate().map(|(index, model)| format!("gpu-{index:02},{model},8\n"));
    format!("name,gpu_model,gpus\n{}", rows.collect::<String>())
}

/// Customers who keep two thirds of the GPUs that they can use busy. One in twenty has a contract.
fn jobs() -> String {
    let demand = Demand { gpus: 85.0, lasting: 4.0 * HOUR, swing: 0.5 };
    let mut random = Random::new(SEED, "contracts");
    let row = |job: Job| {
        let price = if random.uniform() < 0.05 { "0.450" } else { "" };
        format!("{},{},{},{price}\n", time(job.submit), job.gpus, job.duration)
    };
    let rows = demand.jobs(&mut Random::new(SEED, "jobs"), LENGTH).into_iter().map(row);
    format!("submit,gpus,duration_s,usd_per_gpu_hour\n{}", rows.collect::<String>())
}

/// USD per kWh by the hour: cheap at night, dear in the evening, and then the storm.
fn power() -> Vec<(f64, f64)> {
    let price = Reverting { mean: 0.085, spread: 0.25, relaxation: 6.0 * HOUR };
    let mut path = price.path(&mut Random::new(SEED, "power"), HOUR, LENGTH);
    for (time, value) in &mut path {
        let evening = (TAU * (*time - 18.0 * HOUR) / DAY).cos();
        let storm = ((*time - STORM_START) / STORM_LENGTH).clamp(0.0, 1.0);
        *value *= (1.0 + 0.45 * evening) * (1.0 + 30.0 * (PI * storm).sin().powi(2));
    }
    path
}

/// USD for one MH/s over a day, by the hour.
fn income() -> Vec<(f64, f64)> {
    let income = Reverting { mean: 0.0125, spread: 0.15, relaxation: 5.0 * DAY };
    income.path(&mut Random::new(SEED, "income"), HOUR, LENGTH)
}

/// USD for a GPU-hour, by the half hour.
fn gpu_hour() -> Vec<(f64, f64)> {
    let price = Reverting { mean: 0.28, spread: 0.2, relaxation: 12.0 * HOUR };
    price.path(&mut Random::new(SEED, "gpu-hour"), HOUR / 2.0, LENGTH)
}

fn signal(path: &[(f64, f64)], digits: usize) -> String {
    let row = |(at, value): &(f64, f64)| format!("{},{value:.digits$}\n", time(*at));
    format!("time,value\n{}", path.iter().map(row).collect::<String>())
}

/// The moment so many seconds after the start.
fn time(seconds: f64) -> Timestamp {
    let start: Timestamp = START.parse().unwrap_or_else(|_| unreachable!("START is a time"));
    start + SignedDuration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine,
        policy::{Fixed, Rules, Serve, Switch},
        site::Site,
    };

    #[test]
    fn the_example_runs_as_it_is() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("new/site");
        let written = write(&dir).unwrap();
        assert_eq!(written.len(), 6);
        let site = Site::read(&dir, None).unwrap();
        assert_eq!((site.nodes.len(), site.classes.len()), (24, 2));
        assert!((site.length - LENGTH).abs() < 1.0);
        assert!(site.jobs.len() > 1000, "{}", site.jobs.len());

        // It has something to decide: neither of the extremes is best, and mining pays on the whole,
        // but not in the storm.
        let mining = engine::run(&site, &mut Fixed::mining(&site));
        let hpc = engine::run(&site, &mut Fixed::hpc(&site));
        let mut asked = Rules::new("asked", Serve::Always, Switch::Mine);
        let asked = engine::run(&site, &mut asked);
        let mut saving = Rules::new("saving", Serve::Always, Switch::SkiRental);
        let saving = engine::run(&site, &mut saving);
        let usd = [&mining, &hpc, &asked, &saving].map(|outcome| outcome.usd_net);
        assert!(usd[2] > usd[0] && usd[2] > usd[1] && usd[3] > usd[2], "{usd:?}");
        assert!(site.power.points().iter().any(|(_, price)| *price > 1.0));
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("jobs.csv"), "mine").unwrap();
        let refused = write(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("jobs.csv: is there already"), "{refused}");
        assert!(!dir.path().join("site.yaml").exists());
    }
}
