//! The chart of the commit before, and an upgrade from it in the middle of a shift.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::Pod,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use serde::Serialize;
use serde_json::{Value, json};
use switchyard_api::{GPUPool, MiningProfile, NodeShift, Phase, ProfitabilitySignal, keys};
use switchyard_rig::Options;

use crate::{
    Chart, Cluster, MINING, RESEARCH, SYSTEM,
    cluster::{repository, run},
    eventually,
    objects::{BIG, JobSpec, NodeSpec, manifest},
};

const SOON: Duration = Duration::from_secs(90);

/// How an upgrade in the middle of a shift went.
#[derive(Debug, Serialize)]
pub struct Upgraded {
    /// The commit whose chart was there before; none, if there is no history to find it in: then it
    /// was this chart with other values.
    pub from: Option<String>,
    /// The shift that was under way.
    pub shift: String,
    /// How it ended.
    pub ended: Phase,
    /// Shifts that were ordered in all for the job.
    pub shifts: usize,
    /// Nodes that lost their marks.
    pub lost: usize,
}

/// The chart and the definitions of the commit before the last one that changed the chart.
struct Before {
    chart: Chart,
    commit: Option<String>,
    /// Definitions that the chart does not install itself.
    crds: Option<std::path::PathBuf>,
    _folder: tempfile::TempDir,
}

const SITE: &str = "
apiVersion: switchyard.dev/v1alpha1
kind: ProfitabilitySignal
metadata: {name: power}
spec: {unit: USDPerKWh, sources: [{name: fixed, static: {value: '0.06'}}]}
---
apiVersion: switchyard.dev/v1alpha1
kind: ProfitabilitySignal
metadata: {name: mining}
spec: {unit: USDPerMHsDay, sources: [{name: fixed, static: {value: '0.1'}}]}
";

const PROFILE: &str = "
apiVersion: switchyard.dev/v1alpha1
kind: MiningProfile
metadata: {name: etc, namespace: mining}
spec:
  coin: ETC
  algorithm: etchash
  income: {signal: mining}
  hardware: [{model: NVIDIA-GeForce-RTX-3090, hashrate: 120M, watts: 290}]
  template:
    metadata: {annotations: {rig.switchyard.dev/stop-after: 12s}}
    spec: {terminationGracePeriodSeconds: 60, containers: [{name: miner, image: miner}]}
";

const POOL: &str = "
apiVersion: switchyard.dev/v1alpha1
kind: GPUPool
metadata: {name: pool}
spec:
  nodeSelector: {matchLabels: {site: demo}}
  classes:
  - {model: NVIDIA-GeForce-RTX-3090, memoryGiB: 24, networkGbps: 10, watts: {hpcPerGPU: 320, idlePerGPU: 25, host: 350}}
  power: {price: {signal: power}}
  mining: {profiles: [{namespace: mining, name: etc}]}
  hpc: {price: {usdPerGPUHour: '1.2'}, idleAfter: 2s}
  shifting:
    mode: Active
    patience: '0'
    minDwell: {mining: 1s, hpc: 1s, idle: 1s}
    budgets: []
";

/// Installs the chart of a commit, else of the commit before, upgrades it to this one while miners of a gang's nodes are
/// still stopping, and sees the gang run.
pub async fn mid_shift(from: Option<&str>) -> Result<Upgraded> {
    let before = Before::find(from).await?;
    let cluster = Cluster::prepared(Options::default()).await?;
    before.install(&cluster).await?;
    let nodes = (0..3).map(|index| NodeSpec::gpu(format!("gpu-{index}"), BIG));
    cluster.make_nodes(nodes).await?;
    for signal in SITE.split("---") {
        cluster.create(&manifest::<ProfitabilitySignal>(signal)?).await?;
    }
    cluster.create(&manifest::<MiningProfile>(PROFILE)?).await?;
    let old = cluster.replicas().await?.swap_remove(0);
    let mut operator = cluster.operator_for(&old, &["--decide-every", "1s"]).await?;
    cluster.create(&manifest::<GPUPool>(POOL)?).await?;
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), MINING);
    eventually("three miners run", SOON, || async {
        let running = pods.list(&ListParams::default()).await?.items;
        let running = running.iter().filter(|pod| phase(pod) == "Running").count();
        ensure!(running == 3, "{running} do");
        Ok(())
    })
    .await
    .with_context(|| format!("the operator logged {}", operator.log_tail()))?;

    let jobs = Api::<Job>::namespaced(cluster.client.clone(), RESEARCH);
    jobs.create(&PostParams::default(), &JobSpec::new("gang", 8).gang(2).object()?).await?;
    let shifts = Api::<NodeShift>::all(cluster.client.clone());
    let under_way = eventually("a shift drains", SOON, || async {
        let found = shifts.list(&ListParams::default()).await?.items;
        let draining = found.into_iter().find(|shift| {
            shift.status.as_ref().is_some_and(|status| status.phase == Phase::Draining)
                && shift.spec.gang.is_some()
        });
        draining.context("none does")
    })
    .await?;
    let flags = ["--take-ownership", "--force-conflicts"].map(str::to_owned).to_vec();
    let values = vec!["image.tag=next".into()];
    cluster.helm("upgrade", &Chart { values, flags, ..Chart::of_this_tree() }).await?;

    // The kubelet's part: the old pod's process ends when the pod is deleted, the new one's begins.
    let system = Api::<Pod>::namespaced(cluster.client.clone(), SYSTEM);
    let new = eventually("new pods run", SOON, || async {
        let gone = system.get_opt(&old.name_any()).await?;
        let gone = gone.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
        ensure!(gone, "the old one is still there");
        Ok(cluster.replicas().await?.swap_remove(0))
    })
    .await?;
    operator.stop()?;
    let mut operator = cluster.operator_for(&new, &["--decide-every", "1s"]).await?;

    let researchers = Api::<Pod>::namespaced(cluster.client.clone(), RESEARCH);
    eventually("the gang runs", SOON, || async {
        let running = researchers.list(&ListParams::default()).await?.items;
        let running = running.iter().filter(|pod| phase(pod) == "Running").count();
        ensure!(running == 2, "{running} pods do");
        Ok(())
    })
    .await?;
    let ended = eventually("the shift has ended", SOON, || async {
        let shift = shifts.get(&under_way.name_any()).await?;
        ensure!(shift.metadata.uid == under_way.metadata.uid, "it is another one");
        let phase = shift.status.map(|status| status.phase).unwrap_or_default();
        ensure!(phase.is_final(), "it is {phase}");
        Ok(phase)
    })
    .await?;
    let ordered = shifts.list(&ListParams::default()).await?.items;
    let for_gang = ordered.iter().filter(|shift| shift.spec.gang.is_some());
    let (shifts, lost) = (for_gang.count(), unmarked(&cluster).await?);
    operator.stop()?;
    Ok(Upgraded { from: before.commit, shift: under_way.name_any(), ended, shifts, lost })
}

