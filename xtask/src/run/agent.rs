//! The agent under test, and what it says on its standard output.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::Value;

use super::{
    net::Network,
    process::{Group, Interrupt},
    traffic::tail,
};

/// How long the agent may take to load its model and attach.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to end after SIGINT: behind a flood, it empties its queues first.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// One line of the agent's.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// It captures.
    Ready,
    /// A flow has a label.
    Label(Box<Label>),
    /// The last line.
    Summary(AgentSummary),
    /// Anything else.
    #[serde(other)]
    Other,
}

/// A label of a flow. The source is the sender of the first packet.
#[derive(Clone, Deserialize)]
pub(crate) struct Label {
    /// Sender of the first packet.
    pub(crate) src_ip: String,
    /// Its receiver.
    pub(crate) dst_ip: String,
    /// Port of the sender.
    pub(crate) src_port: u16,
    /// Port of the receiver.
    pub(crate) dst_port: u16,
    /// `tcp` or `udp`.
    pub(crate) proto: String,
    /// Time of the first packet.
    pub(crate) first_ts_ns: u64,
    /// Service, `unknown` if the model is not sure enough.
    pub(crate) service: String,
    /// Its protocol.
    pub(crate) protocol: String,
    /// Its traffic class.
    pub(crate) class: String,
    /// Confidence, 0 to 1.
    pub(crate) confidence: f64,
    /// `provisional` or `final`.
    pub(crate) stage: String,
    /// Packets that the answer rests on.
    pub(crate) packets: u64,
    /// Why the model was asked: `complete`, `closed` or `paused`.
    pub(crate) reason: String,
    /// From the deciding packet to the label in the map.
    pub(crate) decided_us: u64,
    /// From the first packet to the label in the map.
    pub(crate) age_us: u64,
}

/// The agent's own account of its run.
#[derive(Deserialize)]
pub(crate) struct AgentSummary {
    /// Flows seen.
    pub(crate) flows: u64,
    /// Where each packet went.
    pub(crate) ledger: Ledger,
}

/// The packet ledger.
#[derive(Deserialize)]
pub(crate) struct Ledger {
    /// Whether the ways out add up to the packets seen.
    pub(crate) closes: bool,
}

/// The running agent.
pub(crate) struct Agent {
    group: Group,
    events: Receiver<Value>,
    reader: Option<JoinHandle<()>>,
    log: PathBuf,
}

impl Agent {
    /// Starts the agent on these interfaces of the router, with these options besides, and waits until it captures. Of
    /// its lines those are kept that `keep` picks: in a flood it says more than anybody wants to parse.
    pub(crate) fn start(
        network: &Network,
        ntc: &Path,
        interfaces: &[&str],
        options: &[&str],
        log: &Path,
        keep: fn(&str) -> bool,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        // Not where the machine's own agent, or that of another run, has its maps.
        let pins = network.pin_directory();
        println!("agent: loading the model, attaching to the router, its maps in {pins}");
        let mut command = network.command("router", ntc);
        command
            .args(["run", "--format", "json", "--iface"])
            .arg(interfaces.join(","))
            .arg("--pin-dir")
            .arg(&pins)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?);
        let mut group = Group::spawn(&mut command)?;
        let stdout = group.child().stdout.take().context("no output pipe")?;
        let (sender, events) = channel();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if keep(&line)
                    && let Ok(value) = serde_json::from_str(&line)
                    && sender.send(value).is_err()
                {
                    return;
                }
            }
        });
        let mut agent = Self { group, events, reader: Some(reader), log: log.to_owned() };
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            interrupt.check()?;
            match agent.events.recv_timeout(Duration::from_millis(50)) {
                Ok(value) if matches!(parse(&value), Ok(Event::Ready)) => return Ok(agent),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => agent.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    agent.group.wait_until(Instant::now() + Duration::from_secs(1), interrupt)?;
                    agent.check()?;
                    bail!("the agent closed its output: {}", tail(&agent.log));
                }
            }
        }
        bail!("the agent is not ready after {START_LIMIT:?}: {}", tail(&agent.log));
    }

    /// Its process: the programs that start it become it.
    pub(crate) fn id(&self) -> u32 {
        self.group.id()
    }

    /// An error if the agent has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.group.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the agent ended ({status}): {}", tail(&self.log)),
        }
    }

    /// Lines that have come since the last call.
    pub(crate) fn drain(&self) -> impl Iterator<Item = Value> {
        self.events.try_iter()
    }

    /// Asks the agent to end; its remaining lines, the summary among them.
    pub(crate) fn stop(mut self) -> Result<Vec<Value>> {
        let status = self.group.stop(STOP_LIMIT)?;
        match status {
            Some(status) if status.success() => {}
            Some(status) => bail!("the agent failed ({status}): {}", tail(&self.log)),
            None => bail!("the agent does not end within {STOP_LIMIT:?} of SIGINT: {}", tail(&self.log)),
        }
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| anyhow!("reading the agent's output failed"))?;
        }
        Ok(self.events.try_iter().collect())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Asked first, so that it detaches and takes its pins away; the group's own drop kills what is left.
        let _ = self.group.stop(STOP_LIMIT);
    }
}

/// What a line says.
pub(crate) fn parse(value: &Value) -> Result<Event> {
    Event::deserialize(value).with_context(|| format!("unexpected line of the agent: {value}"))
}
