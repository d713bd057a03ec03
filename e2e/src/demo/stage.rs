//! The scene: a control plane with the chart, nodes, signals, profiles, a pool, and the operator.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use switchyard_api::{GPUPool, MiningProfile, ProfitabilitySignal, Use};
use switchyard_rig::Options;
use tokio::{sync::Mutex, task::JoinHandle, time::Instant};

use super::screen::Screen;
use crate::{
    Cluster, Observer, Operator, Prices, Promise, RESEARCH, Setup, eventually,
    objects::{JobSpec, NodeSpec},
};

/// What a scene is made of.
pub struct Plan {
    /// The GPU nodes of the pool.
    pub nodes: Vec<NodeSpec>,
    /// Nodes that are none of the pool's business.
    pub bystanders: Vec<NodeSpec>,
    /// Signals and what they say at first.
    pub prices: Vec<(&'static str, f64)>,
    /// The signals; `SIGNALS` is replaced by the address that they are served at.
    pub signals: Vec<String>,
    /// The profiles.
    pub profiles: Vec<String>,
    /// The pool.
    pub pool: String,
    /// How many simulated seconds pass in one.
    pub speed: u32,
    /// What a node of a model should do without jobs, by the prices that are served.
    pub expected: Expected,
}

/// What a node of a GPU model should do without jobs, given a signal's value by name.
pub type Expected = Arc<dyn Fn(&str, &dyn Fn(&str) -> Option<f64>) -> Option<Use> + Send + Sync>;

/// The scene.
pub struct Stage {
    /// Who looks. Goes first, so that it does not see the control plane go.
    pub observer: Arc<Observer>,
    /// The operator.
    pub operator: Arc<Mutex<Operator>>,
    /// The signals.
    pub prices: Prices,
    /// The control plane.
    pub cluster: Cluster,
    /// What it was made of.
    pub plan: Plan,
    /// When it was set.
    pub since: Instant,
}

impl Stage {
    /// Sets the scene, up to the running operator and the pool.
    pub async fn set(plan: Plan, screen: &Screen) -> Result<Self> {
        let since = Instant::now();
        screen.say("starting etcd, kube-apiserver, controller manager, scheduler and kwok");
        let options = Options { audit: true, ..Options::default() };
        let cluster = Cluster::with_switchyard(Setup { options, ..Setup::default() }).await?;
        screen.say(&format!("creating {} GPU nodes", plan.nodes.len()));
        cluster.make_nodes(plan.nodes.iter().chain(&plan.bystanders).cloned()).await?;
        cluster.make_device_plugin(true).await?;
        let observer = Arc::new(Observer::start(&cluster)?);
        let prices = Prices::serve().await?;
        for (name, value) in &plan.prices {
            prices.set(name, *value);
        }
        for signal in &plan.signals {
            let signal = signal.replace("SIGNALS", prices.url("").trim_end_matches('/'));
            cluster.create(&crate::objects::manifest::<ProfitabilitySignal>(&signal)?).await?;
        }
        for profile in &plan.profiles {
            cluster.create(&crate::objects::manifest::<MiningProfile>(profile)?).await?;
        }
        screen.say("starting the operator under its own ServiceAccount");
        let operator = cluster.operator(&["--decide-every", "1s", "--keep-shifts", "1000"]).await?;
        let pool: GPUPool = crate::objects::manifest(&plan.pool)?;
        cluster.create(&pool).await?;
        let operator = Arc::new(Mutex::new(operator));
        let stage = Self { observer, operator, prices, cluster, plan, since };
        stage.adopted().await?;
        Ok(stage)
    }

    async fn adopted(&self) -> Result<()> {
        self.until("every node is adopted", 60, || {
            let known = self.observer.use_of_nodes().len();
            ensure!(known == self.plan.nodes.len(), "{known} are");
            Ok(())
        })
        .await
    }

    /// Waits for something that the observer sees. An operator that ended by itself is an error.
    pub async fn until(
        &self,
        what: &str,
        seconds: u64,
        look: impl Fn() -> Result<()>,
    ) -> Result<()> {
        eventually(what, Duration::from_secs(seconds), || async {
            self.operator.lock().await.check()?;
            look()
        })
        .await
    }

    /// Gives jobs.
    pub async fn give(&self, jobs: Vec<JobSpec>) -> Result<()> {
        let api = Api::<Job>::namespaced(self.cluster.client.clone(), RESEARCH);
        for job in jobs {
            api.create(&PostParams::default(), &job.object()?).await?;
        }
        Ok(())
    }

