//! SSH: server and client of russh, with hybrid key exchange (ML-KEM) where both have it.

use std::{
    borrow::Cow,
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use russh::{
    Channel, ChannelId, ChannelMsg, Disconnect, Preferred, Pty, SshId,
    cipher::{self, AES_128_CTR, CHACHA20_POLY1305},
    client, compression,
    kex::{self, CURVE25519, MLKEM768X25519_SHA256},
    keys::{
        PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key,
        ssh_key::private::{Ed25519Keypair, KeypairData},
    },
    mac::{self, HMAC_SHA256},
    server::{self, Auth, ChannelOpenHandle, Msg, Server as _, Session, VerifiedPublicKey},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::work::Work;

const KEX: [kex::Name; 11] = [
    MLKEM768X25519_SHA256,
    CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G14_SHA256,
    kex::DH_G14_SHA1,
    kex::DH_G15_SHA512,
    kex::DH_G16_SHA512,
    kex::DH_G1_SHA1,
];
const CIPHERS: [cipher::Name; 9] = [
    CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    AES_128_CTR,
    cipher::AES_256_CBC,
    cipher::AES_192_CBC,
    cipher::AES_128_CBC,
];
const MACS: [mac::Name; 6] = [
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512,
    HMAC_SHA256,
    mac::HMAC_SHA1_ETM,
    mac::HMAC_SHA1,
];
const COMMANDS: [&str; 6] =
    ["uptime", "ls -l", "cat /etc/services", "df -h", "systemctl status", "docker ps --all"];

/// Algorithms of these, in their order, and always those that every other side has too.
fn some<T: Copy + PartialEq>(work: &mut Work, all: &[T], always: &[T]) -> Cow<'static, [T]> {
    let share = work.pick([0.2, 0.5, 0.9, 1.0]);
    all.iter().copied().filter(|name| work.happens(share) || always.contains(name)).collect::<Vec<_>>().into()
}

/// What this end offers, as its administrator or its age has it.
fn preferred(work: &mut Work, own: &[kex::Name]) -> Preferred {
    if work.happens(0.3) {
        return Preferred::default();
    }
    let mut kex = some(work, &KEX, &[CURVE25519]).into_owned();
    if work.happens(0.4) {
        kex.retain(|name| *name != MLKEM768X25519_SHA256);
    }
    kex.extend_from_slice(own);
    Preferred {
        kex: kex.into(),
        cipher: some(work, &CIPHERS, &[CHACHA20_POLY1305, AES_128_CTR]),
        mac: some(work, &MACS, &[HMAC_SHA256]),
        compression: work.pick([
            Cow::Borrowed(&[compression::NONE][..]),
            Cow::Borrowed(&[compression::NONE, compression::ZLIB_LEGACY]),
            Cow::Borrowed(&[compression::ZLIB_LEGACY, compression::ZLIB, compression::NONE]),
        ]),
        ..Preferred::default()
    }
}

/// What it calls itself: libraries are in appliances of many names.
fn version(work: &mut Work) -> SshId {
    let number = work.int(1, 99);
    let word = work.word();
    SshId::Standard(
        work.pick([
            format!("SSH-2.0-russh_0.{number}"),
            format!("SSH-2.0-russh_0.{number}"),
            format!("SSH-2.0-{word}"),
            format!("SSH-2.0-{word}_{number}.2p1 Gateway of {word}"),
        ])
        .into(),
    )
}

/// A machine to log in to, with `secret` or with any key.
pub async fn ssh_server(mut work: Work) -> Result<()> {
    let mut seed = [0; 32];
    seed.fill_with(|| work.int(0, 255) as u8);
    let key = PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), "")?;
    let own = [kex::EXTENSION_SUPPORT_AS_SERVER, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER];
    let config = server::Config {
        server_id: version(&mut work),
        keys: vec![key],
        preferred: preferred(&mut work, &own),
        auth_rejection_time: work.pause(0.01, 1.5),
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: work.pick([3, 6, 10]),
        nodelay: work.happens(0.7),
        ..server::Config::default()
    };
    let listener = TcpListener::bind(work.at).await?;
    let banner = work.happens(0.2).then(|| work.text(20, 900));
    let mut machine = Machine { work: Arc::new(Mutex::new(work)), banner, typed: HashMap::new() };
    Ok(machine.run_on_socket(Arc::new(config), &listener).await?)
}

#[derive(Clone)]
struct Machine {
    work: Arc<Mutex<Work>>,
    banner: Option<String>,
    /// What was typed on a line so far; a channel that forwards has none.
    typed: HashMap<ChannelId, String>,
}

impl Machine {
    fn text(&self, low: u32, high: u32) -> String {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).text(low, high)
    }
}

impl server::Server for Machine {
    type Handler = Self;

    fn new_client(&mut self, _: Option<SocketAddr>) -> Self {
        self.clone()
    }
}

