//! The chart's README, from its values and what is said of each.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use serde_yaml::Value;

/// One value of the chart.
struct Row {
    key: String,
    default: String,
    says: String,
}

/// The chart's README.
pub fn readme(values: &str) -> Result<String> {
    let mut text = INTRODUCTION.to_owned();
    for row in rows(values)? {
        writeln!(text, "| `{}` | {} | {} |", row.key, row.default, row.says)?;
    }
    Ok(text)
}

const INTRODUCTION: &str = "# The chart

Installs Switchyard: definitions, the operator, its rights and the fences that hold it to them, alerts and dashboards.

```console
$ helm install switchyard charts/switchyard --namespace switchyard-system --create-namespace \\
    --set image.repository=registry.example.com/switchyard
```

[Installing](../../docs/guides/install.md) goes through it step by step, [fences](../../docs/fences.md) says what the
operator may do and how that is enforced.

## Values

| value | default | what it says |
|---|---|---|
";

/// One row for each value that has a comment above it. The comments of `values.yaml` are the only
/// place where a value is described.
fn rows(values: &str) -> Result<Vec<Row>> {
    let defaults: Value = serde_yaml::from_str(values)?;
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for line in values.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(said) = text.strip_prefix('#') {
            comment.push(said.trim());
            continue;
        }
        // What is neither a key nor a comment continues a default.
        let key = text.split_once(':').map(|(key, _)| key);
        let Some(key) = key.filter(|key| !key.contains([' ', '-', '{', '/'])) else {
            comment.clear();
            continue;
        };
        path.retain(|(other, _)| *other < indent);
        path.push((indent, key));
        let steps: Vec<&str> = path.iter().map(|(_, key)| *key).collect();
        let default = steps.iter().try_fold(&defaults, |at, step| at.get(*step));
        let Some(default) = default else {
            continue;
        };
        let key = steps.join(".");
        if comment.is_empty() {
            ensure!(
                default.as_mapping().is_some_and(|map| !map.is_empty()),
                "{key} is not described"
            );
            continue;
        }
        let default = serde_json::to_string(default).context("a default is no JSON")?;
        let default = if default == "\"\"" { String::new() } else { format!("`{default}`") };
        rows.push(Row { key, default, says: comment.join(" ").replace('|', "\\|") });
        comment.clear();
    }
    Ok(rows)
}
