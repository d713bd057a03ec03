//! What a person sees: a live table on a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal, Write, stdout},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use switchyard_api::GPUPool;
use tokio::{task::JoinHandle, time::Instant};

use super::{report::Report, stage::Stage};
use crate::Observer;

const REDRAW: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How many of the last sentences stay in sight.
const KEPT: usize = 8;

/// The screen.
pub struct Screen {
    terminal: bool,
    since: Instant,
    drawn: Mutex<Drawn>,
}

#[derive(Default)]
struct Drawn {
    said: Vec<String>,
    lines: usize,
}

impl Screen {
    /// The screen of this process.
    pub fn new() -> Self {
        Self { terminal: stdout().is_terminal(), since: Instant::now(), drawn: Mutex::default() }
    }

    /// Says what happens.
    pub fn say(&self, what: &str) {
        let line = format!("{:>6.1} s  {what}", self.since.elapsed().as_secs_f64());
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.terminal && drawn.lines > 0 {
            drawn.said.push(line);
            let surplus = drawn.said.len().saturating_sub(KEPT);
            drawn.said.drain(..surplus);
        } else {
            println!("{line}");
            let _ = stdout().flush();
        }
    }

    /// Begins to show the pool.
    pub fn show(self: &Arc<Self>, stage: &Stage) -> Showing {
        let stop = Arc::new(AtomicBool::new(false));
        let (screen, observer, over) = (self.clone(), stage.observer.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let pause = if screen.terminal { REDRAW } else { LINE_EVERY };
            while !over.load(Ordering::Relaxed) {
                if screen.terminal {
                    screen.draw(&observer);
                } else if let Some(pool) = observer.pools().first() {
                    screen.say(&one_line(&observer, pool));
                }
                tokio::time::sleep(pause).await;
            }
        });
        Showing { task, stop }
    }

    /// Draws the table over the last one.
    fn draw(&self, observer: &Observer) {
        let Some(pool) = observer.pools().into_iter().next() else {
            return;
        };
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let text = format!("{}\n{}\n", table(observer, &pool), drawn.said.join("\n"));
        let up = match drawn.lines {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        print!("{up}\x1b[J{text}");
        let _ = stdout().flush();
        drawn.lines = text.lines().count();
    }

    /// Shows how it went. The last line is for scripts.
    pub fn end(report: &Report) {
        println!("\n{}", report.table());
        println!("{}", report.verdict());
    }
}

/// A pool that is shown.
pub struct Showing {
    task: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Showing {
    /// Shows no more.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

fn usd(value: Option<switchyard_api::Decimal>) -> String {
    value.map_or_else(|| "?".into(), |value| format!("{:.2}", value.value()))
}

fn one_line(observer: &Observer, pool: &GPUPool) -> String {
    let status = pool.status.clone().unwrap_or_default();
    let nodes = &status.nodes;
    format!(
        "Mining {:>3}  HPC {:>3}  Idle {:>3}  moving {:>3}  {:>9} USD/h  shifts {}  {}",
        nodes.mining,
        nodes.hpc,
        nodes.idle,
        nodes.shifting,
        usd(status.value.total),
        observer.running_shifts().len(),
        reasons(&status),
    )
}

/// Why nodes move or stay, the most frequent first.
fn reasons(status: &switchyard_api::GPUPoolStatus) -> String {
    let decision = status.last_decision.iter();
    let reasons = decision.flat_map(|decision| &decision.reasons).take(4);
    reasons.map(|one| format!("{} {}", one.nodes, one.reason)).collect::<Vec<_>>().join(", ")
}

fn table(observer: &Observer, pool: &GPUPool) -> Table {
    let status = pool.status.clone().unwrap_or_default();
    let (nodes, gpus, value) = (&status.nodes, &status.gpus, &status.value);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["use", "nodes", "GPUs", "USD/h"]);
    table.add_row([
        "Mining",
        &nodes.mining.to_string(),
        &gpus.mining.to_string(),
        &usd(value.mining),
    ]);
    let hpc = format!("{} busy, {} free", gpus.hpc_busy, gpus.hpc_free);
    table.add_row(["HPC", &nodes.hpc.to_string(), &hpc, &usd(value.hpc)]);
    table.add_row(["Idle", &nodes.idle.to_string(), "", &usd(value.idle)]);
    let total = nodes.total.to_string();
    table.add_row(["all", &total, &gpus.total.to_string(), &usd(value.total)]);
    let shifts = observer.running_shifts();
    let shown: Vec<_> = shifts
        .iter()
        .take(5)
        .map(|shift| {
            let spec = &shift.spec;
            let waits = shift.status.as_ref().and_then(|status| status.waits_for.clone());
            format!(
                "{} {} -> {} ({}) {}",
                spec.nodes.len(),
                spec.from,
                spec.to,
                spec.cause,
                waits.unwrap_or_default()
            )
        })
        .collect();
    let more = shifts.len().saturating_sub(shown.len());
    let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
    table.add_row(["shifts", &shifts.len().to_string(), &(shown.join("\n") + &more), ""]);
    table.add_row(["why", "", &reasons(&status).replace(", ", "\n"), ""]);
    table
}
