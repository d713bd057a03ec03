//! What would be decided about a node if something were different: a copy of the facts is changed
//! and decided about anew.

use jiff::Timestamp;
use switchyard_api::{Mode, Reason};

use super::{
    Destination, Flip, GateState, PriceChange, Step, gates::gates, lever::Lever, remedy::remedy,
};
use crate::{
    allocation::rests_at,
    plan::{self, NodeDecision, Plan},
    snapshot::Snapshot,
    survey::{NodeId, Survey, survey},
};

/// What is decided about a node, as far as it matters whether it is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Where it should go.
    pub(super) to: Option<Destination>,
    /// Does it go there now?
    pub(super) moves: bool,
}

impl Verdict {
    pub(super) fn of(mode: Mode, decision: &NodeDecision) -> Self {
        Self { to: Destination::wanted(decision), moves: decision.moves() && mode == Mode::Active }
    }
}

/// A copy of the facts, and the node that it is about.
pub(super) struct Trial {
    facts: Snapshot,
    id: NodeId,
    found: Verdict,
}

/// Steps away from a price, as multiples of it. Up they end at ten times the price, down at a tenth.
const UP: [f64; 7] = [0.01, 0.03, 0.09, 0.27, 0.8, 2.4, 9.0];
const DOWN: [f64; 5] = [-0.01, -0.03, -0.09, -0.27, -0.9];
/// Once a change is known to be enough, the least is looked for this closely, as a share of it.
const CLOSE: f64 = 1e-3;
/// And never closer than this share of the price: at a tie the slightest change is enough.
const FINEST: f64 = 1e-6;
/// A gate behind a gate behind a gate: after so many nobody would do it all.
const ROUNDS: usize = 6;

impl Trial {
    pub(super) fn new(survey: &Survey<'_>, id: NodeId, found: Verdict) -> Self {
        Self { facts: survey.snapshot.clone(), id, found }
    }

