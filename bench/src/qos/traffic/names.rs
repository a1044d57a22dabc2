//! Look-ups of names: DNS over UDP, each from a port of its own, as resolvers ask.

use std::{
    io,
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::{Ports, Stop, wait_until};
use crate::qos::net::{CLIENT, FAR};

/// One so often.
const PERIOD: Duration = Duration::from_millis(100);
/// Without an answer so long: lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// `example.com`, type A.
const QUESTION: &[u8] =
    b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01";
/// What an answer has behind the question: a pointer to the name, A, IN, an hour, an address.
const RECORD: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\xc0\x00\x02\x01";

/// Answers.
pub struct Server(UdpSocket);

impl Server {
    /// On the far host.
    ///
    /// # Errors
    /// No socket.
    pub fn bind(ports: Ports) -> Result<Self> {
        let socket = UdpSocket::bind((FAR, ports.dns))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(Self(socket))
    }

    /// Until the end.
    pub fn serve(&self, stop: &Stop) {
        let mut buffer = [0; 512];
        while !stop.is_set() {
            let Ok((length, from)) = self.0.recv_from(&mut buffer) else { continue };
            let mut answer = buffer[..length].to_vec();
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            answer[7] = 1;
            answer.extend_from_slice(RECORD);
            // One that cannot be sent is one that does not come.
            let _ = self.0.send_to(&answer, from);
        }
    }
}

/// Asks until then; the time to each answer, in ms.
///
/// # Errors
/// Sockets.
pub fn ask(ports: Ports, until: Instant) -> Result<Vec<Option<f64>>> {
    let begun = Instant::now();
    thread::scope(|scope| {
        let mut asked = Vec::new();
        while Instant::now() < until {
            let number = asked.len() as u32;
            wait_until(begun + PERIOD * number);
            let socket = UdpSocket::bind((CLIENT, 0))?;
            socket.connect((FAR, ports.dns))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            asked.push(scope.spawn(move || one(&socket, number as u16)));
        }
        asked.into_iter().map(|answer| answer.join().map_err(|_| anyhow!("a look-up died"))?).collect()
    })
}

fn one(socket: &UdpSocket, id: u16) -> Result<Option<f64>> {
    let mut question = QUESTION.to_vec();
    question[..2].copy_from_slice(&id.to_be_bytes());
    let begun = Instant::now();
    socket.send(&question)?;
    match socket.recv(&mut [0; 512]) {
        Ok(_) => Ok(Some(begun.elapsed().as_secs_f64() * 1e3)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}
