//! Tables for people.

use comfy_table::{CellAlignment, Table, TableStyle};

/// A table whose first columns are words and whose others are numbers.
pub fn of_cells(
    titles: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    words: usize,
    style: TableStyle,
) -> String {
    let mut table = Table::new();
    table.load_style(style).set_header(titles).add_rows(rows);
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}
