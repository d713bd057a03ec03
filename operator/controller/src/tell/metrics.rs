//! What Prometheus is told. Labels come from closed sets, and from the names of pools and signals.

use jiff::Timestamp;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use strum::IntoEnumIterator;
use switchyard_api::{Cause, NodeShift, Phase, Reason, Use};
use switchyard_core::{plan::Plan, report::Totals, survey::Survey};

use super::maker::{Described, Maker, PREFIX};
use crate::{about::BUILD, signals::Overview};

/// Every metric, in a registry of its own.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    described: Vec<Described>,
    build: IntGaugeVec,
    /// Is this replica the leader?
    pub leader: IntGauge,
    /// How long a decision took, from the snapshot to the plan.
    pub decision_seconds: Histogram,
    /// Writes that were not made.
    pub write_errors: IntCounterVec,
    /// Writes that were made.
    pub writes: IntCounterVec,
    /// Evictions of miners by how they went.
    pub evictions: IntCounterVec,
    /// Nodes whose move has ended.
    pub shifted_nodes: IntCounterVec,
    /// How long a node's move took.
    pub shift_seconds: HistogramVec,
    /// Passes of the operator.
    pub passes: IntCounter,
    nodes: IntGaugeVec,
    gpus: IntGaugeVec,
    shifting: IntGaugeVec,
    overdue: IntGaugeVec,
    value: GaugeVec,
    watts: GaugeVec,
    reasons: IntGaugeVec,
    allowed: IntGaugeVec,
    breaker_open: IntGaugeVec,
    waiting: IntGaugeVec,
    signal_value: GaugeVec,
    signal_time: GaugeVec,
    signal_trusted: IntGaugeVec,
    source_up: IntGaugeVec,
    last_pass: Gauge,
}

/// What is written to the API server.
const OBJECTS: [&str; 7] = [
    "node",
    "eviction",
    "daemonset",
    "nodeshift",
    "gpupool",
    "miningprofile",
    "profitabilitysignal",
];
/// What usually becomes of waiting work; shown even while none waits.
const WAITING: [Reason; 7] = [
    Reason::FitsNow,
    Reason::NodesComing,
    Reason::DemandPays,
    Reason::PaysTooLittle,
    Reason::PowerCap,
    Reason::FitsNowhere,
    Reason::PriceUnknown,
];
/// From half a second to the slowest drain.
const SHIFT_BUCKETS: [f64; 12] =
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 900.0, 1800.0];
const DECISION_BUCKETS: [f64; 9] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5];

