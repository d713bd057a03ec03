//! The story of a day: jobs come and go, power spikes, income falls, a source lies, a signal fails.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use switchyard_api::{ConditionType, Use};

use super::{
    screen::Screen,
    stage::{Plan, Stage},
};
use crate::{
    Answer,
    objects::{BIG, JobSpec, NodeSpec, SMALL},
};

/// Power at a normal hour, USD per kWh.
const POWER: f64 = 0.06;
/// Power at a peak: more than any coin earns.
const PEAK: f64 = 4.0;
/// Mining income, USD per MH/s and day.
const INCOME: f64 = 0.10;

/// The scene of the day: three of five nodes have big GPUs.
pub fn plan(nodes: u32) -> Plan {
    let big = nodes * 3 / 5;
    let nodes = (0..nodes).map(|index| {
        let node = NodeSpec::gpu(format!("gpu-{index:04}"), if index < big { BIG } else { SMALL });
        // Somebody else's taint and label, which have to survive everything.
        match index % 10 {
            0 => node.taint("example.com/noisy", "PreferNoSchedule"),
            1 => node.label("example.com/rack", "r7"),
            _ => node,
        }
    });
    let control_plane = NodeSpec::gpu("control-plane-0", BIG)
        .label(switchyard_api::keys::CONTROL_PLANE, "")
        .taint(switchyard_api::keys::CONTROL_PLANE, "NoSchedule");
    Plan {
        nodes: nodes.collect(),
        bystanders: vec![control_plane],
        prices: vec![
            ("power-a", POWER),
            ("power-b", POWER * 1.01),
            ("power-c", POWER * 0.99),
            ("mining-etc", INCOME),
            ("mining-rvn", INCOME * 0.9),
            ("gpu-hour", 1.2),
        ],
        signals: vec![
            power_signal(),
            http_signal("mining-etc", "USDPerMHsDay"),
            http_signal("mining-rvn", "USDPerMHsDay"),
            http_signal("gpu-hour", "USDPerGPUHour"),
        ],
        profiles: vec![profile("etc", "etchash"), profile("rvn", "kawpow")],
        pool: POOL.into(),
        speed: 1,
        expected: Arc::new(|model, price| {
            let median = {
                let mut power = [price("power-a")?, price("power-b")?, price("power-c")?];
                power.sort_by(f64::total_cmp);
                power[1]
            };
            let best = price("mining-etc")?.max(price("mining-rvn")?);
            let (rate, mining, idle) =
                if model == BIG { (120.0, 290.0, 25.0) } else { (45.0, 200.0, 15.0) };
            // What mining earns beyond idling, for a GPU and hour.
            let gain = rate * best / 24.0 * 0.99 - (mining - idle) / 1000.0 * 1.1 * median;
            Some(if gain > 0.0 { Use::Mining } else { Use::Idle })
        }),
    }
}

const POOL: &str = "
apiVersion: switchyard.dev/v1alpha1
kind: GPUPool
metadata: {name: demo}
spec:
  nodeSelector: {matchLabels: {site: demo}}
  classes:
  - {model: NVIDIA-GeForce-RTX-3090, memoryGiB: 24, networkGbps: 10, watts: {hpcPerGPU: 320, idlePerGPU: 25, host: 350}}
  - {model: NVIDIA-GeForce-GTX-1080-Ti, memoryGiB: 11, networkGbps: 1, watts: {hpcPerGPU: 230, idlePerGPU: 15, host: 350}}
  power: {price: {signal: power}, pue: '1.10'}
  mining: {profiles: [{namespace: mining, name: etc}, {namespace: mining, name: rvn}]}
  hpc:
    price:
      signal: gpu-hour
      podAnnotation: {namespaces: [research], maxUSDPerGPUHour: '20'}
    eligibility: {memoryGiB: 16, networkGbps: 10}
    idleAfter: 4s
  shifting:
    mode: Active
    patience: '0'
    minDwell: {mining: 4s, hpc: 4s, idle: 4s}
    budgets: [{nodes: 40%}]
    breaker: {within: 0s}
    drainTimeout: {mining: 30s, hpc: 30s}
";

