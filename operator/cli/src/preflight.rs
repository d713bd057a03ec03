//! `switchyard preflight`.

use std::{fmt::Write, io::Read, path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;
use jiff::Timestamp;
use serde::Deserialize;
use serde_yaml::Value;
use switchyard_controller::{
    api::connect,
    preflight::{Manifests, Preview, preflight},
};

use crate::version::Output;

#[derive(ClapArgs)]
pub struct Args {
    /// Manifests of pools, and of profiles and signals that are not in the cluster yet; `-` reads them
    /// from standard input.
    #[arg(long, short, required = true, value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// How to print it.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Something is in the way.
const OBSTACLES: u8 = 2;

/// What is printed, and with which code to end.
pub fn run(args: &Args) -> anyhow::Result<(String, ExitCode)> {
    let manifests = read(&args.filename)?;
    ensure!(!manifests.pools.is_empty(), "the files declare no GPUPool");
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
    let previews = runtime.block_on(async {
        let client = connect().await?;
        Ok::<_, anyhow::Error>(preflight(&client, &manifests, Timestamp::now()).await?)
    })?;
    let clear = previews.iter().all(|preview| preview.obstacles.is_empty());
    let code = if clear { ExitCode::SUCCESS } else { OBSTACLES.into() };
    let text = match args.output {
        Output::Text => previews.iter().map(shown).collect::<Result<Vec<_>, _>>()?.join("\n"),
        Output::Json => serde_json::to_string_pretty(&previews)? + "\n",
    };
    Ok((text, code))
}

fn read(files: &[PathBuf]) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::default();
    for file in files {
        let name = file.display();
        let text = if file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            std::fs::read_to_string(file)
        };
        let text = text.with_context(|| format!("cannot read {name}"))?;
        for (index, document) in serde_yaml::Deserializer::from_str(&text).enumerate() {
            let document = Value::deserialize(document)
                .with_context(|| format!("{name}: document {} is no YAML", index + 1))?;
            take(&mut manifests, document)
                .with_context(|| format!("{name}: document {} cannot be read", index + 1))?;
        }
    }
    Ok(manifests)
}

/// Kinds that are not ours are none of our business, so that a whole folder may be given.
fn take(manifests: &mut Manifests, document: Value) -> anyhow::Result<()> {
    let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "GPUPool" => manifests.pools.push(serde_yaml::from_value(document.clone())?),
        "MiningProfile" => manifests.profiles.push(serde_yaml::from_value(document.clone())?),
        "ProfitabilitySignal" => manifests.signals.push(serde_yaml::from_value(document.clone())?),
        _ => return Ok(()),
    }
    manifests.written.push(serde_yaml::from_value(document)?);
    Ok(())
}

fn shown(preview: &Preview) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "pool {}: {} nodes match", preview.pool, preview.matched)?;
    let adopted: Vec<_> =
        preview.adopted.iter().map(|(node_use, nodes)| format!("{nodes} {node_use}")).collect();
    line(&mut text, "adopted as", &adopted)?;
    writeln!(text, "  {:<12} {} nodes, at once", "tainted", preview.tainted)?;
    let moves: Vec<_> = preview
        .moves
        .iter()
        .map(|one| format!("{} {} -> {} ({})", one.nodes, one.from, one.to, one.cause))
        .collect();
    line(&mut text, "then moved", &moves)?;
    let reasons: Vec<_> =
        preview.reasons.iter().map(|(reason, nodes)| format!("{nodes} {reason}")).collect();
    line(&mut text, "because", &reasons)?;
    if preview.obstacles.is_empty() {
        writeln!(text, "  nothing is in the way")?;
    } else {
        writeln!(text, "  in the way:")?;
    }
    for obstacle in &preview.obstacles {
        writeln!(text, "  - {}: {}", obstacle.what, obstacle.message)?;
    }
    writeln!(text, "Nothing was written.")?;
    Ok(text)
}

fn line(text: &mut String, title: &str, parts: &[String]) -> std::fmt::Result {
    let parts = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
    writeln!(text, "  {title:<12} {parts}")
}
