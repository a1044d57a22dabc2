//! TURN over UDP and TCP: server and client of webrtc-rs.

use std::{
    any::Any,
    collections::HashMap,
    future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream, UdpSocket,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, mpsc},
    time,
};
use turn::{
    auth::{AuthHandler, generate_auth_key},
    client::{Client, ClientConfig},
    relay::RelayAddressGenerator,
    server::{
        Server,
        config::{ConnConfig, ServerConfig},
    },
};
use webrtc_util::{Conn, Error, Result as Done};

use crate::work::Work;

/// Every name has this password.
const PASSWORD: &str = "secret";
/// Largest message over TCP: header, and what sixteen bits count.
const LARGEST: usize = 20 + 65_535;

struct Anyone;

impl AuthHandler for Anyone {
    fn auth_handle(&self, user: &str, realm: &str, _: SocketAddr) -> Result<Vec<u8>, turn::Error> {
        Ok(generate_auth_key(user, realm, PASSWORD))
    }
}

/// Relayed addresses: ports of this address that the kernel chooses.
struct Relays(IpAddr);

#[async_trait]
impl RelayAddressGenerator for Relays {
    fn validate(&self) -> Result<(), turn::Error> {
        Ok(())
    }

    async fn allocate_conn(
        &self,
        _: bool,
        port: u16,
    ) -> Result<(Arc<dyn Conn + Send + Sync>, SocketAddr), turn::Error> {
        let socket = UdpSocket::bind((self.0, port)).await?;
        let address = socket.local_addr()?;
        Ok((Arc::new(socket), address))
    }
}

/// Messages over TCP, of one connection or many: what the library has for UDP only. A message's own length ends it (RFC 8489
/// section 6.2.2).
struct Streams {
    own: SocketAddr,
    arrived: Mutex<mpsc::Receiver<(Vec<u8>, SocketAddr)>>,
    writers: Arc<Mutex<HashMap<SocketAddr, OwnedWriteHalf>>>,
}

impl Streams {
    async fn listen(at: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let (sender, arrived) = mpsc::channel(64);
        let streams = Self { own: at, arrived: Mutex::new(arrived), writers: Arc::default() };
        let writers = streams.writers.clone();
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                take(stream, peer, &sender, &writers).await;
            }
        });
        Ok(streams)
    }

    async fn connect(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await?;
        let (sender, arrived) = mpsc::channel(64);
        let streams =
            Self { own: stream.local_addr()?, arrived: Mutex::new(arrived), writers: Arc::default() };
        take(stream, to, &sender, &streams.writers).await;
        Ok(streams)
    }
}

async fn take(
    stream: TcpStream,
    peer: SocketAddr,
    sender: &mpsc::Sender<(Vec<u8>, SocketAddr)>,
    writers: &Arc<Mutex<HashMap<SocketAddr, OwnedWriteHalf>>>,
) {
    let _ = stream.set_nodelay(true);
    let (mut reader, writer) = stream.into_split();
    writers.lock().await.insert(peer, writer);
    let (sender, writers) = (sender.clone(), writers.clone());
    tokio::spawn(async move {
        while let Ok(message) = message(&mut reader).await {
            if sender.send((message, peer)).await.is_err() {
                break;
            }
        }
        writers.lock().await.remove(&peer);
    });
}

async fn message(reader: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 4];
    reader.read_exact(&mut message).await?;
    let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
    // Channel data begins with the bits 01 and is padded; other messages begin with 00 and have a longer header.
    let whole = if message[0] & 0xc0 == 0x40 { 4 + length.next_multiple_of(4) } else { 20 + length };
    message.resize(whole, 0);
    reader.read_exact(&mut message[4..]).await?;
    Ok(message)
}

#[async_trait]
impl Conn for Streams {
    async fn connect(&self, _: SocketAddr) -> Done<()> {
        Ok(())
    }

