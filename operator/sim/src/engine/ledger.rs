//! Where the money comes from and goes to.

use serde::Serialize;

use crate::{
    engine::{nodes::Nodes, queue::Running},
    site::Site,
};

/// Money by source, USD; what is paid is negative.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Money {
    /// What mining earned, haircuts and the pools' fees taken off.
    pub mining_income: f64,
    /// Power of mining nodes.
    pub mining_power: f64,
    /// What jobs paid.
    pub hpc_income: f64,
    /// Power of nodes that were open to jobs.
    pub hpc_power: f64,
    /// Power of idle nodes.
    pub idle_power: f64,
    /// Power of nodes in transit.
    pub transit_power: f64,
}

impl Money {
    /// All of it.
    pub fn net(&self) -> f64 {
        self.mining_income
            + self.mining_power
            + self.hpc_income
            + self.hpc_power
            + self.idle_power
            + self.transit_power
    }
}

/// The books.
#[derive(Clone)]
pub struct Ledger {
    /// Money by source so far.
    pub money: Money,
    /// Energy at the meter, kWh.
    pub kwh: f64,
    /// GPU-hours of open nodes that no job used.
    pub idle_hpc_gpu_hours: f64,
    draws: Vec<Draw>,
    power: f64,
    income: Vec<f64>,
    pue: f64,
}

/// What the nodes of a class draw and yield.
#[derive(Clone)]
struct Draw {
    gpus: f64,
    host: f64,
    idle: f64,
    hpc: f64,
    mining: Vec<f64>,
    /// H/s of a node with each profile, as far as they are paid.
    rate: Vec<f64>,
}

impl Ledger {
    /// Empty books at the prices of the window's start.
    pub fn new(site: &Site) -> Self {
        let draws = site.classes.iter().map(|class| Draw {
            gpus: f64::from(class.gpus),
            host: class.host_watts,
            idle: class.idle_watts,
            hpc: class.hpc_watts,
            mining: class.mining_watts.clone(),
            rate: class
                .hashrate
                .iter()
                .zip(&site.profiles)
                .map(|(rate, profile)| {
                    rate.unwrap_or(0.0) * f64::from(class.gpus) * profile.arriving
                })
                .collect(),
        });
        let mut ledger = Self {
            money: Money::default(),
            kwh: 0.0,
            idle_hpc_gpu_hours: 0.0,
            draws: draws.collect(),
            power: 0.0,
            income: Vec::new(),
            pue: site.model.pue,
        };
        ledger.price(site, 0.0);
        ledger
    }

    /// Prices change.
    pub fn price(&mut self, site: &Site, now: f64) {
        self.power = site.power.at(now);
        self.income = site.profiles.iter().map(|profile| profile.income.at(now)).collect();
    }

    /// Time passes.
    pub fn accrue(&mut self, nodes: &Nodes, seconds: f64) {
        let hours = seconds / 3600.0;
        let meter = self.pue / 1000.0 * hours;
        for (class, draw) in self.draws.iter().enumerate() {
            let resting_watts = draw.host + draw.gpus * draw.idle;
            for (profile, count) in nodes.mining[class].iter().enumerate() {
                let count = f64::from(*count);
                let kwh = count * (draw.host + draw.gpus * draw.mining[profile]) * meter;
                self.kwh += kwh;
                self.money.mining_power -= kwh * self.power;
                self.money.mining_income +=
                    count * draw.rate[profile] * self.income[profile] / 24.0 * hours;
            }
            let (open, busy) = (f64::from(nodes.hpc[class]), f64::from(nodes.busy[class]));
            let free = open * draw.gpus - busy;
            let kwh = (open * draw.host + busy * draw.hpc + free * draw.idle) * meter;
            self.kwh += kwh;
            self.money.hpc_power -= kwh * self.power;
            self.idle_hpc_gpu_hours += free * hours;
            let moving = f64::from(nodes.moving[class]);
            let idle = f64::from(nodes.resting[class]) - moving;
            self.kwh += (idle + moving) * resting_watts * meter;
            self.money.idle_power -= idle * resting_watts * meter * self.power;
            self.money.transit_power -= moving * resting_watts * meter * self.power;
        }
    }

    /// A job pays for the time it has run.
    pub fn earn(&mut self, running: &Running, now: f64) {
        let hours = (now - running.started) / 3600.0;
        self.money.hpc_income += running.price * f64::from(running.gpus) * hours;
    }
}
