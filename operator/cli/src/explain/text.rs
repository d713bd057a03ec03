//! Explanations for people: from top to bottom what is, what it is worth, and what would change it.

use std::fmt::{self, Write};

use comfy_table::presets;
use jiff::{SignedDuration, Timestamp, Unit};
use switchyard_api::{ProfileRef, Use};
use switchyard_core::explain::{
    Destination, Flip, GateState, NodeExplanation, PoolExplanation, Price, PriceChange, Step, Worth,
};

use crate::table::of_cells;

/// Why a node moves or stays.
pub fn of_node(told: &NodeExplanation) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let since = told.since.map_or_else(String::new, |since| format!(" since {}", moment(since)));
    writeln!(
        text,
        "node {}, pool {}: {}{since}, {} GPUs{}",
        told.node,
        told.pool,
        place(told.node_use, told.profile.as_ref()),
        told.gpus,
        told.model.as_ref().map_or_else(String::new, |model| format!(" ({model})")),
    )?;
    list(&mut text, "on the move by shift", told.shift.as_slice())?;
    list(&mut text, "jobs", &told.jobs)?;
    list(&mut text, "opened for", &told.serves)?;
    writeln!(text, "\n{}", decided(told))?;
    writeln!(text, "\n{}", worths(&told.uses))?;
    writeln!(text, "{}", prices(&told.prices, told.pue))?;
    gates(&mut text, told)?;
    flips(&mut text, told)?;
    Ok(text)
}

fn list(text: &mut String, title: &str, names: &[String]) -> fmt::Result {
    if names.is_empty() { Ok(()) } else { writeln!(text, "  {title}: {}", names.join(", ")) }
}

fn decided(told: &NodeExplanation) -> String {
    let decision = &told.decision;
    let what = match &decision.to {
        None => format!("stays {}", told.node_use),
        Some(to) if decision.moves => format!("moves to {}", destination(to)),
        Some(to) => format!("stays {}, though it should go to {}", told.node_use, destination(to)),
    };
    let wanted = decision.wanted_because.map_or_else(String::new, |reason| format!(" {reason}:"));
    let gain = decision.gain.map_or_else(String::new, |gain| format!(" {gain:+.2} USD/h."));
    let gain = if decision.to.is_some() { format!("{wanted}{gain}") } else { String::new() };
    format!("Decision: {what}. {}: {}{gain}", decision.reason, decision.sentence)
}

/// What each use earns, as a table.
fn worths(uses: &[Worth]) -> String {
    let rows = uses.iter().map(|one| {
        vec![
            if one.current { "now".to_owned() } else { String::new() },
            place(one.node_use, one.profile.as_ref()),
            inputs(one),
            number(one.net),
            number(one.income),
            number(one.power.map(|power| -power)),
            format!("{:.0}", one.watts),
            if one.trusted { String::new() } else { "not trusted".to_owned() },
        ]
    });
    let titles = ["", "use", "from", "USD/h", "income", "power", "W", ""];
    trimmed(&of_cells(&titles, rows, 3, presets::NOTHING))
}

fn inputs(one: &Worth) -> String {
    match (one.node_use, one.hashrate) {
        (Use::Mining, Some(rate)) => {
            let taken = |name: &str, percent: Option<f64>| match percent {
                Some(percent) if percent > 0.0 => format!(", {name} {percent} %"),
                _ => String::new(),
            };
            let (haircut, fee) =
                (taken("haircut", one.haircut_percent), taken("fee", one.fee_percent));
            format!("{} x {}H/s{haircut}{fee}", one.busy_gpus, si(rate))
        }
        (Use::Hpc, _) => format!("{} GPUs busy", one.busy_gpus),
        (Use::Mining | Use::Idle, _) => String::new(),
    }
}

fn prices(prices: &[Price], pue: f64) -> String {
    let rows = prices.iter().map(|price| {
        vec![
            price.signal.clone().unwrap_or_else(|| price.field.clone()),
            price.value.map_or_else(|| "unknown".to_owned(), digits),
            price.unit.clone(),
            if price.trusted { String::new() } else { "not trusted".to_owned() },
        ]
    });
    let pue = [vec!["PUE".to_owned(), digits(pue), String::new(), String::new()]];
    let titles = ["price", "", "", ""];
    trimmed(&of_cells(&titles, rows.chain(pue), 4, presets::NOTHING))
}

