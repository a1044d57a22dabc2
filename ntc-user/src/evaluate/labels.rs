//! Labelled flows: a CSV file as of the training captures.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

use super::{Level, classes::ClassRules};
use crate::capture::table::EndedFlow;

/// A label file that cannot be used, and why.
#[derive(Debug, Error)]
pub enum LabelError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("{}: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Place and mistake.
        source: csv::Error,
    },
    /// It cannot be judged at this level.
    #[error("{}: line {line}: class level needs nDPI's category, in the column `category`", path.display())]
    NoCategory {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
    },
}

/// Which flow: capture, ends, protocol number and first time stamp in microseconds. Ordered as the training package
/// orders flows, so that equal confidences fall into equal bins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowName {
    capture: String,
    src: Vec<u8>,
    dst: Vec<u8>,
    /// Source port, destination port, protocol number.
    numbers: (u16, u16, u8),
    first_us: u64,
}

impl FlowName {
    /// Of a flow of a capture; `capture` is the file's name.
    pub fn of(capture: &str, flow: &EndedFlow) -> Self {
        let (source, destination) = (flow.id.source(), flow.id.destination());
        Self {
            capture: plain(capture).to_owned(),
            src: octets(source.ip()),
            dst: octets(destination.ip()),
            numbers: (source.port(), destination.port(), flow.id.key.protocol),
            first_us: flow.state.start_ns / 1000,
        }
    }
}

/// A capture may have been packed since it was labelled.
fn plain(capture: &str) -> &str {
    capture.strip_suffix(".zst").or_else(|| capture.strip_suffix(".gz")).unwrap_or(capture)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// What a flow is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Its label at the level that is judged.
    pub label: String,
    /// Where its capture is from: the repository, or else the capture itself.
    pub source: String,
}

#[derive(Debug, Deserialize)]
struct Row {
    capture: String,
    src_ip: IpAddr,
    dst_ip: IpAddr,
    src_port: u16,
    dst_port: u16,
    proto: u8,
    first_ts_us: u64,
    label: String,
    master: Option<String>,
    category: Option<String>,
    rank: Option<u64>,
    repo: Option<String>,
}

/// Reads the labels of flows up to `max_rank`, from a file that is plain or, by its name, zstd.
///
/// # Errors
/// File and line of the first mistake.
pub fn read(path: &Path, level: Level, max_rank: u64) -> Result<HashMap<FlowName, Truth>, LabelError> {
    let failed = |source| LabelError::Read { path: path.into(), source };
    let file = File::open(path).map_err(failed)?;
    let text: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "zst") {
        Box::new(zstd::Decoder::new(file).map_err(failed)?)
    } else {
        Box::new(file)
    };
    let mut truths = HashMap::new();
    let mut reader = csv::Reader::from_reader(text);
    let wrong = |source| LabelError::Line { path: path.into(), source };
    let columns = reader.headers().map_err(wrong)?.clone();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let row: Row = record.deserialize(Some(&columns)).map_err(wrong)?;
        if row.rank.is_some_and(|rank| rank > max_rank) {
            continue;
        }
        let protocol = row.label.split('.').next().unwrap_or_default();
        // Which application asks is in the payload, not in the headers.
        let service = if protocol == "DNS" { protocol } else { &row.label };
        let label = match level {
            Level::Service => service,
            Level::Protocol => protocol,
            Level::Class => {
                let master = row.master.as_deref().unwrap_or(protocol);
                row.category
                    .as_deref()
                    .and_then(|category| ClassRules::shipped().class(master, category))
                    .ok_or_else(|| LabelError::NoCategory {
                        path: path.into(),
                        line: record.position().map_or(0, csv::Position::line),
                    })?
            }
        };
        let truth = Truth {
            label: label.to_owned(),
            source: row.repo.unwrap_or_else(|| plain(&row.capture).to_owned()),
        };
        let name = FlowName {
            capture: plain(&row.capture).to_owned(),
            src: octets(row.src_ip),
            dst: octets(row.dst_ip),
            numbers: (row.src_port, row.dst_port, row.proto),
            first_us: row.first_ts_us,
        };
        truths.insert(name, truth);
    }
    Ok(truths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "capture,src_ip,dst_ip,src_port,dst_port,proto,first_ts_us,label,category,rank,repo";
    const ROWS: &str = "a.pcap,192.0.2.1,192.0.2.2,1,53,17,7,DNS.Google,Network,1,x/y\n\
                        a.pcap,2001:db8::1,2001:0db8:0::2,2,443,6,8,TLS.Netflix,Video,2,x/y\n\
                        a.pcap,192.0.2.1,192.0.2.2,3,443,6,9,TLS,Web,301,x/y\n";

    fn labels(text: &str, name: &str, level: Level) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        let bytes =
            if name.ends_with(".zst") { zstd::encode_all(text.as_bytes(), 3) } else { Ok(text.into()) };
        std::fs::write(&path, bytes.expect("packed")).expect("written");
        let mut found: Vec<_> =
            read(&path, level, 300).map_err(|error| error.to_string())?.into_iter().collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found.into_iter().map(|(_, truth)| truth.label).collect())
    }

    #[test]
    fn labels_are_read_at_each_level() {
        let text = format!("{HEADER}\n{ROWS}");
        for name in ["l.csv", "l.csv.zst"] {
            let at = |level| labels(&text, name, level).expect("labels");
            assert_eq!(at(Level::Service), ["TLS.Netflix", "DNS"]);
            assert_eq!(at(Level::Protocol), ["TLS", "DNS"]);
            assert_eq!(at(Level::Class), ["streaming", "management"]);
        }
    }

    #[test]
    fn mistakes_name_file_and_line() {
        let said = labels(&format!("{HEADER}\n{}", ROWS.replace(",443,", ",x,")), "l.csv", Level::Service);
        let said = said.expect_err("a mistake");
        assert!(said.contains("l.csv") && said.contains("line: 3"), "{said}");
        let bare = "capture,src_ip,dst_ip,src_port,dst_port,proto,first_ts_us,label\n\
                    a.pcap,::1,::2,1,2,6,3,TLS\n";
        assert_eq!(labels(bare, "l.csv", Level::Protocol).expect("enough for that"), ["TLS"]);
        let said = labels(bare, "l.csv", Level::Class).expect_err("no category");
        assert!(said.contains("line 2") && said.contains("category"), "{said}");
    }
}
