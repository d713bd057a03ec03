//! A bound on what they can earn who let no customer wait.
//!
//! The clairvoyant earns much by starting a job when its price is best, within the hours that it is ready
//! to wait. Nobody may do that who promises that no job is hurt for a price. Here a job starts as it
//! comes, or never. All else is as good as can be: everything is known ahead, switches are free and take
//! no time, and at every moment the jobs that pay most are served, on as few nodes as their GPUs need,
//! although they may be cut off and packed anew at any time and pay for what they ran.
//!
//! Unlike the clairvoyant's, these nodes are whole: one that is open for the job of a single GPU does not
//! mine with the other seven.

use crate::{
    policy::{Seen, Worth},
    site::{Job, Site},
};

/// What nobody earns more than, USD, who starts every job as it comes or never.
pub fn prompt(site: &Site) -> f64 {
    let shop = Shop::new(site);
    let jobs = shop.jobs();
    let times = moments(site, &jobs);
    let (mut coming, mut asking) = (jobs.iter().peekable(), Vec::new());
    let spans = times.iter().zip(times.iter().skip(1)).map(|(from, to)| {
        asking.retain(|job: &Asking| job.to > *from);
        while let Some(job) = coming.next_if(|job| job.from <= *from) {
            asking.push(*job);
        }
        asking.sort_by(|one, other| other.pays.total_cmp(&one.pays));
        shop.best_rate(*from, &asking) * (to - from) / 3600.0
    });
    spans.sum()
}

/// A job that runs if it is served.
#[derive(Debug, Clone, Copy)]
struct Asking {
    /// When it comes, s.
    from: f64,
    /// When it ends, s.
    to: f64,
    /// GPUs that it holds.
    gpus: f64,
    /// USD per hour and GPU held.
    pays: f64,
}

/// GPUs that open together for jobs.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// How many there are of the kind.
    count: u32,
    /// What opening one costs, USD per hour: what it would earn without jobs, beyond waiting for them.
    cost: f64,
}

/// A site with what does not change.
struct Shop<'s> {
    site: &'s Site,
    /// Nodes by class.
    counts: Vec<u32>,
    /// Classes that serve jobs.
    serving: Vec<usize>,
    /// GPUs of a room: a node's; where classes differ in that, the largest part into which all divide.
    room: u32,
}

impl<'s> Shop<'s> {
    fn new(site: &'s Site) -> Self {
        let counts = super::counts(site);
        let serves = |class: &usize| {
            let facts = &site.classes[*class];
            facts.eligible && facts.gpus > 0 && counts[*class] > 0
        };
        let serving: Vec<usize> = (0..site.classes.len()).filter(serves).collect();
        let sizes = serving.iter().map(|class| site.classes[*class].gpus);
        Self { room: sizes.fold(0, common_divisor), serving, counts, site }
    }

    /// All jobs, in the order in which they come.
    fn jobs(&self) -> Vec<Asking> {
        let mut jobs: Vec<Asking> = self.site.jobs.iter().map(|job| self.asking(job)).collect();
        jobs.sort_by(|one, other| one.from.total_cmp(&other.from));
        jobs
    }

    fn asking(&self, job: &Job) -> Asking {
        let node = self.site.model.gpus_per_node;
        let sizes = self.serving.iter().map(|class| self.site.classes[*class].gpus);
        let whole = job.gpus.div_ceil(node) * sizes.min().unwrap_or(node);
        let held = f64::from(if job.gpus > node { whole } else { job.gpus });
        let price = job.price.unwrap_or_else(|| self.site.hpc.at(job.submit));
        let from = job.submit.max(0.0);
        Asking {
            from,
            to: from + job.duration,
            gpus: held,
            pays: price * f64::from(job.gpus) / held,
        }
    }

    /// What the site earns at best at a moment from jobs that ask, the best paying first: USD per hour.
    fn best_rate(&self, now: f64, asking: &[Asking]) -> f64 {
        let income = self.site.profiles.iter().map(|profile| profile.income.at(now)).collect();
        let seen = Seen { power: self.site.power.at(now), income, hpc: 0.0 };
        let classes = 0..self.counts.len();
        let worths: Vec<Worth> = classes.map(|class| Worth::of(self.site, class, &seen)).collect();
        let nodes = worths.iter().zip(&self.counts);
        let resting = nodes.map(|(worth, count)| worth.without_jobs().1 * f64::from(*count));
        let serving = self.serving.iter();
        let mut rooms: Vec<Room> =
            serving.clone().map(|class| self.rooms(*class, &worths[*class])).collect();
        rooms.sort_by(|one, other| one.cost.total_cmp(&other.cost));
        let power = serving.map(|class| worths[*class].gpu_power).fold(f64::INFINITY, f64::min);
        resting.sum::<f64>() + self.best_gain(&rooms, asking, power)
    }

    /// The rooms of a class.
    fn rooms(&self, class: usize, worth: &Worth) -> Room {
        let parts = self.site.classes[class].gpus / self.room;
        let missed = worth.without_jobs().1 - worth.idle;
        Room { count: self.counts[class] * parts, cost: missed / f64::from(parts) }
    }

    /// What jobs add to it when so many rooms are opened as gain by it, the cheapest first, USD per hour.
    /// Each next room costs more and is filled by jobs that pay less, so that none is missed after the
    /// first that does not gain.
    fn best_gain(&self, rooms: &[Room], asking: &[Asking], gpu_power: f64) -> f64 {
        let costs = rooms.iter().flat_map(|room| (0..room.count).map(|_| room.cost));
        let mut asking = asking.iter().map(|job| (job.pays - gpu_power, job.gpus));
        let mut first = asking.next();
        let mut fill = || {
            let (mut gain, mut free) = (0.0, f64::from(self.room));
            while let Some((pays, gpus)) =
                first.as_mut().filter(|(pays, _)| *pays > 0.0 && free > 0.0)
            {
                let taken = gpus.min(free);
                gain += *pays * taken;
                free -= taken;
                *gpus -= taken;
                if *gpus <= 0.0 {
                    first = asking.next();
                }
            }
            gain
        };
        costs.map(|cost| fill() - cost).take_while(|gain| *gain > 0.0).sum()
    }
}

/// The times within the window at which anything changes, its start and end among them.
fn moments(site: &Site, jobs: &[Asking]) -> Vec<f64> {
    let incomes = site.profiles.iter().flat_map(|profile| profile.income.changes());
    let ends = jobs.iter().flat_map(|job| [job.from, job.to]);
    let changes = site.power.changes().chain(incomes).chain(ends);
    let within = changes.filter(|time| *time > 0.0 && *time < site.length);
    let mut times: Vec<f64> = within.chain([0.0, site.length]).collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    times
}

fn common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { common_divisor(other, one % other) }
}
