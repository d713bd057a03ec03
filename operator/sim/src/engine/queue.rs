//! Jobs that wait and jobs that run.

use std::collections::BTreeMap;

use crate::{engine::nodes::Nodes, site::Site};

/// A job that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// Index of [`Site::jobs`].
    pub job: usize,
    /// Its GPUs.
    pub gpus: u32,
    /// When it started, s.
    pub started: f64,
    /// What it pays, locked at its start, USD per GPU-hour.
    pub price: f64,
    /// Its nodes, and the GPUs it holds on each.
    pub nodes: Vec<(usize, u32)>,
}

/// Jobs that wait, in the order of their submission, and jobs that run.
#[derive(Default)]
pub struct Queue {
    waiting: Vec<usize>,
    running: Vec<Running>,
    place_of: BTreeMap<usize, usize>,
}

impl Queue {
    /// Jobs that wait.
    pub fn waiting(&self) -> &[usize] {
        &self.waiting
    }

    /// Jobs that run, in no particular order.
    pub fn running(&self) -> &[Running] {
        &self.running
    }

    /// A job comes.
    pub fn submit(&mut self, job: usize) {
        self.waiting.push(job);
    }

    /// A job goes without having run. Did it still wait?
    pub fn give_up(&mut self, job: usize) -> bool {
        let place = self.waiting.binary_search(&job);
        place.map(|place| self.waiting.remove(place)).is_ok()
    }

    /// The waiting jobs that the scheduler tries, in order.
    pub fn startable(&self, site: &Site, nodes: &Nodes) -> Vec<usize> {
        let (most, empty) = nodes.room();
        if most == 0 || self.waiting.is_empty() {
            return Vec::new();
        }
        let per_node = site.model.gpus_per_node;
        let seen = self.waiting.iter().take(site.model.backfill).copied();
        let could_fit = |job: &usize| {
            let gpus = site.jobs[*job].gpus;
            if gpus <= per_node { gpus <= most } else { gpus.div_ceil(per_node) as usize <= empty }
        };
        seen.filter(could_fit).collect()
    }

    /// A waiting job starts.
    pub fn start(&mut self, running: Running) {
        self.give_up(running.job);
        self.place_of.insert(running.job, self.running.len());
        self.running.push(running);
    }

    /// A job ends.
    pub fn complete(&mut self, job: usize) -> Option<Running> {
        let place = self.place_of.remove(&job)?;
        let ended = self.running.swap_remove(place);
        if let Some(moved) = self.running.get(place) {
            self.place_of.insert(moved.job, place);
        }
        Some(ended)
    }
}
