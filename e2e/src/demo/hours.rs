//! Counts the hours that nodes mine and idle, and those that they should by the prices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use switchyard_api::Use;
use tokio::{task::JoinHandle, time::Instant};

use super::stage::Stage;

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(200);

/// Node-hours of simulated time of nodes that are not in use HPC.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counted {
    /// That were mined.
    pub mining: f64,
    /// That were idled.
    pub idle: f64,
    /// That should have been mined by the prices of each moment.
    pub expected_mining: f64,
    /// That should have been idled by the prices of each moment.
    pub expected_idle: f64,
    /// In which the use was the expected one.
    pub agreed: f64,
}

/// A count that goes on.
pub struct Hours {
    task: JoinHandle<Counted>,
    stop: Arc<AtomicBool>,
}

impl Hours {
    /// Begins to count.
    pub fn start(stage: &Stage) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let over = stop.clone();
        let (observer, prices) = (stage.observer.clone(), stage.prices.clone());
        let (expected, speed) = (stage.plan.expected.clone(), f64::from(stage.plan.speed));
        let models: std::collections::BTreeMap<String, String> = stage
            .plan
            .nodes
            .iter()
            .filter_map(|node| {
                Some((node.name.clone(), node.labels.get("nvidia.com/gpu.product")?.clone()))
            })
            .collect();
        let task = tokio::spawn(async move {
            let mut counted = Counted::default();
            let mut last = Instant::now();
            while !over.load(Ordering::Relaxed) {
                tokio::time::sleep(LOOK).await;
                let hours = last.elapsed().as_secs_f64() * speed / 3600.0;
                last = Instant::now();
                for (node, node_use) in observer.use_of_nodes() {
                    let Some(model) = models.get(&node) else {
                        continue;
                    };
                    let wanted = expected(model, &|signal| prices.value(signal));
                    counted.add(node_use, wanted, hours);
                }
            }
            counted
        });
        Self { task, stop }
    }

    /// Ends the count.
    pub async fn finish(self) -> Counted {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or_default()
    }
}

impl Counted {
    fn add(&mut self, found: Use, wanted: Option<Use>, hours: f64) {
        // While a price is not known nothing is expected.
        let Some(wanted) = wanted.filter(|_| found != Use::Hpc) else {
            return;
        };
        match found {
            Use::Mining => self.mining += hours,
            Use::Idle => self.idle += hours,
            Use::Hpc => {}
        }
        match wanted {
            Use::Mining => self.expected_mining += hours,
            Use::Idle => self.expected_idle += hours,
            Use::Hpc => {}
        }
        if found == wanted {
            self.agreed += hours;
        }
    }

    /// The share of the hours in which the use was the expected one.
    pub fn agreement(&self) -> f64 {
        let all = self.mining + self.idle;
        if all > 0.0 { self.agreed / all } else { 1.0 }
    }
}
