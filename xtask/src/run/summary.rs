//! What the run showed, for people and for programs.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    path::Path,
};

use serde::Serialize;
use serde_json::Value;

use super::{
    board::{Board, Flow},
    compare::Comparison,
    shaping::ClassCount,
    traffic::Tally,
};

/// Result of a run.
#[derive(Serialize)]
pub(super) struct Summary {
    /// Length of the traffic in seconds.
    pub(super) duration_s: f64,
    /// Flows that the agent saw.
    pub(super) flows: u64,
    /// Flows that the model gave a name.
    pub(super) labelled: usize,
    /// Flows whose protocol is right.
    pub(super) right: usize,
    /// Share of all flows whose protocol is right.
    pub(super) right_percent: f64,
    /// By true protocol.
    pub(super) services: Vec<ServiceRow>,
    /// From the deciding packet to the label in the map, by why the model was asked.
    pub(super) decided_us: BTreeMap<String, Percentiles>,
    /// From the first packet to the label in the map.
    pub(super) age_us: BTreeMap<String, Percentiles>,
    /// The queues' own counters.
    pub(super) classes: Vec<ClassCount>,
    /// Client programs run.
    pub(super) client_runs: usize,
    /// Client programs that failed.
    pub(super) client_failures: Vec<Failure>,
    /// Whether the packet ledger adds up.
    pub(super) ledger_closes: bool,
    /// `ntc classify` on the capture, where one was kept.
    pub(super) offline: Option<Comparison>,
    /// The agent's own summary.
    pub(super) agent: Value,
}

/// Flows of one true protocol.
#[derive(Serialize)]
pub(super) struct ServiceRow {
    /// The true protocol; `other` for flows of none of the services.
    pub(super) truth: &'static str,
    /// Traffic class that the default policy has for it.
    pub(super) class: Option<String>,
    /// Flows.
    pub(super) flows: usize,
    /// Those with a name.
    pub(super) labelled: usize,
    /// Those with the right one.
    pub(super) right: usize,
    /// The most frequent wrong name.
    pub(super) most_frequent_wrong: Option<String>,
}

/// A distribution.
#[derive(Serialize)]
pub(super) struct Percentiles {
    count: usize,
    p50: u64,
    p99: u64,
    max: u64,
}

/// A client that did not do what it should.
#[derive(Serialize)]
pub(super) struct Failure {
    service: String,
    error: String,
}

/// What the agent itself told.
pub(super) struct AgentReport {
    /// Flows seen.
    pub(super) flows: u64,
    /// Whether the ledger closes.
    pub(super) ledger_closes: bool,
    /// The whole line.
    pub(super) line: Value,
}

impl Summary {
    /// Puts the pieces together. `catalogue` is the list of services that says which class a protocol is of.
    pub(super) fn new(
        board: &Board,
        tally: Tally,
        classes: Vec<ClassCount>,
        agent: AgentReport,
        catalogue: &Path,
        duration_s: f64,
    ) -> Self {
        let (labelled, right) = board.counts();
        let flows = agent.flows.max(board.flows().len() as u64);
        let latencies = |pick: fn(&(String, u64, u64)) -> u64| {
            let mut by_reason: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            for event in board.latencies() {
                by_reason.entry(event.0.clone()).or_default().push(pick(event));
            }
            by_reason.into_iter().map(|(reason, values)| (reason, Percentiles::of(values))).collect()
        };
        Self {
            duration_s,
            flows,
            labelled,
            right,
            right_percent: percent(right as u64, flows),
            services: service_rows(board.flows(), &policy_classes(catalogue)),
            decided_us: latencies(|event| event.1),
            age_us: latencies(|event| event.2),
            classes,
            client_runs: tally.runs,
            client_failures: tally
                .failures
                .into_iter()
                .map(|(service, error)| Failure { service, error })
                .collect(),
            ledger_closes: agent.ledger_closes,
            offline: None,
            agent: agent.line,
        }
    }

