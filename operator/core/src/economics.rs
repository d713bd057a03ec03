//! What every use of a node is worth, USD per hour, power paid.
//!
//! With `n` GPUs in a node, PUE `p` and energy price `e`:
//!
//! | use | value |
//! |---|---|
//! | Mining | `n · hash rate · income · (1 − haircut) · (1 − fee) − (host + n · mining watts) · p · e` |
//! | HPC, `b` GPUs busy | `b · price − (host + b · hpc watts + (n − b) · idle watts) · p · e` |
//! | Idle | `− (host + n · idle watts) · p · e` |
//!
//! A number that is not known is never taken as zero: the value is then not known either.

use std::{collections::BTreeMap, sync::Arc};

use switchyard_api::{GPUPoolSpec, GpuClass, Hardware, ProfileRef, Use, keys};

use crate::{
    experience::{Experience, Unmade},
    quantity::{Measure, Usd, UsdPerGpuHour, UsdPerHashrateDay, UsdPerHour, UsdPerKwh, Watts},
    rest::Rest,
    snapshot::{ProfileFacts, Reading, Snapshot},
};

/// A price as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote<T> {
    /// The last value that was trusted; none was ever read: none.
    pub value: Option<T>,
    /// May a price-driven decision rest on it?
    pub trusted: bool,
}

impl<T: Copy> Quote<T> {
    const UNKNOWN: Self = Self { value: None, trusted: false };

    fn fixed(value: Option<T>) -> Self {
        Self { value, trusted: value.is_some() }
    }

    fn read(
        signals: &BTreeMap<String, Reading>,
        name: &str,
        measure: Measure,
        convert: impl Fn(f64) -> Option<T>,
    ) -> Self {
        match signals.get(name) {
            Some(reading) if reading.measure == measure => {
                let value = reading.value.and_then(convert);
                Self { value, trusted: reading.trusted && value.is_some() }
            }
            _ => Self::UNKNOWN,
        }
    }

    /// The value, if a price-driven decision may rest on it.
    pub fn if_trusted(self) -> Option<T> {
        self.value.filter(|_| self.trusted)
    }
}

/// The prices that hold for a whole pool.
#[derive(Debug, Clone, Copy)]
pub struct Prices {
    /// Of energy.
    pub power: Quote<UsdPerKwh>,
    /// Of a GPU-hour.
    pub hpc: Quote<UsdPerGpuHour>,
    /// Watts at the meter per watt of the nodes.
    pub pue: f64,
}

impl Prices {
    /// Reads the prices that a pool names.
    pub fn of(spec: &GPUPoolSpec, signals: &BTreeMap<String, Reading>) -> Self {
        let power = &spec.power.price;
        let hpc = &spec.hpc.price;
        Self {
            power: match &power.signal {
                Some(name) => Quote::read(signals, name, Measure::Energy, UsdPerKwh::new),
                None => {
                    Quote::fixed(power.usd_per_kwh.and_then(|price| UsdPerKwh::new(price.value())))
                }
            },
            hpc: match &hpc.signal {
                Some(name) => Quote::read(signals, name, Measure::GpuHour, UsdPerGpuHour::new),
                None => Quote::fixed(
                    hpc.usd_per_gpu_hour.and_then(|price| UsdPerGpuHour::new(price.value())),
                ),
            },
            pue: spec.power.pue.value(),
        }
    }
}

/// What mining with one profile is worth on the nodes of one class.
#[derive(Debug, Clone)]
pub struct ProfileValue {
    /// The profile.
    pub profile: Arc<ProfileRef>,
    /// Its value as the label of a node that mines with it.
    pub label: String,
    /// What the profile says of this class's GPU model.
    pub hardware: Hardware,
    /// What its network pays.
    pub income: Quote<UsdPerHashrateDay>,
    /// What is not believed of it, percent.
    pub haircut_percent: f64,
    /// What the mining pool keeps, percent.
    pub fee_percent: f64,
    /// The share of the income that arrives after both, 0 to 1.
    pub arriving: f64,
}

impl ProfileValue {
    /// What so many GPUs are paid, power not deducted; not known: none.
    fn earns(&self, gpus: u32) -> Option<UsdPerHour> {
        Some(self.income.value?.of(self.hardware.hashrate, gpus, self.arriving))
    }
}

