//! What the chart allows the operator.

use std::collections::BTreeSet;

use switchyard_e2e::rbac::{reviewed, rights};

use crate::rendering::rendered;

fn given() -> BTreeSet<String> {
    let sets = [None, Some("everything"), Some("bare")];
    sets.iter().flat_map(|values| rights(&rendered(*values)).unwrap()).collect()
}

#[test]
fn nobody_gets_a_right_that_was_not_reviewed() {
    let (given, reviewed) = (given(), reviewed());
    let grown: Vec<_> = given.difference(&reviewed).cloned().collect();
    let gone: Vec<_> = reviewed.difference(&given).cloned().collect();
    assert!(
        grown.is_empty() && gone.is_empty(),
        "rights have changed; if that is meant, change e2e/tests/chart/rbac.golden.\n\
         new:\n{}\nno longer given:\n{}",
        grown.join("\n"),
        gone.join("\n")
    );
}

#[test]
fn no_right_is_wider_than_it_need_be() {
    for right in given() {
        let (who, right) = right.split_once(": ").unwrap();
        assert!(!right.contains('*'), "{who} has a wildcard: {right}");
        for never in
            ["secrets", "pods/exec", "create core/pods", "escalate", "impersonate", "bind "]
        {
            let eviction = never == "create core/pods" && right.ends_with("/eviction");
            assert!(!right.contains(never) || eviction, "{who}: {right}");
        }
    }
}
