//! What passes the line: calls with signalling, look-ups, and bulk transfers that take what they can get.

mod bulk;
mod calls;
mod names;
mod stamp;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::net::Net;

/// Transfers at once, each way.
pub const TRANSFERS: u16 = 2;
/// Before the calls: the transfers fill the line.
const LEAD: Duration = Duration::from_secs(3);

/// Where services listen.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Signalling.
    pub sip: u16,
    /// Speech: the first of both ends.
    pub speech: u16,
    /// Names.
    pub dns: u16,
    /// HTTP.
    pub bulk: u16,
}

/// Those that services are known by.
pub const STANDARD: Ports = Ports { sip: 5060, speech: 16_384, dns: 53, bulk: 80 };
/// Those that no port rule knows.
pub const OTHER: Ports = Ports { sip: 5999, speech: 50_000, dns: 5300, bulk: 8099 };

/// Direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Client to far host.
    Up,
    /// Far host to client.
    Down,
}

/// Packets of a call in one direction.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Which.
    pub way: Way,
    /// One-way delay by packet; `None` if it never came.
    pub delays_ms: Vec<Option<f64>>,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Two a call.
    pub streams: Vec<Stream>,
    /// INVITE to 200.
    pub setups_ms: Vec<f64>,
    /// By look-up; `None` without an answer.
    pub answers_ms: Vec<Option<f64>>,
    /// Payload, Mbit/s, while there were calls.
    pub bulk_up_mbit: f64,
    /// The other way.
    pub bulk_down_mbit: f64,
}

impl Outcome {
    /// Delays of all packets in one direction.
    pub fn delays(&self, way: Way) -> impl Iterator<Item = Option<f64>> {
        self.streams
            .iter()
            .filter(move |stream| stream.way == way)
            .flat_map(|stream| stream.delays_ms.clone())
    }
}

/// Sends all of it for so long.
///
/// # Errors
/// Sockets, or a call that does not come about.
pub fn run(net: &Net, ports: Ports, lasts: Duration) -> Result<Outcome> {
    let stop = &Stop(AtomicBool::new(false));
    let servers = net.far.enter(|| Ok((names::Server::bind(ports)?, bulk::Server::bind(ports)?)))?;
    let lines = calls::Line::all(net, ports)?;
    let (names_server, bulk_server) = &servers;
    thread::scope(|scope| {
        // Whatever fails: the others end, too.
        let ending = Ending(stop);
        scope.spawn(|| names_server.serve(stop));
        scope.spawn(|| bulk_server.serve(stop));
        let clients: Vec<_> = (0..2 * TRANSFERS)
            .map(|number| {
                scope
                    .spawn(move || net.client.enter(|| bulk::transfer(ports, number.is_multiple_of(2), stop)))
            })
            .collect();
        thread::sleep(LEAD);
        let (up, down, begun) = (bulk_server.received(), bulk::downloaded(), Instant::now());
        let until = begun + lasts;
        let asking = scope.spawn(move || net.client.enter(|| names::ask(ports, until)));
        let calling: Vec<_> = lines.iter().map(|line| scope.spawn(move || line.call(until))).collect();
        let mut outcome = Outcome::default();
        for call in calling {
            let (setup_ms, streams) = call.join().map_err(|_| anyhow!("a call died"))??;
            outcome.setups_ms.push(setup_ms);
            outcome.streams.extend(streams);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let mbit = |bytes: u64| bytes as f64 * 8e-6 / seconds;
        outcome.bulk_up_mbit = mbit(bulk_server.received() - up);
        outcome.bulk_down_mbit = mbit(bulk::downloaded() - down);
        outcome.answers_ms = asking.join().map_err(|_| anyhow!("the look-ups died"))??;
        drop(ending);
        for client in clients {
            client.join().map_err(|_| anyhow!("a transfer died"))??;
        }
        Ok(outcome)
    })
}

/// The end for all.
struct Stop(AtomicBool);

impl Stop {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Ending<'a>(&'a Stop);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

fn wait_until(due: Instant) {
    if let Some(early) = due.checked_duration_since(Instant::now()) {
        thread::sleep(early);
    }
}
