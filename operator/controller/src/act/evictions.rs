//! Sends miners away, politely: by the eviction API, which honours disruption budgets, and only the
//! very pod that was looked at.

use k8s_openapi::{
    api::{core::v1::Pod, policy::v1},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, Status},
};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use switchyard_core::writes::Eviction;

use super::{Hands, log};

impl Hands {
    /// Evicts miners.
    pub async fn evict(&self, evictions: Vec<Eviction>) {
        self.each(evictions, |eviction| async move { self.evict_one(&eviction).await }).await;
    }

    async fn evict_one(&self, eviction: &Eviction) {
        let pods = Api::<Pod>::namespaced(self.client.clone(), &eviction.namespace);
        // The client's own `evict` (kube 5.0.0) sends `delete_options`, which the API server does not
        // know: the precondition would be lost without a word.
        let (params, order) = (PostParams::default(), order(eviction));
        let asked =
            pods.create_subresource::<_, Status>("eviction", &eviction.name, &params, &order);
        let result = match self.write("eviction", asked).await {
            Ok(_) => "evicted",
            Err(error) => match error.code() {
                // It went by itself, or another pod has its name now.
                Some(404 | 409) => "gone",
                Some(429) => {
                    self.announcer.eviction_blocked(eviction);
                    "blocked"
                }
                _ => {
                    log("eviction", &eviction.name, &error);
                    "failed"
                }
            },
        };
        self.metrics.evictions.with_label_values(&[result]).inc();
    }
}

fn order(eviction: &Eviction) -> v1::Eviction {
    let uid = Some(eviction.uid.to_string());
    v1::Eviction {
        metadata: ObjectMeta {
            name: Some(eviction.name.to_string()),
            namespace: Some(eviction.namespace.to_string()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteOptions::default()
        }),
    }
}
