//! What limits how many nodes are moved, and when: budgets, windows, the breaker.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Cause, NodeCount, Period, Use};

/// How many nodes may be on the move at once.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.schedule) == has(self.duration)")
    .message("schedule says when the budget begins to apply and duration for how long: give both, or neither for a budget that always applies"))]
#[x_kube(validation = Rule::new("!has(self.timeZone) || has(self.schedule)")
    .message("timeZone is the one of schedule: give a schedule, too, or no timeZone"))]
pub struct Budget {
    /// A count, or a share of the pool (rounded up).
    pub nodes: NodeCount,
    /// Counts moves out of these uses only; empty: out of every use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub from: Vec<Use>,
    /// Counts moves for these causes only. Demand is not held up unless it is named.
    #[serde(default = "default_causes")]
    #[schemars(length(min = 1, max = 3))]
    pub causes: Vec<Cause>,
    /// When the budget begins to apply, as in a crontab: minute, hour, day, month, weekday. None: it
    /// always applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new(SCHEDULE_RULE).message(SCHEDULE_MESSAGE))]
    pub schedule: Option<String>,
    /// The IANA time zone of `schedule`, such as `America/Chicago`; by default UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(TIME_ZONE_RULE).message(TIME_ZONE_MESSAGE))]
    pub time_zone: Option<String>,
    /// For how long it then applies. It is time that passes: ten hours stay ten hours when the clocks
    /// change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(DURATION_RULE).message(DURATION_MESSAGE))]
    pub duration: Option<Period>,
}

/// A time that recurs, in which nodes may be moved.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When it opens, as in a crontab: minute, hour, day, month, weekday.
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new(SCHEDULE_RULE).message(SCHEDULE_MESSAGE))]
    pub schedule: String,
    /// The IANA time zone of `schedule`, such as `America/Chicago`; by default UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(TIME_ZONE_RULE).message(TIME_ZONE_MESSAGE))]
    pub time_zone: Option<String>,
    /// For how long it stays open. It is time that passes: ten hours stay ten hours when the clocks
    /// change.
    #[x_kube(validation = Rule::new(DURATION_RULE).message(DURATION_MESSAGE))]
    pub duration: Period,
    /// The causes whose moves begin only while a window that names them is open. Demand is not held
    /// up unless it is named.
    #[serde(default = "default_causes")]
    #[schemars(length(min = 1, max = 3))]
    pub causes: Vec<Cause>,
}

fn default_causes() -> Vec<Cause> {
    vec![Cause::Price, Cause::Rebalance]
}

pub(crate) fn default_budgets() -> Vec<Budget> {
    vec![Budget {
        nodes: NodeCount::Percent(25),
        from: Vec::new(),
        causes: default_causes(),
        schedule: None,
        time_zone: None,
        duration: None,
    }]
}

/// When prices that go up and down have moved too many nodes back and forth. The breaker then opens:
/// no node is moved for a price or a floor, but for what stops a loss, until a person closes it by the
/// annotation `switchyard.dev/reset-breaker`.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// So many nodes: a count, or a share of the pool (rounded up); at least one.
    #[serde(default = "default_reversals")]
    pub reversals: NodeCount,
    /// A node counts that a price moved, and moved back within this time. `0s`: none does, and the
    /// breaker never opens.
    #[serde(default = "default_within")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')")
        .message("within must be at most 24h, because the shifts of that time are kept and counted"))]
    pub within: Period,
}

fn default_reversals() -> NodeCount {
    NodeCount::Percent(10)
}

fn default_within() -> Period {
    Period::from_secs(3600)
}

impl Default for Breaker {
    fn default() -> Self {
        Self { reversals: default_reversals(), within: default_within() }
    }
}

/// What is to be remembered of a pool's breaker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakerStatus {
    /// Since when it is open; closed: none.
    // Written even then, because a merge keeps what is left out.
    #[serde(default)]
    #[schemars(with = "Option<Time>")]
    pub open_since: Option<Timestamp>,
    /// How many nodes had been moved back and forth when it opened.
    #[serde(default)]
    pub reversals: u32,
    /// The value of the annotation `switchyard.dev/reset-breaker` that was obeyed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub reset: Option<String>,
    /// When that was. Moves before it do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub reset_at: Option<Timestamp>,
}

/// A field of a crontab as a regular expression: `*`, values, ranges, steps, and lists of them.
macro_rules! cron_field {
    ($value:literal) => {
        concat!(
            "([*]|",
            $value,
            "(-",
            $value,
            ")?)(/[0-9]{1,2})?",
            "(,([*]|",
            $value,
            "(-",
            $value,
            ")?)(/[0-9]{1,2})?)*"
        )
    };
}

/// Five fields of a crontab within their bounds, or one of its nicknames.
const SCHEDULE_RULE: &str = concat!(
    "self.matches('^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|",
    cron_field!("[0-5]?[0-9]"),
    " +",
    cron_field!("([01]?[0-9]|2[0-3])"),
    " +",
    cron_field!("(0?[1-9]|[12][0-9]|3[01])"),
    " +",
    cron_field!("(0?[1-9]|1[0-2]|[A-Za-z]{3})"),
    " +",
    cron_field!("([0-7]|[A-Za-z]{3})"),
    ")$')"
);
const SCHEDULE_MESSAGE: &str = "schedule must be five fields as in a crontab, minute hour day month weekday, such as \"0 8 * * 1-5\"";
/// The API server looks the zone up, and an unknown one is an error.
const TIME_ZONE_RULE: &str = "timestamp('2000-01-01T00:00:00Z').getHours(self) >= 0";
const TIME_ZONE_MESSAGE: &str =
    "timeZone must be the name of an IANA time zone, such as America/Chicago";
const DURATION_RULE: &str = "duration(self) >= duration('1m')";
const DURATION_MESSAGE: &str = "duration must be at least 1m, such as 10h";
