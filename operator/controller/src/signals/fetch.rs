//! Reads one source once: a constant, a number in a JSON document, or the answer to a query.
//!
//! An answer is hostile until it is a finite number: it may be late, huge, empty or nonsense. What it
//! says is never repeated in a status, an Event or a log.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use jsonpath_rust::JsonPath;
use reqwest::{Client, StatusCode, Url, redirect::Policy};
use serde::Deserialize;
use serde_json::Value;
use switchyard_api::{ForecastDocument, HttpSource, PrometheusSource, Reason, Source};

const TIMEOUT: Duration = Duration::from_secs(5);
const LARGEST: usize = 64 * 1024;

/// Why a source was not read: which field to look at, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub remedy: String,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.remedy, self.reason)
    }
}

impl SourceError {
    fn new(reason: Reason, remedy: impl Into<String>) -> Self {
        Self { reason, remedy: remedy.into() }
    }
}

/// Reads sources.
#[derive(Debug, Clone)]
pub struct Fetcher {
    http: Client,
}

impl Fetcher {
    /// A fetcher that follows no redirect, knows no proxy and waits five seconds at most.
    pub fn new() -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .user_agent(concat!("switchyard/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http })
    }

    /// Reads a source.
    pub async fn read(&self, source: &Source) -> Result<f64, SourceError> {
        match (&source.constant, &source.http, &source.prometheus) {
            (Some(constant), _, _) => Ok(constant.value.value()),
            (_, Some(http), _) => self.document(http).await,
            (_, _, Some(prometheus)) => self.query(prometheus).await,
            (None, None, None) => {
                let remedy = "give one of static, http and prometheus";
                Err(SourceError::new(Reason::BadExpression, remedy))
            }
        }
    }

    async fn document(&self, source: &HttpSource) -> Result<f64, SourceError> {
        let url = parse_url(&source.url)?;
        let body = self.get(url, "http.url").await?;
        number_at(&body, &source.json_path)
    }

    async fn query(&self, source: &PrometheusSource) -> Result<f64, SourceError> {
        let mut url = parse_url(&format!("{}/api/v1/query", source.url.trim_end_matches('/')))?;
        url.query_pairs_mut().append_pair("query", &source.query);
        let body = self.get(url, "prometheus.url").await?;
        sample(&body)
    }

    /// Reads future values.
    pub async fn future(
        &self,
        source: &ForecastDocument,
    ) -> Result<Vec<(Timestamp, f64)>, SourceError> {
        let url = parse_url(&source.url)?;
        let body = self.get(url, "forecast.http.url").await?;
        series(&body, &source.times_path, &source.values_path)
    }

    /// Gets a JSON document of bounded size.
    async fn get(&self, url: Url, field: &str) -> Result<Value, SourceError> {
        let sent = self.http.get(url).send().await;
        let mut answer = sent.map_err(|error| unreachable(&error, field))?;
        if answer.status() != StatusCode::OK {
            let remedy = format!("the server answers {}: check {field}", answer.status().as_u16());
            return Err(SourceError::new(Reason::ErrorStatus, remedy));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error, field))? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST {
                let remedy = format!(
                    "the answer is larger than 64 KiB: point {field} at a smaller document"
                );
                return Err(SourceError::new(Reason::TooLarge, remedy));
            }
        }
        serde_json::from_slice(&body).map_err(|_| {
            SourceError::new(Reason::NotJson, format!("the answer is not JSON: check {field}"))
        })
    }
}

fn parse_url(text: &str) -> Result<Url, SourceError> {
    Url::parse(text).map_err(|_| {
        SourceError::new(
            Reason::BadExpression,
            "the url cannot be read: write it as https://host/path",
        )
    })
}

fn unreachable(error: &reqwest::Error, field: &str) -> SourceError {
    if error.is_timeout() {
        let remedy = format!("no answer within {} s: check {field}", TIMEOUT.as_secs());
        return SourceError::new(Reason::TimedOut, remedy);
    }
    SourceError::new(
        Reason::Unreachable,
        format!("the server cannot be reached: check {field} and the network policy"),
    )
}

/// What a JSONPath finds in a document.
fn found<'d>(document: &'d Value, path: &str, field: &str) -> Result<Vec<&'d Value>, SourceError> {
    document.query(path).map_err(|_| {
        let remedy =
            format!("{field} cannot be read: write it as in RFC 9535, such as $.data.price");
        SourceError::new(Reason::BadExpression, remedy)
    })
}

/// The values that two JSONPaths find, each with its time.
fn series(
    document: &Value,
    times_path: &str,
    values_path: &str,
) -> Result<Vec<(Timestamp, f64)>, SourceError> {
    let times = found(document, times_path, "forecast.http.timesPath")?;
    let values = found(document, values_path, "forecast.http.valuesPath")?;
    if times.is_empty() || times.len() != values.len() {
        let remedy = format!(
            "forecast.http finds {} times and {} values: make timesPath and valuesPath find as many",
            times.len(),
            values.len()
        );
        let reason = if times.is_empty() { Reason::Empty } else { Reason::Ambiguous };
        return Err(SourceError::new(reason, remedy));
    }
    let pairs = times.into_iter().zip(values);
    pairs.map(|(at, value)| Ok((time(at)?, number(value)?))).collect()
}

