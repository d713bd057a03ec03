//! Why a node moves or stays.

use std::cmp::Ordering;

use super::{
    Decision, Flip, NodeExplanation, Step, Unexplained,
    gates::gates,
    lever::Lever,
    similar,
    trial::{Trial, Verdict},
    worth,
};
use crate::{
    plan::{NodeDecision, Plan},
    quantity::UsdPerHour,
    survey::{NodeId, PoolView, Survey},
};

/// A node is listed with at most so many jobs.
const JOBS_SHOWN: usize = 100;

/// Explains a node.
pub fn node(survey: &Survey<'_>, plan: &Plan, name: &str) -> Result<NodeExplanation, Unexplained> {
    let unknown = || unknown(survey, name);
    let id = survey
        .ids()
        .find(|id| survey.node(*id).is_some_and(|(_, node)| *node.facts.name == *name))
        .ok_or_else(unknown)?;
    let (pool, view) = survey.node(id).ok_or_else(unknown)?;
    let pools = plan.pools.get(id.pool);
    let found = pools.and_then(|pool| pool.decisions.get(id.node)).ok_or_else(unknown)?;
    let levers = Lever::of_pool(survey, id.pool, pool);
    let (flips, indifferent_to) = flips(survey, id, pool, found, &levers);
    let gates = gates(survey, id.pool, pool, view, found);
    let profile = pool
        .class_of(view)
        .and_then(|class| class.profile_of_label(view.facts.marks.profile.as_deref()));
    let jobs = view.jobs.iter().take(JOBS_SHOWN);
    let served = plan.waiting.iter().filter(|work| work.nodes.iter().any(|one| one == name));
    Ok(NodeExplanation {
        node: name.to_owned(),
        pool: pool.facts.name.to_string(),
        at: survey.snapshot.now,
        model: pool.class_of(view).map(|class| class.class.model.clone()),
        gpus: view.gpus,
        node_use: view.node_use,
        profile: profile.map(|known| (*known.profile).clone()),
        since: view.facts.marks.since,
        shift: view.shift.map(|shift| shift.name.to_string()),
        jobs: jobs.map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect(),
        serves: served.map(|work| work.work.to_string()).collect(),
        prices: levers.iter().map(|lever| lever.price(survey.snapshot)).collect(),
        pue: pool.prices.pue,
        uses: worth::of_node(pool, view),
        decision: decision(pool, found),
        first_closed: gates.iter().find(|gate| !gate.open).map(|gate| gate.gate.clone()),
        gates,
        flips,
        indifferent_to,
    })
}

/// A node that is none of a pool's: perhaps a pool selects it but leaves it alone.
fn unknown(survey: &Survey<'_>, name: &str) -> Unexplained {
    for pool in &survey.pools {
        for (reason, nodes) in &pool.refused {
            if nodes.iter().any(|node| *node.name == *name) {
                return Unexplained::Refused {
                    name: name.to_owned(),
                    pool: pool.facts.name.to_string(),
                    reason: *reason,
                };
            }
        }
    }
    let names = survey.pools.iter().flat_map(|pool| &pool.nodes).map(|node| &*node.facts.name);
    Unexplained::UnknownNode { name: name.to_owned(), similar: similar(name, names) }
}

fn decision(pool: &PoolView<'_>, found: &NodeDecision) -> Decision {
    let Verdict { to, moves } = Verdict::of(pool.facts.spec.shifting.mode, found);
    let candidate = found.candidate.as_ref();
    Decision {
        to,
        moves,
        reason: found.reason,
        sentence: found.reason.sentence().to_owned(),
        wanted_because: candidate.map(|one| one.reason).filter(|one| *one != found.reason),
        cause: candidate.map(|one| one.cause),
        gain: candidate.and_then(|one| one.gain).map(UsdPerHour::number),
    }
}

/// Every single change that flips the decision, and the prices that do not.
fn flips(
    survey: &Survey<'_>,
    id: NodeId,
    pool: &PoolView<'_>,
    found: &NodeDecision,
    levers: &[Lever],
) -> (Vec<Flip>, Vec<String>) {
    let verdict = Verdict::of(pool.facts.spec.shifting.mode, found);
    let mut flips = Vec::new();
    if !verdict.moves {
        flips.extend(Trial::new(survey, id, verdict.clone()).open_the_way());
    }
    let mut trial = Trial::new(survey, id, verdict);
    let (mut prices, mut indifferent) = (Vec::new(), Vec::new());
    for lever in levers {
        let turned = trial.turn(lever);
        if turned.is_empty() {
            let price = lever.price(survey.snapshot);
            indifferent.extend(price.value.map(|_| price.signal.unwrap_or(price.field)));
        }
        prices.extend(turned);
    }
    prices.sort_by(by_size);
    flips.extend(prices);
    (flips, indifferent)
}

fn by_size(one: &Flip, other: &Flip) -> Ordering {
    let size = |flip: &Flip| match flip.steps.as_slice() {
        [Step::Price(change)] => change.relative.abs(),
        _ => 0.0,
    };
    size(one).total_cmp(&size(other))
}
