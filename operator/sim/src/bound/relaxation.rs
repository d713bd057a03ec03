//! The site, taken apart: nodes and jobs that know of each other by rents only.

use super::{
    Effort, counts,
    grid::{Grid, Meter, Occupancy},
    jobs::Jobs,
    node::{Timetable, Yield},
};
use crate::site::Site;

/// Everything about a site that does not depend on the rents.
#[derive(Debug, Clone)]
pub struct Relaxation {
    grid: Grid,
    timetable: Timetable,
    classes: Vec<Kind>,
    jobs: Jobs,
}

/// Nodes that are alike.
#[derive(Debug, Clone)]
struct Kind {
    nodes: f64,
    gpus: f64,
    yields: Yield,
    /// What a busy GPU costs beyond an idle one, USD per hour, cell by cell.
    busy_power: Vec<f64>,
}

/// What the relaxation comes to at some rents.
#[derive(Debug, Clone)]
pub struct Priced {
    /// The bound, USD.
    pub usd: f64,
    /// GPUs that nodes offer beyond what jobs take, on average, by class and cell.
    pub excess: Vec<Vec<f64>>,
}

impl Relaxation {
    /// The relaxation of a site.
    pub fn new(site: &Site, effort: Effort) -> Self {
        let grid = Grid::new(site, effort.cell_seconds);
        let power = grid.values(&site.power);
        let classes = site.classes.iter().zip(counts(site)).map(|(class, nodes)| {
            let watts = class.hpc_watts - class.idle_watts;
            let draw = watts / 1000.0 * site.model.pue;
            Kind {
                nodes: f64::from(nodes),
                gpus: f64::from(class.gpus),
                yields: Yield::new(site, &grid, class),
                busy_power: power.iter().map(|power| draw * power).collect(),
            }
        });
        Self {
            timetable: Timetable::new(&site.model.transit, &grid),
            classes: classes.collect(),
            jobs: Jobs::new(site, &grid),
            grid,
        }
    }

    /// Rents to begin with: what the GPUs earn by mining.
    pub fn even_rents(&self) -> Vec<Vec<f64>> {
        self.classes.iter().map(|kind| kind.yields.even_rents(self.grid.hours().len())).collect()
    }

    /// The bound at rents that are given by class and cell, USD per GPU-hour.
    pub fn price(&self, rents: &[Vec<f64>]) -> Priced {
        let mut busy = vec![Occupancy::new(&self.grid); self.classes.len()];
        let costs = self.classes.iter().zip(rents).map(|(kind, rents)| {
            let rates = rents.iter().zip(&kind.busy_power).map(|(rent, power)| rent + power);
            Meter::new(&self.grid, rates)
        });
        let costs: Vec<Meter> = costs.collect();
        let mut usd = self.jobs.best(&costs, &mut busy);
        let offers = self.classes.iter().zip(rents).zip(&busy).map(|((kind, rents), busy)| {
            let plan = kind.yields.best(&self.timetable, rents);
            usd += kind.nodes * plan.usd;
            let open = plan.open_hours.iter().zip(self.grid.hours());
            let offered = open.map(|(open, hours)| kind.nodes * kind.gpus * open / hours);
            offered.zip(busy.averages()).map(|(offered, busy)| offered - busy).collect()
        });
        let excess = offers.collect();
        Priced { usd, excess }
    }

    /// The square of a direction's length, in a measure that does not depend on the grid.
    pub fn square(&self, direction: &[Vec<f64>]) -> f64 {
        let classes = direction.iter().map(|direction| {
            let cells = direction.iter().zip(self.grid.hours());
            cells.map(|(gpus, hours)| gpus * gpus * hours).sum::<f64>()
        });
        classes.sum()
    }

    /// The grid.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }
}
