use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{GPUPool, Leader, MiningProfile, NodeShift, ProfitabilitySignal};

/// The definitions of every kind, in the order in which people meet them.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        GPUPool::crd(),
        MiningProfile::crd(),
        ProfitabilitySignal::crd(),
        NodeShift::crd(),
        Leader::crd(),
    ]
}

/// A definition that cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("a CustomResourceDefinition cannot be written as YAML")]
pub struct CrdError(#[from] serde_yaml::Error);

/// The definitions as manifests: file name and text.
pub fn crds_yaml() -> Result<Vec<(String, String)>, CrdError> {
    crds()
        .into_iter()
        .map(|crd| Ok((format!("{}.yaml", crd.spec.names.plural), serde_yaml::to_string(&crd)?)))
        .collect()
}
