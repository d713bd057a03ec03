//! An attempt to house the waiting work in the rooms that there are and could be.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use switchyard_api::{Cause, Reason, Use};

use crate::{
    admission::Admissions,
    budget::{Allowance, Move},
    demand::{Gang, Opening, Verdict},
    door,
    gate::{self, Request},
    quantity::{Usd, UsdPerHour},
    rooms::{Kind, Placement, Rooms, Tier},
    snapshot::{PodFacts, Work},
    survey::{NodeId, NodeView, PoolView, Survey},
    switching,
};

/// Opened nodes that stand or fall together, and the gangs on them.
pub(crate) type Group = (Vec<(NodeId, Opening)>, BTreeSet<usize>);

/// An attempt to house the waiting work.
pub(crate) struct Market<'a, 's> {
    survey: &'s Survey<'a>,
    allowances: Vec<Allowance>,
    admissions: Admissions<'a>,
    rooms: Rooms<'s>,
    /// Nodes that could be opened but for a gate.
    gated: Vec<Gated>,
    works: BTreeMap<usize, &'a Work>,
    lodgings: Vec<Lodging<'s>>,
}

struct Gated {
    node: NodeId,
    reason: Reason,
    /// Who may go there, the gate apart.
    list: usize,
}

/// A waiting pod in its room.
struct Lodging<'s> {
    gang: usize,
    placement: Placement<'s>,
    revenue: UsdPerHour,
    gpus: u32,
}

impl<'a, 's> Market<'a, 's> {
    pub(crate) fn open(survey: &'s Survey<'a>, allowances: &[Allowance]) -> Self {
        let mut market = Self {
            survey,
            allowances: allowances.to_vec(),
            admissions: Admissions::new(survey.waiting.iter().copied()),
            rooms: Rooms::default(),
            gated: Vec::new(),
            works: BTreeMap::new(),
            lodgings: Vec::new(),
        };
        let mut fresh = Vec::new();
        for id in survey.ids() {
            let Some((pool, node)) = survey.node(id) else {
                continue;
            };
            if let Some(reason) = door::stays_shut(pool, node) {
                market.gate(id, node, reason);
            } else if let Some(tier) = standing_tier(node) {
                market.add(id, pool, node, tier);
            } else if let Some(key) = opening_key(pool, node) {
                let request = Request {
                    pool,
                    node,
                    to: Use::Hpc,
                    cause: Cause::Demand,
                    trusted: true,
                    payback: None,
                };
                match gate::closed(request, survey.snapshot.now).next() {
                    Some(block) => market.gate(id, node, block.reason),
                    None => fresh.push((key, id, pool, node)),
                }
            }
        }
        fresh.sort_by_key(|(key, ..)| *key);
        for (_, id, pool, node) in fresh {
            market.add(id, pool, node, Tier::Fresh);
        }
        market
    }

    fn add(&mut self, id: NodeId, pool: &'s PoolView<'a>, node: &'s NodeView<'a>, tier: Tier) {
        let resource = &pool.facts.spec.gpu.resource_name;
        if node.room.extended(resource) == 0 {
            return;
        }
        let kind = Kind {
            pool: id.pool,
            class: node.class,
            gpus: node.gpus,
            node_use: node.node_use,
            list: self.admissions.list(node.facts),
        };
        self.rooms.add(id, tier, kind, &node.room, resource);
    }

    /// That a node may not serve HPC at all is no news to anybody who waits.
    fn gate(&mut self, id: NodeId, node: &NodeView<'a>, reason: Reason) {
        if reason != Reason::NotEligible {
            let list = self.admissions.list(node.facts);
            self.gated.push(Gated { node: id, reason, list });
        }
    }

    /// Houses all pods of a gang or none. Gangs come in the order of their indexes.
    pub(crate) fn place(&mut self, index: usize, gang: &Gang<'a>) -> Verdict {
        let before = self.lodgings.len();
        self.works.insert(index, gang.work);
        let (mut asker, mut from) = (None, Tier::Open);
        for (pod, alike) in gang.pods.iter().copied().zip(alike(&gang.pods)) {
            if !alike {
                (asker, from) = (self.admissions.asker(pod), Tier::Open);
            }
            let placed = asker
                .ok_or(Reason::FitsNowhere)
                .and_then(|asker| self.place_pod(index, pod, (asker, from)));
            match placed {
                // What one opened may have room for the next.
                Ok(tier) => from = tier.min(Tier::Opened),
                Err(reason) => {
                    self.go_back_to(before);
                    return Verdict::of(reason);
                }
            }
        }
        let farthest =
            self.lodgings.iter().skip(before).map(|lodging| lodging.placement.tier).max();
        Verdict::of(match farthest {
            None | Some(Tier::Open) => Reason::FitsNow,
            Some(Tier::Coming) => Reason::NodesComing,
            Some(Tier::Opened | Tier::Fresh) => Reason::DemandPays,
        })
    }

    /// Takes back everything since a gang's turn, so that it begins from there again.
    pub(crate) fn rewind(&mut self, gang: usize) {
        self.go_back_to(self.lodgings.partition_point(|lodging| lodging.gang < gang));
    }

