//! A benchmark's rows as a table and as JSON.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::rounds::Spread;

/// What one benchmark found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its name on the command line.
    pub bench: &'static str,
    /// What the spread of each row counts.
    pub unit: &'static str,
    /// The rows.
    pub rows: Vec<Row>,
    /// What has to be known beside the rows: what was left out, and why.
    pub notes: Vec<String>,
}

/// A row: what was measured, and figures that follow from it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Over the rounds.
    #[serde(flatten)]
    pub spread: Spread,
    /// Further columns.
    #[serde(serialize_with = "as_map")]
    pub figures: Vec<(&'static str, f64)>,
}

fn as_map<S: Serializer>(figures: &[(&'static str, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(figures.len()))?;
    for (name, value) in figures {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

impl Row {
    /// A row without further columns.
    pub fn new(name: impl Into<String>, spread: Spread) -> Self {
        Self { name: name.into(), spread, figures: Vec::new() }
    }

    /// Adds a column.
    #[must_use]
    pub fn with(mut self, column: &'static str, value: f64) -> Self {
        self.figures.push((column, value));
        self
    }
}

impl Report {
    /// No row yet.
    pub const fn new(bench: &'static str, unit: &'static str) -> Self {
        Self { bench, unit, rows: Vec::new(), notes: Vec::new() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut columns: Vec<&str> = Vec::new();
        for (column, _) in self.rows.iter().flat_map(|row| &row.figures) {
            if !columns.contains(column) {
                columns.push(column);
            }
        }
        writeln!(out, "\n## {} ({})\n", self.bench, self.unit)?;
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        write!(out, "| {:<width$} | {:>10} | {:>10} | {:>10} |", "", "median", "lowest", "highest")?;
        for column in &columns {
            write!(out, " {:>WIDTH$} |", column, WIDTH = column.len().max(8))?;
        }
        write!(out, "\n| {:-<width$} | {:->9}: | {:->9}: | {:->9}: |", "", "", "", "")?;
        for column in &columns {
            write!(out, " {:->WIDTH$}: |", "", WIDTH = column.len().max(8) - 1)?;
        }
        writeln!(out)?;
        for row in &self.rows {
            let Spread { median, lowest, highest } = row.spread;
            write!(out, "| {:<width$} |", row.name)?;
            for value in [median, lowest, highest] {
                write!(out, " {:>10} |", number(value))?;
            }
            for column in &columns {
                let value = row.figures.iter().find(|(name, _)| name == column);
                let text = value.map_or_else(|| "-".to_owned(), |(_, value)| number(*value));
                write!(out, " {text:>WIDTH$} |", WIDTH = column.len().max(8))?;
            }
            writeln!(out)?;
        }
        for note in &self.notes {
            writeln!(out, "\n{note}")?;
        }
        Ok(())
    }
}

/// Three figures or more, whatever the size.
fn number(value: f64) -> String {
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_column_once() {
        let spread = Spread { median: 1234.4, lowest: 99.96, highest: 5.0 };
        let mut report = Report::new("x", "ns");
        report.rows =
            vec![Row::new("a", spread).with("ratio", 1.25), Row::new("b", spread).with("more", 2.0)];
        report.notes.push("left out: c".to_owned());
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(lines.len(), 4);
        assert!(
            lines.iter().all(|line| line.len() == lines[0].len() && line.matches('|').count() == 7),
            "{text}"
        );
        assert!(
            lines[2].contains("1234") && lines[2].contains("100.0") && lines[2].contains("1.25"),
            "{text}"
        );
        assert!(text.ends_with("left out: c\n"));
    }
}
