//! Amounts of what pods ask for and nodes have.

use std::{mem, sync::Arc};

use smallvec::SmallVec;

/// Amounts of what pods ask for and nodes have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU, thousandths of a core.
    pub cpu_milli: i64,
    /// Memory, bytes.
    pub memory_bytes: i64,
    /// Pods; a pod counts one.
    pub pods: i64,
    /// Extended resources by name, such as `nvidia.com/gpu`.
    pub extended: Extended,
}

impl Resources {
    /// The amount of an extended resource.
    pub fn extended(&self, name: &str) -> u32 {
        self.extended.get(name).and_then(|amount| u32::try_from(amount).ok()).unwrap_or(0)
    }

    /// Is there enough of everything for `other`?
    pub fn covers(&self, other: &Self) -> bool {
        self.cpu_milli >= other.cpu_milli
            && self.memory_bytes >= other.memory_bytes
            && self.pods >= other.pods
            && other.extended.iter().all(|(name, amount)| {
                amount <= 0 || self.extended.get(name).is_some_and(|free| free >= amount)
            })
    }

    /// Takes `other` away; what is short becomes negative.
    pub fn take(&mut self, other: &Self) {
        self.add(other, -1);
    }

    /// Puts `other` back.
    pub fn give(&mut self, other: &Self) {
        self.add(other, 1);
    }

    fn add(&mut self, other: &Self, sign: i64) {
        self.cpu_milli = self.cpu_milli.saturating_add(sign * other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_add(sign * other.memory_bytes);
        self.pods = self.pods.saturating_add(sign * other.pods);
        for (name, amount) in other.extended.iter() {
            if let Some(free) = self.extended.get_mut(name) {
                *free = free.saturating_add(sign * amount);
            }
        }
    }
}

/// Amounts by name, in the order of the names. There is one or none of them nearly always, so they are
/// kept in place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extended(SmallVec<[(Arc<str>, i64); 1]>);

impl Extended {
    /// The amount of a name.
    pub fn get(&self, name: &str) -> Option<i64> {
        self.iter().find(|(known, _)| *known == name).map(|(_, amount)| amount)
    }

    /// Every name and its amount.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (&**name, *amount))
    }

    /// Puts every amount of `others` in; where there is one already, what `both` makes of them.
    pub fn merge(&mut self, others: &Self, both: impl Fn(i64, i64) -> i64) {
        let merged = others.0.iter().map(|(name, more)| {
            let amount = self.get(name).map_or(*more, |amount| both(amount, *more));
            (name.clone(), amount)
        });
        let merged: Vec<_> = merged.collect();
        *self = mem::take(&mut self.0).into_iter().chain(merged).collect();
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut i64> {
        self.0.iter_mut().find(|(known, _)| **known == *name).map(|(_, amount)| amount)
    }
}

/// The last amount of a name counts.
impl FromIterator<(Arc<str>, i64)> for Extended {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, i64)>>(amounts: I) -> Self {
        let mut amounts: SmallVec<[_; 1]> = amounts.into_iter().collect();
        amounts.reverse();
        amounts.sort_by(|(one, _), (other, _)| one.cmp(other));
        amounts.dedup_by(|(one, _), (other, _)| one == other);
        Self(amounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extended(amounts: &[(&str, i64)]) -> Extended {
        amounts.iter().map(|(name, amount)| ((*name).into(), *amount)).collect()
    }

    #[test]
    fn amounts_are_kept_by_name() {
        let mut amounts = extended(&[("b", 2), ("a", 1), ("b", 3)]);
        assert_eq!(amounts, extended(&[("a", 1), ("b", 3)]));
        assert_eq!((amounts.get("b"), amounts.get("c")), (Some(3), None));
        amounts.merge(&extended(&[("c", 4), ("b", 5)]), i64::max);
        assert_eq!(amounts, extended(&[("a", 1), ("b", 5), ("c", 4)]));
    }

    #[test]
    fn what_is_taken_is_given_back() {
        let all = |gpus| Resources {
            cpu_milli: 1_000,
            memory_bytes: 1 << 30,
            pods: 1,
            extended: extended(&[("gpu", gpus)]),
        };
        let mut node = all(8);
        assert!(node.covers(&all(8)) && !node.covers(&all(9)));
        node.take(&all(3));
        assert_eq!(node.extended("gpu"), 5);
        assert!(!node.covers(&all(5)), "no CPU is left");
        node.give(&all(3));
        assert_eq!(node, all(8));
    }
}
