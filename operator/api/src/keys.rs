//! Every label, annotation, taint and finalizer of Switchyard's, and who may write it.
//!
//! Nothing else of a node is ever written: what is not listed here belongs to somebody else.

use crate::Use;

/// Label, by the operator: the node's use, `mining`, `hpc` or `idle`.
pub const USE: &str = "switchyard.dev/use";
/// Label, by the operator: the pool that manages the node.
pub const POOL: &str = "switchyard.dev/pool";
/// Label, by the operator: the profile the node mines with, see [`profile_value`].
pub const MINING_PROFILE: &str = "switchyard.dev/mining-profile";
/// Label, by the operator: how many GPUs the node advertises; selects the `DaemonSet` of that size.
pub const GPUS: &str = "switchyard.dev/gpus";
/// The labels above.
pub const NODE_LABELS: [&str; 4] = [USE, POOL, MINING_PROFILE, GPUS];

/// Annotation, by the operator: the name of the running [`NodeShift`](crate::NodeShift) that claims
/// the node. Every patch tests it, so two shifts can never interleave on one node.
pub const SHIFT: &str = "switchyard.dev/shift";
/// Annotation, by the operator: since when (RFC 3339) the node is in its use. Dwell survives restarts.
pub const USE_SINCE: &str = "switchyard.dev/use-since";
/// The annotations above.
pub const NODE_ANNOTATIONS: [&str; 2] = [SHIFT, USE_SINCE];

/// Key of the taint, by the operator, with effect `NoSchedule`, on every managed node that takes no
/// jobs. Its value is the use, or [`CLOSED`].
pub const TAINT: &str = "switchyard.dev/use";
/// Value of [`TAINT`] on a node in use `HPC` that takes no new jobs for the moment, because at the
/// pool's price they would not even pay for their power. Those that run go on.
pub const CLOSED: &str = "closed";
/// Effect of [`TAINT`]. Never `NoExecute`: that would evict the pods that run a node.
pub const TAINT_EFFECT: &str = "NoSchedule";

/// Annotation on a node, by people: `"true"` keeps the operator's hands off it.
pub const SKIP: &str = "switchyard.dev/skip";
/// Annotation on a node, by people: the use that it is to have, for how long and why, such as
/// `use=HPC,until=2026-12-24T18:00Z,reason=benchmark`.
pub const PIN: &str = "switchyard.dev/pin";
/// Annotation on a pod, by tenants of listed namespaces: what it pays, USD per GPU-hour.
pub const USD_PER_GPU_HOUR: &str = "switchyard.dev/usd-per-gpu-hour";

/// Label on a namespace, by people: `allowed` opens it to miners. Elsewhere the chart's fences let the
/// operator create no pods and evict none.
pub const MINERS: &str = "switchyard.dev/miners";
/// Value of [`MINERS`] that opens a namespace.
pub const MINERS_ALLOWED: &str = "allowed";

/// Annotation on a pool, by people: the number of nodes that it really has now, after it shrank to
/// less than half at once.
pub const CONFIRM_SIZE: &str = "switchyard.dev/confirm-size";

/// Annotation on a pool, by people: any value that it did not have before, such as the time, closes the
/// breaker.
pub const RESET_BREAKER: &str = "switchyard.dev/reset-breaker";

/// Name of the ConfigMap, by people, in the operator's namespace: while it is there no shift begins.
pub const HOLD: &str = "switchyard-hold";

/// Finalizer on pools: the nodes are given back before the pool goes.
pub const POOL_FINALIZER: &str = "switchyard.dev/give-nodes-back";

/// Label on what the operator creates.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`], and the field manager of every write.
pub const MANAGER: &str = "switchyard";

/// Label on the nodes of a control plane; such nodes are never touched.
pub const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

const LABEL_VALUE_MAX: usize = 63;

/// The value of [`USE`] and of the taint for a use.
pub fn use_value(node_use: Use) -> &'static str {
    match node_use {
        Use::Mining => "mining",
        Use::Hpc => "hpc",
        Use::Idle => "idle",
    }
}

/// The use that a label or taint value names.
pub fn parse_use(value: &str) -> Option<Use> {
    [Use::Mining, Use::Hpc, Use::Idle].into_iter().find(|node_use| use_value(*node_use) == value)
}

/// The value of [`MINING_PROFILE`] for a profile: `namespace.name`, which is unambiguous because a
/// namespace has no dot; too long a name is cut and made unique by a hash.
pub fn profile_value(namespace: &str, name: &str) -> String {
    fit(&format!("{namespace}.{name}"), LABEL_VALUE_MAX)
}

/// Cuts `text` to `max` characters; what was cut is replaced by a hash of the whole.
pub fn fit(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let hash = format!("-{}", hash(text));
    let head: String = text.chars().take(max.saturating_sub(hash.len())).collect();
    head.trim_end_matches(['.', '-', '_']).to_owned() + &hash
}

/// A short hash of a text: FNV-1a, 32 bits. Stable over releases, unlike the standard library's.
pub fn hash(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_profile_name_still_fits_a_label() {
        let one = profile_value("mining", &"x".repeat(100));
        let two = profile_value("mining", &("x".repeat(99) + "y"));
        assert!(one.len() <= LABEL_VALUE_MAX);
        assert_ne!(one, two);
        assert_eq!(profile_value("mining", "etc"), "mining.etc");
    }

    #[test]
    fn uses_are_read_back() {
        for node_use in [Use::Mining, Use::Hpc, Use::Idle] {
            assert_eq!(parse_use(use_value(node_use)), Some(node_use));
        }
        assert_eq!(parse_use("gaming"), None);
    }
}
