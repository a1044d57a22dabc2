//! The agent under steady load: time to label, processor time, memory.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ntc_tests::{
    agent::{Agent, PinDir},
    frames::Frame,
    net::Namespace,
    wire::RawSocket,
};
use serde_json::Value;

use crate::{
    machine::{ARITHMETIC, arithmetic, on_all_processors},
    report::{Report, Row},
    rounds::Spread,
};

/// New flows a second, and for how long.
const FLOWS_PER_SECOND: u32 = 500;
const SECONDS: u32 = 20;
const FLOWS: u32 = FLOWS_PER_SECOND * SECONDS;
/// More than a sequence.
const FLOW_PACKETS: u32 = 24;
/// Between two packets of a flow.
const GAP: Duration = Duration::from_millis(5);
/// The machine is watched alone for so long.
const ALONE: Duration = Duration::from_secs(10);
/// Live flows when memory is read, their packets, and new ones a second.
const MANY: u32 = 65_536;
const MANY_PACKETS: u32 = 2;
const MANY_PER_SECOND: u32 = 5_000;

/// The rows. One run: it is long, and its spread is within it.
///
/// # Errors
/// The agent could not be started, or labels did not come.
pub fn measure(_rounds: usize) -> Result<Report> {
    let mut report = Report::new("live", "as each row says, one run");
    let name = format!("the machine alone: {} ms of arithmetic, us", ARITHMETIC.as_millis());
    report.rows.push(times_and_late(name, arithmetic(ALONE)));
    let (sender, host) = (Namespace::new()?, Namespace::new()?);
    sender.veth("s0", &host, "h0")?;
    let pins = PinDir::new("bench-live");
    let most = (2 * MANY).to_string();
    let mut agent =
        on_all_processors(|| Agent::start(&host, &pins.0, &["--iface", "h0", "--max-flows", &most]))??;
    let process = agent.id();
    let idle_kib = memory_kib(process, "VmRSS")?;

    let (cpu, before, start) = (cpu_seconds(process)?, processor_ticks()?, Instant::now());
    let Labelled { us: decided, behind, mut stats } = label(&mut agent, &sender, 0, FLOWS)?;
    let share = (cpu_seconds(process)? - cpu) / start.elapsed().as_secs_f64();
    let [stolen, all] = processor_ticks()?;
    let stolen = (stolen - before[0]) / (all - before[1]).max(1.0);
    ensure!(!decided.is_empty(), "no flow was labelled; the last statistics: {stats}");
    let labelled = decided.len() as f64;
    report
        .rows
        .push(times_and_late(format!("{FLOWS_PER_SECOND} new flows/s: 20th packet to label, us"), decided));
    let one = |value: f64| Spread::of(vec![value]);
    report.rows.push(Row::new(
        "  labelled when complete, of the flows, %",
        one(100.0 * labelled / f64::from(FLOWS)),
    ));
    report.rows.push(Row::new("  sender behind its plan at most, ms", one(behind.as_secs_f64() * 1e3)));
    report.rows.push(Row::new("  agent's processor time, % of one", one(100.0 * share)));
    report.rows.push(Row::new("  the hypervisor took, % of all processors", one(100.0 * stolen)));

    // Flows that do not come to an end: the agent holds their sequences.
    let sent = sender.enter(|| steady(FLOWS, MANY, MANY_PER_SECOND, MANY_PACKETS))?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let all = u64::from(FLOWS + MANY);
    while Instant::now() < deadline {
        let event = agent.event()?.context("the agent ended")?;
        if event["event"] == "stats" {
            stats = event;
            if stats["labelled"].as_u64() >= Some(all) {
                break;
            }
        }
    }
    let labelled = stats["labelled"].as_f64().unwrap_or(0.0);
    ensure!(
        labelled > 0.99 * f64::from(FLOWS + MANY),
        "not all flows have labels: {stats}, sender {sent:?} behind"
    );
    let mib = |kib: u64| one(kib as f64 / 1024.0);
    report.rows.push(Row::new("agent's memory at rest (VmRSS), MiB", mib(idle_kib)));
    report.rows.push(Row::new(
        format!("agent's memory with {MANY} live flows (VmRSS), MiB"),
        mib(memory_kib(process, "VmRSS")?),
    ));
    report
        .rows
        .push(Row::new("agent's memory at most so far (VmHWM), MiB", mib(memory_kib(process, "VmHWM")?)));
    report.notes.push(format!("The agent's last statistics: {stats}"));
    agent.stop()?;
    Ok(report)
}

/// A row of times in µs, of which there may not be none.
pub fn times(name: String, mut us: Vec<f64>) -> Row {
    let percentile = percentiles(&mut us);
    let spread = Spread { median: percentile(50), lowest: percentile(0), highest: percentile(100) };
    Row::new(name, spread).with("p99", percentile(99))
}

