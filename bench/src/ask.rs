//! The query interface with many flows and many subscribers, and what asking costs the labels.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ntc_tests::{
    agent::{Agent, PinDir},
    net::Namespace,
};
use ntc_user::api::listen::socket_of;
use serde_json::Value;

use crate::{
    live::{label, memory_kib, steady, times},
    report::{Report, Row},
    rounds::Spread,
};

/// Live flows, and how many of them begin a second.
const FLOWS: u32 = 100_000;
const FLOWS_PER_SECOND: u32 = 5_000;
const SUBSCRIBERS: usize = 50;
/// Flows whose time to a label is taken down, without and with somebody who asks.
const TIMED: u32 = 2_500;
const PAGES: u32 = 50;
const LOOKUPS: u32 = 2_000;

/// A connection that is kept.
struct Asker(BufReader<UnixStream>);

impl Asker {
    fn connect(socket: &Path) -> Result<Self> {
        Ok(Self(BufReader::new(UnixStream::connect(socket)?)))
    }

    fn send(&mut self, path: &str) -> Result<()> {
        Ok(self
            .0
            .get_mut()
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?)
    }

    fn get(&mut self, path: &str) -> Result<Value> {
        self.send(path)?;
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            ensure!(self.0.read_line(&mut line)? > 0, "{path}: the connection was closed");
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse()?;
                }
                _ if line == "\r\n" => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        serde_json::from_slice(&body).with_context(|| path.to_owned())
    }

    /// Milliseconds that each of so many answers took.
    fn times(&mut self, count: u32, path: impl Fn(u32) -> String) -> Result<Vec<f64>> {
        (0..count)
            .map(|i| {
                let (path, start) = (path(i), Instant::now());
                self.get(&path)?;
                Ok(start.elapsed().as_secs_f64() * 1e3)
            })
            .collect()
    }
}

/// The rows. One run: it is long, and its spread is within it.
///
/// # Errors
/// The agent could not be started, or does not answer.
pub fn measure(_rounds: usize) -> Result<Report> {
    let mut report = Report::new("ask", "as each row says, one run");
    let (sender, host) = (Namespace::new()?, Namespace::new()?);
    sender.veth("s0", &host, "h0")?;
    let pins = PinDir::new("bench-ask");
    let room = (2 * FLOWS).to_string();
    let mut agent = Agent::start(&host, &pins.0, &["--iface", "h0", "--max-flows", &room])?;
    let (process, socket) = (agent.id(), socket_of(&pins.0));
    let mib = |field: &str| Ok::<_, anyhow::Error>(memory_kib(process, field)? as f64 / 1024.0);

    sender.enter(|| steady(0, FLOWS, FLOWS_PER_SECOND, 2))?;
    let mut ask = Asker::connect(&socket)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut labelled = 0;
    while labelled < u64::from(FLOWS) * 99 / 100 {
        ensure!(Instant::now() < deadline, "{labelled} of {FLOWS} flows have labels");
        // Its events are read, so that it is not slowed by its own output.
        while agent.event()?.context("the agent ended")?["event"] != "stats" {}
        labelled = ask.get("/v1/stats")?["labelled_now"].as_u64().unwrap_or(0);
    }
    let memory = mib("VmRSS")?;
    let quiet = label(&mut agent, &sender, FLOWS, TIMED)?.us;
    report.rows.push(times("20th packet to label, nobody asks, us".into(), quiet));

    let (stop, live, bytes) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| -> Result<()> {
        let ended = Stop(&stop);
        for _ in 0..SUBSCRIBERS {
            let mut stream = Asker::connect(&socket)?;
            stream.send("/v1/events")?;
            stream.0.get_ref().set_read_timeout(Some(Duration::from_millis(200)))?;
            let (stop, live, bytes) = (&stop, &live, &bytes);
            scope.spawn(move || follow(stream, stop, live, bytes));
        }
        let begin = Instant::now();
        while live.load(Ordering::Relaxed) < SUBSCRIBERS as u64 {
            ensure!(begin.elapsed() < Duration::from_secs(60), "no snapshot for all subscribers");
            while agent.event()?.context("the agent ended")?["event"] != "stats" {}
        }
        let snapshot = begin.elapsed().as_secs_f64() * 1e3;
        report.rows.push(times(
            format!("first page of /v1/flows, {SUBSCRIBERS} subscribers, ms"),
            ask.times(PAGES, |_| "/v1/flows".into())?,
        ));
        ensure!(ask.get(&lookup(1))?["status"] == "labelled", "the lookup finds its flow");
        report
            .rows
            .push(times(format!("lookup, {SUBSCRIBERS} subscribers, ms"), ask.times(LOOKUPS, lookup)?));
        let (stop, socket) = (&stop, &socket);
        let asking = scope.spawn(move || -> Result<u64> {
            let (mut ask, mut asked) = (Asker::connect(socket)?, 0);
            while !stop.load(Ordering::Relaxed) {
                ask.get(&lookup(asked as u32 % FLOWS))?;
                asked += 1;
                thread::sleep(Duration::from_millis(5));
            }
            Ok(asked)
        });
        let busy = label(&mut agent, &sender, FLOWS + TIMED, TIMED)?.us;
        report.rows.push(times(
            format!("20th packet to label, {SUBSCRIBERS} subscribers and 200 lookups/s, us"),
            busy,
        ));
        let stats = ask.get("/v1/stats")?;
        drop(ended);
        let asked = asking.join().map_err(|_| anyhow::anyhow!("the asker failed"))??;
        report.notes.push(format!(
            "{labelled} labelled flows; all {SUBSCRIBERS} snapshots of them in {snapshot:.0} ms; {asked} lookups beside \
             the labels; {} MiB sent to subscribers; {} readers dropped as too slow",
            bytes.load(Ordering::Relaxed) / (1024 * 1024),
            stats["api"]["slow_readers"]
        ));
        Ok(())
    })?;
    let one = |value: f64| Spread::of(vec![value]);
    report.rows.push(Row::new(format!("agent's memory with {FLOWS} flows (VmRSS), MiB"), one(memory)));
    report.rows.push(Row::new("agent's memory at most, all of this (VmHWM), MiB", one(mib("VmHWM")?)));
    agent.stop()?;
    Ok(report)
}

/// The question about a flow of [`steady`].
fn lookup(flow: u32) -> String {
    let client = Ipv4Addr::from(0x0a00_0000 + flow * 47 % FLOWS);
    format!("/v1/flows/lookup?src_ip={client}&src_port=40000&dst_ip=192.0.2.1&dst_port=443&proto=tcp")
}

/// Ends the threads, however the measurement ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads events until told to stop.
fn follow(mut stream: Asker, stop: &AtomicBool, live: &AtomicU64, bytes: &AtomicU64) {
    let mut line = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match stream.0.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                bytes.fetch_add(line.len() as u64, Ordering::Relaxed);
                if line == b"event: live\n" {
                    live.fetch_add(1, Ordering::Relaxed);
                }
                line.clear();
            }
            // Nothing came in time, or the connection broke: the count of those who are live tells.
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}