    fn go_back_to(&mut self, before: usize) {
        for lodging in self.lodgings.drain(before..).rev() {
            let Placement { id, tier, .. } = lodging.placement;
            self.rooms.undo(&lodging.placement);
            let node = self.survey.node(id).filter(|_| tier == Tier::Fresh);
            if let (Some((_, node)), Some(allowance)) = (node, self.allowances.get_mut(id.pool)) {
                allowance.give_back(opening(node.node_use));
            }
        }
    }

    /// Houses a pod, and says in a room of which tier; not in one that is better than `from`.
    fn place_pod(
        &mut self,
        gang: usize,
        pod: &'s PodFacts,
        (asker, from): (usize, Tier),
    ) -> Result<Tier, Reason> {
        let found = self.rooms.find(
            (from, &pod.requests),
            |kind| self.admissions.admits(kind.list, asker),
            |tier, kind| self.may_lodge(tier, kind, pod),
        );
        let (room, (revenue, gpus)) = found.map_err(|obstacle| {
            obstacle.or_else(|| self.gate_in_the_way(pod, asker)).unwrap_or(Reason::FitsNowhere)
        })?;
        let placement = self.rooms.place(room, &pod.requests).ok_or(Reason::FitsNowhere)?;
        if placement.tier == Tier::Fresh {
            self.take(placement.id);
        }
        let tier = placement.tier;
        self.lodgings.push(Lodging { gang, placement, revenue, gpus });
        Ok(tier)
    }

    /// What a pod pays on a node of the kind, if such a node may be opened for it and the pod pays
    /// for its power.
    fn may_lodge(
        &self,
        tier: Tier,
        kind: &Kind,
        pod: &PodFacts,
    ) -> Result<(UsdPerHour, u32), Reason> {
        let pool = self.survey.pools.get(kind.pool).ok_or(Reason::FitsNowhere)?;
        let (revenue, gpus) = pool.revenue(pod);
        match tier {
            Tier::Open | Tier::Coming => Ok((revenue.unwrap_or_default(), gpus)),
            Tier::Opened | Tier::Fresh => {
                let class = kind.class.and_then(|class| pool.classes.get(class));
                let class = class.ok_or(Reason::UnknownModel)?;
                let revenue = revenue.ok_or(Reason::PriceUnknown)?;
                let power = class.job_power(gpus).value.ok_or(Reason::PriceUnknown)?;
                class.displaced(kind.gpus).ok_or(Reason::PriceUnknown)?;
                if revenue <= power {
                    return Err(Reason::PaysTooLittle);
                }
                if tier == Tier::Fresh {
                    let allowance = self.allowances.get(kind.pool).ok_or(Reason::FitsNowhere)?;
                    allowance.check(opening(kind.node_use))?;
                }
                Ok((revenue, gpus))
            }
        }
    }

    fn take(&mut self, id: NodeId) {
        let node = self.survey.node(id).map(|(_, node)| opening(node.node_use));
        if let (Some(opening), Some(allowance)) = (node, self.allowances.get_mut(id.pool)) {
            allowance.take(opening);
        }
    }

    /// The gate that keeps a pod from the first node that could hold it.
    fn gate_in_the_way(&self, pod: &PodFacts, asker: usize) -> Option<Reason> {
        self.gated.iter().find_map(|gated| {
            let (_, node) = self.survey.node(gated.node)?;
            let could =
                self.admissions.admits(gated.list, asker) && node.room.covers(&pod.requests);
            could.then_some(gated.reason)
        })
    }

    /// The gangs on groups of nodes that are worth less with them than without.
    pub(crate) fn unprofitable(&self) -> BTreeMap<usize, Verdict> {
        let mut unprofitable = BTreeMap::new();
        for (nodes, gangs) in self.groups() {
            let pays: UsdPerHour = nodes.iter().map(|(id, opening)| self.worth(*id, opening)).sum();
            let displaces: UsdPerHour = nodes.iter().map(|(id, _)| self.displaced(*id)).sum();
            let reason = if pays <= displaces {
                Some(Reason::PaysTooLittle)
            } else {
                let earned = (pays - displaces).over(self.expected_run(&gangs));
                let costs: Usd = nodes.iter().map(|(id, _)| self.opening_cost(*id)).sum();
                (earned < costs).then_some(Reason::RunsTooShort)
            };
            if let Some(reason) = reason {
                let verdict = Verdict { reason, pays: Some(pays), displaces: Some(displaces) };
                unprofitable.extend(gangs.into_iter().map(|gang| (gang, verdict)));
            }
        }
        unprofitable
    }

    /// How long the longest of some gangs is expected to run.
    fn expected_run(&self, gangs: &BTreeSet<usize>) -> SignedDuration {
        let experience = &self.survey.snapshot.experience;
        let works = gangs.iter().filter_map(|gang| self.works.get(gang));
        let runs = works.map(|work| experience.expected_run(&work.namespace));
        runs.max().unwrap_or_default()
    }

