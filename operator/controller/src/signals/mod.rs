//! Signals: reads every source in its interval and keeps what it said.

pub mod fetch;
mod future;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use jiff::Timestamp;
use switchyard_api::{
    ConditionType, Conditions, Decimal, Judgement, Period, ProfitabilitySignal,
    ProfitabilitySignalSpec, ProfitabilitySignalStatus, Reason, SourceStatus, Unit,
};
use switchyard_core::{
    forecast::Forecast,
    quantity::measure,
    signal::{combine, judge},
    snapshot::Reading,
};
use tokio::{sync::Notify, task::JoinSet};
use tracing::{debug, info};

use self::{
    fetch::{Fetcher, SourceError},
    future::Futures,
};
use crate::{leader::Leadership, watch::Caches};

/// How often it is looked whether a signal is due.
const LOOK: Duration = Duration::from_millis(250);

/// What is known of every signal.
#[derive(Debug, Default)]
pub struct Signals {
    states: Mutex<BTreeMap<String, State>>,
    futures: Futures,
}

#[derive(Debug, Clone)]
struct State {
    generation: i64,
    unit: Unit,
    value: Option<f64>,
    time: Option<Timestamp>,
    answered: bool,
    sources: BTreeMap<String, Result<f64, SourceError>>,
    due: Timestamp,
}

