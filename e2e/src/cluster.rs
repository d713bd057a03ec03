//! A control plane with Switchyard installed, as users install it.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{Namespace, Node, Pod, ServiceAccount},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::{await_condition, conditions::is_crd_established},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use switchyard_api::keys;
use switchyard_rig::{Binaries, ControlPlane, Options};

use crate::{MINING, RESEARCH, SYSTEM, eventually, objects::NodeSpec, operator::Operator};

/// Requests at the same time.
const AT_ONCE: usize = 32;

/// How a cluster is made.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The control plane.
    pub options: Options,
    /// The chart that is installed.
    pub chart: Chart,
}

/// A chart that is to be installed.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Where it is.
    pub path: PathBuf,
    /// Its values, as `--set` takes them.
    pub values: Vec<String>,
    /// More flags of helm.
    pub flags: Vec<String>,
}

impl Chart {
    /// The chart of this tree, with its defaults.
    pub fn of_this_tree() -> Self {
        Self { path: repository().join("charts/switchyard"), values: Vec::new(), flags: Vec::new() }
    }
}

impl Default for Chart {
    fn default() -> Self {
        Self::of_this_tree()
    }
}

/// The name of the release in Helm.
pub(crate) const RELEASE: &str = "switchyard";

/// A running control plane and a client of its administrator.
pub struct Cluster {
    /// The control plane.
    pub plane: ControlPlane,
    /// The administrator's client.
    pub client: Client,
}

impl Cluster {
    /// Starts a control plane.
    pub async fn start(options: Options) -> Result<Self> {
        let started = tokio::task::spawn_blocking(move || -> Result<ControlPlane> {
            let binaries = Binaries::resolve()?;
            Ok(ControlPlane::start(&binaries, options)?)
        });
        let plane = started.await??;
        let client = client(&plane.kubeconfig()).await?;
        Ok(Self { plane, client })
    }

    /// Starts a control plane with our CRDs and nothing else.
    pub async fn with_crds(options: Options) -> Result<Self> {
        let cluster = Self::start(options).await?;
        cluster.apply_crds().await?;
        Ok(cluster)
    }

    /// Starts a control plane with a few nodes for system pods and the namespaces, and installs the
    /// chart as `docs/guides/install.md` says.
    pub async fn with_switchyard(setup: Setup) -> Result<Self> {
        let cluster = Self::prepared(setup.options).await?;
        cluster.helm("install", &setup.chart).await?;
        cluster.crds_are_served().await?;
        cluster.replicas().await?;
        Ok(cluster)
    }

    /// Starts a control plane with a few nodes for system pods and the namespaces.
    pub async fn prepared(options: Options) -> Result<Self> {
        let cluster = Self::start(options).await?;
        cluster.make_nodes([NodeSpec::system("system-0"), NodeSpec::system("system-1")]).await?;
        let restricted = ("pod-security.kubernetes.io/enforce", "restricted");
        cluster.make_namespace(SYSTEM, &[restricted]).await?;
        cluster.make_namespace(MINING, &[(keys::MINERS, keys::MINERS_ALLOWED)]).await?;
        cluster.make_namespace(RESEARCH, &[]).await?;
        Ok(cluster)
    }

    /// Makes a namespace with labels.
    pub async fn make_namespace(&self, name: &str, labels: &[(&str, &str)]) -> Result<()> {
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels.collect()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        self.create(&namespace).await.map(drop)
    }

    async fn apply_crds(&self) -> Result<()> {
        let api = Api::<CustomResourceDefinition>::all(self.client.clone());
        for crd in switchyard_api::crds() {
            let name = crd.name_any();
            api.patch(&name, &PatchParams::apply("e2e").force(), &Patch::Apply(&crd)).await?;
        }
        self.crds_are_served().await
    }

    /// Waits until the API server knows our kinds.
    pub async fn crds_are_served(&self) -> Result<()> {
        let api = Api::<CustomResourceDefinition>::all(self.client.clone());
        for name in switchyard_api::crds().iter().map(ResourceExt::name_any) {
            let established = await_condition(api.clone(), &name, is_crd_established());
            tokio::time::timeout(Duration::from_secs(20), established)
                .await
                .with_context(|| format!("{name} was not established"))??;
        }
        Ok(())
    }

    /// Runs `helm install` or `helm upgrade`, and returns what it says.
    pub async fn helm(&self, verb: &str, chart: &Chart) -> Result<String> {
        let mut helm = self.plane.helm()?;
        helm.args([verb, RELEASE]).arg(&chart.path).args(["--namespace", SYSTEM]);
        helm.args(&chart.flags);
        for value in &chart.values {
            helm.args(["--set", value]);
        }
        run(helm).await
    }

