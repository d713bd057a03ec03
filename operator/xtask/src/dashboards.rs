//! The Grafana dashboards of the chart, from a list of what they show.

use serde_json::{Value, json};

/// A dashboard.
pub struct Dashboard {
    /// Its file's name.
    pub name: &'static str,
    title: &'static str,
    description: &'static str,
    rows: Vec<(&'static str, Vec<Panel>)>,
}

/// One picture, and what it says.
struct Panel {
    title: &'static str,
    description: &'static str,
    kind: Kind,
    unit: &'static str,
    /// Of 24 columns.
    width: u32,
    /// Each an expression, and how its series are called.
    shows: Vec<(&'static str, &'static str)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Lines,
    Stack,
}

impl Panel {
    fn number(title: &'static str, unit: &'static str, expression: &'static str) -> Self {
        let shows = vec![(expression, "")];
        Self { title, description: "", kind: Kind::Number, unit, width: 6, shows }
    }

    fn lines(
        title: &'static str,
        unit: &'static str,
        shows: &[(&'static str, &'static str)],
    ) -> Self {
        let shows = shows.to_vec();
        Self { title, description: "", kind: Kind::Lines, unit, width: 12, shows }
    }

    fn stack(
        title: &'static str,
        unit: &'static str,
        shows: &[(&'static str, &'static str)],
    ) -> Self {
        Self { kind: Kind::Stack, ..Self::lines(title, unit, shows) }
    }

