//! Floors, ceilings and the power cap of a pool: which nodes leave the use that would be best for
//! them alone, so that all together keep the limits at the least cost.

use std::{collections::BTreeMap, sync::Arc};

use switchyard_api::{Cause, NodeRange, ProfileRef, Reason, Use};

use crate::{
    choice::{Candidate, Choice},
    demand::Demand,
    draw,
    economics::{ClassEconomics, ProfileValue, Quote},
    gate::{self, Request},
    optimum::{self, Class, Limits, Outlet, Problem},
    quantity::UsdPerHour,
    survey::{NodeId, NodeView, PoolView, Survey},
};

/// So many branches are looked at for the best split.
pub(crate) const EFFORT: usize = 64;
/// Of two nodes that are alike but for this share of what is at stake, the one stays that is in the
/// use already.
const STAYS: f64 = 0.05;
/// And if nothing is at stake, for this much, USD per hour, and this much more per watt that it draws:
/// the fewest and most frugal make way, whichever way the sums are rounded.
const STAYS_AT_LEAST: (f64, f64) = (1e-4, 1e-8);
const USES: [Use; 3] = [Use::Mining, Use::Idle, Use::Hpc];

/// Changes as few choices as it takes to keep the limits.
pub(crate) fn keep(survey: &Survey<'_>, index: usize, demand: &Demand<'_>, choices: &mut [Choice]) {
    let Some(pool) = survey.pools.get(index) else {
        return;
    };
    let scene = Scene::new(survey, pool, (index, demand), choices);
    let bounds = scene.bounds();
    if !scene.kept(&bounds, choices) {
        scene.split(&bounds, choices);
    }
    if let Some(watts) = bounds.watts {
        scene.wait_for_room(watts, choices);
    }
}

/// May the node be put to another use for the pool's sake?
pub(crate) fn is_free(node: &NodeView<'_>) -> bool {
    !node.moving() && node.unusable.is_none() && node.jobs.is_empty()
}

/// What a node without jobs earns as it stands; zero where that is not known.
pub(crate) fn present_value(class: &ClassEconomics, node: &NodeView<'_>) -> UsdPerHour {
    present_quote(class, node).value.unwrap_or_default()
}

fn present_quote(class: &ClassEconomics, node: &NodeView<'_>) -> Quote<UsdPerHour> {
    let profile = class.profile_of_label(node.facts.marks.profile.as_deref());
    let mining = profile.filter(|_| node.node_use == Use::Mining);
    mining.map_or_else(|| class.idle(node.gpus), |profile| class.mining(profile, node.gpus))
}

/// How many nodes are in a use or on their way to it.
pub(crate) fn heading(pool: &PoolView<'_>, node_use: Use) -> u32 {
    let heads =
        |node: &&NodeView<'_>| node.shift.map_or(node.node_use, |shift| shift.spec.to) == node_use;
    count(pool.nodes.iter().filter(heads).count())
}

pub(crate) fn count(nodes: usize) -> u32 {
    u32::try_from(nodes).unwrap_or(u32::MAX)
}

/// What the limits ask of a pool.
struct Bounds {
    hpc: Limits,
    mining: Limits,
    watts: Option<u64>,
}

/// What keeps nodes from the use that would be best for them.
#[derive(Debug, Clone, Copy)]
struct Tight {
    watts: bool,
    hpc: bool,
}

/// What a node may do: a use, and what it mines with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Way<'p> {
    node_use: Use,
    profile: Option<&'p Arc<ProfileRef>>,
}

/// Nodes that may do the same, at the same value: class, GPUs, the present way, the best way for them
/// alone, and the uses that the gates let them change to.
type Kind<'p> = (usize, u32, Way<'p>, Way<'p>, [bool; 3]);

struct Scene<'a, 's> {
    survey: &'s Survey<'a>,
    pool: &'s PoolView<'a>,
    index: usize,
    demand: &'s Demand<'a>,
    /// By node: would it move, but for gates that are closed to it?
    gated: Vec<bool>,
}

