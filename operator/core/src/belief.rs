//! Whether a forecast is to be believed: nobody has to say how good it is, it has to show.
//!
//! Every three hours it is noted what a forecast says of the time three hours ahead, and what the value is
//! now. Three hours later the two are compared with what has come. A forecast is believed while it has been
//! off by at most half as much as the guess that nothing will change.

use jiff::{SignedDuration, Timestamp};

use crate::forecast::Forecast;

/// So far ahead a forecast is put to the test.
const AHEAD: SignedDuration = SignedDuration::from_hours(3);
/// A guess whose time has passed for longer is not judged: the value of its time was not seen.
const LATE: SignedDuration = SignedDuration::from_mins(30);
/// By each test the ones before count for so much: two weeks ago, a tenth as much.
const FADES: f64 = 0.98;
/// So many tests it takes at least.
const TESTS: f64 = 8.0;
/// And it is off by at most so much of what the present value is.
const SHARE: f64 = 0.5;

/// How right a forecast has been.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Record {
    pending: Option<Guess>,
    /// What it was off, in sum.
    off: f64,
    /// What the values of before were off, in sum.
    present_off: f64,
    tests: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Guess {
    of: Timestamp,
    says: f64,
    present: f64,
}

impl Record {
    /// Takes note of a value, and of what is said of the future.
    pub(crate) fn look(&mut self, forecast: &Forecast, value: f64, now: Timestamp) {
        if let Some(guess) = self.pending.take_if(|guess| guess.of <= now)
            && now.duration_since(guess.of) <= LATE
        {
            self.off = self.off * FADES + (guess.says - value).abs();
            self.present_off = self.present_off * FADES + (guess.present - value).abs();
            self.tests = self.tests * FADES + 1.0;
        }
        if self.pending.is_none() {
            let of = now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
            self.pending = forecast.at(of).map(|says| Guess { of, says, present: value });
        }
    }

    /// Is it to be believed?
    pub(crate) fn convinces(&self) -> bool {
        self.tests >= TESTS && self.off <= SHARE * self.present_off
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// A price that goes up and down in a day, told with an error for each hour.
    fn record(tell: impl Fn(f64) -> f64, hours: i64) -> Record {
        let price = |hour: i64| 0.2 + 0.1 * (hour as f64 / 24.0 * std::f64::consts::TAU).sin();
        let at = |hour: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour);
        let points = (0..hours + 24).map(|hour| (at(hour), tell(price(hour))));
        let forecast = Forecast::new(points, at(hours + 24)).unwrap();
        let mut record = Record::default();
        (0..hours).for_each(|hour| record.look(&forecast, price(hour), at(hour)));
        record
    }

    #[rstest]
    #[case::right(record(|price| price, 48), true)]
    #[case::nearly_right(record(|price| price * 1.05, 48), true)]
    #[case::not_yet(record(|price| price, 20), false)]
    #[case::inverted(record(|price| 0.4 - price, 480), false)]
    #[case::in_another_unit(record(|price| price * 1000.0, 480), false)]
    #[case::flat(record(|_| 0.2, 480), false)]
    fn forecasts_have_to_show(#[case] record: Record, #[case] convinces: bool) {
        assert_eq!(record.convinces(), convinces, "{record:?}");
    }

    #[test]
    fn one_that_turns_bad_is_not_believed_for_long() {
        let at = |hour: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour);
        let price = |hour: i64| if hour % 6 < 3 { 0.1 } else { 0.3 };
        let forecast = |wrong: f64| {
            Forecast::new((0..400).map(|hour| (at(hour), price(hour) + wrong)), at(400)).unwrap()
        };
        let mut record = Record::default();
        (0..100).for_each(|hour| record.look(&forecast(0.0), price(hour), at(hour)));
        assert!(record.convinces());
        (100..200).for_each(|hour| record.look(&forecast(1.0), price(hour), at(hour)));
        assert!(!record.convinces());
    }

    #[test]
    fn what_was_not_seen_in_time_proves_nothing() {
        let at = |hour: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour);
        let forecast = Forecast::new([(at(0), 1.0)], at(1000)).unwrap();
        let mut record = Record::default();
        (0..40).for_each(|day| record.look(&forecast, 1.0, at(24 * day)));
        assert!(record.tests < 1.0, "{record:?}");
    }
}
