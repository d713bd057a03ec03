//! Sites so small that everything can be tried: a handful of hours, in which things happen on the hour.

use switchyard_sim::{
    series::Series,
    site::{Job, Site},
};

use super::random::{Chance, plain, profile};

/// The length of a slot, s.
pub const SLOT: f64 = 3600.0;
/// Slots of the window.
const SLOTS: usize = 5;
/// Watts of a node at rest, and of a busy GPU beyond an idle one: as in `plain`.
const REST: f64 = 300.0 + 8.0 * 50.0;
const BUSY: f64 = 300.0;
const MINING: f64 = 8.0 * 200.0;

/// A tiny site in whole numbers.
#[derive(Debug, Clone)]
pub struct Tiny {
    nodes: usize,
    power: Vec<f64>,
    /// Of a mining node, USD per hour.
    income: Vec<f64>,
    hpc: Vec<f64>,
    jobs: Vec<Wish>,
    patience: usize,
    /// Slots in transit, from and to Mining, HPC and Idle.
    transit: [[usize; 3]; 3],
}

#[derive(Debug, Clone, Copy)]
struct Wish {
    submit: usize,
    gpus: u32,
    slots: usize,
}

const MINE: usize = 0;
const SERVE: usize = 1;
const REST_USE: usize = 2;

