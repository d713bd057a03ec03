//! When budgets apply and windows are open.
//!
//! A schedule says when something begins, in the wall clock of its zone, and a duration for how long it
//! lasts, in time that passes. A beginning that the clocks skip comes right after the gap; one that
//! they repeat counts once. Time zones are the ones that are built in, so that the same facts give the
//! same answer on every machine.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone, tz::TimeZoneDatabase};
use switchyard_api::{Budget, Cause, Period, Reason, Shifting};

use crate::block::{Block, Gate};

/// An opening that is farther away is not told.
const FORESIGHT: SignedDuration = SignedDuration::from_hours(366 * 24);

/// What the schedules of a pool say at a time.
#[derive(Debug, Default)]
pub struct Calendar {
    /// For each budget, whether it applies.
    budgets: Vec<bool>,
    /// For each window, the causes that it names and whether it is open.
    windows: Vec<(Vec<Cause>, Hours)>,
    /// When the first of them begins or ends again; none of them is there: none.
    pub changes: Option<Timestamp>,
    /// The fields that cannot be read, and why.
    pub unreadable: Vec<(String, ScheduleError)>,
}

/// Whether something that recurs is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hours {
    Always,
    /// Until then, unless it begins anew before.
    On(Timestamp),
    /// Until it begins again, where that is within a year.
    Off(Option<Timestamp>),
}

impl Hours {
    fn on(self) -> bool {
        matches!(self, Self::Always | Self::On(_))
    }

    fn changes(self) -> Option<Timestamp> {
        match self {
            Self::On(ends) => Some(ends),
            Self::Off(begins) => begins,
            Self::Always => None,
        }
    }
}

/// A schedule that cannot be read; says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It is no line of a crontab.
    #[error(
        "schedule {schedule:?} cannot be read ({error}): write minute, hour, day, month and weekday, \
         such as \"0 8 * * 1-5\""
    )]
    Schedule {
        /// What was written.
        schedule: String,
        /// What is wrong with it.
        error: String,
    },
    /// It names a day that no calendar has.
    #[error("schedule {0:?} never comes: it names a day that its months do not have")]
    Never(String),
    /// Its time zone is not known.
    #[error(
        "timeZone {0:?} is not known: write the name of an IANA time zone, such as America/Chicago"
    )]
    TimeZone(String),
    /// Only one of both was given.
    #[error(
        "schedule and duration go together: give both, such as \"0 8 * * 1-5\" and 10h, or neither"
    )]
    Incomplete,
}

impl Calendar {
    /// What the schedules say at a time. A budget whose schedule cannot be read applies, and a window
    /// stays closed.
    pub fn of(shifting: &Shifting, now: Timestamp) -> Self {
        let mut calendar = Self::default();
        for (index, budget) in shifting.budgets.iter().enumerate() {
            let hours = of_budget(budget, now);
            let hours = calendar.noted(hours, || format!("spec.shifting.budgets[{index}]"));
            calendar.budgets.push(hours.unwrap_or(Hours::Always).on());
        }
        for (index, window) in shifting.windows.iter().enumerate() {
            let zone = window.time_zone.as_deref();
            let hours = hours(&window.schedule, zone, window.duration, now);
            let hours = calendar.noted(hours, || format!("spec.shifting.windows[{index}]"));
            calendar.windows.push((window.causes.clone(), hours.unwrap_or(Hours::Off(None))));
        }
        calendar
    }

    fn noted(
        &mut self,
        hours: Result<Hours, ScheduleError>,
        field: impl Fn() -> String,
    ) -> Option<Hours> {
        let hours = hours.map_err(|error| self.unreadable.push((field(), error))).ok();
        let changes = hours.and_then(Hours::changes);
        self.changes = self.changes.into_iter().chain(changes).min();
        hours
    }

    /// The budgets that apply.
    pub fn applying<'b>(&self, budgets: &'b [Budget]) -> impl Iterator<Item = &'b Budget> {
        let both = budgets.iter().zip(&self.budgets);
        both.filter(|(_, applies)| **applies).map(|(budget, _)| budget)
    }

    /// The gate, if it is closed to a cause: of the windows that name it none is open, or it is for
    /// money and not every schedule can be read.
    pub fn closed(&self, cause: Cause) -> Option<Block> {
        let block = |reason, until| Some(Block { gate: Gate::Window, reason, until });
        if cause.is_for_money() && !self.unreadable.is_empty() {
            return block(Reason::ScheduleUnreadable, None);
        }
        let named = self.windows.iter().filter(|(causes, _)| causes.contains(&cause));
        let hours: Vec<_> = named.map(|(_, hours)| *hours).collect();
        if hours.is_empty() || hours.iter().any(|hours| hours.on()) {
            return None;
        }
        let openings = hours.into_iter().filter_map(Hours::changes);
        block(Reason::OutsideWindow, openings.min())
    }
}

fn of_budget(budget: &Budget, now: Timestamp) -> Result<Hours, ScheduleError> {
    match (&budget.schedule, budget.duration) {
        (Some(schedule), Some(duration)) => {
            hours(schedule, budget.time_zone.as_deref(), duration, now)
        }
        (None, None) => Ok(Hours::Always),
        (Some(_), None) | (None, Some(_)) => Err(ScheduleError::Incomplete),
    }
}

/// It is on if it began less than `duration` ago.
fn hours(
    schedule: &str,
    zone: Option<&str>,
    duration: Period,
    now: Timestamp,
) -> Result<Hours, ScheduleError> {
    let cron = parse(schedule)?;
    let zone = self::zone(zone)?;
    let from = now.saturating_sub(duration.signed()).unwrap_or(Timestamp::MIN);
    let begins = cron
        .find_next_occurrence(&from.to_zoned(zone), false)
        .map_err(|_| ScheduleError::Never(schedule.to_owned()))?
        .timestamp();
    if begins <= now {
        let ends = begins.saturating_add(duration.signed()).unwrap_or(Timestamp::MAX);
        return Ok(Hours::On(ends));
    }
    Ok(Hours::Off(Some(begins).filter(|begins| begins.duration_since(now) <= FORESIGHT)))
}

fn parse(schedule: &str) -> Result<Cron, ScheduleError> {
    let five_fields =
        CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    five_fields.parse(schedule).map_err(|error| ScheduleError::Schedule {
        schedule: schedule.to_owned(),
        error: error.to_string(),
    })
}

fn zone(name: Option<&str>) -> Result<TimeZone, ScheduleError> {
    let Some(name) = name else {
        return Ok(TimeZone::UTC);
    };
    TimeZoneDatabase::bundled().get(name).map_err(|_| ScheduleError::TimeZone(name.to_owned()))
}
