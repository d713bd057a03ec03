//! The charts of a site. Their colours stand on light and on dark; what else depends on that is set by the
//! page itself.

use plotly::{
    Layout, Plot, Scatter,
    common::{Anchor, DashType, Line, LineShape, Marker, MarkerSymbol, Mode, Orientation, Visible},
    layout::{Annotation, Axis, AxisType, HoverMode, Legend, Margin},
};
use switchyard_sim::{series::Series, site::Site, timeline::Hour};

use crate::{OWN, Run, SiteRuns, view::chosen};

/// A chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chart {
    /// USD since the start, by policy.
    Earned,
    /// GPUs by what they do, of one policy at a time.
    Uses,
    /// Power, mining income and HPC price.
    Prices,
    /// How long jobs waited, by policy.
    Waits,
}

impl Chart {
    /// All of them, in the order of the page.
    pub const ALL: [Self; 4] = [Self::Earned, Self::Uses, Self::Prices, Self::Waits];

    /// Its name within a site.
    pub fn name(self) -> &'static str {
        match self {
            Self::Earned => "earned",
            Self::Uses => "uses",
            Self::Prices => "prices",
            Self::Waits => "waits",
        }
    }

    /// Its title for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Earned => "Earned so far",
            Self::Uses => "What the GPUs did",
            Self::Prices => "Prices",
            Self::Waits => "How long jobs waited",
        }
    }

    /// What it shows.
    pub fn caption(self) -> &'static str {
        match self {
            Self::Earned => {
                "USD since the start, power paid. The star at the end is the bound: nobody can earn more. \
                 Choose a policy to see by how much the others are ahead of it."
            }
            Self::Uses => "GPUs by use, averaged over each hour.",
            Self::Prices => "What the nodes paid for power, and what was paid for their work.",
            Self::Waits => {
                "Of the jobs that started, the share that had waited longer than so many minutes. Lower is \
                 better; jobs that gave up are counted as lost in the table."
            }
        }
    }

    /// The height of what is drawn, px.
    pub fn height(self, site: &SiteRuns<'_>) -> usize {
        match self {
            Self::Prices => 150 * prices(site.site).len() + 40,
            Self::Earned | Self::Uses | Self::Waits => 330,
        }
    }

    /// How many entries its legend has, which need room of their own.
    pub fn legend(self, site: &SiteRuns<'_>) -> usize {
        match self {
            Self::Earned | Self::Waits => site.runs.len() + 1,
            Self::Uses => USES.len(),
            Self::Prices => 0,
        }
    }

    fn plot(self, site: &SiteRuns<'_>) -> Plot {
        match self {
            Self::Earned => earned(site),
            Self::Uses => uses(site),
            Self::Prices => price_rows(site.site),
            Self::Waits => waits(site),
        }
    }
}

/// The charts of a site.
pub fn of(site: &SiteRuns<'_>) -> impl Iterator<Item = (Chart, Plot)> {
    Chart::ALL.into_iter().map(|chart| (chart, chart.plot(site)))
}

/// Policies that are compared with ours.
const OTHERS: [&str; 10] = [
    "#4e91c9", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#d4a72c", "#9c755f", "#ff7f9f",
    "#8a8f98", "#7b83eb",
];
/// Our own, which stands out.
const ACCENT: &str = "#e5484d";
/// More points than a screen has are averaged.
const POINTS_MAX: usize = 3000;
/// Rows of prices.
const ROWS_MAX: usize = 6;
const HOUR_MS: f64 = 3_600_000.0;

/// The colour and the line of a policy.
fn stroke(index: usize, policy: &str) -> Line {
    let dashes = [DashType::Solid, DashType::Dot, DashType::Dash];
    let dash = dashes[(index / OTHERS.len()).min(2)].clone();
    match policy {
        OWN => Line::new().color(ACCENT).width(3.0),
        _ => Line::new().color(OTHERS[index % OTHERS.len()]).width(1.5).dash(dash),
    }
}

/// The hours, so many of them taken together that they fit on a screen; and how many that is.
fn thinned(hours: &[Hour]) -> (usize, impl Iterator<Item = &[Hour]>) {
    let stride = hours.len().div_ceil(POINTS_MAX).max(1);
    (stride, hours.chunks(stride))
}

