//! A long cable: two TAP devices and this process between them, which delays, loses and spaces out frames, and takes away
//! what a silent server sends. Where the kernel has netem it would do but for that; many kernels do not.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use ntc_common::{key::IPPROTO_UDP, link::LinkType, packet::Packet, parse::parse, source::Captured};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{deal::Line, draw::Draw};

/// Longest queue before the line, in time: later frames are dropped.
const QUEUE: Duration = Duration::from_millis(250);
/// The largest frame, and more.
const FRAME: usize = 16_384;
/// How often the end is looked for.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Services over UDP that are not heard.
#[derive(Clone, Default)]
pub(super) struct Silent {
    addresses: Vec<[u8; 16]>,
    ports: Vec<(u16, u16)>,
}

impl Silent {
    /// Of the server with these addresses, on these ports, first and last of each range.
    pub(super) fn new(addresses: &[&str], ports: Vec<(u16, u16)>) -> Result<Self> {
        let bytes = |address: &&str| {
            Ok(match address.parse()? {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            }
            .octets())
        };
        Ok(Self { addresses: addresses.iter().map(bytes).collect::<Result<_>>()?, ports })
    }

    /// Whether one of them sent this frame.
    fn sent(&self, frame: &[u8]) -> bool {
        if self.ports.is_empty() {
            return false;
        }
        let mut packet = Packet::ZERO;
        let read = parse(&Captured::new(frame, frame.len()), LinkType::Ethernet, &mut packet);
        let key = packet.key;
        let (address, port) = if packet.from_upper { key.upper() } else { key.lower() };
        let port = u16::from_be_bytes(port);
        read.is_ok()
            && key.protocol == IPPROTO_UDP
            && self.addresses.contains(&address)
            && self.ports.iter().any(|&(first, last)| (first..=last).contains(&port))
    }
}

/// The cable at work; dropping it cuts it.
pub(super) struct Wire {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Wire {
    /// Joins the two ends as the line says. What is lost depends on the seed and on the order of the frames; what `silent`
    /// sends is all lost.
    pub(super) fn start([a, b]: [File; 2], line: &Line, draw: &Draw, silent: &Silent) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (from, to) in [(a.try_clone()?, b.try_clone()?), (b, a)] {
            let (sender, receiver) = channel();
            let (line, draw, flag) = (line.clone(), draw.clone(), Arc::clone(&stop));
            let silent = silent.clone();
            threads.push(thread::spawn(move || take(from, &line, draw, &silent, &sender, &flag)));
            threads.push(thread::spawn(move || give(to, &receiver)));
        }
        Ok(Self { stop, threads })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

/// Takes frames in until the end and says when each arrives.
fn take(
    mut from: File,
    line: &Line,
    mut draw: Draw,
    silent: &Silent,
    to: &Sender<(Instant, Vec<u8>)>,
    stop: &AtomicBool,
) {
    let delay = Duration::from_secs_f64(line.rtt_ms / 2e3);
    let mut frame = vec![0; FRAME];
    let mut sent = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match poll(&mut [PollFd::new(&from, PollFlags::IN)], Some(&LOOK)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return,
        }
        // A device that is down, or gone with its namespace, fails: the next look tells.
        let Ok(length) = from.read(&mut frame) else {
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        let now = Instant::now();
        let begin = sent.max(now);
        if begin - now > QUEUE || draw.share() < line.loss || silent.sent(&frame[..length]) {
            continue;
        }
        sent = begin + Duration::from_secs_f64(length as f64 * 8e-6 / line.mbit_s);
        if to.send((sent + delay, frame[..length].to_vec())).is_err() {
            return;
        }
    }
}

/// Hands frames over when they arrive.
fn give(mut to: File, from: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((arrival, frame)) = from.recv() {
        thread::sleep(arrival.saturating_duration_since(Instant::now()));
        // As above.
        let _ = to.write_all(&frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::net::{CLIENT_V4, SERVER_V4, SERVER_V6};

    /// Ethernet, IPv4 and eight bytes of UDP.
    fn frame(from: (&str, u16), to: (&str, u16)) -> Vec<u8> {
        let address = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().octets();
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, IPPROTO_UDP, 0, 0]);
        frame.extend(address(from.0));
        frame.extend(address(to.0));
        frame.extend(from.1.to_be_bytes());
        frame.extend(to.1.to_be_bytes());
        frame.extend([0, 8, 0, 0]);
        frame
    }

    #[test]
    fn what_a_silent_service_sends_is_told_from_what_it_is_asked() {
        let silent = Silent::new(&[SERVER_V4, SERVER_V6], vec![(123, 123), (25_000, 25_063)]).unwrap();
        let (server, client) = (|port| (SERVER_V4, port), |port| (CLIENT_V4, port));
        assert!(silent.sent(&frame(server(123), client(40_000))));
        assert!(silent.sent(&frame(server(25_063), client(123))));
        assert!(!silent.sent(&frame(client(123), server(123))));
        assert!(!silent.sent(&frame(server(53), client(123))));
        assert!(!silent.sent(&[0; 60]));
        assert!(!Silent::default().sent(&frame(server(123), client(40_000))));
    }
}
