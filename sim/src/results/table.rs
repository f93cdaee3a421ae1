//! Tables of text, for the terminal and for the page.

use std::fmt;

use unicode_width::UnicodeWidthStr;

/// On which side the text of a column begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells beneath a row of headings. [`fmt::Display`] aligns the columns with spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Headings.
    pub columns: Vec<(String, Align)>,
    /// Rows, each with one cell per column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self { columns: columns.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect(), rows: Vec::new() }
    }

    /// Appends a row. Missing cells are empty, surplus ones are left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<_> = cells.into_iter().take(self.columns.len()).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Leaves out the columns that are empty in all rows.
    #[must_use]
    pub fn without_empty_columns(mut self) -> Self {
        let used: Vec<bool> =
            (0..self.columns.len()).map(|column| self.rows.iter().any(|row| !row[column].is_empty())).collect();
        let keep = |column: usize| used[column] || self.rows.is_empty();
        self.columns =
            self.columns.into_iter().enumerate().filter(|(column, _)| keep(*column)).map(|(_, c)| c).collect();
        let filter = |row: Vec<String>| row.into_iter().zip(&used).filter(|(_, used)| **used).map(|(cell, _)| cell);
        self.rows = self.rows.into_iter().map(|row| filter(row).collect()).collect();
        self
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let cells = rows.iter().map(|row| row[column].width());
                cells.chain([self.columns[column].0.width()]).max().unwrap_or(0)
            })
            .collect();
        let headings: Vec<String> = self.columns.iter().map(|(name, _)| printable(name)).collect();
        for row in std::iter::once(&headings).chain(&rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let padding = " ".repeat(widths[column].saturating_sub(cell.width()));
                let gap = if column == 0 { "" } else { "  " };
                match self.columns[column].1 {
                    Align::Left => line.extend([gap, cell, &padding]),
                    Align::Right => line.extend([gap, &padding, cell]),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Names come from files: control characters must not reach the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_whatever_the_script() {
        let mut table = Table::new(&[("path", Align::Left), ("rate", Align::Right), ("note", Align::Left)]);
        table.row(["p1".into(), "9".into()]);
        table.row(["路径".into(), "1 234".into(), "x".into()]);
        table.row(["µ\u{1b}".into(), "5".into()]);
        assert_eq!(table.to_string(), "path   rate  note\np1        9\n路径  1 234  x\nµ\u{fffd}        5\n");
    }

    #[test]
    fn empty_columns_can_be_left_out() {
        let mut table = Table::new(&[("a", Align::Left), ("b", Align::Left), ("c", Align::Right)]);
        table.row(["1".into(), String::new(), "3".into()]);
        assert_eq!(table.clone().without_empty_columns().to_string(), "a  c\n1  3\n");
        table.row([String::new(), "2".into()]);
        assert_eq!(table.without_empty_columns().columns.len(), 3);
    }
}
