//! Stores orders before anything is done about them, and how far they have come.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use switchyard_api::{GPUPool, NodeShift, NodeShiftSpec, NodeShiftStatus, Period, keys};
use switchyard_core::snapshot::ShiftFacts;

use super::{Hands, log};
use crate::watch::{
    caches::{guarded, written},
    gather::{has_ended, is_looked_at},
};

const NAME_MAX: usize = 63;

impl Hands {
    /// Stores orders. A shift belongs to its pool, so it goes when the pool does.
    pub async fn order(&self, orders: Vec<NodeShiftSpec>, now: Timestamp) {
        self.each(orders.into_iter().enumerate(), |(index, spec)| async move {
            let shift = self.shift(spec, index, now);
            let shifts = Api::<NodeShift>::all(self.client.clone());
            match self.write("nodeshift", shifts.create(&PostParams::default(), &shift)).await {
                Ok(shift) => {
                    self.announcer.shift_ordered(&shift);
                    self.caches.shifts.put(guarded(shift), written);
                }
                Err(error) => log("nodeshift", &shift.spec.pool, &error),
            }
        })
        .await;
    }

    fn shift(&self, spec: NodeShiftSpec, index: usize, now: Timestamp) -> NodeShift {
        let key = (String::new(), spec.pool.clone());
        let owner = self
            .caches
            .pools
            .get(&key, |pool| pool.good().and_then(|pool: &GPUPool| pool.owner_ref(&())));
        let (from, to) = (keys::use_value(spec.from), keys::use_value(spec.to));
        // The time makes the name unique: the same nodes may go the same way again.
        let hash = keys::hash(&format!("{now} {index} {}", spec.pool));
        let name = keys::fit(&format!("{}-{from}-{to}", spec.pool), NAME_MAX - hash.len() - 1);
        let labels = [
            (keys::POOL.to_owned(), spec.pool.clone()),
            (keys::MANAGED_BY.to_owned(), keys::MANAGER.to_owned()),
        ];
        NodeShift {
            metadata: ObjectMeta {
                name: Some(format!("{name}-{hash}")),
                labels: Some(labels.into()),
                owner_references: owner.flatten().map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec,
            status: None,
        }
    }

    /// Stores how far shifts have come, where that has changed.
    pub async fn note_progress(&self, progress: Vec<(ShiftFacts, NodeShiftStatus)>) {
        let changed = progress.into_iter().filter(|(shift, status)| shift.status != *status);
        self.each(changed, |(shift, status)| async move {
            let shifts = Api::<NodeShift>::all(self.client.clone());
            let patch = Patch::Merge(json!({"status": status}));
            let params = PatchParams::default();
            match self.write("nodeshift", shifts.patch_status(&shift.name, &params, &patch)).await {
                Ok(shift) => {
                    if has_ended(&shift) {
                        self.metrics.ended(&shift);
                        self.announcer.shift_ended(&shift);
                    }
                    self.caches.shifts.put(guarded(shift), written);
                }
                Err(error) => log("nodeshift", &shift.name, &error),
            }
        })
        .await;
    }

    /// Deletes ended shifts beyond the history that each pool keeps, the oldest first; but none that
    /// its breaker looks at.
    pub async fn forget_old_shifts(&self, now: Timestamp) {
        let withins: BTreeMap<String, Period> = self.caches.pools.collect(|(_, name), pool| {
            Some((name.clone(), pool.good()?.spec.shifting.breaker.within))
        });
        let mut ended: BTreeMap<String, Vec<(Option<Timestamp>, String)>> = BTreeMap::new();
        let shifts: Vec<NodeShift> = self
            .caches
            .shifts
            .collect(|_, shift| shift.good().filter(|one| has_ended(one)).cloned());
        for shift in shifts {
            let within = withins.get(&shift.spec.pool);
            if within.is_some_and(|within| is_looked_at(&shift, *within, now)) {
                continue;
            }
            let finished = shift.status.as_ref().and_then(|status| status.finished);
            ended.entry(shift.spec.pool.clone()).or_default().push((finished, shift.name_any()));
        }
        let keep = self.settings.keep_shifts;
        let old = ended.into_values().flat_map(|mut shifts| {
            shifts.sort();
            let surplus = shifts.len().saturating_sub(keep);
            shifts.into_iter().take(surplus).map(|(_, name)| name)
        });
        self.each(old.collect::<Vec<_>>(), |name| async move {
            let shifts = Api::<NodeShift>::all(self.client.clone());
            if let Err(error) =
                self.write("nodeshift", shifts.delete(&name, &DeleteParams::default())).await
            {
                log("nodeshift", &name, &error);
            }
        })
        .await;
    }
}
