//! The port table: what a flow's ports alone say, over all training flows. Flows of which it is wrong or silent are
//! off-port: there a model has to have learned more than ports.

use std::{collections::HashMap, sync::LazyLock};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::Level;

/// Written with its digest by `cargo xtask train port-table`.
const PORT_TABLE_CSV: &str = include_str!("../../../models/port-table.csv");
/// Below it a port counts half a repository more: only a server's owner may bind it.
const SYSTEM_PORTS: u16 = 1024;

/// What is known of a port.
#[derive(Debug, Deserialize)]
struct Row {
    proto: u8,
    port: u16,
    /// By how many repositories it is used, at either end.
    repositories: u32,
    service: String,
    protocol: String,
    class: String,
}

/// (protocol, port) to what it says where it is the server's.
#[derive(Debug, Default)]
pub struct PortTable {
    rows: HashMap<(u8, u16), Row>,
}

impl PortTable {
    /// The table that this binary carries.
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<PortTable> =
            LazyLock::new(|| PortTable::parse(PORT_TABLE_CSV).unwrap_or_default());
        &SHIPPED
    }

    /// SHA-256 of the file, hexadecimal.
    pub fn digest() -> String {
        Sha256::digest(PORT_TABLE_CSV).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn parse(text: &str) -> Result<Self, csv::Error> {
        let mut rows = HashMap::new();
        for row in csv::Reader::from_reader(text.as_bytes()).deserialize() {
            let row: Row = row?;
            rows.insert((row.proto, row.port), row);
        }
        Ok(Self { rows })
    }

    /// What the table says of a flow by the ports of its first packet; `None` where it is silent.
    pub fn label(&self, proto: u8, src_port: u16, dst_port: u16, level: Level) -> Option<&str> {
        // In half repositories. On a tie the smaller port is the server's.
        let votes = |port| {
            let known = self.rows.get(&(proto, port)).map_or(0, |row| 2 * row.repositories);
            known + u32::from(port < SYSTEM_PORTS)
        };
        let (src, dst) = (votes(src_port), votes(dst_port));
        let server = if dst > src || (dst == src && dst_port <= src_port) { dst_port } else { src_port };
        let row = self.rows.get(&(proto, server))?;
        let label = match level {
            Level::Service => &row.service,
            Level::Protocol => &row.protocol,
            Level::Class => &row.class,
        };
        (!label.is_empty()).then_some(label.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntc_common::key::{IPPROTO_TCP, IPPROTO_UDP};

    #[test]
    fn the_shipped_table_is_whole() {
        let table = PortTable::parse(PORT_TABLE_CSV).expect("the shipped file reads");
        assert_eq!(table.label(IPPROTO_UDP, 40_000, 53, Level::Service), Some("DNS"));
        // The capture began with the answer.
        assert_eq!(table.label(IPPROTO_UDP, 53, 40_000, Level::Class), Some("management"));
        let committed = include_str!("../../../models/port-table.csv.sha256");
        assert_eq!(committed.split_whitespace().next(), Some(PortTable::digest().as_str()));
    }

    #[test]
    fn the_server_is_the_end_with_more_behind_it() {
        let table = PortTable::parse(
            "proto,port,repositories,service,protocol,class\n6,2000,3,A.B,A,web\n6,3000,3,C,C,bulk\n6,9,2,D,D,rpc\n6,7,1,,,\n",
        )
        .expect("rows");
        let label = |src, dst| table.label(IPPROTO_TCP, src, dst, Level::Protocol);
        assert_eq!(label(2000, 9), Some("A"), "3 repositories against 2 and a half");
        assert_eq!((label(2000, 3000), label(3000, 2000)), (Some("A"), Some("A")), "a tie");
        assert_eq!((label(7, 60_000), label(60_001, 60_000)), (None, None), "silent");
        assert_eq!(table.label(IPPROTO_UDP, 2000, 3000, Level::Protocol), None);
    }
}