/// What a node without jobs may do.
#[derive(Debug, Clone)]
pub struct Course {
    /// The way it rests.
    pub rest: Rest,
    /// What it is paid, its power not deducted.
    pub earns: UsdPerHour,
    /// What it draws.
    pub draws: Watts,
}

/// What the nodes of one GPU model are worth in each use.
#[derive(Debug, Clone)]
pub struct ClassEconomics {
    /// What the pool says of the class.
    pub class: GpuClass,
    /// May it serve HPC?
    pub eligible: bool,
    /// Every profile of the pool that lists the model.
    pub profiles: Vec<ProfileValue>,
    /// The GPU model.
    pub(crate) model: Arc<str>,
    prices: Prices,
    /// What a switch wears off a node.
    wear: Usd,
}

impl ClassEconomics {
    /// The economics of each class of a pool, in the order of `spec.classes`.
    pub fn of_pool(spec: &GPUPoolSpec, prices: Prices, snapshot: &Snapshot) -> Vec<Self> {
        let needs = &spec.hpc.eligibility;
        spec.classes
            .iter()
            .map(|class| Self {
                class: class.clone(),
                eligible: class.memory_gib >= needs.memory_gib
                    && class.network_gbps >= needs.network_gbps,
                profiles: profile_values(spec, &class.model, snapshot),
                model: class.model.as_str().into(),
                prices,
                wear: Usd::new(spec.shifting.wear_usd.value()).unwrap_or_default(),
            })
            .collect()
    }

    /// Watts of a node with `gpus` GPUs of which `busy` run jobs.
    pub fn hpc_watts(&self, gpus: u32, busy: u32) -> Watts {
        let draw = &self.class.watts;
        watts(draw.host)
            + watts(draw.hpc_per_gpu).times(busy)
            + watts(draw.idle_per_gpu).times(gpus.saturating_sub(busy))
    }

    /// Watts of a node that does nothing.
    pub fn idle_watts(&self, gpus: u32) -> Watts {
        self.hpc_watts(gpus, 0)
    }

    /// Watts of a node that mines.
    pub fn mining_watts(&self, profile: &ProfileValue, gpus: u32) -> Watts {
        watts(self.class.watts.host) + watts(profile.hardware.watts).times(gpus)
    }

    /// Value of a node that does nothing: what its power costs.
    pub fn idle(&self, gpus: u32) -> Quote<UsdPerHour> {
        self.net(UsdPerHour::ZERO, self.idle_watts(gpus), true)
    }

    /// Value of a node that mines with a profile.
    pub fn mining(&self, profile: &ProfileValue, gpus: u32) -> Quote<UsdPerHour> {
        let Some(earned) = profile.earns(gpus) else {
            return Quote::UNKNOWN;
        };
        self.net(earned, self.mining_watts(profile, gpus), profile.income.trusted)
    }

    /// Value of a node whose jobs pay `revenue` and keep `busy` of its GPUs.
    pub fn hpc(&self, revenue: UsdPerHour, gpus: u32, busy: u32) -> Quote<UsdPerHour> {
        self.net(revenue, self.hpc_watts(gpus, busy), true)
    }

    /// What power a job of so many GPUs adds costs.
    pub fn job_power(&self, gpus: u32) -> Quote<UsdPerHour> {
        let draw = &self.class.watts;
        let added = watts(draw.hpc_per_gpu) - watts(draw.idle_per_gpu);
        let cost = |price| added.times(gpus).cost(price, self.prices.pue);
        Quote { value: self.prices.power.value.map(cost), trusted: self.prices.power.trusted }
    }

    /// The best paying profile of those whose value is trusted.
    pub fn best_profile(&self, gpus: u32) -> Option<(&ProfileValue, UsdPerHour)> {
        self.profiles
            .iter()
            .filter_map(|profile| Some((profile, self.mining(profile, gpus).if_trusted()?)))
            // Of equals the first in the order of the pool's list, for good.
            .reduce(|best, other| if other.1 > best.1 { other } else { best })
    }

