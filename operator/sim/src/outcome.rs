//! How a run went.

use std::collections::BTreeMap;

use serde::Serialize;
use switchyard_api::Use;

use crate::{
    engine::{Ledger, Money},
    site::Site,
};

/// How a run of a policy on a site went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The site.
    pub site: String,
    /// The placement.
    pub placement: String,
    /// The policy.
    pub policy: String,
    /// Money by source, USD.
    pub money: Money,
    /// All of it, USD.
    pub usd_net: f64,
    /// Nodes moved, by direction.
    pub shifts: BTreeMap<String, u64>,
    /// Jobs that ended.
    pub done: usize,
    /// Jobs that waited too long or were refused.
    pub lost: usize,
    /// Jobs that ran or waited at the end.
    pub unfinished: usize,
    /// How long started jobs waited, s.
    #[serde(skip)]
    pub waits: Vec<f64>,
    /// Of these the 95th percentile, s.
    pub wait_p95_s: f64,
    /// Energy at the meter, kWh.
    pub kwh: f64,
    /// GPU-hours of open nodes that no job used.
    pub idle_hpc_gpu_hours: f64,
    /// Nodes of the site.
    pub nodes: usize,
    /// Days of the window.
    pub days: f64,
}

impl Outcome {
    pub(crate) fn new(site: &Site, policy: &str) -> Self {
        Self {
            site: site.name.clone(),
            placement: site.model.placement.to_string(),
            policy: policy.to_owned(),
            money: Money::default(),
            usd_net: 0.0,
            shifts: BTreeMap::new(),
            done: 0,
            lost: 0,
            unfinished: 0,
            waits: Vec::new(),
            wait_p95_s: 0.0,
            kwh: 0.0,
            idle_hpc_gpu_hours: 0.0,
            nodes: site.nodes.len(),
            days: site.length / 86_400.0,
        }
    }

    pub(crate) fn count_shift(&mut self, from: Use, to: crate::engine::Activity) {
        let route = format!("{from}->{}", crate::engine::use_of(to));
        *self.shifts.entry(route).or_default() += 1;
    }

    pub(crate) fn close(mut self, ledger: &Ledger) -> Self {
        self.money = ledger.money;
        self.usd_net = ledger.money.net();
        self.kwh = ledger.kwh;
        self.idle_hpc_gpu_hours = ledger.idle_hpc_gpu_hours;
        self.waits.sort_by(f64::total_cmp);
        let place = (self.waits.len() * 95).div_ceil(100).saturating_sub(1);
        self.wait_p95_s = self.waits.get(place).copied().unwrap_or(0.0);
        self
    }

    /// Nodes moved in a day.
    pub fn shifts_per_day(&self) -> f64 {
        self.shifts.values().sum::<u64>() as f64 / self.days
    }
}
