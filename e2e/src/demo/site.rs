//! Replays a real site: its signals, its nodes, and as many of its jobs as the control plane takes.

use std::{collections::BTreeMap, fs::File, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, de::DeserializeOwned};
use switchyard_api::Use;
use tokio::time::{Instant, sleep_until};

use super::{
    screen::Screen,
    stage::{Plan, Stage},
};
use crate::objects::{JobSpec, NodeSpec};

/// Jobs of a replay; of more, every n-th is given.
const MOST_JOBS: usize = 300;
/// Nothing scaled gets shorter than this.
const SHORTEST: u64 = 5;
/// So much before the hour the new prices are out.
const EARLY: Duration = Duration::from_millis(100);
/// The signals by file name, with their unit.
const SIGNALS: [(&str, &str, &str); 3] = [
    ("power-usd-per-kwh", "power", "USDPerKWh"),
    ("mining-usd-per-mhps-day", "mining", "USDPerMHsDay"),
    ("hpc-usd-per-gpu-hour", "gpu-hour", "USDPerGPUHour"),
];
const FEE_PERCENT: f64 = 1.0;
const PUE: f64 = 1.1;

/// A site, read from its folder.
pub struct Site {
    nodes: Vec<NodeRow>,
    signals: BTreeMap<&'static str, Vec<Point>>,
    jobs: Vec<JobRow>,
    from: Timestamp,
    length: Duration,
    speed: u32,
}

