//! What is to be changed in the cluster, as data.

use std::sync::Arc;

use switchyard_api::Reason;

use crate::{
    snapshot::{Marks, NodeFacts},
    survey::Miner,
};

/// The marks of ours on a node, as they are to be. It holds for the node that was looked at and the
/// claim that was found on it; on any other the write is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeWrite {
    /// The node's name.
    pub node: Arc<str>,
    /// The node's UID.
    pub uid: Arc<str>,
    /// The claim that was found.
    pub found_claim: Option<Arc<str>>,
    /// The marks to be.
    pub marks: Marks,
    /// Why.
    pub why: Reason,
}

impl NodeWrite {
    pub(crate) fn new(node: &NodeFacts, marks: Marks, why: Reason) -> Self {
        Self {
            node: node.name.clone(),
            uid: node.uid.clone(),
            found_claim: node.marks.claim.clone(),
            marks,
            why,
        }
    }
}

/// A miner that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its UID: a pod that was recreated under the same name is another one.
    pub uid: Arc<str>,
    /// The node it is on.
    pub node: Option<Arc<str>>,
}

impl Eviction {
    /// The eviction of a miner; none, if it goes already.
    pub(crate) fn of(miner: &Miner<'_>) -> Option<Self> {
        let pod = miner.pod;
        (!pod.terminating).then(|| Self {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            node: pod.node.clone(),
        })
    }
}
