//! `cargo xtask flood`: floods beside live flows, and what they do to the labels of those.
//!
//! ```text
//!   client ---- to-client  | router | to-server ---- server
//!     live flows           | agent  |                  echo
//! attacker ---- to-attacker|        |
//!     live frames
//! ```

mod baseline;
mod echo;
mod kind;
pub(crate) mod live;
mod meter;
mod report;
pub(crate) mod source;
pub(crate) mod watch;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use ntc_common::{key::FlowKey, label::Label};
use serde_json::Value;

use baseline::Baseline;
pub(crate) use kind::Kind;
use live::Live;
use report::{Flooded, Report};
use source::Source;
use watch::{Cost, Labels};

use crate::run::{
    agent::{self, Agent},
    net::{self, BpfMount, CLIENT_V4, CLIENT_V6, Network, TO_ATTACKER, TO_CLIENT, TO_SERVER},
    process::{self, Interrupt},
};

/// How long the live flows may take until each has its final label.
pub(crate) const LABELLED: Duration = Duration::from_secs(30);
/// How long the live flows are measured without a flood.
const QUIET: Duration = Duration::from_secs(5);
/// How often the agent's memory is read.
const SAMPLE: Duration = Duration::from_millis(250);
/// How long new flows are tried after a flood.
const RECOVERY: Duration = Duration::from_secs(30);
/// A new flow that has no label by then is not counted as labelled; another is tried.
const PROBE: Duration = Duration::from_secs(1);
/// Time for packets under way.
const DRAIN: Duration = Duration::from_millis(500);

/// Floods beside live flows.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Kinds of flood, one after the other; all if none is named
    #[arg(long, value_enum, value_delimiter = ',')]
    kind: Vec<Kind>,
    /// Seconds of each flood
    #[arg(long, value_name = "SECS", default_value_t = 60.0)]
    duration: f64,
    /// Live flows: half of them calls with 50 packets a second, half connections with 5 requests a second
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    flows: u32,
    /// Leave out the same floods without ntc, of at most ten seconds each, beside which loss is judged
    #[arg(long)]
    no_baseline: bool,
    /// Flood this agent instead of the one of the work tree
    #[arg(long, value_name = "FILE")]
    pub(crate) ntc: Option<PathBuf>,
    /// Write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The verb, with the built agent and the built source.
