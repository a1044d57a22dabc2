//! Capture files to ended flows: the same parser, flow rule and sequences as live, with packet time from
//! the file.

use std::{
    cell::Cell,
    fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use ntc_common::{flow::FlowRule, ledger::Ledger};

use crate::capture::{
    file::{CaptureError, CaptureFile},
    table::{EndedFlow, FlowTable},
};

/// What reading some captures came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Files read, also those that ended early.
    pub files: usize,
    /// Files that could not be read to their end; their flows up to there count.
    pub failed: usize,
    /// Flows.
    pub flows: u64,
    /// Where each packet of all files went.
    pub ledger: Ledger,
}

/// Reads files one after the other; each has its own flows, equal 5-tuples of two files are two flows.
/// `flow` gets the name of the file and the flow. What is wrong with a file is said on stderr, and the next
/// one is read.
///
/// # Errors
/// Those of `flow`, which end the reading.
pub fn read<E>(
    files: &[PathBuf],
    rule: FlowRule,
    mut flow: impl FnMut(&str, EndedFlow) -> Result<(), E>,
) -> Result<Outcome, E> {
    let bar = progress_bar(files);
    let mut outcome = Outcome { files: files.len(), failed: 0, flows: 0, ledger: Ledger::ZERO };
    let mut done = 0;
    for path in files {
        let name = path.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy());
        bar.set_message(name.to_string());
        let mut table = FlowTable::new(rule);
        let mut result = Ok(());
        // Set when nobody wants more: what is still to be read is not read.
        let stop = Cell::new(false);
        let mut emit = |ended: EndedFlow| {
            if !stop.get() {
                outcome.flows += 1;
                result = flow(&name, ended);
                stop.set(result.is_err());
            }
        };
        let progress = |bytes| bar.set_position(done + bytes);
        if let Err(error) = read_file(path, &mut table, &mut emit, &stop, &progress) {
            outcome.failed += 1;
            bar.suspend(|| eprintln!("ntc: {error}"));
        }
        table.finish(&mut emit);
        outcome.ledger.add(table.ledger());
        done += fs::metadata(path).map_or(0, |metadata| metadata.len());
        bar.set_position(done);
        result?;
    }
    bar.finish_and_clear();
    Ok(outcome)
}

/// Packets between two movements of the progress bar.
const PROGRESS_PACKETS: u64 = 65_536;

fn read_file(
    path: &Path,
    table: &mut FlowTable,
    emit: &mut impl FnMut(EndedFlow),
    stop: &Cell<bool>,
    progress: &dyn Fn(u64),
) -> Result<(), CaptureError> {
    let mut file = CaptureFile::open(path)?;
    let mut packets = 0u64;
    while !stop.get()
        && let Some(frame) = file.next_frame()
    {
        // What is no flow is counted in the ledger.
        let _ = table.packet(&frame?, emit);
        packets += 1;
        if packets.is_multiple_of(PROGRESS_PACKETS) {
            progress(file.progress().bytes_read);
        }
    }
    Ok(())
}

/// On a terminal only; hidden otherwise.
fn progress_bar(files: &[PathBuf]) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bytes = files.iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum();
    let bar = ProgressBar::new(bytes);
    if let Ok(style) = ProgressStyle::with_template(
        "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} {wide_msg}",
    ) {
        bar.set_style(style);
    }
    bar
}