fn power_signal() -> String {
    let source = |name: &str| {
        format!("  - {{name: {name}, http: {{url: SIGNALS/power-{name}, jsonPath: $.value}}}}\n")
    };
    format!(
        "
apiVersion: switchyard.dev/v1alpha1
kind: ProfitabilitySignal
metadata: {{name: power}}
spec:
  unit: USDPerKWh
  interval: 1s
  maxAge: 8s
  sources:
{}{}{}",
        source("a"),
        source("b"),
        source("c")
    )
}

fn http_signal(name: &str, unit: &str) -> String {
    format!(
        "
apiVersion: switchyard.dev/v1alpha1
kind: ProfitabilitySignal
metadata: {{name: {name}}}
spec:
  unit: {unit}
  interval: 1s
  maxAge: 8s
  sources:
  - {{name: web, http: {{url: SIGNALS/{name}, jsonPath: $.value}}}}
"
    )
}

fn profile(coin: &str, algorithm: &str) -> String {
    format!(
        "
apiVersion: switchyard.dev/v1alpha1
kind: MiningProfile
metadata: {{name: {coin}, namespace: mining}}
spec:
  coin: {coin}
  algorithm: {algorithm}
  poolFeePercent: '1'
  income: {{signal: mining-{coin}}}
  hardware:
  - {{model: NVIDIA-GeForce-RTX-3090, hashrate: 120M, watts: 290}}
  - {{model: NVIDIA-GeForce-GTX-1080-Ti, hashrate: 45M, watts: 200}}
  template:
    metadata: {{annotations: {{rig.switchyard.dev/stop-after: 1s}}}}
    spec:
      terminationGracePeriodSeconds: 10
      containers: [{{name: miner, image: miner}}]
"
    )
}

/// Tells the story.
pub async fn tell(stage: &Stage, screen: &Screen) -> Result<()> {
    let all = stage.plan.nodes.len();
    screen.say("00:00  nothing is asked for: every node should mine");
    everything_mines(stage).await?;
    jobs_come_and_go(stage, screen).await?;
    power_spikes(stage, screen, all).await?;
    a_source_lies(stage, screen).await?;
    income_falls(stage, screen).await?;
    signals_fail(stage, screen).await?;
    a_node_is_repaired(stage, screen).await
}

async fn jobs_come_and_go(stage: &Stage, screen: &Screen) -> Result<()> {
    screen.say("07:00  jobs arrive: single nodes, gangs, single GPUs");
    // A third of the big nodes for single jobs, a third for gangs of four; and some GPUs here and there.
    let (singles, gangs) = (big(stage) / 3, big(stage) / 12);
    let run = |job: JobSpec| job.runs_for(Duration::from_secs(12));
    let gang = (0..gangs).map(|index| run(JobSpec::new(format!("gang-{index}"), 8).gang(4)));
    let single = (0..singles).map(|index| run(JobSpec::new(format!("single-{index}"), 8)));
    let gpu = (0..16).map(|index| run(JobSpec::new(format!("gpu-{index}"), 1)));
    stage.give(gang.chain(single).chain(gpu).collect()).await?;
    let needed = singles + gangs * 4;
    stage.until("jobs have their nodes", 90, || at_least(stage, Use::Hpc, needed)).await?;
    stage.until_jobs_are_done(120).await?;
    screen.say("11:00  the jobs are done: nodes go back to mining");
    everything_mines(stage).await
}

async fn power_spikes(stage: &Stage, screen: &Screen, all: usize) -> Result<()> {
    screen.say("12:00  power spikes: mining costs more than it earns");
    set_power(stage, PEAK);
    stage.until("every node idles", 90, || in_use(stage, Use::Idle, all)).await?;
    screen.say("13:00  a job that pays for its power comes in the middle of it");
    let rich = JobSpec::new("rich", 8).gang(2).runs_for(Duration::from_secs(5)).pays(9.0);
    stage.give(vec![rich]).await?;
    stage.until_jobs_are_done(60).await?;
    screen.say("14:00  power is cheap again");
    set_power(stage, POWER);
    everything_mines(stage).await
}

async fn a_source_lies(stage: &Stage, screen: &Screen) -> Result<()> {
    screen.say("15:00  one of three power sources says a thousand times too much: nothing happens");
    stage.prices.set("power-b", POWER * 1000.0);
    unmoved(stage, 4).await?;
    stage.prices.set("power-b", POWER * 1.01);
    Ok(())
}