    async fn recv(&self, buffer: &mut [u8]) -> Done<usize> {
        Ok(self.recv_from(buffer).await?.0)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> Done<(usize, SocketAddr)> {
        let (message, peer) = self.arrived.lock().await.recv().await.ok_or(Error::ErrUseClosedNetworkConn)?;
        let length = message.len().min(buffer.len());
        buffer[..length].copy_from_slice(&message[..length]);
        Ok((length, peer))
    }

    async fn send(&self, _: &[u8]) -> Done<usize> {
        Err(Error::ErrNoRemAddr)
    }

    async fn send_to(&self, buffer: &[u8], peer: SocketAddr) -> Done<usize> {
        let mut padded = buffer.to_vec();
        padded.resize(buffer.len().next_multiple_of(4).min(LARGEST), 0);
        let mut writers = self.writers.lock().await;
        let writer = writers.get_mut(&peer).ok_or(Error::ErrUseClosedNetworkConn)?;
        writer.write_all(&padded).await?;
        Ok(buffer.len())
    }

    fn local_addr(&self) -> Done<SocketAddr> {
        Ok(self.own)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> Done<()> {
        self.writers.lock().await.clear();
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

/// For everyone who knows the password.
pub async fn turn_server(mut work: Work) -> Result<()> {
    let realm = match work.int(0, 2) {
        0 => work.word(),
        1 => format!("turn.{}.example", work.word()),
        _ => "webrtc.rs".to_owned(),
    };
    let conns: [Arc<dyn Conn + Send + Sync>; 2] =
        [Arc::new(UdpSocket::bind(work.at).await?), Arc::new(Streams::listen(work.at).await?)];
    let listener = |conn| ConnConfig { conn, relay_addr_generator: Box::new(Relays(work.at.ip())) };
    let _server = Server::new(ServerConfig {
        conn_configs: conns.into_iter().map(listener).collect(),
        realm,
        auth_handler: Arc::new(Anyone),
        channel_bind_timeout: Duration::ZERO,
        alloc_close_notify: None,
    })
    .await?;
    future::pending().await
}

/// An allocation, and what a peer and this client say through it; or only the allocation. Port of the peer, which sends back
/// what it gets, and transports after the name.
pub async fn turn_client(mut work: Work) -> Result<()> {
    let own: IpAddr =
        if work.at.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let choice = work.int(1, work.more.len() as u32 - 1) as usize;
    let over_tcp = work.more[choice] == "tcp";
    let conn: Arc<dyn Conn + Send + Sync> = if over_tcp {
        Arc::new(Streams::connect(work.at).await?)
    } else {
        Arc::new(UdpSocket::bind((own, 0)).await?)
    };
    let user = match work.int(0, 2) {
        0 => work.word(),
        1 => format!("{}:{}", work.int(1_700_000_000, 1_900_000_000), work.word()),
        _ => work.text(8, 120).replace(' ', "-"),
    };
    let client = Client::new(ClientConfig {
        stun_serv_addr: work.at.to_string(),
        turn_serv_addr: work.at.to_string(),
        username: user,
        password: if work.happens(0.12) { work.word() } else { PASSWORD.to_owned() },
        realm: String::new(),
        software: if work.happens(0.5) { String::new() } else { work.text(3, 40) },
        // Nothing is repeated over TCP (RFC 8489 section 6.2.2).
        rto_in_ms: if over_tcp { 20_000 } else { 500 },
        conn,
        vnet: None,
    })
    .await?;
    client.listen().await?;
    if work.happens(0.3) {
        client.send_binding_request().await?;
    }
    let relay = match time::timeout(Duration::from_secs(5), client.allocate()).await? {
        Ok(relay) => Arc::new(relay),
        Err(error) => {
            println!("{error}");
            return Ok(client.close().await?);
        }
    };
    let receiver = relay.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0; 2_000];
        while receiver.recv_from(&mut buffer).await.is_ok() {}
    });
    let peer = SocketAddr::new(work.at.ip(), work.more[0].parse()?);
    let end = Instant::now() + work.pause(0.3, 6.0);
    let (kind, size, step) = (work.int(0, 2), work.size(20, 900) as u32, work.pick([0.01, 0.02, 0.03, 0.06]));
    while Instant::now() < end {
        let (data, pause) = match kind {
            0 => (work.bytes(size, size + size / 4 + 2), Duration::from_secs_f64(step)),
            1 => (work.bytes(2, 1_150), work.pause(0.004, 1.2)),
            _ => (Vec::new(), work.pause(0.3, 3.0)),
        };
        if !data.is_empty() {
            let _ = time::timeout(Duration::from_secs(3), relay.send_to(&data, peer)).await?;
        }
        time::sleep(pause).await;
    }
    // Others just go, and the allocation ends by itself.
    if work.happens(0.7) {
        relay.close().await?;
        time::sleep(Duration::from_millis(300)).await;
    }
    Ok(client.close().await?)
}
