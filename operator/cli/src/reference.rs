//! Pages of the reference, from what the code itself says.

use std::fmt::Write;

use anyhow::{Context, Result};
use clap::ValueEnum;
use clap_markdown::MarkdownOptions;
use serde_json::Value;
use switchyard_controller::Metrics;

use crate::Cli;

/// A page.
#[derive(Clone, Copy, ValueEnum)]
pub enum Page {
    /// The custom resources, field by field.
    Api,
    /// The metrics.
    Metrics,
    /// The command line.
    Cli,
}

/// A page as Markdown.
pub fn page(page: Page) -> Result<String> {
    match page {
        Page::Api => api(),
        Page::Metrics => metrics(),
        Page::Cli => {
            let plain = MarkdownOptions::new().show_footer(false);
            Ok(clap_markdown::help_markdown_custom::<Cli>(&plain))
        }
    }
}

fn metrics() -> Result<String> {
    let mut text =
        "# Metrics\n\nServed at `/metrics`. Labels come from closed sets and from the names \
                    of pools and signals, so the number of series does not grow with the nodes.\n\n\
                    | metric | labels | what it says |\n|---|---|---|\n"
            .to_owned();
    for metric in Metrics::new()?.described() {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(text, "| `{}` | {} | {} |", metric.name, labels.join(", "), metric.help)?;
    }
    Ok(text)
}

fn api() -> Result<String> {
    let mut text =
        "# Custom resources\n\nGroup `switchyard.dev`, version `v1alpha1`. `kubectl explain` \
                    shows the same.\n"
            .to_owned();
    for crd in switchyard_api::crds() {
        let names = &crd.spec.names;
        let short = names.short_names.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
        let version = crd.spec.versions.first().context("a definition has no version")?;
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let schema = serde_json::to_value(schema)?;
        writeln!(text, "\n## {}\n\n{}", names.kind, one_line(&schema["description"]))?;
        let short = if short.is_empty() { names.plural.clone() } else { short };
        writeln!(text, "\n{}, `kubectl get {short}`.", crd.spec.scope)?;
        for part in ["spec", "status"] {
            if schema["properties"][part].is_null() {
                continue;
            }
            writeln!(
                text,
                "\n### {} {part}\n\n| field | type | default | meaning |\n|---|---|---|---|",
                names.kind
            )?;
            fields(&mut text, &schema["properties"][part], "")?;
        }
    }
    Ok(text)
}

/// One row for each field, depth first. Standard types of Kubernetes are not opened up.
fn fields(text: &mut String, schema: &Value, path: &str) -> Result<()> {
    let Some(properties) = schema["properties"].as_object() else {
        return Ok(());
    };
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let default = match &field["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".into(),
            Value::Null | Value::Object(_) => String::new(),
            value => format!("`{value}`"),
        };
        let meaning = one_line(&field["description"]);
        writeln!(text, "| `{path}` | {} | {default} | {meaning} |", type_of(field))?;
        let standard = ["conditions", "nodeSelector", "podSelector", "template"];
        if standard.contains(&name.as_str()) {
            continue;
        }
        match field["type"].as_str() {
            Some("array") => fields(text, &field["items"], &format!("{path}[]"))?,
            _ => fields(text, field, &path)?,
        }
    }
    Ok(())
}

fn type_of(field: &Value) -> String {
    if field["x-kubernetes-int-or-string"] == true {
        return "integer or percentage".into();
    }
    if let Some(values) = field["enum"].as_array() {
        return values
            .iter()
            .filter(|value| !value.is_null())
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    match field["type"].as_str() {
        Some("array") => format!("list of {}", type_of(&field["items"])),
        Some(name) => name.into(),
        None => String::new(),
    }
}

fn one_line(text: &Value) -> String {
    text.as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}
