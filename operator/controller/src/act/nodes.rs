//! Puts marks on nodes.

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::Value;
use switchyard_api::Reason;
use switchyard_core::writes::NodeWrite;

use super::{Hands, log, node_patch};
use crate::watch::read;

impl Hands {
    /// Makes all writes, and says how many nodes were adopted, given back and repaired.
    pub async fn mark_nodes(&self, writes: Vec<NodeWrite>) {
        let adopted = writes.iter().filter(|write| write.why == Reason::Adopted).count();
        self.each(writes, |write| async move { self.mark_node(&write).await }).await;
        if adopted > 0 {
            tracing::info!(nodes = adopted, "nodes adopted");
        }
    }

    async fn mark_node(&self, write: &NodeWrite) {
        let key = (String::new(), write.node.to_string());
        let operations = self
            .caches
            .nodes
            .get(&key, |found| node_patch::operations(found, write))
            .unwrap_or_default();
        if operations.is_empty() {
            return;
        }
        let patch = match serde_json::from_value::<json_patch::Patch>(Value::Array(operations)) {
            Ok(patch) => Patch::Json::<()>(patch),
            Err(error) => {
                tracing::error!(node = %write.node, %error, "a node patch of ours is malformed");
                return;
            }
        };
        let nodes = Api::<Node>::all(self.client.clone());
        let params = PatchParams::default();
        match self.write("node", nodes.patch(&write.node, &params, &patch)).await {
            Ok(node) => {
                self.caches.nodes.put(node, read::node);
                self.announcer.node_marked(write);
            }
            Err(error) => log("node", &write.node, &error),
        }
    }
}