    /// Looks at the facts as they are changed by now.
    fn look<T>(&self, look: impl FnOnce(&Survey<'_>, &Plan, &NodeDecision) -> T) -> Option<T> {
        let survey = survey(&self.facts);
        let plan = plan::decide(&survey);
        let decision = plan.pools.get(self.id.pool)?.decisions.get(self.id.node)?;
        Some(look(&survey, &plan, decision))
    }

    fn verdict(&self) -> Option<Verdict> {
        let mode = self.facts.pools.get(self.id.pool)?.spec.shifting.mode;
        self.look(|_, _, decision| Verdict::of(mode, decision))
    }

    fn differs(&self) -> bool {
        self.verdict().is_some_and(|verdict| verdict != self.found)
    }

    fn flip(&self, steps: Vec<Step>) -> Option<Flip> {
        let id = self.id;
        self.look(|survey, _, decision| {
            let (pool, node) = survey.node(id)?;
            let verdict = Verdict::of(pool.facts.spec.shifting.mode, decision);
            let closed = gates(survey, id.pool, pool, node, decision).into_iter();
            Some(Flip {
                steps,
                to: verdict.to,
                moves: verdict.moves,
                held_by: closed.filter(|gate: &GateState| !gate.open).collect(),
            })
        })?
    }

    /// The nearest prices on either side at which the decision is another one.
    pub(super) fn turn(&mut self, lever: &Lever) -> Vec<Flip> {
        let Some(from) = lever.value(&self.facts) else {
            return Vec::new();
        };
        let mut flips = Vec::new();
        for reach in [UP.as_slice(), DOWN.as_slice()] {
            if let Some(to) = self.nearest(lever, from, reach) {
                lever.set(&mut self.facts, to);
                let price = lever.price(&self.facts);
                let change = PriceChange {
                    relative: (to - from) / lever.scale(from),
                    field: price.field,
                    signal: price.signal,
                    unit: price.unit,
                    from,
                    to,
                };
                flips.extend(self.flip(vec![Step::Price(change)]));
            }
            lever.set(&mut self.facts, from);
        }
        flips
    }

    fn nearest(&mut self, lever: &Lever, from: f64, reach: &[f64]) -> Option<f64> {
        let mut same = from;
        let mut other = reach.iter().find_map(|step| {
            let price = from + step * lever.scale(from);
            if self.differs_at(lever, price) {
                return Some(price);
            }
            same = price;
            None
        })?;
        let close = |same: f64, other: f64| {
            let size = (other - from).abs().min(lever.scale(from));
            (other - same).abs() <= (CLOSE * size).max(FINEST * lever.scale(from))
        };
        while !close(same, other) {
            let middle = f64::midpoint(same, other);
            if self.differs_at(lever, middle) { other = middle } else { same = middle }
        }
        let rounded = round_away(other, from, lever.scale(from).min((other - from).abs()));
        Some(if self.differs_at(lever, rounded) { rounded } else { other })
    }

    fn differs_at(&mut self, lever: &Lever, price: f64) -> bool {
        lever.set(&mut self.facts, price);
        self.differs()
    }

    /// What has to be done, and how long to be waited, until the node goes where it should.
    pub(super) fn open_the_way(mut self) -> Option<Flip> {
        let start = self.facts.clone();
        let mut tasks: Vec<Task> = Vec::new();
        for _ in 0..ROUNDS {
            if self.verdict()?.moves {
                return self.least(&start, tasks);
            }
            let obstacles = self.obstacles()?;
            if obstacles.is_empty() {
                return None;
            }
            for obstacle in obstacles {
                let task = self.task(obstacle)?;
                (task.apply)(&mut self.facts);
                tasks.push(task);
            }
        }
        None
    }

    /// Leaves out what turns out not to be needed: what opened one gate may have changed where the
    /// node should go.
    fn least(mut self, start: &Snapshot, mut tasks: Vec<Task>) -> Option<Flip> {
        for index in (0..tasks.len()).rev() {
            let others = tasks.iter().enumerate().filter(|(other, _)| *other != index);
            self.facts = start.clone();
            others.for_each(|(_, task)| (task.apply)(&mut self.facts));
            if self.verdict()?.moves {
                tasks.remove(index);
            }
        }
        self.facts = start.clone();
        for task in &tasks {
            (task.apply)(&mut self.facts);
        }
        let mut steps: Vec<_> = tasks.into_iter().map(|task| task.step).collect();
        // People act first, then wait.
        steps.sort_by_key(|step| matches!(step, Step::Wait { .. }));
        (!steps.is_empty()).then(|| self.flip(steps))?
    }

    /// What keeps the node from moving now.
    fn obstacles(&self) -> Option<Vec<Obstacle>> {
        let (id, now) = (self.id, self.facts.now);
        self.look(|survey, _, decision| {
            let (pool, node) = survey.node(id)?;
            let closed = gates(survey, id.pool, pool, node, decision).into_iter();
            let closed = closed.filter(|gate: &GateState| !gate.open);
            let mut obstacles: Vec<_> = closed
                .map(|gate| match (gate.until, gate.reason) {
                    (Some(until), _) => Obstacle::Time(until),
                    (None, Some(reason)) if gate.remedy.is_some() => Obstacle::Closed(reason),
                    (None, _) => Obstacle::Wall,
                })
                .collect();
            if decision.candidate.is_none() {
                obstacles.extend(match decision.reason {
                    Reason::RecentlyBusy => rests_at(pool, node).map(Obstacle::Time),
                    // If nothing else is in the way, trust in a price may show that a move pays.
                    reason => {
                        let mut reasons = [reason, Reason::SignalUntrusted].into_iter();
                        let known = |reason: &Reason| {
                            remedy(*reason, survey, id.pool, pool, node).is_some()
                        };
                        reasons.find(known).map(Obstacle::Closed)
                    }
                });
            }
            obstacles.retain(|obstacle| !matches!(obstacle, Obstacle::Time(end) if *end <= now));
            Some(obstacles)
        })?
    }

    /// What overcomes an obstacle.
    fn task(&self, obstacle: Obstacle) -> Option<Task> {
        let id = self.id;
        match obstacle {
            Obstacle::Time(until) => Some(Task {
                step: Step::Wait { until },
                apply: Box::new(move |facts| facts.now = facts.now.max(until)),
            }),
            Obstacle::Closed(reason) => self.look(|survey, _, _| {
                let (pool, node) = survey.node(id)?;
                let remedy = remedy(reason, survey, id.pool, pool, node)?;
                let step = Step::Do { what: remedy.what, reason };
                Some(Task { step, apply: remedy.apply })
            })?,
            Obstacle::Wall => None,
        }
    }
}

/// A step that can be taken in a copy of the facts.
struct Task {
    step: Step,
    apply: Box<dyn Fn(&mut Snapshot)>,
}

/// What is between a node and its move.
#[derive(Clone, Copy)]
enum Obstacle {
    /// Only time.
    Time(Timestamp),
    /// A gate that a person can open.
    Closed(Reason),
    /// Nothing that can be named.
    Wall,
}

/// A price with few digits, farther from `from` than the exact one by a thousandth of `size` at most.
fn round_away(price: f64, from: f64, size: f64) -> f64 {
    let digits = 10_f64.powf(-(size * CLOSE).log10().floor());
    if !digits.is_normal() {
        return price;
    }
    let scaled = price * digits;
    (if price > from { scaled.ceil() } else { scaled.floor() }) / digits
}