fn start(site: &Site) -> String {
    site.start.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn rounded(number: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (number * factor).round() / factor
}

fn layout() -> Layout {
    Layout::new()
        .hover_mode(HoverMode::XUnified)
        .margin(Margin::new().left(54).right(14).top(12).bottom(36))
        .legend(
            Legend::new()
                .orientation(Orientation::Horizontal)
                .x(0.0)
                .y(-0.12)
                .y_anchor(Anchor::Top),
        )
}

fn dates() -> Axis {
    Axis::new().type_(AxisType::Date).auto_margin(true)
}

fn plot(layout: Layout) -> Plot {
    let mut plot = Plot::new();
    plot.set_layout(layout);
    plot
}

fn earned(site: &SiteRuns<'_>) -> Plot {
    let usd = Axis::new().tick_format("~s").zero_line(true);
    let mut plot = plot(layout().x_axis(dates()).y_axis(usd));
    for (index, run) in site.runs.iter().enumerate() {
        let (stride, hours) = thinned(&run.timeline.hours);
        let ends = hours.filter_map(|hours| hours.last()).map(|hour| rounded(hour.usd, 1));
        let trace = Scatter::<f64, f64>::default()
            .x0(start(site.site))
            .dx(stride as f64 * HOUR_MS)
            .y(std::iter::once(0.0).chain(ends).collect())
            .mode(Mode::Lines)
            .name(&run.outcome.policy)
            .line(stroke(index, &run.outcome.policy))
            .hover_template("%{y:,.0f} USD");
        plot.add_trace(trace);
    }
    if let Some(bound) = site.usd_bound {
        let end = site.site.start + jiff::SignedDuration::from_secs_f64(site.site.length);
        let star = Marker::new().symbol(MarkerSymbol::Star).size(12).color("#d4a72c");
        let trace = Scatter::new(vec![end.strftime("%Y-%m-%d %H:%M:%S").to_string()], vec![bound])
            .mode(Mode::Markers)
            .name("bound")
            .marker(star)
            .hover_template("%{y:,.0f} USD");
        plot.add_trace(trace);
    }
    plot
}

/// A use: its name, its colour, and how many GPUs have it.
type Use = (&'static str, &'static str, fn(&Hour) -> f64);

const USES: [Use; 5] = [
    ("HPC, busy", "#4e91c9", |hour| hour.gpus.busy),
    ("HPC, free", "#a8d1f0", |hour| hour.gpus.free),
    ("Mining", "#f2a33c", |hour| hour.gpus.mining),
    ("on its way", "#e5484d", |hour| hour.gpus.transit),
    ("Idle", "#8a8f98", |hour| hour.gpus.idle),
];

fn uses(site: &SiteRuns<'_>) -> Plot {
    let mut plot = plot(layout().x_axis(dates()).y_axis(Axis::new().tick_format(",d")));
    let shown = chosen(site).map(|run| &run.outcome.policy);
    for run in &site.runs {
        let visible = shown == Some(&run.outcome.policy);
        for (name, colour, gpus) in USES {
            let (stride, hours) = thinned(&run.timeline.hours);
            let mean = |hours: &[Hour]| hours.iter().map(gpus).sum::<f64>() / hours.len() as f64;
            let trace = Scatter::<f64, f64>::default()
                .x0(start(site.site))
                .dx(stride as f64 * HOUR_MS)
                .y(hours.map(|hours| rounded(mean(hours), 1)).collect())
                .mode(Mode::Lines)
                .stack_group(&run.outcome.policy)
                .meta(run.outcome.policy.as_str())
                .name(name)
                .line(Line::new().color(colour).width(0.5).shape(LineShape::Hv))
                .fill_color(colour)
                .visible(if visible { Visible::True } else { Visible::False })
                .hover_template("%{y:,.1f}");
            plot.add_trace(trace);
        }
    }
    plot
}

/// A price: what it is called, its unit and how many of it are one of the site's, and its values.
struct Price<'s> {
    name: String,
    colour: &'static str,
    factor: f64,
    series: &'s Series,
}

/// Hash rates in which a price is neither tiny nor huge.
const RATES: [(&str, f64); 3] = [("MH/s", 1e6), ("GH/s", 1e9), ("TH/s", 1e12)];

fn prices(site: &Site) -> Vec<Price<'_>> {
    let power = Price {
        name: "Power, USD per kWh".to_owned(),
        colour: "#d4a72c",
        factor: 1.0,
        series: &site.power,
    };
    let mining = site.profiles.iter().map(|profile| {
        let most = profile.income.points().iter().map(|(_, value)| *value).fold(0.0, f64::max);
        let fitting = RATES.iter().find(|(_, factor)| most * factor >= 1e-3);
        let (unit, factor) = fitting.unwrap_or(&RATES[2]);
        Price {
            name: format!("Mining {}, USD per {unit} and day", profile.name.name),
            colour: "#f28e2b",
            factor: *factor,
            series: &profile.income,
        }
    });
    let hpc = Price {
        name: "HPC, USD per GPU-hour".to_owned(),
        colour: "#4e91c9",
        factor: 1.0,
        series: &site.hpc,
    };
    [power, hpc].into_iter().chain(mining).take(ROWS_MAX).collect()
}

