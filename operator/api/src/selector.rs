use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::core::Expression;

/// A label selector, read once and then matched many times.
#[derive(Debug, Clone)]
pub struct Selector {
    expressions: Vec<Expression>,
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
        Self { expressions: Vec::new() }
    }

    /// Reads a selector as it stands in a manifest.
    pub fn parse(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let read = kube::core::Selector::try_from(selector.clone());
        let read = read.map(|read| Self { expressions: read.into_iter().collect() });
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
        self.expressions.iter().find_map(|one| match one {
            Expression::Equal(key, value) => Some((key.as_str(), value.as_str())),
            _ => None,
        })
    }

    /// Do labels satisfy it, of which `label` gives the value of a key?
    pub fn matches<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.expressions.iter().all(|one| match one {
            Expression::In(key, values) => label(key).is_some_and(|value| values.contains(value)),
            Expression::NotIn(key, values) => !label(key).is_some_and(|it| values.contains(it)),
            Expression::Equal(key, value) => label(key) == Some(value),
            Expression::NotEqual(key, value) => label(key) != Some(value),
            Expression::Exists(key) => label(key).is_some(),
            Expression::DoesNotExist(key) => label(key).is_none(),
        })
    }
}
