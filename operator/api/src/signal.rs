use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Decimal, Period, Reason};

/// One governed number over time: a power price, a mining income, an HPC price.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchyard.dev",
    version = "v1alpha1",
    kind = "ProfitabilitySignal",
    plural = "profitabilitysignals",
    shortname = "signal",
    category = "switchyard",
    status = "ProfitabilitySignalStatus",
    derive = "PartialEq",
    doc = "One governed number over time: a power price, a mining income, an HPC price.",
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("metadata.name is used as a metric label: choose one of at most 63 characters"),
    printcolumn(name = "Value", type_ = "string", json_path = ".status.value"),
    printcolumn(name = "Unit", type_ = "string", json_path = ".spec.unit"),
    printcolumn(name = "Trusted", type_ = "string", json_path = ".status.conditions[?(@.type==\"Trusted\")].status"),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.time", description = "When the value was last read"),
    printcolumn(name = "Why", type_ = "string", json_path = ".status.conditions[?(@.type==\"Trusted\")].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.quorum) || self.quorum <= size(self.sources)")
    .message("quorum asks for more sources than there are: lower quorum or add sources"))]
#[x_kube(validation = Rule::new("!has(self.forecast) || self.unit in ['USDPerKWh', 'USDPerMWh']")
    .message("forecast is read for energy prices only: remove it, or set unit to USDPerKWh or USDPerMWh"))]
#[x_kube(validation = Rule::new("duration(self.interval) >= duration('1s')")
    .message("interval must be at least 1s"))]
#[x_kube(validation = Rule::new("duration(self.maxAge) >= duration(self.interval)")
    .message("maxAge is shorter than interval, so the value would be too old before it is read again: raise maxAge or lower interval"))]
pub struct ProfitabilitySignalSpec {
    /// What the number means.
    pub unit: Unit,
    /// How often the sources are read: at whole multiples of it since 1970, so that an hourly price
    /// with an interval of `1h` is read right after the hour.
    #[serde(default = "default_interval")]
    pub interval: Period,
    /// How old a value may be before it is no longer trusted. The last value is held until then.
    #[serde(default = "default_max_age")]
    pub max_age: Period,
    /// Where the number is read. Of several, the median counts, so that one of three may lie.
    #[schemars(length(min = 1, max = 5))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub sources: Vec<Source>,
    /// How many sources must answer; by default more than half of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub quorum: Option<u32>,
    /// Where its future is published, such as day-ahead prices of power. It only decides when a move that
    /// pays anyway is made, and only while nodes that follow it would have earned more than others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<ForecastSource>,
}

fn default_interval() -> Period {
    Period::from_secs(60)
}

fn default_max_age() -> Period {
    Period::from_secs(900)
}

impl ProfitabilitySignalSpec {
    /// How many sources must answer.
    pub fn required_sources(&self) -> usize {
        let majority = self.sources.len() / 2 + 1;
        self.quorum.and_then(|quorum| usize::try_from(quorum).ok()).unwrap_or(majority)
    }
}

/// What a signal's number means.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumIter,
)]
pub enum Unit {
    /// Energy price.
    USDPerKWh,
    /// Energy price, as exchanges quote it.
    USDPerMWh,
    /// HPC price.
    USDPerGPUHour,
    /// Mining income of one MH/s, before the pool's fee.
    USDPerMHsDay,
    /// Mining income of one GH/s, before the pool's fee.
    USDPerGHsDay,
    /// Mining income of one TH/s, before the pool's fee.
    USDPerTHsDay,
}

/// One place where a number is read.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("(has(self.static) ? 1 : 0) + (has(self.http) ? 1 : 0) + (has(self.prometheus) ? 1 : 0) == 1")
    .message("give exactly one of static, http and prometheus"))]
pub struct Source {
    /// Its name in status and metrics.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// A constant.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub constant: Option<StaticSource>,
    /// A number in a JSON document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSource>,
    /// The answer to a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSource>,
}

/// A constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StaticSource {
    /// The number, in the signal's unit.
    pub value: Decimal,
}

/// A number in a JSON document that is fetched by GET. Redirects are not followed, and an answer may
/// have up to 64 KiB.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpSource {
    /// Address of the document.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && (url(self).getScheme() == 'https' || url(self).getScheme() == 'http')")
        .message("url must start with https:// or http:// and name a host"))]
    pub url: String,
    /// JSONPath (RFC 9535) of the number, which must match exactly once: `$.data.price`.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\$"))]
    pub json_path: String,
}

/// The answer to a PromQL query: a scalar or a vector of exactly one element.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrometheusSource {
    /// Address of the server, without `/api/v1`.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && (url(self).getScheme() == 'https' || url(self).getScheme() == 'http')")
        .message("url must start with https:// or http:// and name a host"))]
    pub url: String,
    /// The query.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
}

/// Where future values are published.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("duration(self.interval) >= duration('10s')")
    .message("forecast.interval must be at least 10s"))]
pub struct ForecastSource {
    /// How often they are read.
    #[serde(default = "default_forecast_interval")]
    pub interval: Period,
    /// A JSON document.
    pub http: ForecastDocument,
}

fn default_forecast_interval() -> Period {
    Period::from_secs(900)
}

/// Times and values in a JSON document that is fetched by GET, in the signal's unit. Each value holds
/// until the next time. Redirects are not followed, and an answer may have up to 64 KiB.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForecastDocument {
    /// Address of the document.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && (url(self).getScheme() == 'https' || url(self).getScheme() == 'http')")
        .message("url must start with https:// or http:// and name a host"))]
    pub url: String,
    /// JSONPath (RFC 9535) of the times: seconds or milliseconds since 1970, or RFC 3339.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\$"))]
    pub times_path: String,
    /// JSONPath (RFC 9535) of the values, as many as times and in their order.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\$"))]
    pub values_path: String,
}

/// What was read last, and how far it is to be trusted. Never the text of an answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfitabilitySignalStatus {
    /// The generation of the spec that this status is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// The median of the sources, in the signal's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Decimal>,
    /// When the value was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub time: Option<Timestamp>,
    /// `Trusted`: may a decision rest on the value?
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Each source by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, SourceStatus>,
    /// What is known of its future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<ForecastStatus>,
}

/// What is known of a signal's future.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForecastStatus {
    /// Until when, by what was read last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub until: Option<Timestamp>,
    /// `SourceRead`, or why it could not be read: then what was read before still counts.
    pub reason: Reason,
    /// What to do about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How reading one source went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceStatus {
    /// What it said, in the signal's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Decimal>,
    /// `SourceRead`, or why it could not be read.
    pub reason: Reason,
}
