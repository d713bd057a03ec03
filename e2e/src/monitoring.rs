//! The expressions of the chart's dashboards and alert rules.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::repository;

/// An expression, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// Dashboard and panel, or alert.
    pub place: String,
    /// In `PromQL`.
    pub text: String,
}

/// The dashboards: file name and content.
pub fn dashboards() -> Result<Vec<(String, Value)>> {
    let mut dashboards = Vec::new();
    for entry in std::fs::read_dir(chart("dashboards"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        dashboards.push((name, serde_json::from_str(&std::fs::read_to_string(&path)?)?));
    }
    dashboards.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(dashboards)
}

/// The panels of a dashboard that show something.
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().map(Vec::as_slice).unwrap_or_default();
    panels.iter().filter(|panel| panel["type"] != "row").collect()
}

/// The alerts.
pub fn alerts() -> Result<Vec<Value>> {
    let rules: Value =
        serde_yaml::from_str(&std::fs::read_to_string(chart("rules/switchyard.yaml"))?)?;
    let groups = rules["groups"].as_array().context("no groups")?;
    Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
}

/// Every expression of dashboards and alerts, as one that is asked at one moment: variables are filled
/// in, and a comparison, which filters, becomes one that says 0 or 1.
pub fn expressions() -> Result<Vec<Expression>> {
    let mut all = Vec::new();
    for (name, dashboard) in dashboards()? {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let place = format!("{name}: {}", panel["title"].as_str().unwrap_or_default());
                all.push(Expression { place, text: text(&target["expr"])? });
            }
        }
    }
    for alert in alerts()? {
        let place = alert["alert"].as_str().unwrap_or_default().to_owned();
        all.push(Expression { place, text: as_numbers(&text(&alert["expr"])?) });
    }
    Ok(all)
}

fn text(expression: &Value) -> Result<String> {
    let text = expression.as_str().context("an expression is no text")?;
    let filled = [("$pool", ".*"), ("$__rate_interval", "10m"), ("$__range", "10m")];
    Ok(filled.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value)))
}

fn as_numbers(expression: &str) -> String {
    [" > ", " < ", " == "]
        .iter()
        .fold(expression.to_owned(), |text, sign| text.replace(sign, &format!("{sign}bool ")))
}

/// The names of our metrics in an expression; of a histogram, the histogram's.
pub fn metrics_of(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("switchyard_"));
    ours.map(|name| {
        let parts = ["_bucket", "_count", "_sum"];
        parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name).to_owned()
    })
    .collect()
}

fn chart(path: &str) -> std::path::PathBuf {
    repository().join(Path::new("charts/switchyard").join(path))
}
