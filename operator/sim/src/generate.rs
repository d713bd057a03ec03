//! Random processes of which sites are made: prices that come back to a mean, spikes, jobs.
//!
//! Everything follows from a seed. The generator is spelled out here, because one of a library may
//! give other numbers after an update, and then no table of results could be compared with an older one.

use std::f64::consts::TAU;

use crate::site::Job;

/// A source of random numbers: `SplitMix64` of Steele, Lea and Flood (2014).
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A source of its own for every purpose, so that one more draw for jobs changes no price.
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a.
        let hash = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { state: hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from 0 to 1, without 1.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normally, with mean 0 and standard deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    /// Exponentially, with a mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }

    /// One of several, by their shares, which add up to 1.
    pub fn pick(&mut self, shares: &[(u32, f64)]) -> u32 {
        let mut left = self.uniform();
        for (choice, share) in shares {
            left -= share;
            if left < 0.0 {
                return *choice;
            }
        }
        shares.last().map_or(0, |(choice, _)| *choice)
    }
}

/// A price that wanders off and comes back: its logarithm is an Ornstein-Uhlenbeck process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reverting {
    /// Its mean.
    pub mean: f64,
    /// The standard deviation of its logarithm.
    pub spread: f64,
    /// How long it takes until of a deviation 1/e is left, s.
    pub relaxation: f64,
}

impl Reverting {
    /// Times and values every `step` seconds over `length` seconds.
    pub fn path(&self, random: &mut Random, step: f64, length: f64) -> Vec<(f64, f64)> {
        let kept = (-step / self.relaxation).exp();
        let fresh = (1.0 - kept * kept).sqrt();
        let mut deviation = random.normal();
        steps(step, length)
            .map(|time| {
                let value = self.mean * lognormal(self.spread, deviation);
                deviation = kept * deviation + fresh * random.normal();
                (time, value)
            })
            .collect()
    }
}

/// A factor of mean 1, from a number that is normally distributed.
pub fn lognormal(spread: f64, normal: f64) -> f64 {
    (spread * normal - spread * spread / 2.0).exp()
}

/// 0, one step, two steps and so on, before the end.
fn steps(step: f64, length: f64) -> impl Iterator<Item = f64> {
    (0_u32..).map(move |index| f64::from(index) * step).take_while(move |time| *time < length)
}

/// Times at which a price is many times as high.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spikes {
    /// Mean time between two, s.
    pub apart: f64,
    /// Mean length, s.
    pub lasting: f64,
    /// How many times as high.
    pub factor: f64,
}

impl Spikes {
    /// Raises the values of a path that lie in a spike.
    pub fn raise(&self, random: &mut Random, path: &mut [(f64, f64)]) {
        let mut start = random.exponential(self.apart);
        let mut end = start + random.exponential(self.lasting);
        for (time, value) in path {
            while end <= *time {
                start = end + random.exponential(self.apart);
                end = start + random.exponential(self.lasting);
            }
            if start <= *time {
                *value *= self.factor;
            }
        }
    }
}

/// Customers' jobs: they come at random, more of them by day, and run for a long-tailed time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// GPUs that they keep busy on average, if every one is served.
    pub gpus: f64,
    /// How long they run on average, s.
    pub lasting: f64,
    /// By which share more of them come in the afternoon, and fewer at night, 0 to 1.
    pub swing: f64,
}

/// GPUs of a job, and the share of such jobs. Most ask for one.
const SIZES: [(u32, f64); 5] = [(1, 0.70), (2, 0.10), (4, 0.08), (8, 0.09), (16, 0.03)];
/// The standard deviation of the logarithm of a job's duration.
const DURATION_SPREAD: f64 = 1.2;
/// The longest job, s.
const LONGEST: f64 = 5.0 * 86_400.0;
/// When most jobs come, s after midnight UTC.
const BUSIEST: f64 = 15.0 * 3600.0;

impl Demand {
    /// Jobs over `length` seconds from a midnight on.
    pub fn jobs(&self, random: &mut Random, length: f64) -> Vec<Job> {
        let size: f64 = SIZES.iter().map(|(gpus, share)| f64::from(*gpus) * share).sum();
        let busiest = self.gpus / (size * self.lasting) * (1.0 + self.swing);
        let mut jobs = Vec::new();
        let mut time = random.exponential(1.0 / busiest);
        while time < length {
            // Thinning: those that come at the busiest rate are kept as the hour has it.
            let hour = 1.0 + self.swing * (TAU * (time - BUSIEST) / 86_400.0).cos();
            if random.uniform() * (1.0 + self.swing) < hour {
                let duration = self.lasting * lognormal(DURATION_SPREAD, random.normal());
                jobs.push(Job {
                    submit: time.round(),
                    gpus: random.pick(&SIZES),
                    duration: duration.round().clamp(60.0, LONGEST),
                    price: None,
                });
            }
            time += random.exponential(1.0 / busiest);
        }
        jobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: f64 = 3600.0;

    #[test]
    fn a_seed_says_it_all() {
        let draw = |seed, purpose| Random::new(seed, purpose).next();
        assert_eq!(draw(1, "jobs"), draw(1, "jobs"));
        assert_ne!(draw(1, "jobs"), draw(2, "jobs"));
        assert_ne!(draw(1, "jobs"), draw(1, "power"));
    }

    #[test]
    fn a_price_comes_back_to_its_mean_and_forgets() {
        let price = Reverting { mean: 2.0, spread: 0.5, relaxation: 3.0 * HOUR };
        let path = price.path(&mut Random::new(7, "price"), HOUR, 20_000.0 * HOUR);
        let mean = path.iter().map(|(_, value)| value).sum::<f64>() / path.len() as f64;
        assert!((mean - 2.0).abs() < 0.1, "{mean}");
        // After one relaxation 1/e of a deviation is left.
        let deviations: Vec<f64> =
            path.iter().map(|(_, value)| (value / 2.0).ln() + 0.125).collect();
        let covariance = |lag: usize| {
            deviations.iter().zip(&deviations[lag..]).map(|(one, other)| one * other).sum::<f64>()
        };
        let left = covariance(3) / covariance(0);
        assert!((left - (-1.0_f64).exp()).abs() < 0.05, "{left}");
    }

    #[test]
    fn spikes_take_their_share_of_time() {
        let spikes = Spikes { apart: 9.0 * HOUR, lasting: HOUR, factor: 10.0 };
        let mut path: Vec<(f64, f64)> =
            steps(60.0, 4000.0 * HOUR).map(|time| (time, 1.0)).collect();
        spikes.raise(&mut Random::new(7, "spikes"), &mut path);
        let raised = path.iter().filter(|(_, value)| *value > 5.0).count();
        let share = raised as f64 / path.len() as f64;
        assert!((share - 0.1).abs() < 0.02, "{share}");
    }

    #[test]
    fn jobs_keep_as_many_gpus_busy_as_asked() {
        let demand = Demand { gpus: 50.0, lasting: 3.0 * HOUR, swing: 0.5 };
        let length = 400.0 * 86_400.0;
        let jobs = demand.jobs(&mut Random::new(7, "jobs"), length);
        let busy: f64 = jobs.iter().map(|job| job.duration * f64::from(job.gpus)).sum();
        let gpus = busy / length;
        assert!((gpus - 50.0).abs() < 5.0, "{gpus}");
        assert!(jobs.is_sorted_by(|one, other| one.submit <= other.submit));
    }
}
