//! What a rendered chart allows whom, one right a line.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

/// Every right that the manifests give, and every binding.
pub fn rights(manifests: &str) -> Result<BTreeSet<String>> {
    let mut rights = BTreeSet::new();
    for document in serde_yaml::Deserializer::from_str(manifests) {
        let object = Value::deserialize(document)?;
        let kind = object["kind"].as_str().unwrap_or_default();
        let name = format!("{kind} {}", text(&object["metadata"]["name"]));
        match kind {
            "Role" | "ClusterRole" => rights.extend(of_role(&name, &object)),
            "RoleBinding" | "ClusterRoleBinding" => {
                for subject in list(&object["subjects"]) {
                    rights.insert(format!(
                        "{name}: {} {} is {} {}",
                        text(&subject["kind"]),
                        text(&subject["name"]),
                        text(&object["roleRef"]["kind"]),
                        text(&object["roleRef"]["name"]),
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(rights)
}

fn of_role(name: &str, role: &Value) -> Vec<String> {
    let mut rights = Vec::new();
    for rule in list(&role["rules"]) {
        let objects: Vec<String> = match list(&rule["resourceNames"]) {
            [] => vec![String::new()],
            names => names.iter().map(|name| format!(" {}", text(name))).collect(),
        };
        for group in list(&rule["apiGroups"]) {
            let group = if text(group).is_empty() { "core" } else { text(group) };
            for resource in list(&rule["resources"]) {
                for verb in list(&rule["verbs"]) {
                    rights.extend(objects.iter().map(|object| {
                        format!("{name}: {} {group}/{}{object}", text(verb), text(resource))
                    }));
                }
            }
        }
        rights.extend(list(&rule["nonResourceURLs"]).iter().map(|url| format!("{name}: {url}")));
    }
    rights
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The rights that a security review has seen.
pub fn reviewed() -> BTreeSet<String> {
    include_str!("../tests/chart/rbac.golden").lines().map(str::to_owned).collect()
}
