//! Flows that go on all the time: UDP calls and TCP requests with their answers, from the client to the server.
//!
//! One thread sends and reads at the client, one echoes at the server. Each message carries the time at which it was
//! sent and the period in which that was, so that loss and round trips are counted for each period.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ntc_common::key::{Address, FlowKey, IPPROTO_TCP, IPPROTO_UDP};
use rustix::event::{Timespec, epoll};

use super::{echo, meter::Meter};
use crate::run::net::{CLIENT_V4, CLIENT_V6, Network, SERVER_V4, SERVER_V6};

/// Payload of a call's packet: a header as RTP has it and 20 ms of G.711.
pub(super) const CALL_BYTES: usize = 172;
/// A request, and its answer.
pub(super) const REQUEST_BYTES: usize = 64;
/// A call sends 50 packets a second.
const CALL_PERIOD: Duration = Duration::from_millis(20);
/// A connection asks 5 times a second.
const REQUEST_PERIOD: Duration = Duration::from_millis(200);
/// How late a message may be sent; behind that it is left out, and the schedule goes on from now.
const LATE: Duration = Duration::from_millis(100);
/// The hosts at both ends are not slowed by what else this machine does.
const PRIORITY: i32 = -10;
/// Answers read at one waking.
const EVENTS: usize = 256;

/// The flows, until they are dropped.
pub(crate) struct Live {
    stop: Arc<AtomicBool>,
    period: Arc<AtomicU32>,
    meter: Arc<Mutex<Meter>>,
    threads: Vec<JoinHandle<Result<()>>>,
    /// Key of each.
    pub(crate) keys: Vec<FlowKey>,
}

impl Live {
    /// Begins them: half are calls, half connections, in turns over IPv4 and IPv6.
    pub(crate) fn start(network: &Network, flows: usize) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let server = echo::Server::open(network)?;
        let flag = Arc::clone(&stop);
        let echo = thread::spawn(move || {
            super::prefer(PRIORITY)?;
            server.run(&flag)
        });
        let mut live = Self {
            stop,
            period: Arc::default(),
            meter: Arc::default(),
            threads: vec![echo],
            keys: Vec::new(),
        };
        let client = network.enter("client", || Client::open(flows))?;
        live.keys = client.flows.iter().map(Flow::key).collect::<Result<_>>()?;
        let (stop, period, meter) =
            (Arc::clone(&live.stop), Arc::clone(&live.period), Arc::clone(&live.meter));
        live.threads.push(thread::spawn(move || {
            super::prefer(PRIORITY)?;
            client.run(&stop, &period, &meter)
        }));
        Ok(live)
    }

    /// Begins a period: what is sent from now on is counted for it.
    pub(crate) fn begin(&self, period: u32) {
        self.period.store(period, Ordering::Relaxed);
    }

    /// What was counted for a period.
    pub(crate) fn take(&self, period: u32) -> super::meter::Period {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).take(period)
    }

    /// An error if one end has failed.
    pub(crate) fn check(&mut self) -> Result<()> {
        while let Some(ended) = self.threads.iter().position(JoinHandle::is_finished) {
            super::joined(self.threads.swap_remove(ended))?;
        }
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // `check` has told of errors while the flows went on; at the end they do not matter any more.
            let _ = super::joined(thread);
        }
    }
}

enum Socket {
    Call(UdpSocket),
    Connection(TcpStream),
}

struct Flow {
    socket: Socket,
    /// Part of an answer on a connection.
    partial: Vec<u8>,
}

impl Flow {
    fn key(&self) -> Result<FlowKey> {
        let (near, far, protocol) = match &self.socket {
            Socket::Call(socket) => (socket.local_addr()?, socket.peer_addr()?, IPPROTO_UDP),
            Socket::Connection(socket) => (socket.local_addr()?, socket.peer_addr()?, IPPROTO_TCP),
        };
        Ok(key(near, far, protocol))
    }

    fn send(&mut self, period: u32, now: Duration) -> std::io::Result<()> {
        let mut message = [0; CALL_BYTES];
        message[0] = 0x80; // RTP, version 2
        message[12..16].copy_from_slice(&period.to_le_bytes());
        message[16..24].copy_from_slice(&(now.as_nanos() as u64).to_le_bytes());
        match &mut self.socket {
            Socket::Call(socket) => socket.send(&message).map(drop),
            Socket::Connection(socket) => socket.write_all(&message[..REQUEST_BYTES]),
        }
    }

    /// Reads all answers that have come.
    fn read(&mut self, mut answer: impl FnMut(&[u8])) {
        let mut buffer = [0; 2048];
        loop {
            let read = match &mut self.socket {
                Socket::Call(socket) => socket.recv(&mut buffer),
                Socket::Connection(socket) => socket.read(&mut buffer),
            };
            // What ends the flow shows as answers that do not come.
            let (Ok(len @ 1..), socket) = (read, &self.socket) else { return };
            if matches!(socket, Socket::Call(_)) {
                answer(&buffer[..len]);
                continue;
            }
            self.partial.extend_from_slice(&buffer[..len]);
            let whole = self.partial.len() / REQUEST_BYTES * REQUEST_BYTES;
            self.partial[..whole].chunks_exact(REQUEST_BYTES).for_each(&mut answer);
            self.partial.drain(..whole);
        }
    }
}