impl Signals {
    /// Reads due signals until the process ends. Only the leader does.
    pub async fn run(
        self: Arc<Self>,
        caches: Caches,
        fetcher: Fetcher,
        leadership: Leadership,
        changed: Arc<Notify>,
    ) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reads = JoinSet::new();
        loop {
            ticks.tick().await;
            while reads.try_join_next().is_some() {}
            if !leadership.leads() {
                continue;
            }
            for due in self.futures.due(&caches, Timestamp::now()) {
                let (signals, fetcher, changed) = (self.clone(), fetcher.clone(), changed.clone());
                reads.spawn(async move {
                    let answer = fetcher.future(&due.source.http).await;
                    if let Err(error) = &answer {
                        debug!(signal = due.name, reason = %error.reason, "forecast not read");
                    }
                    signals.futures.note(&due, answer);
                    changed.notify_one();
                });
            }
            // Each on its own, so that a slow source holds up nobody else.
            for (name, generation, spec) in self.due(&caches, Timestamp::now()) {
                let (signals, fetcher, changed) = (self.clone(), fetcher.clone(), changed.clone());
                reads.spawn(async move {
                    let answers = ask(&fetcher, &spec).await;
                    signals.note(&name, generation, &spec, answers, Timestamp::now());
                    changed.notify_one();
                });
            }
        }
    }

    /// Reads every signal once.
    pub async fn read_all(&self, caches: &Caches, fetcher: &Fetcher) {
        let reads = self.due(caches, Timestamp::now()).into_iter().map(|due| async move {
            let (name, generation, spec) = due;
            let answers = ask(fetcher, &spec).await;
            self.note(&name, generation, &spec, answers, Timestamp::now());
        });
        join_all(reads).await;
    }

    /// The signals that are to be read now. Forgets those that are gone; takes up, after a restart,
    /// what the status of a signal says.
    fn due(&self, caches: &Caches, now: Timestamp) -> Vec<(String, i64, ProfitabilitySignalSpec)> {
        let existing: BTreeMap<String, ProfitabilitySignal> = caches
            .signals
            .collect(|(_, name), signal| Some((name.clone(), signal.good()?.clone())));
        let mut states = self.locked();
        states.retain(|name, _| existing.contains_key(name));
        let mut due = Vec::new();
        for (name, signal) in existing {
            let generation = signal.metadata.generation.unwrap_or(0);
            let state = states.entry(name.clone()).or_insert_with(|| State::resumed(&signal));
            if state.generation != generation {
                *state = state.reinterpreted(&signal, generation);
            }
            if state.due <= now {
                state.due = next_multiple(signal.spec.interval, now);
                due.push((name, generation, signal.spec));
            }
        }
        due
    }

    fn note(
        &self,
        name: &str,
        generation: i64,
        spec: &ProfitabilitySignalSpec,
        answers: BTreeMap<String, Result<f64, SourceError>>,
        now: Timestamp,
    ) {
        let values: Vec<f64> =
            answers.values().filter_map(|answer| answer.as_ref().ok()).copied().collect();
        let combined = combine(&values, spec.required_sources());
        let mut states = self.locked();
        let Some(state) = states.get_mut(name).filter(|state| state.generation == generation)
        else {
            return;
        };
        for (source, error) in
            answers.iter().filter_map(|(name, answer)| Some((name, answer.as_ref().err()?)))
        {
            debug!(signal = name, source, reason = %error.reason, "source not read");
        }
        if state.answered != combined.is_some() || state.time.is_none() {
            info!(signal = name, answered = combined.is_some(), "signal read");
        }
        state.answered = combined.is_some();
        state.sources = answers;
        if combined.is_some() {
            state.value = combined;
            state.time = Some(now);
        }
    }

    /// What decisions may know of every signal.
    pub fn readings(&self, caches: &Caches, now: Timestamp) -> BTreeMap<String, Reading> {
        let states = self.locked();
        caches.signals.collect(|(_, name), signal| {
            let signal = signal.good()?;
            let (measure, factor) = measure(signal.spec.unit);
            let state = states.get(name).filter(|state| state.unit == signal.spec.unit);
            let value = state.and_then(|state| state.value).map(|value| value * factor);
            let trusted = state.is_some_and(|state| state.judge(&signal.spec, now).0);
            Some((name.clone(), Reading { measure, value, trusted }))
        })
    }

    /// What is published of the future, by signal.
    pub fn forecasts(&self) -> BTreeMap<String, Arc<Forecast>> {
        self.futures.known()
    }

    /// The status that a signal should show; none before it was read for the first time.
    pub fn status(
        &self,
        signal: &ProfitabilitySignal,
        now: Timestamp,
    ) -> Option<ProfitabilitySignalStatus> {
        let name = signal.metadata.name.as_deref()?;
        let generation = signal.metadata.generation.unwrap_or(0);
        let states = self.locked();
        let state = states.get(name).filter(|state| state.generation == generation)?;
        if state.sources.is_empty() {
            return None;
        }
        let old = signal.status.clone().unwrap_or_default();
        let judgement = state.judgement(&signal.spec, now);
        Some(ProfitabilitySignalStatus {
            observed_generation: generation,
            value: state.value.and_then(Decimal::new),
            time: state.time,
            conditions: old.conditions.judged(&[judgement], generation, now),
            sources: state
                .sources
                .iter()
                .map(|(name, answer)| (name.clone(), source_status(answer)))
                .collect(),
            forecast: self.futures.status(signal),
        })
    }

    /// Name, value, time and trust of every signal, for metrics.
    pub fn overview(&self, caches: &Caches, now: Timestamp) -> Vec<Overview> {
        let states = self.locked();
        caches.signals.collect(|(_, name), signal| {
            let (signal, state) = (signal.good()?, states.get(name)?);
            Some(Overview {
                name: name.clone(),
                value: state.value,
                time: state.time,
                trusted: state.judge(&signal.spec, now).0,
                sources: state
                    .sources
                    .iter()
                    .map(|(name, answer)| (name.clone(), source_status(answer).reason))
                    .collect(),
            })
        })
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next whole multiple of the interval since 1970: a price that changes on the hour and is read
/// hourly is then read right after it has changed.
fn next_multiple(interval: Period, now: Timestamp) -> Timestamp {
    let interval = i128::try_from(interval.duration().as_nanos()).unwrap_or(i128::MAX).max(1);
    let next = now.as_nanosecond().div_euclid(interval).saturating_add(1).saturating_mul(interval);
    Timestamp::from_nanosecond(next).unwrap_or(Timestamp::MAX)
}

/// A signal for metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// Its name.
    pub name: String,
    /// The median, in the signal's unit.
    pub value: Option<f64>,
    /// When it was read.
    pub time: Option<Timestamp>,
    /// May a price-driven decision rest on it?
    pub trusted: bool,
    /// How reading each source went.
    pub sources: BTreeMap<String, Reason>,
}

