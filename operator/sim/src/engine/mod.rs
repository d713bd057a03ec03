//! The simulated cluster: nodes in their uses, a queue, a scheduler, and a ledger.

mod ledger;
mod nodes;
mod queue;

use std::{cmp::Ordering, collections::BinaryHeap};

use switchyard_api::Use;

pub use ledger::{Ledger, Money};
pub use nodes::{Activity, NodeState};
pub use queue::Running;

use self::{nodes::Nodes, queue::Queue};
use crate::{
    outcome::Outcome,
    policy::{Door, Move, Policy, View},
    site::Site,
    timeline::Timeline,
};

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Event {
    time: f64,
    kind: Kind,
    /// Of events at the same time and of the same kind the first that was planned comes first.
    serial: u64,
}

/// What happens. The order is that in which things of the same time happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Completion { job: usize },
    Arrived { node: usize },
    PricesChange,
    Submission { job: usize },
    Expiry { job: usize },
    Step,
}

impl Eq for Event {}

impl Ord for Event {
    /// Reversed, because the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        let time = other.time.total_cmp(&self.time);
        time.then_with(|| other.kind.cmp(&self.kind)).then_with(|| other.serial.cmp(&self.serial))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One run of a policy on a site.
pub struct Engine<'s> {
    site: &'s Site,
    now: f64,
    nodes: Nodes,
    queue: Queue,
    ledger: Ledger,
    events: BinaryHeap<Event>,
    serial: u64,
    outcome: Outcome,
    prices: Vec<f64>,
    next_price: usize,
    timeline: Option<Timeline>,
}

/// Lets a policy run a site through its window.
pub fn run(site: &Site, policy: &mut dyn Policy) -> Outcome {
    let mut engine = Engine::new(site, policy);
    engine.play(policy);
    engine.finish().0
}

/// The same, and what happened hour by hour.
pub fn record(site: &Site, policy: &mut dyn Policy) -> (Outcome, Timeline) {
    let mut engine = Engine::new(site, policy);
    engine.timeline = Some(Timeline::default());
    engine.play(policy);
    let (outcome, timeline) = engine.finish();
    (outcome, timeline.unwrap_or_default())
}

impl<'s> Engine<'s> {
    fn new(site: &'s Site, policy: &dyn Policy) -> Self {
        let mut prices: Vec<f64> = [&site.power, &site.hpc]
            .into_iter()
            .chain(site.profiles.iter().map(|profile| &profile.income))
            .flat_map(|series| series.changes().collect::<Vec<_>>())
            .filter(|time| *time > 0.0 && *time < site.length)
            .collect();
        prices.sort_by(f64::total_cmp);
        prices.dedup();
        let mut engine = Self {
            site,
            now: 0.0,
            nodes: Nodes::new(site, &policy.start(site)),
            queue: Queue::default(),
            ledger: Ledger::new(site),
            events: BinaryHeap::new(),
            serial: 0,
            outcome: Outcome::new(site, policy.name()),
            prices,
            next_price: 0,
            timeline: None,
        };
        engine.plan(0.0, Kind::Step);
        if let Some(first) = site.jobs.first() {
            engine.plan(first.submit.max(0.0), Kind::Submission { job: 0 });
        }
        engine.plan_next_price();
        engine
    }

    fn plan(&mut self, time: f64, kind: Kind) {
        self.serial += 1;
        self.events.push(Event { time, kind, serial: self.serial });
    }

    fn plan_next_price(&mut self) {
        if let Some(time) = self.prices.get(self.next_price).copied() {
            self.next_price += 1;
            self.plan(time, Kind::PricesChange);
        }
    }

    /// Lets everything happen, moment by moment.
    fn play(&mut self, policy: &mut dyn Policy) {
        while let Some(event) = self.events.pop() {
            if event.time >= self.site.length {
                break;
            }
            self.advance(event.time);
            let mut decide = self.happen(event.kind);
            while let Some(next) =
                self.events.peek().copied().filter(|next| next.time <= event.time)
            {
                self.events.pop();
                decide |= self.happen(next.kind);
            }
            self.schedule();
            if decide {
                self.decide(policy);
                self.schedule();
            }
        }
    }

