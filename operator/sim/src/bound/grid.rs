//! Time cut into cells in which no rate changes.

use crate::{series::Series, site::Site};

/// Cells that follow each other from the start of the window to its end. Every change of the power
/// price and of a mining income is a border, so that rates are constant within a cell.
#[derive(Debug, Clone)]
pub struct Grid {
    borders: Vec<f64>,
}

/// A moment of the window: the cell it lies in, and the part of the cell that is over by then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    cell: u32,
    part: f64,
}

impl Grid {
    /// The grid of a site with cells of at most so many seconds.
    pub fn new(site: &Site, longest: f64) -> Self {
        let incomes = site.profiles.iter().map(|profile| &profile.income);
        let changes = incomes.chain([&site.power]).flat_map(Series::changes);
        // More cells than that help nobody; it also guards against a length of nothing.
        let longest = longest.max(site.length / 1e6).max(1e-3);
        let even = (1..).map(|count| f64::from(count) * longest);
        let mut borders: Vec<f64> = even
            .take_while(|time| *time < site.length)
            .chain(changes.filter(|time| *time > 0.0 && *time < site.length))
            .chain([0.0, site.length])
            .collect();
        borders.sort_by(f64::total_cmp);
        borders.dedup();
        Self::of_borders(borders)
    }

    /// The grid of these borders.
    pub fn of_borders(borders: Vec<f64>) -> Self {
        Self { borders }
    }

    /// The borders of the cells, the start and the end of the window among them.
    pub fn borders(&self) -> &[f64] {
        &self.borders
    }

    /// How long each cell is, h.
    pub fn hours(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        self.borders.windows(2).map(|ends| (ends[1] - ends[0]) / 3600.0)
    }

    /// The value of a series in each cell.
    pub fn values(&self, series: &Series) -> Vec<f64> {
        let starts = self.borders.iter().take(self.hours().len());
        starts.map(|start| series.at(*start)).collect()
    }

    /// The moment of a time within the window.
    pub fn moment(&self, time: f64) -> Moment {
        let last = self.hours().len().saturating_sub(1);
        let later = self.borders.partition_point(|border| *border <= time);
        let cell = later.saturating_sub(1).min(last);
        let (start, end) = (self.borders[cell], self.borders[cell + 1]);
        let cell = u32::try_from(cell).unwrap_or(u32::MAX);
        Moment { cell, part: ((time - start) / (end - start)).clamp(0.0, 1.0) }
    }
}

/// What a rate comes to from the start of the window on.
#[derive(Debug, Clone)]
pub struct Meter {
    at_borders: Vec<f64>,
}

impl Meter {
    /// The meter of a rate per hour that is given cell by cell.
    pub fn new(grid: &Grid, rates: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        let mut at_borders = vec![sum];
        for (hours, rate) in grid.hours().zip(rates) {
            sum += hours * rate;
            at_borders.push(sum);
        }
        Self { at_borders }
    }

    /// What it reads at a moment.
    #[inline]
    pub fn at(&self, moment: Moment) -> f64 {
        let (before, after) = self.around(moment);
        before + (after - before) * moment.part
    }

    #[inline]
    fn around(&self, moment: Moment) -> (f64, f64) {
        let cell = moment.cell as usize;
        (self.at_borders[cell], self.at_borders[cell + 1])
    }
}

/// How many GPUs are busy, on average, in each cell: summed up from the ends of jobs.
#[derive(Debug, Clone)]
pub struct Occupancy {
    changes: Vec<f64>,
}

impl Occupancy {
    /// Nothing is busy yet.
    pub fn new(grid: &Grid) -> Self {
        Self { changes: vec![0.0; grid.hours().len() + 1] }
    }

    /// So many GPUs are busy from one moment to another.
    pub fn add(&mut self, gpus: f64, from: Moment, to: Moment) {
        self.change(gpus, from);
        self.change(-gpus, to);
    }

    fn change(&mut self, gpus: f64, moment: Moment) {
        let cell = moment.cell as usize;
        self.changes[cell] += gpus * (1.0 - moment.part);
        self.changes[cell + 1] += gpus * moment.part;
    }

    /// The average in each cell.
    pub fn averages(&self) -> impl Iterator<Item = f64> + '_ {
        let cells = self.changes.iter().take(self.changes.len() - 1);
        cells.scan(0.0, |busy, change| {
            *busy += change;
            Some(*busy)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        Grid { borders: vec![0.0, 3600.0, 5400.0, 9000.0] }
    }

    #[test]
    fn a_meter_runs_evenly_within_a_cell() {
        let meter = Meter::new(&grid(), [1.0, 4.0, 2.0]);
        let read = [0.0, 1800.0, 3600.0, 4500.0, 9000.0].map(|time| meter.at(grid().moment(time)));
        let off =
            read.iter().zip([0.0, 0.5, 1.0, 2.0, 5.0]).map(|(read, right)| (read - right).abs());
        assert!(off.fold(0.0, f64::max) < 1e-12, "{read:?}");
    }

    #[test]
    fn gpus_are_busy_on_average() {
        let mut busy = Occupancy::new(&grid());
        busy.add(8.0, grid().moment(1800.0), grid().moment(4500.0));
        busy.add(1.0, grid().moment(0.0), grid().moment(9000.0));
        let averages: Vec<f64> = busy.averages().collect();
        let expected = [5.0, 5.0, 1.0];
        let off = averages.iter().zip(expected).map(|(average, right)| (average - right).abs());
        assert!(off.fold(0.0, f64::max) < 1e-12, "{averages:?}");
    }
}
