//! What the floods showed, for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use serde_json::Value;

use super::{kind::Kind, meter::Forwarding, watch::Cost};

/// Share of live flows that must keep their labels.
const KEPT: f64 = 99.0;
/// What memory may grow by in the second half of a flood: this share or so many KiB, whichever is more.
const GROWTH: (f64, u64) = (0.05, 8192);
/// How long until new flows get labels again.
const RECOVERY_S: f64 = 10.0;
/// Calls lost in a flood beyond those lost in the same flood without ntc, in percent of those sent.
const LOSS: f64 = 1.0;

/// Result of the verb.
#[derive(Serialize)]
pub(crate) struct Report {
    /// Live flows.
    pub(crate) flows: usize,
    /// Seconds of each flood.
    pub(crate) duration_s: f64,
    /// How the machine calls itself, its processors and kernel.
    pub(crate) machine: String,
    /// The live flows without a flood.
    pub(crate) quiet: Forwarding,
    /// Flood by flood.
    pub(crate) floods: Vec<Flooded>,
    /// The agent before the first flood.
    pub(crate) cost_at_begin: Cost,
    /// The agent after the last one.
    pub(crate) cost_at_end: Cost,
    /// The agent's own summary.
    pub(crate) agent: Value,
    /// What was not met.
    pub(crate) unmet: Vec<String>,
}

/// One flood.
#[derive(Serialize)]
pub(crate) struct Flooded {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Frames given to the attacker's interface.
    pub(crate) offered: u64,
    /// The same a second.
    pub(crate) offered_per_s: f64,
    /// Packets that ntc accounted in it: the flood's that got through, answers, and those of the live flows.
    pub(crate) seen: u64,
    /// The same a second.
    pub(crate) seen_per_s: f64,
    /// Live flows that had a label before.
    pub(crate) labelled: usize,
    /// Those that have the same label at the flood's end.
    pub(crate) kept: usize,
    /// Those at the worst moment, looked at once a second.
    pub(crate) kept_least: usize,
    /// Whether each packet went one way.
    pub(crate) ledger_closes: bool,
    /// The agent at the flood's begin.
    pub(crate) cost_begin: Cost,
    /// In its middle.
    pub(crate) cost_middle: Cost,
    /// At its end.
    pub(crate) cost_end: Cost,
    /// Most at any moment.
    pub(crate) cost_peak: Cost,
    /// The live flows in it.
    pub(crate) forwarding: Forwarding,
    /// The live flows in the same flood without ntc.
    pub(crate) without_ntc: Option<Unwatched>,
    /// Seconds from the flood's end to the label of a flow that began then.
    pub(crate) recovery_s: Option<f64>,
    /// Flows that ntc began in it.
    pub(crate) new_flows: u64,
    /// Counters of overload, as far as they grew.
    pub(crate) pressure: BTreeMap<String, u64>,
}

/// A flood without ntc.
#[derive(Clone, Serialize)]
pub(crate) struct Unwatched {
    /// Frames given to the attacker's interface, a second.
    pub(crate) offered_per_s: f64,
    /// The live flows in it.
    pub(crate) forwarding: Forwarding,
}

