//! The DaemonSets that run a profile's miners: one per pool and number of GPUs of a node.

use serde_json::{Map, Value, json};
use switchyard_api::{MiningProfile, Use, keys};

use crate::watch::read::SPEC_HASH;

/// One DaemonSet that is to exist.
#[derive(Debug, Clone, PartialEq)]
pub struct MinerSet {
    /// Its namespace, which is the profile's.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The hash of everything it was made from.
    pub hash: String,
    /// The object, ready to be applied.
    pub manifest: Value,
}

/// For which nodes a DaemonSet runs miners.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinersOf<'a> {
    /// The pool.
    pub pool: &'a str,
    /// How its GPUs are counted.
    pub resource: &'a str,
    /// How many each node has.
    pub gpus: u32,
}

const NAME_MAX: usize = 63;

/// The DaemonSet of a profile for some nodes; none for a profile whose miners people run themselves.
pub fn miner_set(
    profile: &MiningProfile,
    nodes: &MinersOf<'_>,
    priority_class: &str,
) -> Option<MinerSet> {
    let template = profile.spec.template.as_ref()?;
    let namespace = profile.metadata.namespace.clone()?;
    let profile_name = profile.metadata.name.clone()?;
    let name = keys::fit(&format!("{profile_name}-{}-{}gpu", nodes.pool, nodes.gpus), NAME_MAX);
    let label = keys::profile_value(&namespace, &profile_name);
    let identity = json!({
        keys::MANAGED_BY: keys::MANAGER,
        keys::POOL: nodes.pool,
        keys::MINING_PROFILE: label,
        keys::GPUS: nodes.gpus.to_string(),
    });

    let mut pod = Value::Object(template.0.clone());
    merge(member(member(&mut pod, "metadata"), "labels"), &identity);
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        complete_pod(spec, nodes, &label, priority_class);
    }
    let mut manifest = json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": identity,
            "ownerReferences": [{
                "apiVersion": format!("{}/{}", switchyard_api::GROUP, switchyard_api::VERSION),
                "kind": "MiningProfile",
                "name": profile_name,
                "uid": profile.metadata.uid,
                "controller": true,
                "blockOwnerDeletion": false,
            }],
        },
        "spec": {
            "selector": {"matchLabels": identity},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": pod,
        },
    });
    let hash = keys::hash(&manifest.to_string());
    *member(member(&mut manifest, "metadata"), "annotations") = json!({SPEC_HASH: hash});
    Some(MinerSet { namespace, name, hash, manifest })
}

/// Fills in what makes a pod a miner of ours. What decides where it runs is set, whatever the
/// template says; what only hardens it is set where the template leaves it open.
fn complete_pod(
    spec: &mut Map<String, Value>,
    nodes: &MinersOf<'_>,
    profile: &str,
    priority_class: &str,
) {
    let selector = json!({
        keys::USE: keys::use_value(Use::Mining),
        keys::POOL: nodes.pool,
        keys::MINING_PROFILE: profile,
        keys::GPUS: nodes.gpus.to_string(),
    });
    merge(spec.entry("nodeSelector").or_insert_with(|| json!({})), &selector);
    if let Value::Array(tolerations) = spec.entry("tolerations").or_insert_with(|| json!([])) {
        tolerations.push(json!({
            "key": keys::TAINT, "operator": "Exists", "effect": keys::TAINT_EFFECT,
        }));
    }
    spec.entry("priorityClassName").or_insert_with(|| json!(priority_class));
    spec.entry("automountServiceAccountToken").or_insert_with(|| json!(false));
    let security = spec.entry("securityContext").or_insert_with(|| json!({}));
    leave_open(security, "runAsNonRoot", &json!(true));
    leave_open(security, "seccompProfile", &json!({"type": "RuntimeDefault"}));

    for kind in ["initContainers", "containers"] {
        for container in spec.get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten() {
            let security = member(container, "securityContext");
            leave_open(security, "allowPrivilegeEscalation", &json!(false));
            leave_open(security, "capabilities", &json!({"drop": ["ALL"]}));
        }
    }
    let Some(containers) = spec.get_mut("containers").and_then(Value::as_array_mut) else {
        return;
    };
    let named = containers.iter().position(|one| one.get("name") == Some(&json!("miner")));
    if let Some(miner) = containers.get_mut(named.unwrap_or(0)) {
        let limits = json!({nodes.resource: nodes.gpus.to_string()});
        merge(member(member(miner, "resources"), "limits"), &limits);
    }
}