    /// What a node could do without jobs, as far as what it would be paid is trusted.
    pub fn courses(&self, gpus: u32) -> Vec<Course> {
        let idle =
            Course { rest: Rest::Idle, earns: UsdPerHour::ZERO, draws: self.idle_watts(gpus) };
        let mining = self.profiles.iter().filter(|profile| profile.income.trusted);
        let mining = mining.filter_map(|profile| {
            Some(Course {
                rest: Rest::Mining(profile.profile.clone()),
                earns: profile.earns(gpus)?,
                draws: self.mining_watts(profile, gpus),
            })
        });
        std::iter::once(idle).chain(mining).collect()
    }

    /// What a course is worth when power has a price.
    pub fn worth_at(&self, course: &Course, price: UsdPerKwh) -> UsdPerHour {
        course.earns - course.draws.cost(price, self.prices.pue)
    }

    /// What a node could do without jobs, and what that is worth, where it is trusted.
    pub fn rests(&self, gpus: u32) -> Vec<(Rest, UsdPerHour)> {
        let Some(price) = self.prices.power.if_trusted() else {
            return Vec::new();
        };
        let courses = self.courses(gpus).into_iter();
        courses.map(|course| (course.rest.clone(), self.worth_at(&course, price))).collect()
    }

    /// The most that a node could be paid for mining, power not paid.
    pub fn best_income(&self, gpus: u32) -> Option<UsdPerHour> {
        self.profiles.iter().filter_map(|profile| profile.earns(gpus)).max()
    }

    /// What a switch of a node costs: wear and, for as long as it takes, what the node would be paid for
    /// mining, its power not deducted, because it draws power all the same.
    pub fn switch_cost(
        &self,
        experience: &Experience,
        pool: &str,
        gpus: u32,
        (from, to): (Use, Use),
    ) -> Usd {
        let takes = experience.switch_takes(pool, from, to);
        self.best_income(gpus).unwrap_or_default().over(takes) + self.wear
    }

    /// The switch that the nodes of the class with so many GPUs have not made.
    pub(crate) fn unmade(&self, pool: &Arc<str>, gpus: u32, from: &Rest, to: &Rest) -> Unmade {
        let (from, to) = (from.clone(), to.clone());
        Unmade { pool: pool.clone(), model: self.model.clone(), gpus, from, to }
    }

    /// The profile that a node's label names.
    pub fn profile_of_label(&self, label: Option<&str>) -> Option<&ProfileValue> {
        self.profiles.iter().find(|profile| Some(profile.label.as_str()) == label)
    }

    /// The most that a node could earn without jobs, untrusted values taken at their last trusted
    /// one: what a job must outbid. Not known while a profile's value never was.
    pub fn displaced(&self, gpus: u32) -> Option<UsdPerHour> {
        let idle = self.idle(gpus).value?;
        self.profiles
            .iter()
            .map(|profile| self.mining(profile, gpus).value)
            .try_fold(idle, |best, value| value.map(|value| best.max(value)))
    }

    fn net(&self, earned: UsdPerHour, draw: Watts, trusted: bool) -> Quote<UsdPerHour> {
        let power = self.prices.power;
        Quote {
            value: power.value.map(|price| earned - draw.cost(price, self.prices.pue)),
            trusted: trusted && power.trusted,
        }
    }
}

fn watts(number: u32) -> Watts {
    Watts::new(f64::from(number)).unwrap_or_default()
}

fn profile_values(spec: &GPUPoolSpec, model: &str, snapshot: &Snapshot) -> Vec<ProfileValue> {
    let known = spec.mining.profiles.iter().filter_map(|name| {
        let facts: &ProfileFacts = snapshot.profiles.get(name)?;
        let hardware = facts.spec.hardware.iter().find(|hardware| hardware.model == model)?;
        Some((name, facts, hardware))
    });
    known
        .map(|(name, facts, hardware)| ProfileValue {
            profile: Arc::new(name.clone()),
            label: keys::profile_value(&name.namespace, &name.name),
            hardware: hardware.clone(),
            income: Quote::read(
                &snapshot.signals,
                &facts.spec.income.signal,
                Measure::HashIncome,
                UsdPerHashrateDay::new,
            ),
            haircut_percent: facts.spec.income.haircut_percent.value(),
            fee_percent: facts.spec.pool_fee_percent.value(),
            arriving: facts.spec.arriving(),
        })
        .collect()
}