impl Flooded {
    /// What this flood did that it must not.
    pub(crate) fn unmet(&self) -> Vec<String> {
        let mut unmet = vec![];
        let mut must = |met: bool, what: String| {
            if !met {
                unmet.push(format!("{}: {what}", self.kind.name()));
            }
        };
        let share = 100.0 * self.kept as f64 / self.labelled.max(1) as f64;
        must(share >= KEPT, format!("{share:.1}% of the live flows kept their labels"));
        must(self.ledger_closes, "the ledger does not close".into());
        for (what, middle, end) in [
            ("resident memory", self.cost_middle.rss_kib, self.cost_end.rss_kib),
            ("memory of the maps", self.cost_middle.maps_kib, self.cost_end.maps_kib),
        ] {
            let room = ((middle as f64 * GROWTH.0) as u64).max(GROWTH.1);
            must(end <= middle + room, format!("{what} grew from {middle} to {end} KiB in the second half"));
        }
        let (lost, sent) = (self.forwarding.calls_lost_percent, self.forwarding.calls_sent);
        let allowed =
            self.without_ntc.as_ref().map_or(0.0, |without| without.forwarding.calls_lost_percent) + LOSS;
        must(
            sent > 0 && lost <= allowed,
            format!("{lost:.2}% of the calls' packets lost, {allowed:.2}% allowed"),
        );
        must(
            self.recovery_s.is_some_and(|seconds| seconds <= RECOVERY_S),
            match self.recovery_s {
                Some(seconds) => format!("new flows had labels only {seconds:.1} s after the flood"),
                None => "new flows had no labels after the flood".into(),
            },
        );
        unmet
    }

    /// Two lines.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Forwarding { calls_lost_percent: lost, calls_p50_us: p50, calls_p99_us: p99, .. } =
            self.forwarding;
        write!(
            out,
            "{:<12} {:>7.3} {:>6.3}  {:>4}/{:<4} {:>5}  {:<6} {:>6.1} {:>6.1} {:>6.1} {:>6.1}  {lost:>6.2} {:>6.2} {:>6.1}",
            self.kind.name(),
            self.offered_per_s / 1e6,
            self.seen_per_s / 1e6,
            self.kept,
            self.labelled,
            self.kept_least,
            if self.ledger_closes { "closes" } else { "OPEN" },
            self.cost_begin.rss_kib as f64 / 1024.0,
            self.cost_peak.rss_kib as f64 / 1024.0,
            self.cost_end.rss_kib as f64 / 1024.0,
            self.cost_peak.maps_kib as f64 / 1024.0,
            p50 as f64 / 1e3,
            p99 as f64 / 1e3,
        )?;
        if let Some(without) = &self.without_ntc {
            let of = &without.forwarding;
            write!(out, "  {:>6.2} {:>6.1}", of.calls_lost_percent, of.calls_p99_us as f64 / 1e3)?;
        } else {
            write!(out, "       -      -")?;
        }
        match self.recovery_s {
            Some(seconds) => writeln!(out, "  {seconds:>5.2}"),
            None => writeln!(out, "   none"),
        }
    }
}

/// The head of the table.
pub(crate) const HEAD: &str = concat!(
    "                  Mpps        labels kept          resident MiB    maps    calls: lost p50 p99   without ntc     new
",
    "kind         offered   seen   end       least  ledger  begin   peak    end    MiB       %     ms     ms",
    "       %     ms  label s"
);

impl Report {
    /// The whole report.
    pub(crate) fn text(&self) -> String {
        let mut out = format!(
            "\n{}\n{} live flows, {} s a flood\n\n{HEAD}\n",
            self.machine, self.flows, self.duration_s
        );
        for flood in &self.floods {
            out += &flood.text();
        }
        let quiet = &self.quiet;
        let _ = writeln!(
            out,
            "\nno flood: calls lost {:.2}%, p50 {:.1} ms, p99 {:.1} ms",
            quiet.calls_lost_percent,
            quiet.calls_p50_us as f64 / 1e3,
            quiet.calls_p99_us as f64 / 1e3
        );
        for flood in &self.floods {
            let counters: Vec<_> = flood.pressure.iter().map(|(name, by)| format!("{name} {by}")).collect();
            let _ = writeln!(
                out,
                "{}: new flows {}; {}",
                flood.kind.name(),
                flood.new_flows,
                counters.join(", ")
            );
        }
        for unmet in &self.unmet {
            let _ = writeln!(out, "NOT MET  {unmet}");
        }
        if self.unmet.is_empty() {
            out += "all met: labels kept, ledger closed, memory flat, forwarding goes on\n";
        }
        out
    }
}
