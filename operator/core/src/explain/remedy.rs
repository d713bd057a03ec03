//! What a person can do about a closed gate, as words and as a change to a copy of the facts.

use switchyard_api::{Mode, NodeCount, Reason, keys};

use super::lever::change_spec;
use crate::{
    report::signals_of,
    snapshot::Snapshot,
    survey::{NodeView, PoolView, Survey},
};

/// What to do, and what is then different.
pub(super) struct Remedy {
    /// What, as one is told: with a command where one does it.
    pub(super) what: String,
    /// Does it to a copy of the facts.
    pub(super) apply: Box<dyn Fn(&mut Snapshot)>,
}

/// The remedy for a reason; none: there is none, or nobody can tell what would then be.
pub(super) fn remedy(
    reason: Reason,
    survey: &Survey<'_>,
    index: usize,
    pool: &PoolView<'_>,
    node: &NodeView<'_>,
) -> Option<Remedy> {
    let (pool_name, name) = (&*pool.facts.name, &*node.facts.name);
    let spec = &pool.facts.spec;
    Some(match reason {
        Reason::DryRun
        | Reason::Hold
        | Reason::Skipped
        | Reason::Pinned
        | Reason::PinUnreadable
        | Reason::GlobalHold
        | Reason::BreakerOpen
        | Reason::Cordoned => return reopened(reason, index, pool_name, name),
        Reason::NotReady => {
            of_node(format!("bring the node back (`kubectl describe node {name}`)"), name, |node| {
                node.ready = true;
            })
        }
        Reason::PoolHalfEmpty => {
            let size = pool.nodes.len();
            let confirmed = u32::try_from(size).ok();
            Remedy {
                what: format!(
                    "confirm that there are no more: `kubectl annotate gpupool {pool_name} --overwrite {}={size}`",
                    keys::CONFIRM_SIZE
                ),
                apply: Box::new(move |facts| {
                    if let Some(pool) = facts.pools.get_mut(index) {
                        pool.confirmed_size = confirmed;
                    }
                }),
            }
        }
        Reason::SystemPodsIntolerant => {
            let sets: Vec<_> = pool.intolerant.iter().cloned().collect();
            Remedy {
                what: format!(
                    "let {} tolerate the taint {}, or accept that in \
                     spec.shifting.acceptIntolerantDaemonSets",
                    sets.join(", "),
                    keys::TAINT
                ),
                apply: Box::new(move |facts| {
                    change_spec(facts, index, |spec| {
                        spec.shifting.accept_intolerant_daemon_sets.extend(sets.iter().cloned());
                    });
                }),
            }
        }
        Reason::SignalUntrusted => {
            let signals = untrusted(survey, pool);
            if signals.is_empty() {
                return None;
            }
            Remedy {
                what: format!(
                    "mend the sources of {} (`kubectl get signal -o wide`)",
                    signals.join(", ")
                ),
                apply: Box::new(move |facts| {
                    for signal in &signals {
                        if let Some(reading) = facts.signals.get_mut(signal) {
                            reading.trusted = true;
                        }
                    }
                }),
            }
        }
        Reason::BudgetExhausted => Remedy {
            what: "raise spec.shifting.budgets, or let the nodes that are ahead of it arrive"
                .into(),
            apply: Box::new(move |facts| {
                change_spec(facts, index, |spec| spec.shifting.budgets.clear());
            }),
        },
        Reason::WarmStandby => Remedy {
            what: format!("lower spec.hpc.nodes.min, which is {}", spec.hpc.nodes.min),
            apply: Box::new(move |facts| {
                change_spec(facts, index, |spec| spec.hpc.nodes.min = NodeCount::Count(0));
            }),
        },
        _ => return None,
    })
}

/// The remedy for a gate that a person closed, or has to open again.
fn reopened(reason: Reason, index: usize, pool_name: &str, name: &str) -> Option<Remedy> {
    Some(match reason {
        Reason::DryRun | Reason::Hold => Remedy {
            what: format!(
                "run `kubectl patch gpupool {pool_name} --type merge \
                 -p '{{\"spec\":{{\"shifting\":{{\"mode\":\"Active\"}}}}}}'`"
            ),
            apply: Box::new(move |facts| {
                change_spec(facts, index, |spec| spec.shifting.mode = Mode::Active);
            }),
        },
        Reason::Skipped => {
            of_node(format!("run `kubectl annotate node {name} {}-`", keys::SKIP), name, |node| {
                node.skip = false;
            })
        }
        Reason::Pinned | Reason::PinUnreadable => {
            of_node(format!("run `kubectl annotate node {name} {}-`", keys::PIN), name, |node| {
                node.pin = None;
            })
        }
        Reason::GlobalHold => Remedy {
            what: format!("delete the ConfigMap {} in the operator's namespace", keys::HOLD),
            apply: Box::new(|facts| facts.hold = None),
        },
        Reason::BreakerOpen => Remedy {
            what: format!(
                "close the breaker: `kubectl annotate gpupool {pool_name} --overwrite \
                 {}=\"$(date)\"`",
                keys::RESET_BREAKER
            ),
            apply: Box::new(move |facts| {
                let now = facts.now.to_string();
                if let Some(pool) = facts.pools.get_mut(index) {
                    pool.reset_breaker = Some(now.as_str().into());
                }
            }),
        },
        Reason::Cordoned => {
            of_node(format!("run `kubectl uncordon {name}`"), name, |node| node.cordoned = false)
        }
        _ => return None,
    })
}

fn of_node(
    what: String,
    name: &str,
    change: impl Fn(&mut crate::snapshot::NodeFacts) + 'static,
) -> Remedy {
    let name = name.to_owned();
    let apply = move |facts: &mut Snapshot| {
        facts.nodes.iter_mut().filter(|node| *node.name == *name).for_each(&change);
    };
    Remedy { what, apply: Box::new(apply) }
}

/// The pool's signals that are not trusted but were once.
fn untrusted(survey: &Survey<'_>, pool: &PoolView<'_>) -> Vec<String> {
    let signals = signals_of(survey, pool).into_iter().map(|(_, name, _)| name);
    let mut names: Vec<_> = signals
        .filter(|name| {
            let reading = survey.snapshot.signals.get(*name);
            reading.is_some_and(|reading| !reading.trusted && reading.value.is_some())
        })
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}
