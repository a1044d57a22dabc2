//! `ntc flows`: labelled flows, from the pinned maps alone.

use std::{
    collections::HashMap,
    io::{IsTerminal as _, Write, stdout},
    net::SocketAddr,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use ntc_common::policy::CLASS_NAMES;

use crate::{
    api::view::FlowView,
    catalogue::Catalogue,
    cli::{FlowsArgs, LiveFormat},
    clock::UnixTime,
    kernel::{
        flow_table::FlowTable,
        netlink::links::links,
        tables::{self, Labels},
    },
};

fn wanted(flow: &FlowView, args: &FlowsArgs) -> bool {
    let is = |wanted: &Option<String>, names: &[&str]| {
        wanted.as_ref().is_none_or(|wanted| names.iter().any(|name| name.eq_ignore_ascii_case(wanted)))
    };
    is(&args.service, &[&flow.service, &flow.protocol])
        && is(&args.class, &[&flow.class])
        && args.interface.as_ref().is_none_or(|name| flow.interface.as_ref() == Some(name))
        && args.address.is_none_or(|address| [flow.src_ip, flow.dst_ip].contains(&address))
        && args.port.is_none_or(|port| [flow.src_port, flow.dst_port].contains(&port))
}

/// A name that no flow can have is a mistake, not an empty table.
fn check(args: &FlowsArgs) -> anyhow::Result<()> {
    if let Some(class) = &args.class
        && !CLASS_NAMES.iter().any(|name| name.eq_ignore_ascii_case(class))
    {
        bail!("--class: no {class:?}; there are {}", CLASS_NAMES.join(", "));
    }
    let is = |name: &str| args.service.as_ref().is_some_and(|service| name.eq_ignore_ascii_case(service));
    let known =
        is("unknown") || Catalogue::shipped().services().any(|one| is(&one.name) || is(&one.protocol));
    if let Some(service) = &args.service
        && !known
    {
        bail!("--service: no {service:?}; models/services.csv and `/v1/services` have nDPI's names");
    }
    Ok(())
}

/// Runs the verb.
///
/// # Errors
/// A name that there is not, no pins, or stdout cannot be written.
pub fn run(args: &FlowsArgs) -> anyhow::Result<ExitCode> {
    check(args)?;
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
    let interfaces = links().context("cannot list interfaces")?;
    let interfaces: HashMap<_, _> = interfaces.into_iter().map(|link| (link.index, link.name)).collect();
    for (key, label) in labels.iter().filter_map(Result::ok) {
        // A label without its flow is about to go.
        let Some(state) = flows.get(&key).filter(|state| state.start_ns == label.start_ns) else {
            continue;
        };
        let line =
            FlowView::new(key, &state, &label, unix_time, None, interfaces.get(&state.ifindex).cloned());
        if !wanted(&line, args) {
            continue;
        }
        if args.format == LiveFormat::Json {
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)?;
        } else {
            writeln!(
                out,
                "{:<5} {:<43} {:<43} {:>8} {:>10} {:<18} {:<12} {:>5.2} {:<12}",
                line.proto,
                SocketAddr::new(line.src_ip, line.src_port).to_string(),
                SocketAddr::new(line.dst_ip, line.dst_port).to_string(),
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