/// The client's side.
struct Client {
    flows: Vec<Flow>,
    calls: usize,
    epoll: OwnedFd,
    start: Instant,
}

impl Client {
    fn open(count: usize) -> Result<Self> {
        let calls = count.div_ceil(2);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut flows = Vec::with_capacity(count);
        for number in 0..count {
            let (near, far) = if number % 2 == 0 { (CLIENT_V4, SERVER_V4) } else { (CLIENT_V6, SERVER_V6) };
            let (near, far): (IpAddr, IpAddr) = (near.parse()?, far.parse()?);
            let data = epoll::EventData::new_u64(number as u64);
            let socket = if number < calls {
                let socket = UdpSocket::bind((near, 0))?;
                socket.connect((far, echo::CALL_PORT))?;
                socket.set_nonblocking(true)?;
                epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
                Socket::Call(socket)
            } else {
                let address = SocketAddr::from((far, echo::REQUEST_PORT));
                let socket = TcpStream::connect_timeout(&address, Duration::from_secs(5))
                    .with_context(|| format!("connecting to {address}"))?;
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
                Socket::Connection(socket)
            };
            flows.push(Flow { socket, partial: Vec::new() });
        }
        Ok(Self { flows, calls, epoll, start: Instant::now() })
    }

    fn run(mut self, stop: &AtomicBool, period: &AtomicU32, meter: &Mutex<Meter>) -> Result<()> {
        let connections = self.flows.len() - self.calls;
        let mut schedules = [
            Schedule::new(0, self.calls, CALL_PERIOD),
            Schedule::new(self.calls, connections, REQUEST_PERIOD),
        ];
        let mut events = Vec::with_capacity(EVENTS);
        while !stop.load(Ordering::Relaxed) {
            let now_period = period.load(Ordering::Relaxed);
            for schedule in &mut schedules {
                while let Some(number) = schedule.due(self.start.elapsed()) {
                    let sent = self.flows[number].send(now_period, self.start.elapsed());
                    let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
                    match sent {
                        Ok(()) => meter.sent(now_period, number < self.calls),
                        Err(_) => meter.refused(now_period),
                    }
                }
            }
            let next = schedules.iter().map(|schedule| schedule.next).min().unwrap_or_default();
            let wait = next.saturating_sub(self.start.elapsed());
            let wait = Timespec { tv_sec: 0, tv_nsec: wait.min(CALL_PERIOD).as_nanos() as _ };
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let now = self.start.elapsed();
            let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
            for event in &events {
                let number = event.data.u64() as usize;
                let call = number < self.calls;
                self.flows[number].read(|message| {
                    let (Some(period), Some(sent)) = (field(message, 12), field(message, 16)) else { return };
                    let sent = Duration::from_nanos(u64::from_le_bytes(sent));
                    meter.answered(u32::from_le_bytes(period), call, now.saturating_sub(sent));
                });
            }
        }
        Ok(())
    }
}

fn field<const N: usize>(message: &[u8], at: usize) -> Option<[u8; N]> {
    message.get(at..at + N)?.try_into().ok()
}

/// When which flow sends: all once a period, evenly spaced.
struct Schedule {
    first: usize,
    count: usize,
    turn: usize,
    spacing: Duration,
    next: Duration,
}

impl Schedule {
    fn new(first: usize, count: usize, period: Duration) -> Self {
        let spacing = period.checked_div(count as u32).unwrap_or(Duration::MAX);
        Self { first, count, turn: 0, spacing, next: if count == 0 { Duration::MAX } else { Duration::ZERO } }
    }

    fn due(&mut self, now: Duration) -> Option<usize> {
        if self.next > now {
            return None;
        }
        if now - self.next > LATE {
            self.next = now;
        }
        let number = self.first + self.turn;
        self.turn = (self.turn + 1) % self.count;
        self.next += self.spacing;
        Some(number)
    }
}

/// The flow's key in ntc's maps.
fn key(near: SocketAddr, far: SocketAddr, protocol: u8) -> FlowKey {
    let end = |address: SocketAddr| {
        let ip = match address.ip() {
            IpAddr::V4(v4) => Address::mapped(v4.octets()),
            IpAddr::V6(v6) => Address::from_bytes(v6.octets()),
        };
        (ip, address.port().to_be_bytes())
    };
    let mut key = FlowKey::ZERO;
    key.set(end(near), end(far), protocol, if near.is_ipv4() { 4 } else { 6 });
    key
}

/// A short flow of its own, to see whether new flows get labels: more packets than a sequence has places.
pub(crate) fn probe(network: &Network) -> Result<u16> {
    network.enter("client", || {
        let socket = UdpSocket::bind((CLIENT_V4, 0))?;
        socket.connect((SERVER_V4, echo::CALL_PORT))?;
        for _ in 0..24 {
            match socket.send(&[0; CALL_BYTES]) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                _ => {}
            }
        }
        Ok(socket.local_addr()?.port())
    })
}