impl<'a, 's> Scene<'a, 's> {
    fn new(
        survey: &'s Survey<'a>,
        pool: &'s PoolView<'a>,
        (index, demand): (usize, &'s Demand<'a>),
        choices: &[Choice],
    ) -> Self {
        let mut scene = Self { survey, pool, index, demand, gated: Vec::new() };
        let gated = pool.nodes.iter().zip(choices).map(|(node, choice)| match choice {
            Choice::Move(candidate) if candidate.cause != Cause::Demand => {
                !scene.may_move(node, candidate)
            }
            _ => false,
        });
        scene.gated = gated.collect();
        scene
    }

    fn gated(&self, index: usize) -> bool {
        self.gated.get(index).copied().unwrap_or(false)
    }

    fn bounds(&self) -> Bounds {
        let spec = &self.pool.facts.spec;
        let limits = |range: &NodeRange| Limits {
            min: count(range.min.of(self.pool.nodes.len())),
            max: count(range.max.of(self.pool.nodes.len())),
            penalty: None,
        };
        Bounds {
            hpc: limits(&spec.hpc.nodes),
            mining: limits(&spec.mining.nodes),
            watts: draw::cap(self.pool),
        }
    }

    /// Would the choices as they are keep the limits?
    fn kept(&self, bounds: &Bounds, choices: &[Choice]) -> bool {
        let (mut hpc, mut mining) = (0, 0);
        let mut watts = self.wanted();
        for (index, (node, choice)) in self.pool.nodes.iter().zip(choices).enumerate() {
            let node_use = match (self.fixed(index, node, choice), choice) {
                (Some(node_use), _) => node_use,
                (None, Choice::Move(candidate)) if !self.gated(index) => candidate.to,
                (None, _) => node.node_use,
            };
            hpc += u32::from(node_use == Use::Hpc);
            mining += u32::from(node_use == Use::Mining);
            if bounds.watts.is_some() {
                watts += self.draw_after(index, node, choice);
            }
        }
        let within = |limits: &Limits, nodes| (limits.min..=limits.max).contains(&nodes);
        within(&bounds.hpc, hpc)
            && within(&bounds.mining, mining)
            && bounds.watts.is_none_or(|cap| watts <= cap)
    }

    /// What is yet to be made free for work that waits, W at the meter.
    fn wanted(&self) -> u64 {
        self.demand.wanted.get(&self.index).copied().unwrap_or(0)
    }

    fn id(&self, node: usize) -> NodeId {
        NodeId { pool: self.index, node }
    }

    /// The use of a node that is not to be changed, because jobs, shifts or people have their say.
    fn fixed(&self, index: usize, node: &NodeView<'_>, choice: &Choice) -> Option<Use> {
        match choice {
            Choice::Move(candidate) if candidate.cause == Cause::Demand => Some(Use::Hpc),
            _ if node.shift.is_some() => node.shift.map(|shift| shift.spec.to),
            _ if !is_free(node) || self.pool.class_of(node).is_none() => Some(node.node_use),
            _ if self.demand.reserved.contains(&self.id(index)) => Some(node.node_use),
            _ => None,
        }
    }

    /// What a node draws once its choice is carried out, W at the meter.
    fn draw_after(&self, index: usize, node: &NodeView<'_>, choice: &Choice) -> u64 {
        let now = self.draw_settled(index, node);
        match choice {
            Choice::Move(_) if self.gated(index) => now,
            Choice::Move(candidate) => match self.demand.openings.get(&self.id(index)) {
                Some(opening) => draw::opened(self.pool, node, opening),
                None if is_free(node) => {
                    let way = Way { node_use: candidate.to, profile: candidate.profile.as_ref() };
                    self.draw(index, node, way)
                }
                None => now,
            },
            Choice::Stay(_) => now,
        }
    }

    fn draw_now(&self, index: usize, node: &NodeView<'_>) -> u64 {
        draw::load(self.pool, node, self.demand.reserved.contains(&self.id(index)))
    }

