//! The prices that a pool's decisions rest on, to be read and to be changed in a copy of the facts.

use std::sync::Arc;

use switchyard_api::{Decimal, GPUPoolSpec};

use super::Price;
use crate::{
    quantity::Measure,
    report::signals_of,
    snapshot::Snapshot,
    survey::{PoolView, Survey},
};

/// A price.
#[derive(Debug, Clone)]
pub(super) struct Lever {
    /// The field that names it.
    field: String,
    place: Place,
    measure: Measure,
    /// What it is shown in, and how many of these one of this crate's units is.
    unit: (&'static str, f64),
}

/// Where a price is written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Signal(String),
    /// In the spec of a pool, by its index.
    Power(usize),
    GpuHour(usize),
}

impl Lever {
    /// The prices of a pool: what its power costs, what jobs pay, what each profile earns.
    pub(super) fn of_pool(survey: &Survey<'_>, index: usize, pool: &PoolView<'_>) -> Vec<Self> {
        let spec = &pool.facts.spec;
        let mut levers: Vec<Self> = Vec::new();
        if spec.power.price.usd_per_kwh.is_some() {
            levers.push(Self::new(
                "spec.power.price.usdPerKWh",
                Place::Power(index),
                Measure::Energy,
            ));
        }
        if spec.hpc.price.usd_per_gpu_hour.is_some() {
            let field = "spec.hpc.price.usdPerGPUHour";
            levers.push(Self::new(field, Place::GpuHour(index), Measure::GpuHour));
        }
        for (field, signal, measure) in signals_of(survey, pool) {
            let place = Place::Signal(signal.to_owned());
            if levers.iter().all(|known| known.place != place) {
                let mut lever = Self::new(&field, place, measure);
                if measure == Measure::HashIncome {
                    lever.unit = income_unit(survey.snapshot, signal);
                }
                levers.push(lever);
            }
        }
        levers
    }

    fn new(field: &str, place: Place, measure: Measure) -> Self {
        let unit = match measure {
            Measure::Energy => ("USD/kWh", 1.0),
            Measure::GpuHour => ("USD/GPU-h", 1.0),
            Measure::HashIncome => ("USD/(H/s)/day", 1.0),
        };
        Self { field: field.to_owned(), place, measure, unit }
    }

    /// The price as it is told.
    pub(super) fn price(&self, snapshot: &Snapshot) -> Price {
        let signal = self.signal();
        Price {
            field: self.field.clone(),
            signal: signal.map(str::to_owned),
            value: self.value(snapshot),
            unit: self.unit.0.to_owned(),
            trusted: signal.is_none_or(|name| {
                snapshot.signals.get(name).is_some_and(|reading| reading.trusted)
            }),
        }
    }

    /// The signal that says it.
    pub(super) fn signal(&self) -> Option<&str> {
        match &self.place {
            Place::Signal(name) => Some(name),
            Place::Power(_) | Place::GpuHour(_) => None,
        }
    }

    /// The price, in the unit that it is shown in.
    pub(super) fn value(&self, snapshot: &Snapshot) -> Option<f64> {
        let spec = |pool: usize| snapshot.pools.get(pool).map(|pool| &pool.spec);
        let value = match &self.place {
            Place::Signal(name) => {
                let reading = snapshot.signals.get(name)?;
                reading.value.filter(|_| reading.measure == self.measure)?
            }
            Place::Power(pool) => spec(*pool)?.power.price.usd_per_kwh?.value(),
            Place::GpuHour(pool) => spec(*pool)?.hpc.price.usd_per_gpu_hour?.value(),
        };
        Some(value * self.unit.1)
    }

    /// Changes the price.
    pub(super) fn set(&self, snapshot: &mut Snapshot, value: f64) {
        let value = value / self.unit.1;
        match &self.place {
            Place::Signal(name) => {
                if let Some(reading) = snapshot.signals.get_mut(name) {
                    reading.value = Some(value);
                }
            }
            Place::Power(pool) => {
                let price = Decimal::new(value);
                change_spec(snapshot, *pool, |spec| spec.power.price.usd_per_kwh = price);
            }
            Place::GpuHour(pool) => {
                let price = Decimal::new(value);
                change_spec(snapshot, *pool, |spec| spec.hpc.price.usd_per_gpu_hour = price);
            }
        }
    }

    /// What a change is measured by: the price itself, or an ordinary one where it is zero.
    pub(super) fn scale(&self, value: f64) -> f64 {
        if value != 0.0 {
            return value.abs();
        }
        match self.measure {
            Measure::Energy => 0.05,
            Measure::GpuHour => 1.0,
            Measure::HashIncome => 0.01,
        }
    }
}

/// Changes the spec of a pool in a copy of the facts.
pub(super) fn change_spec(
    snapshot: &mut Snapshot,
    pool: usize,
    change: impl FnOnce(&mut GPUPoolSpec),
) {
    if let Some(pool) = snapshot.pools.get_mut(pool) {
        change(Arc::make_mut(&mut pool.spec));
    }
}

/// Income is told per day and a hash rate of the size that the GPUs have.
fn income_unit(snapshot: &Snapshot, signal: &str) -> (&'static str, f64) {
    let profiles =
        snapshot.profiles.values().filter(|profile| profile.spec.income.signal == signal);
    let hardware = profiles.flat_map(|profile| &profile.spec.hardware);
    let fastest = hardware.map(|one| one.hashrate.per_second()).fold(0.0, f64::max);
    match fastest {
        rate if rate >= 1e12 => ("USD/(TH/s)/day", 1e12),
        rate if rate >= 1e9 => ("USD/(GH/s)/day", 1e9),
        _ => ("USD/(MH/s)/day", 1e6),
    }
}
