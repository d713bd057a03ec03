//! Would the scheduler put this pod on that node? Our own answer to the parts of the question that
//! decide about shifting: node selector, required node affinity, taints, and room.
//!
//! Semantics as in the Kubernetes documentation of node affinity and of taints and tolerations. What
//! is not modelled (volumes, spreading, pod affinity) makes the answer too hopeful, never a move
//! without a waiting pod.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration};
use switchyard_api::{Use, keys};

use crate::snapshot::{Barrier, Constraints, Labels};

/// A node as the scheduler sees it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its name, which affinity terms may ask for.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
    /// Its taints.
    pub taints: &'a [Taint],
    /// The use it is looked at in: the label and the taint of ours are taken as they would then be.
    pub as_use: Use,
}

/// May a pod of these constraints run on the node, room apart?
pub fn admits(constraints: &Constraints, target: Target<'_>) -> bool {
    let selected = constraints
        .node_selector
        .iter()
        .all(|(key, value)| label(target, key) == Some(value.as_str()));
    let affine = constraints
        .affinity
        .as_ref()
        .is_none_or(|terms| terms.iter().any(|term| satisfies_term(term, target)));
    selected && affine && tolerates_all(&constraints.tolerations, target)
}

fn label<'a>(target: Target<'a>, key: &str) -> Option<&'a str> {
    if key == keys::USE {
        return Some(keys::use_value(target.as_use));
    }
    target.labels.get(key)
}

/// A term without any requirement matches nothing, as in Kubernetes.
fn satisfies_term(term: &NodeSelectorTerm, target: Target<'_>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|wanted| satisfies(wanted, label(target, &wanted.key)))
        && fields
            .iter()
            .all(|wanted| wanted.key == "metadata.name" && satisfies(wanted, Some(target.name)))
}

fn satisfies(wanted: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let among = |found: &str| values.iter().any(|value| value == found);
    let compare = |holds: fn(i64, i64) -> bool| {
        let found = found.and_then(|text| text.parse().ok());
        let bound = values.first().and_then(|text| text.parse().ok());
        found.zip(bound).is_some_and(|(found, bound)| holds(found, bound))
    };
    match wanted.operator.as_str() {
        "In" => found.is_some_and(among),
        "NotIn" => !found.is_some_and(among),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compare(|found, bound| found > bound),
        "Lt" => compare(|found, bound| found < bound),
        _ => false,
    }
}

/// Preferences (`PreferNoSchedule`) never keep a pod away.
fn tolerates_all(tolerations: &[Toleration], target: Target<'_>) -> bool {
    let others = target.taints.iter().filter(|taint| taint.key != keys::TAINT);
    let ours = our_taint(target.as_use);
    others.chain(ours.as_ref()).all(|taint| {
        taint.effect == "PreferNoSchedule" || tolerations.iter().any(|one| tolerates(one, taint))
    })
}

/// The taint of ours that a node in the use carries.
pub fn our_taint(node_use: Use) -> Option<Taint> {
    Barrier::of(node_use).map(Barrier::taint)
}

/// Does a pod with the toleration put up with the taint?
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let same_value = toleration.value.as_deref().unwrap_or_default()
        == taint.value.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect)
        && ((key.is_empty() && exists) || (key == taint.key && (exists || same_value)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use rstest::rstest;

    fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Toleration {
            key: some(key),
            operator: some(operator),
            value: some(value),
            effect: some(effect),
            toleration_seconds: None,
        }
    }

    #[rstest]
    #[case::everything("", "Exists", "", "", true)]
    #[case::by_key("switchyard.dev/use", "Exists", "", "", true)]
    #[case::by_value("switchyard.dev/use", "Equal", "mining", "NoSchedule", true)]
    #[case::operator_left_open("switchyard.dev/use", "", "mining", "", true)]
    #[case::other_value("switchyard.dev/use", "Equal", "idle", "", false)]
    #[case::other_effect("switchyard.dev/use", "Exists", "", "NoExecute", false)]
    #[case::other_key("gpu", "Exists", "", "", false)]
    #[case::no_key_needs_exists("", "Equal", "mining", "", false)]
    fn tolerations(
        #[case] key: &str,
        #[case] operator: &str,
        #[case] value: &str,
        #[case] effect: &str,
        #[case] expected: bool,
    ) {
        let taint = our_taint(Use::Mining).unwrap();
        assert_eq!(tolerates(&toleration(key, operator, value, effect), &taint), expected);
    }

    fn admitted(constraints: &Constraints, as_use: Use) -> bool {
        let labels: Labels = BTreeMap::from([
            ("zone".to_owned(), "a".to_owned()),
            ("gpus".to_owned(), "8".to_owned()),
            (keys::USE.to_owned(), "mining".to_owned()),
        ])
        .into();
        let taints: Vec<_> = our_taint(Use::Mining).into_iter().collect();
        admits(constraints, Target { name: "n1", labels: &labels, taints: &taints, as_use })
    }

    fn affinity(key: &str, operator: &str, values: &[&str]) -> Constraints {
        let requirement = NodeSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: Some(values.iter().map(ToString::to_string).collect()),
        };
        let term =
            NodeSelectorTerm { match_expressions: Some(vec![requirement]), match_fields: None };
        Constraints { affinity: Some(vec![term]), ..Constraints::default() }
    }

    #[test]
    fn a_node_is_seen_in_the_use_it_would_have() {
        assert!(!admitted(&Constraints::default(), Use::Mining));
        assert!(admitted(&Constraints::default(), Use::Hpc));
        assert!(admitted(&affinity(keys::USE, "In", &["hpc"]), Use::Hpc));
        assert!(!admitted(&affinity(keys::USE, "In", &["mining"]), Use::Hpc));
    }

    #[rstest]
    #[case("zone", "In", &["a", "b"], true)]
    #[case("zone", "NotIn", &["a"], false)]
    #[case("rack", "NotIn", &["a"], true)]
    #[case("zone", "Exists", &[], true)]
    #[case("zone", "DoesNotExist", &[], false)]
    #[case("gpus", "Gt", &["4"], true)]
    #[case("gpus", "Lt", &["8"], false)]
    #[case("zone", "Gt", &["4"], false)]
    #[case("zone", "Fancy", &["a"], false)]
    fn node_affinity(
        #[case] key: &str,
        #[case] operator: &str,
        #[case] values: &[&str],
        #[case] expected: bool,
    ) {
        assert_eq!(admitted(&affinity(key, operator, values), Use::Hpc), expected);
    }

    #[test]
    fn a_term_without_requirements_matches_nothing() {
        let constraints = Constraints {
            affinity: Some(vec![NodeSelectorTerm::default()]),
            ..Constraints::default()
        };
        assert!(!admitted(&constraints, Use::Hpc));
    }
}
