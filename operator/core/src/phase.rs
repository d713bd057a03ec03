//! The state machine of a shift.
//!
//! ```text
//! Mining, Idle → HPC   claim + relabel │ Draining: miners go │ Switching: untaint, the gang together
//! HPC → Mining, Idle   claim + taint   │ Draining: no job landed │ Switching: relabel, miner starts
//! Mining ↔ Idle        claim + relabel │ Draining: miners go     │ Switching: miner starts
//! ```
//!
//! A phase is entered when it is observed, never when a write was sent: the claim on the node says
//! that a move is under way and its label and taint say how far it is. So a crash between any two
//! requests loses nothing, and a write that is sent twice is refused by its own test.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use switchyard_api::{
    Mode, NodeRef, NodeShiftSpec, NodeShiftStatus, Phase, PhaseCounts, Reason, ShiftedNode, Use,
    keys,
};

use crate::{
    snapshot::{Barrier, Marks, ShiftFacts},
    survey::{NodeView, PoolView, Survey},
    writes::{Eviction, NodeWrite},
};

/// For so long after the taint a scheduler may still bind a pod that it had decided on before.
const TAINT_SETTLES: SignedDuration = SignedDuration::from_secs(2);

/// What a shift does next.
#[derive(Debug)]
pub struct ShiftStep {
    /// Its status after what was observed.
    pub status: NodeShiftStatus,
    /// What is to be written on nodes.
    pub writes: Vec<NodeWrite>,
    /// Miners that are to go.
    pub evictions: Vec<Eviction>,
}

/// Steps one shift.
///
/// While its pool cannot be read, nothing is known of it and nothing is done.
pub fn step(survey: &Survey<'_>, shift: &ShiftFacts) -> ShiftStep {
    if survey.snapshot.unreadable_pools.contains(shift.spec.pool.as_str()) {
        return ShiftStep {
            status: shift.status.clone(),
            writes: Vec::new(),
            evictions: Vec::new(),
        };
    }
    let now = survey.snapshot.now;
    let nodes = nodes_of(survey, &shift.spec.pool);
    let gang_is_free = gang_is_free(shift, &nodes, now);
    let work_waits = work_waits(survey, &shift.spec);
    let (mut stepped, mut writes, mut evictions) = (Vec::new(), Vec::new(), Vec::new());
    for node in &shift.spec.nodes {
        let before = progress(shift, &node.name);
        if before.phase.is_final() {
            stepped.push(before);
            continue;
        }
        let scene = Scene { shift, before: &before, gang_is_free, work_waits, now };
        let outcome = match nodes.get(&(node.name.as_str(), node.uid.as_str())) {
            Some((pool, view)) => scene.step(pool, view),
            None => Outcome::end(Phase::RolledBack, gone_or_changed(survey, node)),
        };
        writes.extend(outcome.write);
        evictions.extend(outcome.evictions);
        let (phase, reason) = (outcome.phase, outcome.reason);
        let since = if phase == before.phase { before.since } else { now };
        stepped.push(ShiftedNode { name: node.name.clone(), phase, since, reason });
    }
    ShiftStep { status: summarize(&shift.status, stepped, now), writes, evictions }
}

/// The nodes of a pool by name and UID.
fn nodes_of<'s, 'a>(
    survey: &'s Survey<'a>,
    pool: &str,
) -> HashMap<(&'a str, &'a str), (&'s PoolView<'a>, &'s NodeView<'a>)> {
    let pool = survey.pools.iter().filter(|view| *view.facts.name == *pool);
    let nodes = pool.flat_map(|pool| pool.nodes.iter().map(move |node| (pool, node)));
    nodes.map(|(pool, node)| ((&*node.facts.name, &*node.facts.uid), (pool, node))).collect()
}

fn gone_or_changed(survey: &Survey<'_>, node: &NodeRef) -> Reason {
    let exists = survey.snapshot.nodes.iter().any(|facts| *facts.uid == *node.uid);
    if exists { Reason::NodeChanged } else { Reason::NodeGone }
}

