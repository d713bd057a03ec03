//! Day-ahead forecasts of the power price, good ones and bad ones.
//!
//! At noon of each day (UTC) the prices of the next day are published, as exchanges do. So a policy knows
//! between 12 and 36 hours ahead.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use switchyard_core::forecast::Forecast;

use crate::{series::Series, site::Site};

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
const LAG: f64 = 6.0 * HOUR;

/// What a policy is told of the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// What is published.
    Published,
    /// Dear hours as cheap ones and the other way round: mirrored at the mean of what is published.
    Inverted,
    /// What was published for six hours before.
    Lagged,
    /// In a wrong unit: a thousand times as much.
    Thousandfold,
}

impl Told {
    /// What a policy is told at a time, s since the start, and until when it is told nothing newer.
    pub fn at(self, site: &Site, now: f64) -> (Option<Arc<Forecast>>, f64) {
        let Some(truth) = site.power_forecast.as_ref().filter(|_| self != Self::Nothing) else {
            return (None, f64::MAX);
        };
        let start = site.start.as_second() as f64;
        let (until, next) = published(start + now);
        let until = until - start;
        let known = truth.points().iter().copied().filter(|(time, _)| *time < until);
        let known: Vec<(f64, f64)> = known.collect();
        let mean = known.iter().map(|(_, value)| value).sum::<f64>() / known.len().max(1) as f64;
        let told = known.into_iter().filter_map(|(at, value)| {
            let (at, value) = match self {
                Self::Nothing | Self::Published => (at, value),
                Self::Inverted => (at, 2.0 * mean - value),
                Self::Lagged => (at + LAG, value),
                Self::Thousandfold => (at, 1000.0 * value),
            };
            Some((time(site, at)?, value))
        });
        let told = time(site, until).and_then(|end| Forecast::new(told, end));
        (told.map(Arc::new), next - start)
    }
}

fn time(site: &Site, seconds: f64) -> Option<Timestamp> {
    site.start.checked_add(SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}

/// Until when prices are published at a time, and when that is next more; all in s since 1970.
fn published(now: f64) -> (f64, f64) {
    let midnight = (now / DAY).floor() * DAY;
    let noon = midnight + DAY / 2.0;
    if now < noon { (midnight + DAY, noon) } else { (midnight + 2.0 * DAY, noon + DAY) }
}

/// The means of whole hours.
pub fn hourly(price: &Series, length: f64) -> Series {
    let hours = (length / HOUR).ceil();
    let mut points = Vec::new();
    let mut hour = 0.0;
    while hour < hours {
        let parts = (0..12).map(|part| price.at((hour + f64::from(part) / 12.0) * HOUR));
        points.push((hour * HOUR, parts.sum::<f64>() / 12.0));
        hour += 1.0;
    }
    Series::new(points)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::morning(9.0, 24.0, 12.0)]
    #[case::noon(12.0, 48.0, 36.0)]
    #[case::midnight(24.0, 48.0, 36.0)]
    fn tomorrow_is_known_from_noon_on(#[case] now: f64, #[case] until: f64, #[case] next: f64) {
        assert_eq!(published(now * HOUR), (until * HOUR, next * HOUR));
    }

    #[test]
    fn an_hour_is_told_by_its_mean() {
        let price = Series::new([(0.0, 1.0), (1800.0, 3.0), (3600.0, 5.0)]);
        assert_eq!(hourly(&price, 7200.0).points(), [(0.0, 2.0), (3600.0, 5.0)]);
    }
}
