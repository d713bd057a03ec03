//! Tries every fence of the chart from both sides, on the real API server: what the operator needs
//! passes, and what it must never do is refused by that very fence. Every request is a dry run, which
//! passes through admission and changes nothing.

mod samples;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use http::{Method, Request};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client, Error, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::Serialize;
use serde_json::{Value, json};
use switchyard_api::{Leader, keys};

use self::samples::{
    Asked, PROFILES, apply, dry, forbidden, lodger, merge, plain, post, profile, secret_env, sets,
    shift, with_secret,
};
use crate::{Cluster, MINING, RESEARCH, SYSTEM, eventually};

/// How often a fence let a request pass that it should, and refused one that it should.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Requests that passed.
    pub allowed: usize,
    /// Requests that were refused.
    pub refused: usize,
}

/// What the fences are tried on. All of it has to exist.
#[derive(Debug, Clone)]
pub struct Grounds {
    /// A node of the pool.
    pub node: String,
    /// A node of the control plane.
    pub control_plane: String,
    /// The pool.
    pub pool: String,
    /// A DaemonSet of miners, in the namespace of the miners.
    pub miners: String,
    /// A DaemonSet of somebody else, in `kube-system`.
    pub foreign: String,
}

/// The one who asks.
#[derive(Clone, Copy)]
enum Who {
    /// The replica that leads.
    Leader,
    /// The replica that does not.
    Standby,
    /// The administrator.
    Anybody,
}

/// Tries every fence, and says how often each passed and refused what it should.
pub async fn try_fences(
    cluster: &Cluster,
    grounds: &Grounds,
) -> Result<BTreeMap<&'static str, Tried>> {
    let mut trial = Trial::begin(cluster, grounds).await?;
    trial.nodes().await;
    trial.leader().await;
    trial.evictions().await;
    trial.miners().await;
    trial.profiles().await;
    trial.specs().await;
    trial.rights().await;
    ensure!(trial.wrong.is_empty(), "fences: {}", trial.wrong.join("; "));
    Ok(trial.tried)
}

struct Trial<'c> {
    grounds: &'c Grounds,
    leader: Client,
    standby: Client,
    anybody: Client,
    miner: String,
    miner_set: Value,
    tried: BTreeMap<&'static str, Tried>,
    wrong: Vec<String>,
}

impl<'c> Trial<'c> {
    async fn begin(cluster: &Cluster, grounds: &'c Grounds) -> Result<Self> {
        let replicas = cluster.replicas().await?;
        let leaders = Api::<Leader>::namespaced(cluster.client.clone(), SYSTEM);
        let holder = leaders.get("switchyard").await.context("no replica leads")?.spec.holder;
        let leading = replicas.iter().find(|pod| pod.name_any() == holder);
        let standing_by = replicas.iter().find(|pod| pod.name_any() != holder);
        let (leading, standing_by) = leading.zip(standing_by).context("no two replicas")?;

        let namespaces = Api::<Namespace>::all(cluster.client.clone());
        let secrets =
            json!({"metadata": {"annotations": {"switchyard.dev/miner-secrets": "wallet"}}});
        namespaces.patch(MINING, &PatchParams::default(), &Patch::Merge(secrets)).await?;
        for pod in [lodger("customer", RESEARCH, &json!({})), lodger("guest", MINING, &json!({}))] {
            cluster.create::<Pod>(&pod?).await?;
        }
        let kept = json!({keys::USE: "mining"});
        cluster.create::<Pod>(&lodger("own", MINING, &kept)?).await?;

        let pods = Api::<Pod>::namespaced(cluster.client.clone(), MINING);
        let pods = pods.list(&kube::api::ListParams::default().labels(keys::POOL)).await?;
        let miner = pods.items.first().context("no miner runs")?.name_any();
        let path = format!("{}/{}", sets(MINING), grounds.miners);
        let mut miner_set: Value = cluster.client.request(plain(Method::GET, &path)?).await?;
        for server_side in ["managedFields", "uid", "resourceVersion", "creationTimestamp"] {
            if let Some(metadata) = miner_set["metadata"].as_object_mut() {
                metadata.remove(server_side);
            }
        }
        let trial = Self {
            grounds,
            leader: cluster.client_of(leading).await?,
            standby: cluster.client_of(standing_by).await?,
            anybody: cluster.client.clone(),
            miner,
            miner_set,
            tried: BTreeMap::new(),
            wrong: Vec::new(),
        };
        trial.until_the_api_server_knows().await?;
        Ok(trial)
    }

