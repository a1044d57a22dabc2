//! IPFIX (RFC 7011): flows with their labels to collectors, as biflows (RFC 5103), services as applications (RFC 6759).
//!
//! A flow is told of when it ends, and regularly while it goes on, each time what came since: deltas. Once in the time
//! that is set, all labelled flows are looked through for those that go on for longer, a chunk at a time.

mod elements;
mod message;

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ntc_common::{
    flow::{End, FlowRule, FlowState},
    key::FlowKey,
    label::Label,
};
use tokio::{
    net::{TcpStream, UdpSocket, lookup_host},
    time::{Instant, sleep, sleep_until, timeout},
};

use self::message::{Messages, Session};
use super::{CHUNK, PATIENCE, address::Collector, other};
use crate::{
    api::{
        log::Record,
        mirror::{Change, Entry},
        state::Shared,
    },
    clock::{self, UnixTime},
};

/// By UDP, templates and names are told again this often: a collector may have started since.
const AGAIN: Duration = Duration::from_secs(60);
/// By UDP, a chunk waits for so long behind the one before: a collector's socket holds some hundred messages.
const PACE: Duration = Duration::from_millis(5);
/// How often is looked whether the other side's kernel has what was sent.
const UNTIL_TAKEN: Duration = Duration::from_millis(2);

/// `flowEndReason` (RFC 5102 section 5.11.3).
mod reason {
    pub const IDLE: u8 = 1;
    pub const ACTIVE: u8 = 2;
    pub const END: u8 = 3;
    pub const FORCED: u8 = 4;
    pub const RESOURCES: u8 = 5;
}

/// To one collector.
#[derive(Debug)]
pub struct Exporter {
    collector: Collector,
    transport: Option<Transport>,
    session: Session,
    /// What was told of flows that go on: by key and start.
    told: HashMap<(FlowKey, u64), Counts>,
    /// Where the look through all flows is, if one is under way.
    look: Option<Option<FlowKey>>,
    next_look: Instant,
    /// When templates and names are due, where they are told again.
    next_templates: Option<Instant>,
}

/// Packets and IP bytes, from the source and to it.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    packets: [u64; 2],
    bytes: [u64; 2],
}

/// What a flow's record says.
#[derive(Debug)]
pub(super) struct Report {
    key: FlowKey,
    state: FlowState,
    label: Label,
    start_ms: u64,
    end_ms: u64,
    packets: [u64; 2],
    bytes: [u64; 2],
    reason: u8,
}

#[derive(Debug)]
enum Transport {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Exporter {
    pub fn new(collector: Collector) -> Self {
        let session = Session { domain: collector.domain, sequence: 0 };
        let next_look = Instant::now() + collector.active;
        Self {
            collector,
            transport: None,
            session,
            told: HashMap::new(),
            look: None,
            next_look,
            next_templates: None,
        }
    }

