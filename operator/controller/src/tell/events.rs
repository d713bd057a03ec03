//! Events and log lines: one function for each thing that is worth saying, said once.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Client, Resource, ResourceExt,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use switchyard_api::{ConditionType, NodeShift, NodeShiftSpec, Phase, Reason, keys};
use switchyard_core::{
    plan::{Plan, Waiting},
    survey::Survey,
    writes::{Eviction, NodeWrite},
};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Events that wait to be written. More than that at once tells nobody anything.
const QUEUE: usize = 256;
/// An Event's note may have 1 KiB.
const NOTE_MAX: usize = 1000;

/// Tells people, in Events and in the log.
#[derive(Debug, Clone)]
pub struct Announcer {
    queue: mpsc::Sender<Announcement>,
    told: Arc<Mutex<Told>>,
}

/// What has been said already, so that it is not said again.
#[derive(Debug, Default)]
struct Told {
    waiting: BTreeMap<Arc<str>, Reason>,
    blocked: HashSet<Arc<str>>,
    bad_pins: BTreeMap<Arc<str>, String>,
}

#[derive(Debug)]
struct Announcement {
    about: ObjectReference,
    reason: Reason,
    kind: EventType,
    note: String,
}

impl Announcer {
    /// An announcer, and the task that writes its Events.
    pub fn new(client: Client, identity: &str) -> (Self, impl Future<Output = ()> + use<>) {
        let (queue, mut announcements) = mpsc::channel::<Announcement>(QUEUE);
        let reporter =
            Reporter { controller: keys::MANAGER.into(), instance: Some(identity.to_owned()) };
        let recorder = Recorder::new(client, reporter);
        let publish = async move {
            while let Some(announcement) = announcements.recv().await {
                let event = announcement.event();
                let published = crate::api::write(recorder.publish(&event, &announcement.about));
                if let Err(error) = published.await {
                    let error: &dyn std::error::Error = &error;
                    warn!(reason = event.reason, error, "event not written");
                }
            }
        };
        (Self { queue, told: Arc::default() }, publish)
    }

    /// An order was stored.
    pub fn shift_ordered(&self, shift: &NodeShift) {
        let spec = &shift.spec;
        let note = format!("{}, because {}{}", route(spec), spec.cause, served(spec));
        info!(
            shift = shift.name_any(), pool = spec.pool, from = %spec.from, to = %spec.to,
            cause = %spec.cause, nodes = spec.nodes.len(), gain = ?spec.gain_usd_per_hour,
            "shift ordered"
        );
        self.say(shift.object_ref(&()), EventType::Normal, Reason::ShiftOrdered, note);
    }

    /// A shift has ended.
    pub fn shift_ended(&self, shift: &NodeShift) {
        let Some(status) = &shift.status else { return };
        let counts = &status.counts;
        let note = format!(
            "{}: {} completed, {} rolled back, {} failed",
            route(&shift.spec),
            counts.completed,
            counts.rolled_back,
            counts.failed
        );
        info!(shift = shift.name_any(), pool = shift.spec.pool, phase = %status.phase, note, "shift ended");
        let kind = match status.phase {
            Phase::Failed => EventType::Warning,
            _ => EventType::Normal,
        };
        self.say(shift.object_ref(&()), kind, Reason::ShiftEnded, note);
    }

    /// Marks on a node were written. Moves are told with their shift, adoptions with their pool.
    pub fn node_marked(&self, write: &NodeWrite) {
        let note = match write.why {
            Reason::Repaired => {
                "the marks of Switchyard on this node were edited; where they disagreed with its \
                 taint, the taint holds"
            }
            Reason::Cordoned => "the node is cordoned, so its miner is stopped",
            Reason::ShiftDeleted => {
                "the shift that had claimed this node is gone; the claim was removed"
            }
            _ => return,
        };
        info!(node = %write.node, reason = %write.why, "node marked");
        self.say(node(&write.node, &write.uid), EventType::Normal, write.why, note.into());
    }

    /// Tells the nodes whose pin cannot be read what to write there, when that changes.
    pub fn pins(&self, survey: &Survey<'_>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = BTreeMap::new();
        for view in survey.pools.iter().flat_map(|pool| &pool.nodes) {
            let Some(error) = view.pin_error() else { continue };
            let (uid, error) = (&view.facts.uid, error.to_string());
            if told.bad_pins.get(uid) != Some(&error) {
                let note = format!(
                    "the annotation {} cannot be read, so the node is not moved: {error}; write \
                     such as use=HPC,until=2026-12-24T18:00Z,reason=benchmark",
                    keys::PIN
                );
                warn!(node = %view.facts.name, error, "pin not read");
                let about = node(&view.facts.name, uid);
                self.say(about, EventType::Warning, Reason::PinUnreadable, note);
            }
            now.insert(uid.clone(), error);
        }
        told.bad_pins = now;
    }

