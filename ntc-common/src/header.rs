//! The C header for other people's tc programs, written from the shared structs themselves.

use core::fmt::{self, Write};

use crate::{
    ABI_VERSION,
    key::FlowKey,
    label::{Heartbeat, Label},
    limits::{MAX_CLASSES, MAX_SERVICES},
    policy::{CLASS_NAMES, MARK_MASK_DEFAULT},
};

/// A field of a shared struct, as written in Rust.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its Rust type.
    pub rust_type: &'static str,
}

/// The fields of a shared struct, in order and without padding.
pub trait Layout {
    /// The struct's Rust name.
    const NAME: &'static str;
    /// Its fields.
    const FIELDS: &'static [Field];
}

/// Writes the header (`docs/ntc.h`).
///
/// # Errors
/// Those of the writer.
pub fn write_c_header(out: &mut impl Write) -> fmt::Result {
    writeln!(
        out,
        "/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */\n\
         /* ntc, ABI version {ABI_VERSION}. Written from ntc-common by `cargo test -p ntc-common`; do not edit.\n \
         *\n \
         * Pinned maps, under /sys/fs/bpf/ntc/v{ABI_VERSION}/:\n \
         *   LABELS     hash       struct ntc_flow_key -> struct ntc_label\n \
         *   HEARTBEAT  array [1]  struct ntc_heartbeat: use labels only while bpf_jiffies64() < deadline\n \
         *\n \
         * The key is the same for both directions: the end with the smaller (address, port), compared as\n \
         * numbers in network byte order, is `lower`. IPv4 addresses are IPv4-mapped (::ffff:a.b.c.d).\n \
         */\n\
         #ifndef NTC_H\n#define NTC_H\n\n#include <linux/types.h>\n\n\
         #define NTC_ABI_VERSION {ABI_VERSION}\n\
         #define NTC_MAX_SERVICES {MAX_SERVICES}\n\
         #define NTC_MARK_MASK_DEFAULT 0x{MARK_MASK_DEFAULT:08x}u\n\
         #define NTC_STAGE_PROVISIONAL 1\n#define NTC_STAGE_FINAL 2\n\n\
         /* QoS classes; above these are the policy's own. */\n#define NTC_MAX_CLASSES {MAX_CLASSES}"
    )?;
    for (number, name) in CLASS_NAMES.iter().enumerate() {
        write!(out, "#define NTC_CLASS_")?;
        name.chars().try_for_each(|c| out.write_char(c.to_ascii_uppercase()))?;
        writeln!(out, " {number}")?;
    }
    write_struct::<FlowKey>(out)?;
    write_struct::<Label>(out)?;
    write_struct::<Heartbeat>(out)?;
    writeln!(out, "\n#endif /* NTC_H */")
}

fn write_struct<T: Layout>(out: &mut impl Write) -> fmt::Result {
    write!(out, "\nstruct ntc_")?;
    for (i, c) in T::NAME.char_indices() {
        if c.is_ascii_uppercase() && i > 0 {
            out.write_char('_')?;
        }
        out.write_char(c.to_ascii_lowercase())?;
    }
    writeln!(out, " {{")?;
    for field in T::FIELDS {
        let (element, count) = match field.rust_type.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            Some(array) => array.split_once(';').unwrap_or((array, "1")),
            None => (field.rust_type, ""),
        };
        let (element, count) = (element.trim(), count.trim());
        let width = element.strip_prefix('u').unwrap_or(element);
        write!(out, "\t__u{width} {}", field.name)?;
        if !count.is_empty() {
            write!(out, "[{count}]")?;
        }
        writeln!(out, ";")?;
    }
    writeln!(out, "}};")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_header_in_docs_is_the_one_that_the_structs_make() {
        let mut made = String::new();
        super::write_c_header(&mut made).unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ntc.h");
        if std::env::var_os("NTC_BLESS").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(made, golden, "the shared layout changed: raise ABI_VERSION, then NTC_BLESS=1 cargo test");
    }
}