    /// Why the run must count as failed, if it must.
    pub(super) fn verdict(&self) -> Result<(), &'static str> {
        if !self.ledger_closes {
            return Err("the packet ledger does not close");
        }
        if self.labelled == 0 {
            return Err("no flow was labelled");
        }
        Ok(())
    }

    /// The summary as text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_offline(out: &mut String, offline: &Comparison) -> std::fmt::Result {
        let Comparison { flows, same, differences } = offline;
        let percent = percent(*same as u64, *flows as u64);
        writeln!(
            out,
            "\nntc classify on the capture: {same} of {flows} flows labelled as live ({percent:.2}%)"
        )?;
        for difference in differences {
            let (service, confidence, packets) = &difference.live;
            write!(out, "  {}: live {service} {confidence:.3} of {packets} packets, ", difference.flow)?;
            match &difference.offline {
                Some((service, confidence, packets)) => {
                    writeln!(out, "offline {service} {confidence:.3} of {packets}")?;
                }
                None => writeln!(out, "not in the capture")?,
            }
        }
        Ok(())
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\nprotocol     class        flows  labelled  right          most frequent wrong label"
        )?;
        for row in &self.services {
            writeln!(
                out,
                "{:<12} {:<12} {:>5}  {:>8}  {:>5} {:>6.1}%  {}",
                row.truth,
                row.class.as_deref().unwrap_or("-"),
                row.flows,
                row.labelled,
                row.right,
                percent(row.right as u64, row.flows as u64),
                row.most_frequent_wrong.as_deref().unwrap_or("")
            )?;
        }
        writeln!(
            out,
            "all                       {:>5}  {:>8}  {:>5} {:>6.1}%",
            self.flows, self.labelled, self.right, self.right_percent
        )?;

        writeln!(out, "\ntime to label, by why the model was asked")?;
        for (title, table) in
            [("from the deciding packet", &self.decided_us), ("from the first packet", &self.age_us)]
        {
            for (reason, p) in table {
                writeln!(
                    out,
                    "{title:<25} {reason:<9} {:>5} labels  p50 {:>9.3} ms  p99 {:>9.3} ms",
                    p.count,
                    p.p50 as f64 / 1e3,
                    p.p99 as f64 / 1e3
                )?;
            }
        }

        writeln!(
            out,
            "\npackets per traffic class, by the queues' own counters (packets before the label: unknown)"
        )?;
        for class in self.classes.iter().filter(|class| class.packets > 0) {
            let mut services: Vec<_> = class.services.iter().collect();
            services.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
            let services: Vec<_> =
                services.iter().map(|(name, packets)| format!("{name} {packets}")).collect();
            writeln!(
                out,
                "{:<6}{:<12} {:>9}  {}",
                class.handle,
                class.class,
                class.packets,
                services.join(", ")
            )?;
        }

        let ledger = self.agent.get("ledger").map(Value::to_string).unwrap_or_default();
        writeln!(out, "\nledger {}: {ledger}", if self.ledger_closes { "closes" } else { "DOES NOT CLOSE" })?;
        writeln!(out, "clients: {} runs, {} failed", self.client_runs, self.client_failures.len())?;
        for failure in self.client_failures.iter().take(10) {
            writeln!(out, "  {}: {}", failure.service, failure.error)?;
        }
        if let Some(offline) = &self.offline {
            Self::write_offline(out, offline)?;
        }
        writeln!(
            out,
            "\n{} flows in {:.0} s, {} labelled, {} right at protocol level ({:.1}%)",
            self.flows, self.duration_s, self.labelled, self.right, self.right_percent
        )
    }
}

impl Percentiles {
    /// Nearest-rank percentiles.
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let rank = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self { count: values.len(), p50: rank(0.5), p99: rank(0.99), max: rank(1.0) }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// Class of each protocol, from the catalogue `id,service,protocol,class`.
fn policy_classes(catalogue: &Path) -> HashMap<String, String> {
    let text = std::fs::read_to_string(catalogue).unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<_> = line.split(',').collect();
            let [_, service, protocol, class] = fields[..] else { return None };
            // A composed name such as TLS.Google may be of another class than its protocol.
            (service == protocol).then(|| (protocol.to_owned(), class.to_owned()))
        })
        .collect()
}

/// Flows of one true protocol, while they are counted.
#[derive(Default)]
struct Count<'a> {
    flows: usize,
    labelled: usize,
    right: usize,
    wrong: HashMap<&'a str, usize>,
}

fn service_rows(flows: &[Flow], classes: &HashMap<String, String>) -> Vec<ServiceRow> {
    let mut counts: BTreeMap<&'static str, Count<'_>> = BTreeMap::new();
    for flow in flows {
        let count = counts.entry(flow.truth.unwrap_or("other")).or_default();
        count.flows += 1;
        count.labelled += usize::from(flow.labelled());
        if flow.right() {
            count.right += 1;
        } else {
            *count.wrong.entry(flow.label.service.as_str()).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .map(|(truth, count)| ServiceRow {
            truth,
            class: classes.get(truth).cloned(),
            flows: count.flows,
            labelled: count.labelled,
            right: count.right,
            most_frequent_wrong: count
                .wrong
                .into_iter()
                .max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)))
                .map(|(label, count)| format!("{label} ({count})")),
        })
        .collect()
}
