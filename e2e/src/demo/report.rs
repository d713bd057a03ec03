//! How it went, by what was seen from outside.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use jiff::SignedDuration;
use serde::Serialize;

use super::{hours::Counted, stage::Stage};
use crate::Promise;

/// The report of a demo.
#[derive(Debug, Serialize)]
pub struct Report {
    /// GPU nodes of the pool.
    pub nodes: usize,
    /// Nodes whose move was completed, by direction.
    pub shifts: BTreeMap<String, u32>,
    /// The customers' jobs.
    pub jobs: Jobs,
    /// Pods that were evicted.
    pub evicted: Evicted,
    /// What is promised, and whether it was kept.
    pub promises: Vec<Promise>,
    /// Node-hours of nodes not in use HPC, in simulated time.
    pub hours: Counted,
    /// How often the operator was killed.
    pub kills: u32,
    /// The longest that a job's pod waited for its start, s.
    pub longest_wait_s: f64,
    /// How long it took, from an empty machine to here, s.
    pub seconds: f64,
    /// What went wrong, if the story did not get to its end.
    pub failure: Option<String>,
}

/// The customers' jobs.
#[derive(Debug, Serialize)]
pub struct Jobs {
    /// That were given.
    pub submitted: usize,
    /// That were completed.
    pub completed: usize,
}

/// Pods that were evicted.
#[derive(Debug, Serialize)]
pub struct Evicted {
    /// Miners, by the operator.
    pub miners: usize,
    /// Customers' pods, by anybody, before they had finished.
    pub hpc: usize,
}

/// Within this time a job that pays has its nodes: draining, untainting, binding, and a kill of the
/// operator in between.
const PROMPT: SignedDuration = SignedDuration::from_secs(45);
/// For how long nothing may be written at the end.
const QUIET: std::time::Duration = std::time::Duration::from_secs(10);

impl Report {
    /// Looks at the end of a story.
    pub async fn of(stage: &Stage, hours: &Counted, kills: u32, replay: bool) -> Result<Self> {
        let (submitted, completed) = stage.jobs().await?;
        let observer = &stage.observer;
        let writes = observer.writes(jiff::Timestamp::MIN)?;
        let miners = writes
            .iter()
            .filter(|write| write.resource == "pods/eviction" && write.code < 300)
            .filter(|write| write.namespace == crate::MINING)
            .count();
        let mut promises = observer.safety(&stage.node_names())?;
        let (longest_wait, never) = observer.waits();
        if !replay {
            promises.push(Promise {
                id: "L5",
                ok: longest_wait <= PROMPT && never == 0,
                evidence: format!(
                    "the longest wait of a job's pod was {:.1} s; {never} never started",
                    longest_wait.as_secs_f64()
                ),
            });
            promises.push(observer.never_outside("power", 0.0..=10.0));
        }
        let running = observer.running_shifts().len();
        promises.push(Promise {
            id: "L1",
            ok: running == 0,
            evidence: format!("{running} shifts run at the end"),
        });
        promises.push(observer.quiet(QUIET).await?);
        if kills > 0 {
            let recovered = promises.iter().all(|promise| promise.ok);
            let evidence = format!("killed {kills} times");
            promises.push(Promise { id: "L6", ok: recovered, evidence });
        }
        Ok(Self {
            nodes: stage.plan.nodes.len(),
            shifts: observer.completed_moves(),
            jobs: Jobs { submitted, completed },
            evicted: Evicted { miners, hpc: observer.hurt().len() },
            promises,
            hours: hours.clone(),
            kills,
            longest_wait_s: longest_wait.as_secs_f64(),
            seconds: stage.since.elapsed().as_secs_f64(),
            failure: None,
        })
    }

    /// Takes down how the story ended.
    pub fn tell(&mut self, told: Result<()>) {
        self.failure = told.err().map(|error| format!("{error:#}"));
    }

    /// Did all go well?
    pub fn ok(&self) -> bool {
        self.failure.is_none() && self.evicted.hpc == 0 && self.promises.iter().all(|one| one.ok)
    }

    /// Writes the report where people and scripts find it.
    pub fn write(&self, file: &Path) -> Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }

    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        let moves: Vec<_> =
            self.shifts.iter().map(|(route, nodes)| format!("{nodes} {route}")).collect();
        table.add_row(["nodes shifted", &moves.join(", ")]);
        table.add_row([
            "jobs",
            &format!("{} of {} completed", self.jobs.completed, self.jobs.submitted),
        ]);
        table.add_row(["longest wait", &format!("{:.1} s", self.longest_wait_s)]);
        let evicted =
            format!("{} miners, {} customers' pods", self.evicted.miners, self.evicted.hpc);
        table.add_row(["evicted", &evicted]);
        let hours = &self.hours;
        table.add_row([
            "node-hours",
            &format!(
                "Mining {:.2} (by the prices {:.2}), Idle {:.2} (by the prices {:.2}), {:.1} % agree",
                hours.mining,
                hours.expected_mining,
                hours.idle,
                hours.expected_idle,
                hours.agreement() * 100.0
            ),
        ]);
        for promise in &self.promises {
            let kept = if promise.ok { "kept" } else { "BROKEN" };
            table.add_row([format!("{} {kept}", promise.id), promise.evidence.clone()]);
        }
        if let Some(failure) = &self.failure {
            table.add_row(["failed", failure]);
        }
        table
    }

    /// The last line.
    pub fn verdict(&self) -> String {
        let broken: Vec<_> =
            self.promises.iter().filter(|promise| !promise.ok).map(|promise| promise.id).collect();
        if self.ok() {
            return format!(
                "demo: ok, {} nodes, {} jobs completed, {} promises kept, {:.0} s",
                self.nodes,
                self.jobs.completed,
                self.promises.len(),
                self.seconds
            );
        }
        match &self.failure {
            Some(failure) => format!("demo: FAILED {failure}; promises broken: {broken:?}"),
            None => format!(
                "demo: FAILED, promises broken: {broken:?}; customers' pods evicted: {}",
                self.evicted.hpc
            ),
        }
    }
}
