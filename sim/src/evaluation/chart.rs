//! Plots of the comparisons that one would rather see.

use super::{Finding, Sheet};
use crate::results::html;

/// File names with the plots of a finding, as SVG.
pub fn charts(finding: &Finding) -> Vec<(String, String)> {
    let plotted = finding.sheets.iter().filter(|sheet| !sheet.plotted.is_empty());
    plotted.map(|sheet| (file_name(sheet), draw(sheet))).collect()
}

/// The file of a sheet's plot.
pub(super) fn file_name(sheet: &Sheet) -> String {
    format!("{}.svg", sheet.scenario)
}

fn draw(sheet: &Sheet) -> String {
    let names: Vec<String> = sheet.rows.iter().map(|row| row.case.clone()).collect();
    let curve = |column: &String| {
        let index = sheet.columns.iter().position(|known| known == column)?;
        let median = |row: &super::Row| row.cells[index].map_or(f64::NAN, |cell| cell.median);
        Some((column.clone(), sheet.rows.iter().map(median).collect()))
    };
    html::lines(&sheet.caption, &names, sheet.unit, sheet.plotted.iter().filter_map(curve).collect())
}