    /// The API server learns of policies, of the leader and of namespaces by watching.
    async fn until_the_api_server_knows(&self) -> Result<()> {
        let within = std::time::Duration::from_secs(30);
        eventually("the fences stand", within, || async {
            let label = json!({"metadata": {"labels": {keys::USE: "mining"}}});
            let path = format!("/api/v1/nodes/{}", self.grounds.node);
            let refusal = self.ask(Who::Standby, merge(&path, &label)?).await?;
            ensure!(refusal.is_some(), "a replica that does not lead writes");
            let secret = with_secret(profile("knows"), "wallet");
            let refusal = self.ask(Who::Anybody, post(PROFILES, &secret)?).await?;
            ensure!(refusal.is_none(), "{refusal:?}");
            let uses_other = with_secret(profile("knows"), "other");
            let refusal = self.ask(Who::Anybody, post(PROFILES, &uses_other)?).await?;
            ensure!(refusal.is_some(), "a profile may use any Secret");
            Ok(())
        })
        .await
    }

    /// Asks; the refusal, if there is one.
    async fn ask(&self, who: Who, request: Request<Vec<u8>>) -> Result<Option<String>> {
        let client = match who {
            Who::Leader => &self.leader,
            Who::Standby => &self.standby,
            Who::Anybody => &self.anybody,
        };
        match client.request::<Value>(request).await {
            Ok(_) => Ok(None),
            Err(Error::Api(status)) if status.code == 403 => Ok(Some(status.message.clone())),
            Err(Error::Api(status)) => bail!("{} {}", status.code, status.message),
            Err(error) => Err(error.into()),
        }
    }

    async fn passes(&mut self, fence: &'static str, who: Who, what: &str, asked: Asked) {
        let answer = match asked {
            Ok(request) => self.ask(who, request).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(None) => self.tried.entry(fence).or_default().allowed += 1,
            Ok(Some(refusal)) => self.wrong.push(format!("{fence} refuses {what}: {refusal}")),
            Err(error) => self.wrong.push(format!("{fence}, {what}: {error:#}")),
        }
    }

    async fn refuses(&mut self, fence: &'static str, who: Who, what: &str, asked: Asked) {
        let answer = match asked {
            Ok(request) => self.ask(who, request).await,
            Err(error) => Err(error),
        };
        let by = if fence == RIGHTS { "cannot".into() } else { format!("'{fence}'") };
        match answer {
            Ok(Some(refusal)) if refusal.contains(&by) => {
                self.tried.entry(fence).or_default().refused += 1;
            }
            Ok(Some(refusal)) => {
                self.wrong.push(format!("{fence}: {what} is refused by another: {refusal}"));
            }
            Ok(None) => self.wrong.push(format!("{fence} lets {what} pass")),
            Err(error) => self.wrong.push(format!("{fence}, {what}: {error:#}")),
        }
    }

    async fn nodes(&mut self) {
        let fence = "switchyard-nodes";
        let path = format!("/api/v1/nodes/{}", self.grounds.node);
        let metadata = |part: &str, key: &str, value: Value| {
            merge(&path, &json!({"metadata": {part: {key: value}}}))
        };
        let taints = |taints: Value| merge(&path, &json!({"spec": {"taints": taints}}));
        let ours =
            |value: &str| json!({"key": keys::TAINT, "value": value, "effect": "NoSchedule"});
        let who = Who::Leader;
        for key in keys::NODE_LABELS {
            self.passes(fence, who, key, metadata("labels", key, json!("x"))).await;
            self.passes(fence, who, key, metadata("labels", key, Value::Null)).await;
        }
        for key in keys::NODE_ANNOTATIONS {
            self.passes(fence, who, key, metadata("annotations", key, json!("x"))).await;
        }
        self.passes(fence, who, "its taint", taints(json!([ours("mining")]))).await;
        self.passes(fence, who, "its other taint", taints(json!([ours("idle")]))).await;
        self.passes(fence, who, "no taint", taints(json!([]))).await;
        let cordon = json!({"spec": {"unschedulable": true}});
        self.passes(fence, Who::Anybody, "a person's cordon", merge(&path, &cordon)).await;

        self.refuses(fence, who, "a new label", metadata("labels", "theirs", json!("x"))).await;
        self.refuses(fence, who, "another label", metadata("labels", "site", json!("x"))).await;
        self.refuses(fence, who, "a label less", metadata("labels", "site", Value::Null)).await;
        let skip = metadata("annotations", keys::SKIP, json!("true"));
        self.refuses(fence, who, "a person's annotation", skip).await;
        let theirs = json!({"key": "theirs", "effect": "NoSchedule"});
        self.refuses(fence, who, "a foreign taint", taints(json!([theirs]))).await;
        let evicts = json!({"key": keys::TAINT, "value": "mining", "effect": "NoExecute"});
        self.refuses(fence, who, "a taint that evicts", taints(json!([evicts]))).await;
        self.refuses(fence, who, "an odd taint", taints(json!([ours("hpc")]))).await;
        self.refuses(fence, who, "a cordon", merge(&path, &cordon)).await;
        let held = merge(&path, &json!({"metadata": {"finalizers": ["example.com/held"]}}));
        self.refuses(fence, who, "a finalizer", held).await;
        let path = format!("/api/v1/nodes/{}", self.grounds.control_plane);
        let marks = json!({"metadata": {"labels": {keys::USE: "mining"}}});
        self.refuses(fence, who, "a node of the control plane", merge(&path, &marks)).await;
    }

