//! Bulk transfers over HTTP/1.1: uploads and downloads that take what they can get.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::{Ports, Stop};
use crate::qos::net::FAR;

/// More than passes the line in any round.
const BODY: u64 = 1 << 40;
const WAIT: Duration = Duration::from_millis(200);

/// Payload that came to clients since the start of the program.
static DOWNLOADED: AtomicU64 = AtomicU64::new(0);

/// Payload that came to clients since the start of the program.
pub fn downloaded() -> u64 {
    DOWNLOADED.load(Ordering::Relaxed)
}

/// Takes uploads and gives downloads.
pub struct Server {
    listener: TcpListener,
    received: AtomicU64,
}

impl Server {
    /// On the far host.
    ///
    /// # Errors
    /// No socket.
    pub fn bind(ports: Ports) -> Result<Self> {
        let listener = TcpListener::bind((FAR, ports.bulk))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, received: AtomicU64::new(0) })
    }

    /// Payload that was uploaded.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Until the end.
    pub fn serve(&self, stop: &Stop) {
        thread::scope(|scope| {
            while !stop.is_set() {
                match self.listener.accept() {
                    Ok((stream, _)) => {
                        // A transfer that breaks off carries nothing more: that shows.
                        scope.spawn(move || self.answer(stream, stop));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(20)),
                }
            }
        });
    }

    fn answer(&self, mut stream: TcpStream, stop: &Stop) -> Result<()> {
        stream.set_nonblocking(false)?;
        patient(&stream)?;
        let mut request = vec![0; 1 << 16];
        let length = stream.read(&mut request)?;
        if request[..length].starts_with(b"GET") {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {BODY}\r\n\r\n"
            );
            stream.write_all(head.as_bytes())?;
            pour(&mut stream, stop)
        } else {
            drain(&mut stream, &self.received, stop)
        }
    }
}

/// One transfer, until the end.
///
/// # Errors
/// No connection.
pub fn transfer(ports: Ports, up: bool, stop: &Stop) -> Result<()> {
    let mut stream = TcpStream::connect((FAR, ports.bulk))?;
    patient(&stream)?;
    let agent = "Host: files.example.com\r\nUser-Agent: copy/1.0\r\nAccept: */*\r\n";
    if up {
        let kind = "Content-Type: application/octet-stream";
        let head =
            format!("PUT /backup/disk.img HTTP/1.1\r\n{agent}{kind}\r\nContent-Length: {BODY}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        pour(&mut stream, stop)
    } else {
        stream.write_all(format!("GET /images/disk.img HTTP/1.1\r\n{agent}\r\n").as_bytes())?;
        drain(&mut stream, &DOWNLOADED, stop)
    }
}

fn patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))
}

fn pour(stream: &mut TcpStream, stop: &Stop) -> Result<()> {
    let body = [0x55; 1 << 15];
    while !stop.is_set() {
        match stream.write(&body) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
            _ => {}
        }
    }
    Ok(())
}

fn drain(stream: &mut TcpStream, count: &AtomicU64, stop: &Stop) -> Result<()> {
    let mut body = vec![0; 1 << 16];
    while !stop.is_set() {
        match stream.read(&mut body) {
            Ok(0) => break,
            Ok(length) => {
                count.fetch_add(length as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    Ok(())
}
