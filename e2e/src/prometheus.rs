//! A real Prometheus that scrapes the real operator.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use switchyard_rig::{Binaries, Child, Guardian, Tool, free_port};

use crate::{cluster::repository, eventually, monitoring::expressions};

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    address: String,
    _process: Child,
}

/// How many expressions of the chart have a value.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Evaluated {
    /// All of them.
    pub total: usize,
    /// Those with at least one finite number.
    pub with_value: usize,
    /// The others.
    pub without: Vec<String>,
}

impl Prometheus {
    /// Starts to scrape an operator, once a second, with the chart's alerts loaded.
    pub async fn scrape(guardian: &Guardian, operator: &str) -> Result<Self> {
        let tools = Binaries::resolve_only(&Tool::MONITORING)?;
        let (folder, address) =
            (guardian.dir().join("prometheus"), format!("127.0.0.1:{}", free_port()?));
        std::fs::create_dir_all(&folder)?;
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [repository().join("charts/switchyard/rules/switchyard.yaml")],
            "scrape_configs": [{
                "job_name": "switchyard", "static_configs": [{"targets": [operator]}],
            }],
        });
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config.to_string())?;
        let mut command = tools.command(Tool::Prometheus)?;
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let process = guardian.spawn("prometheus", &command)?;
        let prometheus = Self { address, _process: process };
        eventually("Prometheus scrapes the operator", Duration::from_secs(30), || async {
            let up = prometheus.query("up == 1").await?;
            ensure!(!up.is_empty(), "it does not");
            Ok(())
        })
        .await?;
        Ok(prometheus)
    }

    /// The values of an expression at this moment.
    pub async fn query(&self, expression: &str) -> Result<Vec<f64>> {
        let url = format!("http://{}/api/v1/query", self.address);
        let answer = reqwest::Client::new().get(url).query(&[("query", expression)]).send().await?;
        let answer: Value = answer.json().await?;
        ensure!(answer["status"] == "success", "{expression}: {}", answer["error"]);
        let result = &answer["data"]["result"];
        let samples = result.as_array().context("no result")?;
        let number = |sample: &Value| sample["value"][1].as_str()?.parse().ok();
        Ok(samples.iter().filter_map(number).collect())
    }

    /// Evaluates every expression of dashboards and alerts.
    pub async fn evaluate(&self) -> Result<Evaluated> {
        let mut evaluated = Evaluated::default();
        for expression in expressions()? {
            evaluated.total += 1;
            let values = self.query(&expression.text).await?;
            if values.iter().any(|value| value.is_finite()) {
                evaluated.with_value += 1;
            } else {
                evaluated.without.push(format!("{}: {}", expression.place, expression.text));
            }
        }
        Ok(evaluated)
    }
}
