//! `cargo xtask bench decide`.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{publish, rows};
use crate::run::{cargo, output, step};

/// Half of the decisions on a cluster of so many nodes take at most so many milliseconds.
const TARGETS: [(u32, f64); 2] = [(10_000, 20.0), (100_000, 300.0)];
/// What is waiting where the targets hold.
const GANGS: u32 = 500;
/// A node of the largest cluster costs at most so many times what one of 10,000 does.
const GROWTH: f64 = 2.0;

pub fn run() -> Result<()> {
    let mut printed = String::new();
    step("decisions", || {
        printed = output(cargo(&["bench", "--package", "switchyard-core", "--bench", "decide"]))?;
        Ok(())
    })?;
    let measured: Vec<Value> =
        printed.lines().map(serde_json::from_str).collect::<Result<_, _>>().context(printed)?;
    let file = rows("decide")?;
    fs::write(&file, serde_json::to_string_pretty(&measured)?)?;
    let table = format!("{}\n{}", table(&measured), verdict(&measured)?);
    println!("{table}");
    eprintln!("   rows: {}", file.display());
    publish("decide", &table)
}

fn number(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or(f64::NAN)
}

fn table(measured: &[Value]) -> String {
    let head = "|   Nodes |    Pods | Gangs | Median ms | p95 ms | Allocations | Unchanged µs |\n\
                |--------:|--------:|------:|----------:|-------:|------------:|-------------:|\n";
    let row = |row: &Value| {
        format!(
            "| {:>7} | {:>7} | {:>5} | {:>9.1} | {:>6.1} | {:>11} | {:>12.2} |\n",
            number(row, "nodes"),
            number(row, "pods"),
            number(row, "gangs"),
            number(row, "decide_ms_p50"),
            number(row, "decide_ms_p95"),
            number(row, "allocations"),
            number(row, "unchanged_us_p50"),
        )
    };
    head.to_owned() + &measured.iter().map(row).collect::<String>()
}

/// A line that says which targets hold.
fn verdict(measured: &[Value]) -> Result<String> {
    let median = |nodes: u32| {
        let row = measured.iter().find(|row| row["nodes"] == nodes && row["gangs"] == GANGS);
        row.map(|row| number(row, "decide_ms_p50")).context("a cluster was not measured")
    };
    let mut said = Vec::new();
    for (nodes, target) in TARGETS {
        let median = median(nodes)?;
        said.push(format!(
            "{nodes} nodes in {median:.1} ms (at most {target:.0}: {})",
            kept(median <= target)
        ));
    }
    let [(few, _), (many, _)] = TARGETS;
    let growth = (median(many)? / f64::from(many)) / (median(few)? / f64::from(few));
    said.push(format!("a node costs {growth:.1} times as much there: {}", kept(growth <= GROWTH)));
    Ok(format!("Targets: {}.", said.join("; ")))
}

fn kept(holds: bool) -> &'static str {
    if holds { "kept" } else { "missed" }
}