    pub async fn connect(&mut self, shared: &Shared) -> io::Result<()> {
        self.transport = None;
        let Collector { tcp, ref host, port, .. } = self.collector;
        let mut last = other(format!("{host} has no address"));
        let addresses: Vec<_> = lookup_host((host.as_str(), port)).await?.collect();
        for address in addresses {
            match Transport::connect(tcp, address).await {
                Ok(transport) => {
                    self.transport = Some(transport);
                    // A session of its own; by UDP all are one (RFC 7011 section 3.1).
                    if tcp {
                        self.session.sequence = 0;
                    }
                    return self.describe(shared).await;
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends templates, and what ids mean.
    async fn describe(&mut self, shared: &Shared) -> io::Result<()> {
        let mut messages = Messages::default();
        for (set, record) in &elements::templates(self.collector.enterprise) {
            messages.add(*set, record);
        }
        for (set, record) in elements::services() {
            messages.add(*set, record);
        }
        if let Some(model) = shared.reload.models().current() {
            let name = format!("{} {}", model.manifest.model.name, model.manifest.model.version);
            let (set, record) = elements::model(model.epoch, name);
            messages.add(set, &record);
        }
        self.write(messages).await?;
        self.next_templates = (!self.collector.tcp).then(|| Instant::now() + AGAIN);
        Ok(())
    }

    /// Tells of those flows that have ended.
    pub async fn send(&mut self, records: &[Arc<Record>], shared: &Shared) -> io::Result<u64> {
        let rule = shared.live().map_or(FlowRule::DEFAULT, |live| live.rule());
        let now_ns = clock::monotonic_ns();
        let ended = records.iter().filter(|record| record.change == Change::Ended);
        let reports: Vec<Report> = ended
            .map(|record| {
                let state = &record.entry.state;
                let reason = match state.over(record.key.protocol, now_ns, &rule) {
                    Some(End::Idle) => reason::IDLE,
                    Some(_) => reason::END,
                    // Its key was taken by another, or it was put out of a full table.
                    None if state.closed_ns != 0 => reason::END,
                    None => reason::RESOURCES,
                };
                self.report(record.key, &record.entry, record.unix_time, reason)
            })
            .collect();
        let sent = self.tell(&reports).await?;
        for report in &reports {
            self.told.remove(&(report.key, report.state.start_ns));
        }
        Ok(sent)
    }

    /// Waits until something is due that no change tells of.
    pub async fn due(&self) {
        match (self.look, &self.transport) {
            (Some(_), Some(Transport::Udp(_))) => sleep(PACE).await,
            (Some(_), _) => {}
            (None, _) => {
                sleep_until(self.next_templates.map_or(self.next_look, |next| next.min(self.next_look)))
                    .await;
            }
        }
    }

    /// Sends what is due.
    pub async fn regularly(&mut self, shared: &Shared, after: u64) -> io::Result<u64> {
        if let Some(place) = self.look {
            let (sent, last) = self.chunk(shared, place, reason::ACTIVE).await?;
            self.look = last.map(Some);
            // All changes are told: whoever is not there now is known to have ended, or was lost with a change.
            if self.look.is_none() && after == shared.log.latest() {
                self.forget(shared);
            }
            return Ok(sent);
        }
        if self.next_templates.is_some_and(|next| next <= Instant::now()) {
            self.describe(shared).await?;
        }
        if self.next_look <= Instant::now() {
            self.next_look = Instant::now() + self.collector.active;
            self.look = Some(None);
        }
        Ok(0)
    }

    /// Tells of all flows that go on without the agent.
    pub async fn finish(&mut self, shared: &Shared) -> io::Result<u64> {
        let (mut sent, mut place) = (0, None);
        loop {
            let (more, last) = self.chunk(shared, place, reason::FORCED).await?;
            sent += more;
            if last.is_none() {
                return Ok(sent);
            }
            place = last;
        }
    }

    /// Tells of flows behind `place` that had packets since; returns how many, and the last that was looked at.
    async fn chunk(
        &mut self,
        shared: &Shared,
        place: Option<FlowKey>,
        reason: u8,
    ) -> io::Result<(u64, Option<FlowKey>)> {
        let Ok(live) = shared.live() else { return Ok((0, None)) };
        let unix_time = shared.unix_time();
        let flows: Vec<(FlowKey, Entry)> =
            live.mirror().range(place.as_ref()).take(CHUNK).map(|(key, entry)| (*key, *entry)).collect();
        let last = flows.last().map(|(key, _)| *key);
        // One that is younger has time: most are over before, and told of once.
        let youngest_ns = match reason {
            reason::FORCED => u64::MAX,
            _ => clock::monotonic_ns().saturating_sub(self.collector.active.as_nanos() as u64),
        };
        let reports = flows
            .iter()
            .filter(|(_, entry)| entry.state.start_ns <= youngest_ns)
            .map(|(key, entry)| self.report(*key, entry, unix_time, reason))
            .filter(|report| report.packets != [0, 0])
            .collect::<Vec<_>>();
        let sent = self.tell(&reports).await?;
        for Report { key, state, .. } in &reports {
            let FlowState { packets, bytes, .. } = *state;
            self.told.insert((*key, state.start_ns), Counts { packets, bytes });
        }
        Ok((sent, last))
    }

    fn forget(&mut self, shared: &Shared) {
        if let Ok(live) = shared.live() {
            let mirror = live.mirror();
            self.told.retain(|(key, start_ns), _| {
                mirror.get(key).is_some_and(|entry| entry.state.start_ns == *start_ns)
            });
        }
    }

    fn report(&self, key: FlowKey, entry: &Entry, unix_time: UnixTime, reason: u8) -> Report {
        let Entry { state, label, .. } = *entry;
        let told = self.told.get(&(key, state.start_ns)).copied().unwrap_or_default();
        let since = |now: [u64; 2], then: [u64; 2]| [0, 1].map(|i| now[i].saturating_sub(then[i]));
        let ms = |ns| unix_time.of(ns) / 1_000_000;
        Report {
            key,
            state,
            label,
            start_ms: ms(state.start_ns),
            end_ms: ms(state.last_ns.max(state.start_ns)),
            packets: since(state.packets, told.packets),
            bytes: since(state.bytes, told.bytes),
            reason,
        }
    }

    async fn tell(&mut self, reports: &[Report]) -> io::Result<u64> {
        let mut messages = Messages::default();
        for report in reports {
            let (set, record) = elements::flow(report);
            messages.add(set, &record);
        }
        self.write(messages).await?;
        Ok(reports.len() as u64)
    }

    async fn write(&mut self, messages: Messages) -> io::Result<()> {
        let Some(transport) = &mut self.transport else { return Err(io::ErrorKind::NotConnected.into()) };
        let unix_s = UnixTime::now().of(clock::monotonic_ns()) / 1_000_000_000;
        let mut session = self.session;
        let messages: Vec<Vec<u8>> =
            messages.seal().into_iter().map(|message| message.stamp(&mut session, unix_s as u32)).collect();
        transport.send(&messages).await?;
        self.session = session;
        Ok(())
    }
}

impl Transport {
    async fn connect(tcp: bool, address: SocketAddr) -> io::Result<Self> {
        if tcp {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            rustix::net::sockopt::set_tcp_user_timeout(&stream, PATIENCE.as_millis() as u32)?;
            rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
            return Ok(Self::Tcp(stream));
        }
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        Ok(Self::Udp(socket))
    }

    /// By TCP, returns once the other side's kernel has all of it.
    async fn send(&mut self, messages: &[Vec<u8>]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => {
                for message in messages {
                    socket.send(message).await?;
                }
                Ok(())
            }
            Self::Tcp(stream) => timeout(PATIENCE, deliver(stream, &messages.concat()))
                .await
                .map_err(|_| other("the collector takes nothing"))?,
        }
    }
}

async fn deliver(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    // Collectors say nothing: readable is the end of the connection.
    match stream.try_read(&mut [0; 64]) {
        Ok(0) => return Err(other("the collector closed the connection")),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
        _ => {}
    }
    tokio::io::AsyncWriteExt::write_all(stream, bytes).await?;
    while unacknowledged(stream)? > 0 {
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        sleep(UNTIL_TAKEN).await;
    }
    Ok(())
}

/// Bytes that the other side's kernel has not acknowledged (`SIOCOUTQ`, tcp(7)).
fn unacknowledged(stream: &TcpStream) -> io::Result<usize> {
    use rustix::ioctl::{Getter, ioctl};
    // The same number as TIOCOUTQ.
    const SIOCOUTQ: rustix::ioctl::Opcode = libc::TIOCOUTQ as rustix::ioctl::Opcode;
    // SAFETY: of a TCP socket, the kernel writes one C int.
    let bytes: libc::c_int = unsafe { ioctl(stream, Getter::<SIOCOUTQ, libc::c_int>::new()) }?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
impl Report {
    fn example(ip_version: u8) -> Self {
        let (key, entry) = crate::api::mirror::tests::entry(1);
        let exporter = Exporter::new(Collector {
            tcp: false,
            host: "collector".into(),
            port: 4739,
            active: AGAIN,
            domain: 0,
            enterprise: 32_473,
        });
        let mut report = exporter.report(key, &entry, UnixTime::now(), reason::END);
        report.key.ip_version = ip_version;
        if ip_version == 4 {
            for addr in [&mut report.key.lower_addr, &mut report.key.upper_addr] {
                *addr = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets();
            }
        }
        report
    }
}