    async fn leader(&mut self) {
        let fence = "switchyard-leader";
        let path = format!("/api/v1/nodes/{}", self.grounds.node);
        let mark = || merge(&path, &json!({"metadata": {"labels": {keys::USE: "idle"}}}));
        let evict = self.eviction(MINING, &self.miner);
        let order = || post("/apis/switchyard.dev/v1alpha1/nodeshifts", &shift(&self.grounds.pool));
        let (order, second_order) = (order(), order());
        self.passes(fence, Who::Leader, "the leader's mark", mark()).await;
        self.passes(fence, Who::Leader, "the leader's order", order).await;
        self.passes(fence, Who::Anybody, "a person's mark", mark()).await;
        self.refuses(fence, Who::Standby, "a standby's mark", mark()).await;
        self.refuses(fence, Who::Standby, "a standby's eviction", evict).await;
        self.refuses(fence, Who::Standby, "a standby's order", second_order).await;
    }

    async fn evictions(&mut self) {
        let evict = |namespace, pod| self.eviction(namespace, pod);
        let (miner, own) = (evict(MINING, &self.miner), evict(MINING, "own"));
        let (customer, guest) = (evict(RESEARCH, "customer"), evict(MINING, "guest"));
        let by_person = evict(RESEARCH, "customer");
        let fence = "switchyard-evictions";
        self.passes(fence, Who::Leader, "a miner", miner).await;
        self.passes(fence, Who::Anybody, "a person's eviction", by_person).await;
        self.refuses(fence, Who::Leader, "a customer's pod", customer).await;
        let fence = "switchyard-evicted-pods";
        self.passes(fence, Who::Leader, "a selected miner", own).await;
        self.refuses(fence, Who::Leader, "a pod of unmanaged nodes", guest).await;
    }