impl server::Handler for Machine {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.banner.clone())
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(if password == "secret" { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        self.typed.insert(channel, String::new());
        session.data(channel, format!("{}\r\n$ ", self.text(5, 1_500)))
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        session.data(channel, self.text(3, 40_000))?;
        session.exit_status_request(channel, 0)?;
        session.eof(channel)?;
        session.close(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(typed) = self.typed.get_mut(&channel) else {
            return session.data(channel, self.text(20, 9_000));
        };
        session.data(channel, data.to_vec())?;
        typed.push_str(&String::from_utf8_lossy(data));
        if !typed.ends_with(['\r', '\n']) {
            return Ok(());
        }
        let line = std::mem::take(typed);
        if line.trim() == "exit" {
            session.exit_status_request(channel, 0)?;
            return session.close(channel);
        }
        session.data(channel, format!("\r\n{}\r\n$ ", self.text(2, 2_500)))
    }
}

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// Runs commands, types in a shell, forwards a port, or only logs in, or fails to; with the key in the file that may be
/// named. Some look who is there and leave.
pub async fn ssh_client(mut work: Work) -> Result<()> {
    if work.happens(0.08) {
        let mut banner = String::new();
        BufReader::new(TcpStream::connect(work.at).await?).read_line(&mut banner).await?;
        println!("{banner}");
        return Ok(());
    }
    let own = [kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT];
    let config = client::Config {
        client_id: version(&mut work),
        preferred: preferred(&mut work, &own),
        nodelay: work.happens(0.7),
        ..client::Config::default()
    };
    let mut session = client::connect(Arc::new(config), work.at, Trusting).await?;
    let user = work.pick(["root", "admin", "deploy", "git"]);
    if work.happens(0.3) {
        session.authenticate_none(user).await?;
    }
    for _ in 0..if work.happens(0.25) { work.count(1, 3) } else { 0 } {
        let guess = work.word();
        session.authenticate_password(user, guess).await?;
        sleep(work.pause(0.01, 0.6)).await;
    }
    let key = work.more.first().cloned();
    let done = match &key {
        Some(file) => {
            let key = PrivateKeyWithHashAlg::new(Arc::new(load_secret_key(file, None)?), None);
            session.authenticate_publickey("root", key).await?
        }
        None => session.authenticate_password("root", "secret").await?,
    };
    ensure!(done.success(), "refused");
    match work.draw() {
        ..0.45 => commands(&mut work, &session).await?,
        // A machine that has no more than a shell for its commands forwards nothing.
        0.45..0.6 if key.is_none() => forward(&mut work, &session).await?,
        0.6..0.95 => shell(&mut work, &session).await?,
        _ => {}
    }
    Ok(session.disconnect(Disconnect::ByApplication, "", "").await?)
}

async fn commands(work: &mut Work, session: &client::Handle<Trusting>) -> Result<()> {
    // A machine that asks for a key may allow one alone.
    let most = if work.more.is_empty() { 6 } else { 1 };
    for _ in 0..work.few(6).min(most) {
        let mut channel = session.channel_open_session().await?;
        if work.happens(0.2) {
            channel.set_env(false, "LANG", "en_GB.UTF-8").await?;
        }
        channel.exec(true, work.pick(COMMANDS)).await?;
        while let Some(message) = channel.wait().await {
            if matches!(message, ChannelMsg::Failure) {
                break;
            }
        }
        sleep(work.pause(0.005, 0.8)).await;
    }
    Ok(())
}

/// Letter by letter, as a user types.
async fn shell(work: &mut Work, session: &client::Handle<Trusting>) -> Result<()> {
    let mut channel = session.channel_open_session().await?;
    let (columns, rows) = (work.int(80, 250), work.int(24, 70));
    channel
        .request_pty(true, work.pick(["xterm-256color", "vt100", "screen"]), columns, rows, 0, 0, &[])
        .await?;
    channel.request_shell(true).await?;
    for _ in 0..work.count(1, 6) {
        for letter in work.pick(COMMANDS).chars() {
            channel.data_bytes(letter.to_string()).await?;
            sleep(work.pause(0.02, 0.25)).await;
        }
        channel.data_bytes("\r").await?;
        read(&mut channel, work.pause(0.05, 0.8)).await;
    }
    channel.data_bytes("exit\r").await?;
    read(&mut channel, Duration::from_millis(300)).await;
    Ok(())
}

/// A port behind the server: requests and answers of some protocol.
async fn forward(work: &mut Work, session: &client::Handle<Trusting>) -> Result<()> {
    let mut channel = session
        .channel_open_direct_tcpip("127.0.0.1", work.pick([80, 3306, 5432, 8080]), "127.0.0.1", 49_152)
        .await?;
    for _ in 0..work.count(1, 8) {
        channel.data_bytes(work.bytes(10, 4_000)).await?;
        read(&mut channel, work.pause(0.03, 0.5)).await;
    }
    channel.eof().await?;
    Ok(channel.close().await?)
}

/// What comes until then.
async fn read(channel: &mut Channel<client::Msg>, time: Duration) {
    let _ = timeout(time, async { while channel.wait().await.is_some() {} }).await;
}
