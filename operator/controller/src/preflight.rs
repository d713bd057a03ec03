//! What a pool would do, before it is applied: the same readers, the same survey and the same plan as
//! the operator's, on what the cluster holds and what the manifests say. Nothing is written.

use std::collections::BTreeMap;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    batch::v1::Job,
    core::v1::{Namespace, Node, Pod},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, ValidationDirective},
};
use serde::{Serialize, de::DeserializeOwned};
use switchyard_api::{
    Cause, ConditionType, GPUPool, MiningProfile, Mode, NodeShift, ProfitabilitySignal, Reason,
    Use, keys,
};
use switchyard_core::{
    plan::{self, Plan, PoolPlan, reason_counts},
    report::judge,
    survey::{PoolView, Survey, survey},
    upkeep::upkeep,
};

use crate::{
    api::{WriteError, write},
    signals::{Signals, fetch::Fetcher},
    watch::{
        Caches, Memory,
        cache::{Cache, Read},
        caches::{guarded, written},
        gather, read,
    },
};

/// Objects of one answer.
const PAGE: u32 = 500;
/// How many nodes are named.
const NAMED: usize = 5;

/// What people are about to apply.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// Pools.
    pub pools: Vec<GPUPool>,
    /// Profiles.
    pub profiles: Vec<MiningProfile>,
    /// Signals.
    pub signals: Vec<ProfitabilitySignal>,
    /// All of them as they were written.
    pub written: Vec<DynamicObject>,
}

/// What a pool would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The pool.
    pub pool: String,
    /// Nodes that it selects.
    pub matched: usize,
    /// Nodes by the use in which they would be adopted, or are managed already.
    pub adopted: BTreeMap<Use, usize>,
    /// Nodes that would get the taint at once.
    pub tainted: usize,
    /// What would then be moved.
    pub moves: Vec<Moves>,
    /// Why the nodes move or stay.
    pub reasons: BTreeMap<Reason, u32>,
    /// What is in the way, and of whom.
    pub obstacles: Vec<Obstacle>,
}

/// Nodes that would be moved together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moves {
    /// The use that they leave.
    pub from: Use,
    /// The use that they get.
    pub to: Use,
    /// Why.
    pub cause: Cause,
    /// How many.
    pub nodes: usize,
}

/// Something that is in the way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Obstacle {
    /// The condition, gate or object that it is about.
    pub what: String,
    /// By whom or why, and what to do about it.
    pub message: String,
}

impl Obstacle {
    fn new(what: impl Into<String>, message: impl Into<String>) -> Self {
        Self { what: what.into(), message: message.into() }
    }
}

/// The preview could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// A kind could not be listed.
    #[error("cannot list {kind}")]
    List {
        /// The kind.
        kind: String,
        /// Why not.
        #[source]
        source: WriteError,
    },
    /// The HTTP client of the signals.
    #[error("no HTTP client can be made")]
    Http(#[from] reqwest::Error),
}

/// Looks what the manifests would do. Pools are seen in mode `Active`, whatever they say.
pub async fn preflight(
    client: &Client,
    manifests: &Manifests,
    now: Timestamp,
) -> Result<Vec<Preview>, PreflightError> {
    let caches = Caches::unwatched();
    fill(client, &caches).await?;
    for pool in &manifests.pools {
        let mut pool = pool.clone();
        pool.spec.shifting.mode = Mode::Active;
        caches.pools.put(guarded(pool), written);
    }
    for profile in &manifests.profiles {
        caches.profiles.put(guarded(profile.clone()), written);
    }
    for signal in &manifests.signals {
        caches.signals.put(guarded(signal.clone()), written);
    }
    let signals = Signals::default();
    signals.read_all(&caches, &Fetcher::new()?).await;

    let snapshot = gather::snapshot(&caches, &signals, &Memory::default(), now);
    let survey = survey(&snapshot);
    let plan = plan::decide(&survey);
    let refused = refused_manifests(client, manifests).await;
    let mut previews = Vec::new();
    for (view, planned) in survey.pools.iter().zip(&plan.pools) {
        let name = &*view.facts.name;
        if !manifests.pools.iter().any(|pool| pool.name_any() == *name) {
            continue;
        }
        let mut preview = preview(&survey, &plan, view, planned);
        preview.obstacles.extend(closed_namespaces(client, view).await);
        preview.obstacles.extend(refused.clone());
        previews.push(preview);
    }
    let seen = |pool: &&GPUPool| previews.iter().all(|preview| preview.pool != pool.name_any());
    let unreadable: Vec<_> = manifests.pools.iter().filter(seen).map(unreadable).collect();
    previews.extend(unreadable);
    Ok(previews)
}