    /// How many jobs were given, and how many are completed.
    pub async fn jobs(&self) -> Result<(usize, usize)> {
        let api = Api::<Job>::namespaced(self.cluster.client.clone(), RESEARCH);
        let jobs = api.list(&ListParams::default()).await?.items;
        let complete = jobs.iter().filter(|job| {
            let status = job.status.as_ref();
            status.and_then(|status| status.completion_time.as_ref()).is_some()
        });
        Ok((jobs.len(), complete.count()))
    }

    /// Waits until every job is completed.
    pub async fn until_jobs_are_done(&self, seconds: u64) -> Result<()> {
        eventually("every job is completed", Duration::from_secs(seconds), || async {
            self.operator.lock().await.check()?;
            let (given, completed) = self.jobs().await?;
            ensure!(given == completed, "{completed} of {given} are");
            Ok(())
        })
        .await
    }

    /// The names of the pool's nodes.
    pub fn node_names(&self) -> BTreeSet<String> {
        self.plan.nodes.iter().map(|node| node.name.clone()).collect()
    }

    /// Waits until no shift runs and none is ordered for a while.
    pub async fn come_to_rest(&self, screen: &Screen) -> Result<()> {
        screen.say("waiting until everything has come to rest");
        let calm_since = std::sync::Mutex::new(Instant::now());
        self.until("no shift runs for three seconds", 120, || {
            let running = self.observer.running_shifts().len();
            let mut calm_since =
                calm_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if running > 0 {
                *calm_since = Instant::now();
            }
            ensure!(calm_since.elapsed() > Duration::from_secs(3), "{running} shifts run");
            Ok(())
        })
        .await
    }

    /// Deletes the pool and sees that nothing is left (L3).
    pub async fn close(&mut self, screen: &Screen) -> Result<Promise> {
        screen.say("deleting the pool");
        let pool: GPUPool = crate::objects::manifest(&self.plan.pool)?;
        let name = pool.metadata.name.context("the pool has no name")?;
        let pools = Api::<GPUPool>::all(self.cluster.client.clone());
        pools.delete(&name, &DeleteParams::default()).await?;
        let promise = self.observer.nothing_left().await?;
        self.operator.lock().await.stop()?;
        Ok(promise)
    }

    /// Leaves everything running.
    pub fn keep(self) -> Result<()> {
        let operator = self.operator.try_lock().map(|operator| operator.metrics_url());
        let metrics = operator.unwrap_or_default();
        let kept = self.cluster.plane.keep()?;
        println!("\nEverything runs on. To look at it:");
        println!("  export KUBECONFIG={}", kept.kubeconfig.display());
        println!("  kubectl get gpupools,nodeshifts,signals -o wide");
        println!("  kubectl get nodes -L switchyard.dev/use");
        println!("  curl {metrics}");
        println!("To end it: {}", kept.stop.display());
        Ok(())
    }

    /// Kills the operator `times` times, at random moments.
    pub fn assassin(&self, times: u32, screen: &Arc<Screen>) -> Assassin {
        let stop = Arc::new(AtomicBool::new(false));
        let (operator, screen, over) = (self.operator.clone(), screen.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let mut killed = 0;
            while killed < times && !over.load(Ordering::Relaxed) {
                // Between 4 and 20 s: often in the middle of a wave of shifts.
                tokio::time::sleep(Duration::from_millis(4000 + random(16_000))).await;
                operator.lock().await.kill_and_restart()?;
                killed += 1;
                screen.say(&format!("killed the operator ({killed} of {times})"));
            }
            Ok(killed)
        });
        Assassin { task, stop }
    }
}

/// Who kills the operator.
pub struct Assassin {
    task: JoinHandle<Result<u32>>,
    stop: Arc<AtomicBool>,
}

impl Assassin {
    /// Waits for the last kill, if one is due; says how many there were.
    pub async fn finish(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        match self.task.await {
            Ok(Ok(killed)) => killed,
            _ => 0,
        }
    }
}

/// A number below `bound`, from the clock: good enough to choose a moment.
fn random(bound: u64) -> u64 {
    let now = Timestamp::now().as_nanosecond().unsigned_abs();
    u64::try_from(now % u128::from(bound)).unwrap_or(0)
}
