//! Puts manifests and tables together to a site.

use std::{collections::BTreeMap, ops::RangeInclusive, path::Path};

use jiff::Timestamp;
use switchyard_api::{Decimal, MiningProfile, Period};
use switchyard_core::quantity::{Measure, measure};

use super::{
    Class, Job, Model, Node, Placement, Profile, Site, SiteError, Transit,
    manifest::{Manifest, ModelSpec},
    tables,
};
use crate::series::Series;

impl Site {
    /// Reads the site of a folder, or of a manifest of another name. A placement that is given counts
    /// before the manifest's.
    pub fn read(path: &Path, placement: Option<Placement>) -> Result<Self, SiteError> {
        Self::of_manifest(&Manifest::read(path)?, placement)
    }

    /// Reads the tables that a manifest names.
    pub fn of_manifest(
        manifest: &Manifest,
        placement: Option<Placement>,
    ) -> Result<Self, SiteError> {
        let loader = Loader { manifest };
        let profiles = loader.profiles()?;
        let (classes, nodes) = loader.nodes(&profiles)?;
        let spec = &manifest.pool.spec;
        let power = &spec.power.price;
        let power = loader.price(
            ["spec.power.price.signal", "usdPerKWh"],
            (power.signal.as_deref(), power.usd_per_kwh),
            Measure::Energy,
        )?;
        let hpc = &spec.hpc.price;
        let hpc = loader.price(
            ["spec.hpc.price.signal", "usdPerGPUHour"],
            (hpc.signal.as_deref(), hpc.usd_per_gpu_hour),
            Measure::GpuHour,
        )?;
        Ok(Self {
            name: manifest.name.clone(),
            start: manifest.site.start,
            length: loader.seconds(manifest.site.end),
            classes,
            nodes,
            power,
            power_forecast: loader.power_forecast()?,
            profiles,
            hpc,
            jobs: loader.jobs()?,
            model: loader.model(placement.or(manifest.placement()?))?,
            pool: spec.clone(),
        })
    }
}

struct Loader<'m> {
    manifest: &'m Manifest,
}