/// Reads what the cluster holds. A kind that is not known here has no objects.
async fn fill(client: &Client, caches: &Caches) -> Result<(), PreflightError> {
    lists::<Node, _>(client, &caches.nodes, read::node).await?;
    lists::<Pod, _>(client, &caches.pods, read::pod).await?;
    lists::<Job, _>(client, &caches.gangs, read::job).await?;
    lists::<DaemonSet, _>(client, &caches.daemon_sets, read::daemon_set).await?;
    let read = |pool: GPUPool| written(guarded(pool));
    lists(client, &caches.pools, read).await?;
    let read = |profile: MiningProfile| written(guarded(profile));
    lists(client, &caches.profiles, read).await?;
    let read = |signal: ProfitabilitySignal| written(guarded(signal));
    lists(client, &caches.signals, read).await?;
    let read = |shift: NodeShift| written(guarded(shift));
    lists(client, &caches.shifts, read).await
}

async fn lists<K, F>(
    client: &Client,
    cache: &Cache<F>,
    read: Read<K, F>,
) -> Result<(), PreflightError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    F: PartialEq,
{
    let api = Api::<K>::all(client.clone());
    let mut params = ListParams::default().limit(PAGE);
    loop {
        match write(api.list(&params)).await {
            Ok(page) => {
                params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
                page.items.into_iter().for_each(|object| cache.put(object, read));
            }
            Err(error) if error.code() == Some(404) => return Ok(()),
            Err(source) => {
                return Err(PreflightError::List { kind: K::plural(&()).into_owned(), source });
            }
        }
        if params.continue_token.is_none() {
            return Ok(());
        }
    }
}

fn preview(survey: &Survey<'_>, whole: &Plan, view: &PoolView<'_>, plan: &PoolPlan) -> Preview {
    let mut adopted: BTreeMap<Use, usize> = BTreeMap::new();
    for node in view.nodes.iter().filter(|node| node.unusable.is_none()) {
        *adopted.entry(node.node_use).or_default() += 1;
    }
    let mut moves: BTreeMap<(Use, Use, Cause), usize> = BTreeMap::new();
    for (decision, node) in plan.decisions.iter().zip(&view.nodes) {
        if let Some(candidate) = decision.candidate.as_ref().filter(|_| decision.moves()) {
            *moves.entry((node.node_use, candidate.to, candidate.cause)).or_default() += 1;
        }
    }
    let refused: usize = view.refused.values().map(Vec::len).sum();
    Preview {
        pool: view.facts.name.to_string(),
        matched: view.nodes.len() + refused,
        adopted,
        tainted: newly_tainted(survey, whole, view),
        moves: moves
            .into_iter()
            .map(|((from, to, cause), nodes)| Moves { from, to, cause, nodes })
            .collect(),
        reasons: reason_counts(&plan.decisions)
            .into_iter()
            .map(|count| (count.reason, count.nodes))
            .collect(),
        obstacles: obstacles(survey, view, plan),
    }
}

fn newly_tainted(survey: &Survey<'_>, plan: &Plan, view: &PoolView<'_>) -> usize {
    let tainted = |name: &str| {
        let node = view.nodes.iter().find(|node| &*node.facts.name == name);
        node.is_some_and(|node| node.facts.marks.taint.is_none())
    };
    let writes = upkeep(survey, plan).writes.into_iter();
    writes.filter(|write| write.marks.taint.is_some() && tainted(&write.node)).count()
}