fn gates(text: &mut String, told: &NodeExplanation) -> fmt::Result {
    if told.gates.is_empty() {
        return Ok(());
    }
    let open: Vec<_> =
        told.gates.iter().filter(|gate| gate.open).map(|gate| gate.gate.as_str()).collect();
    writeln!(text, "Gates")?;
    for gate in told.gates.iter().filter(|gate| !gate.open) {
        let first = told.first_closed.as_ref() == Some(&gate.gate);
        let mark = if first { "  <- the first" } else { "" };
        writeln!(text, "  closed  {}: {}{mark}", gate.gate, closed(gate, told.at))?;
    }
    writeln!(text, "  open    {}\n", open.join(", "))
}

fn closed(gate: &GateState, at: Timestamp) -> String {
    let reason = gate.reason.map_or_else(String::new, |reason| reason.to_string());
    let sentence = gate.sentence.clone().unwrap_or_default();
    let until = gate.until.map_or_else(String::new, |until| format!(" Until {}.", when(until, at)));
    let remedy = gate.remedy.as_ref().map_or_else(String::new, |what| format!(" -> {what}"));
    format!("{reason}. {sentence}{until}{remedy}")
}

fn flips(text: &mut String, told: &NodeExplanation) -> fmt::Result {
    writeln!(text, "What would change that")?;
    for flip in &told.flips {
        writeln!(text, "  - {}", changed(told, flip))?;
    }
    if !told.indifferent_to.is_empty() {
        let names = told.indifferent_to.join(", ");
        writeln!(text, "  - no change of {names} within a factor of ten")?;
    } else if told.flips.is_empty() {
        writeln!(text, "  - nothing that can be foreseen")?;
    }
    Ok(())
}

/// `would move to Idle if power rose by 0.14 USD/kWh (from 0.06 to 0.2)`
fn changed(told: &NodeExplanation, flip: &Flip) -> String {
    let steps: Vec<_> = flip.steps.iter().map(|step| step_of(step, told.at)).collect();
    let steps = steps.join(" and ");
    match &flip.to {
        Some(to) if flip.moves => format!("would move to {} if {steps}", destination(to)),
        Some(to) => {
            let gates: Vec<_> = flip.held_by.iter().map(|gate| gate.gate.as_str()).collect();
            let opens = if gates.len() == 1 { "opens" } else { "open" };
            let held = format!("once {} {opens}", gates.join(" and "));
            format!("would move to {}, {held}, if {steps}", destination(to))
        }
        None => format!("would have no reason to move if {steps}"),
    }
}

fn step_of(step: &Step, at: Timestamp) -> String {
    match step {
        Step::Price(change) => price_change(change),
        Step::Wait { until } => format!("you wait until {}", when(*until, at)),
        Step::Do { what, .. } => format!("you {what}"),
    }
}

fn price_change(change: &PriceChange) -> String {
    let PriceChange { from, to, unit, .. } = change;
    let name = change.signal.as_ref().unwrap_or(&change.field);
    let verb = if to > from { "rose" } else { "fell" };
    let by = digits((to - from).abs());
    let percent = change.relative * 100.0;
    format!(
        "{name} {verb} by {by} {unit} (from {} to {}, {percent:+.0} %)",
        digits(*from),
        digits(*to)
    )
}

