//! The loop: look, decide, act, tell.

use std::sync::Arc;

use jiff::{Timestamp, Unit};
use kube::Client;
use switchyard_api::NodeShiftStatus;
use switchyard_core::{
    phase,
    plan::{self, Plan},
    report::{Totals, totals},
    snapshot::ShiftFacts,
    standing::Standing,
    survey::{Survey, survey},
    upkeep::upkeep,
    writes::{Eviction, NodeWrite},
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Duration, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, info_span};

use crate::{
    act::{Hands, RefusedMiners},
    admin::{self, Admin, Heartbeat, ListenError},
    explain::Explainer,
    leader::{Election, Leadership},
    settings::Settings,
    signals::{Signals, fetch::Fetcher},
    tell::{Announcer, Metrics, Said},
    watch::{Caches, Memory, gather},
};

/// Changes that come in a burst are looked at together.
const GATHER_CHANGES: Duration = Duration::from_millis(100);
/// How long a stopping operator waits for what it has begun.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

/// The controller could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The admin server.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The metrics.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// The HTTP client of the signals.
    #[error("no HTTP client can be made")]
    Http(#[from] reqwest::Error),
}

/// Runs the controller until `stop`.
pub async fn run(
    client: Client,
    settings: Settings,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let settings = Arc::new(settings);
    let metrics = Metrics::new()?;
    let fetcher = Fetcher::new()?;
    let listener = admin::listen(settings.listen).await?;
    let heartbeat = Arc::new(Heartbeat::default());
    heartbeat.beat();

    let mut tasks = JoinSet::new();
    let caches = Caches::start(&client, &settings.namespace, &mut tasks);
    let (announcer, publish) = Announcer::new(client.clone(), &settings.identity);
    let (election, leadership) = Election::new(client.clone(), &settings);
    let signals = Arc::new(Signals::default());
    let heard = Arc::new(Notify::new());
    tasks.spawn(publish);
    tasks.spawn(signals.clone().run(caches.clone(), fetcher, leadership.clone(), heard.clone()));
    let explainer = Explainer::new(client.clone(), &settings.namespace, &settings.lease);
    let served = Admin {
        metrics: metrics.clone(),
        caches: caches.clone(),
        heartbeat: heartbeat.clone(),
        explainer: explainer.clone(),
    };
    let stop_serving = stop.clone();
    tasks.spawn(async move {
        if let Err(error) = admin::serve(listener, served, stop_serving).await {
            tracing::error!(%error, "admin server ended");
        }
    });
    let end_of_term = CancellationToken::new();
    let election = tokio::spawn(election.run(end_of_term.clone()));
    info!(listen = %settings.listen, identity = settings.identity, "started");

    let hands = Hands { client, caches, metrics, announcer, settings, leadership };
    let operator = Operator::new(hands, signals, heartbeat, explainer);
    operator.run(&heard, stop).await;

    // Only now may another replica go on.
    end_of_term.cancel();
    let _ = tokio::time::timeout(FINISH_WITHIN, election).await;
    info!("stopped");
    Ok(())
}

/// What the loop keeps in mind.
struct Operator {
    hands: Hands,
    signals: Arc<Signals>,
    heartbeat: Arc<Heartbeat>,
    explainer: Explainer,
    memory: Memory,
    refused: RefusedMiners,
    said: Said,
    /// The last plan, where it needs not be made again for a while.
    standing: Option<Standing>,
}

impl Operator {
    fn new(
        hands: Hands,
        signals: Arc<Signals>,
        heartbeat: Arc<Heartbeat>,
        explainer: Explainer,
    ) -> Self {
        Self {
            hands,
            signals,
            heartbeat,
            explainer,
            memory: Memory::default(),
            refused: RefusedMiners::default(),
            said: Said::default(),
            standing: None,
        }
    }

