//! The JSON patch that puts marks of ours on a node, or takes them off, and touches nothing else.
//!
//! It carries its preconditions: the UID, and the claim that was found. Taints are an atomic list in
//! Kubernetes, so they are changed by index with a test of what is there; a strategic or applied
//! patch would erase the taints of others. There is no resourceVersion, because a heartbeat of the
//! kubelet is no conflict.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Taint;
use serde_json::{Value, json};
use switchyard_api::keys;
use switchyard_core::{
    snapshot::{Barrier, Marks},
    writes::NodeWrite,
};

use crate::watch::read::NodeRecord;

/// The operations that turn the node, as it was found, into what `write` asks for; none, if it is
/// that already.
pub fn operations(found: &NodeRecord, write: &NodeWrite) -> Vec<Value> {
    let labels =
        members("/metadata/labels", &keys::NODE_LABELS, &wanted_labels(&write.marks), |key| {
            found.facts.labels.get(key)
        });
    let wanted = wanted_annotations(&write.marks);
    let annotations = members("/metadata/annotations", &keys::NODE_ANNOTATIONS, &wanted, |key| {
        found.annotations.get(key).map(String::as_str)
    });
    let taints = taint(found, write);
    if labels.is_empty() && annotations.is_empty() && taints.is_empty() {
        return Vec::new();
    }
    let mut operations = preconditions(found, write);
    operations.extend(labels.into_iter().chain(annotations).chain(taints));
    operations
}

fn preconditions(found: &NodeRecord, write: &NodeWrite) -> Vec<Value> {
    let uid = json!({"op": "test", "path": "/metadata/uid", "value": &*write.uid});
    let claim = if found.annotated {
        // A member that is not there equals null.
        let path = member("/metadata/annotations", keys::SHIFT);
        vec![json!({"op": "test", "path": path, "value": write.found_claim.as_deref()})]
    } else {
        vec![
            json!({"op": "test", "path": "/metadata/annotations", "value": null}),
            json!({"op": "add", "path": "/metadata/annotations", "value": {}}),
        ]
    };
    std::iter::once(uid).chain(claim).collect()
}

fn wanted_labels(marks: &Marks) -> BTreeMap<&'static str, String> {
    let wanted = [
        (keys::USE, marks.node_use.map(|node_use| keys::use_value(node_use).to_owned())),
        (keys::POOL, marks.pool.as_deref().map(str::to_owned)),
        (keys::MINING_PROFILE, marks.profile.as_deref().map(str::to_owned)),
        (keys::GPUS, marks.gpus.map(|gpus| gpus.to_string())),
    ];
    wanted.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn wanted_annotations(marks: &Marks) -> BTreeMap<&'static str, String> {
    let wanted = [
        (keys::SHIFT, marks.claim.as_deref().map(str::to_owned)),
        (keys::USE_SINCE, marks.since.map(|since| since.to_string())),
    ];
    wanted.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// The operations on the members of a map that are ours.
fn members<'f>(
    map: &str,
    ours: &[&'static str],
    wanted: &BTreeMap<&'static str, String>,
    found: impl Fn(&str) -> Option<&'f str>,
) -> Vec<Value> {
    ours.iter()
        .filter_map(|key| match (found(key), wanted.get(key)) {
            (found, Some(wanted)) if found != Some(wanted) => {
                Some(json!({"op": "add", "path": member(map, key), "value": wanted}))
            }
            (Some(_), None) => Some(json!({"op": "remove", "path": member(map, key)})),
            (_, _) => None,
        })
        .collect()
}