/// One row for each price, because none has the unit of another.
fn price_rows(site: &Site) -> Plot {
    let prices = prices(site);
    let count = prices.len() as f64;
    let hours = (site.length / 3600.0).ceil().max(1.0);
    let stride = (hours / POINTS_MAX as f64).ceil();
    let times: Vec<f64> = (0..POINTS_MAX)
        .map(|index| index as f64 * stride * 3600.0)
        .take_while(|time| *time < site.length)
        .collect();
    let mut rows = layout().show_legend(false);
    let mut notes = Vec::new();
    let mut traces = Vec::new();
    for (row, price) in prices.iter().enumerate() {
        let top = 1.0 - row as f64 / count - 0.25 / (count * count);
        let bottom = 1.0 - (row as f64 + 1.0) / count + 0.06 / count;
        rows = with_row(rows, row, Axis::new().domain(&[bottom, top]).n_ticks(4));
        notes.push(
            Annotation::new()
                .text(&price.name)
                .x_ref("paper")
                .y_ref("paper")
                .x(0.0)
                .y(top)
                .x_anchor(Anchor::Left)
                .y_anchor(Anchor::Bottom)
                .show_arrow(false),
        );
        let values = times.iter().map(|time| five_digits(price.series.at(*time) * price.factor));
        let trace = Scatter::<f64, f64>::default()
            .x0(start(site))
            .dx(stride * HOUR_MS)
            .y(values.collect())
            .y_axis(format!("y{}", row + 1))
            .mode(Mode::Lines)
            .name(&price.name)
            .line(Line::new().color(price.colour).width(1.5).shape(LineShape::Hv))
            .hover_template("%{y:.4~g}");
        traces.push(trace);
    }
    let lowest = format!("y{}", prices.len());
    let mut plot = plot(rows.annotations(notes).x_axis(dates().anchor(lowest)));
    for trace in traces {
        plot.add_trace(trace);
    }
    plot
}

fn with_row(layout: Layout, row: usize, axis: Axis) -> Layout {
    match row {
        0 => layout.y_axis(axis),
        1 => layout.y_axis2(axis),
        2 => layout.y_axis3(axis),
        3 => layout.y_axis4(axis),
        4 => layout.y_axis5(axis),
        _ => layout.y_axis6(axis),
    }
}

/// A price keeps what can be seen of it.
fn five_digits(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() {
        return 0.0;
    }
    #[allow(clippy::cast_possible_truncation)] // within -308 and 308
    let digits = 4 - number.abs().log10().floor() as i32;
    rounded(number, digits)
}

fn waits(site: &SiteRuns<'_>) -> Plot {
    let percent = Axis::new()
        .type_(AxisType::Log)
        .range(vec![-1.3, 2.05])
        .tick_values(vec![0.1, 1.0, 10.0, 100.0])
        .tick_text(["0.1 %", "1 %", "10 %", "100 %"].map(String::from).into());
    let minutes = Axis::new().tick_suffix(" min").range_mode(plotly::layout::RangeMode::ToZero);
    let mut plot = plot(layout().x_axis(minutes).y_axis(percent));
    let most = (site.site.model.patience / 60.0).clamp(1.0, 1e6);
    let minutes: Vec<f64> =
        (0..=120).map(|step| rounded(most * f64::from(step) / 120.0, 2)).collect();
    for (index, run) in
        site.runs.iter().enumerate().filter(|(_, run)| !run.outcome.waits.is_empty())
    {
        let trace = Scatter::new(minutes.clone(), longer(run, &minutes))
            .mode(Mode::Lines)
            .name(&run.outcome.policy)
            .line(stroke(index, &run.outcome.policy))
            .hover_template("%{y:.2~f}");
        plot.add_trace(trace);
    }
    plot
}

/// Of the jobs that started, the share that waited longer than so many minutes, percent; none: none did.
fn longer(run: &Run, minutes: &[f64]) -> Vec<Option<f64>> {
    let waits = &run.outcome.waits;
    let share = |minutes: &f64| {
        let longer = waits.len() - waits.partition_point(|wait| *wait <= minutes * 60.0);
        let percent = 100.0 * longer as f64 / waits.len() as f64;
        (longer > 0).then(|| rounded(percent, 3))
    };
    minutes.iter().map(share).collect()
}