    fn draw_settled(&self, index: usize, node: &NodeView<'_>) -> u64 {
        draw::settled(self.pool, node, self.demand.reserved.contains(&self.id(index)))
    }

    /// What a node without jobs draws, W at the meter.
    fn draw(&self, index: usize, node: &NodeView<'_>, way: Way<'_>) -> u64 {
        let class = self.pool.class_of(node);
        let profile = class.and_then(|class| profile(class, way.profile?));
        match (way.node_use, class) {
            (Use::Mining, Some(class)) => match profile {
                Some(profile) => draw::at_meter(self.pool, class.mining_watts(profile, node.gpus)),
                None => self.draw_now(index, node),
            },
            (Use::Hpc | Use::Idle, Some(class)) => {
                draw::at_meter(self.pool, class.idle_watts(node.gpus))
            }
            (_, None) => 0,
        }
    }

    /// Puts nodes where the best split has them.
    fn split(&self, bounds: &Bounds, choices: &mut [Choice]) {
        let mut kinds: BTreeMap<Kind<'s>, Vec<usize>> = BTreeMap::new();
        let (mut hpc, mut mining, mut watts) = (0, 0, self.wanted());
        for (index, (node, choice)) in self.pool.nodes.iter().zip(&*choices).enumerate() {
            match self.kind(index, node, choice) {
                Ok(kind) => kinds.entry(kind).or_default().push(index),
                Err(node_use) => {
                    hpc += u32::from(node_use == Use::Hpc);
                    mining += u32::from(node_use == Use::Mining);
                    watts += match self.fixed(index, node, choice) {
                        Some(_) => self.draw_after(index, node, choice),
                        // A gate keeps it where it is, whatever would be better.
                        None => self.draw_settled(index, node),
                    };
                }
            }
        }
        // An open node without jobs earns what an idle one does: only a floor asks for more of them.
        let lacks_hpc = hpc < bounds.hpc.min;
        let kinds = if lacks_hpc { kinds } else { whether_or_not_hpc(kinds) };
        let ways: Vec<Vec<(Way<'s>, Outlet)>> = kinds
            .iter()
            .map(|(kind, nodes)| self.ways(kind, nodes.first().copied(), lacks_hpc))
            .collect();
        let less = |limits: Limits, fixed: u32| Limits {
            min: limits.min.saturating_sub(fixed),
            max: limits.max.saturating_sub(fixed),
            penalty: limits.penalty,
        };
        let problem = Problem {
            classes: kinds
                .values()
                .zip(&ways)
                .map(|(nodes, ways)| Class {
                    nodes: count(nodes.len()),
                    options: ways.iter().map(|(_, outlet)| *outlet).collect(),
                })
                .collect(),
            lots: Vec::new(),
            hpc: less(bounds.hpc, hpc),
            mining: less(bounds.mining, mining),
            watts: bounds.watts.map(|cap| cap.saturating_sub(watts)),
        };
        let split = optimum::best(&problem, EFFORT);
        let total = |node_use| -> u32 {
            let of_kinds =
                ways.iter().zip(&split.nodes).flat_map(|(ways, nodes)| ways.iter().zip(nodes));
            of_kinds.filter(|((way, _), _)| way.node_use == node_use).map(|(_, nodes)| *nodes).sum()
        };
        let tight = Tight {
            watts: bounds.watts.is_some() && total(Use::Mining) < problem.mining.max,
            hpc: total(Use::Hpc) >= problem.hpc.max,
        };
        let parts = kinds.into_iter().zip(&ways).zip(&split.nodes);
        for (((kind, mut nodes), ways), counts) in parts {
            let since =
                |index: &usize| self.pool.nodes.get(*index).and_then(|node| node.facts.marks.since);
            nodes.sort_by_key(|index| (since(index), *index));
            // What is best for a node alone comes first; the longest in their use make way.
            let mut nodes = nodes.into_iter();
            for ((way, _), there) in ways.iter().zip(counts).skip(1) {
                for index in nodes.by_ref().take(usize::try_from(*there).unwrap_or(usize::MAX)) {
                    if let (Some(choice), Some(node)) =
                        (choices.get_mut(index), self.pool.nodes.get(index))
                    {
                        *choice = self.make_way(node, kind, *way, tight);
                    }
                }
            }
        }
    }

    /// The kind of a node that may be put to another use, or else the use that it has or gets.
    fn kind(&self, index: usize, node: &'s NodeView<'a>, choice: &Choice) -> Result<Kind<'s>, Use> {
        if let Some(node_use) = self.fixed(index, node, choice) {
            return Err(node_use);
        }
        let (Some(class), Some(number)) = (self.pool.class_of(node), node.class) else {
            return Err(node.node_use);
        };
        let open = USES.map(|to| {
            let request = Request {
                pool: self.pool,
                node,
                to,
                cause: Cause::Rebalance,
                trusted: true,
                payback: None,
            };
            to != node.node_use && gate::open(request, self.survey.snapshot.now)
        });
        if open == [false; 3] {
            return Err(node.node_use);
        }
        let label = node.facts.marks.profile.as_deref();
        let mines = class.profile_of_label(label).filter(|_| node.node_use == Use::Mining);
        let present = Way { node_use: node.node_use, profile: mines.map(|one| &one.profile) };
        let best = match choice {
            Choice::Move(candidate) if !self.gated(index) => Way {
                node_use: candidate.to,
                profile: candidate
                    .profile
                    .as_ref()
                    .and_then(|name| Some(&profile(class, name)?.profile)),
            },
            _ => present,
        };
        Ok((number, node.gpus, present, best, open))
    }