async fn ask(
    fetcher: &Fetcher,
    spec: &ProfitabilitySignalSpec,
) -> BTreeMap<String, Result<f64, SourceError>> {
    let asked = spec
        .sources
        .iter()
        .map(|source| async { (source.name.clone(), fetcher.read(source).await) });
    join_all(asked).await.into_iter().collect()
}

fn source_status(answer: &Result<f64, SourceError>) -> SourceStatus {
    match answer {
        Ok(value) => SourceStatus { value: Decimal::new(*value), reason: Reason::SourceRead },
        Err(error) => SourceStatus { value: None, reason: error.reason },
    }
}

impl State {
    /// What the status says that the last operator knew. Its value is held as if it had been read by
    /// this one, because a restart is no reason to forget a price.
    fn resumed(signal: &ProfitabilitySignal) -> Self {
        let generation = signal.metadata.generation.unwrap_or(0);
        let status = signal.status.as_ref().filter(|old| old.observed_generation == generation);
        Self {
            generation,
            unit: signal.spec.unit,
            value: status.and_then(|status| status.value).map(Decimal::value),
            time: status.and_then(|status| status.time),
            answered: false,
            sources: BTreeMap::new(),
            due: Timestamp::MIN,
        }
    }

    /// The state after the spec was changed: in another unit an old number means something else.
    fn reinterpreted(&self, signal: &ProfitabilitySignal, generation: i64) -> Self {
        let same_unit = self.unit == signal.spec.unit;
        Self {
            generation,
            unit: signal.spec.unit,
            value: self.value.filter(|_| same_unit),
            time: self.time.filter(|_| same_unit),
            answered: false,
            sources: BTreeMap::new(),
            due: Timestamp::MIN,
        }
    }

    fn judge(&self, spec: &ProfitabilitySignalSpec, now: Timestamp) -> (bool, Reason) {
        judge(self.time, self.answered, spec.max_age.signed(), now)
    }

    fn judgement(&self, spec: &ProfitabilitySignalSpec, now: Timestamp) -> Judgement {
        let (trusted, reason) = self.judge(spec, now);
        let failing: Vec<_> = self
            .sources
            .iter()
            .filter_map(|(name, answer)| Some(format!("source {name}: {}", answer.as_ref().err()?)))
            .collect();
        let told = match reason {
            Reason::Fresh => format!(
                "{} of {} sources agree",
                self.sources.len() - failing.len(),
                self.sources.len()
            ),
            Reason::Held => format!(
                "the last value is held for maxAge ({}), because fewer than {} sources answer",
                spec.max_age,
                spec.required_sources()
            ),
            Reason::Stale => format!(
                "fewer than {} sources have answered for longer than maxAge ({})",
                spec.required_sources(),
                spec.max_age
            ),
            _ => format!("fewer than {} sources have ever answered", spec.required_sources()),
        };
        let message = std::iter::once(told).chain(failing).collect::<Vec<_>>().join("; ");
        Judgement { kind: ConditionType::Trusted, holds: Some(trusted), reason, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("1h", "2026-01-01T11:59:59.9Z", "2026-01-01T12:00:00Z")]
    #[case("1h", "2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z")]
    #[case("60s", "2026-01-01T12:00:30Z", "2026-01-01T12:01:00Z")]
    fn reads_are_due_on_the_clock(#[case] interval: &str, #[case] now: &str, #[case] due: &str) {
        let next = next_multiple(interval.parse().unwrap(), now.parse().unwrap());
        assert_eq!(next, due.parse().unwrap());
    }
}
