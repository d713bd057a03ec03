//! What a price will be, as far as somebody publishes it.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// The values that a signal is expected to have: each holds until the next, the last one to the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    points: Vec<(Timestamp, f64)>,
    end: Timestamp,
}

impl Forecast {
    /// A forecast from points in any order, of which of equal times the last counts. None, if there is
    /// no finite value before the end.
    pub fn new(points: impl IntoIterator<Item = (Timestamp, f64)>, end: Timestamp) -> Option<Self> {
        let known = points.into_iter().filter(|(time, value)| *time < end && value.is_finite());
        let points: BTreeMap<Timestamp, f64> = known.collect();
        (!points.is_empty()).then(|| Self { points: points.into_iter().collect(), end })
    }

    /// Until when it says something.
    pub fn end(&self) -> Timestamp {
        self.end
    }

    /// The value that is expected at a time.
    pub fn at(&self, time: Timestamp) -> Option<f64> {
        let next = self.points.partition_point(|(begin, _)| *begin <= time);
        let (_, value) = self.points.get(next.checked_sub(1)?)?;
        (time < self.end).then_some(*value)
    }

    /// The stretches of equal value from a time to the end, each with its length in hours.
    pub fn stretches(&self, from: Timestamp) -> Vec<(f64, f64)> {
        let ends = self.points.iter().skip(1).map(|(time, _)| *time).chain([self.end]);
        let stretches = self.points.iter().zip(ends).filter_map(|((begin, value), end)| {
            let hours = end.duration_since((*begin).max(from)).as_secs_f64() / 3600.0;
            (hours > 0.0).then_some((hours, *value))
        });
        stretches.collect()
    }
}
