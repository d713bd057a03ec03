//! What is published of the future of signals: read in its own interval, kept until something newer is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use switchyard_api::{ForecastSource, ForecastStatus, ProfitabilitySignal, Reason};
use switchyard_core::{forecast::Forecast, quantity::measure};

use super::{fetch::SourceError, next_multiple};
use crate::watch::Caches;

/// What is known of the future of every signal that says where to look.
#[derive(Debug, Default)]
pub struct Futures {
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    generation: i64,
    due: Timestamp,
    forecast: Option<Arc<Forecast>>,
    answer: Option<Result<(), SourceError>>,
}

/// A forecast that is to be read.
pub struct Due {
    /// The signal.
    pub name: String,
    /// Where it is read.
    pub source: ForecastSource,
    /// How many of the core's units one of the signal's is.
    factor: f64,
    generation: i64,
}

/// The last value of a forecast of one value holds for so long.
const ALONE: SignedDuration = SignedDuration::from_hours(1);

impl Futures {
    /// The forecasts that are to be read now. Forgets those that are no longer asked for.
    pub fn due(&self, caches: &Caches, now: Timestamp) -> Vec<Due> {
        let asked: Vec<Due> = caches.signals.collect(|(_, name), signal| {
            let signal = signal.good()?;
            let generation = signal.metadata.generation.unwrap_or(0);
            let source = signal.spec.forecast.clone()?;
            let (_, factor) = measure(signal.spec.unit);
            Some(Due { name: name.clone(), source, factor, generation })
        });
        let mut known = self.locked();
        known.retain(|name, _| asked.iter().any(|due| due.name == *name));
        let is_due = |due: &Due| {
            let fresh = || Known {
                generation: due.generation,
                due: Timestamp::MIN,
                forecast: None,
                answer: None,
            };
            let state = known.entry(due.name.clone()).or_insert_with(fresh);
            if state.generation != due.generation {
                *state = fresh();
            }
            let is_due = state.due <= now;
            if is_due {
                state.due = next_multiple(due.source.interval, now);
            }
            is_due
        };
        asked.into_iter().filter(is_due).collect()
    }

    /// Takes note of what was read.
    pub fn note(&self, due: &Due, answer: Result<Vec<(Timestamp, f64)>, SourceError>) {
        let mut known = self.locked();
        let Some(state) =
            known.get_mut(&due.name).filter(|state| state.generation == due.generation)
        else {
            return;
        };
        let read = answer.and_then(|points| {
            let end = end(&points);
            let points = points.into_iter().map(|(time, value)| (time, value * due.factor));
            let forecast = Forecast::new(points, end).ok_or_else(|| SourceError {
                reason: Reason::Empty,
                remedy: "forecast.http finds no value: check timesPath and valuesPath".into(),
            })?;
            Ok(Arc::new(forecast))
        });
        state.answer = Some(read.map(|forecast| state.forecast = Some(forecast)));
    }

    /// The forecasts by signal.
    pub fn known(&self) -> BTreeMap<String, Arc<Forecast>> {
        let known = self.locked();
        let forecasts =
            known.iter().filter_map(|(name, state)| Some((name.clone(), state.forecast.clone()?)));
        forecasts.collect()
    }

    /// What the status of a signal should say.
    pub fn status(&self, signal: &ProfitabilitySignal) -> Option<ForecastStatus> {
        let known = self.locked();
        let state = known.get(signal.metadata.name.as_ref()?)?;
        let until = state.forecast.as_ref().map(|forecast| forecast.end());
        Some(match state.answer.as_ref()? {
            Ok(()) => ForecastStatus { until, reason: Reason::SourceRead, message: None },
            Err(error) => {
                ForecastStatus { until, reason: error.reason, message: Some(error.remedy.clone()) }
            }
        })
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last value holds for as long as the one before.
fn end(points: &[(Timestamp, f64)]) -> Timestamp {
    let mut times: Vec<Timestamp> = points.iter().map(|(time, _)| *time).collect();
    times.sort_unstable();
    times.dedup();
    let last = times.last().copied().unwrap_or(Timestamp::MIN);
    let step = match times.as_slice() {
        [.., before, last] => last.duration_since(*before),
        _ => ALONE,
    };
    last.saturating_add(step).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[3600, 0, 7200], 10_800)]
    #[case(&[0], 3600)]
    #[case(&[0, 900, 900], 1800)]
    fn the_last_value_holds_as_long_as_the_one_before(#[case] times: &[i64], #[case] ends: i64) {
        let points: Vec<_> =
            times.iter().map(|time| (Timestamp::from_second(*time).unwrap(), 1.0)).collect();
        assert_eq!(end(&points).as_second(), ends);
    }
}
