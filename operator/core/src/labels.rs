//! Labels, and the strings that thousands of objects repeat, kept once.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
    hash::Hash,
    sync::Arc,
};

/// The labels of an object. Its keys are shared with all objects that have the same ones, so that
/// they are searched where they were searched a moment ago, and take memory once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// In the order of [`by_length`].
    keys: Arc<[Arc<str>]>,
    /// In the order of the keys.
    values: Arc<[Arc<str>]>,
}

impl Labels {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.keys.binary_search_by(|known| by_length(known, key)).ok()?;
        self.values.get(found).map(|value| &**value)
    }
}

/// Most keys differ in length, which is found out without looking at the texts.
fn by_length(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        Strings::default().labels(&labels)
    }
}

/// Keeps one copy of each string for all that ask for it.
#[derive(Debug, Default)]
pub struct Strings {
    texts: Copies<str>,
    keys: Copies<[Arc<str>]>,
}

impl Strings {
    /// The copy of a string.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        self.texts.of(text)
    }

    /// Labels of such copies.
    pub fn labels(&mut self, labels: &BTreeMap<String, String>) -> Labels {
        let mut labels: Vec<_> = labels.iter().collect();
        labels.sort_unstable_by(|(one, _), (other, _)| by_length(one, other));
        let keys: Vec<_> = labels.iter().map(|(key, _)| self.text(key)).collect();
        let values = labels.iter().map(|(_, value)| self.text(value)).collect();
        Labels { keys: self.keys.of(&keys), values }
    }
}

/// One copy of each value, for as long as anybody else has it.
#[derive(Debug)]
struct Copies<T: ?Sized> {
    known: HashSet<Arc<T>>,
    /// When there are that many it is looked which of them are needed no more.
    sweep_at: usize,
}

const SWEEP_AT_LEAST: usize = 1024;

impl<T: ?Sized> Default for Copies<T> {
    fn default() -> Self {
        Self { known: HashSet::new(), sweep_at: SWEEP_AT_LEAST }
    }
}

impl<T: Hash + Eq + ?Sized> Copies<T> {
    fn of<'t>(&mut self, value: &'t T) -> Arc<T>
    where
        Arc<T>: From<&'t T>,
    {
        if let Some(known) = self.known.get(value) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_at = SWEEP_AT_LEAST.max(2 * self.known.len());
        }
        let copy = Arc::from(value);
        self.known.insert(Arc::clone(&copy));
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(strings: &mut Strings, all: &[(&str, &str)]) -> Labels {
        strings.labels(&all.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
    }

    #[test]
    fn values_are_found_by_key() {
        let labels = labels(&mut Strings::default(), &[("zone", "a"), ("app", "x"), ("rack", "")]);
        assert_eq!(labels.get("app"), Some("x"));
        assert_eq!(labels.get("rack"), Some(""));
        assert_eq!(labels.get("zone"), Some("a"));
        assert_eq!(labels.get("hall"), None);
        assert_eq!(Labels::default().get("app"), None);
    }

    #[test]
    fn what_objects_have_in_common_is_kept_once() {
        let mut strings = Strings::default();
        let one = labels(&mut strings, &[("app", "x"), ("zone", "a")]);
        let other = labels(&mut strings, &[("app", "x"), ("zone", "b")]);
        assert!(Arc::ptr_eq(&one.keys, &other.keys));
        assert!(Arc::ptr_eq(&one.values[0], &other.values[0]));
        assert_ne!(one, other);
        assert_eq!(one, labels(&mut Strings::default(), &[("app", "x"), ("zone", "a")]));
    }

    #[test]
    fn what_nobody_has_any_more_is_forgotten() {
        let mut strings = Strings::default();
        let kept = strings.text("kept");
        for number in 0..10 * SWEEP_AT_LEAST {
            strings.text(&number.to_string());
        }
        assert!(strings.texts.known.len() <= SWEEP_AT_LEAST);
        assert!(Arc::ptr_eq(&kept, &strings.text("kept")));
    }
}