    /// The pods of the chart's Deployment. kwok plays them; the process that acts for one of them is
    /// an [`Operator`].
    pub async fn replicas(&self) -> Result<Vec<Pod>> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), SYSTEM);
        let of_chart = ListParams::default().labels("app.kubernetes.io/name=switchyard");
        eventually("the chart's pods run", Duration::from_secs(60), || async {
            let mut replicas = pods.list(&of_chart).await?.items;
            replicas.retain(|pod| pod.metadata.deletion_timestamp.is_none());
            let running = |pod: &&Pod| {
                let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                phase == Some("Running")
            };
            ensure!(!replicas.is_empty(), "there are none");
            ensure!(replicas.iter().filter(running).count() == replicas.len(), "some are pending");
            Ok(replicas)
        })
        .await
    }

    /// Starts the operator in the place of the chart's first pod, under the chart's ServiceAccount.
    pub async fn operator(&self, args: &[&str]) -> Result<Operator> {
        let replica = self.replicas().await?.swap_remove(0);
        self.operator_for(&replica, args).await
    }

    /// Starts the operator in the place of a pod of the chart.
    pub async fn operator_for(&self, replica: &Pod, args: &[&str]) -> Result<Operator> {
        let kubeconfig = self.kubeconfig_of(replica).await?;
        Operator::start(&self.plane, replica, &kubeconfig, args)
    }

    /// A kubeconfig that speaks as a pod does: with a token of its ServiceAccount that is bound to it,
    /// as the kubelet would get it. The API server then knows the pod's name.
    pub async fn kubeconfig_of(&self, pod: &Pod) -> Result<PathBuf> {
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
        let account = account.context("the pod has no ServiceAccount")?;
        let namespace = pod.namespace().unwrap_or_default();
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), &namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .with_context(|| format!("no token for {account}"))?;
        let token = answer.status.and_then(|status| status.token);
        let token = token.context("the answer has no token")?;
        Ok(self.plane.kubeconfig_for_token(&pod.name_any(), &token)?)
    }

    /// A client that speaks as a pod does.
    pub async fn client_of(&self, pod: &Pod) -> Result<Client> {
        client(&self.kubeconfig_of(pod).await?).await
    }

    /// Makes nodes and waits until they are Ready.
    pub async fn make_nodes(&self, nodes: impl IntoIterator<Item = NodeSpec>) -> Result<()> {
        let nodes: Vec<NodeSpec> = nodes.into_iter().collect();
        let api = Api::<Node>::all(self.client.clone());
        stream::iter(nodes.iter().map(|node| {
            let api = api.clone();
            async move {
                let object = node.object()?;
                api.create(&PostParams::default(), &object).await?;
                Ok::<_, anyhow::Error>(())
            }
        }))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
        eventually("the nodes are Ready", Duration::from_secs(120), || async {
            let ready = api.list(&ListParams::default()).await?.into_iter().filter(is_ready);
            let ready: std::collections::BTreeSet<String> =
                ready.map(|node| node.name_any()).collect();
            let missing = nodes.iter().find(|node| !ready.contains(&node.name));
            missing.map_or(Ok(()), |node| bail!("{} is not", node.name))
        })
        .await
    }

    /// A DaemonSet of every GPU node, as a device plugin is one.
    pub async fn make_device_plugin(&self, tolerates: bool) -> Result<DaemonSet> {
        let tolerations = if tolerates {
            json!([{"key": switchyard_api::keys::TAINT, "operator": "Exists"}])
        } else {
            json!([])
        };
        let set = serde_json::from_value(json!({
            "metadata": {"name": "device-plugin", "namespace": "kube-system"},
            "spec": {
                "selector": {"matchLabels": {"app": "device-plugin"}},
                "template": {
                    "metadata": {"labels": {"app": "device-plugin"}},
                    "spec": {
                        "nodeSelector": {"site": "demo"},
                        "tolerations": tolerations,
                        "containers": [{"name": "plugin", "image": "plugin"}],
                    },
                },
            },
        }))?;
        self.create::<DaemonSet>(&set).await
    }

    /// Creates an object, in the namespace it names if it names one.
    pub async fn create<K>(&self, object: &K) -> Result<K>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let client = self.client.clone();
        let request =
            kube::core::Request::new(K::url_path(&(), object.meta().namespace.as_deref()));
        let request = request.create(&PostParams::default(), serde_json::to_vec(object)?)?;
        let created = client.request::<K>(request).await;
        created.with_context(|| format!("cannot create {} {}", K::kind(&()), object.name_any()))
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| condition.type_ == "Ready").any(|one| one.status == "True")
}

/// A client by a kubeconfig file.
async fn client(kubeconfig: &std::path::Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a command to its end; what it printed is in the error.
pub async fn run(mut command: Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    if !output.status.success() {
        bail!("{shown}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