    fn eviction(&self, namespace: &str, pod: &str) -> Asked {
        let _ = self;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
        let named = json!({"name": pod, "namespace": namespace});
        post(&path, &json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": named}))
    }

    async fn miners(&mut self) {
        let fence = "switchyard-miners";
        let who = Who::Leader;
        let set = self.miner_set.clone();
        let path = |namespace: &str| format!("{}/{}", sets(namespace), self.grounds.miners);
        let (ours, theirs) =
            (path(MINING), format!("{}/{}", sets("kube-system"), self.grounds.foreign));
        let elsewhere = path(RESEARCH);
        let pod = |change: &dyn Fn(&mut Value)| {
            let mut set = set.clone();
            change(&mut set["spec"]["template"]["spec"]);
            apply(&ours, &set)
        };
        self.passes(fence, who, "its miners", apply(&ours, &set)).await;
        let wallet = pod(&|pod| pod["containers"][0]["envFrom"] = secret_env("wallet"));
        self.passes(fence, who, "a Secret that the namespace lists", wallet).await;
        self.passes(fence, who, "its miners' end", plain(Method::DELETE, &dry(&ours))).await;

        let mut moved = set.clone();
        moved["metadata"]["namespace"] = json!(RESEARCH);
        self.refuses(fence, who, "a namespace that is not open", apply(&elsewhere, &moved)).await;
        let mut orphan = set.clone();
        orphan["metadata"]["name"] = json!("orphan");
        orphan["metadata"]["ownerReferences"] = json!([]);
        let path = format!("{}/orphan", sets(MINING));
        self.refuses(fence, who, "miners of no profile", apply(&path, &orphan)).await;
        let foreign = merge(&theirs, &json!({"spec": {"minReadySeconds": 1}}));
        self.refuses(fence, who, "a foreign DaemonSet", foreign).await;
        let delete = plain(Method::DELETE, &dry(&theirs));
        self.refuses(fence, who, "a foreign DaemonSet's end", delete).await;
        let hpc = pod(&|pod| pod["nodeSelector"][keys::USE] = json!("hpc"));
        self.refuses(fence, who, "miners on HPC nodes", hpc).await;
        let token = pod(&|pod| pod["automountServiceAccountToken"] = json!(true));
        self.refuses(fence, who, "miners with a token", token).await;
        for (what, change) in forbidden() {
            self.refuses(fence, who, what, pod(&*change)).await;
        }
    }

    async fn profiles(&mut self) {
        let fence = "switchyard-profiles";
        let who = Who::Anybody;
        self.passes(fence, who, "a plain profile", post(PROFILES, &profile("plain"))).await;
        let listed = with_secret(profile("listed"), "wallet");
        self.passes(fence, who, "a Secret that the namespace lists", post(PROFILES, &listed)).await;
        let other = with_secret(profile("other"), "other");
        self.refuses(fence, who, "a Secret of others", post(PROFILES, &other)).await;
        for (what, change) in forbidden() {
            let mut profile = profile("forbidden");
            change(&mut profile["spec"]["template"]["spec"]);
            self.refuses(fence, who, what, post(PROFILES, &profile)).await;
        }
    }

    async fn specs(&mut self) {
        let fence = "switchyard-specs";
        let who = Who::Leader;
        let path = format!("/apis/switchyard.dev/v1alpha1/gpupools/{}", self.grounds.pool);
        let finalizers = |all: &[&str]| merge(&path, &json!({"metadata": {"finalizers": all}}));
        let ours = finalizers(&[keys::POOL_FINALIZER]);
        self.passes(fence, who, "its finalizer", ours).await;
        self.passes(fence, who, "no finalizer", finalizers(&[])).await;
        let theirs = finalizers(&["example.com/theirs"]);
        self.refuses(fence, who, "a foreign finalizer", theirs).await;
        let mode = merge(&path, &json!({"spec": {"shifting": {"mode": "DryRun"}}}));
        self.refuses(fence, who, "another spec", mode).await;
        let size = merge(&path, &json!({"metadata": {"annotations": {keys::CONFIRM_SIZE: "1"}}}));
        self.refuses(fence, who, "a confirmation", size).await;
    }

    /// What no fence need say, because RBAC does not allow it in the first place.
    async fn rights(&mut self) {
        let who = Who::Leader;
        self.passes(RIGHTS, who, "nodes", plain(Method::GET, "/api/v1/nodes?limit=1")).await;
        let secrets = |namespace| format!("/api/v1/namespaces/{namespace}/secrets");
        for namespace in [SYSTEM, MINING, "kube-system"] {
            let list = plain(Method::GET, &secrets(namespace));
            self.refuses(RIGHTS, who, "Secrets", list).await;
        }
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
        let pods = format!("/api/v1/namespaces/{MINING}/pods");
        self.refuses(RIGHTS, who, "a pod", post(&pods, &pod)).await;
        let miner = format!("{pods}/{}", self.miner);
        self.refuses(RIGHTS, who, "a pod's end", plain(Method::DELETE, &dry(&miner))).await;
        let exec = plain(Method::GET, &format!("{miner}/exec?command=sh"));
        self.refuses(RIGHTS, who, "a shell", exec).await;
        let token = format!("/api/v1/namespaces/{SYSTEM}/serviceaccounts/switchyard/token");
        self.refuses(RIGHTS, who, "a token", post(&token, &json!({}))).await;
        let node = plain(Method::DELETE, &dry(&format!("/api/v1/nodes/{}", self.grounds.node)));
        self.refuses(RIGHTS, who, "a node's end", node).await;
    }
}

/// The name under which rights are counted that RBAC denies without any fence.
const RIGHTS: &str = "rbac";
