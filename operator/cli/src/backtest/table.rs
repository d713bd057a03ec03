//! The comparison for people.

use comfy_table::TableStyle;
use switchyard_sim::backtest::{Row, Summary};

use crate::table::of_cells;

/// A column: its title, and what stands in it.
type Column = (&'static str, fn(&Row) -> String);

const COLUMNS: [Column; 14] = [
    ("Site", |row| row.site.clone()),
    ("Placement", |row| row.placement.clone()),
    ("Policy", |row| row.policy.clone()),
    ("USD net", |row| thousands(row.usd_net)),
    ("Of bound", |row| percent(Some(row.of_bound))),
    ("Gap over static", |row| percent(row.gap_over_static)),
    ("Open to prompt", |row| percent(row.gap_open_to_prompt)),
    ("Of ceiling", |row| percent(row.of_causal_ceiling)),
    ("Regret USD/node-day", |row| format!("{:.2}", row.regret_usd_per_node_day)),
    ("Shifts/day", |row| format!("{:.1}", row.shifts_per_day)),
    ("Jobs done", |row| row.jobs_done.to_string()),
    ("Lost", |row| row.jobs_lost.to_string()),
    ("Wait p95", |row| duration(row.wait_p95_s)),
    ("Idle GPU-h", |row| thousands(row.idle_hpc_gpu_hours)),
];

/// Summaries as a table of a preset style.
pub fn of_summaries(summaries: &[Summary], style: TableStyle) -> String {
    let titles = [
        "Policy",
        "Hard cells",
        "Of bound",
        "Gap over static",
        "Open to prompt",
        "Of ceiling",
        "Worst of ceiling",
        "Worst of static",
        "Shifts/day",
    ];
    let rows = summaries.iter().map(|summary| {
        vec![
            summary.policy.clone(),
            summary.sites.to_string(),
            percent(Some(summary.of_bound)),
            percent(Some(summary.gap_over_static)),
            percent(Some(summary.gap_open_to_prompt)),
            percent(Some(summary.of_causal_ceiling)),
            percent(Some(summary.worst_of_causal_ceiling)),
            percent(Some(summary.worst_of_static)),
            format!("{:.1}", summary.shifts_per_day),
        ]
    });
    of_cells(&titles, rows, 1, style)
}

/// Where the money came from and went to.
const SOURCES: [Column; 10] = [
    ("Site", |row| row.site.clone()),
    ("Placement", |row| row.placement.clone()),
    ("Policy", |row| row.policy.clone()),
    ("Mining income", |row| thousands(row.usd_by_source.mining_income)),
    ("Mining power", |row| thousands(row.usd_by_source.mining_power)),
    ("HPC income", |row| thousands(row.usd_by_source.hpc_income)),
    ("HPC power", |row| thousands(row.usd_by_source.hpc_power)),
    ("Idle power", |row| thousands(row.usd_by_source.idle_power)),
    ("Transit power", |row| thousands(row.usd_by_source.transit_power)),
    ("MWh", |row| thousands(row.kwh / 1000.0)),
];

/// How each policy did, as a table of a style.
pub fn of_rows(rows: &[Row], style: TableStyle) -> String {
    of_columns(&COLUMNS, rows, style)
}

/// USD by source, as a table of a style.
pub fn of_sources(rows: &[Row], style: TableStyle) -> String {
    of_columns(&SOURCES, rows, style)
}

fn of_columns(columns: &[Column], rows: &[Row], style: TableStyle) -> String {
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    let rows = rows.iter().map(|row| columns.iter().map(|(_, text)| text(row)).collect());
    of_cells(&titles, rows, 3, style)
}

/// A share as a percentage.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// A whole number with its thousands apart.
pub fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number <= -0.5 { format!("-{text}") } else { text }
}

/// Seconds, as people say them.
pub fn duration(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}
