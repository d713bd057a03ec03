//! Which waiting work a pool's cap on power leaves room for.

use std::collections::{BTreeMap, BTreeSet};

use switchyard_api::{Cause, Reason, Use};

use crate::{
    demand::{Opening, Verdict},
    draw::{at_meter, cap, load, opened, settled},
    gate::{self, Request},
    limits,
    market::{Group, Market},
    optimum::{self, Class, Limits, Lot, Outlet, Problem},
    quantity::UsdPerHour,
    survey::{NodeId, PoolView, Survey},
};

/// What the caps leave of what waiting work would have.
#[derive(Debug, Default)]
pub(crate) struct Ration {
    /// Gangs that get no nodes now.
    pub(crate) refused: BTreeMap<usize, Verdict>,
    /// By pool, W at the meter that are yet to be made free for some of them.
    pub(crate) wanted: BTreeMap<usize, u64>,
}

/// Decides which of the openings of a market are within the caps, with mining that is worth less
/// idled for them.
pub(crate) fn ration(
    survey: &Survey<'_>,
    market: &Market<'_, '_>,
    refused: &BTreeMap<usize, Verdict>,
) -> Ration {
    let mut ration = Ration::default();
    if survey.pools.iter().all(|pool| cap(pool).is_none()) {
        return ration;
    }
    let reserved = market.reserved(refused);
    let mut groups = market.groups();
    groups.retain(|(_, gangs)| gangs.iter().all(|gang| !refused.contains_key(gang)));
    for (index, pool) in survey.pools.iter().enumerate() {
        let Some(cap) = cap(pool) else {
            continue;
        };
        let asking: Vec<Asking<'_>> = groups
            .iter()
            .filter(|(_, gangs)| gangs.iter().all(|gang| !ration.refused.contains_key(gang)))
            .filter_map(|group| Asking::of(pool, index, group))
            .collect();
        let ids = (0..pool.nodes.len()).map(|node| NodeId { pool: index, node });
        let (mut now, mut then) = (0, 0);
        for (node, id) in pool.nodes.iter().zip(ids) {
            now += load(pool, node, reserved.contains(&id));
            then += settled(pool, node, reserved.contains(&id));
        }
        let mut left = cap.saturating_sub(now);
        if asking.iter().map(|asking| asking.more).sum::<u64>() <= left {
            continue;
        }
        let housed = best_use(survey, pool, &asking, cap, then);
        for (asking, housed) in asking.iter().zip(housed) {
            if housed && asking.more <= left {
                left -= asking.more;
                continue;
            }
            if housed {
                *ration.wanted.entry(index).or_default() += asking.more;
            }
            let refused = asking.gangs.iter().map(|gang| (*gang, Verdict::of(Reason::PowerCap)));
            ration.refused.extend(refused);
        }
    }
    ration
}

/// What a group of openings asks of a pool.
struct Asking<'g> {
    gangs: &'g BTreeSet<usize>,
    nodes: Vec<(usize, &'g Opening)>,
    /// What its nodes draw more than now, W at the meter.
    more: u64,
}

impl<'g> Asking<'g> {
    fn of(pool: &PoolView<'_>, index: usize, (nodes, gangs): &'g Group) -> Option<Self> {
        let own = nodes.iter().filter(|(id, _)| id.pool == index);
        let nodes: Vec<_> = own.map(|(id, opening)| (id.node, opening)).collect();
        let more = |(node, opening): &(usize, &Opening)| {
            let node = pool.nodes.get(*node)?;
            Some(opened(pool, node, opening).saturating_sub(load(pool, node, false)))
        };
        let more = nodes.iter().filter_map(more).sum();
        (!nodes.is_empty()).then_some(Self { gangs, nodes, more })
    }
}

/// Which of those that ask are part of the best use of what a pool may draw. What can be done about
/// it is to idle nodes that mine.
fn best_use(
    survey: &Survey<'_>,
    pool: &PoolView<'_>,
    asking: &[Asking<'_>],
    cap: u64,
    then: u64,
) -> Vec<bool> {
    let wanted: BTreeSet<usize> =
        asking.iter().flat_map(|asking| asking.nodes.iter().map(|(node, _)| *node)).collect();
    let mut kinds: BTreeMap<_, usize> = BTreeMap::new();
    let mut classes: Vec<Class> = Vec::new();
    let mut of_node: BTreeMap<usize, usize> = BTreeMap::new();
    let mut fixed = then;
    let mut mining = 0;
    for (index, node) in pool.nodes.iter().enumerate() {
        let Some(class) = pool.class_of(node).filter(|_| limits::is_free(node)) else {
            continue;
        };
        if node.node_use != Use::Mining && !wanted.contains(&index) {
            continue;
        }
        let request = Request {
            pool,
            node,
            to: Use::Idle,
            cause: Cause::Rebalance,
            trusted: true,
            payback: None,
        };
        let may_idle = node.node_use == Use::Mining && gate::open(request, survey.snapshot.now);
        let label = node.facts.marks.profile.as_deref();
        let kind = (node.class, node.gpus, node.node_use, label, may_idle);
        let kind = *kinds.entry(kind).or_insert_with(|| {
            let stays = Outlet {
                node_use: node.node_use,
                value: limits::present_value(class, node),
                watts: load(pool, node, false),
            };
            let idles = may_idle.then(|| Outlet {
                node_use: Use::Idle,
                value: class.idle(node.gpus).value.unwrap_or_default(),
                watts: at_meter(pool, class.idle_watts(node.gpus)),
            });
            classes.push(Class { nodes: 0, options: [stays].into_iter().chain(idles).collect() });
            classes.len() - 1
        });
        if let Some(class) = classes.get_mut(kind) {
            class.nodes += 1;
        }
        of_node.insert(index, kind);
        fixed = fixed.saturating_sub(load(pool, node, false));
        mining += u32::from(node.node_use == Use::Mining);
    }
    let lot = |asking: &Asking<'_>| {
        let mut nodes: BTreeMap<usize, u32> = BTreeMap::new();
        let (mut value, mut watts) = (UsdPerHour::ZERO, 0);
        for (index, opening) in &asking.nodes {
            if let (Some(kind), Some(node)) = (of_node.get(index), pool.nodes.get(*index)) {
                *nodes.entry(*kind).or_default() += 1;
                watts += opened(pool, node, opening);
                value += pool
                    .class_of(node)
                    .and_then(|class| class.hpc(opening.revenue, node.gpus, opening.busy).value)
                    .unwrap_or_default();
            }
        }
        Lot { nodes: nodes.into_iter().collect(), value, watts }
    };
    let floor = pool.facts.spec.mining.nodes.min.of(pool.nodes.len());
    let elsewhere = limits::heading(pool, Use::Mining).saturating_sub(mining);
    let problem = Problem {
        lots: asking.iter().map(lot).collect(),
        classes,
        hpc: Limits::NONE,
        mining: Limits { min: limits::count(floor).saturating_sub(elsewhere), ..Limits::NONE },
        watts: Some(cap.saturating_sub(fixed)),
    };
    optimum::best(&problem, limits::EFFORT).lots
}
