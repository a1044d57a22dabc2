//! The screen: made for 80 columns and 24 lines.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Cell, Clear, Paragraph, Row, Table},
};

use super::{
    figures::{bar, count, duration, end, rate, scaled, time, up_s},
    keys::{State, Tab},
    picture::{Picture, clamp},
};
use crate::api::view::FlowView;

const HELP: &str = " 1 2 3 4, Tab    flows, services, classes, agent
 arrows, j k     up and down; PgUp, PgDn, Home, End
 s               order of flows: rate, bytes, packets, latest
                 label, least sure, address
 /               filter: words that all hold, each an address or
                 prefix, a port, tcp or udp, a class, a service,
                 provisional or final
 Esc             no filter
 p, space        pause, go on
 ?               this help
 q, Ctrl-C       leave

 ~ before a confidence: provisional, more packets may change it

 label p50, p99: from the packet that decides to the label";

/// Draws everything.
pub fn all(frame: &mut Frame<'_>, picture: &Picture, state: &mut State) {
    let [head, tabs, body, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(header(picture, state)), head);
    frame.render_widget(Paragraph::new(tab_line(picture, state)), tabs);
    clamp(&mut state.table, picture.rows(state.tab));
    match state.tab {
        Tab::Flows => flows(frame, body, picture, state),
        Tab::Services => services(frame, body, picture, state),
        Tab::Classes => classes(frame, body, picture, state),
        Tab::Agent => frame.render_widget(Paragraph::new(agent(picture)), body),
    }
    frame.render_widget(Paragraph::new(footer(picture, state)), foot);
    if state.help {
        help(frame);
    }
}

fn header(picture: &Picture, state: &State) -> Vec<Line<'static>> {
    let Picture { agent, model, stats, .. } = picture;
    let ledger = &stats.stats.ledger;
    let condition = match (&state.trouble, state.paused, agent.ready, agent.dry_run) {
        (Some(_), ..) => "NO ANSWER".red().bold(),
        (_, true, ..) => "PAUSED".yellow().bold(),
        (.., false, _) => "NOT READY".red().bold(),
        (.., true) => "DRY RUN".yellow().bold(),
        _ => "ready".green(),
    };
    let loss =
        if ledger.dropped > 0 { format!("{} lost", count(ledger.dropped)).red() } else { "0 lost".into() };
    vec![
        Line::from(vec![
            format!("ntc {} ", agent.version).bold(),
            condition,
            format!("  {} {} #{}  ", model.name, model.version, model.epoch).into(),
            format!(
                "label p50 {} p99 {}",
                time(stats.stats.decided_us.p50),
                time(stats.stats.decided_us.p99)
            )
            .into(),
        ]),
        Line::from(vec![
            format!(
                "{} flows labelled, {} provisional, {}/s new  {}  ",
                count(stats.labelled_now),
                count(stats.provisional_now),
                count(picture.flows_per_s.round() as u64),
                rate(stats.bits_per_s)
            )
            .into(),
        ]),
        Line::from(vec![
            format!(
                "{} packets ({}/s) = {} recorded + {} gated + {} no flow + ",
                count(ledger.seen),
                count(picture.packets_per_s.round() as u64),
                count(ledger.recorded),
                count(ledger.gated),
                count(ledger.not_flow)
            )
            .into(),
            loss,
        ]),
    ]
}

fn tab_line(picture: &Picture, state: &State) -> Line<'static> {
    let mut spans = Vec::new();
    for (number, tab) in (1..).zip(Tab::ALL) {
        let style =
            if tab == state.tab { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        spans.push(Span::styled(format!(" {number} {} ", tab.name()), style));
        spans.push(" ".into());
    }
    if state.tab == Tab::Flows {
        spans.push(format!("by {}  ", state.order_name()).dim());
        spans.push(format!("{} of {}", picture.page.flows.len(), picture.page.total).dim());
        if !state.filter.is_empty() {
            spans.push(format!("  /{}", state.filter).yellow());
        }
    }
    Line::from(spans)
}

