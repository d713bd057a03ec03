//! What Helm makes of the chart.

use std::process::{Command, Output};

use rstest::rstest;
use serde::Deserialize;
use serde_json::Value;
use switchyard_e2e::Chart;
use switchyard_rig::{Binaries, Tool};

fn helm(args: &[&str]) -> Output {
    let binaries = Binaries::resolve_only(&[Tool::Helm]).unwrap();
    let chart = Chart::of_this_tree().path;
    let (verb, rest) = args.split_first().unwrap();
    let mut helm: Command = binaries.command(Tool::Helm).unwrap();
    helm.env("HELM_CACHE_HOME", std::env::temp_dir().join("switchyard-helm")).arg(verb);
    if *verb == "template" {
        helm.arg("switchyard");
    }
    helm.arg(chart).args(["--namespace", "switchyard-system"]).args(rest).output().unwrap()
}

/// The chart with the values of `ci/NAME-values.yaml`, or its defaults.
pub fn rendered(values: Option<&str>) -> String {
    let file = values.map(|name| {
        let path = Chart::of_this_tree().path.join(format!("ci/{name}-values.yaml"));
        path.display().to_string()
    });
    let args: Vec<&str> = match &file {
        Some(file) => vec!["template", "--values", file],
        None => vec!["template"],
    };
    let output = helm(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn objects(manifests: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(manifests);
    documents.map(|one| Value::deserialize(one).unwrap()).filter(|one| !one.is_null()).collect()
}

fn count(objects: &[Value], kind: &str) -> usize {
    objects.iter().filter(|object| object["kind"] == kind).count()
}

#[test]
fn lint_finds_nothing() {
    let output = helm(&["lint", "--strict"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn by_default_everything_that_guards_is_there() {
    let objects = objects(&rendered(None));
    let crds = switchyard_api::crds().len();
    for (kind, wanted) in [
        ("CustomResourceDefinition", crds),
        ("ValidatingAdmissionPolicy", 7),
        ("ValidatingAdmissionPolicyBinding", 7),
        ("Deployment", 1),
        ("PodDisruptionBudget", 1),
        ("NetworkPolicy", 1),
        ("PriorityClass", 1),
        ("ConfigMap", 2),
        ("Job", 1),
        ("Secret", 0),
        ("ServiceMonitor", 0),
        ("PrometheusRule", 0),
    ] {
        assert_eq!(count(&objects, kind), wanted, "{kind}");
    }
    let kept = objects.iter().filter(|object| object["kind"] == "CustomResourceDefinition");
    for crd in kept {
        assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
}

#[test]
fn what_is_turned_on_is_there() {
    let objects = objects(&rendered(Some("everything")));
    assert_eq!((count(&objects, "ServiceMonitor"), count(&objects, "PrometheusRule")), (1, 1));
    let of_kind =
        |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap().clone();
    let pod = &of_kind("Deployment")["spec"]["template"]["spec"];
    let image = pod["containers"][0]["image"].as_str().unwrap();
    assert!(image.contains("registry.example.com/gpu/switchyard@sha256:"), "{image}");
    assert_eq!(pod["imagePullSecrets"][0]["name"], "registry");
    assert_eq!(pod["topologySpreadConstraints"].as_array().unwrap().len(), 2);
    let groups = &of_kind("PrometheusRule")["spec"]["groups"];
    assert_eq!(groups[0]["rules"].as_array().unwrap().len(), 7);
    let egress = of_kind("NetworkPolicy")["spec"]["egress"].clone();
    assert_eq!(egress.as_array().unwrap().len(), 4, "names, the API server, two signals: {egress}");
}

#[test]
fn what_is_turned_off_is_not_there() {
    let objects = objects(&rendered(Some("bare")));
    for kind in [
        "CustomResourceDefinition",
        "ValidatingAdmissionPolicy",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "PriorityClass",
        "ConfigMap",
        "Job",
        "Lease",
    ] {
        assert_eq!(count(&objects, kind), 0, "{kind}");
    }
}

#[test]
fn pods_are_as_the_restricted_standard_wants_them() {
    for values in [None, Some("everything")] {
        let objects = objects(&rendered(values));
        let pods: Vec<_> = objects
            .iter()
            .filter_map(|object| object["spec"]["template"]["spec"].as_object())
            .collect();
        assert_eq!(pods.len(), 2, "the operator and the Job of the way out");
        for pod in pods {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            for container in pod["containers"].as_array().unwrap() {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false);
                assert_eq!(security["readOnlyRootFilesystem"], true);
                assert_eq!(security["capabilities"]["drop"][0], "ALL");
                assert!(container["resources"]["limits"]["memory"].is_string());
            }
        }
    }
}

/// Each message names the value and what is wrong with it.
#[rstest]
#[case("replicas=0", "/replicas", "want 1")]
#[case("replicas=two", "/replicas", "want integer")]
#[case("replica=3", "replica", "not allowed")]
#[case("image.pullPolicy=Sometimes", "/image/pullPolicy", "must be one of")]
#[case("image.digest=abc", "/image/digest", "sha256")]
#[case("decideEvery=soon", "/decideEvery", "does not match")]
#[case("leaderElection.leaseDuration=15", "/leaderElection/leaseDuration", "want string")]
#[case("fences.actions={Refuse}", "/fences/actions/0", "'Deny'")]
#[case("fences.actions={Deny,Warn}", "fences.actions", "take out Deny or Warn")]
#[case("minerPriorityClass.value=5", "/minerPriorityClass/value", "want 0")]
#[case("minerPriorityClass.name=Low", "/minerPriorityClass/name", "does not match")]
#[case("monitoring.serviceMonitor=yes", "/monitoring/serviceMonitor", "must be one of")]
#[case("networkPolicy.apiServer.cidrs={10.0.0.1}", "/networkPolicy/apiServer/cidrs/0", "10.0.0.1")]
#[case("networkPolicy.apiServer.ports={70000}", "/networkPolicy/apiServer/ports/0", "65,535")]
#[case("release.timeoutSeconds=1", "/release/timeoutSeconds", "want 60")]
fn a_bad_value_is_refused_with_its_name(
    #[case] value: &str,
    #[case] names: &str,
    #[case] says: &str,
) {
    let output = helm(&["template", "--set", value]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{value} is taken");
    assert!(error.contains(names) && error.contains(says), "{value}: {error}");
}
