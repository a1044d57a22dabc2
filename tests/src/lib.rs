//! What the tests of ntc as a whole share.
//!
//! | module | gives |
//! | --- | --- |
//! | [`corpus`] | the labelled captures, where they are at hand |
//! | [`frames`] | packets made to order, and capture files of them |
//! | [`foreign`] | programs of others on the hooks |
//! | [`link`] | a host with an agent, one that sends to it, and traffic between the two |
//! | [`net`] | network namespaces that go with the test |
//! | [`wire`] | sending frames as they are |
//! | [`tap`] | what a link carries, by tcpdump |
//! | [`kernel`] | ntc's programs, run packet by packet |
//! | [`agent`] | the command `ntc` |
//! | [`http`] | asking the agent, by curl |
//! | [`unpacked`] | Debian's programs that are unpacked beside the sources |
//! | [`switch`] | Open vSwitch in a namespace |
//! | [`certificate`] | certificates |
//! | [`running`] | programs that end with the test |
//! | [`patience`] | how long a test waits |
//! | [`confined`] | a child bounded in time and memory |

pub mod agent;
pub mod certificate;
pub mod confined;
pub mod corpus;
pub mod foreign;
pub mod frames;
pub mod http;
pub mod kernel;
pub mod link;
pub mod net;
pub mod patience;
pub mod running;
pub mod switch;
pub mod tap;
pub mod unpacked;
pub mod wire;

use std::io::Write as _;

/// Says that a test cannot run here, and why; `cargo xtask test` counts it as skipped.
///
/// # Errors
/// The file for such lines cannot be written.
pub fn skip(test: &str, reason: &str) -> std::io::Result<()> {
    match std::env::var_os("NTC_SKIPPED_TESTS") {
        Some(path) => {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
            writeln!(file, "{test}: {reason}")
        }
        // Written directly: libtest would hold back what `eprintln!` prints.
        None => writeln!(std::io::stderr(), "skipped: {test}: {reason}"),
    }
}

/// The project's root.
pub fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
