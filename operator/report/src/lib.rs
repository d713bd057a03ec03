//! Backtests as one page of HTML: what each policy earned, and how.
//!
//! [`page`] gives a page that opens offline: styles, scripts and figures are in it, and its content security
//! policy lets nothing else in. It has no date and no random names, so the same runs give the same bytes.
//! It is readable on a phone and in the dark, and each chart has its numbers in the table or in words.

mod charts;
mod text;
mod view;

use askama::Template;
use plotly::Plot;
use switchyard_sim::{outcome::Outcome, site::Site, timeline::Timeline};

/// What a page is about.
#[derive(Debug, Clone)]
pub struct Report<'s> {
    /// Its title.
    pub title: String,
    /// The sites, one after the other.
    pub sites: Vec<SiteRuns<'s>>,
}

/// A site, and every policy that ran it.
#[derive(Debug, Clone)]
pub struct SiteRuns<'s> {
    /// The site, for its prices.
    pub site: &'s Site,
    /// What has to be said of it, such as the label of a cell of the grid.
    pub note: Option<String>,
    /// What nobody can beat, USD.
    pub usd_bound: Option<f64>,
    /// The policies in the order of the table. The one named [`OWN`] stands out.
    pub runs: Vec<Run>,
}

/// How a policy ran a site.
#[derive(Debug, Clone)]
pub struct Run {
    /// How it went.
    pub outcome: Outcome,
    /// The same by the hour.
    pub timeline: Timeline,
}

/// The policy that a report is about.
pub const OWN: &str = "switchyard";

/// A page of HTML.
pub fn page(report: &Report<'_>) -> String {
    let page = view::Page::of(report, plotly_js(), figures(report));
    page.render().unwrap_or_else(|error| unreachable!("writing to a string: {error}"))
}

/// All figures by the name of their place in the page, as JSON.
fn figures(report: &Report<'_>) -> String {
    let figure = |(name, plot): (String, Plot)| format!("\"{name}\": {}", plot.to_json());
    let sites = report.sites.iter().enumerate();
    let all = sites.flat_map(|(index, site)| {
        charts::of(site).map(move |(chart, plot)| figure((view::place(index, chart), plot)))
    });
    // Within a script element a name must not be able to end it.
    format!("{{{}}}", all.collect::<Vec<_>>().join(",\n")).replace('<', "\\u003c")
}

/// The script of plotly.js, without that of MathJax, which the crate embeds behind it.
fn plotly_js() -> String {
    let scripts = Plot::offline_js_sources();
    let end = "</script>";
    scripts.find(end).map_or_else(String::new, |at| scripts[..at + end.len()].to_owned())
}
