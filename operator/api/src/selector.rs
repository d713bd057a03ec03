use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::core::SelectorExt;

/// A label selector, read once and then matched many times.
#[derive(Debug, Clone)]
pub struct Selector {
    selector: kube::core::Selector,
    required: Option<(String, String)>,
}

/// A selector that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{expression}` cannot be read: the operators are In, NotIn, Exists and DoesNotExist, and In and \
     NotIn need values"
)]
pub struct SelectorError {
    expression: String,
}

impl Selector {
    /// Matches everything.
    pub fn everything() -> Self {
        Self { selector: kube::core::Selector::default(), required: None }
    }

    /// Reads a selector as it stands in a manifest.
    pub fn parse(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let required = selector.match_labels.iter().flatten().next();
        let required = required.map(|(key, value)| (key.clone(), value.clone()));
        let read = kube::core::Selector::try_from(selector.clone());
        let read = read.map(|selector| Self { selector, required });
        read.map_err(|_| {
            let readable = |one: &&LabelSelectorRequirement| {
                let alone = LabelSelector {
                    match_labels: None,
                    match_expressions: Some(vec![(*one).clone()]),
                };
                kube::core::Selector::try_from(alone).is_ok()
            };
            let bad = selector.match_expressions.iter().flatten().find(|one| !readable(one));
            let expression = bad.map(|one| format!("{} {}", one.key, one.operator));
            SelectorError { expression: expression.unwrap_or_default() }
        })
    }

    /// A label that it asks for, if there is one: what lacks it need not be matched.
    pub fn required(&self) -> Option<(&str, &str)> {
        self.required.as_ref().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Do the labels satisfy it?
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.matches(labels)
    }
}
