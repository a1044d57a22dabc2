//! `ntc policy nft`: the mark in the connection's own mark, where nft, `ctinfo` and offloaded flows find it.

use std::{collections::BTreeSet, fmt::Write as _};

use super::Policy;

impl Policy {
    /// A ruleset for `nft --file`: the mark of packets that go out is saved to their connection, and packets that come
    /// back without one get it from there. A rule a mark: nft before 1.1.1 cannot put together two marks, and the bits
    /// that are not ntc's have to stay.
    pub fn nft(&self) -> String {
        let mask = self.table.mark_mask;
        let rest = !mask;
        let classes = self.table.classes.iter().zip(&self.table.names).filter(|(_, name)| name[0] != 0);
        let marks: BTreeSet<u32> =
            classes.map(|(action, _)| action.mark & mask).filter(|mark| *mark != 0).collect();
        // A first, empty table, so that the one before, if there is one, can be taken away.
        let mut text = String::from("table inet ntc\ndelete table inet ntc\ntable inet ntc {\n");
        // Writing to a string does not fail.
        let _ = writeln!(text, "\tchain save {{\n\t\ttype filter hook postrouting priority mangle;");
        for mark in &marks {
            let _ = writeln!(
                text,
                "\t\tmeta mark & {mask:#010x} == {mark:#010x} ct mark set ct mark & {rest:#010x} | {mark:#010x}"
            );
        }
        let _ = writeln!(text, "\t}}\n\tchain give {{\n\t\ttype filter hook prerouting priority mangle;");
        let _ = writeln!(text, "\t\tmeta mark & {mask:#010x} != 0 return");
        for mark in &marks {
            let _ = writeln!(
                text,
                "\t\tct mark & {mask:#010x} == {mark:#010x} meta mark set meta mark & {rest:#010x} | {mark:#010x}"
            );
        }
        text + "\t}\n}\n"
    }
}
