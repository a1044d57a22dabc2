//! `cargo xtask soak`: the network of `cargo xtask run` with its 17 services, calls that go on from the start to the end,
//! a short flood of each kind in turn, and a look at the agent every ten seconds. It shows whether an agent can be left alone.

mod progress;
mod report;
mod sample;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use ntc_common::{key::FlowKey, label::Label};
use serde_json::Value;

use progress::Progress;
use report::{Burst, Report};
use sample::Sample;

use crate::{
    flood::{
        self, Kind, LABELLED,
        live::Live,
        source::{Flood, Source},
        watch::{self, Cost, Labels},
    },
    image,
    run::{
        INTERRUPTED,
        agent::{self, Agent},
        host::{self, Host},
        net::{self, BpfMount, Network},
        ports::Ports,
        process::{self, Interrupt},
        services::{self, Site},
        shaping,
        traffic::{self, Tally},
    },
};

/// How often the agent is looked at.
const SAMPLE: Duration = Duration::from_secs(10);
/// One flood begins in each such time, in its middle.
const TURN: Duration = Duration::from_secs(30);
/// How long it lasts.
const BURST: Duration = Duration::from_secs(5);
/// Calls and connections, half of each, that go on from the start to the end.
const LIVE: usize = 20;
/// How often the loop looks whether something is to be done.
const STEP: Duration = Duration::from_millis(100);
/// How long the ledger may take until a reading catches no packet under way.
const LEDGER_LIMIT: Duration = Duration::from_secs(3);

/// Live services and floods for a long time.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How long: a number with s, m or h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    duration: Duration,
    /// Run this agent instead of the one of the work tree
    #[arg(long, value_name = "FILE")]
    pub(crate) ntc: Option<PathBuf>,
    /// Write the report with all samples as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as Markdown to this file; that of the repository is docs/soak.md
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// `90s`, `3m`, `1h`; a number alone is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        other => return Err(format!("unit {other:?} is none of s, m and h")),
    };
    let number: u64 = digits.parse().map_err(|error| format!("{digits:?}: {error}"))?;
    let seconds = number.checked_mul(unit).filter(|seconds| (60..=7 * 86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "a minute at least, a week at most".into())
}

