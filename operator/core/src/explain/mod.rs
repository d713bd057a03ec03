//! Why a node is what it is, and the smallest change that would make it something else.
//!
//! Nothing is derived twice here: a change is found by trying it, on a copy of the facts, with the
//! very survey and plan that decide. What an explanation promises therefore happens.

mod gates;
mod lever;
mod node;
mod pool;
mod remedy;
mod trial;
mod worth;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use switchyard_api::{Cause, Mode, ProfileRef, Reason, Use};

pub use self::{node::node, pool::pool};
use crate::{plan::NodeDecision, survey::Survey};

/// Why a node moves or stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeExplanation {
    /// The node.
    pub node: String,
    /// Its pool.
    pub pool: String,
    /// The moment that is explained.
    pub at: Timestamp,
    /// Its GPU model, if the pool lists it.
    pub model: Option<String>,
    /// The GPUs that it advertises.
    pub gpus: u32,
    /// What it is in use for.
    #[serde(rename = "use")]
    pub node_use: Use,
    /// The profile that it mines with.
    pub profile: Option<ProfileRef>,
    /// Since when it is in that use.
    pub since: Option<Timestamp>,
    /// The shift that moves it.
    pub shift: Option<String>,
    /// Customers' pods on it, `namespace/name`; the first hundred.
    pub jobs: Vec<String>,
    /// Waiting work that it is opened for.
    pub serves: Vec<String>,
    /// The prices that its uses are worth by.
    pub prices: Vec<Price>,
    /// Watts at the meter per watt of the node.
    pub pue: f64,
    /// What it would earn in each use.
    pub uses: Vec<Worth>,
    /// What is decided about it.
    pub decision: Decision,
    /// Every gate, in the order in which they are asked; only asked of a node that would move.
    pub gates: Vec<GateState>,
    /// The first closed gate.
    pub first_closed: Option<String>,
    /// Changes of which each alone would change the decision: what opens the way first, then prices,
    /// the smallest relative change first.
    pub flips: Vec<Flip>,
    /// Prices of which no change within a factor of ten would.
    pub indifferent_to: Vec<String>,
}

/// Why the nodes of a pool move or stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolExplanation {
    /// The pool.
    pub pool: String,
    /// The moment that is explained.
    pub at: Timestamp,
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// The nodes that it may touch.
    pub nodes: usize,
    /// The prices that hold in it.
    pub prices: Vec<Price>,
    /// Watts at the meter per watt of the nodes.
    pub pue: f64,
    /// Why nodes move or stay, the most frequent reason first.
    pub reasons: Vec<ReasonNodes>,
    /// What a node of each GPU model would earn in each use.
    pub classes: Vec<ClassWorth>,
    /// How many more nodes budgets let a price move out of each use; none: no budget counts them.
    pub budgets_left: Vec<BudgetLeft>,
    /// How many more nodes a price may move, after the moves of this decision.
    pub allowed_disruptions: usize,
    /// Waiting work, best payer first; the first fifty.
    pub waiting: Vec<WaitingWork>,
    /// How much more work waits.
    pub more_waiting: usize,
}

/// A price and whether decisions may rest on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// The field that names it, such as `spec.power.price.signal`.
    pub field: String,
    /// The signal; none: the field says the price itself.
    pub signal: Option<String>,
    /// The last trusted value, in `unit`; none was ever read: none.
    pub value: Option<f64>,
    /// The unit of `value`.
    pub unit: String,
    /// May a price-driven decision rest on it?
    pub trusted: bool,
}

/// What a node would earn in a use, and from what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worth {
    /// The use.
    #[serde(rename = "use")]
    pub node_use: Use,
    /// The profile that it would mine with.
    pub profile: Option<ProfileRef>,
    /// Is it the use that the node has?
    pub current: bool,
    /// GPUs that miners or jobs keep busy.
    pub busy_gpus: u32,
    /// What it earns, USD per hour, power not paid.
    #[serde(rename = "incomeUSDPerHour")]
    pub income: Option<f64>,
    /// What its power costs, USD per hour.
    #[serde(rename = "powerUSDPerHour")]
    pub power: Option<f64>,
    /// What is left, USD per hour; not known where a price is not.
    #[serde(rename = "usdPerHour")]
    pub net: Option<f64>,
    /// Is every price that it rests on trusted?
    pub trusted: bool,
    /// Power that the node draws, W, without PUE.
    pub watts: f64,
    /// Hash rate of one GPU, H/s.
    pub hashrate: Option<f64>,
    /// Share of the announced income that is not believed, percent.
    pub haircut_percent: Option<f64>,
    /// Share of the rest that the mining pool keeps, percent.
    pub fee_percent: Option<f64>,
}

/// What is decided about a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Where it should go; none: it is well where it is, or nothing better is known.
    pub to: Option<Destination>,
    /// Does it go there now? If not, a gate is closed.
    pub moves: bool,
    /// Why it moves or stays; of closed gates, the first.
    pub reason: Reason,
    /// The reason as a sentence.
    pub sentence: String,
    /// Why it should go there, where a gate keeps it from that.
    pub wanted_because: Option<Reason>,
    /// The cause of the move, for gates and budgets.
    pub cause: Option<Cause>,
    /// What the move gains, USD per hour.
    #[serde(rename = "gainUSDPerHour")]
    pub gain: Option<f64>,
}

/// Where a node goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The use that it gets.
    #[serde(rename = "use")]
    pub node_use: Use,
    /// The profile that it then mines with.
    pub profile: Option<ProfileRef>,
}

impl Destination {
    /// Where a node should go.
    fn wanted(found: &NodeDecision) -> Option<Self> {
        let candidate = found.candidate.as_ref()?;
        Some(Self { node_use: candidate.to, profile: candidate.profile.as_deref().cloned() })
    }
}