#[derive(Debug, Clone, Deserialize)]
struct NodeRow {
    name: String,
    gpu_model: String,
    gpus: u32,
    vram_gib: u32,
    hashrate_hps_per_gpu: f64,
    mining_w_per_gpu: u32,
    hpc_w_per_gpu: u32,
    idle_w_per_gpu: u32,
    host_w: u32,
    hpc_eligible: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Point {
    time: Timestamp,
    value: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct JobRow {
    submit: Timestamp,
    gpus: u32,
    duration_s: f64,
}

impl Site {
    /// Reads the part of a site that is replayed.
    pub fn read(folder: &Path, from: Timestamp, length: Duration, speed: u32) -> Result<Self> {
        let nodes: Vec<NodeRow> =
            rows(open(&folder.join("nodes.csv"))?, &folder.join("nodes.csv"))?;
        ensure!(!nodes.is_empty(), "{}/nodes.csv lists no node", folder.display());
        let mut signals = BTreeMap::new();
        for (file, name, _) in SIGNALS {
            let path = folder.join("signals").join(file).with_extension("csv");
            let points: Vec<Point> = rows(open(&path)?, &path)?;
            ensure!(
                points.first().is_some_and(|first| first.time <= from),
                "{} does not reach back to {from}",
                path.display()
            );
            signals.insert(name, points);
        }
        let path = folder.join("jobs.csv.gz");
        let end = from + SignedDuration::try_from(length)?;
        let jobs: Vec<JobRow> = rows(GzDecoder::new(open(&path)?), &path)?;
        let jobs: Vec<JobRow> =
            jobs.into_iter().filter(|job| job.submit >= from && job.submit < end).collect();
        let every = jobs.len().div_ceil(MOST_JOBS).max(1);
        let jobs = jobs.into_iter().step_by(every).collect();
        Ok(Self { nodes, signals, jobs, from, length, speed })
    }

    /// The scene.
    pub fn plan(&self) -> Plan {
        let classes = self.classes();
        let first = |name| (name, self.value(name, self.from).unwrap_or_default());
        let rows: BTreeMap<String, NodeRow> =
            classes.iter().map(|row| (row.gpu_model.clone(), row.clone())).collect();
        Plan {
            nodes: self
                .nodes
                .iter()
                .map(|row| NodeSpec { gpus: row.gpus, ..NodeSpec::gpu(&row.name, &row.gpu_model) })
                .collect(),
            bystanders: Vec::new(),
            prices: SIGNALS.iter().map(|(_, name, _)| first(name)).collect(),
            signals: SIGNALS
                .iter()
                .map(|(_, name, unit)| signal(name, unit, self.scaled(60)))
                .collect(),
            profiles: vec![profile(&classes)],
            pool: self.pool(&classes),
            speed: self.speed,
            expected: Arc::new(move |model, price| {
                let row = rows.get(model)?;
                let income = row.hashrate_hps_per_gpu / 1e6 * price("mining")? / 24.0;
                let watts = f64::from(row.mining_w_per_gpu) - f64::from(row.idle_w_per_gpu);
                let gain =
                    income * (1.0 - FEE_PERCENT / 100.0) - watts / 1000.0 * PUE * price("power")?;
                Some(if gain > 0.0 { Use::Mining } else { Use::Idle })
            }),
        }
    }

    /// Lets the hours pass: signals follow their files, jobs are given when they came.
    pub async fn replay(&self, stage: &Stage, screen: &Screen) -> Result<()> {
        screen.say(&format!(
            "replaying {} hours from {} at {} times their speed, with {} jobs",
            self.length.as_secs() / 3600,
            self.from,
            self.speed,
            self.jobs.len()
        ));
        let start = self.on_the_hour();
        let at = |time: Timestamp| {
            let since = time.duration_since(self.from).as_secs_f64().max(0.0);
            start + Duration::from_secs_f64(since / f64::from(self.speed))
        };
        let end = self.from + SignedDuration::try_from(self.length)?;
        let follow = async {
            for (name, points) in &self.signals {
                stage.prices.set(name, self.value(name, self.from).unwrap_or_default());
                ensure!(!points.is_empty(), "{name} has no values");
            }
            let mut changes: Vec<(Timestamp, &str, f64)> = self
                .signals
                .iter()
                .flat_map(|(name, points)| points.iter().map(|one| (one.time, *name, one.value)))
                .filter(|(time, _, _)| *time > self.from && *time < end)
                .collect();
            changes.sort_by_key(|(time, _, _)| *time);
            for (time, name, value) in changes {
                sleep_until(at(time)).await;
                stage.prices.set(name, value);
            }
            Ok(())
        };
        let give = async {
            for (index, job) in self.jobs.iter().enumerate() {
                sleep_until(at(job.submit)).await;
                stage.give(vec![self.job(index, job)]).await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let over = async {
            sleep_until(at(end)).await;
            Ok::<_, anyhow::Error>(())
        };
        tokio::try_join!(follow, give, over)?;
        stage.operator.lock().await.check()
    }

    /// So many simulated minutes, in seconds of the replay.
    fn scaled(&self, minutes: u64) -> u64 {
        (minutes * 60 / u64::from(self.speed)).max(SHORTEST)
    }

    /// A moment at which signals are about to be read, as hourly ones are after the hour.
    fn on_the_hour(&self) -> Instant {
        let hour = i128::from(self.scaled(60)) * 1_000_000_000;
        let past = Timestamp::now().as_nanosecond().rem_euclid(hour);
        let left = u64::try_from(hour - past).unwrap_or(0);
        Instant::now() + Duration::from_nanos(left) + Duration::from_secs(self.scaled(60)) - EARLY
    }

    /// One job: up to eight GPUs on one node, more on whole nodes.
    fn job(&self, index: usize, row: &JobRow) -> JobSpec {
        let seconds = (row.duration_s / f64::from(self.speed)).max(1.0);
        let job = JobSpec::new(format!("job-{index}"), row.gpus.min(8));
        job.gang(row.gpus.div_ceil(8)).runs_for(Duration::from_secs_f64(seconds))
    }

    /// One row for each GPU model.
    fn classes(&self) -> Vec<NodeRow> {
        let by_model: BTreeMap<_, _> =
            self.nodes.iter().map(|row| (row.gpu_model.clone(), row.clone())).collect();
        by_model.into_values().collect()
    }

    /// A signal's value at a time: that of its last point.
    fn value(&self, name: &str, time: Timestamp) -> Option<f64> {
        let points = self.signals.get(name)?;
        let next = points.partition_point(|point| point.time <= time);
        points.get(next.checked_sub(1)?).map(|point| point.value)
    }

    /// The pool. Whether a class may serve HPC is told by its network, because that is what sites say.
    fn pool(&self, classes: &[NodeRow]) -> String {
        let classes: String = classes
            .iter()
            .map(|row| {
                format!(
                    "  - {{model: {}, memoryGiB: {}, networkGbps: {}, watts: {{hpcPerGPU: {}, idlePerGPU: {}, host: {}}}}}\n",
                    row.gpu_model,
                    row.vram_gib,
                    if row.hpc_eligible == "yes" { 10 } else { 1 },
                    row.hpc_w_per_gpu,
                    row.idle_w_per_gpu,
                    row.host_w
                )
            })
            .collect();
        let dwell =
            |minutes: u64| format!("{}s", (minutes * 60 / u64::from(self.speed)).max(SHORTEST));
        format!(
            "
apiVersion: switchyard.dev/v1alpha1
kind: GPUPool
metadata: {{name: site}}
spec:
  nodeSelector: {{matchLabels: {{site: demo}}}}
  classes:
{classes}  power: {{price: {{signal: power}}, pue: '{PUE}'}}
  mining: {{profiles: [{{namespace: mining, name: coin}}]}}
  hpc:
    price: {{signal: gpu-hour}}
    eligibility: {{networkGbps: 10}}
    idleAfter: {}
  shifting:
    mode: Active
    patience: '0'
    minDwell: {{mining: {}, hpc: {}, idle: {}}}
    budgets: []
    breaker: {{within: 0s}}
    drainTimeout: {{mining: 1m, hpc: 30m}}
",
            dwell(5),
            dwell(10),
            dwell(30),
            dwell(5)
        )
    }
}

fn signal(name: &str, unit: &str, interval: u64) -> String {
    format!(
        "
apiVersion: switchyard.dev/v1alpha1
kind: ProfitabilitySignal
metadata: {{name: {name}}}
spec:
  unit: {unit}
  interval: {interval}s
  maxAge: {}s
  sources:
  - {{name: replay, http: {{url: SIGNALS/{name}, jsonPath: $.value}}}}
",
        5 * interval
    )
}

fn profile(classes: &[NodeRow]) -> String {
    let hardware: String = classes
        .iter()
        .map(|row| {
            format!(
                "  - {{model: {}, hashrate: '{}', watts: {}}}\n",
                row.gpu_model, row.hashrate_hps_per_gpu, row.mining_w_per_gpu
            )
        })
        .collect();
    format!(
        "
apiVersion: switchyard.dev/v1alpha1
kind: MiningProfile
metadata: {{name: coin, namespace: mining}}
spec:
  coin: coin
  algorithm: ethash
  poolFeePercent: '{FEE_PERCENT}'
  income: {{signal: mining}}
  hardware:
{hardware}  template:
    spec:
      containers: [{{name: miner, image: miner}}]
"
    )
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open {}", path.display()))
}

fn rows<T: DeserializeOwned>(file: impl std::io::Read, path: &Path) -> Result<Vec<T>> {
    let mut reader = csv::Reader::from_reader(file);
    let rows: Result<Vec<T>, csv::Error> = reader.deserialize().collect();
    rows.with_context(|| format!("cannot read {}", path.display()))
}
