use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Cause, Decimal, ProfileRef, Reason, Use};

/// One command that moves a set of nodes of a pool from one use to another.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchyard.dev",
    version = "v1alpha1",
    kind = "NodeShift",
    plural = "nodeshifts",
    shortname = "shift",
    category = "switchyard",
    status = "NodeShiftStatus",
    derive = "PartialEq",
    doc = "One command that moves a set of nodes from one use to another: the unit of intent, of audit and of recovery. The operator writes it before it touches a node.",
    selectable = ".spec.pool",
    printcolumn(name = "Pool", type_ = "string", json_path = ".spec.pool"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.from"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.to"),
    printcolumn(name = "Cause", type_ = "string", json_path = ".spec.cause"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.counts.total"),
    printcolumn(name = "Done", type_ = "integer", json_path = ".status.counts.completed"),
    printcolumn(name = "Gain USD/h", type_ = "string", json_path = ".spec.gainUSDPerHour"),
    printcolumn(
        name = "Waits for",
        type_ = "string",
        json_path = ".status.waitsFor",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf")
    .message("a shift is an order that was given: it cannot be changed. Delete it, and the nodes that it still holds are rolled back"))]
#[x_kube(validation = Rule::new("self.from != self.to || has(self.profile)")
    .message("from and to are the same use, which moves nothing"))]
pub struct NodeShiftSpec {
    /// The pool whose nodes are moved.
    #[schemars(length(min = 1, max = 63))]
    pub pool: String,
    /// The use that the nodes leave.
    pub from: Use,
    /// The profile that they mined with before, where they go on mining with another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_profile: Option<ProfileRef>,
    /// The use that they get.
    pub to: Use,
    /// The profile that they then mine with, where `to` is `Mining`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileRef>,
    /// The nodes. Name and UID, so that a node that was replaced under the same name is not touched.
    #[schemars(length(min = 1, max = 256))]
    pub nodes: Vec<NodeRef>,
    /// Why they are moved.
    pub cause: Cause,
    /// The gang that they are moved for. It needs all of them, so they are opened together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gang: Option<String>,
    /// All waiting work that they are moved for: `Job namespace/name`, `Pod namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub serves: Vec<String>,
    /// What the decision expected to gain, USD per hour, all nodes together.
    #[serde(default, rename = "gainUSDPerHour", skip_serializing_if = "Option::is_none")]
    pub gain_usd_per_hour: Option<Decimal>,
    /// When each node's move has ended, one way or the other.
    #[schemars(with = "Time")]
    pub deadline: Timestamp,
}

/// A node by name and UID.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct NodeRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// Where a shift, or one node of it, stands.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
pub enum Phase {
    /// Ordered; no node is touched yet.
    #[default]
    Pending,
    /// The old use is ended: miners go, or it is made sure that no job landed.
    Draining,
    /// The new use begins.
    Switching,
    /// The node is in its new use.
    Completed,
    /// The node is in its old use again, or was never touched.
    RolledBack,
    /// The new use did not begin by the deadline.
    Failed,
}

impl Phase {
    /// Is there nothing more to do?
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Draining | Self::Switching => false,
            Self::Completed | Self::RolledBack | Self::Failed => true,
        }
    }
}

/// How far a shift has come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeShiftStatus {
    /// The least advanced of the nodes' phases; of final ones, the worst.
    #[serde(default)]
    pub phase: Phase,
    /// What it waits for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Nodes by phase.
    #[serde(default)]
    pub counts: PhaseCounts,
    /// Each node that has left `Pending`.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub nodes: Vec<ShiftedNode>,
    /// When the first node was touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub started: Option<Timestamp>,
    /// When the last node was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub finished: Option<Timestamp>,
}

/// Nodes of a shift by how they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhaseCounts {
    /// All nodes.
    pub total: u32,
    /// In their new use.
    pub completed: u32,
    /// In their old use again.
    pub rolled_back: u32,
    /// Neither by the deadline.
    pub failed: u32,
}

/// One node of a shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShiftedNode {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    #[schemars(with = "Time")]
    pub since: Timestamp,
    /// What it waits for, or why it ended as it did.
    pub reason: Reason,
}