    /// What nodes of a kind may do, the best for them alone first. Nothing counts for more than that:
    /// what does not pay for a move alone is no gain here either.
    fn ways(&self, kind: &Kind<'s>, one: Option<usize>, lacks_hpc: bool) -> Vec<(Way<'s>, Outlet)> {
        let (class, gpus, present, best, open) = *kind;
        let node = one.and_then(|index| Some((index, self.pool.nodes.get(index)?)));
        let (Some((index, node)), Some(class)) = (node, self.pool.classes.get(class)) else {
            return Vec::new();
        };
        let other = |to: Use| match to {
            Use::Mining => class
                .best_profile(gpus)
                .map(|(profile, _)| Way { node_use: to, profile: Some(&profile.profile) }),
            Use::Hpc | Use::Idle => Some(Way { node_use: to, profile: None }),
        };
        let others = USES.into_iter().zip(open).filter(|(_, open)| *open);
        let others = others.filter(|(to, _)| *to != Use::Hpc || lacks_hpc);
        let mut all = vec![best, present];
        all.extend(others.filter_map(|(to, _)| other(to)));
        let mut ways: Vec<Way<'s>> = Vec::new();
        for way in all {
            if way == present || ways.iter().all(|known| known.node_use != way.node_use) {
                ways.push(way);
            }
        }
        ways.dedup();
        let value = |way: &Way<'_>| value_of(class, gpus, *way).number();
        let most = value(&best);
        let least = ways.iter().map(value).fold(most, f64::min);
        let (each, per_watt) = STAYS_AT_LEAST;
        let bonus = |way: &Way<'_>| {
            let draws = self.draw(index, node, *way) as f64;
            let stake = STAYS * (most - least) + each + per_watt * draws;
            match *way == present {
                true if best == present => stake,
                true => stake.min((most - value(way)) / 2.0),
                false => 0.0,
            }
        };
        let outlet = |way: Way<'s>| {
            let value = value(&way).min(most) + bonus(&way).max(0.0);
            let value = UsdPerHour::new(value).unwrap_or_default();
            (way, Outlet { node_use: way.node_use, value, watts: self.draw(index, node, way) })
        };
        ways.into_iter().map(outlet).collect()
    }

    /// What a node does that has to leave its best use for the pool's sake.
    fn make_way(&self, node: &NodeView<'_>, kind: Kind<'_>, way: Way<'_>, tight: Tight) -> Choice {
        let (_, gpus, present, best, _) = kind;
        let reason = match way.node_use {
            Use::Hpc if present.node_use == Use::Hpc => Reason::WarmStandby,
            Use::Hpc => Reason::BelowFloor,
            // A profile that pays less is mined for its watts alone.
            Use::Mining if best.node_use == Use::Mining => Reason::PowerCap,
            Use::Mining if best.node_use != Use::Hpc || !tight.hpc => Reason::BelowFloor,
            Use::Idle if best.node_use == Use::Mining && tight.watts => Reason::PowerCap,
            Use::Mining | Use::Idle => Reason::AboveCeiling,
        };
        if way == present {
            return Choice::Stay(reason);
        }
        let class = self.pool.class_of(node);
        let gain = class.map(|class| value_of(class, gpus, way) - present_value(class, node));
        Choice::Move(Candidate {
            to: way.node_use,
            profile: way.profile.cloned(),
            cause: Cause::Rebalance,
            reason,
            gain,
            trusted: reason == Reason::PowerCap
                || class.is_some_and(|class| present_quote(class, node).trusted),
            payback: None,
        })
    }

    /// Moves that draw more than now wait until there is room below the cap for them.
    fn wait_for_room(&self, cap: u64, choices: &mut [Choice]) {
        let mut now = 0;
        let mut more = Vec::new();
        for (index, (node, choice)) in self.pool.nodes.iter().zip(&*choices).enumerate() {
            let (before, after) =
                (self.draw_now(index, node), self.draw_after(index, node, choice));
            now += before;
            let Choice::Move(candidate) = choice else {
                continue;
            };
            let step = after.saturating_sub(before);
            if candidate.cause == Cause::Demand {
                now += step;
            } else if step > 0 && self.may_move(node, candidate) {
                more.push((std::cmp::Reverse(candidate.gain), node.facts.marks.since, index, step));
            }
        }
        more.sort_unstable();
        let mut left = cap.saturating_sub(now);
        for (_, _, index, step) in more {
            match left.checked_sub(step) {
                Some(rest) => left = rest,
                None => {
                    if let Some(choice) = choices.get_mut(index) {
                        *choice = Choice::Stay(Reason::PowerCap);
                    }
                }
            }
        }
    }

    fn may_move(&self, node: &NodeView<'_>, candidate: &Candidate) -> bool {
        let (to, cause, trusted) = (candidate.to, candidate.cause, candidate.trusted);
        let request =
            Request { pool: self.pool, node, to, cause, trusted, payback: candidate.payback };
        gate::open(request, self.survey.snapshot.now)
    }
}

/// Where nobody asks for HPC it makes no difference who may serve it.
fn whether_or_not_hpc(kinds: BTreeMap<Kind<'_>, Vec<usize>>) -> BTreeMap<Kind<'_>, Vec<usize>> {
    let mut merged: BTreeMap<Kind<'_>, Vec<usize>> = BTreeMap::new();
    for ((class, gpus, present, best, [mining, idle, _]), nodes) in kinds {
        merged
            .entry((class, gpus, present, best, [mining, idle, false]))
            .or_default()
            .extend(nodes);
    }
    merged
}

fn profile<'c>(class: &'c ClassEconomics, name: &ProfileRef) -> Option<&'c ProfileValue> {
    class.profiles.iter().find(|profile| *profile.profile == *name)
}

/// What a node without jobs earns; zero where that is not known.
fn value_of(class: &ClassEconomics, gpus: u32, way: Way<'_>) -> UsdPerHour {
    let quote = match way.profile.and_then(|name| profile(class, name)) {
        Some(profile) => class.mining(profile, gpus),
        None => class.idle(gpus),
    };
    quote.value.unwrap_or_default()
}
