//! `ntc flows`: labelled flows, from the pinned maps alone.

use std::{
    io::{IsTerminal as _, Write, stdout},
    process::ExitCode,
    thread,
    time::Duration,
};

use ntc_common::{
    flow::{FlowState, flow_flags},
    key::FlowKey,
    label::{Label, Stage},
};
use serde::Serialize;

use crate::{
    catalogue::{Catalogue, class_name},
    cli::{FlowsArgs, LiveFormat},
    clock::{self, UnixTime},
    flow::FlowId,
    kernel::{
        flow_table::FlowTable,
        tables::{self, Labels},
    },
};

#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    flow: FlowId,
    first_ts_ns: u64,
    last_ts_ns: u64,
    packets: u64,
    bytes: u64,
    service: &'static str,
    protocol: &'static str,
    class: &'static str,
    confidence: f32,
    stage: &'static str,
    label_packets: u8,
    model_epoch: u32,
    label_age_ms: u64,
}

impl Line {
    fn new(key: FlowKey, state: &FlowState, label: &Label, unix_time: UnixTime) -> Self {
        let upper_is_source = state.flags & flow_flags::UPPER_IS_SOURCE != 0;
        let (service, protocol) = Catalogue::shipped().names(label.service);
        Self {
            flow: FlowId { key, start_ns: state.start_ns, upper_is_source },
            first_ts_ns: unix_time.of(state.start_ns),
            last_ts_ns: unix_time.of(state.last_ns),
            packets: state.packets.iter().sum(),
            bytes: state.bytes.iter().sum(),
            service,
            protocol,
            class: class_name(label.class),
            confidence: f32::from(label.confidence) / 65535.0,
            stage: Stage::from_number(label.stage).map_or("unknown", Stage::name),
            label_packets: label.packets,
            model_epoch: label.model_epoch,
            label_age_ms: clock::monotonic_ns().saturating_sub(label.set_at_ns) / 1_000_000,
        }
    }

    fn wanted(&self, args: &FlowsArgs) -> bool {
        let ends = [self.flow.source(), self.flow.destination()];
        let is = |wanted: &Option<String>, names: &[&str]| {
            wanted.as_ref().is_none_or(|wanted| names.iter().any(|name| name.eq_ignore_ascii_case(wanted)))
        };
        is(&args.service, &[self.service, self.protocol])
            && is(&args.class, &[self.class])
            && args.address.is_none_or(|address| ends.iter().any(|end| end.ip() == address))
            && args.port.is_none_or(|port| ends.iter().any(|end| end.port() == port))
    }
}

/// Runs the verb.
///
/// # Errors
/// No pins, or stdout cannot be written.
pub fn run(args: &FlowsArgs) -> anyhow::Result<ExitCode> {
    let (labels, flows) = (tables::labels(&args.pins.pin_dir)?, FlowTable::open(&args.pins.pin_dir)?);
    loop {
        let mut out = stdout().lock();
        if args.watch.is_some() && args.format == LiveFormat::Table && out.is_terminal() {
            // Home and clear: the picture stays in place.
            write!(out, "\x1b[H\x1b[2J")?;
        }
        show(&mut out, &labels, &flows, args)?;
        out.flush()?;
        drop(out);
        let Some(seconds) = args.watch else { return Ok(ExitCode::SUCCESS) };
        thread::sleep(Duration::from_secs(seconds.max(1)));
    }
}

fn show(out: &mut impl Write, labels: &Labels, flows: &FlowTable, args: &FlowsArgs) -> anyhow::Result<()> {
    if args.format == LiveFormat::Table {
        writeln!(
            out,
            "{:<5} {:<43} {:<43} {:>8} {:>10} {:<18} {:<12} {:>5} {:<12}",
            "PROTO", "SOURCE", "DESTINATION", "PACKETS", "BYTES", "SERVICE", "CLASS", "CONF", "STAGE"
        )?;
    }
    let unix_time = UnixTime::now();
    for (key, label) in labels.iter().filter_map(Result::ok) {
        // A label without its flow is about to go.
        let Some(state) = flows.get(&key).filter(|state| state.start_ns == label.start_ns) else {
            continue;
        };
        let line = Line::new(key, &state, &label, unix_time);
        if !line.wanted(args) {
            continue;
        }
        if args.format == LiveFormat::Json {
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)?;
        } else {
            writeln!(
                out,
                "{:<5} {:<43} {:<43} {:>8} {:>10} {:<18} {:<12} {:>5.2} {:<12}",
                line.flow.protocol(),
                line.flow.source().to_string(),
                line.flow.destination().to_string(),
                line.packets,
                line.bytes,
                line.service,
                line.class,
                line.confidence,
                line.stage
            )?;
        }
    }
    Ok(())
}