fn footer(picture: &Picture, state: &State) -> Line<'static> {
    if let Some(text) = &state.typing {
        return Line::from(vec![
            "filter: ".bold(),
            format!("{text}_").into(),
            "  Enter: set  Esc: give up".dim(),
        ]);
    }
    if let Some(trouble) = &state.trouble {
        // Why; what might be done about it was told where there was no picture yet.
        let why = trouble.split(';').next().unwrap_or_default();
        return Line::from(format!("{why}; asking on").red());
    }
    if let (Tab::Flows, Some(mistake)) = (state.tab, &picture.mistake) {
        return Line::from(format!("the filter: {mistake}").red());
    }
    Line::from("q leave  ? help  1-4 views  s order  / filter  p pause  arrows move".dim())
}

fn flows(frame: &mut Frame<'_>, area: Rect, picture: &Picture, state: &mut State) {
    // IPv6 addresses are cut in the middle: both ends of them tell most.
    let ends = area.width.saturating_sub(41) / 2;
    let row = |flow: &FlowView| {
        let confidence = format!("{}{:.2}", if flow.stage == "final" { " " } else { "~" }, flow.confidence);
        Row::new(vec![
            Cell::from(flow.proto.chars().take(1).collect::<String>()),
            Cell::from(end(&flow.src_ip.to_string(), flow.src_port, ends.into())),
            Cell::from(end(&flow.dst_ip.to_string(), flow.dst_port, ends.into())),
            Cell::from(flow.service.to_string()),
            Cell::from(flow.class.to_string()).style(class_style(&flow.class)),
            Cell::from(confidence),
            Cell::from(format!("{:>6}", scaled(flow.bits_per_s.unwrap_or(0)))),
        ])
    };
    let widths = [
        Constraint::Length(1),
        Constraint::Length(ends),
        Constraint::Length(ends),
        Constraint::Min(12),
        Constraint::Length(11),
        Constraint::Length(5),
        Constraint::Length(6),
    ];
    let head = Row::new(["", "SOURCE", "DESTINATION", "SERVICE", "CLASS", " CONF", " BIT/S"]);
    let table = table(picture.page.flows.iter().map(row), widths, head);
    frame.render_stateful_widget(table, area, &mut state.table);
    let none =
        if state.filter.is_empty() { "no flow has a label now" } else { "no flow that has a label matches" };
    if picture.page.flows.is_empty() && area.height > 1 {
        frame.render_widget(Paragraph::new(none.dim()), Rect { y: area.y + 1, height: 1, ..area });
    }
}

fn services(frame: &mut Frame<'_>, area: Rect, picture: &Picture, state: &mut State) {
    let most = picture.services.iter().map(|service| service.flows).max().unwrap_or(1);
    let rows = picture.services.iter().map(|service| {
        Row::new(vec![
            Cell::from(service.name.clone()),
            Cell::from(service.class.clone()).style(class_style(&service.class)),
            Cell::from(format!("{:>7}", count(service.flows))),
            Cell::from(format!("{:>11}", rate(service.bits_per_s))),
            Cell::from(bar(service.flows, most, 28)),
        ])
    });
    let widths = [
        Constraint::Length(22),
        Constraint::Length(12),
        Constraint::Length(7),
        Constraint::Length(11),
        Constraint::Min(8),
    ];
    let head = Row::new(["SERVICE", "CLASS", "  FLOWS", "       RATE", ""]);
    frame.render_stateful_widget(table(rows, widths, head), area, &mut state.table);
}

fn classes(frame: &mut Frame<'_>, area: Rect, picture: &Picture, state: &mut State) {
    let most = picture.classes.iter().map(|class| class.flows).max().unwrap_or(1);
    let rows = picture.classes.iter().map(|class| {
        let says = |key: &str| {
            let value = class.policy.as_ref().and_then(|policy| policy.get(key));
            value.map_or_else(
                || "-".to_owned(),
                |value| value.as_str().map_or(value.to_string(), str::to_owned),
            )
        };
        Row::new(vec![
            Cell::from(class.name.clone()).style(class_style(&class.name)),
            Cell::from(format!("{:>7}", count(class.flows))),
            Cell::from(format!("{:>11}", rate(class.bits_per_s))),
            Cell::from(format!("{:>8}", count(class.packets))),
            Cell::from(says("priority")),
            Cell::from(says("dscp")),
            Cell::from(bar(class.flows, most, 20)),
        ])
    });
    let widths = [
        Constraint::Length(11),
        Constraint::Length(7),
        Constraint::Length(11),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Min(8),
    ];
    let head = Row::new(["CLASS", "  FLOWS", "       RATE", "     OUT", "QUEUE", "DSCP", ""]);
    frame.render_stateful_widget(table(rows, widths, head), area, &mut state.table);
}