    fn says(self, description: &'static str) -> Self {
        Self { description, ..self }
    }
}

/// Every dashboard of the chart.
pub fn all() -> Vec<Dashboard> {
    vec![fleet(), operations()]
}

fn fleet() -> Dashboard {
    Dashboard {
        name: "fleet",
        title: "Switchyard / Fleet economics",
        description: "What the GPUs are used for, what that earns and costs, and what waits.",
        rows: vec![("Now", now()), ("Use", uses()), ("Money", money())],
    }
}

fn now() -> Vec<Panel> {
    vec![
        Panel::number("Earnings", "currencyUSD", r#"sum(switchyard_value_usd_per_hour{pool=~"$pool"})"#)
            .says("USD per hour of all nodes at present, power paid. A price that is not known leaves its use out."),
        Panel::number("GPUs at work", "percentunit", r#"sum(switchyard_gpus{pool=~"$pool",state=~"mining|hpc_busy"}) / sum(switchyard_gpus{pool=~"$pool"})"#)
            .says("Share of the GPUs that mine or run a job."),
        Panel::number("Power", "watt", r#"sum(switchyard_watts{pool=~"$pool"})"#)
            .says("What the nodes draw by the figures of their classes, without PUE."),
        Panel::number("Waiting GPUs", "none", "sum(switchyard_waiting_gpus)")
            .says("GPUs that waiting work of all pools asks for."),
    ]
}

fn uses() -> Vec<Panel> {
    vec![
        Panel::stack("Nodes by use", "none", &[(r#"sum by (use) (switchyard_nodes{pool=~"$pool"})"#, "{{use}}")])
            .says("Nodes that mine, serve HPC, or idle. Nodes that mine or idle are tainted."),
        Panel::stack("GPUs by what they do", "none", &[(r#"sum by (state) (switchyard_gpus{pool=~"$pool"})"#, "{{state}}")])
            .says("hpc_free are GPUs of open HPC nodes that no job holds: the price of partly used nodes and of warm standby."),
        Panel::stack("Waiting work by what becomes of it", "none", &[("sum by (reason) (switchyard_waiting_gpus)", "{{reason}}")])
            .says("GPUs that waiting work asks for. nodes_coming and demand_pays are on their way; pays_too_little would displace what earns more."),
        Panel::stack("Nodes on the move", "none", &[(r#"sum by (pool) (switchyard_shifting_nodes{pool=~"$pool"})"#, "{{pool}}")])
            .says("Nodes of running shifts. They earn nothing meanwhile."),
    ]
}

fn money() -> Vec<Panel> {
    vec![
        Panel::stack("Earnings by use", "currencyUSD", &[(r#"sum by (use) (switchyard_value_usd_per_hour{pool=~"$pool"})"#, "{{use}}")])
            .says("USD per hour, power paid; idle nodes cost their power."),
        Panel::lines("Earnings per node", "currencyUSD", &[(
            r#"sum by (use) (switchyard_value_usd_per_hour{pool=~"$pool"}) / (sum by (use) (switchyard_nodes{pool=~"$pool"}) > 0)"#,
            "{{use}}",
        )])
            .says("USD per hour and node of each use: what a node earns here, beside what it could earn there."),
        Panel::lines("Signals", "none", &[("max by (signal) (switchyard_signal_value)", "{{signal}}")])
            .says("The values of all signals, each in its unit."),
        Panel::lines("Power by pool", "watt", &[(r#"sum by (pool) (switchyard_watts{pool=~"$pool"})"#, "{{pool}}")])
            .says("What the nodes draw by the figures of their classes, without PUE."),
    ]
}

fn operations() -> Dashboard {
    Dashboard {
        name: "operations",
        title: "Switchyard / Operations",
        description: "Is it well: replicas, shifts, gates, signals, writes, and how promptly jobs are served.",
        rows: vec![
            ("Health", health()),
            ("Shifts", shifts()),
            ("Gates", gates()),
            ("Signals", signals()),
            ("Writes", writes()),
        ],
    }
}

fn health() -> Vec<Panel> {
    vec![
        Panel::number("Leaders", "none", "sum(switchyard_leader)")
            .says("One replica leads. None: nothing is decided. Two for a moment is a handover that the API server referees."),
        Panel::number("Replicas", "none", "count(switchyard_build_info)").says("Replicas that are seen."),
        Panel::number("Since the last look", "s", "time() - max(switchyard_last_pass_timestamp_seconds)")
            .says("Time since the leader last made a plan or saw that it still stands; it does so at least every decideEvery."),
        Panel::number("Moves completed", "percentunit", r#"sum(increase(switchyard_shifted_nodes_total{pool=~"$pool",phase="Completed"}[$__range])) / sum(increase(switchyard_shifted_nodes_total{pool=~"$pool"}[$__range]))"#)
            .says("Share of the moves in the time shown that were completed. The others were rolled back, as when a job lands first, or failed."),
        Panel::lines("Time for a decision", "s", &[
            ("histogram_quantile(0.5, sum by (le) (rate(switchyard_decision_seconds_bucket[$__rate_interval])))", "median"),
            ("histogram_quantile(0.99, sum by (le) (rate(switchyard_decision_seconds_bucket[$__rate_interval])))", "99 %"),
        ])
            .says("From the snapshot of all facts to the plan."),
        Panel::lines("Looks", "ops", &[("sum(rate(switchyard_passes_total[$__rate_interval]))", "per second")])
            .says("How often everything is looked at and a plan is made: after every change in the cluster, when time alone changes the plan, and every minute in any case."),
    ]
}

fn shifts() -> Vec<Panel> {
    vec![
        Panel::stack("Moves ended", "none", &[(
            r#"sum by (from, to, phase) (increase(switchyard_shifted_nodes_total{pool=~"$pool"}[$__rate_interval]))"#,
            "{{from}} to {{to}}: {{phase}}",
        )])
            .says("Nodes whose move has ended, by direction and how it ended."),
        Panel::stack("Moves by cause", "none", &[(
            r#"sum by (cause) (increase(switchyard_shifted_nodes_total{pool=~"$pool"}[$__rate_interval]))"#,
            "{{cause}}",
        )])
            .says("Why nodes moved: waiting jobs, prices, floors and ceilings."),
        Panel::lines("Time that shifts take", "s", &[
            (r#"histogram_quantile(0.5, sum by (le, to) (rate(switchyard_shift_seconds_bucket{pool=~"$pool"}[$__rate_interval])))"#, "median to {{to}}"),
            (r#"histogram_quantile(0.95, sum by (le, to) (rate(switchyard_shift_seconds_bucket{pool=~"$pool"}[$__rate_interval])))"#, "95 % to {{to}}"),
        ])
            .says("From the first write to the last node in its new use. Draining decides it."),
        Panel::lines("Jobs get their nodes within a minute", "percentunit", &[(
            r#"sum(rate(switchyard_shift_seconds_bucket{pool=~"$pool",to="hpc",le="60"}[$__range])) / sum(rate(switchyard_shift_seconds_count{pool=~"$pool",to="hpc"}[$__range]))"#,
            "shifts to hpc",
        )])
            .says("Share of the shifts to HPC in the time shown that took no longer than 60 s: an objective for how promptly jobs are served."),
        Panel::lines("Overdue shifts", "none", &[(r#"sum by (pool) (switchyard_overdue_shifts{pool=~"$pool"})"#, "{{pool}}")])
            .says("Shifts that run although their deadline has passed. More than none for minutes raises an alert."),
        Panel::lines("Evictions of miners", "ops", &[("sum by (result) (rate(switchyard_evictions_total[$__rate_interval]))", "{{result}}")])
            .says("blocked: a PodDisruptionBudget holds the miner. gone: it went by itself, as relabelled miners do."),
    ]
}

fn gates() -> Vec<Panel> {
    vec![
        Panel::stack("Why nodes move or stay", "none", &[(r#"sum by (reason) (switchyard_node_reasons{pool=~"$pool"})"#, "{{reason}}")])
            .says("Every node by the first reason why it moves or stays; the reasons of status and Events."),
        Panel::lines("Nodes that a price may still move", "none", &[(r#"min by (pool) (switchyard_allowed_disruptions{pool=~"$pool"})"#, "{{pool}}")])
            .says("What the budgets leave at the moment. Zero holds up price-driven moves only, never jobs."),
    ]
}

fn signals() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Trusted",
            "bool",
            &[("min by (signal) (switchyard_signal_trusted)", "{{signal}}")],
        )
        .says("1: price-driven decisions may rest on the signal. 0: nothing is moved for it."),
        Panel::lines(
            "Age",
            "s",
            &[("time() - max by (signal) (switchyard_signal_timestamp_seconds)", "{{signal}}")],
        )
        .says("Time since the value was read. Beyond maxAge the signal is not trusted."),
        Panel::lines(
            "Sources",
            "bool",
            &[("min by (signal, source) (switchyard_signal_source_up)", "{{signal}}/{{source}}")],
        )
        .says("1: the source answered with a number."),
    ]
}

fn writes() -> Vec<Panel> {
    vec![
        Panel::lines("Writes", "ops", &[("sum by (object) (rate(switchyard_writes_total[$__rate_interval]))", "{{object}}")])
            .says("Writes to the API server. When nothing changes there are none but refreshed signals."),
        Panel::lines("Refused writes", "ops", &[("sum by (object, error) (rate(switchyard_write_errors_total[$__rate_interval]))", "{{object}}: {{error}}")])
            .says("conflict and invalid: the facts had changed, and the next look decides anew. forbidden: a fence or RBAC refused it."),
    ]
}

impl Dashboard {
    /// As Grafana reads it.
    pub fn json(&self) -> Value {
        let mut panels = Vec::new();
        let (mut y, mut id) = (0, 1);
        for (title, row) in &self.rows {
            panels.push(json!({
                "id": id, "type": "row", "title": title, "collapsed": false, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
            }));
            (id, y) = (id + 1, y + 1);
            let (mut x, mut height) = (0, 0);
            for panel in row {
                if x + panel.width > 24 {
                    (x, y, height) = (0, y + height, 0);
                }
                panels.push(panel.json(id, x, y));
                height = height.max(panel.height());
                (id, x) = (id + 1, x + panel.width);
            }
            y += height;
        }
        json!({
            "uid": format!("switchyard-{}", self.name),
            "title": self.title,
            "description": self.description,
            "tags": ["switchyard"],
            "schemaVersion": 39,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "timezone": "",
            "templating": {"list": variables()},
            "annotations": {"list": []},
            "panels": panels,
        })
    }
}

fn variables() -> Value {
    json!([
        {
            "name": "datasource", "label": "Data source", "type": "datasource",
            "query": "prometheus", "refresh": 1, "hide": 0,
        },
        {
            "name": "pool", "label": "Pool", "type": "query",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "query": {"query": "label_values(switchyard_nodes, pool)", "refId": "pool"},
            "definition": "label_values(switchyard_nodes, pool)",
            "multi": true, "includeAll": true, "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
            "refresh": 2, "sort": 1, "hide": 0,
        },
    ])
}

impl Panel {
    fn height(&self) -> u32 {
        if self.kind == Kind::Number { 4 } else { 8 }
    }

    fn json(&self, id: u32, x: u32, y: u32) -> Value {
        let source = json!({"type": "prometheus", "uid": "${datasource}"});
        let targets: Vec<Value> = self
            .shows
            .iter()
            .zip('A'..)
            .map(|((expression, legend), letter)| {
                json!({
                    "refId": letter.to_string(), "datasource": source, "expr": expression,
                    "legendFormat": legend, "instant": self.kind == Kind::Number,
                })
            })
            .collect();
        let (kind, custom, options) = match self.kind {
            Kind::Number => (
                "stat",
                json!({}),
                json!({"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none"}),
            ),
            Kind::Lines => ("timeseries", json!({"fillOpacity": 0}), legend()),
            Kind::Stack => (
                "timeseries",
                json!({"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}),
                legend(),
            ),
        };
        json!({
            "id": id, "type": kind, "title": self.title, "description": self.description,
            "datasource": source,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height()},
            "fieldConfig": {"defaults": {"unit": self.unit, "custom": custom}, "overrides": []},
            "options": options,
            "targets": targets,
        })
    }
}

fn legend() -> Value {
    json!({"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}})
}
