//! Rows as a table, JSON lines or CSV.

use std::io::{self, Write};

use clap::ValueEnum;

use super::Row;

/// Formats of `ntc classify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// JSON, one flow a line.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// Parquet, with sequences.
    Parquet,
}

/// Writes rows one by one.
pub enum TextWriter<W: Write> {
    /// For people.
    Table(W),
    /// One flow a line, put together first: a row is dozens of pieces.
    Json(W, Vec<u8>),
    /// With a header.
    Csv(Box<csv::Writer<W>>),
}

const CSV_HEADER: [&str; 20] = [
    "capture",
    "src_ip",
    "dst_ip",
    "src_port",
    "dst_port",
    "proto",
    "ip_version",
    "vlan",
    "first_ts_ns",
    "last_ts_ns",
    "packets",
    "bytes",
    "end",
    "seq_len",
    "service",
    "protocol",
    "class",
    "confidence",
    "stage",
    "model",
];

impl<W: Write> TextWriter<W> {
    /// Begins the output, with a header where the format has one.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn new(format: Format, mut out: W) -> io::Result<Self> {
        Ok(match format {
            Format::Json => Self::Json(out, Vec::new()),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(CSV_HEADER)?;
                Self::Csv(Box::new(writer))
            }
            Format::Table | Format::Parquet => {
                writeln!(
                    out,
                    "{:<5} {:<43} {:<43} {:>7} {:>10} {:<20} {:<12} {:>5}",
                    "PROTO", "SOURCE", "DESTINATION", "PACKETS", "BYTES", "SERVICE", "CLASS", "CONF"
                )?;
                Self::Table(out)
            }
        })
    }

    /// Writes a row.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        match self {
            Self::Json(out, line) => {
                line.clear();
                serde_json::to_writer(&mut *line, row)?;
                line.push(b'\n');
                out.write_all(line)
            }
            Self::Csv(writer) => {
                let (source, destination) = (row.id.source(), row.id.destination());
                let label = row.label.as_ref();
                let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
                writer.write_record([
                    row.capture.to_owned(),
                    source.ip().to_string(),
                    destination.ip().to_string(),
                    source.port().to_string(),
                    destination.port().to_string(),
                    row.id.protocol().to_owned(),
                    row.id.key.ip_version.to_string(),
                    row.vlan.map(|vlan| vlan.to_string()).unwrap_or_default(),
                    row.first_ts_ns.to_string(),
                    row.last_ts_ns.to_string(),
                    row.packets.to_string(),
                    row.bytes.to_string(),
                    row.end.to_owned(),
                    row.seq_len.to_string(),
                    text(label.map(|label| label.service)),
                    text(label.map(|label| label.protocol)),
                    text(label.map(|label| label.class)),
                    label.map(|label| label.confidence.to_string()).unwrap_or_default(),
                    text(label.map(|label| label.stage)),
                    text(label.map(|label| label.model)),
                ])?;
                Ok(())
            }
            Self::Table(out) => {
                let (service, class, confidence) =
                    row.label.map_or(("-", "-", 0.0), |label| (label.service, label.class, label.confidence));
                writeln!(
                    out,
                    "{:<5} {:<43} {:<43} {:>7} {:>10} {:<20} {:<12} {:>5.2}",
                    row.id.protocol(),
                    row.id.source().to_string(),
                    row.id.destination().to_string(),
                    row.packets,
                    row.bytes,
                    service,
                    class,
                    confidence
                )
            }
        }
    }

    /// Writes what is still held back.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Json(out, _) | Self::Table(out) => out.flush(),
            Self::Csv(writer) => writer.flush(),
        }
    }
}
