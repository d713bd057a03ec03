//! Nodes, jobs and resources of ours, in few words.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::{batch::v1::Job, core::v1::Node};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::RESEARCH;

/// The GPU model that may serve HPC.
pub const BIG: &str = "NVIDIA-GeForce-RTX-3090";
/// The GPU model that lacks the memory for it.
pub const SMALL: &str = "NVIDIA-GeForce-GTX-1080-Ti";
/// How GPUs are counted.
pub const GPU: &str = "nvidia.com/gpu";

/// Reads a manifest.
pub fn manifest<K: DeserializeOwned>(yaml: &str) -> Result<K> {
    serde_yaml::from_str(yaml).with_context(|| format!("cannot read the manifest {yaml}"))
}

/// A node that is to be made.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Its GPUs; none: a node for system pods.
    pub gpus: u32,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints as `key=value:effect` would say, but as objects.
    pub taints: Vec<Value>,
}

impl NodeSpec {
    /// A node with eight GPUs of a model at the site `demo`.
    pub fn gpu(name: impl Into<String>, model: &str) -> Self {
        let name = name.into();
        let labels = [
            ("kubernetes.io/hostname", name.as_str()),
            ("site", "demo"),
            ("nvidia.com/gpu.product", model),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Self { name, gpus: 8, labels, taints: Vec::new() }
    }

    /// A node without GPUs.
    pub fn system(name: impl Into<String>) -> Self {
        let name = name.into();
        let labels = [("kubernetes.io/hostname".to_owned(), name.clone())].into();
        Self { name, gpus: 0, labels, taints: Vec::new() }
    }

    /// The same with another label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The same with another taint.
    #[must_use]
    pub fn taint(mut self, key: &str, effect: &str) -> Self {
        self.taints.push(json!({"key": key, "effect": effect}));
        self
    }

    /// The object.
    pub fn object(&self) -> Result<Node> {
        let mut amounts = json!({"cpu": "64", "memory": "512Gi", "pods": "110"});
        if self.gpus > 0 {
            amounts[GPU] = json!(self.gpus.to_string());
        }
        let node = json!({
            "metadata": {
                "name": self.name,
                "labels": self.labels,
                "annotations": {"kwok.x-k8s.io/node": "fake"},
            },
            "spec": {"taints": self.taints},
            "status": {"capacity": amounts, "allocatable": amounts},
        });
        Ok(serde_json::from_value(node)?)
    }
}

/// A job that is to be given.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// Its name.
    pub name: String,
    /// How many pods; more than one is a gang.
    pub pods: u32,
    /// GPUs of each pod.
    pub gpus: u32,
    /// How long it runs; none: for ever.
    pub run_for: Option<std::time::Duration>,
    /// What it pays, USD per GPU-hour; none: what the pool asks.
    pub price: Option<f64>,
    /// Tolerates every taint.
    pub tolerates_everything: bool,
}

impl JobSpec {
    /// A job of one pod.
    pub fn new(name: impl Into<String>, gpus: u32) -> Self {
        Self {
            name: name.into(),
            pods: 1,
            gpus,
            run_for: None,
            price: None,
            tolerates_everything: false,
        }
    }

    /// The same as a gang of `pods` pods.
    #[must_use]
    pub fn gang(mut self, pods: u32) -> Self {
        self.pods = pods;
        self
    }

    /// The same, ending after a while.
    #[must_use]
    pub fn runs_for(mut self, run_for: std::time::Duration) -> Self {
        self.run_for = Some(run_for);
        self
    }

    /// The same, at its own price.
    #[must_use]
    pub fn pays(mut self, usd_per_gpu_hour: f64) -> Self {
        self.price = Some(usd_per_gpu_hour);
        self
    }

    /// The object, in the customers' namespace.
    pub fn object(&self) -> Result<Job> {
        let mut annotations = BTreeMap::new();
        if let Some(run_for) = self.run_for {
            let milliseconds = run_for.as_millis();
            annotations.insert("rig.switchyard.dev/run-for", format!("{milliseconds}ms"));
        }
        if let Some(price) = self.price {
            annotations.insert(switchyard_api::keys::USD_PER_GPU_HOUR, price.to_string());
        }
        let everything = json!([{"operator": "Exists"}]);
        let tolerations = if self.tolerates_everything { everything } else { json!([]) };
        let job = json!({
            "metadata": {"name": self.name, "namespace": RESEARCH},
            "spec": {
                "parallelism": self.pods,
                "completions": self.pods,
                "completionMode": "Indexed",
                "backoffLimit": 100,
                "template": {
                    "metadata": {"annotations": annotations},
                    "spec": {
                        "restartPolicy": "Never",
                        "terminationGracePeriodSeconds": 5,
                        "tolerations": tolerations,
                        "containers": [{
                            "name": "train",
                            "image": "train",
                            "resources": {
                                "requests": {"cpu": "1", "memory": "4Gi"},
                                "limits": {GPU: self.gpus.to_string()},
                            },
                        }],
                    },
                },
            },
        });
        Ok(serde_json::from_value(job)?)
    }
}
