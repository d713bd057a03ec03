//! The regime grid: generated sites in every combination of what makes shifting easy or hard, so that
//! nobody can pick an easy one.
//!
//! All cells have the pool of the example and the same random numbers; they differ in what their names
//! say and in nothing else. Power reverts to the very price at which mining breaks even, so that there is
//! something to decide all the time.

use itertools::iproduct;
use jiff::Timestamp;

use crate::{
    example, forecast,
    generate::{Demand, Random, Reverting, Spikes, lognormal},
    series::Series,
    site::{Class, Model, Node, Profile, Site, Transit, manifest::Manifest},
};

/// What a cell is said to show where the price of HPC alone would move nodes. Live it never does: a
/// job that runs stays. There the numbers hold for mining against idle, and for preemptible jobs.
pub const LABEL: &str = "mining/idle and preemptible only";

/// With it the few jobs of two weeks ask for very nearly what the duty says.
const SEED: u64 = 36;
const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
const LENGTH: f64 = 14.0 * DAY;
const STEP: f64 = 300.0;
/// Nodes of each class of the example's pool; each has 8 GPUs.
const NODES: [u32; 2] = [8, 4];
const GPUS: u32 = 8;
/// What the random numbers of the power price are for, and how far it spreads.
const POWER: (&str, f64) = ("power", 0.4);

/// Where a cell lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axes {
    /// How long prices take until of a deviation from their mean 1/e is left, h.
    pub reversion_hours: f64,
    /// What a node loses by going and coming back, minutes of its income.
    pub cost_minutes: f64,
    /// Are prices noisy, and seen 15 minutes late instead of 5?
    pub noisy: bool,
    /// GPUs that jobs keep busy if every one is served, of those that they can use, percent.
    pub duty_percent: f64,
    /// Is power six times as dear twice a week, for three hours?
    pub spikes: bool,
    /// Does HPC pay about as much as mining, instead of ten times as much?
    pub close: bool,
}

/// One site of the grid.
#[derive(Debug, Clone)]
pub struct Cell {
    /// `reversion=1h,cost=5m,signal=clean,duty=10%,spikes=no,hpc=rich` and so on.
    pub name: String,
    /// Where it lies.
    pub axes: Axes,
    /// The site, of the same name.
    pub site: Site,
}

impl Cell {
    /// What has to be said of it: [`LABEL`], or nothing.
    pub fn label(&self) -> Option<&'static str> {
        self.axes.close.then_some(LABEL)
    }
}

/// Every cell, one after the other.
pub fn cells() -> impl Iterator<Item = Cell> {
    let manifest = example::manifest();
    axes().map(move |axes| axes.cell(&manifest))
}

fn axes() -> impl Iterator<Item = Axes> {
    let switches = [false, true];
    iproduct!([1.0, 6.0, 48.0], [5.0, 60.0], switches, [10.0, 70.0], switches, switches).map(
        |(reversion_hours, cost_minutes, noisy, duty_percent, spikes, close)| Axes {
            reversion_hours,
            cost_minutes,
            noisy,
            duty_percent,
            spikes,
            close,
        },
    )
}

impl Axes {
    fn name(&self) -> String {
        let Self { reversion_hours, cost_minutes, noisy, duty_percent, spikes, close } = self;
        let signal = if *noisy { "noisy" } else { "clean" };
        let spikes = if *spikes { "yes" } else { "no" };
        let hpc = if *close { "close" } else { "rich" };
        format!(
            "reversion={reversion_hours}h,cost={cost_minutes}m,signal={signal},\
             duty={duty_percent}%,spikes={spikes},hpc={hpc}"
        )
    }

    fn cell(self, manifest: &Manifest) -> Cell {
        let name = self.name();
        let pool = &manifest.pool.spec;
        let profiles: Vec<Profile> = manifest
            .profiles
            .iter()
            .map(|(name, profile)| Profile {
                name: name.clone(),
                spec: profile.spec.clone(),
                arriving: profile.spec.arriving(),
                income: income(),
            })
            .collect();
        let classes: Vec<Class> = pool
            .classes
            .iter()
            .map(|model| Class::of(model, GPUS, &pool.hpc.eligibility, &profiles))
            .collect();
        let site = Site {
            name: name.clone(),
            start: Timestamp::UNIX_EPOCH,
            length: LENGTH,
            nodes: nodes(),
            power: self.power(),
            power_forecast: Some(self.power_forecast()),
            hpc: self.hpc(),
            jobs: self.demand(&classes).jobs(&mut Random::new(SEED, "jobs"), LENGTH),
            model: self.model(pool.power.pue.value()),
            pool: pool.clone(),
            profiles,
            classes,
        };
        Cell { name, axes: self, site }
    }

    /// USD per kWh. At 0.21 the RTX 3090 of the example earns by mining what its power costs.
    fn power(&self) -> Series {
        let (purpose, spread) = POWER;
        let mut path = self.price(purpose, 0.21, spread);
        self.raise(&mut path);
        Series::new(path)
    }

    /// What is sold day-ahead: whole hours, without the noise of the day itself.
    fn power_forecast(&self) -> Series {
        let (purpose, spread) = POWER;
        let mut path = self.quiet_price(purpose, 0.21, spread);
        self.raise(&mut path);
        forecast::hourly(&Series::new(path), LENGTH)
    }