/// Are all nodes of a gang's shift without miners, so that they can be opened together? Past the
/// deadline nobody waits for the last ones any more.
fn gang_is_free(
    shift: &ShiftFacts,
    nodes: &HashMap<(&str, &str), (&PoolView<'_>, &NodeView<'_>)>,
    now: Timestamp,
) -> bool {
    shift.spec.gang.is_none()
        || now >= shift.spec.deadline
        || shift.spec.nodes.iter().all(|node| {
            let done = progress(shift, &node.name).phase.is_final();
            let view = nodes.get(&(node.name.as_str(), node.uid.as_str()));
            done || view.is_none_or(|(_, view)| {
                let claimed = view.facts.marks.claim.as_deref() == Some(&*shift.name);
                let opened = view.facts.marks.taint.is_none();
                (claimed || opened) && view.miners.is_empty()
            })
        })
}

/// Does any of the work still wait that the shift is to serve?
fn work_waits(survey: &Survey<'_>, spec: &NodeShiftSpec) -> bool {
    let served: BTreeSet<&str> = spec.serves.iter().map(String::as_str).collect();
    served.is_empty()
        || survey.waiting.iter().any(|pod| served.contains(pod.work.to_string().as_str()))
}

fn progress(shift: &ShiftFacts, node: &str) -> ShiftedNode {
    let known = shift.status.nodes.iter().find(|known| known.name == node);
    known.cloned().unwrap_or_else(|| ShiftedNode {
        name: node.to_owned(),
        phase: Phase::Pending,
        since: shift.created,
        reason: Reason::Ordered,
    })
}

/// Where a node of a shift stands now, and what is to be done.
struct Outcome {
    phase: Phase,
    reason: Reason,
    write: Option<NodeWrite>,
    evictions: Vec<Eviction>,
}

impl Outcome {
    fn end(phase: Phase, reason: Reason) -> Self {
        Self { phase, reason, write: None, evictions: Vec::new() }
    }

    fn wait(phase: Phase, reason: Reason) -> Self {
        Self::end(phase, reason)
    }

    fn write(phase: Phase, reason: Reason, write: NodeWrite) -> Self {
        Self { write: Some(write), ..Self::end(phase, reason) }
    }
}

/// One node of a shift and what is to be known about it.
struct Scene<'s> {
    shift: &'s ShiftFacts,
    before: &'s ShiftedNode,
    gang_is_free: bool,
    work_waits: bool,
    now: Timestamp,
}

