//! Alerts and dashboards.

use std::{collections::BTreeSet, process::Command};

use switchyard_e2e::{
    Chart,
    monitoring::{alerts, dashboards, expressions, metrics_of, panels},
};
use switchyard_rig::{Binaries, Tool};

fn promtool(args: &[&str]) {
    let tools = Binaries::resolve_only(&Tool::MONITORING).unwrap();
    let mut promtool: Command = tools.command(Tool::Promtool).unwrap();
    promtool.current_dir(Chart::of_this_tree().path.join("rules"));
    let output = promtool.args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    promtool(&["check", "rules", "switchyard.yaml"]);
    promtool(&["test", "rules", "tests.yaml"]);
}

#[test]
fn every_alert_is_tested_and_has_a_runbook() {
    let root = Chart::of_this_tree().path.join("../..");
    let tests = std::fs::read_to_string(root.join("charts/switchyard/rules/tests.yaml")).unwrap();
    for alert in alerts().unwrap() {
        let name = alert["alert"].as_str().unwrap();
        assert!(
            tests.contains(&format!("alertname: {name}\n")),
            "{name} has no test that fires it"
        );
        let url = alert["annotations"]["runbook_url"].as_str().unwrap();
        assert_eq!(url, format!("https://switchyard.dev/runbooks/{name}"));
        let runbook = root.join(format!("docs/runbooks/{name}.md"));
        let text = std::fs::read_to_string(&runbook).unwrap_or_default();
        for part in ["## What it means", "## Look", "## Mend"] {
            assert!(text.contains(part), "{} has no part {part:?}", runbook.display());
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    let dashboards = dashboards().unwrap();
    assert_eq!(dashboards.len(), 2);
    for (name, dashboard) in dashboards {
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let names: Vec<_> = variables.iter().filter_map(|one| one["name"].as_str()).collect();
        assert_eq!(names, ["datasource", "pool"], "{name}");
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap();
            let described = panel["description"].as_str().is_some_and(|text| text.ends_with('.'));
            assert!(described, "{name}: {title} has no description");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
            assert!(!unit.is_empty(), "{name}: {title} has no unit");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}: {title}");
            assert!(ids.insert(panel["id"].as_u64()), "{name}: {title} has another's id");
        }
    }
}

#[test]
fn every_name_is_one_that_the_operator_exports() {
    let root = Chart::of_this_tree().path.join("../..");
    let reference = std::fs::read_to_string(root.join("docs/reference/metrics.md")).unwrap();
    let exported: BTreeSet<&str> =
        reference.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(exported.len() > 15, "{exported:?}");
    for expression in expressions().unwrap() {
        let names = metrics_of(&expression.text);
        assert!(!names.is_empty(), "{} shows nothing of ours", expression.place);
        for name in names {
            assert!(exported.contains(name.as_str()), "{}: no metric {name}", expression.place);
        }
    }
}
