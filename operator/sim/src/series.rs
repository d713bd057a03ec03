//! Step functions of time.

/// A value that changes at known times and holds in between. Times are seconds since the start of the
/// window; of equal times the last one counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    points: Vec<(f64, f64)>,
}

impl Series {
    /// A series from points in the order of their times.
    pub fn new(points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut kept: Vec<(f64, f64)> = Vec::new();
        for (time, value) in points {
            match kept.last_mut() {
                Some(last) if last.0 >= time => last.1 = value,
                _ => kept.push((time, value)),
            }
        }
        Self { points: kept }
    }

    /// A series that never changes.
    pub fn constant(value: f64) -> Self {
        Self { points: vec![(f64::MIN, value)] }
    }

    /// The value at a time: that of the last point at or before it. Before the first point it is the
    /// first one's.
    pub fn at(&self, time: f64) -> f64 {
        let next = self.points.partition_point(|(at, _)| *at <= time);
        let point = self.points.get(next.saturating_sub(1));
        point.map_or(0.0, |(_, value)| *value)
    }

    /// The times at which it changes.
    pub fn changes(&self) -> impl Iterator<Item = f64> + '_ {
        self.points.iter().map(|(time, _)| *time)
    }

    /// The points.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_holds_until_the_next() {
        let series = Series::new([(0.0, 1.0), (10.0, 2.0), (10.0, 3.0), (20.0, 4.0)]);
        let seen: Vec<f64> = [-5.0, 0.0, 9.9, 10.0, 25.0].map(|time| series.at(time)).into();
        assert_eq!(seen, [1.0, 1.0, 1.0, 3.0, 4.0]);
    }
}