/// Seconds or milliseconds since 1970, or RFC 3339.
fn time(value: &Value) -> Result<Timestamp, SourceError> {
    // As seconds, it would be in the year 5138.
    const MILLISECONDS_FROM: i64 = 100_000_000_000;
    let time = match value {
        Value::Number(number) => number.as_i64().and_then(|number| {
            let read = match number {
                MILLISECONDS_FROM.. => Timestamp::from_millisecond(number),
                _ => Timestamp::from_second(number),
            };
            read.ok()
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    time.ok_or_else(|| {
        let remedy = "a time is neither seconds nor milliseconds since 1970 nor RFC 3339: check \
                      forecast.http.timesPath";
        SourceError::new(Reason::BadExpression, remedy)
    })
}

/// The one number that a JSONPath finds in a document.
fn number_at(document: &Value, path: &str) -> Result<f64, SourceError> {
    let found = found(document, path, "http.jsonPath")?;
    match found.as_slice() {
        [] => Err(SourceError::new(
            Reason::Empty,
            "http.jsonPath finds nothing in the answer: check both",
        )),
        [one] => number(one),
        _ => Err(SourceError::new(
            Reason::Ambiguous,
            "http.jsonPath finds several values: make it find one",
        )),
    }
}

/// A finite number, or a string that spells one.
fn number(value: &Value) -> Result<f64, SourceError> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite()).ok_or_else(|| {
        SourceError::new(
            Reason::NotANumber,
            "the value is no finite number: check what the source serves",
        )
    })
}

/// Prometheus' answer to an instant query, as its HTTP API documents it.
#[derive(Deserialize)]
struct QueryAnswer {
    data: QueryData,
}

#[derive(Deserialize)]
struct QueryData {
    #[serde(rename = "resultType")]
    kind: String,
    result: Value,
}

fn sample(body: &Value) -> Result<f64, SourceError> {
    let answer = QueryAnswer::deserialize(body).map_err(|_| {
        SourceError::new(Reason::NotJson, "the answer is not Prometheus': check prometheus.url")
    })?;
    let value = match answer.data.kind.as_str() {
        "scalar" => answer.data.result.get(1),
        "vector" => match answer.data.result.as_array().map(Vec::as_slice) {
            Some([one]) => one.get("value").and_then(|value| value.get(1)),
            Some([_, ..]) => {
                let remedy = "prometheus.query finds several series: aggregate them to one";
                return Err(SourceError::new(Reason::Ambiguous, remedy));
            }
            _ => None,
        },
        _ => {
            let remedy = "prometheus.query must give a scalar or an instant vector";
            return Err(SourceError::new(Reason::BadExpression, remedy));
        }
    };
    let empty =
        || SourceError::new(Reason::Empty, "prometheus.query finds no series: is it scraped?");
    number(value.ok_or_else(empty)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!({"price": 0.25}), "$.price", Ok(0.25))]
    #[case(json!({"prices": [{"v": "0.5"}]}), "$.prices[0].v", Ok(0.5))]
    #[case(json!({}), "$.price", Err(Reason::Empty))]
    #[case(json!({"price": null}), "$.price", Err(Reason::NotANumber))]
    #[case(json!({"price": "NaN"}), "$.price", Err(Reason::NotANumber))]
    #[case(json!({"price": "inf"}), "$.price", Err(Reason::NotANumber))]
    #[case(json!({"a": 1, "b": 2}), "$.*", Err(Reason::Ambiguous))]
    #[case(json!({"a": 1}), "$[", Err(Reason::BadExpression))]
    fn documents(#[case] body: Value, #[case] path: &str, #[case] expected: Result<f64, Reason>) {
        assert_eq!(number_at(&body, path).map_err(|error| error.reason), expected);
    }

    #[rstest]
    #[case::seconds(json!({"t": [3600, 7200], "v": [1, "2.5"]}), Ok(vec![(3600, 1.0), (7200, 2.5)]))]
    #[case::milliseconds(json!({"t": [1_767_225_600_000_i64], "v": [1]}), Ok(vec![(1_767_225_600, 1.0)]))]
    #[case::text(json!({"t": ["1970-01-01T01:00:00+01:00"], "v": [3]}), Ok(vec![(0, 3.0)]))]
    #[case::none(json!({"t": [], "v": []}), Err(Reason::Empty))]
    #[case::fewer_values(json!({"t": [0, 1], "v": [1]}), Err(Reason::Ambiguous))]
    #[case::no_time(json!({"t": ["soon"], "v": [1]}), Err(Reason::BadExpression))]
    #[case::no_number(json!({"t": [0], "v": [null]}), Err(Reason::NotANumber))]
    fn forecasts(#[case] body: Value, #[case] expected: Result<Vec<(i64, f64)>, Reason>) {
        let read = series(&body, "$.t[*]", "$.v[*]").map_err(|error| error.reason);
        let read = read.map(|points| {
            points.into_iter().map(|(time, value)| (time.as_second(), value)).collect::<Vec<_>>()
        });
        assert_eq!(read, expected);
    }

    #[rstest]
    #[case(json!({"data": {"resultType": "scalar", "result": [0, "2.5"]}}), Ok(2.5))]
    #[case(json!({"data": {"resultType": "vector", "result": [{"value": [0, "2.5"]}]}}), Ok(2.5))]
    #[case(json!({"data": {"resultType": "vector", "result": []}}), Err(Reason::Empty))]
    #[case(json!({"data": {"resultType": "vector", "result": [{"value": [0, "NaN"]}]}}), Err(Reason::NotANumber))]
    #[case(json!({"data": {"resultType": "vector", "result": [{"value": [0, "1"]}, {"value": [0, "2"]}]}}), Err(Reason::Ambiguous))]
    #[case(json!({"data": {"resultType": "matrix", "result": []}}), Err(Reason::BadExpression))]
    #[case(json!({"status": "success"}), Err(Reason::NotJson))]
    fn samples(#[case] body: Value, #[case] expected: Result<f64, Reason>) {
        assert_eq!(sample(&body).map_err(|error| error.reason), expected);
    }
}
