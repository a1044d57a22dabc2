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

use std::{ffi::OsStr, fs, io, io::Write as _};

/// Says that a test cannot run here, and why; `cargo xtask test` counts it as skipped.
///
/// # Errors
/// The file for such lines cannot be written.
pub fn skip(test: &str, reason: &str) -> io::Result<()> {
    match std::env::var_os("NTC_SKIPPED_TESTS") {
        Some(path) => append(&path, &format!("{test}: {reason}\n")),
        // Written directly: libtest would hold back what `eprintln!` prints.
        None => io::stderr().write_all(format!("skipped: {test}: {reason}\n").as_bytes()),
    }
}

/// A line of a file to which others write as well: in one piece, which `write!` would not be.
fn append(path: &OsStr, line: &str) -> io::Result<()> {
    fs::OpenOptions::new().append(true).create(true).open(path)?.write_all(line.as_bytes())
}

/// The project's root.
pub fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::append;

    #[test]
    fn lines_that_are_written_at_one_time_stay_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lines");
        thread::scope(|scope| {
            for writer in 0..4 {
                let path = path.as_os_str();
                scope.spawn(move || {
                    for number in 0..500 {
                        append(path, &format!("test {writer}: reason {number}\n")).expect("written");
                    }
                });
            }
        });
        let text = fs::read_to_string(&path).expect("there");
        assert_eq!(text.lines().count(), 2000);
        for line in text.lines() {
            let rest = line.strip_prefix("test ").and_then(|rest| rest.split_once(": reason "));
            let whole = rest.is_some_and(|(writer, number)| {
                writer.parse::<u32>().is_ok() && number.parse::<u32>().is_ok()
            });
            assert!(whole, "{line}");
        }
    }
}
