//! Why the nodes of a pool move or stay.

use std::collections::BTreeMap;

use switchyard_api::{Cause, Reason, Use};

use super::{
    BudgetLeft, ClassWorth, PoolExplanation, ReasonNodes, Unexplained, WaitingWork, lever::Lever,
    pool_index, worth,
};
use crate::{
    budget::{Allowance, Move},
    plan::{Plan, PoolPlan, Waiting},
    quantity::UsdPerHour,
    survey::{PoolView, Survey},
};

/// So much waiting work is listed.
const WAITING_SHOWN: usize = 50;

/// Explains a pool.
pub fn pool(survey: &Survey<'_>, plan: &Plan, name: &str) -> Result<PoolExplanation, Unexplained> {
    let index = pool_index(survey, name)?;
    let unknown = || Unexplained::UnknownPool { name: name.to_owned(), similar: Vec::new() };
    let pool = survey.pools.get(index).ok_or_else(unknown)?;
    let planned = plan.pools.get(index).ok_or_else(unknown)?;
    let levers = Lever::of_pool(survey, index, pool);
    let left = Allowance::of_pools(survey).into_iter().nth(index);
    Ok(PoolExplanation {
        pool: name.to_owned(),
        at: survey.snapshot.now,
        mode: pool.facts.spec.shifting.mode,
        nodes: pool.nodes.len(),
        prices: levers.iter().map(|lever| lever.price(survey.snapshot)).collect(),
        pue: pool.prices.pue,
        reasons: reasons(pool, planned),
        classes: classes(pool),
        budgets_left: left.iter().flat_map(budgets_left).collect(),
        allowed_disruptions: planned.allowed_disruptions,
        waiting: plan.waiting.iter().take(WAITING_SHOWN).map(waiting).collect(),
        more_waiting: plan.waiting.len().saturating_sub(WAITING_SHOWN),
    })
}

fn reasons(pool: &PoolView<'_>, planned: &PoolPlan) -> Vec<ReasonNodes> {
    let mut reasons: BTreeMap<(Reason, bool), ReasonNodes> = BTreeMap::new();
    for (node, decision) in pool.nodes.iter().zip(&planned.decisions) {
        let (reason, moves) = (decision.reason, decision.moves());
        let counted = reasons.entry((reason, moves)).or_insert_with(|| ReasonNodes {
            reason,
            sentence: reason.sentence().to_owned(),
            moves,
            nodes: 0,
            example: node.facts.name.to_string(),
        });
        counted.nodes += 1;
    }
    let mut reasons: Vec<_> = reasons.into_values().collect();
    reasons.sort_by_key(|counted| std::cmp::Reverse(counted.nodes));
    reasons
}

fn classes(pool: &PoolView<'_>) -> Vec<ClassWorth> {
    let classes = pool.classes.iter().enumerate();
    classes
        .map(|(index, class)| {
            let gpus =
                || pool.nodes.iter().filter(|node| node.class == Some(index)).map(|node| node.gpus);
            let largest = gpus().max().unwrap_or(0);
            ClassWorth {
                model: class.class.model.clone(),
                nodes: gpus().count(),
                gpus: largest,
                hpc_eligible: class.eligible,
                uses: worth::of_class(pool, class, largest),
            }
        })
        .filter(|class| class.nodes > 0)
        .collect()
}

fn budgets_left(allowance: &Allowance) -> [BudgetLeft; 3] {
    [Use::Mining, Use::Hpc, Use::Idle].map(|from| {
        let left = allowance.budget_left(Move { from, to: Use::Idle, cause: Cause::Price });
        BudgetLeft { from, nodes: (left != usize::MAX).then_some(left) }
    })
}

fn waiting(work: &Waiting) -> WaitingWork {
    WaitingWork {
        work: work.work.to_string(),
        pods: work.pods.len(),
        gpus: work.gpus,
        reason: work.verdict.reason,
        sentence: work.verdict.reason.sentence().to_owned(),
        pays: work.verdict.pays.map(UsdPerHour::number),
        displaces: work.verdict.displaces.map(UsdPerHour::number),
        nodes: work.nodes.len(),
    }
}