fn obstacles(survey: &Survey<'_>, view: &PoolView<'_>, plan: &PoolPlan) -> Vec<Obstacle> {
    let conditions = judge(survey, view, plan).into_iter().filter(|judgement| {
        let routine = [ConditionType::Shifting, ConditionType::BudgetAvailable];
        judgement.holds == Some(false) && !routine.contains(&judgement.kind)
    });
    let mut found: Vec<Obstacle> = conditions
        .map(|judgement| Obstacle::new(judgement.kind.to_string(), judgement.message))
        .collect();
    for (reason, nodes) in &view.refused {
        let why = match reason {
            Reason::TwoPools => {
                let others: Vec<_> = view.overlaps.iter().copied().collect();
                format!("selected by {}, too", others.join(", "))
            }
            _ => "a node of the control plane".into(),
        };
        found.push(left_alone(*reason, &why, nodes.iter().map(|node| &*node.name)));
    }
    let asks: [(Reason, &str); 6] = [
        (Reason::Skipped, "a person put switchyard.dev/skip on it"),
        (Reason::PinUnreadable, "its annotation switchyard.dev/pin cannot be read"),
        (Reason::Cordoned, "a person cordoned it"),
        (Reason::NotReady, "it is not Ready"),
        (Reason::NoGpus, "it advertises no GPU: is the device plugin running there?"),
        (Reason::UnknownModel, "spec.classes does not list its GPU model"),
    ];
    for (reason, why) in asks {
        let nodes = view.nodes.iter().filter(|node| match reason {
            Reason::Skipped => node.facts.skip,
            Reason::PinUnreadable => node.pin_error().is_some(),
            Reason::Cordoned => node.facts.cordoned,
            other => node.unusable == Some(other),
        });
        let names: Vec<&str> = nodes.map(|node| &*node.facts.name).collect();
        if !names.is_empty() {
            found.push(left_alone(reason, why, names.into_iter()));
        }
    }
    found
}

fn left_alone<'n>(reason: Reason, why: &str, nodes: impl Iterator<Item = &'n str>) -> Obstacle {
    let nodes: Vec<&str> = nodes.collect();
    let shown = nodes.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = if nodes.len() > NAMED { ", …" } else { "" };
    Obstacle::new(
        reason.to_string(),
        format!("{} nodes are left alone ({why}): {shown}{more}", nodes.len()),
    )
}

/// Namespaces of the pool's profiles that are not open to miners.
async fn closed_namespaces(client: &Client, view: &PoolView<'_>) -> Vec<Obstacle> {
    let api = Api::<Namespace>::all(client.clone());
    let profiles = view.facts.spec.mining.profiles.iter();
    let mut names: Vec<&str> = profiles.map(|profile| profile.namespace.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let asked = names.into_iter().map(|name| {
        let api = api.clone();
        async move {
            let message = match write(api.get_opt(name)).await {
                Ok(Some(namespace)) => {
                    let label = namespace.labels().get(keys::MINERS).map(String::as_str);
                    if label == Some(keys::MINERS_ALLOWED) {
                        return None;
                    }
                    format!(
                        "it is not open to miners: kubectl label namespace {name} {}={}",
                        keys::MINERS,
                        keys::MINERS_ALLOWED
                    )
                }
                Ok(None) => "it does not exist: create it and open it to miners".into(),
                Err(error) => format!("whether it is open to miners cannot be told: {error}"),
            };
            Some(Obstacle::new(format!("namespace {name}"), message))
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// What the API server would say of the manifests, asked in a dry run.
async fn refused_manifests(client: &Client, manifests: &Manifests) -> Vec<Obstacle> {
    let params = PatchParams {
        dry_run: true,
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("switchyard-preflight").force()
    };
    let mut refused = Vec::new();
    for object in &manifests.written {
        let Some(kind) = kind_of(object) else { continue };
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &kind),
            None => Api::all_with(client.clone(), &kind),
        };
        let name = object.name_any();
        if let Err(error) = write(api.patch(&name, &params, &Patch::Apply(object))).await {
            let said = match error {
                WriteError::Refused(status) if status.code == 404 => {
                    "the API server does not know its kind or its namespace".to_owned()
                }
                WriteError::Refused(status) => status.message.clone(),
                other => other.to_string(),
            };
            let what = format!("{} {name}", kind.kind);
            refused.push(Obstacle::new(what, format!("would be refused: {said}")));
        }
    }
    refused
}

fn kind_of(object: &DynamicObject) -> Option<ApiResource> {
    let kinds = [
        ApiResource::erase::<GPUPool>(&()),
        ApiResource::erase::<MiningProfile>(&()),
        ApiResource::erase::<ProfitabilitySignal>(&()),
    ];
    let named = &object.types.as_ref()?.kind;
    kinds.into_iter().find(|kind| kind.kind == *named)
}

fn unreadable(pool: &GPUPool) -> Preview {
    let error = switchyard_api::Selector::parse(&pool.spec.node_selector).err();
    let message = error.map_or_else(|| "it cannot be read".to_owned(), |error| error.to_string());
    Preview {
        pool: pool.name_any(),
        matched: 0,
        adopted: BTreeMap::new(),
        tainted: 0,
        moves: Vec::new(),
        reasons: BTreeMap::new(),
        obstacles: vec![Obstacle::new("spec.nodeSelector", message)],
    }
}