async fn income_falls(stage: &Stage, screen: &Screen) -> Result<()> {
    screen.say(
        "16:00  incomes fall: big nodes change to the other coin, for small ones neither pays",
    );
    stage.prices.set("mining-rvn", INCOME * 0.25);
    stage.prices.set("mining-etc", INCOME * 0.2);
    set_power(stage, 0.30);
    let big = big(stage);
    stage.until("small nodes idle, big ones mine", 90, || in_use(stage, Use::Mining, big)).await?;
    usual_incomes(stage);
    set_power(stage, POWER);
    everything_mines(stage).await
}

async fn signals_fail(stage: &Stage, screen: &Screen) -> Result<()> {
    screen.say("18:00  both incomes fail: nothing is moved for a price while nobody knows them");
    stage.prices.answer("mining-etc", Answer::Status(500));
    stage.prices.answer("mining-rvn", Answer::Empty);
    stage.until("the incomes are not trusted", 60, || signals_are_untrusted(stage)).await?;
    set_power(stage, PEAK);
    unmoved(stage, 4).await?;
    screen.say("19:00  jobs are served all the same");
    set_power(stage, POWER);
    let evening = (0..4)
        .map(|index| JobSpec::new(format!("evening-{index}"), 8).runs_for(Duration::from_secs(6)));
    stage.give(evening.collect()).await?;
    stage.until_jobs_are_done(60).await?;
    usual_incomes(stage);
    Ok(())
}

async fn a_node_is_repaired(stage: &Stage, screen: &Screen) -> Result<()> {
    screen.say("22:00  a person cordons a node to replace a GPU, and is done with it");
    everything_mines(stage).await?;
    let nodes = Api::<Node>::all(stage.cluster.client.clone());
    let broken = stage.plan.nodes.last().map_or("", |node| node.name.as_str());
    nodes.cordon(broken).await?;
    stage
        .until("the cordoned node's miner is stopped", 60, || {
            let found = stage.observer.use_of_nodes().get(broken).copied();
            ensure!(found == Some(Use::Idle), "it is {found:?}");
            Ok(())
        })
        .await?;
    nodes.uncordon(broken).await?;
    everything_mines(stage).await
}

async fn everything_mines(stage: &Stage) -> Result<()> {
    let all = stage.plan.nodes.len();
    stage.until("every node mines", 90, || in_use(stage, Use::Mining, all)).await
}

/// How many nodes may serve HPC.
fn big(stage: &Stage) -> usize {
    let models =
        stage.plan.nodes.iter().filter_map(|node| node.labels.get("nvidia.com/gpu.product"));
    models.filter(|model| *model == BIG).count()
}

fn usual_incomes(stage: &Stage) {
    stage.prices.set("mining-etc", INCOME);
    stage.prices.set("mining-rvn", INCOME * 0.9);
}

fn signals_are_untrusted(stage: &Stage) -> Result<()> {
    let pools = stage.observer.pools();
    let conditions = pools.iter().flat_map(|pool| &pool.status).flat_map(|one| &one.conditions);
    let untrusted = conditions
        .filter(|condition| condition.type_ == ConditionType::SignalsTrusted.to_string())
        .any(|condition| condition.status == "False");
    ensure!(untrusted, "they still are");
    Ok(())
}

fn set_power(stage: &Stage, usd_per_kwh: f64) {
    stage.prices.set("power-a", usd_per_kwh);
    stage.prices.set("power-b", usd_per_kwh * 1.01);
    stage.prices.set("power-c", usd_per_kwh * 0.99);
}

fn in_use(stage: &Stage, node_use: Use, wanted: usize) -> Result<()> {
    let found = stage.observer.uses().get(&node_use).copied().unwrap_or(0);
    let moving = stage.observer.running_shifts().len();
    ensure!(found == wanted && moving == 0, "{found} of {wanted} nodes, {moving} shifts run");
    Ok(())
}

fn at_least(stage: &Stage, node_use: Use, wanted: usize) -> Result<()> {
    let found = stage.observer.uses().get(&node_use).copied().unwrap_or(0);
    ensure!(found >= wanted, "{found} of {wanted} nodes");
    Ok(())
}

/// Nothing moves for so many seconds.
async fn unmoved(stage: &Stage, seconds: u64) -> Result<()> {
    let (before, shifts) = (stage.observer.use_of_nodes(), stage.observer.shifts().len());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    ensure!(
        stage.observer.use_of_nodes() == before && stage.observer.shifts().len() == shifts,
        "nodes were moved"
    );
    Ok(())
}
