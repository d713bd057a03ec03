//! The whole life of an installation: install, a day under the fences, upgrade, uninstall.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::Parser;
use kube::{Api, ResourceExt, api::ListParams};
use serde::Serialize;
use switchyard_api::keys;
use tokio::time::Instant;

use crate::{
    Evaluated, Prometheus,
    cluster::{Chart, run},
    demo::{self, Day},
    fences::{Grounds, Tried, try_fences},
    rbac::{reviewed, rights},
    upgrade::{self, Upgraded},
};

/// Installs the chart on a real control plane, lets a day pass under its fences while Prometheus
/// scrapes the operator, tries every fence, uninstalls, and upgrades the chart of the commit before in
/// the middle of a shift.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask e2e install")]
pub struct Args {
    /// How many GPU nodes the day has, at least 20.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(20..=5000))]
    pub nodes: u32,
    /// The commit whose chart is upgraded; by default the last one whose chart is another.
    #[arg(long, value_name = "COMMIT")]
    pub from: Option<String>,
    /// Where the report is written.
    #[arg(long, default_value = "target/e2e/install.json", value_name = "FILE")]
    pub report: PathBuf,
}

/// How it went.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How often each fence let pass and refused what it should.
    pub fences: BTreeMap<&'static str, Tried>,
    /// What was left after the uninstall.
    pub leftovers: usize,
    /// Their names.
    pub left: Vec<String>,
    /// What the hook of the uninstall said.
    pub hook: Vec<String>,
    /// Pods of miners that the uninstall left running, of those that ran before.
    pub miners_left_running: (usize, usize),
    /// The expressions of dashboards and alerts.
    pub expressions: Evaluated,
    /// Rights that nobody has reviewed.
    pub rbac_growth: usize,
    /// The day.
    pub day: demo::Report,
    /// The upgrade.
    pub upgrade: Upgraded,
    /// How long it all took, s.
    pub seconds: f64,
}

impl Report {
    /// Did all go well?
    pub fn ok(&self) -> bool {
        let (left, before) = self.miners_left_running;
        self.day.ok()
            && self.leftovers == 0
            && self.rbac_growth == 0
            && left == before
            && self.expressions.with_value == self.expressions.total
            && upgrade::check(&self.upgrade).is_ok()
    }
}

/// Runs it, and writes the report.
pub async fn trial(args: &Args) -> Result<Report> {
    let started = Instant::now();
    let grown = rights(&rendered().await?)?.difference(&reviewed()).count();
    let day = Day::begin(args.nodes).await?;
    let operator = day.stage.operator.lock().await.address.clone();
    let prometheus = Prometheus::scrape(day.stage.cluster.plane.guardian(), &operator).await?;
    let told = day.pass().await?;
    let screen = Arc::clone(&day.screen);
    screen.say("evaluating every expression of dashboards and alerts");
    let expressions = prometheus.evaluate().await?;
    screen.say("trying every fence from both sides");
    let cluster = &day.stage.cluster;
    let fences = try_fences(cluster, &grounds(&day).await?).await?;
    screen.say("uninstalling");
    let before = miners(cluster).await?;
    let hook = {
        let mut operator = day.stage.operator.lock().await;
        cluster.uninstall(&mut operator).await?
    };
    let left = cluster.leftovers().await?;
    let after = miners(cluster).await?;
    let stayed = before.iter().filter(|pod| after.contains(pod)).count();
    drop(prometheus);
    drop(day);

    screen.say("upgrading from the chart of the commit before, in the middle of a shift");
    let upgrade = upgrade::mid_shift(args.from.as_deref()).await?;
    let report = Report {
        fences,
        leftovers: left.len(),
        left,
        hook: hook.lines().map(str::to_owned).collect(),
        miners_left_running: (stayed, before.len()),
        expressions,
        rbac_growth: grown,
        day: told,
        upgrade,
        seconds: started.elapsed().as_secs_f64(),
    };
    if let Some(folder) = args.report.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&args.report, serde_json::to_string_pretty(&report)? + "\n")?;
    Ok(report)
}

async fn rendered() -> Result<String> {
    let helm = switchyard_rig::Binaries::resolve_only(&[switchyard_rig::Tool::Helm])?;
    let mut helm = helm.command(switchyard_rig::Tool::Helm)?;
    helm.args(["template", "switchyard"]).arg(Chart::of_this_tree().path);
    helm.args(["--namespace", crate::SYSTEM]);
    run(helm).await
}

async fn grounds(day: &Day) -> Result<Grounds> {
    let sets = Api::<k8s_openapi::api::apps::v1::DaemonSet>::namespaced(
        day.stage.cluster.client.clone(),
        crate::MINING,
    );
    let sets = sets.list(&ListParams::default().labels(keys::POOL)).await?.items;
    // One that carries nobody else's taint, because a merge replaces them all.
    let node = day.stage.plan.nodes.iter().find(|node| node.taints.is_empty());
    Ok(Grounds {
        node: node.context("no node")?.name.clone(),
        control_plane: day.stage.plan.bystanders.first().context("no bystander")?.name.clone(),
        pool: "demo".into(),
        miners: sets.first().context("no miners")?.name_any(),
        foreign: "device-plugin".into(),
    })
}

/// The pods of miners by UID.
async fn miners(cluster: &crate::Cluster) -> Result<Vec<Option<String>>> {
    let pods =
        Api::<k8s_openapi::api::core::v1::Pod>::namespaced(cluster.client.clone(), crate::MINING);
    let pods = pods.list(&ListParams::default().labels(keys::POOL)).await?;
    let there = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(there.map(|pod| pod.metadata.uid).collect())
}
