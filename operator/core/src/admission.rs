//! Which waiting pods may go to which nodes, room apart: asked once for all pods and all nodes that
//! are alike, because a large site has thousands of both and only a few kinds of either.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::FixedState;
use smallvec::SmallVec;
use switchyard_api::{Use, keys};

use crate::{
    fit::{self, Target},
    snapshot::{Constraints, NodeFacts, PodFacts},
};

/// What of a node decides who may go there.
type Matters<'a> = SmallVec<[Option<&'a str>; 8]>;

/// The answers so far.
#[derive(Debug, Default)]
pub(crate) struct Admissions<'a> {
    /// Every kind of constraints that waiting pods have.
    askers: Vec<&'a Constraints>,
    /// The labels that any of them asks for.
    labels: BTreeSet<&'a str>,
    /// Does any of them ask for nodes by name?
    names: bool,
    /// By what of a node matters: an index of `lists`.
    known: HashMap<Matters<'a>, usize, FixedState>,
    /// For each kind of node, who may go there.
    lists: Vec<Vec<bool>>,
}

impl<'a> Admissions<'a> {
    /// Gets to know the pods.
    pub(crate) fn new(pods: impl IntoIterator<Item = &'a PodFacts>) -> Self {
        let mut admissions = Self::default();
        let mut last = None;
        for pod in pods {
            if last != Some(&pod.constraints) && admissions.asker(pod).is_none() {
                admissions.learn(&pod.constraints);
            }
            last = Some(&pod.constraints);
        }
        admissions
    }

    fn learn(&mut self, constraints: &'a Constraints) {
        let terms = constraints.affinity.iter().flatten();
        let affine = terms.clone().flat_map(|term| term.match_expressions.iter().flatten());
        self.labels.extend(constraints.node_selector.keys().map(String::as_str));
        self.labels.extend(affine.map(|wanted| wanted.key.as_str()));
        // We know what that label will say.
        self.labels.remove(keys::USE);
        self.names |= terms.clone().any(|term| term.match_fields.is_some());
        self.askers.push(constraints);
    }

    /// The kind of a pod.
    pub(crate) fn asker(&self, pod: &PodFacts) -> Option<usize> {
        self.askers.iter().position(|known| **known == *pod.constraints)
    }

    /// The kind of a node that would be in use HPC.
    pub(crate) fn list(&mut self, node: &'a NodeFacts) -> usize {
        let matters: Matters<'a> = self
            .labels
            .iter()
            .map(|label| node.labels.get(label))
            .chain(self.names.then_some(Some(&*node.name)))
            .chain(node.other_taints().flat_map(|taint| {
                [Some(taint.key.as_str()), taint.value.as_deref(), Some(taint.effect.as_str())]
            }))
            .collect();
        if let Some(known) = self.known.get(&matters) {
            return *known;
        }
        let target = Target {
            name: &node.name,
            labels: &node.labels,
            taints: &node.taints,
            as_use: Use::Hpc,
        };
        let list: Vec<bool> = self.askers.iter().map(|asker| fit::admits(asker, target)).collect();
        let index = self.lists.iter().position(|known| *known == list).unwrap_or_else(|| {
            self.lists.push(list);
            self.lists.len() - 1
        });
        self.known.insert(matters, index);
        index
    }

    /// May pods of the kind go to nodes of the kind?
    pub(crate) fn admits(&self, list: usize, asker: usize) -> bool {
        self.lists.get(list).and_then(|list| list.get(asker)).is_some_and(|admitted| *admitted)
    }
}
