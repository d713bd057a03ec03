//! How a run went, hour by hour.

use serde::Serialize;

/// What the nodes of a site do at a moment, in GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Gpus {
    /// They mine.
    pub mining: f64,
    /// They run a customer's job.
    pub busy: f64,
    /// They are open to jobs and have none.
    pub free: f64,
    /// Their nodes do nothing.
    pub idle: f64,
    /// Their nodes are on their way from one use to another.
    pub transit: f64,
}

impl Gpus {
    fn add(&mut self, other: &Self, share: f64) {
        self.mining += other.mining * share;
        self.busy += other.busy * share;
        self.free += other.free * share;
        self.idle += other.idle * share;
        self.transit += other.transit * share;
    }

    /// All of them.
    pub fn total(&self) -> f64 {
        self.mining + self.busy + self.free + self.idle + self.transit
    }
}

/// One hour of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Hour {
    /// What the GPUs did, on average over the hour.
    pub gpus: Gpus,
    /// What had been earned at its end since the start of the window, USD.
    pub usd: f64,
}

/// The hours of a run, from the start of the window on. The last one may be cut short by its end.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Timeline {
    /// The hours.
    pub hours: Vec<Hour>,
    /// The hour that is being filled, and how much of it has passed, s.
    #[serde(skip)]
    current: (Gpus, f64),
}

const HOUR: f64 = 3600.0;

impl Timeline {
    /// So many seconds pass, in which the GPUs do the same all the time. `earned` says what was earned
    /// so many seconds after their start.
    pub(crate) fn pass(&mut self, mut seconds: f64, gpus: &Gpus, earned: impl Fn(f64) -> f64) {
        let mut passed = 0.0;
        while self.current.1 + seconds >= HOUR {
            let rest = HOUR - self.current.1;
            passed += rest;
            seconds -= rest;
            self.current.0.add(gpus, rest / HOUR);
            let (gpus, _) = std::mem::take(&mut self.current);
            self.hours.push(Hour { gpus, usd: earned(passed) });
        }
        self.current.0.add(gpus, seconds / HOUR);
        self.current.1 += seconds;
    }

    /// The window ends: what has begun of an hour counts as one.
    pub(crate) fn close(&mut self, usd: f64) {
        let (sum, seconds) = std::mem::take(&mut self.current);
        if seconds > 0.0 {
            let mut gpus = Gpus::default();
            gpus.add(&sum, HOUR / seconds);
            self.hours.push(Hour { gpus, usd });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_average_what_happens_in_them() {
        let mut timeline = Timeline::default();
        let mining = Gpus { mining: 8.0, ..Gpus::default() };
        let busy = Gpus { busy: 8.0, ..Gpus::default() };
        timeline.pass(2.25 * HOUR, &mining, |seconds| seconds);
        timeline.pass(1.0 * HOUR, &busy, |seconds| 2.25 * HOUR + 10.0 * seconds);
        timeline.close(5.0);
        let mined: Vec<f64> = timeline.hours.iter().map(|hour| hour.gpus.mining).collect();
        assert_eq!(mined, [8.0, 8.0, 2.0, 0.0]);
        let usd: Vec<f64> = timeline.hours.iter().map(|hour| hour.usd).collect();
        assert_eq!(usd, [3600.0, 7200.0, 2.25 * HOUR + 0.75 * 36_000.0, 5.0]);
        assert!(timeline.hours.iter().all(|hour| (hour.gpus.total() - 8.0).abs() < 1e-9));
    }
}