/// A gate and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateState {
    /// Its name.
    pub gate: String,
    /// Does it let the move pass?
    pub open: bool,
    /// Why not.
    pub reason: Option<Reason>,
    /// The reason as a sentence.
    pub sentence: Option<String>,
    /// When it opens by itself, if it does.
    pub until: Option<Timestamp>,
    /// What a person can do about it.
    pub remedy: Option<String>,
}

/// A change that would change the decision: all of its steps together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flip {
    /// What has to happen.
    pub steps: Vec<Step>,
    /// Where the node would then go; none: nowhere.
    pub to: Option<Destination>,
    /// Would it go there at once?
    pub moves: bool,
    /// The gates that would then be closed.
    pub held_by: Vec<GateState>,
}

/// One part of a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// A price changes.
    Price(PriceChange),
    /// Time passes, while prices stay as they are.
    #[serde(rename_all = "camelCase")]
    Wait {
        /// Until then.
        until: Timestamp,
    },
    /// A person does something.
    #[serde(rename_all = "camelCase")]
    Do {
        /// What, as one is told: with a command where one does it.
        what: String,
        /// What it overcomes.
        reason: Reason,
    },
}

/// A price that changes, and by how much at least.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PriceChange {
    /// The field that names the price.
    pub field: String,
    /// The signal; none: the field says the price itself.
    pub signal: Option<String>,
    /// What it is now, in `unit`.
    pub from: f64,
    /// The nearest value at which the decision is another one, to a thousandth.
    pub to: f64,
    /// The change as a share of `from`; of a price of zero, of an ordinary price.
    pub relative: f64,
    /// The unit of both.
    pub unit: String,
}

/// Nodes that move or stay for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReasonNodes {
    /// The reason.
    pub reason: Reason,
    /// The reason as a sentence.
    pub sentence: String,
    /// Does it make nodes move? In mode `Active`, that is.
    pub moves: bool,
    /// How many nodes.
    pub nodes: u32,
    /// One of them.
    pub example: String,
}

/// What a node of a GPU model would earn in each use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassWorth {
    /// The GPU model.
    pub model: String,
    /// How many nodes have it.
    pub nodes: usize,
    /// The GPUs of the node that is looked at: the largest.
    pub gpus: u32,
    /// May it serve HPC?
    pub hpc_eligible: bool,
    /// By use; HPC with all GPUs busy.
    pub uses: Vec<Worth>,
}

/// What is left of the budgets for moves that a price makes out of a use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetLeft {
    /// The use that nodes leave.
    pub from: Use,
    /// So many more nodes; none: no budget counts them.
    pub nodes: Option<usize>,
}

/// Waiting work and what becomes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingWork {
    /// The work, such as `Job research/train`.
    pub work: String,
    /// Pods of it that wait.
    pub pods: usize,
    /// GPUs that these ask for.
    pub gpus: u32,
    /// Whether it gets nodes.
    pub reason: Reason,
    /// The reason as a sentence.
    pub sentence: String,
    /// What it pays beyond its power, USD per hour, where that decided.
    #[serde(rename = "paysUSDPerHour")]
    pub pays: Option<f64>,
    /// What the nodes that it needs could earn otherwise, USD per hour, where that decided.
    #[serde(rename = "displacesUSDPerHour")]
    pub displaces: Option<f64>,
    /// How many nodes are opened for it.
    pub nodes: usize,
}

/// What cannot be explained, and what could be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unexplained {
    /// No pool has the node.
    #[error(
        "no pool selects a node {name}{}; `kubectl get nodes -L switchyard.dev/pool` lists the nodes of pools",
        near(similar)
    )]
    UnknownNode {
        /// The name that was asked for.
        name: String,
        /// Names that resemble it.
        similar: Vec<String>,
    },
    /// There is no such pool.
    #[error("there is no pool {name}{}; `kubectl get gpupools` lists them", near(similar))]
    UnknownPool {
        /// The name that was asked for.
        name: String,
        /// Names that resemble it.
        similar: Vec<String>,
    },
    /// A pool selects the node but may not touch it.
    #[error("pool {pool} leaves node {name} alone ({reason}): {}", reason.sentence())]
    Refused {
        /// The node.
        name: String,
        /// The pool.
        pool: String,
        /// Why.
        reason: Reason,
    },
}

/// How many similar names an error offers.
const OFFERED: usize = 3;

fn near(similar: &[String]) -> String {
    if similar.is_empty() { String::new() } else { format!(" (near: {})", similar.join(", ")) }
}

/// The names that resemble one the most.
fn similar<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let far = name.len().div_ceil(2);
    let ranked = names.map(|other| (strsim::damerau_levenshtein(name, other), other));
    let mut ranked: Vec<_> = ranked.filter(|(distance, _)| *distance <= far).collect();
    ranked.sort_unstable();
    ranked.into_iter().take(OFFERED).map(|(_, other)| other.to_owned()).collect()
}

fn pool_index(survey: &Survey<'_>, name: &str) -> Result<usize, Unexplained> {
    survey.pools.iter().position(|pool| *pool.facts.name == *name).ok_or_else(|| {
        let names = survey.pools.iter().map(|pool| &*pool.facts.name);
        Unexplained::UnknownPool { name: name.to_owned(), similar: similar(name, names) }
    })
}

/// Why decisions of a mode are not carried out.
fn mode_reason(mode: Mode) -> Option<Reason> {
    match mode {
        Mode::Active => None,
        Mode::DryRun => Some(Reason::DryRun),
        Mode::Hold => Some(Reason::Hold),
    }
}