pub fn main(args: &Args, ntc: &Path, object: &Path) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        bail!("network namespaces and BPF programs need root: sudo -E env \"PATH=$PATH\" cargo xtask flood");
    }
    let ntc = &ntc.canonicalize().with_context(|| format!("no agent at {}", ntc.display()))?;
    let interrupt = Interrupt::install()?;
    let result = floods(args, ntc, object, &interrupt);
    process::reap_orphans();
    if interrupt.signalled() {
        eprintln!("interrupted; all that the run had made is removed");
        return Ok(ExitCode::from(crate::run::INTERRUPTED));
    }
    let report = result?;
    print!("{}", report.text());
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(if report.unmet.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All that it makes is owned by values of this function, which remove it when they are dropped.
fn floods(args: &Args, ntc: &Path, object: &Path, interrupt: &Interrupt) -> Result<Report> {
    let kinds = if args.kind.is_empty() { Kind::ALL.to_vec() } else { args.kind.clone() };
    let duration = Duration::from_secs_f64(args.duration);
    process::adopt_orphans()?;
    let _bpf = BpfMount::ensure()?;
    let temporary = net::temporary_folder()?;
    println!("network: client -- router -- server, and an attacker");
    let network = Network::with_attacker()?;
    routes(&network)?;
    let source = Source::new(&network, object)?;
    let mut live = Live::start(&network, args.flows as usize)?;
    let mut unwatched = HashMap::new();
    if !args.no_baseline {
        let baseline = Baseline::new(&network, object)?;
        for (number, kind) in (10..).zip(&kinds) {
            println!("without ntc: {}", kind.name());
            unwatched.insert(*kind, baseline.flood(&source, &mut live, *kind, duration, number, interrupt)?);
        }
    }
    let agent = start_agent(&network, ntc, temporary.path(), interrupt)?;
    let mut scene = Scene::new(network, ntc, live, agent, interrupt.clone())?;
    let cost_at_begin = Cost::of(scene.agent.id())?;
    scene.live.begin(1);
    scene.wait(QUIET, |_| Ok(()))?;
    scene.live.begin(0);
    scene.wait(DRAIN, |_| Ok(()))?;
    let quiet = scene.live.take(1).into();
    let mut done = vec![];
    for (number, kind) in (100..).zip(kinds) {
        println!("flood: {} for {} s", kind.name(), args.duration);
        let mut flooded = scene.flood(&source, kind, duration, number)?;
        flooded.without_ntc = unwatched.remove(&kind);
        print!("{}\n{}", report::HEAD, flooded.text());
        done.push(flooded);
    }
    let cost_at_end = Cost::of(scene.agent.id())?;
    let summary = scene.stop()?;
    let mut unmet: Vec<_> = done.iter().flat_map(Flooded::unmet).collect();
    if summary["ledger"]["closes"] != true {
        unmet.push("the ledger of the agent's summary does not close".into());
    }
    Ok(Report {
        flows: args.flows as usize,
        duration_s: args.duration,
        machine: machine(),
        quiet,
        floods: done,
        cost_at_begin,
        cost_at_end,
        agent: summary,
        unmet,
    })
}

/// Ways for the spoofed addresses: answers go back to the attacker, who drops them; the rest ends at the router.
pub(crate) fn routes(network: &Network) -> Result<()> {
    let [v4, v6] = kind::SPRAYED;
    network.ip("router", &format!("route add blackhole {v4}"))?;
    network.ip("router", &format!("-6 route add blackhole {v6}"))?;
    network.ip("router", "route add 10.0.0.0/8 via 203.0.113.2")?;
    network.ip("router", "-6 route add 2001:db8:bad::/48 via 2001:db8:3::2")?;
    Ok(())
}

/// The agent on all interfaces of the router. Its lines are kept, but for labels of the flood's flows.
pub(crate) fn start_agent(network: &Network, ntc: &Path, dir: &Path, interrupt: &Interrupt) -> Result<Agent> {
    fs::create_dir_all(dir.join("log"))?;
    let keep =
        |line: &str| !line.contains("\"label\"") || line.contains(CLIENT_V4) || line.contains(CLIENT_V6);
    Agent::start(
        network,
        ntc,
        &[TO_CLIENT, TO_SERVER, TO_ATTACKER],
        &[],
        &dir.join("log/agent.log"),
        keep,
        interrupt,
    )
}

/// The network with the agent and the live flows on it, each of which has its label.
pub(crate) struct Scene {
    // In the order in which they end: the network last.
    live: Live,
    agent: Agent,
    labels: Labels,
    before: HashMap<FlowKey, Label>,
    /// The agent's latest statistics.
    stats: Value,
    ntc: PathBuf,
    interrupt: Interrupt,
    network: Network,
}

impl Scene {
    fn new(network: Network, ntc: &Path, live: Live, agent: Agent, interrupt: Interrupt) -> Result<Self> {
        let labels = Labels::open(&network)?;
        let before = labels.all_final(&live.keys, LABELLED, &interrupt)?;
        Ok(Self { live, agent, labels, before, stats: Value::Null, ntc: ntc.to_owned(), interrupt, network })
    }

    /// Waits, looking after everything and sampling four times a second.
    fn wait(&mut self, time: Duration, mut sample: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let more = self.interrupt.sleep_until((Instant::now() + SAMPLE).min(end));
            self.interrupt.check()?;
            self.live.check()?;
            self.agent.check()?;
            if let Some(stats) = self.agent.drain().filter(|line| line["event"] == "stats").last() {
                self.stats = stats;
            }
            sample(self)?;
            if !more || Instant::now() >= end {
                return Ok(());
            }
        }
    }

    fn flood(&mut self, source: &Source, kind: Kind, duration: Duration, number: u32) -> Result<Flooded> {
        let (stats_before, _) = watch::stats(&self.network, &self.ntc, Duration::from_secs(2))?;
        let events_before = self.stats.clone();
        let pid = self.agent.id();
        let cost_begin = Cost::of(pid)?;
        let (mut cost_peak, mut cost_middle, mut cost_end) = (cost_begin, None, cost_begin);
        let mut kept_least = self.before.len();
        let mut next_look = Instant::now();
        let mut flood = source.start(kind)?;
        self.live.begin(number);
        let start = Instant::now();
        self.wait(duration, |scene| {
            flood.check()?;
            cost_end = Cost::of(pid)?;
            cost_peak = cost_peak.most(cost_end);
            if start.elapsed() >= duration / 2 {
                cost_middle.get_or_insert(cost_end);
            }
            if Instant::now() >= next_look {
                next_look += Duration::from_secs(1);
                kept_least = kept_least.min(scene.labels.kept(&scene.before)?);
            }
            Ok(())
        })?;
        let kept = self.labels.kept(&self.before)?;
        self.live.begin(0);
        let sent = flood.stop()?;
        let ended = Instant::now();
        let (stats_ended, _) = watch::stats(&self.network, &self.ntc, Duration::ZERO)?;
        let recovery_s = self.recovery(ended)?;
        self.wait(DRAIN, |_| Ok(()))?;
        let (stats_after, ledger_closes) = watch::stats(&self.network, &self.ntc, Duration::from_secs(5))?;
        // One more line of statistics, for the agent's own counters.
        self.wait(Duration::from_millis(1500), |_| Ok(()))?;
        let forwarding: meter::Forwarding = self.live.take(number).into();
        let grown = |path: &str| {
            let number = |stats: &Value| stats.pointer(path).and_then(Value::as_u64).unwrap_or_default();
            number(&stats_ended).saturating_sub(number(&stats_before))
        };
        let seen = grown("/ledger/seen");
        let mut pressure = watch::pressure(&stats_before, &stats_after);
        pressure.extend(watch::pressure(&events_before, &self.stats));
        let seconds = sent.took.as_secs_f64();
        Ok(Flooded {
            kind,
            offered: sent.frames,
            offered_per_s: sent.frames as f64 / seconds,
            seen,
            seen_per_s: seen as f64 / seconds,
            labelled: self.before.len(),
            kept,
            kept_least: kept_least.min(kept),
            ledger_closes,
            cost_begin,
            cost_middle: cost_middle.unwrap_or(cost_end),
            cost_end,
            cost_peak,
            forwarding,
            without_ntc: None,
            recovery_s,
            new_flows: grown("/ledger/new_flows"),
            pressure,
        })
    }

    /// Seconds from the flood's end to the label of a new flow that had it within a second of its begin.
    fn recovery(&mut self, ended: Instant) -> Result<Option<f64>> {
        while ended.elapsed() < RECOVERY {
            let port = live::probe(&self.network)?;
            let begin = Instant::now();
            while begin.elapsed() < PROBE {
                self.interrupt.check()?;
                self.agent.check()?;
                for line in self.agent.drain().collect::<Vec<_>>() {
                    if line["event"] == "stats" {
                        self.stats = line;
                    } else if line["event"] == "label" && line["src_port"] == port {
                        return Ok(Some(ended.elapsed().as_secs_f64()));
                    }
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(None)
    }

    /// Ends the agent; its summary.
    fn stop(self) -> Result<Value> {
        drop(self.live);
        let lines = self.agent.stop()?;
        let summary =
            lines.into_iter().rfind(|line| matches!(agent::parse(line), Ok(agent::Event::Summary(_))));
        summary.context("the agent ended without a summary")
    }
}

/// Sets the nice value of the calling thread, and of it alone.
fn prefer(nice: i32) -> Result<()> {
    rustix::process::setpriority_process(None, nice).context("setting a thread's priority")
}

fn joined(thread: JoinHandle<Result<()>>) -> Result<()> {
    thread.join().map_err(|_| anyhow!("a thread died"))?
}

/// Processor, how many, and kernel.
pub(crate) fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let processors = thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{} x {}, Linux {}", processors, model.map_or("processor", |(_, name)| name), kernel.trim())
}