/// Why the nodes of a pool move or stay.
pub fn of_pool(told: &PoolExplanation) -> Result<String, fmt::Error> {
    let mut text = String::new();
    writeln!(text, "pool {}: {} nodes, mode {}", told.pool, told.nodes, told.mode)?;
    let rows = told.reasons.iter().map(|one| {
        vec![
            one.nodes.to_string(),
            if one.moves { "move" } else { "stay" }.to_owned(),
            one.reason.to_string(),
            one.sentence.clone(),
            format!("node/{}", one.example),
        ]
    });
    let titles = ["nodes", "", "reason", "", "such as"];
    writeln!(text, "\n{}", trimmed(&of_cells(&titles, rows, 5, presets::NOTHING)))?;
    for class in &told.classes {
        let serves = if class.hpc_eligible { "" } else { ", may not serve HPC" };
        let (model, nodes, gpus) = (&class.model, class.nodes, class.gpus);
        writeln!(text, "{model}: {nodes} nodes{serves}; one of {gpus} GPUs earns")?;
        writeln!(text, "{}", worths(&class.uses))?;
    }
    writeln!(text, "{}", prices(&told.prices, told.pue))?;
    let left: Vec<_> = told
        .budgets_left
        .iter()
        .map(|left| match left.nodes {
            Some(nodes) => format!("{nodes} out of {}", left.from),
            None => format!("any number out of {}", left.from),
        })
        .collect();
    writeln!(text, "Budgets let a price move {}.", left.join(", "))?;
    writeln!(text, "After the moves above {} more may move.", told.allowed_disruptions)?;
    waiting(&mut text, told)?;
    Ok(text)
}

fn waiting(text: &mut String, told: &PoolExplanation) -> fmt::Result {
    if told.waiting.is_empty() {
        return writeln!(text, "No GPU work waits.");
    }
    let rows = told.waiting.iter().map(|one| {
        vec![
            one.work.clone(),
            format!("{}: {}", one.reason, one.sentence),
            one.gpus.to_string(),
            number(one.pays),
            number(one.displaces),
            one.nodes.to_string(),
        ]
    });
    let titles = ["waiting work", "", "GPUs", "pays USD/h", "displaces USD/h", "nodes opened"];
    write!(text, "\n{}", trimmed(&of_cells(&titles, rows, 2, presets::NOTHING)))?;
    match told.more_waiting {
        0 => Ok(()),
        more => writeln!(text, "and {more} more"),
    }
}

fn destination(to: &Destination) -> String {
    place(to.node_use, to.profile.as_ref())
}

fn place(node_use: Use, profile: Option<&ProfileRef>) -> String {
    match profile {
        Some(profile) => format!("{node_use} {profile}"),
        None => node_use.to_string(),
    }
}

fn number(number: Option<f64>) -> String {
    number.map_or_else(|| "unknown".to_owned(), |number| format!("{:.2}", number + 0.0))
}

