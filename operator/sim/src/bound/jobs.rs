//! The best that each job can do by itself, when it pays rent for its GPUs.
//!
//! What a job brings is, between the times at which the HPC price changes, linear in its start as long
//! as neither its start nor its end crosses a border of the grid. It is therefore best at one of these
//! times or at an end of its patience, and no other start has to be looked at.

use std::collections::BTreeMap;

use super::grid::{Grid, Meter, Moment, Occupancy};
use crate::{
    series::Series,
    site::{Job, Site},
};

/// All jobs that could ever run, and the starts that can be best for them.
#[derive(Debug, Clone)]
pub struct Jobs {
    wishes: Vec<Wish>,
    starts: Vec<Start>,
    /// What jobs of a size take, by size.
    takes: Vec<Vec<Take>>,
}

/// A job that wants to run.
#[derive(Debug, Clone, Copy)]
struct Wish {
    /// Index of what it takes.
    size: usize,
    /// Its starts are those from the end of the wish before it to here.
    starts_end: usize,
}

/// A start and what follows from it.
#[derive(Debug, Clone, Copy)]
struct Start {
    from: Moment,
    /// When it ends, or the window does.
    to: Moment,
    /// What the job pays until then, USD.
    pays: f64,
}

/// GPUs of a class that a job would hold if it ran there.
#[derive(Debug, Clone, Copy)]
struct Take {
    class: usize,
    gpus: f64,
}

impl Jobs {
    /// The jobs of a site.
    pub fn new(site: &Site, grid: &Grid) -> Self {
        let mut jobs = Self { wishes: Vec::new(), starts: Vec::new(), takes: Vec::new() };
        let mut known = BTreeMap::new();
        for job in site.jobs.iter().filter(|job| job.submit < site.length) {
            let row = *known.entry(job.gpus).or_insert_with(|| {
                jobs.takes.push(takes(site, job.gpus));
                jobs.takes.len() - 1
            });
            if jobs.takes[row].is_empty() {
                continue;
            }
            jobs.starts.extend(starts(site, grid, job));
            jobs.wishes.push(Wish { size: row, starts_end: jobs.starts.len() });
        }
        jobs
    }

    /// What the jobs bring at best when a busy GPU costs what the meters of the classes say, USD; and
    /// the GPUs of each class that they hold then.
    pub fn best(&self, costs: &[Meter], busy: &mut [Occupancy]) -> f64 {
        let (mut usd, mut first) = (0.0, 0);
        for wish in &self.wishes {
            let starts = &self.starts[first..wish.starts_end];
            first = wish.starts_end;
            let mut best: Option<(f64, &Start, Take)> = None;
            for take in &self.takes[wish.size] {
                let cost = &costs[take.class];
                for start in starts {
                    let value = start.pays - take.gpus * (cost.at(start.to) - cost.at(start.from));
                    if value > best.map_or(0.0, |(value, ..)| value) {
                        best = Some((value, start, *take));
                    }
                }
            }
            if let Some((value, start, take)) = best {
                usd += value;
                busy[take.class].add(take.gpus, start.from, start.to);
            }
        }
        usd
    }
}

/// What a job of so many GPUs takes of each class. One that is larger than a node takes whole ones,
/// of several classes if it likes: the same, then, as all of the class that is cheapest for it. None
/// at all if there are never enough nodes for it.
fn takes(site: &Site, gpus: u32) -> Vec<Take> {
    let counts = super::counts(site);
    let eligible = || (0..site.classes.len()).filter(|class| site.classes[*class].eligible);
    let per_node = site.model.gpus_per_node;
    if gpus <= per_node {
        let fitting =
            eligible().filter(|class| counts[*class] > 0 && site.classes[*class].gpus >= gpus);
        return fitting.map(|class| Take { class, gpus: f64::from(gpus) }).collect();
    }
    let wanted = gpus.div_ceil(per_node);
    if eligible().map(|class| counts[class]).sum::<u32>() < wanted {
        return Vec::new();
    }
    let present = eligible().filter(|class| counts[*class] > 0);
    let whole = |class: usize| f64::from(wanted * site.classes[class].gpus);
    present.map(|class| Take { class, gpus: whole(class) }).collect()
}

/// The starts of a job that can be best, whatever the rents.
fn starts(site: &Site, grid: &Grid, job: &Job) -> Vec<Start> {
    let earliest = job.submit.max(0.0);
    let latest = (earliest + site.model.patience).min(site.length);
    let starting = between(grid.borders(), |border| *border, earliest, latest).iter().copied();
    let ending = between(grid.borders(), |border| border - job.duration, earliest, latest);
    let prices = between(site.hpc.points(), |(time, _)| *time, earliest, latest);
    let mut times: Vec<f64> = starting
        .chain(ending.iter().map(|border| border - job.duration))
        .chain(prices.iter().map(|(time, _)| *time))
        .chain([earliest, latest])
        .collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    let start = |from: f64| {
        let to = (from + job.duration).min(site.length);
        let price = job.price.unwrap_or_else(|| best_price(&site.hpc, from, earliest));
        let pays = price * f64::from(job.gpus) * (to - from) / 3600.0;
        Start { from: grid.moment(from), to: grid.moment(to), pays }
    };
    times.into_iter().map(start).collect()
}

/// Those of the sorted items whose time is neither before nor after.
fn between<T>(items: &[T], time: impl Fn(&T) -> f64, from: f64, to: f64) -> &[T] {
    let first = items.partition_point(|item| time(item) < from);
    let end = items.partition_point(|item| time(item) <= to);
    items.get(first..end).unwrap_or_default()
}

/// The price at a start; or just before it, if that is better and the job was there already.
fn best_price(prices: &Series, start: f64, earliest: f64) -> f64 {
    let earlier = prices.points().partition_point(|(time, _)| *time < start).checked_sub(1);
    let earlier = earlier.filter(|_| start > earliest).and_then(|point| prices.points().get(point));
    earlier.map_or(f64::MIN, |(_, price)| *price).max(prices.at(start))
}