fn agent(picture: &Picture) -> Vec<Line<'static>> {
    let Picture { agent, stats, .. } = picture;
    let (inner, api) = (&stats.stats, &stats.api);
    let enforcement = &inner.enforcement;
    let mut lines = vec![
        Line::from(format!(
            "ledger       {}",
            if inner.ledger.closes { "the sums close" } else { "packets are under way" }
        )),
        Line::from(format!(
            "flows        {} begun, {} taken up again, {} never asked about; {} labelled",
            count(inner.ledger.new_flows),
            count(inner.ledger.resumed_flows),
            count(inner.ledger.shed_flows),
            count(inner.labelled)
        )),
        Line::from(format!(
            "flow table   {} of {} places taken",
            count(stats.table_flows),
            count(stats.table_capacity)
        )),
        Line::from(format!(
            "agent        {} gapped, {} headless, {} evicted, {} deferred, {} failed",
            inner.assembler.gapped,
            inner.assembler.headless,
            inner.assembler.evicted,
            inner.assembler.deferred,
            inner.failed
        )),
        Line::from(format!(
            "first label  p50 {}, p99 {} after the flow's first packet",
            time(inner.first_label_us.p50),
            time(inner.first_label_us.p99)
        )),
        Line::from(format!(
            "enforcement  {} by label, {} by mark, {} alone, {} remarked, {} stale",
            count(enforcement.labelled),
            count(enforcement.by_mark),
            count(enforcement.unlabelled),
            count(enforcement.remarked),
            count(enforcement.stale)
        )),
        Line::from(format!(
            "API          {} requests, {} refused, {} followers, {} too slow",
            count(api.requests),
            count(api.refused),
            api.subscribers,
            api.slow_readers
        )),
        Line::from(format!("maps         {}", agent.pin_dir)),
        Line::from(format!("up for       {}", duration(up_s(agent.started_ts_ns)))),
        Line::default(),
    ];
    for hook in &agent.interfaces {
        let silent = if hook.silent.is_empty() {
            Span::default()
        } else {
            format!("  silent: {}", hook.silent.join(", ")).red()
        };
        lines.push(Line::from(vec![
            format!("{:<12} ", hook.interface).bold(),
            hook.capture.as_deref().unwrap_or("not captured").to_owned().into(),
            ", ".into(),
            hook.enforce.as_deref().unwrap_or("not enforced").to_owned().into(),
            silent,
        ]));
    }
    lines
}

fn help(frame: &mut Frame<'_>) {
    let screen = frame.area();
    let (width, height) = (66.min(screen.width), (HELP.lines().count() as u16 + 2).min(screen.height));
    let area = Rect { x: (screen.width - width) / 2, y: (screen.height - height) / 2, width, height };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" ntc top ")), area);
}

fn table<'a, const N: usize>(
    rows: impl Iterator<Item = Row<'a>>,
    widths: [Constraint; N],
    head: Row<'a>,
) -> Table<'a> {
    Table::new(rows, widths)
        .header(head.style(Style::new().add_modifier(Modifier::DIM)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .column_spacing(1)
}

fn class_style(class: &str) -> Style {
    Style::new().fg(match class {
        "realtime" => Color::Magenta,
        "interactive" => Color::Cyan,
        "streaming" => Color::Blue,
        "web" => Color::Green,
        "bulk" => Color::Yellow,
        "unknown" => Color::DarkGray,
        _ => Color::Reset,
    })
}
