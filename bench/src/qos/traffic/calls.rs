//! Calls: SIP over UDP to set them up and end them, RTP with G.711 both ways (RFC 3261, RFC 3550, RFC 3551).

use std::{
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{Ports, Stream, Way, stamp, wait_until};
use crate::qos::net::{CLIENT, FAR, FAR_ENDS, Net};

/// 20 ms of A-law at 8 kHz.
const PERIOD: Duration = Duration::from_millis(20);
const SPEECH: usize = 160;
const HEADER: usize = 12;
const PCMA: u8 = 8;
/// A packet that comes later than this behind the last is lost.
const PATIENCE: Duration = Duration::from_secs(3);
const RETRANSMIT: Duration = Duration::from_millis(500);

/// Sockets of a call's two ends.
pub struct Line {
    number: u16,
    ports: Ports,
    signalling: [UdpSocket; 2],
    speech: [UdpSocket; 2],
}

impl Line {
    /// Of all calls.
    ///
    /// # Errors
    /// Sockets.
    pub fn all(net: &Net, ports: Ports) -> Result<Vec<Self>> {
        (0..FAR_ENDS.len() as u16).map(|number| Self::new(net, ports, number)).collect()
    }

    fn new(net: &Net, ports: Ports, number: u16) -> Result<Self> {
        let sip = [ports.sip + 2 + number, ports.sip];
        let speech = [ports.speech + 2 * number, ports.speech + 200 + 2 * number];
        let pair = |ports: [u16; 2]| -> Result<[UdpSocket; 2]> {
            let bind = |address: &str, port| -> Result<UdpSocket> {
                let socket = UdpSocket::bind((address, port))?;
                stamp::enable(&socket)?;
                socket.set_read_timeout(Some(RETRANSMIT))?;
                Ok(socket)
            };
            let near = net.client.enter(|| bind(CLIENT, ports[0]))?;
            // Who is called has an address of his own each.
            let address = FAR_ENDS[usize::from(number)];
            let far = net.far.enter(|| bind(address, ports[1]))?;
            near.connect((address, ports[1]))?;
            far.connect((CLIENT, ports[0]))?;
            Ok([near, far])
        };
        Ok(Self { number, ports, signalling: pair(sip)?, speech: pair(speech)? })
    }

    /// One call: its set-up in ms, and both directions.
    ///
    /// # Errors
    /// It does not come about.
    pub fn call(&self, until: Instant) -> Result<(f64, [Stream; 2])> {
        // Not all at the same moment.
        thread::sleep(Duration::from_millis(7 + 150 * u64::from(self.number)));
        let begun = Instant::now();
        self.exchange("INVITE", &self.offer(), "200 OK", &self.offer())?;
        let setup_ms = begun.elapsed().as_secs_f64() * 1e3;
        self.signalling[0].send(self.message("ACK sip:bob@198.51.100.20 SIP/2.0", "ACK", "").as_bytes())?;
        let packets =
            (until.saturating_duration_since(Instant::now()).as_millis() / PERIOD.as_millis()) as u32;
        let [near, far] = &self.speech;
        let streams = thread::scope(|scope| {
            let hear = |socket, way| {
                scope.spawn(move || listen(socket, packets).map(|delays_ms| Stream { way, delays_ms }))
            };
            let heard = [hear(far, Way::Up), hear(near, Way::Down)];
            let speakers = [near, far].map(|socket| scope.spawn(move || speak(socket, packets)));
            for speaker in speakers {
                speaker.join().map_err(|_| anyhow!("a speaker died"))??;
            }
            let [up, down] = heard.map(|listener| listener.join().map_err(|_| anyhow!("a listener died")));
            anyhow::Ok([up??, down??])
        })?;
        self.exchange("BYE", "", "200 OK", "")?;
        Ok((setup_ms, streams))
    }

    /// A request, repeated until there is an answer.
    fn exchange(&self, method: &str, body: &str, status: &str, answer: &str) -> Result<()> {
        let request = self.message(&format!("{method} sip:bob@198.51.100.20 SIP/2.0"), method, body);
        let response = self.message(&format!("SIP/2.0 {status}"), method, answer);
        let [near, far] = &self.signalling;
        let (mut buffer, begun) = ([0; 1500], Instant::now());
        while begun.elapsed() < 2 * PATIENCE {
            near.send(request.as_bytes())?;
            // The other end, which is in this thread, too.
            if stamp::receive(far, &mut buffer)?.is_none() {
                continue;
            }
            far.send(response.as_bytes())?;
            while let Some((length, _)) = stamp::receive(near, &mut buffer)? {
                if buffer[..length].starts_with(b"SIP/2.0 200") {
                    return Ok(());
                }
            }
        }
        Err(anyhow!("call {}: no answer to {method}", self.number))
    }

    fn offer(&self) -> String {
        let port = self.ports.speech + 2 * self.number;
        format!(
            "v=0\r\no=alice 53655765 2353687637 IN IP4 {CLIENT}\r\ns=-\r\nc=IN IP4 {CLIENT}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\n"
        )
    }

    fn message(&self, first: &str, method: &str, body: &str) -> String {
        let (number, port) = (self.number, self.ports.sip + 2 + self.number);
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{first}\r\nVia: SIP/2.0/UDP {CLIENT}:{port};branch=z9hG4bK-{number}-{method}\r\n\
             From: alice <sip:alice@{CLIENT}:{port}>;tag=caller{number}\r\nTo: bob <sip:bob@{FAR}>\r\n\
             Call-ID: {number}-20@{CLIENT}\r\nCSeq: 1 {method}\r\nContact: sip:alice@{CLIENT}:{port}\r\n\
             Max-Forwards: 70\r\nSubject: a call\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

/// So many packets, one every 20 ms. The first bytes of the speech say when and which.
fn speak(socket: &UdpSocket, packets: u32) -> Result<()> {
    let begun = Instant::now();
    let mut packet = [0xd5; HEADER + SPEECH];
    packet[..2].copy_from_slice(&[0x80, PCMA]);
    packet[8..HEADER].copy_from_slice(&0x1337_c0de_u32.to_be_bytes());
    for number in 0..packets {
        wait_until(begun + PERIOD * number);
        packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(number * SPEECH as u32).to_be_bytes());
        packet[HEADER..HEADER + 4].copy_from_slice(&number.to_be_bytes());
        packet[HEADER + 4..HEADER + 12].copy_from_slice(&stamp::now_ns().to_be_bytes());
        // Refused where the other end is not there yet: as good as lost.
        let _ = socket.send(&packet);
    }
    Ok(())
}

/// Delays of so many packets, until they are all here or nothing comes any more.
fn listen(socket: &UdpSocket, packets: u32) -> Result<Vec<Option<f64>>> {
    let mut delays = vec![None; packets as usize];
    let (mut left, mut buffer, mut last) = (packets, [0; 1500], Instant::now());
    while left > 0 && last.elapsed() < PATIENCE {
        let Some((length, came_ns)) = stamp::receive(socket, &mut buffer)? else { continue };
        last = Instant::now();
        ensure!(length == HEADER + SPEECH, "{length} bytes");
        let number = u32::from_be_bytes(*buffer[HEADER..].first_chunk().context("number")?);
        let sent_ns = u64::from_be_bytes(*buffer[HEADER + 4..].first_chunk().context("time")?);
        if let Some(delay) = delays.get_mut(number as usize) {
            *delay = Some(came_ns.saturating_sub(sent_ns) as f64 / 1e6);
            left -= 1;
        }
    }
    Ok(delays)
}