/// The path of a member of a map; a slash in a key is spelt `~1` (RFC 6901).
fn member(map: &str, key: &str) -> String {
    format!("{map}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn taint(found: &NodeRecord, write: &NodeWrite) -> Vec<Value> {
    let taints = &found.facts.taints;
    let is_ours = |taint: &Taint| taint.key == keys::TAINT && taint.effect == keys::TAINT_EFFECT;
    let ours = taints.iter().enumerate().find(|(_, taint)| is_ours(taint));
    let wanted = write.marks.taint.map(Barrier::taint);
    match (ours, wanted) {
        (None, None) => Vec::new(),
        (Some((_, found)), Some(wanted)) if found.value == wanted.value => Vec::new(),
        (Some((index, found)), None) => {
            let path = format!("/spec/taints/{index}");
            vec![
                json!({"op": "test", "path": path, "value": found}),
                json!({"op": "remove", "path": path}),
            ]
        }
        (Some((index, found)), Some(wanted)) => {
            let path = format!("/spec/taints/{index}");
            vec![
                json!({"op": "test", "path": path, "value": found}),
                json!({"op": "replace", "path": path, "value": wanted}),
            ]
        }
        (None, Some(wanted)) if taints.is_empty() => vec![
            json!({"op": "test", "path": "/spec/taints", "value": null}),
            json!({"op": "add", "path": "/spec/taints", "value": [wanted]}),
        ],
        (None, Some(wanted)) => {
            vec![json!({"op": "add", "path": "/spec/taints/-", "value": wanted})]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Node;
    use switchyard_api::{Reason, Use};

    /// A node as it is, and as it becomes when the operations for `marks` are applied to it.
    fn patched(node: &Value, marks: Marks, found_claim: Option<&str>) -> Result<Value, String> {
        let read: Node = serde_json::from_value(node.clone()).unwrap();
        let record = crate::watch::read::node(read).unwrap();
        let write = NodeWrite {
            node: record.facts.name.clone(),
            uid: record.facts.uid.clone(),
            found_claim: found_claim.map(Into::into),
            marks,
            why: Reason::Repaired,
        };
        // The API server takes a missing member for null in a test; the library does not.
        let operations: Vec<_> = operations(&record, &write)
            .into_iter()
            .filter(|one| one["op"] != "test" || !one["value"].is_null())
            .collect();
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations)).unwrap();
        let mut patched = node.clone();
        json_patch::patch(&mut patched, &patch).map_err(|error| error.to_string())?;
        Ok(patched)
    }

    fn marks(node_use: Use) -> Marks {
        Marks {
            pool: Some("texas".into()),
            node_use: Some(node_use),
            taint: Barrier::of(node_use),
            profile: None,
            gpus: Some(8),
            claim: None,
            since: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        }
    }

    fn node(taints: &Value) -> Value {
        json!({
            "metadata": {
                "name": "n1", "uid": "u1",
                "labels": {"zone": "a"},
                "annotations": {"theirs": "yes"},
            },
            "spec": {"taints": taints},
        })
    }

    #[test]
    fn marks_come_and_go_and_nothing_else_changes() {
        let theirs = json!([{"key": "theirs", "effect": "NoSchedule"}]);
        let before = node(&theirs);
        let marked = patched(&before, marks(Use::Mining), None).unwrap();
        assert_eq!(marked["metadata"]["labels"][keys::USE], "mining");
        assert_eq!(marked["spec"]["taints"][1]["value"], "mining");
        assert_eq!(marked["spec"]["taints"][0], theirs[0]);
        assert_eq!(patched(&marked, Marks::default(), None).unwrap(), before);
    }

    #[test]
    fn a_taint_of_others_survives_wherever_it_stands() {
        let ours = json!({"key": keys::TAINT, "value": "mining", "effect": "NoSchedule"});
        let theirs = json!({"key": "theirs", "effect": "NoExecute"});
        let found = node(&json!([ours, theirs]));
        let opened = patched(&found, marks(Use::Hpc), None).unwrap();
        assert_eq!(opened["spec"]["taints"], json!([theirs]));
        let idle = patched(&found, marks(Use::Idle), None).unwrap();
        assert_eq!(idle["spec"]["taints"][0]["value"], "idle");
        assert_eq!(idle["spec"]["taints"][1], theirs);
    }

    #[test]
    fn a_bare_node_can_be_marked() {
        let bare = json!({"metadata": {"name": "n1", "uid": "u1", "labels": {}}, "spec": {}});
        let marked = patched(&bare, marks(Use::Idle), None).unwrap();
        assert_eq!(marked["metadata"]["annotations"][keys::USE_SINCE], "2026-01-01T00:00:00Z");
        assert_eq!(marked["spec"]["taints"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn another_claim_refuses_the_patch() {
        let mut claimed = node(&json!([]));
        claimed["metadata"]["annotations"][keys::SHIFT] = json!("other");
        assert!(patched(&claimed, marks(Use::Idle), Some("mine")).is_err());
        assert!(patched(&claimed, marks(Use::Idle), Some("other")).is_ok());
    }

    #[test]
    fn a_node_that_is_as_it_should_be_needs_no_patch() {
        let marked = patched(&node(&json!([])), marks(Use::Mining), None).unwrap();
        let record = crate::watch::read::node(serde_json::from_value(marked).unwrap()).unwrap();
        let write = NodeWrite {
            node: "n1".into(),
            uid: "u1".into(),
            found_claim: None,
            marks: marks(Use::Mining),
            why: Reason::Repaired,
        };
        assert_eq!(operations(&record, &write), Vec::<Value>::new());
    }
}