impl Scene<'_> {
    fn step(&self, pool: &PoolView<'_>, node: &NodeView<'_>) -> Outcome {
        let marks = &node.facts.marks;
        match marks.claim.as_deref() {
            Some(claim) if *claim == *self.shift.name => self.go_on(node),
            Some(_) => Outcome::end(Phase::RolledBack, Reason::NodeChanged),
            None if self.before.phase != Phase::Pending => self.ended(marks),
            // The last write may have been the last thing before a crash.
            None if self.arrived(marks) && marks.since >= Some(self.shift.created) => {
                self.ended(marks)
            }
            None => self.begin(pool, node),
        }
    }

    /// Checks the order against the facts of now, then claims the node.
    fn begin(&self, pool: &PoolView<'_>, node: &NodeView<'_>) -> Outcome {
        if let Some(reason) = self.obstacle(pool, node) {
            return Outcome::end(Phase::RolledBack, reason);
        }
        let spec = &self.shift.spec;
        let mut marks = node.facts.marks.clone();
        marks.claim = Some(self.shift.name.clone());
        match (spec.from, spec.to) {
            // The label stays until it is sure that no job landed.
            (Use::Hpc, to) => marks.taint = Barrier::of(to),
            // The taint stays until the GPUs are free.
            (_, Use::Hpc) => {
                marks.node_use = Some(Use::Hpc);
                marks.since = Some(self.now);
            }
            (_, to) => self.relabel(&mut marks, to),
        }
        Outcome::write(Phase::Pending, Reason::WaitsForWrite, to_node(node, marks))
    }

    /// Why the order, right when it was given, must not be begun now.
    fn obstacle(&self, pool: &PoolView<'_>, node: &NodeView<'_>) -> Option<Reason> {
        let spec = &self.shift.spec;
        if pool.facts.spec.shifting.mode != Mode::Active {
            return Some(Reason::Hold);
        }
        if self.now >= spec.deadline {
            return Some(Reason::DeadlinePassed);
        }
        if node.node_use != spec.from || !node.adopted {
            return Some(Reason::NodeChanged);
        }
        if spec.from == Use::Hpc && !node.jobs.is_empty() {
            return Some(Reason::JobWins);
        }
        if !self.work_waits {
            return Some(Reason::DemandGone);
        }
        let request = crate::gate::Request {
            pool,
            node,
            to: spec.to,
            cause: spec.cause,
            trusted: true, // signals were asked when the order was given
            payback: None,
        };
        crate::gate::closed(request, self.now).next().map(|block| block.reason)
    }

    fn go_on(&self, node: &NodeView<'_>) -> Outcome {
        let (from, to) = (self.shift.spec.from, self.shift.spec.to);
        let relabelled = node.facts.marks.node_use == Some(to);
        match (from, to) {
            (Use::Hpc, _) if !node.jobs.is_empty() => self.roll_back(node, Reason::JobWins),
            (Use::Hpc, _) if !relabelled => self.close(node),
            // Somebody edited the label under the shift.
            (Use::Mining | Use::Idle, _) if !relabelled => self.relabel_again(node),
            (_, Use::Hpc) => self.open(node),
            (_, Use::Mining) => self.start_mining(node),
            (_, Use::Idle) => self.go_idle(node),
        }
    }

    fn relabel_again(&self, node: &NodeView<'_>) -> Outcome {
        let marks = Marks { node_use: Some(self.shift.spec.to), ..node.facts.marks.clone() };
        Outcome::write(Phase::Draining, Reason::Repaired, to_node(node, marks))
    }

    /// To HPC: when the miners are gone, and the gang's other nodes are free, the taint goes.
    fn open(&self, node: &NodeView<'_>) -> Outcome {
        if !node.miners.is_empty() {
            return self.drain(node);
        }
        if !self.gang_is_free {
            return Outcome::wait(Phase::Switching, Reason::WaitsForGang);
        }
        let marks = Marks {
            node_use: Some(Use::Hpc),
            taint: None,
            profile: None,
            claim: None,
            ..node.facts.marks.clone()
        };
        Outcome::write(Phase::Switching, Reason::WaitsForWrite, to_node(node, marks))
    }

    /// From HPC: the node is tainted; when it is sure that no job landed before, it is relabelled.
    fn close(&self, node: &NodeView<'_>) -> Outcome {
        if self.now >= self.shift.spec.deadline {
            return self.roll_back(node, Reason::DeadlinePassed);
        }
        let settled = self.before.phase == Phase::Draining
            && self.now.duration_since(self.before.since) >= TAINT_SETTLES;
        if !settled {
            return Outcome::wait(Phase::Draining, Reason::WaitsForTaint);
        }
        let mut marks = node.facts.marks.clone();
        self.relabel(&mut marks, self.shift.spec.to);
        Outcome::write(Phase::Draining, Reason::WaitsForWrite, to_node(node, marks))
    }

    /// To Mining: done when the miner of the profile runs.
    fn start_mining(&self, node: &NodeView<'_>) -> Outcome {
        let profile = self.shift.spec.profile.as_ref();
        let others = node.miners.iter().filter(|miner| Some(miner.profile) != profile);
        let evictions: Vec<_> = others.filter_map(Eviction::of).collect();
        let runs = node.miners.iter().any(|miner| {
            Some(miner.profile) == profile && miner.pod.running && !miner.pod.terminating
        });
        if runs {
            return self.let_go(node, Reason::WaitsForWrite);
        }
        if self.now >= self.shift.spec.deadline {
            return self.let_go(node, Reason::DeadlinePassed);
        }
        Outcome { evictions, ..Outcome::wait(Phase::Switching, Reason::WaitsForMinerStart) }
    }

    /// To Idle: done when the miners are gone.
    fn go_idle(&self, node: &NodeView<'_>) -> Outcome {
        if node.miners.is_empty() {
            return self.let_go(node, Reason::WaitsForWrite);
        }
        self.drain(node)
    }

    fn drain(&self, node: &NodeView<'_>) -> Outcome {
        if self.now >= self.shift.spec.deadline {
            return self.roll_back(node, Reason::DeadlinePassed);
        }
        Outcome {
            evictions: node.miners.iter().filter_map(Eviction::of).collect(),
            ..Outcome::wait(Phase::Draining, Reason::WaitsForMiners)
        }
    }

    /// The last write of a move to Mining or Idle: the claim goes.
    fn let_go(&self, node: &NodeView<'_>, reason: Reason) -> Outcome {
        let mut marks = node.facts.marks.clone();
        marks.claim = None;
        if self.shift.spec.to == Use::Idle {
            marks.profile = None;
        }
        Outcome::write(Phase::Switching, reason, to_node(node, marks))
    }

    /// Puts the node back into the use that it had. A miner that was stopped starts again; what its
    /// dwell was is lost, so that it begins anew.
    fn roll_back(&self, node: &NodeView<'_>, reason: Reason) -> Outcome {
        let from = self.shift.spec.from;
        let mut marks = node.facts.marks.clone();
        marks.claim = None;
        if marks.node_use != Some(from) {
            marks.since = Some(self.now);
        }
        marks.node_use = Some(from);
        marks.taint = Barrier::of(from);
        if from != Use::Mining {
            marks.profile = None;
        }
        let phase = match self.before.phase {
            Phase::Pending => Phase::Draining,
            begun => begun,
        };
        Outcome::write(phase, reason, to_node(node, marks))
    }

    fn relabel(&self, marks: &mut Marks, to: Use) {
        marks.node_use = Some(to);
        marks.taint = Barrier::of(to);
        marks.since = Some(self.now);
        if let Some(profile) = &self.shift.spec.profile {
            marks.profile =
                Some(keys::profile_value(&profile.namespace, &profile.name).as_str().into());
        }
    }

    /// Is the node in its new use, by its marks?
    fn arrived(&self, marks: &Marks) -> bool {
        let to = self.shift.spec.to;
        let profile = self
            .shift
            .spec
            .profile
            .as_ref()
            .map(|profile| keys::profile_value(&profile.namespace, &profile.name));
        marks.node_use == Some(to)
            && marks.taint.map_or(Use::Hpc, Barrier::node_use) == to
            && (to != Use::Mining || marks.profile.as_deref() == profile.as_deref())
    }

    /// The claim is gone: the last write was seen.
    fn ended(&self, marks: &Marks) -> Outcome {
        match (self.arrived(marks), self.before.reason) {
            (true, Reason::DeadlinePassed) => Outcome::end(Phase::Failed, Reason::DeadlinePassed),
            (true, _) => Outcome::end(Phase::Completed, Reason::Done),
            (false, reason @ (Reason::JobWins | Reason::DeadlinePassed)) => {
                Outcome::end(Phase::RolledBack, reason)
            }
            (false, _) => Outcome::end(Phase::RolledBack, Reason::NodeChanged),
        }
    }
}