    /// Accounts for the time up to `time`.
    fn advance(&mut self, time: f64) {
        if let Some(timeline) = &mut self.timeline {
            let earned = |passed| {
                let mut ledger = self.ledger.clone();
                ledger.accrue(&self.nodes, passed);
                for running in self.queue.running() {
                    ledger.earn(running, self.now + passed);
                }
                ledger.money.net()
            };
            timeline.pass(time - self.now, &self.nodes.gpus(self.site), earned);
        }
        self.ledger.accrue(&self.nodes, time - self.now);
        self.now = time;
    }

    /// Lets one thing happen. Is a policy to be asked?
    fn happen(&mut self, kind: Kind) -> bool {
        match kind {
            Kind::Step => {
                self.plan(self.now + self.site.model.step, Kind::Step);
                true
            }
            Kind::PricesChange => {
                self.ledger.price(self.site, self.now);
                self.plan_next_price();
                false
            }
            Kind::Submission { job } => {
                self.queue.submit(job);
                self.plan(self.now + self.site.model.patience, Kind::Expiry { job });
                if let Some(next) = self.site.jobs.get(job + 1) {
                    self.plan(next.submit.max(self.now), Kind::Submission { job: job + 1 });
                }
                true
            }
            Kind::Expiry { job } => {
                if self.queue.give_up(job) {
                    self.outcome.lost += 1;
                }
                false
            }
            Kind::Completion { job } => {
                if let Some(running) = self.queue.complete(job) {
                    self.nodes.vacate(&running, self.now);
                    self.ledger.earn(&running, self.now);
                    self.outcome.done += 1;
                }
                false
            }
            Kind::Arrived { node } => {
                self.nodes.arrive(node, self.now);
                false
            }
        }
    }

    fn decide(&mut self, policy: &mut dyn Policy) {
        let decision = policy.decide(&View {
            site: self.site,
            now: self.now,
            nodes: self.nodes.all(),
            waiting: self.queue.waiting(),
            running: self.queue.running(),
        });
        for job in decision.refuse {
            if self.queue.give_up(job) {
                self.outcome.lost += 1;
            }
        }
        for (node, door) in decision.doors {
            self.nodes.shut(node, door == Door::Shut);
        }
        for Move { node, to } in decision.moves {
            if let Some((from, seconds)) = self.nodes.depart(self.site, node, to, self.now) {
                self.outcome.count_shift(from, to);
                self.plan(self.now + seconds, Kind::Arrived { node });
            }
        }
    }

    /// Starts what fits: the queue in its order, later jobs where earlier ones do not fit.
    fn schedule(&mut self) {
        for job in self.queue.startable(self.site, &self.nodes) {
            let Some(placed) = self.nodes.place(self.site, job) else { continue };
            let wanted = &self.site.jobs[job];
            let running = Running {
                job,
                gpus: wanted.gpus,
                started: self.now,
                price: wanted.price.unwrap_or_else(|| self.site.hpc.at(self.now)),
                nodes: placed,
            };
            self.outcome.waits.push(self.now - wanted.submit.max(0.0));
            self.plan(self.now + wanted.duration, Kind::Completion { job });
            self.queue.start(running);
        }
    }

    /// Pays jobs that still run up to the end of the window, and closes the books.
    fn finish(mut self) -> (Outcome, Option<Timeline>) {
        self.advance(self.site.length);
        for running in self.queue.running() {
            self.ledger.earn(running, self.now);
        }
        self.outcome.unfinished = self.queue.running().len() + self.queue.waiting().len();
        if let Some(timeline) = &mut self.timeline {
            timeline.close(self.ledger.money.net());
        }
        (self.outcome.close(&self.ledger), self.timeline)
    }
}

/// The use of an activity.
pub fn use_of(activity: Activity) -> Use {
    match activity {
        Activity::Mining(_) => Use::Mining,
        Activity::Hpc => Use::Hpc,
        Activity::Idle => Use::Idle,
    }
}
