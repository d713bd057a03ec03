//! What nodes without jobs would best do, by a forecast of the power price.
//!
//! For a kind of nodes the best course up to the end of the forecast is found exactly, by going through
//! it backwards (Bellman 1957): in every stretch of equal price a node rests in one way, and changing to
//! another costs what the switch takes. What is not forecast stays as it is.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use switchyard_api::GPUPoolSpec;

use crate::{
    economics::ClassEconomics,
    experience::Experience,
    forecast::Forecast,
    quantity::{Usd, UsdPerKwh},
    rest::Rest,
};

/// What forecasts say to each kind of a pool's nodes, by class and GPUs.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    kinds: BTreeMap<(usize, u32), Advice>,
}

/// What a forecast says to nodes of a kind.
#[derive(Debug, Clone)]
pub struct Advice {
    rests: Vec<Rest>,
    /// By the way they rest now: what each way is worth from now to the end, the switch paid, USD, with
    /// that way kept for the first stretch and the best course after it.
    worth: Vec<Vec<f64>>,
    /// How far the forecast reaches, h.
    hours: f64,
}

/// What a forecast says about a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Nothing is better than to make it now.
    Now,
    /// It is better to wait, or not to make it at all.
    Later,
}

impl Outlook {
    /// By the forecast of a pool's power price, if that is believed, for kinds of its nodes.
    pub fn of(
        (pool, spec): (&Arc<str>, &GPUPoolSpec),
        classes: &[ClassEconomics],
        kinds: impl IntoIterator<Item = (usize, u32)>,
        forecasts: &BTreeMap<String, Arc<Forecast>>,
        (experience, now): (&Experience, Timestamp),
    ) -> Self {
        let signal = spec.power.price.signal.as_ref();
        let believed = signal.filter(|name| experience.believes(name));
        let Some(forecast) = believed.and_then(|name| forecasts.get(name)) else {
            return Self::default();
        };
        let stretches = forecast.stretches(now);
        let advised = kinds.into_iter().filter_map(|(class, gpus)| {
            let advice = Advice::of(pool, classes.get(class)?, gpus, &stretches, experience)?;
            Some(((class, gpus), advice))
        });
        Self { kinds: advised.collect() }
    }

    /// What it says to nodes of a class with so many GPUs.
    pub fn advice(&self, class: usize, gpus: u32) -> Option<&Advice> {
        self.kinds.get(&(class, gpus))
    }
}

impl Advice {
    fn of(
        pool: &Arc<str>,
        class: &ClassEconomics,
        gpus: u32,
        stretches: &[(f64, f64)],
        experience: &Experience,
    ) -> Option<Self> {
        let courses = class.courses(gpus);
        let rests: Vec<Rest> = courses.iter().map(|course| course.rest.clone()).collect();
        let costs: Vec<Vec<f64>> = rests
            .iter()
            .map(|from| {
                let cost = |to: &Rest| {
                    let uses = (from.node_use(), to.node_use());
                    if from == to {
                        return 0.0;
                    }
                    class.switch_cost(experience, pool, gpus, uses).number()
                };
                rests.iter().map(cost).collect()
            })
            .collect();
        let mut worth = Vec::new();
        let mut after = vec![0.0; rests.len()];
        for (hours, price) in stretches.iter().rev() {
            let price = UsdPerKwh::new(*price)?;
            let earned: Vec<f64> = courses
                .iter()
                .zip(&after)
                .map(|(course, after)| class.worth_at(course, price).number() * hours + after)
                .collect();
            worth = costs
                .iter()
                .map(|costs| {
                    costs.iter().zip(&earned).map(|(cost, earned)| earned - cost).collect()
                })
                .collect::<Vec<Vec<f64>>>();
            after = worth.iter().map(|row| row.iter().copied().fold(f64::MIN, f64::max)).collect();
        }
        let hours = stretches.iter().map(|(hours, _)| hours).sum();
        (!worth.is_empty()).then_some(Self { rests, worth, hours })
    }

    /// What it says about a switch that would have paid for itself, and the way back, after `hours` at
    /// the prices of now. Nothing, if it does not look twice as far.
    pub fn on(&self, from: &Rest, to: &Rest, hours: f64) -> Option<Timing> {
        let lead = self.lead(from, to)?;
        if self.hours < 2.0 * hours {
            return None;
        }
        Some(if lead > Usd::ZERO { Timing::Now } else { Timing::Later })
    }

    /// By how much it is better to switch now than to stay for the first stretch, USD.
    fn lead(&self, from: &Rest, to: &Rest) -> Option<Usd> {
        let index = |rest: &Rest| self.rests.iter().position(|known| known == rest);
        let (from, to) = (index(from)?, index(to)?);
        let row = self.worth.get(from)?;
        Usd::new(row.get(to)? - row.get(from)?)
    }
}
