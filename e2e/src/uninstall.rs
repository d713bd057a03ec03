//! `helm uninstall`, and what it leaves.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
    core::discovery::verbs,
    discovery::Discovery,
};
use serde_json::json;
use switchyard_api::keys;

use crate::{
    Cluster, Operator, SYSTEM,
    cluster::{RELEASE, run},
    eventually,
    operator::{command_of, environment_of},
};

const WITHIN: Duration = Duration::from_secs(180);

impl Cluster {
    /// Uninstalls the chart, and says what its hook said.
    ///
    /// No kubelet runs here, so this plays it for two pods. The hook's Job is real, and its pod is
    /// admitted and scheduled; what that pod should run, this runs as a process with the pod's own
    /// arguments, environment and token, and then reports its end as the pod's status. The operator's
    /// process is stopped when its pod is deleted.
    pub async fn uninstall(&self, operator: &mut Operator) -> Result<String> {
        let mut helm = self.plane.helm()?;
        helm.args(["uninstall", RELEASE, "--namespace", SYSTEM, "--timeout", "5m"]);
        let helm = tokio::spawn(run(helm));
        let said = self.play_hook().await?;
        let pods = Api::<Pod>::namespaced(self.client.clone(), SYSTEM);
        let name = operator.pod().to_owned();
        let deleted = eventually("the operator's pod is deleted", WITHIN, || async {
            let pod = pods.get_opt(&name).await?;
            let stays = pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_none());
            ensure!(!stays || helm.is_finished(), "it is not");
            Ok(())
        });
        deleted.await?;
        operator.stop()?;
        helm.await?.with_context(|| format!("the hook said {said:?}"))?;
        Ok(said)
    }

    async fn play_hook(&self) -> Result<String> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), SYSTEM);
        let of_hook = ListParams::default().labels("app.kubernetes.io/name=switchyard-release");
        let pod = eventually("the hook's pod runs", WITHIN, || async {
            let pod = pods.list(&of_hook).await?.items.into_iter().next();
            let pod = pod.context("there is none")?;
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            ensure!(phase == Some("Running"), "it is {phase:?}");
            Ok(pod)
        })
        .await?;
        let kubeconfig = self.kubeconfig_of(&pod).await?;
        let command = command_of(&pod)?;
        let (program, args) = command.split_first().context("no command")?;
        let mut process = Command::new(program);
        process.args(args).envs(environment_of(&pod, &kubeconfig));
        let output = tokio::task::spawn_blocking(move || process.output()).await??;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().unwrap_or(-1);
        let (name, now) = (pod.name_any(), Timestamp::now().to_string());
        let ended = Patch::Merge(json!({"status": {
            "phase": if code == 0 { "Succeeded" } else { "Failed" },
            "containerStatuses": [{
                "name": "release", "image": "switchyard", "imageID": "", "ready": false,
                "restartCount": 0,
                "state": {"terminated": {"exitCode": code, "finishedAt": now, "startedAt": now}},
            }],
        }}));
        pods.patch_status(&name, &PatchParams::default(), &ended).await?;
        ensure!(code == 0, "the hook ended with {code}: {said}");
        Ok(said)
    }

    /// Whatever is left of us in the cluster: objects of every kind that the API server serves, marks
    /// on nodes, finalizers. What belongs to people stays and is not counted: definitions, pools,
    /// profiles, signals and the label on namespaces; nor are the pods that were left running, and
    /// Events, which expire.
    pub async fn leftovers(&self) -> Result<Vec<String>> {
        // The garbage collector takes a moment.
        let mut left = Vec::new();
        for _ in 0..60 {
            left = self.found().await?;
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(left)
    }

    async fn found(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let discovery = Discovery::new(self.client.clone()).run().await?;
        for (resource, capabilities) in
            discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources)
        {
            let theirs = ["Event", "CustomResourceDefinition", "Namespace"];
            if !capabilities.supports_operation(verbs::LIST) || theirs.contains(&&*resource.kind) {
                continue;
            }
            let api = Api::<DynamicObject>::all_with(self.client.clone(), &resource);
            for object in api.list(&ListParams::default()).await? {
                if is_ours(&resource.kind, &object) {
                    found.push(format!("{} {}", resource.kind, object.name_any()));
                }
            }
        }
        for node in Api::<Node>::all(self.client.clone()).list(&ListParams::default()).await? {
            let spec = node.spec.unwrap_or_default();
            let taints = spec.taints.unwrap_or_default();
            if taints.iter().any(|taint| taint.key == keys::TAINT) {
                found.push(format!("taint on {}", node.metadata.name.unwrap_or_default()));
            }
        }
        Ok(found)
    }
}

fn is_ours(kind: &str, object: &DynamicObject) -> bool {
    let of_us = |key: &String| key.starts_with("switchyard.dev/");
    let label = |key: &str| object.labels().get(key).map(String::as_str);
    let of_chart = label("app.kubernetes.io/instance") == Some(RELEASE);
    let made = label(keys::MANAGED_BY) == Some(keys::MANAGER);
    match kind {
        "NodeShift" | "Leader" => true,
        "GPUPool" | "MiningProfile" | "ProfitabilitySignal" => {
            object.finalizers().iter().any(of_us)
        }
        "Node" => object.labels().keys().chain(object.annotations().keys()).any(of_us),
        // Miners that were left running are pods of nobody.
        "Pod" => of_chart,
        _ => of_chart || made || object.name_any().starts_with("sh.helm.release"),
    }
}