    /// A disruption budget keeps a miner where it is.
    pub fn eviction_blocked(&self, eviction: &Eviction) {
        if !self
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocked
            .insert(eviction.uid.clone())
        {
            return;
        }
        warn!(namespace = %eviction.namespace, pod = %eviction.name, "eviction blocked");
        let about = pod(&eviction.namespace, &eviction.name, &eviction.uid);
        let note = "a PodDisruptionBudget keeps this miner from being evicted; it is tried again \
                    until the shift's deadline";
        self.say(about, EventType::Warning, Reason::EvictionBlocked, note.into());
    }

    /// Conditions of an object were written: says which changed. That all is well is no news on an
    /// object that nothing was wrong with.
    pub fn conditions_changed(
        &self,
        about: &ObjectReference,
        old: &[Condition],
        new: &[Condition],
    ) {
        for condition in new {
            let known = old.iter().find(|one| one.type_ == condition.type_);
            let same = known.is_some_and(|known| {
                known.status == condition.status && known.reason == condition.reason
            });
            let shifting: &str = ConditionType::Shifting.into();
            let budget: &str = ConditionType::BudgetAvailable.into();
            // That nodes move or not is told with their shifts; that a person holds them is not.
            let held: &str = Reason::GlobalHold.into();
            let routine = condition.type_ == budget
                || condition.type_ == shifting && condition.reason != held;
            let good = condition.status == "True";
            if same || routine || (known.is_none() && good) {
                continue;
            }
            info!(
                object = about.name,
                condition = condition.type_,
                status = condition.status,
                reason = condition.reason,
                message = condition.message,
                "condition changed"
            );
            let reason = serde_json::from_value(condition.reason.clone().into());
            let kind = if good { EventType::Normal } else { EventType::Warning };
            let note = format!("{}={}: {}", condition.type_, condition.status, condition.message);
            self.say(about.clone(), kind, reason.unwrap_or(Reason::Unknown), note);
        }
    }

    /// Tells the owners of waiting pods what becomes of them, when that changes.
    pub fn waiting(&self, plan: &Plan) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = BTreeMap::new();
        for waiting in &plan.waiting {
            let reason = waiting.verdict.reason;
            for (uid, name) in &waiting.pods {
                now.insert(uid.clone(), reason);
                if told.waiting.get(uid) == Some(&reason) {
                    continue;
                }
                if let Some(note) = waiting_note(waiting) {
                    let about = pod(&waiting.work.namespace, name, uid);
                    self.say(about, EventType::Normal, reason, note);
                }
            }
        }
        told.waiting = now;
    }

    fn say(&self, about: ObjectReference, kind: EventType, reason: Reason, note: String) {
        let announcement = Announcement { about, reason, kind, note };
        if self.queue.try_send(announcement).is_err() {
            warn!(%reason, "too many events at once; one was dropped");
        }
    }
}

impl Announcement {
    fn event(&self) -> Event {
        Event {
            type_: self.kind,
            reason: self.reason.to_string(),
            note: Some(self.note.chars().take(NOTE_MAX).collect()),
            action: "Shifting".into(),
            secondary: None,
        }
    }
}

fn node(name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Node".into()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

fn pod(namespace: &str, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// `3 nodes Mining -> HPC (gpu-0001, …)`
fn route(spec: &NodeShiftSpec) -> String {
    let first = spec.nodes.first().map_or("", |node| node.name.as_str());
    let more = if spec.nodes.len() > 1 { ", …" } else { "" };
    format!("{} nodes {} -> {} ({first}{more})", spec.nodes.len(), spec.from, spec.to)
}

fn served(spec: &NodeShiftSpec) -> String {
    match spec.serves.as_slice() {
        [] => String::new(),
        [one] => format!(" of {one}"),
        [one, more @ ..] => format!(" of {one} and {} more", more.len()),
    }
}

/// What the owner of a waiting pod wants to know; nothing, if the scheduler is about to place it.
fn waiting_note(waiting: &Waiting) -> Option<String> {
    let verdict = &waiting.verdict;
    Some(match verdict.reason {
        Reason::DemandPays => match waiting.nodes.as_slice() {
            [] => return None,
            [one] => format!("{one} is being freed for it"),
            [one, more @ ..] => {
                format!("{one} and {} more nodes are being freed for it", more.len())
            }
        },
        Reason::PaysTooLittle => match (verdict.pays, verdict.displaces) {
            (Some(pays), Some(displaces)) => {
                format!(
                    "waits: on the nodes that it needs it pays {pays}, power paid, and displaces {displaces}"
                )
            }
            _ => "waits: it does not pay for the power that it needs".into(),
        },
        Reason::FitsNowhere => "waits: no set of nodes that may serve it can hold it".into(),
        Reason::PowerCap => {
            "waits: with it the pool would draw more than its spec.power.capKW".into()
        }
        Reason::PriceUnknown => "waits: a price is not known; see the pool's SignalsTrusted".into(),
        Reason::FitsNow | Reason::NodesComing | Reason::GangIncomplete => return None,
        other => format!("waits: the nodes that it needs may not move ({other})"),
    })
}
