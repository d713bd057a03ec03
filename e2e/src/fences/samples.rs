//! What the fences are tried with: requests that change nothing, and templates that ask for too much.

use anyhow::Result;
use http::{Method, Request};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::MINING;

/// Where profiles are written.
pub(super) const PROFILES: &str = "/apis/switchyard.dev/v1alpha1/namespaces/mining/miningprofiles";

/// A request, if it could be made.
pub(super) type Asked = Result<Request<Vec<u8>>>;
/// What is done to the spec of a pod.
pub(super) type Change = Box<dyn Fn(&mut Value) + Send + Sync>;

/// What no template of a miner may ask for.
pub(super) fn forbidden() -> Vec<(&'static str, Change)> {
    let set = |path: &'static str, value: Value| -> Change {
        Box::new(move |pod: &mut Value| {
            let mut at = pod;
            for step in path.split('.') {
                at = match step.parse::<usize>() {
                    Ok(index) => &mut at[index],
                    Err(_) => &mut at[step],
                };
            }
            *at = value.clone();
        })
    };
    let container = "containers.0.securityContext";
    let volume = |source: &str, value: Value| json!([{"name": "v", source: value}]);
    let from_secret =
        json!([{"name": "K", "valueFrom": {"secretKeyRef": {"name": "other", "key": "k"}}}]);
    let token = json!({"sources": [{"serviceAccountToken": {"path": "token"}}]});
    let probe = json!({"httpGet": {"host": "10.0.0.1", "port": 80}});
    vec![
        ("hostNetwork", set("hostNetwork", json!(true))),
        ("hostPID", set("hostPID", json!(true))),
        ("hostIPC", set("hostIPC", json!(true))),
        ("a host port", set("containers.0.ports", json!([{"containerPort": 80, "hostPort": 80}]))),
        ("a probe of another host", set("containers.0.livenessProbe", probe)),
        ("a host path", set("volumes", volume("hostPath", json!({"path": "/"})))),
        ("a claim", set("volumes", volume("persistentVolumeClaim", json!({"claimName": "c"})))),
        ("a projected token", set("volumes", volume("projected", token))),
        ("a mounted Secret", set("volumes", volume("secret", json!({"secretName": "other"})))),
        ("a Secret in a variable", set("containers.0.env", from_secret)),
        ("a Secret as variables", set("containers.0.envFrom", secret_env("other"))),
        ("a Secret to pull with", set("imagePullSecrets", json!([{"name": "other"}]))),
        ("a service account", set("serviceAccountName", json!("admin"))),
        ("privileged", set(container, json!({"privileged": true}))),
        ("escalation", set(container, json!({"allowPrivilegeEscalation": true}))),
        ("a capability", set(container, json!({"capabilities": {"add": ["SYS_ADMIN"]}}))),
        ("a sysctl", set("securityContext.sysctls", json!([{"name": "kernel.x", "value": "1"}]))),
        ("root", set("securityContext.runAsUser", json!(0))),
        ("not non-root", set("securityContext.runAsNonRoot", json!(false))),
        ("no seccomp", set("securityContext.seccompProfile", json!({"type": "Unconfined"}))),
        ("a high priority", set("priorityClassName", json!("system-node-critical"))),
        ("a node of its choice", set("nodeName", json!("gpu-0"))),
    ]
}

pub(super) fn secret_env(secret: &str) -> Value {
    json!([{"secretRef": {"name": secret}}])
}

pub(super) fn with_secret(mut profile: Value, secret: &str) -> Value {
    profile["spec"]["template"]["spec"]["containers"][0]["envFrom"] = secret_env(secret);
    profile
}

pub(super) fn profile(name: &str) -> Value {
    json!({
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "MiningProfile",
        "metadata": {"name": name, "namespace": MINING},
        "spec": {
            "coin": "ETC",
            "algorithm": "etchash",
            "income": {"signal": "mining"},
            "hardware": [{"model": crate::objects::BIG, "hashrate": "120M", "watts": 290}],
            "template": {"spec": {"containers": [{"name": "miner", "image": "miner"}]}},
        },
    })
}

pub(super) fn shift(pool: &str) -> Value {
    json!({
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "NodeShift",
        "metadata": {"name": "tried"},
        "spec": {
            "pool": pool, "from": "Mining", "to": "Idle", "cause": "Price",
            "nodes": [{"name": "none", "uid": "none"}],
            "deadline": "2100-01-01T00:00:00Z",
        },
    })
}

/// A pod that waits for a node that does not come, which is enough to be evicted.
pub(super) fn lodger(name: &str, namespace: &str, selector: &Value) -> Result<Pod> {
    let mut selector = selector.clone();
    selector["site"] = json!("nowhere");
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "nodeSelector": selector,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "c", "image": "c",
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    }))?)
}

pub(super) fn sets(namespace: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/daemonsets")
}

pub(super) fn dry(path: &str) -> String {
    format!("{path}?dryRun=All")
}

pub(super) fn plain(method: Method, path: &str) -> Asked {
    Ok(Request::builder().method(method).uri(path).body(Vec::new())?)
}

pub(super) fn post(path: &str, body: &Value) -> Asked {
    send(Method::POST, &dry(path), "application/json", body)
}

pub(super) fn merge(path: &str, body: &Value) -> Asked {
    send(Method::PATCH, &dry(path), "application/merge-patch+json", body)
}

pub(super) fn apply(path: &str, body: &Value) -> Asked {
    let path = format!("{path}?dryRun=All&fieldManager=switchyard&force=true");
    send(Method::PATCH, &path, "application/apply-patch+yaml", body)
}

pub(super) fn send(method: Method, path: &str, content: &str, body: &Value) -> Asked {
    let request = Request::builder().method(method).uri(path).header("Content-Type", content);
    Ok(request.body(serde_json::to_vec(body)?)?)
}
