use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which replica of the operator may act. The Lease decides that; this says it to the admission
/// policy that refuses the writes of every other one.
///
/// A policy could read the Lease itself, but API servers up to at least 1.36 stop to see changes of a
/// parameter of a built-in kind once the policy is deleted and made again.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "switchyard.dev",
    version = "v1alpha1",
    kind = "Leader",
    plural = "leaders",
    namespaced,
    derive = "PartialEq",
    doc = "Which replica of the operator may act. The operator writes it when it takes the lead, and an admission policy refuses the writes of every other replica.",
    printcolumn(name = "Holder", type_ = "string", json_path = ".spec.holder"),
    printcolumn(name = "Since", type_ = "date", json_path = ".spec.since")
)]
pub struct LeaderSpec {
    /// The name of the pod that leads.
    #[schemars(length(min = 1, max = 253))]
    pub holder: String,
    /// Since when it leads.
    #[schemars(with = "Time")]
    pub since: Timestamp,
}