/// The verb, with the built agent and the built source of floods.
pub fn main(args: &Args, ntc: &Path, object: &Path, tools: &Path) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        bail!("network namespaces and BPF programs need root: sudo -E env \"PATH=$PATH\" cargo xtask soak");
    }
    let ntc = ntc.canonicalize().with_context(|| format!("no agent at {}", ntc.display()))?;
    let interrupt = Interrupt::install()?;
    let result = soak(args, &ntc, object, tools, &interrupt);
    process::reap_orphans();
    let report = match result {
        Err(error) if interrupt.signalled() => {
            eprintln!("interrupted, and nothing to report ({error:#}); all that was made is removed");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        result => result?,
    };
    let text = report.markdown();
    println!("\n{text}");
    if let Some(file) = &args.report {
        fs::write(file, &text).with_context(|| format!("writing {}", file.display()))?;
    }
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(match (interrupt.signalled(), report.unmet.is_empty()) {
        (true, _) => ExitCode::from(INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

/// All that it makes is owned by values of this function, which remove it when they are dropped.
fn soak(args: &Args, ntc: &Path, object: &Path, tools: &Path, interrupt: &Interrupt) -> Result<Report> {
    let image = image::root(tools);
    image::unpack(&image, &services::packages())?;
    process::adopt_orphans()?;
    let _bpf = BpfMount::ensure()?;
    let temporary = net::temporary_folder()?;
    let dir = temporary.path();
    host::write_etc(dir, &host::ACCOUNTS)?;
    println!("network: client -- router -- server, IPv4 and IPv6, and an attacker");
    let network = Network::with_attacker()?;
    shaping::install(&network, &Ports::default())?;
    flood::routes(&network)?;
    let mut servers = Vec::new();
    let site = Site {
        server: Host::start(&network.namespace("server"), "server", &image, dir)?,
        client: Host::start(&network.namespace("client"), "client", &image, dir)?,
        dir: dir.to_owned(),
        interrupt: interrupt.clone(),
    };
    println!("services: starting {}", services::ALL.map(|service| service.name).join(", "));
    servers.extend(services::start(&site)?);
    let source = Source::new(&network, object)?;
    let agent = flood::start_agent(&network, ntc, dir, interrupt)?;
    let live = Live::start(&network, LIVE)?;
    let labels = Labels::open(&network)?;
    let before = labels.all_final(&live.keys, LABELLED, interrupt)?;

    let deadline = Instant::now() + args.duration;
    let mut watch = Watch {
        network: &network,
        ntc,
        source: &source,
        agent,
        labels,
        before,
        stats: Value::Null,
        start: Instant::now(),
        samples: Vec::new(),
        bursts: Vec::new(),
        progress: Progress::new(args.duration),
    };
    let (outcome, tally) = thread::scope(|scope| {
        let traffic = scope.spawn(|| traffic::drive(&site, &services::ALL, deadline));
        let outcome = watch.until(deadline, interrupt);
        if outcome.is_err() {
            interrupt.raise();
        }
        (outcome, traffic.join().map_err(|_| anyhow!("driving the clients failed")))
    });
    let fault = outcome.err().filter(|_| !interrupt.signalled()).map(|error| format!("{error:#}"));
    let mut report = watch.finish(args.duration, &tally?)?;
    drop(live);
    report.unmet.extend(fault);
    Ok(report)
}

/// What looks after the agent.
struct Watch<'a> {
    network: &'a Network,
    ntc: &'a Path,
    source: &'a Source,
    agent: Agent,
    labels: Labels,
    /// Of the flows that go on all the time, at the start.
    before: HashMap<FlowKey, Label>,
    /// The agent's latest statistics.
    stats: Value,
    start: Instant,
    samples: Vec<Sample>,
    bursts: Vec<Burst>,
    progress: Progress,
}

impl<'a> Watch<'a> {
    fn until(&mut self, deadline: Instant, interrupt: &Interrupt) -> Result<()> {
        let mut flood: Option<(Flood<'a>, Kind, Instant)> = None;
        let (mut next_sample, mut next_flood) = (self.start, self.start + TURN / 2);
        let mut kinds = Kind::ALL.into_iter().cycle();
        while Instant::now() < deadline {
            interrupt.sleep_until(Instant::now() + STEP);
            interrupt.check()?;
            self.agent.check()?;
            if let Some(stats) = self.agent.drain().filter(|line| line["event"] == "stats").last() {
                self.stats = stats;
            }
            let now = Instant::now();
            if let Some((mut running, kind, begin)) = flood.take() {
                running.check()?;
                if now < begin + BURST {
                    flood = Some((running, kind, begin));
                } else {
                    let sent = running.stop()?;
                    let (at_s, took_s) = ((begin - self.start).as_secs_f64(), sent.took.as_secs_f64());
                    self.bursts.push(Burst { kind, at_s, took_s, frames: sent.frames });
                }
            } else if now >= next_flood && now + BURST < deadline {
                next_flood += TURN;
                let kind = kinds.next().context("no kinds")?;
                flood = Some((self.source.start(kind)?, kind, now));
            }
            if now >= next_sample {
                next_sample += SAMPLE;
                self.sample()?;
            }
            let flooding = flood.as_ref().map(|flood| flood.1.name());
            self.progress.show(self.samples.last(), flooding);
        }
        Ok(())
    }

    fn sample(&mut self) -> Result<()> {
        let (stats, closes) = watch::stats(self.network, self.ntc, LEDGER_LIMIT)?;
        let cost = Cost::of(self.agent.id())?;
        let kept = self.labels.kept(&self.before)?;
        self.samples.push(Sample::new(self.start.elapsed(), cost, &stats, closes, &self.stats, kept));
        Ok(())
    }

    /// Ends the agent and sums up, after an interrupt too.
    fn finish(self, wanted: Duration, tally: &Tally) -> Result<Report> {
        self.progress.end();
        let took = self.start.elapsed();
        let summary = self.agent.stop().and_then(|lines| {
            let last =
                lines.into_iter().rfind(|line| matches!(agent::parse(line), Ok(agent::Event::Summary(_))));
            last.context("the agent ended without a summary")
        });
        if self.samples.is_empty() {
            bail!("no sample was taken");
        }
        // What was seen until then is reported all the same.
        let (summary, fault) = match summary {
            Ok(summary) => (summary, None),
            Err(error) => (self.stats, Some(format!("{error:#}"))),
        };
        let mut report = Report::new(wanted, took, self.samples, self.bursts, tally, summary);
        report.unmet.extend(fault);
        Ok(report)
    }
}