    fn raise(&self, path: &mut [(f64, f64)]) {
        if self.spikes {
            let spikes = Spikes { apart: 3.5 * DAY, lasting: 3.0 * HOUR, factor: 6.0 };
            spikes.raise(&mut Random::new(SEED, "spikes"), path);
        }
    }

    /// USD per GPU-hour. At 0.09 a GPU earns by HPC about what it earns by mining when that pays.
    fn hpc(&self) -> Series {
        let (mean, spread) = if self.close { (0.09, 0.4) } else { (0.80, 0.1) };
        Series::new(self.price("hpc", mean, spread))
    }

    /// A price that reverts as fast as this cell has it, with its noise.
    fn price(&self, purpose: &str, mean: f64, spread: f64) -> Vec<(f64, f64)> {
        let mut path = self.quiet_price(purpose, mean, spread);
        if self.noisy {
            let mut noise = Random::new(SEED, &format!("noise of {purpose}"));
            for (_, value) in &mut path {
                *value *= lognormal(spread / 2.0, noise.normal());
            }
        }
        path
    }

    /// The same without noise.
    fn quiet_price(&self, purpose: &str, mean: f64, spread: f64) -> Vec<(f64, f64)> {
        let price = Reverting { mean, spread, relaxation: self.reversion_hours * HOUR };
        price.path(&mut Random::new(SEED, purpose), STEP, LENGTH)
    }

    fn demand(&self, classes: &[Class]) -> Demand {
        let usable = classes.iter().zip(NODES).filter(|(class, _)| class.eligible);
        let gpus: u32 = usable.map(|(class, nodes)| class.gpus * nodes).sum();
        let gpus = f64::from(gpus) * self.duty_percent / 100.0;
        Demand { gpus, lasting: 3.0 * HOUR, swing: 0.5 }
    }

    fn model(&self, pue: f64) -> Model {
        let whole = self.cost_minutes * 60.0;
        let transit = Transit {
            mining_to_hpc: whole / 3.0,
            hpc_to_mining: whole * 2.0 / 3.0,
            idle_to_mining: whole * 0.9,
            mining_to_idle: whole * 0.1,
            idle_to_hpc: whole / 3.0,
            hpc_to_idle: whole * 0.1,
        };
        let step = if self.noisy { 3.0 * STEP } else { STEP };
        Model { pue, step, transit, ..Model::default() }
    }
}

/// USD per H/s and day: it hardly moves.
fn income() -> Series {
    let income = Reverting { mean: 0.0125e-6, spread: 0.05, relaxation: 5.0 * DAY };
    Series::new(income.path(&mut Random::new(SEED, "income"), HOUR, LENGTH))
}

fn nodes() -> Vec<Node> {
    let classes = (0..).zip(NODES).flat_map(|(class, count)| (0..count).map(move |_| class));
    let node = |(index, class)| Node { name: format!("gpu-{index:02}"), class };
    classes.enumerate().map(node).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        engine,
        policy::{Fixed, Seen, Worth},
    };

    #[test]
    fn every_cell_is_another_one() {
        let names: BTreeSet<String> = cells().map(|cell| cell.name).collect();
        assert_eq!(names.len(), 96);
        assert!(
            names.contains("reversion=1h,cost=5m,signal=clean,duty=10%,spikes=no,hpc=rich"),
            "{names:?}"
        );
    }

    /// By which share of the time something holds at a site, for its first class and by true prices.
    fn share(site: &Site, holds: impl Fn(&Worth, f64) -> bool) -> f64 {
        let count = site.power.points().iter().filter(|(time, power)| {
            let income = site.profiles.iter().map(|profile| profile.income.at(*time)).collect();
            let seen = Seen { power: *power, income, hpc: site.hpc.at(*time) };
            holds(&Worth::of(site, 0, &seen), seen.hpc)
        });
        count.count() as f64 / site.power.points().len() as f64
    }

    #[test]
    fn mining_is_never_the_plain_answer() {
        for cell in cells() {
            let pays = share(&cell.site, |worth, _| worth.without_jobs().1 > worth.idle);
            assert!((0.2..0.8).contains(&pays), "{}: {pays}", cell.name);
        }
    }

    #[test]
    fn a_label_says_where_the_price_of_hpc_would_move_nodes() {
        for cell in cells() {
            let loses = share(&cell.site, |worth, price| {
                let mining = (worth.without_jobs().1 - worth.idle) / f64::from(GPUS);
                price - worth.gpu_power < mining
            });
            let expected = if cell.label().is_some() { 0.15..0.85 } else { 0.0..0.005 };
            assert!(expected.contains(&loses), "{}: {loses}", cell.name);
        }
    }

    #[test]
    fn jobs_ask_for_what_the_duty_says() {
        for cell in cells().filter(|cell| cell.axes.reversion_hours < 2.0) {
            let asked = cell.site.jobs.iter().map(|job| job.duration * f64::from(job.gpus));
            let percent = asked.sum::<f64>() / LENGTH / 64.0 * 100.0;
            let wanted = cell.axes.duty_percent;
            assert!((percent / wanted - 1.0).abs() < 0.05, "{}: {percent}", cell.name);
        }
    }

    #[test]
    fn cells_run() {
        let cell = cells().last().unwrap();
        let outcome = engine::run(&cell.site, &mut Fixed::mining(&cell.site));
        assert_eq!((outcome.nodes, outcome.unfinished > 0), (12, true));
        assert!(outcome.usd_net.is_finite());
    }
}