    /// Looks whenever something changed or a signal was `heard`, and now and then in any case, because
    /// time alone opens gates, too. A pass that has begun is finished before the operator stops.
    async fn run(mut self, heard: &Notify, stop: CancellationToken) {
        let mut ticks = interval(self.hands.settings.decide_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let changed: Arc<Notify> = self.hands.caches.changed.clone();
        let mut leadership: Leadership = self.hands.leadership.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                () = heard.notified() => {}
                () = leadership.changed() => {}
                () = changed.notified() => {
                    self.standing = None;
                    sleep(GATHER_CHANGES).await;
                }
            }
            self.heartbeat.beat();
            let leads = self.hands.leadership.leads();
            self.hands.metrics.leader.set(leads.into());
            let unsynced = self.hands.caches.unsynced();
            if leads && unsynced.is_empty() {
                self.look().await;
            } else {
                self.standing = None;
                if !leads {
                    self.explainer.note(None);
                    self.hands.metrics.forget();
                }
                debug!(leads, ?unsynced, "standing by");
            }
        }
    }

    /// Decides anew, unless the last plan still stands.
    async fn look(&mut self) {
        let now = Timestamp::now().round(Unit::Millisecond).unwrap_or_else(|_| Timestamp::now());
        let signals = || self.signals.readings(&self.hands.caches, now);
        let stands = |plan: &Standing| plan.holds(now, &signals(), &self.signals.forecasts());
        if !self.standing.as_ref().is_some_and(stands) {
            self.pass(now).await;
        }
        self.hands.metrics.look(&self.signals.overview(&self.hands.caches, now), now);
        self.hands.tell_signals(&self.signals, now).await;
    }

    /// One look at everything, and what follows from it.
    async fn pass(&mut self, now: Timestamp) {
        let snapshot = gather::snapshot(&self.hands.caches, &self.signals, &self.memory, now);
        let snapshot = Arc::new(snapshot);
        self.explainer.note(Some(snapshot.clone()));
        let decision = info_span!("decide").in_scope(|| {
            let _timer = self.hands.metrics.decision_seconds.start_timer();
            let survey = survey(&snapshot);
            let decision = Decision::of(&survey);
            (survey, decision)
        });
        let (survey, decision) = decision;
        self.memory.learn(&survey);
        for (shift, after) in &decision.steps.progress {
            self.memory.observer.shifted(&shift.spec.pool.as_str().into(), shift, after);
        }
        self.standing = Standing::of(&survey, &decision.plan).filter(|_| decision.steps.is_empty());
        self.act(&survey, decision.steps).await;
        self.hands
            .order(decision.plan.pools.iter().flat_map(|pool| pool.orders.clone()).collect(), now)
            .await;
        self.hands.keep_miners(&survey, &mut self.refused).await;
        self.hands.keep_finalizers().await;
        self.hands.forget_old_shifts(now).await;
        self.tell(&survey, &decision.totals, &decision.plan).await;
    }

    /// Carries on what was ordered before. Orders of this pass are begun with the next look, when
    /// they are known to be stored.
    async fn act(&self, _survey: &Survey<'_>, steps: Steps) {
        self.hands.mark_nodes(steps.writes).await;
        self.hands.evict(steps.evictions).await;
        self.hands.note_progress(steps.progress).await;
    }

    async fn tell(&mut self, survey: &Survey<'_>, totals: &[Totals], plan: &Plan) {
        let now = survey.snapshot.now;
        self.hands.announcer.waiting(plan);
        self.hands.announcer.pins(survey);
        self.hands.tell_profiles(survey, &self.refused).await;
        self.hands.tell_pools(survey, totals, plan, &mut self.said).await;
        self.hands.tell_unreadable(&mut self.said, now).await;
        self.hands.metrics.pass(survey, totals, plan, now);
    }
}

/// All that the core says of a survey.
struct Decision {
    steps: Steps,
    plan: Plan,
    totals: Vec<Totals>,
}

/// What is to be done about nodes and running shifts.
#[derive(Default)]
struct Steps {
    writes: Vec<NodeWrite>,
    evictions: Vec<Eviction>,
    progress: Vec<(ShiftFacts, NodeShiftStatus)>,
}

impl Steps {
    fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.evictions.is_empty() && self.progress.is_empty()
    }
}

impl Decision {
    fn of(survey: &Survey<'_>) -> Self {
        let plan = plan::decide(survey);
        let upkeep = upkeep(survey, &plan);
        let mut steps =
            Steps { writes: upkeep.writes, evictions: upkeep.evictions, progress: Vec::new() };
        for shift in &survey.snapshot.shifts {
            let step = phase::step(survey, shift);
            steps.writes.extend(step.writes);
            steps.evictions.extend(step.evictions);
            steps.progress.push((shift.clone(), step.status));
        }
        Self { steps, plan, totals: survey.pools.iter().map(totals).collect() }
    }
}