    fn opening_cost(&self, id: NodeId) -> Usd {
        let known = self.survey.node(id);
        known.map_or(Usd::ZERO, |(pool, node)| switching::opening_cost(self.survey, pool, node))
    }

    fn worth(&self, id: NodeId, opening: &Opening) -> UsdPerHour {
        let known = self.survey.node(id).and_then(|(pool, node)| {
            pool.class_of(node)?.hpc(opening.revenue, node.gpus, opening.busy).value
        });
        known.unwrap_or_default()
    }

    fn displaced(&self, id: NodeId) -> UsdPerHour {
        let known =
            self.survey.node(id).and_then(|(pool, node)| pool.class_of(node)?.displaced(node.gpus));
        known.unwrap_or_default()
    }

    /// The nodes that this attempt opens.
    fn openings(&self) -> BTreeMap<NodeId, Opening> {
        let mut openings: BTreeMap<NodeId, Opening> = BTreeMap::new();
        for lodging in &self.lodgings {
            if matches!(lodging.placement.tier, Tier::Opened | Tier::Fresh) {
                let opening = openings.entry(lodging.placement.id).or_default();
                // Lodgings come in the order of their gangs.
                if opening.gangs.last() != Some(&lodging.gang) {
                    opening.gangs.push(lodging.gang);
                }
                opening.revenue += lodging.revenue;
                opening.busy += lodging.gpus;
            }
        }
        openings
    }

    /// The opened nodes in groups that share a gang, directly or by others.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let openings = self.openings();
        let mut chains = Chains::default();
        for opening in openings.values() {
            let mut gangs = opening.gangs.iter();
            if let Some(first) = gangs.next() {
                gangs.for_each(|gang| chains.join(*first, *gang));
            }
        }
        let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
        for (id, opening) in openings {
            let Some(first) = opening.gangs.first() else {
                continue;
            };
            let (nodes, gangs) = groups.entry(chains.end(*first)).or_default();
            gangs.extend(&opening.gangs);
            nodes.push((id, opening));
        }
        groups.into_values().collect()
    }

    /// The open nodes that waiting work goes to when the refused gangs are gone.
    pub(crate) fn reserved(&self, refused: &BTreeMap<usize, Verdict>) -> BTreeSet<NodeId> {
        let staying = self.lodgings.iter().filter(|lodging| !refused.contains_key(&lodging.gang));
        let open = staying.filter(|lodging| lodging.placement.tier == Tier::Open);
        open.map(|lodging| lodging.placement.id).collect()
    }

    /// What is left when the refused gangs are gone; counts it in the allowances.
    pub(crate) fn close(
        mut self,
        refused: &BTreeMap<usize, Verdict>,
        allowances: &mut [Allowance],
    ) -> BTreeMap<NodeId, Opening> {
        self.lodgings.retain(|lodging| !refused.contains_key(&lodging.gang));
        let openings = self.openings();
        for id in openings.keys() {
            let node = self.survey.node(*id).map(|(_, node)| opening(node.node_use));
            if let (Some(opening), Some(allowance)) = (node, allowances.get_mut(id.pool)) {
                allowance.take(opening);
            }
        }
        openings
    }
}

/// Gangs in chains, by which those that share a node end in the same one.
#[derive(Default)]
struct Chains(BTreeMap<usize, usize>);

impl Chains {
    fn end(&self, gang: usize) -> usize {
        let mut end = gang;
        while let Some(next) = self.0.get(&end) {
            end = *next;
        }
        end
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.end(one), self.end(other));
        if one != other {
            self.0.insert(one.max(other), one.min(other));
        }
    }
}

fn opening(from: Use) -> Move {
    Move { from, to: Use::Hpc, cause: Cause::Demand }
}

/// For each pod, whether it asks of nodes just what the one before does.
fn alike<'p>(pods: &'p [&PodFacts]) -> impl Iterator<Item = bool> + 'p {
    let pairs = pods.windows(2).map(|pair| match pair {
        [one, other] => one.requests == other.requests && one.constraints == other.constraints,
        _ => false,
    });
    std::iter::once(false).chain(pairs)
}

/// How a node takes work without this plan.
fn standing_tier(node: &NodeView<'_>) -> Option<Tier> {
    match node.shift {
        Some(shift) if shift.spec.to == Use::Hpc => Some(Tier::Coming),
        Some(_) => None,
        None if node.moving() => None,
        None if node.node_use != Use::Hpc || !node.facts.ready || node.facts.cordoned => None,
        None => Some(Tier::Open),
    }
}

/// The order in which nodes are opened: what earns least, then what has been in its use the longest.
/// Nodes on the move cannot be; nor those whose jobs will bring them over anyway.
fn opening_key<'n>(
    pool: &PoolView<'_>,
    node: &'n NodeView<'_>,
) -> Option<(Option<UsdPerHour>, Option<Timestamp>, &'n str)> {
    if node.moving() || node.node_use == Use::Hpc || !node.jobs.is_empty() {
        return None;
    }
    let displaced = pool.class_of(node).and_then(|class| class.displaced(node.gpus));
    Some((displaced, node.facts.marks.since, &*node.facts.name))
}