impl Loader<'_> {
    /// Seconds since the start of the window.
    fn seconds(&self, time: Timestamp) -> f64 {
        time.duration_since(self.manifest.site.start).as_secs_f64()
    }

    fn wrong(&self, problem: String) -> SiteError {
        SiteError::wrong(&self.manifest.file, None, problem)
    }

    /// A price of the pool: a signal's, or a constant.
    fn price(
        &self,
        [field, other]: [&str; 2],
        given: (Option<&str>, Option<Decimal>),
        wanted: Measure,
    ) -> Result<Series, SiteError> {
        match given {
            (Some(name), None) => self.signal(field, name, wanted),
            (None, Some(price)) => Ok(Series::constant(price.value())),
            _ => Err(self.wrong(format!("give either {field} or {other} of the GPUPool"))),
        }
    }

    /// The values of a signal in this crate's units.
    fn signal(&self, field: &str, name: &str, wanted: Measure) -> Result<Series, SiteError> {
        let Some(signal) = self.manifest.signals.get(name) else {
            let problem = format!("{field} is {name}, but there is no such ProfitabilitySignal");
            return Err(self.wrong(problem));
        };
        let (found, factor) = measure(signal.spec.unit);
        if found != wanted {
            let problem =
                format!("{field} is {name}, a signal of {found}: it must be one of {wanted}");
            return Err(self.wrong(problem));
        }
        let file = self.manifest.signal_file(name);
        // Power is given away at times, and then some; hash rate and GPUs are not.
        let points = match wanted {
            Measure::Energy => tables::signal(&file)?,
            Measure::GpuHour | Measure::HashIncome => tables::positive_signal(&file)?,
        };
        if points.first().is_some_and(|first| first.0 > self.manifest.site.start) {
            let problem = "time is after the start of the window: add an earlier value, or choose a \
                           later spec.start of the Site";
            return Err(SiteError::wrong(file, Some(2), problem));
        }
        let points = points.into_iter().map(|(time, value)| (self.seconds(time), value * factor));
        Ok(Series::new(points))
    }

    /// What was published beforehand of the power price.
    fn power_forecast(&self) -> Result<Option<Series>, SiteError> {
        let manifest = self.manifest;
        let name = manifest.pool.spec.power.price.signal.as_deref();
        let signal = name.and_then(|name| Some((manifest.signals.get(name)?, name)));
        let Some((signal, file)) =
            signal.and_then(|(signal, name)| Some((signal, manifest.forecast_file(name)?)))
        else {
            return Ok(None);
        };
        let (_, factor) = measure(signal.spec.unit);
        let points = tables::signal(&file)?.into_iter();
        let points = points.map(|(time, value)| (self.seconds(time), value * factor));
        Ok(Some(Series::new(points)))
    }

    /// The profiles of the pool, in its order.
    fn profiles(&self) -> Result<Vec<Profile>, SiteError> {
        let names = &self.manifest.pool.spec.mining.profiles;
        let profiles = names.iter().map(|name| {
            let profile: &MiningProfile = self.manifest.profiles.get(name).ok_or_else(|| {
                let problem = format!(
                    "spec.mining.profiles names {name}, but there is no such MiningProfile"
                );
                self.wrong(problem)
            })?;
            let spec = &profile.spec;
            self.within("spec.poolFeePercent", spec.pool_fee_percent, 0.0..=100.0)?;
            let haircut = spec.income.haircut_percent;
            self.within("spec.income.haircutPercent", haircut, 0.0..=100.0)?;
            Ok(Profile {
                name: name.clone(),
                spec: spec.clone(),
                arriving: spec.arriving(),
                income: self.signal(
                    "spec.income.signal",
                    &spec.income.signal,
                    Measure::HashIncome,
                )?,
            })
        });
        profiles.collect()
    }

    /// The classes and the nodes.
    fn nodes(&self, profiles: &[Profile]) -> Result<(Vec<Class>, Vec<Node>), SiteError> {
        let file = self.manifest.path(&self.manifest.site.nodes);
        let mut classes: Vec<Class> = Vec::new();
        let mut known: BTreeMap<(String, u32), usize> = BTreeMap::new();
        let mut nodes = Vec::new();
        for row in tables::nodes(&file)? {
            let key = (row.model.clone(), row.gpus);
            let class = match known.get(&key) {
                Some(class) => *class,
                None => {
                    classes.push(self.class(&file, &row, profiles)?);
                    known.insert(key, classes.len() - 1);
                    classes.len() - 1
                }
            };
            nodes.push(Node { name: row.name, class });
        }
        Ok((classes, nodes))
    }

    fn class(
        &self,
        file: &Path,
        row: &tables::NodeRow,
        profiles: &[Profile],
    ) -> Result<Class, SiteError> {
        let spec = &self.manifest.pool.spec;
        let Some(class) = spec.classes.iter().find(|class| class.model == row.model) else {
            let problem = format!(
                "the GPU model {} is not in spec.classes of the GPUPool: add it there",
                row.model
            );
            return Err(SiteError::wrong(file, Some(row.line), problem));
        };
        Ok(Class::of(class, row.gpus, &spec.hpc.eligibility, profiles))
    }

    /// The jobs of the window.
    fn jobs(&self) -> Result<Vec<Job>, SiteError> {
        let window = self.manifest.site.start..self.manifest.site.end;
        let rows = tables::jobs(&self.manifest.jobs_file())?.into_iter();
        let jobs = rows.filter(|row| window.contains(&row.submit)).map(|row| Job {
            submit: self.seconds(row.submit),
            gpus: row.gpus,
            duration: row.duration,
            price: row.price,
        });
        Ok(jobs.collect())
    }

    /// A number that must lie in a range.
    fn within(
        &self,
        field: &str,
        number: Decimal,
        range: RangeInclusive<f64>,
    ) -> Result<f64, SiteError> {
        let (least, most) = (range.start(), range.end());
        if range.contains(&number.value()) {
            return Ok(number.value());
        }
        Err(self.wrong(format!("{field} is {number}: it must be from {least} to {most}")))
    }

    fn model(&self, placement: Option<Placement>) -> Result<Model, SiteError> {
        let ModelSpec { step, patience, backfill, placement: _, transit } =
            &self.manifest.site.model;
        if let Some(step) = step.filter(|step| *step < Period::from_secs(1)) {
            return Err(self.wrong(format!("spec.model.step is {step}: it must be at least 1s")));
        }
        if *backfill == Some(0) {
            let problem =
                "spec.model.backfill is 0, so that no job would start: it must be at least 1";
            return Err(self.wrong(problem.to_owned()));
        }
        let usual = Model::default();
        let or = |period: &Option<Period>, usual: f64| {
            period.map_or(usual, |period| period.duration().as_secs_f64())
        };
        Ok(Model {
            pue: self.within("spec.power.pue", self.manifest.pool.spec.power.pue, 1.0..=10.0)?,
            step: or(step, usual.step),
            patience: or(patience, usual.patience),
            backfill: backfill.unwrap_or(usual.backfill),
            placement: placement.unwrap_or(usual.placement),
            transit: Transit {
                mining_to_hpc: or(&transit.mining_to_hpc, usual.transit.mining_to_hpc),
                hpc_to_mining: or(&transit.hpc_to_mining, usual.transit.hpc_to_mining),
                idle_to_mining: or(&transit.idle_to_mining, usual.transit.idle_to_mining),
                mining_to_idle: or(&transit.mining_to_idle, usual.transit.mining_to_idle),
                idle_to_hpc: or(&transit.idle_to_hpc, usual.transit.idle_to_hpc),
                hpc_to_idle: or(&transit.hpc_to_idle, usual.transit.hpc_to_idle),
            },
            ..usual
        })
    }
}