/// The same, with how many are longer than was asked for.
fn times_and_late(name: String, us: Vec<f64>) -> Row {
    let late = us.iter().filter(|us| **us >= 10_000.0).count() as f64 / us.len() as f64;
    times(name, us).with("over 10 ms %", 100.0 * late)
}

/// How flows were labelled.
pub struct Labelled {
    /// From each one's 20th packet to its label in the map.
    pub us: Vec<f64>,
    /// The sender behind its plan, at most.
    pub behind: Duration,
    /// What the agent counted last.
    pub stats: Value,
}

/// Sends flows at the steady rate and takes down when each was labelled.
///
/// # Errors
/// The agent ended, or nothing can be sent.
pub fn label(agent: &mut Agent, sender: &Namespace, first: u32, flows: u32) -> Result<Labelled> {
    let (mut us, mut stats) = (Vec::new(), Value::Null);
    let behind = thread::scope(|scope| -> Result<Duration> {
        let sending = scope.spawn(|| sender.enter(|| steady(first, flows, FLOWS_PER_SECOND, FLOW_PACKETS)));
        // The agent speaks once a second, so the deadline is looked at.
        let deadline = Instant::now() + Duration::from_secs(u64::from(flows / FLOWS_PER_SECOND) + 10);
        while us.len() < flows as usize && Instant::now() < deadline {
            let event = agent.event()?.context("the agent ended")?;
            if event["event"] == "label" && event["reason"] == "complete" {
                us.push(event["decided_us"].as_f64().unwrap_or(f64::MAX));
            } else if event["event"] == "stats" {
                stats = event;
            }
        }
        sending.join().map_err(|_| anyhow::anyhow!("the sender failed"))?
    })?;
    Ok(Labelled { us, behind, stats })
}

/// Of values, which may not be none.
fn percentiles(values: &mut [f64]) -> impl Fn(usize) -> f64 {
    values.sort_by(f64::total_cmp);
    |hundredth: usize| values[(values.len() - 1) * hundredth / 100]
}

/// Begins so many flows a second and sends their packets in turns; returns how far it was behind its plan at most.
pub fn steady(first: u32, flows: u32, per_second: u32, packets: u32) -> Result<Duration> {
    let socket = RawSocket::open("s0")?;
    let between = Duration::from_secs(1) / per_second;
    let lasts = (GAP * packets).as_nanos().div_ceil(between.as_nanos()) as u32;
    let (start, mut behind) = (Instant::now(), Duration::ZERO);
    // One step a new flow; in it, each of the flows before sends what is due.
    for step in 0..flows + lasts {
        let due = start + between * step;
        let now = Instant::now();
        match due.checked_duration_since(now) {
            Some(early) => thread::sleep(early),
            None => behind = behind.max(now - due),
        }
        for flow in step.saturating_sub(lasts)..(step + 1).min(flows) {
            let (before, until) = (between * (step - flow), between * (step - flow + 1));
            let sent =
                |elapsed: Duration| elapsed.as_nanos().div_ceil(GAP.as_nanos()).min(packets.into()) as u32;
            for packet in sent(before)..sent(until) {
                socket.send(&frame(first + flow, packet).bytes())?;
            }
        }
    }
    Ok(behind)
}

/// Packet of a TLS-like flow: requests and answers in turns.
fn frame(flow: u32, packet: u32) -> Frame {
    const ACK_PSH: u8 = 0x18;
    const SYN: u8 = 0x02;
    let client = (IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + flow)), 40_000);
    let server = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 443);
    if packet == 0 {
        return Frame::tcp(client, server, SYN, 0);
    }
    let request = Frame::tcp(client, server, ACK_PSH, (packet * 53 % 1400) as usize);
    if packet.is_multiple_of(2) { request } else { request.reply((packet * 531 % 1400) as usize) }
}

/// A field of `/proc/PID/status`.
pub fn memory_kib(process: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value
        .and_then(|value| value.split_whitespace().next())
        .context("no such field")?
        .parse()
        .context("a number")
}

/// Processor time of another process, in steps of 10 ms.
fn cpu_seconds(process: u32) -> Result<f64> {
    const TICKS_PER_SECOND: f64 = 100.0; // USER_HZ, the same on every Linux that ntc runs on
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may have spaces; user and system time are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS_PER_SECOND)
}

/// Time of all processors since the start, in ticks: what the hypervisor took (proc(5), `steal`), and all.
fn processor_ticks() -> Result<[f64; 2]> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().context("/proc/stat")?.split_whitespace().skip(1).take(8);
    let ticks = fields.map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    Ok([*ticks.last().context("/proc/stat")?, ticks.iter().sum()])
}
