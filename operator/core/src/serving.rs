//! Which waiting work gets which nodes.
//!
//! Work that fits on a node that is open now, or on one that is already on its way, needs nothing.
//! The rest is packed, best payer first, into nodes that could be opened, the cheapest first. Opened
//! nodes are then judged in groups that stand or fall together, because a gang lives on all of its
//! nodes or on none: a group is opened if its jobs pay more than its nodes could earn otherwise.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;
use switchyard_api::Reason;

use crate::{
    budget::Allowance,
    demand::{Demand, Gang, Verdict},
    market::Market,
    power,
    quantity::UsdPerGpuHour,
    snapshot::{PodFacts, Work},
    survey::Survey,
};

/// A group that does not pay is taken out and the rest packed anew, because what it had reserved may
/// serve others; so often at most, and what does not pay then is just left out.
const ROUNDS: usize = 4;

/// Decides what the waiting work gets, and counts it in the allowances, which are in the order of
/// the survey's pools.
pub fn serve<'a>(survey: &Survey<'a>, allowances: &mut [Allowance]) -> Demand<'a> {
    let mut gangs = gangs(survey);
    if gangs.is_empty() {
        return Demand {
            gangs,
            openings: BTreeMap::new(),
            reserved: BTreeSet::new(),
            wanted: BTreeMap::new(),
        };
    }
    let bound = bound_pods(survey, &gangs);
    let mut market = Market::open(survey, allowances);
    let mut refused = BTreeMap::new();
    let mut anew = 0;
    for round in 1.. {
        for (index, gang) in gangs.iter_mut().enumerate().skip(anew) {
            gang.verdict = match refused.get(&index) {
                Some(verdict) => *verdict,
                None if incomplete(gang, &bound) => Verdict::of(Reason::GangIncomplete),
                None => market.place(index, gang),
            };
        }
        let unprofitable = market.unprofitable();
        let first = unprofitable.keys().next().copied();
        refused.extend(unprofitable);
        match first {
            // Who comes before the first that is left out finds all as it was.
            Some(first) if round < ROUNDS => {
                market.rewind(first);
                anew = first;
            }
            _ => break,
        }
    }
    let ration = power::ration(survey, &market, &refused);
    refused.extend(ration.refused);
    for (index, verdict) in &refused {
        if let Some(gang) = gangs.get_mut(*index) {
            gang.verdict = *verdict;
        }
    }
    let reserved = market.reserved(&refused);
    let openings = market.close(&refused, allowances);
    Demand { gangs, openings, reserved, wanted: ration.wanted }
}

/// The waiting pods as pieces of work: the best payer first, then the longest waiting.
fn gangs<'a>(survey: &Survey<'a>) -> Vec<Gang<'a>> {
    let mut by_work: BTreeMap<&Work, Vec<&'a PodFacts>> = BTreeMap::new();
    for pod in &survey.waiting {
        by_work.entry(&pod.work).or_default().push(pod);
    }
    let mut gangs: Vec<Gang<'a>> = Vec::new();
    for (work, mut pods) in by_work {
        pods.sort_by(|one, other| {
            let key = |pod: &'a PodFacts| (Reverse(largest_request(pod)), &pod.name);
            key(one).cmp(&key(other))
        });
        // Pods that need not run together are decided one by one.
        let together = if work.size > 1 { pods.len() } else { 1 };
        gangs.extend(pods.chunks(together).map(|pods| Gang {
            work,
            pods: pods.to_vec(),
            verdict: Verdict::of(Reason::FitsNowhere),
        }));
    }
    gangs.sort_by_cached_key(|gang| {
        let first = gang.pods.iter().map(|pod| pod.created).min().unwrap_or(Timestamp::MIN);
        let name = gang.pods.first().map(|pod| pod.name.clone());
        (Reverse(best_price(survey, &gang.pods)), first, gang.work, name)
    });
    gangs
}

/// How many pods of each waiting gang have a node already.
fn bound_pods<'a>(survey: &Survey<'a>, gangs: &[Gang<'a>]) -> BTreeMap<&'a Work, usize> {
    let waiting = gangs.iter().filter(|gang| gang.work.size > 1).map(|gang| (gang.work, 0));
    let mut bound: BTreeMap<_, _> = waiting.collect();
    for pod in &survey.mates {
        if let Some(count) = bound.get_mut(&pod.work) {
            *count += 1;
        }
    }
    bound
}

/// Have pods of the gang yet to be created? What is done for half a gang may be of no use to the rest.
fn incomplete(gang: &Gang<'_>, bound: &BTreeMap<&Work, usize>) -> bool {
    let size = usize::try_from(gang.work.size).unwrap_or(usize::MAX);
    gang.pods.len() + bound.get(gang.work).copied().unwrap_or(0) < size
}

fn largest_request(pod: &PodFacts) -> i64 {
    pod.requests.extended.iter().map(|(_, amount)| amount).max().unwrap_or(0)
}

/// What the best payer among the pods pays for a GPU in the best paying pool.
fn best_price(survey: &Survey<'_>, pods: &[&PodFacts]) -> UsdPerGpuHour {
    let prices =
        pods.iter().flat_map(|pod| survey.pools.iter().filter_map(|pool| pool.price_of(pod)));
    prices.max().unwrap_or_default()
}