/// Nodes of the site that are not marked as the pool's.
async fn unmarked(cluster: &Cluster) -> Result<usize> {
    let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(cluster.client.clone());
    let nodes = nodes.list(&ListParams::default().labels("site=demo")).await?.items;
    let marked = |key: &str| nodes.iter().filter(|node| node.labels().contains_key(key)).count();
    Ok(nodes.len() - marked(switchyard_api::keys::POOL).min(marked(switchyard_api::keys::USE)))
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

impl Before {
    async fn find(from: Option<&str>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut chart = Chart::of_this_tree();
        let commit = match from {
            Some(commit) => Some(commit.to_owned()),
            None => commit_before().await,
        };
        let Some(commit) = commit else {
            chart.values.push("podAnnotations.before=yes".into());
            return Ok(Self { chart, commit: None, crds: None, _folder: folder });
        };
        let archive = folder.path().join("before.tar");
        let mut git = git(&["archive", "--output"]);
        git.arg(&archive).args([&commit, "charts/switchyard", "crds"]);
        run(git).await?;
        let mut tar = Command::new("tar");
        tar.arg("-xf").arg(&archive).arg("-C").arg(folder.path());
        run(tar).await?;
        chart.path = folder.path().join("charts/switchyard");
        let installs_crds = chart.path.join("templates/crds.yaml").is_file();
        let crds = (!installs_crds).then(|| folder.path().join("crds"));
        Ok(Self { chart, commit: Some(commit), crds, _folder: folder })
    }

    /// The operator of that time is not here to be run; this tree's wants to do what the chart of that
    /// time may not let it: name the leader, and look whether a person holds all pools.
    async fn lend_rights(&self, cluster: &Cluster) -> Result<()> {
        let given = std::fs::read_to_string(self.chart.path.join("templates/rbac.yaml"))?;
        let wanted = [
            (
                "leaders",
                json!({
                    "apiGroups": ["switchyard.dev"], "resources": ["leaders"],
                    "verbs": ["get", "create", "update"],
                }),
            ),
            (
                keys::HOLD,
                json!({
                    "apiGroups": [""], "resources": ["configmaps"], "resourceNames": [keys::HOLD],
                    "verbs": ["list", "watch"],
                }),
            ),
        ];
        let missing = wanted.into_iter().filter(|(word, _)| !given.contains(word));
        let rules: Vec<Value> = missing.map(|(_, rule)| rule).collect();
        if rules.is_empty() {
            return Ok(());
        }
        let named = json!({"name": "lent", "namespace": SYSTEM});
        let role: Role = serde_json::from_value(json!({"metadata": named, "rules": rules}))?;
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": named,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lent"},
            "subjects": [{"kind": "ServiceAccount", "name": "switchyard", "namespace": SYSTEM}],
        }))?;
        cluster.create(&role).await?;
        cluster.create(&binding).await.map(drop)
    }

    async fn install(&self, cluster: &Cluster) -> Result<()> {
        if let Some(crds) = &self.crds {
            let mut kubectl = cluster.plane.kubectl();
            kubectl.args(["apply", "--server-side", "-f"]).arg(crds);
            run(kubectl).await?;
        }
        cluster.helm("install", &self.chart).await?;
        self.lend_rights(cluster).await?;
        let mut wait = cluster.plane.kubectl();
        let established = ["wait", "--for=condition=Established", "--timeout=30s", "crd"];
        wait.args(established)
            .args(["gpupools", "nodeshifts"].map(|kind| kind.to_owned() + ".switchyard.dev"));
        run(wait).await?;
        Ok(())
    }
}

/// The last commit whose chart is not the chart of this tree.
async fn commit_before() -> Option<String> {
    let commits = run(git(&["log", "--format=%h", "--max-count=50", "--", "charts/switchyard"]))
        .await
        .ok()?;
    for commit in commits.lines() {
        let same = run(git(&["diff", "--quiet", commit, "--", "charts/switchyard"])).await;
        if same.is_err() {
            return Some(commit.to_owned());
        }
    }
    None
}

fn git(args: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.current_dir(repository()).args(args);
    git
}

/// Did the upgrade lose nothing?
pub fn check(upgraded: &Upgraded) -> Result<()> {
    if upgraded.ended != Phase::Completed || upgraded.shifts != 1 || upgraded.lost != 0 {
        bail!("the upgrade lost something: {upgraded:?}");
    }
    Ok(())
}