fn to_node(node: &NodeView<'_>, marks: Marks) -> NodeWrite {
    NodeWrite::new(node.facts, marks, Reason::ShiftRunning)
}

/// The status of a shift from its nodes'.
fn summarize(before: &NodeShiftStatus, nodes: Vec<ShiftedNode>, now: Timestamp) -> NodeShiftStatus {
    let count = |phase| {
        let count = nodes.iter().filter(|node| node.phase == phase).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    let ended = nodes.iter().all(|node| node.phase.is_final());
    let least = [Phase::Pending, Phase::Draining, Phase::Switching];
    let worst = [Phase::Failed, Phase::RolledBack, Phase::Completed];
    let phase = least.into_iter().chain(worst).find(|phase| count(*phase) > 0);
    let begun = nodes.iter().any(|node| node.phase != Phase::Pending);
    NodeShiftStatus {
        phase: phase.unwrap_or(Phase::Completed),
        waits_for: waits_for(&nodes),
        counts: PhaseCounts {
            total: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
            completed: count(Phase::Completed),
            rolled_back: count(Phase::RolledBack),
            failed: count(Phase::Failed),
        },
        started: before.started.or(begun.then_some(now)),
        finished: before.finished.or(ended.then_some(now)),
        nodes: nodes.into_iter().filter(|node| node.phase != Phase::Pending).collect(),
    }
}

/// The most frequent thing that the unfinished nodes wait for, and how many do.
fn waits_for(nodes: &[ShiftedNode]) -> Option<String> {
    let mut counts: HashMap<Reason, usize> = HashMap::new();
    for node in nodes.iter().filter(|node| !node.phase.is_final()) {
        *counts.entry(node.reason).or_default() += 1;
    }
    let (reason, count) = counts.into_iter().max_by_key(|(reason, count)| (*count, *reason))?;
    Some(format!("{reason} ({count})"))
}
