//! `ntc classify`: captures to labelled flows.

use std::{
    fs::File,
    io::{BufWriter, Write, stdout},
    process::ExitCode,
};

use anyhow::Context as _;

use crate::{
    batch::BATCH_FLOWS,
    capture::{file::find_captures, table::EndedFlow},
    classify::Model,
    cli::ClassifyArgs,
    features::{self, FLOW_VALUES},
    offline,
    output::{
        Labelled, Row,
        parquet::ParquetWriter,
        text::{Format, TextWriter},
    },
};

enum Writer {
    Text(TextWriter<Box<dyn Write + Send>>),
    Parquet(Box<ParquetWriter<Box<dyn Write + Send>>>),
}

/// Flows that wait for their batch, and the way out.
struct Classifier {
    model: Model,
    title: String,
    waiting: Vec<(String, EndedFlow)>,
    writer: Writer,
}

impl Classifier {
    fn add(&mut self, capture: &str, flow: EndedFlow) -> anyhow::Result<()> {
        self.waiting.push((capture.to_owned(), flow));
        if self.waiting.len() == BATCH_FLOWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let mut values = vec![0.0; self.waiting.len() * FLOW_VALUES];
        for ((_, flow), row) in self.waiting.iter().zip(values.chunks_exact_mut(FLOW_VALUES)) {
            features::write(&flow.id, flow.sequence.packets(), row);
        }
        let mut answers = Vec::with_capacity(self.waiting.len());
        self.model.classify(&values, &mut answers)?;
        for ((capture, flow), answer) in self.waiting.drain(..).zip(&answers) {
            let row = Row::new(&capture, &flow, Some(Labelled::new(answer, &self.title)));
            match &mut self.writer {
                Writer::Text(writer) => writer.row(&row)?,
                Writer::Parquet(writer) => writer.row(&row, flow.sequence.packets())?,
            }
        }
        Ok(())
    }
}

/// Runs the verb.
///
/// # Errors
/// No captures found, no model, or the output cannot be written.
pub fn run(args: &ClassifyArgs) -> anyhow::Result<ExitCode> {
    let captures = find_captures(&args.captures)?;
    let model = super::model(&args.model)?;
    let out: Box<dyn Write + Send> = match &args.output {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(stdout())),
    };
    let writer = match args.format {
        Format::Parquet => Writer::Parquet(Box::new(ParquetWriter::new(out, true)?)),
        format => Writer::Text(TextWriter::new(format, out)?),
    };
    let title = model.title().to_owned();
    let mut classifier = Classifier { model, title, waiting: Vec::new(), writer };
    let outcome =
        offline::read(&captures, super::rule(args.flow_rule), |capture, flow| classifier.add(capture, flow))?;
    classifier.flush()?;
    match classifier.writer {
        Writer::Text(mut writer) => writer.finish()?,
        Writer::Parquet(writer) => writer.finish()?,
    }
    Ok(super::conclude(&outcome))
}