impl Tiny {
    /// One with at most so many jobs of these sizes.
    pub fn random(seed: u64, most_jobs: usize, sizes: &[u32]) -> Self {
        let mut chance = Chance(seed);
        let mut prices = |low: f64, high: f64| -> Vec<f64> {
            (0..SLOTS).map(|_| chance.between(low, high)).collect()
        };
        let (power, income, hpc) = (prices(0.0, 0.3), prices(0.0, 3.0), prices(0.0, 0.8));
        let mut transit = [[0; 3]; 3];
        for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            transit[from][to] = chance.pick(&[0, 0, 1]);
        }
        transit[MINE][MINE] = transit[REST_USE][MINE];
        let mut jobs: Vec<Wish> = (0..=chance.below(most_jobs))
            .map(|_| Wish {
                submit: chance.below(SLOTS),
                gpus: chance.pick(sizes),
                slots: 1 + chance.below(3),
            })
            .collect();
        jobs.sort_by_key(|job| job.submit);
        let (nodes, patience) = (1 + chance.below(2), chance.below(3));
        Self { nodes, power, income, hpc, jobs, patience, transit }
    }

    /// The same for the simulator.
    pub fn site(&self) -> Site {
        let series = |values: &[f64], factor: f64| {
            let points = values.iter().enumerate();
            Series::new(points.map(|(slot, value)| (slot as f64 * SLOT, value * factor)))
        };
        let mut site = plain(self.nodes);
        site.length = SLOTS as f64 * SLOT;
        site.power = series(&self.power, 1.0);
        // 8 GPUs of 100 MH/s; income is by the day.
        site.profiles = vec![profile(series(&self.income, 24.0 / 800e6), 0.0)];
        site.hpc = series(&self.hpc, 1.0);
        site.jobs = self
            .jobs
            .iter()
            .map(|job| Job {
                submit: job.submit as f64 * SLOT,
                gpus: job.gpus,
                duration: job.slots as f64 * SLOT,
                // A price of its own, because the other may be had a moment before it changes.
                price: Some(self.hpc[job.submit]),
            })
            .collect();
        site.model.pue = 1.0;
        site.model.patience = self.patience as f64 * SLOT;
        let seconds = |from: usize, to: usize| self.transit[from][to] as f64 * SLOT;
        let transit = &mut site.model.transit;
        transit.mining_to_hpc = seconds(MINE, SERVE);
        transit.mining_to_idle = seconds(MINE, REST_USE);
        transit.hpc_to_mining = seconds(SERVE, MINE);
        transit.hpc_to_idle = seconds(SERVE, REST_USE);
        transit.idle_to_mining = seconds(REST_USE, MINE);
        transit.idle_to_hpc = seconds(REST_USE, SERVE);
        site
    }

    /// The best value of a node by the slots in which it is open.
    fn courses(&self) -> Vec<(usize, f64)> {
        let mut values = vec![f64::MIN; 1 << SLOTS];
        for start in [MINE, SERVE, REST_USE] {
            self.wander(0, start, 0, 0, 0.0, &mut values);
        }
        let courses = values.iter().copied().enumerate();
        // One that is open longer and earns no less is never worse.
        let best = |(open, value): &(usize, f64)| {
            let better = |(more, other): (usize, &f64)| {
                more != *open && more & open == *open && other >= value
            };
            *value > f64::MIN && !values.iter().enumerate().any(better)
        };
        courses.filter(best).collect()
    }

    /// What is earned by resting.
    pub fn rest(&self) -> f64 {
        -REST / 1000.0 * self.nodes as f64 * self.power.iter().sum::<f64>()
    }

    /// The most that can be earned, jobs on whole nodes and all, found by trying everything.
    pub fn best(&self) -> f64 {
        let courses = self.courses();
        let mut best = f64::MIN;
        for (number, (one, value)) in courses.iter().enumerate() {
            if self.nodes == 1 {
                best = best.max(value + self.fill(&[free(*one)], 0));
                continue;
            }
            for (other, more) in &courses[number..] {
                best = best.max(value + more + self.fill(&[free(*one), free(*other)], 0));
            }
        }
        best
    }

    /// The relaxation written down as a linear program and solved by the book: nodes and jobs may be
    /// split, and GPUs are one pool.
    pub fn relaxed(&self) -> f64 {
        let courses = self.courses();
        let closed = courses.iter().map(|(_, value)| *value).fold(f64::MIN, f64::max);
        let mut gains: Vec<f64> = courses.iter().map(|(_, value)| value - closed).collect();
        // Each slot's GPUs, the nodes, then the jobs.
        let mut rows = vec![vec![0.0; gains.len()]; SLOTS + 1 + self.jobs.len()];
        for (course, (open, _)) in courses.iter().enumerate() {
            rows[SLOTS][course] = 1.0;
            for (slot, free) in free(*open).iter().enumerate() {
                rows[slot][course] = -f64::from(*free);
            }
        }
        for (number, job) in self.jobs.iter().enumerate().filter(|(_, job)| self.fits(job)) {
            for start in self.starts(job) {
                gains.push(self.pays(job, start));
                for (place, row) in rows.iter_mut().enumerate() {
                    let holds = slots(job, start).contains(&place);
                    row.push(if holds { f64::from(held(job)) } else { 0.0 });
                }
                *rows[SLOTS + 1 + number].last_mut().unwrap() = 1.0;
            }
        }
        let jobs = self.jobs.iter().map(|_| 1.0);
        let limits: Vec<f64> =
            [0.0; SLOTS].into_iter().chain([self.nodes as f64]).chain(jobs).collect();
        closed * self.nodes as f64 + super::simplex::most(&gains, &rows, &limits)
    }

    /// Lets a node go on from a slot in every way, and notes the best value of each set of open slots.
    fn wander(
        &self,
        slot: usize,
        at: usize,
        moves: usize,
        open: usize,
        usd: f64,
        best: &mut [f64],
    ) {
        if slot >= SLOTS {
            best[open] = best[open].max(usd);
            return;
        }
        let gain =
            if at == MINE { self.income[slot] - MINING / 1000.0 * self.power[slot] } else { 0.0 };
        let stay = usd - REST / 1000.0 * self.power[slot] + gain;
        let opened = if at == SERVE { open | 1 << slot } else { open };
        self.wander(slot + 1, at, 0, opened, stay, best);
        for to in [MINE, SERVE, REST_USE] {
            let slots = self.transit[at][to];
            if moves == 3 || to == at && slots == 0 {
                continue;
            }
            let until = (slot + slots).min(SLOTS);
            let power: f64 = self.power[slot..until].iter().sum();
            let moves = if slots == 0 { moves + 1 } else { 0 };
            self.wander(until, to, moves, open, usd - REST / 1000.0 * power, best);
        }
    }

    /// The most that jobs from one on can bring with so many GPUs free on each node and slot.
    fn fill(&self, free: &[[u32; SLOTS]], job: usize) -> f64 {
        let Some(wish) = self.jobs.get(job) else { return 0.0 };
        let mut best = self.fill(free, job + 1);
        for start in self.starts(wish).filter(|_| self.fits(wish)) {
            let holds = slots(wish, start);
            let has = |node: &usize, gpus: u32| holds.clone().all(|slot| free[*node][slot] >= gpus);
            let nodes = 0..free.len();
            let choices: Vec<Vec<usize>> = if wish.gpus <= 8 {
                nodes.filter(|node| has(node, wish.gpus)).map(|node| vec![node]).collect()
            } else {
                vec![nodes.filter(|node| has(node, 8)).collect()]
            };
            let wanted = wish.gpus.div_ceil(8) as usize;
            for nodes in choices.into_iter().filter(|nodes| nodes.len() >= wanted) {
                let mut left = free.to_vec();
                for node in nodes.iter().take(wanted) {
                    holds.clone().for_each(|slot| left[*node][slot] -= wish.gpus.min(8));
                }
                best = best.max(self.pays(wish, start) + self.fill(&left, job + 1));
            }
        }
        best
    }

    fn fits(&self, job: &Wish) -> bool {
        job.gpus as usize <= 8 * self.nodes
    }

    fn starts(&self, job: &Wish) -> impl Iterator<Item = usize> + use<> {
        (job.submit..=job.submit + self.patience).filter(|start| *start < SLOTS)
    }

    /// What a job pays, the power of the GPUs that it holds taken off.
    fn pays(&self, job: &Wish, start: usize) -> f64 {
        let (gpus, held) = (f64::from(job.gpus), f64::from(held(job)));
        let price = self.hpc[job.submit];
        slots(job, start).map(|slot| price * gpus - BUSY / 1000.0 * self.power[slot] * held).sum()
    }
}

/// The GPUs that a job holds: whole nodes, if it is larger than one.
fn held(job: &Wish) -> u32 {
    if job.gpus <= 8 { job.gpus } else { job.gpus.div_ceil(8) * 8 }
}

/// The slots that a job holds.
fn slots(job: &Wish, start: usize) -> std::ops::Range<usize> {
    start..(start + job.slots).min(SLOTS)
}

/// GPUs of a node by its open slots.
fn free(open: usize) -> [u32; SLOTS] {
    std::array::from_fn(|slot| if open & 1 << slot == 0 { 0 } else { 8 })
}
