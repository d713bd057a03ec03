//! Holds a pool that is being deleted until its nodes are given back.

use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use switchyard_api::{GPUPool, Mode, keys};

use super::{Hands, log};

impl Hands {
    /// Puts our finalizer on pools that act, and takes it off pools that are deleted and hold nothing
    /// any more.
    pub async fn keep_finalizers(&self) {
        let pools: Vec<GPUPool> = self.caches.pools.collect(|_, pool| pool.good().cloned());
        for pool in pools {
            let deleting = pool.metadata.deletion_timestamp.is_some();
            let ours = pool.finalizers().iter().any(|one| one == keys::POOL_FINALIZER);
            let acts = pool.spec.shifting.mode != Mode::DryRun;
            let finalizers = pool.finalizers().iter().filter(|one| *one != keys::POOL_FINALIZER);
            let mut finalizers: Vec<&str> = finalizers.map(String::as_str).collect();
            if ours && deleting && !self.holds_anything(&pool.name_any()) {
                self.set_finalizers(&pool, &finalizers).await;
            } else if !ours && !deleting && acts {
                finalizers.push(keys::POOL_FINALIZER);
                self.set_finalizers(&pool, &finalizers).await;
            }
        }
    }

    /// Does a node or a DaemonSet carry the pool's name?
    fn holds_anything(&self, pool: &str) -> bool {
        let caches = &self.caches;
        caches.nodes.any(|node| node.facts.marks.pool.as_deref() == Some(pool))
            || caches.daemon_sets.any(|set| set.pool.as_deref() == Some(pool))
    }

    async fn set_finalizers(&self, pool: &GPUPool, finalizers: &[&str]) {
        let name = pool.name_any();
        let pools = Api::<GPUPool>::all(self.client.clone());
        // The list is atomic in a merge; the version keeps a finalizer of others from being lost.
        let patch = Patch::Merge(json!({"metadata": {
            "resourceVersion": pool.resource_version(),
            "finalizers": finalizers,
        }}));
        if let Err(error) =
            self.write("gpupool", pools.patch(&name, &PatchParams::default(), &patch)).await
        {
            log("gpupool", &name, &error);
        }
    }
}