/// The member of an object, made if it is missing. What is no object is left for the API server to
/// complain about.
fn member<'v>(value: &'v mut Value, key: &str) -> &'v mut Value {
    if value.is_null() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map.entry(key).or_insert(Value::Null),
        other => other,
    }
}

/// Sets every member of `from`.
fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().into_iter().flatten() {
        *member(into, key) = value.clone();
    }
}

/// Sets a member that the template leaves open.
fn leave_open(object: &mut Value, key: &str, value: &Value) {
    let found = member(object, key);
    if found.is_null() {
        *found = value.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(template: &str) -> MiningProfile {
        let mut profile: MiningProfile = serde_yaml::from_str(
            "
            apiVersion: switchyard.dev/v1alpha1
            kind: MiningProfile
            metadata: {name: etc, namespace: mining, uid: u-1}
            spec:
              coin: ETC
              algorithm: etchash
              income: {signal: mining}
              hardware: [{model: RTX-3090, hashrate: 120M, watts: 290}]
            ",
        )
        .unwrap();
        profile.spec.template = serde_yaml::from_str(template).unwrap();
        profile
    }

    fn made(template: &str) -> MinerSet {
        let nodes = MinersOf { pool: "texas", resource: "nvidia.com/gpu", gpus: 8 };
        miner_set(&profile(template), &nodes, "switchyard-miners").unwrap()
    }

    #[test]
    fn a_plain_template_becomes_a_hardened_miner_of_the_right_nodes() {
        let pod = made("{spec: {containers: [{name: main, image: miner:1}]}}").manifest["spec"]
            ["template"]["spec"]
            .clone();
        assert_eq!(pod["nodeSelector"][keys::USE], "mining");
        assert_eq!(pod["nodeSelector"][keys::GPUS], "8");
        assert_eq!(pod["tolerations"][0]["key"], keys::TAINT);
        assert_eq!(pod["priorityClassName"], "switchyard-miners");
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"], "8");
        assert_eq!(pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"], false);
    }

    #[test]
    fn what_the_template_says_is_kept_but_for_where_the_miner_runs() {
        let pod = made(
            "
            metadata: {labels: {team: hash}}
            spec:
              nodeSelector: {switchyard.dev/use: hpc, disk: ssd}
              priorityClassName: own
              tolerations: [{key: other, operator: Exists}]
              containers:
              - {name: sidecar, image: s}
              - {name: miner, image: m, resources: {limits: {cpu: 2}}}
            ",
        )
        .manifest["spec"]["template"]
            .clone();
        assert_eq!(pod["metadata"]["labels"]["team"], "hash");
        assert_eq!(pod["metadata"]["labels"][keys::POOL], "texas");
        let spec = &pod["spec"];
        assert_eq!(
            spec["nodeSelector"],
            json!({
                keys::USE: "mining", "disk": "ssd", keys::POOL: "texas", keys::GPUS: "8",
                keys::MINING_PROFILE: "mining.etc",
            })
        );
        assert_eq!(spec["priorityClassName"], "own");
        assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
        assert_eq!(spec["containers"][0].get("resources"), None);
        assert_eq!(
            spec["containers"][1]["resources"]["limits"],
            json!({"cpu": 2, "nvidia.com/gpu": "8"})
        );
    }

    #[test]
    fn init_containers_are_hardened_like_the_others() {
        let pod = made(
            "{spec: {initContainers: [{name: dag, image: d}], containers: [{name: main, image: m}]}}",
        )
        .manifest["spec"]["template"]["spec"]
            .clone();
        let hardened =
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        assert_eq!(pod["initContainers"][0]["securityContext"], hardened);
        assert_eq!(pod["containers"][0]["securityContext"], hardened);
    }

    #[test]
    fn the_hash_follows_the_template() {
        let one = made("{spec: {containers: [{name: main, image: miner:1}]}}");
        let two = made("{spec: {containers: [{name: main, image: miner:2}]}}");
        assert_eq!(one, made("{spec: {containers: [{name: main, image: miner:1}]}}"));
        assert_ne!(one.hash, two.hash);
    }
}
