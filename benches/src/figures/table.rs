//! Tables in Markdown, with columns of even width, so they are also readable in a terminal.

use std::fmt;

/// Whether the figures of a table may be quoted as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// System calls, instructions, bytes.
    Counts,
    /// Quotients of interleaved runs.
    Ratios,
}

/// The note below a table with absolute times.
pub(crate) const ABSOLUTE_TIMES: &str = "Absolute times are given for context only; they are not results.";

/// A table with its heading.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    kind: Kind,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// Returns an empty table with these column heads.
    pub(crate) fn new(title: impl Into<String>, kind: Kind, head: &[&str]) -> Self {
        let head = head.iter().map(|&cell| cell.into()).collect();
        Self { title: title.into(), kind, rows: vec![head], notes: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Adds a note below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Returns the width of the widest cell of each column, in characters.
    fn widths(&self) -> Vec<usize> {
        let columns = 0..self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        columns.map(width).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Counts => "The figures are counts.",
            Kind::Ratios => "The figures are ratios from interleaved runs: median [quartiles].",
        };
        writeln!(f, "## {}\n\n{kind}\n", self.title)?;
        let widths = self.widths();
        for (number, row) in self.rows.iter().enumerate() {
            for (cell, &width) in row.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                widths.iter().try_for_each(|width| write!(f, "|{}", "-".repeat(width + 2)))?;
                writeln!(f, "|")?;
            }
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n{note}\n"))
    }
}

/// Returns the word for a goal in a table.
pub(crate) fn verdict(reached: bool) -> String {
    if reached { "reached" } else { "missed" }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new("T", Kind::Counts, &["a", "bb"]);
        table.row(vec!["ccc".into(), "–".into()]);
        table.note("N.");
        let text = "## T\n\nThe figures are counts.\n\n| a   | bb |\n|-----|----|\n| ccc | –  |\n\nN.\n";
        assert_eq!(table.to_string(), text);
    }
}