impl Metrics {
    /// Every metric, at zero.
    #[allow(clippy::too_many_lines)] // a list
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some(PREFIX.into()), None)?;
        let new = Maker::new(&registry);
        let mut metrics = Self {
            described: Vec::new(),
            build: new.gauges(
                "build_info",
                "What runs: always 1, with version, commit and features.",
                &["version", "commit", "features"],
            )?,
            leader: new.gauge("leader", "Whether this replica leads (1) or stands by (0).")?,
            decision_seconds: new.add(Histogram::with_opts(
                HistogramOpts::new("decision_seconds", "Time from the snapshot to the plan.")
                    .buckets(DECISION_BUCKETS.to_vec()),
            )?)?,
            writes: new.counters(
                "writes_total",
                "Writes to the API server, by object.",
                &["object"],
            )?,
            write_errors: new.counters(
                "write_errors_total",
                "Writes that the API server did not take, by object and error.",
                &["object", "error"],
            )?,
            evictions: new.counters(
                "evictions_total",
                "Evictions of miners, by result: evicted, gone, blocked, failed.",
                &["result"],
            )?,
            shifted_nodes: new.counters(
                "shifted_nodes_total",
                "Nodes whose move has ended, by pool, uses, cause and phase.",
                &["pool", "from", "to", "cause", "phase"],
            )?,
            shift_seconds: new.add(HistogramVec::new(
                HistogramOpts::new(
                    "shift_seconds",
                    "Time that a completed shift took, by pool and uses.",
                )
                .buckets(SHIFT_BUCKETS.to_vec()),
                &["pool", "from", "to"],
            )?)?,
            passes: new.add(IntCounter::with_opts(Opts::new(
                "passes_total",
                "Times that the operator looked at everything and made a plan.",
            ))?)?,
            nodes: new.gauges("nodes", "Nodes, by pool and use.", &["pool", "use"])?,
            gpus: new.gauges("gpus", "GPUs, by pool and what they do.", &["pool", "state"])?,
            shifting: new.gauges("shifting_nodes", "Nodes on the move, by pool.", &["pool"])?,
            overdue: new.gauges(
                "overdue_shifts",
                "Shifts that run although their deadline has passed, by pool.",
                &["pool"],
            )?,
            value: new.floats(
                "value_usd_per_hour",
                "What the nodes earn, power paid, by pool and use.",
                &["pool", "use"],
            )?,
            watts: new.floats(
                "watts",
                "Power that the nodes draw, without PUE, by pool.",
                &["pool"],
            )?,
            reasons: new.gauges(
                "node_reasons",
                "Nodes, by pool and the reason why they move or stay.",
                &["pool", "reason"],
            )?,
            allowed: new.gauges(
                "allowed_disruptions",
                "How many more nodes a price may move, by pool.",
                &["pool"],
            )?,
            breaker_open: new.gauges(
                "breaker_open",
                "Whether prices may move no node because they moved too many back and forth (1) or \
                 not (0), by pool.",
                &["pool"],
            )?,
            waiting: new.gauges(
                "waiting_gpus",
                "GPUs that waiting work asks for, by what becomes of it.",
                &["reason"],
            )?,
            signal_value: new.floats(
                "signal_value",
                "The value of a signal, in its unit.",
                &["signal"],
            )?,
            signal_time: new.floats(
                "signal_timestamp_seconds",
                "When the value of a signal was read, in seconds since 1970.",
                &["signal"],
            )?,
            signal_trusted: new.gauges(
                "signal_trusted",
                "Whether a price-driven decision may rest on a signal (1) or not (0).",
                &["signal"],
            )?,
            source_up: new.gauges(
                "signal_source_up",
                "Whether a source of a signal was read (1) or not (0).",
                &["signal", "source"],
            )?,
            last_pass: new.add(Gauge::with_opts(Opts::new(
                "last_pass_timestamp_seconds",
                "When the operator last made a plan, or saw that it still stands, in seconds since 1970.",
            ))?)?,
            registry: registry.clone(),
        };
        metrics.described = new.described();
        metrics.begin();
        Ok(metrics)
    }

    /// Sets what is known from the start, so that a first increase is seen as one.
    fn begin(&self) {
        let build = [BUILD.version, BUILD.commit, BUILD.features];
        self.build.with_label_values(&build).set(1);
        for object in OBJECTS {
            self.writes.with_label_values(&[object]).reset();
            self.write_errors.with_label_values(&[object, "forbidden"]).reset();
        }
        for result in ["evicted", "gone", "blocked", "failed"] {
            self.evictions.with_label_values(&[result]).reset();
        }
    }

    /// The same for a pool.
    fn begin_pool(&self, pool: &str) {
        let uses = || Use::iter().map(label);
        for (from, to) in uses().flat_map(|from| uses().map(move |to| (from, to))) {
            // Only miners change without changing the use of their node.
            if from == to && from != label(Use::Mining) {
                continue;
            }
            self.shift_seconds.with_label_values(&[pool, from, to]);
            for cause in Cause::iter().map(<&str>::from) {
                for phase in Phase::iter().filter(|phase| phase.is_final()).map(<&str>::from) {
                    self.shifted_nodes.with_label_values(&[pool, from, to, cause, phase]);
                }
            }
        }
    }

    /// Takes back what is told of pools and signals. Each pass tells it anew; who stands by knows
    /// nothing of them, and who led before knows nothing any more.
    pub fn forget(&self) {
        for gauges in [
            &self.nodes,
            &self.gpus,
            &self.shifting,
            &self.overdue,
            &self.reasons,
            &self.allowed,
            &self.breaker_open,
            &self.waiting,
            &self.signal_trusted,
            &self.source_up,
        ] {
            gauges.reset();
        }
        for gauges in [&self.value, &self.watts, &self.signal_value, &self.signal_time] {
            gauges.reset();
        }
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Every metric: name, labels, and what it says.
    pub fn described(&self) -> Vec<Described> {
        self.described.clone()
    }

    /// Takes note of the signals, and that somebody looks.
    pub fn look(&self, signals: &[Overview], now: Timestamp) {
        self.last_pass.set(seconds(now));
        for signal in signals {
            self.signal(signal);
        }
    }

    /// Takes note of a pass. What is no longer there is no longer shown.
    pub fn pass(&self, survey: &Survey<'_>, totals: &[Totals], plan: &Plan, now: Timestamp) {
        self.passes.inc();
        self.forget();
        for ((pool, totals), plan) in survey.pools.iter().zip(totals).zip(&plan.pools) {
            self.begin_pool(&pool.facts.name);
            self.pool(&pool.facts.name, totals);
            for decision in &plan.decisions {
                let reason = decision.reason.label();
                self.reasons.with_label_values(&[&*pool.facts.name, &reason]).inc();
            }
            let allowed = i64::try_from(plan.allowed_disruptions).unwrap_or(i64::MAX);
            self.allowed.with_label_values(&[&*pool.facts.name]).set(allowed);
            let open = pool.breaker.open_since.is_some();
            self.breaker_open.with_label_values(&[&*pool.facts.name]).set(open.into());
        }
        for shift in survey.snapshot.shifts.iter().filter(|shift| shift.spec.deadline < now) {
            self.overdue.with_label_values(&[&shift.spec.pool]).inc();
        }
        for reason in WAITING {
            self.waiting.with_label_values(&[&reason.label()]).set(0);
        }
        for waiting in &plan.waiting {
            let reason = waiting.verdict.reason.label();
            self.waiting.with_label_values(&[&reason]).add(waiting.gpus.into());
        }
    }

    fn pool(&self, pool: &str, totals: &Totals) {
        let nodes = &totals.nodes;
        for (node_use, count) in
            [(Use::Mining, nodes.mining), (Use::Hpc, nodes.hpc), (Use::Idle, nodes.idle)]
        {
            self.nodes.with_label_values(&[pool, label(node_use)]).set(count.into());
        }
        let gpus = &totals.gpus;
        let idle = gpus.total.saturating_sub(gpus.mining + gpus.hpc_busy + gpus.hpc_free);
        for (state, count) in [
            ("mining", gpus.mining),
            ("hpc_busy", gpus.hpc_busy),
            ("hpc_free", gpus.hpc_free),
            ("idle", idle),
        ] {
            self.gpus.with_label_values(&[pool, state]).set(count.into());
        }
        self.shifting.with_label_values(&[pool]).set(nodes.shifting.into());
        self.overdue.with_label_values(&[pool]).set(0);
        let value = &totals.value;
        for (node_use, usd) in
            [(Use::Mining, value.mining), (Use::Hpc, value.hpc), (Use::Idle, value.idle)]
        {
            if let Some(usd) = usd {
                self.value.with_label_values(&[pool, label(node_use)]).set(usd.value());
            }
        }
        self.watts.with_label_values(&[pool]).set(value.watts as f64);
    }

    fn signal(&self, signal: &Overview) {
        let name = signal.name.as_str();
        if let Some(value) = signal.value {
            self.signal_value.with_label_values(&[name]).set(value);
        }
        if let Some(time) = signal.time {
            self.signal_time.with_label_values(&[name]).set(seconds(time));
        }
        self.signal_trusted.with_label_values(&[name]).set(signal.trusted.into());
        for (source, reason) in &signal.sources {
            let up = *reason == Reason::SourceRead;
            self.source_up.with_label_values(&[name, source.as_str()]).set(up.into());
        }
    }

    /// Counts a shift that has ended.
    pub fn ended(&self, shift: &NodeShift) {
        let spec = &shift.spec;
        let Some(status) = &shift.status else { return };
        let (from, to) = (label(spec.from), label(spec.to));
        let cause: &str = spec.cause.into();
        for node in &status.nodes {
            let phase: &str = node.phase.into();
            let labels = [spec.pool.as_str(), from, to, cause, phase];
            self.shifted_nodes.with_label_values(&labels).inc();
        }
        if status.phase == Phase::Completed
            && let Some((started, finished)) = status.started.zip(status.finished)
        {
            let took = finished.duration_since(started).as_secs_f64();
            self.shift_seconds.with_label_values(&[spec.pool.as_str(), from, to]).observe(took);
        }
    }
}

fn label(node_use: Use) -> &'static str {
    switchyard_api::keys::use_value(node_use)
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1e3
}
