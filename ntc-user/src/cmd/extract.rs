//! `ntc extract`: captures to sequences.

use std::{fs::File, io::BufWriter, process::ExitCode};

use anyhow::Context as _;

use crate::{
    capture::file::find_captures,
    cli::ExtractArgs,
    offline,
    output::{Row, parquet::ParquetWriter},
};

/// Runs the verb.
///
/// # Errors
/// No captures found, or the output cannot be written.
pub fn run(args: &ExtractArgs) -> anyhow::Result<ExitCode> {
    let captures = find_captures(&args.captures)?;
    let name = args.output.display();
    let file = File::create(&args.output).with_context(|| format!("cannot write {name}"))?;
    let mut writer = ParquetWriter::new(BufWriter::new(file), false)?;
    let outcome = offline::read(&captures, super::rule(args.flow_rule), |capture, flow| {
        writer.row(&Row::new(capture, &flow, None), flow.sequence.packets())
    })
    .with_context(|| format!("cannot write {name}"))?;
    writer.finish().with_context(|| format!("cannot write {name}"))?;
    Ok(super::conclude(&outcome))
}
