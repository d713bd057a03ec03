//! What the template shows.

use askama::Template;

use crate::{
    OWN, Report, Run, SiteRuns,
    charts::Chart,
    text::{duration, grouped, signed, tenths},
};

/// The page.
#[derive(Template)]
#[template(path = "page.html")]
pub struct Page {
    title: String,
    sites: Vec<SiteView>,
    plotly: String,
    figures: String,
}

/// A site's part of it.
struct SiteView {
    id: String,
    name: String,
    facts: String,
    note: Option<String>,
    tiles: Vec<Tile>,
    rows: Vec<Row>,
    charts: Vec<Place>,
}

/// A number that stands out.
struct Tile {
    value: String,
    label: String,
}

/// A policy's row of the table.
struct Row {
    policy: String,
    own: bool,
    usd: String,
    /// Percent of the bound, for people and for a bar.
    of_bound: Option<(String, f64)>,
    mining: String,
    hpc: String,
    power: String,
    shifts_per_day: String,
    done: String,
    lost: String,
    wait: String,
    idle: String,
    mwh: String,
}

/// Where a chart goes.
struct Place {
    id: String,
    title: &'static str,
    caption: &'static str,
    height: usize,
    legend: usize,
    choice: Option<Choice>,
}

/// A policy can be chosen for a chart.
struct Choice {
    label: &'static str,
    /// What the page does with it.
    role: &'static str,
    policies: Vec<String>,
    chosen: Option<String>,
    /// What may be chosen instead of a policy.
    none: Option<&'static str>,
}

/// The name of a chart's place in the page.
pub fn place(site: usize, chart: Chart) -> String {
    format!("site-{site}-{}", chart.name())
}

impl Page {
    /// The page of a report.
    pub fn of(report: &Report<'_>, plotly: String, figures: String) -> Self {
        let sites = report.sites.iter().enumerate();
        Self {
            title: report.title.clone(),
            sites: sites.map(|(index, site)| SiteView::of(index, site)).collect(),
            plotly,
            figures,
        }
    }
}

impl SiteView {
    fn of(index: usize, site: &SiteRuns<'_>) -> Self {
        let facts = site.site;
        let gpus: u32 = facts.nodes.iter().map(|node| facts.classes[node.class].gpus).sum();
        Self {
            id: format!("site-{index}"),
            name: facts.name.clone(),
            facts: format!(
                "{} nodes, {} GPUs, {:.0} days from {}, placement {}",
                grouped(facts.nodes.len() as f64),
                grouped(f64::from(gpus)),
                facts.length / 86_400.0,
                facts.start.strftime("%Y-%m-%d"),
                facts.model.placement,
            ),
            note: site.note.clone(),
            tiles: tiles(site),
            rows: site.runs.iter().map(|run| Row::of(run, site.usd_bound)).collect(),
            charts: Chart::ALL.map(|chart| Place::of(index, chart, site)).into(),
        }
    }
}

/// The policy that is shown first: our own, or else the one that earned most.
pub fn chosen<'r>(site: &'r SiteRuns<'_>) -> Option<&'r Run> {
    let best = |one: &&Run, other: &&Run| one.outcome.usd_net.total_cmp(&other.outcome.usd_net);
    let own = site.runs.iter().find(|run| run.outcome.policy == OWN);
    own.or_else(|| site.runs.iter().max_by(best))
}

fn tiles(site: &SiteRuns<'_>) -> Vec<Tile> {
    let Some(run) = chosen(site) else { return Vec::new() };
    let outcome = &run.outcome;
    let tile = |value: String, label: String| Tile { value, label };
    let earned = format!("USD, by {}", outcome.policy);
    let mut tiles = vec![tile(grouped(outcome.usd_net), earned)];
    if let Some(share) = share(outcome.usd_net, site.usd_bound) {
        let label = "of what perfect foresight could earn at most";
        tiles.push(tile(format!("{} %", tenths(share)), label.to_owned()));
    }
    if let Some(mining) = site.runs.iter().find(|run| run.outcome.policy == "always-mining") {
        let more = outcome.usd_net - mining.outcome.usd_net;
        tiles.push(tile(signed(more), "USD over always mining".to_owned()));
    }
    let jobs = outcome.done + outcome.lost;
    if jobs > 0 {
        let served = 100.0 * outcome.done as f64 / jobs as f64;
        let label = format!("of {} finished jobs served", grouped(jobs as f64));
        tiles.push(tile(format!("{} %", tenths(served)), label));
    }
    tiles
}

/// Percent of the bound.
fn share(usd: f64, bound: Option<f64>) -> Option<f64> {
    bound.filter(|bound| *bound > 0.0).map(|bound| 100.0 * usd / bound)
}

impl Row {
    fn of(run: &Run, bound: Option<f64>) -> Self {
        let outcome = &run.outcome;
        let money = &outcome.money;
        let power = money.mining_power + money.hpc_power + money.idle_power + money.transit_power;
        Self {
            policy: outcome.policy.clone(),
            own: outcome.policy == OWN,
            usd: grouped(outcome.usd_net),
            of_bound: share(outcome.usd_net, bound)
                .map(|share| (tenths(share), share.clamp(0.0, 100.0))),
            mining: grouped(money.mining_income),
            hpc: grouped(money.hpc_income),
            power: grouped(power),
            shifts_per_day: tenths(outcome.shifts_per_day()),
            done: grouped(outcome.done as f64),
            lost: grouped(outcome.lost as f64),
            wait: duration(outcome.wait_p95_s),
            idle: grouped(outcome.idle_hpc_gpu_hours),
            mwh: tenths(outcome.kwh / 1000.0),
        }
    }
}

impl Place {
    fn of(index: usize, chart: Chart, site: &SiteRuns<'_>) -> Self {
        Self {
            id: place(index, chart),
            title: chart.title(),
            caption: chart.caption(),
            height: chart.height(site),
            legend: chart.legend(site),
            choice: Choice::of(chart, site),
        }
    }
}

impl Choice {
    fn of(chart: Chart, site: &SiteRuns<'_>) -> Option<Self> {
        let policies = site.runs.iter().map(|run| run.outcome.policy.clone()).collect();
        match chart {
            Chart::Earned => Some(Self {
                label: "compared with",
                role: "baseline",
                policies,
                chosen: None,
                none: Some("nothing"),
            }),
            Chart::Uses => Some(Self {
                label: "under",
                role: "policy",
                policies,
                chosen: chosen(site).map(|run| run.outcome.policy.clone()),
                none: None,
            }),
            Chart::Prices | Chart::Waits => None,
        }
    }

    fn is_chosen(&self, policy: &str) -> bool {
        self.chosen.as_deref() == Some(policy)
    }
}