/// Six significant digits, without zeros at the end.
fn digits(number: f64) -> String {
    #[allow(clippy::cast_possible_truncation)] // of a finite number, at most 308
    let magnitude = if number == 0.0 { 0 } else { number.abs().log10().floor() as i32 };
    let places = usize::try_from(5 - magnitude).unwrap_or(0);
    let text = format!("{number:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A hash rate with the prefix of its size.
fn si(rate: f64) -> String {
    let prefixes = [("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)];
    let (prefix, size) = prefixes.into_iter().find(|(_, size)| rate >= *size).unwrap_or(("", 1.0));
    format!("{} {prefix}", digits(rate / size))
}

fn moment(time: Timestamp) -> Timestamp {
    time.round(Unit::Second).unwrap_or(time)
}

/// `2026-01-01T22:00:00Z (in 12 min)`
fn when(until: Timestamp, at: Timestamp) -> String {
    let left = until.duration_since(at).max(SignedDuration::ZERO);
    let left = match left.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    };
    format!("{} (in {left})", moment(until))
}

/// Without blanks at the ends of lines.
fn trimmed(table: &str) -> String {
    table.lines().map(|line| format!(" {}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// A cordoned node that idles, though it should mine, and mined for less than ten minutes.
    fn told() -> NodeExplanation {
        let etc = json!({"namespace": "mining", "name": "etc"});
        let mine = json!({"use": "Mining", "profile": etc});
        let closed = json!([
            {"gate": "Cordon", "open": false, "reason": "Cordoned", "sentence": "It is cordoned.",
             "remedy": "run `kubectl uncordon n`"},
            {"gate": "Dwell", "open": false, "reason": "DwellNotOver", "sentence": "Too early.",
             "until": "2026-01-01T00:12:00Z"},
        ]);
        let mut gates = closed.as_array().cloned().unwrap();
        gates.insert(0, json!({"gate": "Skip", "open": true}));
        serde_json::from_value(json!({
            "node": "n", "pool": "texas", "at": "2026-01-01T00:00:00Z", "model": "RTX", "gpus": 8,
            "use": "Idle", "since": "2025-12-31T23:59:59.5Z", "jobs": [], "serves": [],
            "prices": [{"field": "f", "signal": "power", "value": 0.06, "unit": "USD/kWh", "trusted": false}],
            "pue": 1.1,
            "uses": [
                {"use": "Mining", "profile": etc, "current": false, "busyGpus": 8,
                 "incomeUSDPerHour": 4.0, "powerUSDPerHour": 0.176, "usdPerHour": 3.824,
                 "trusted": true, "watts": 2670.0, "hashrate": 120e6, "haircutPercent": 12.5,
                 "feePercent": 1.0},
                {"use": "Idle", "current": true, "busyGpus": 0, "trusted": true, "watts": 550.0},
            ],
            "decision": {"to": mine, "moves": false, "reason": "Cordoned", "sentence": "It is cordoned.",
                         "wantedBecause": "MiningPays", "cause": "Price", "gainUSDPerHour": 3.86},
            "gates": gates, "firstClosed": "Cordon",
            "flips": [
                {"steps": [{"do": {"what": "run `kubectl uncordon n`", "reason": "Cordoned"}},
                           {"wait": {"until": "2026-01-01T00:12:00Z"}}],
                 "to": mine, "moves": true, "heldBy": []},
                {"steps": [{"price": {"field": "f", "signal": "power", "from": 0.06, "to": 0.2,
                                      "relative": 2.3333, "unit": "USD/kWh"}}],
                 "moves": false, "heldBy": []},
                {"steps": [{"price": {"field": "f", "signal": "power", "from": 0.06, "to": 0.05,
                                      "relative": -0.1667, "unit": "USD/kWh"}}],
                 "to": {"use": "HPC"}, "moves": false, "heldBy": closed},
            ],
            "indifferentTo": ["gpu-hour"],
        }))
        .unwrap()
    }

    #[rstest]
    #[case::head("node n, pool texas: Idle since 2026-01-01T00:00:00Z, 8 GPUs (RTX)\n")]
    #[case::decision(
        "Decision: stays Idle, though it should go to Mining mining/etc. Cordoned: It is cordoned. MiningPays: +3.86 USD/h.\n"
    )]
    #[case::row("Mining mining/etc 8 x 120 MH/s, haircut 12.5 %, fee 1 % 3.82 4.00 -0.18 2670\n")]
    #[case::unknown("unknown unknown unknown 550\n")]
    #[case::price("power 0.06 USD/kWh not trusted\n")]
    #[case::first(
        "closed Cordon: Cordoned. It is cordoned. -> run `kubectl uncordon n` <- the first\n"
    )]
    #[case::until(
        "closed Dwell: DwellNotOver. Too early. Until 2026-01-01T00:12:00Z (in 12 min).\n"
    )]
    #[case::open("open Skip\n")]
    #[case::steps(
        "- would move to Mining mining/etc if you run `kubectl uncordon n` and you wait until 2026-01-01T00:12:00Z (in 12 min)\n"
    )]
    #[case::rose(
        "- would have no reason to move if power rose by 0.14 USD/kWh (from 0.06 to 0.2, +233 %)\n"
    )]
    #[case::fell(
        "- would move to HPC, once Cordon and Dwell open, if power fell by 0.01 USD/kWh (from 0.06 to 0.05, -17 %)\n"
    )]
    #[case::indifferent("- no change of gpu-hour within a factor of ten\n")]
    fn a_node_is_told_from_top_to_bottom(#[case] line: &str) {
        let text = of_node(&told()).unwrap();
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n";
        let text: String = text.lines().map(squeezed).collect();
        assert!(text.contains(line), "{text}");
    }
}
