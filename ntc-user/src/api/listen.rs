//! Where the API listens, and what it takes from whom.
//!
//! Everything that needs privileges happens in [`Listeners::bind`], before the agent gives up its own: sockets, the
//! key, the tokens. Each listener has connections of its own, so that a crowd at one does not close the others.

use std::{
    fs,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
    },
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::unistd::{User, chown};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    time::timeout,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring},
};

use super::{
    ApiError,
    auth::{Peer, Tokens},
    state::Shared,
};
use crate::cli::ApiArgs;

/// Where the sockets of agents are.
const DIRECTORY: &str = "/run/ntc";
/// Connections at one time to each listener.
const CONNECTIONS: usize = 256;
/// A request's header has to come within this time, and the TLS handshake before it. It is also how long a connection
/// may be idle.
const HEADER: Duration = Duration::from_secs(30);
/// A write that makes no progress for so long ends the connection.
const WRITE: Duration = Duration::from_secs(20);
/// Bytes of a request's header.
const HEADER_BYTES: usize = 16 * 1024;

/// Connections beyond the limit that are told so at one time; the others are closed.
const FAREWELLS: usize = 32;
/// What somebody beyond the limit is told, without a look at the request.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
retry-after: 1\r\nconnection: close\r\ncontent-length: 108\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many connections, try later\"}";

/// The socket of the agent whose maps are pinned in a directory.
pub fn socket_of(pin_dir: &Path) -> PathBuf {
    let name = pin_dir.strip_prefix("/sys/fs/bpf").unwrap_or(pin_dir);
    let words: Vec<_> = name.iter().map(|part| part.to_string_lossy()).filter(|part| part != "/").collect();
    Path::new(DIRECTORY).join(format!("{}.sock", words.join("-")))
}

/// Sockets that are bound, and what is needed to serve them.
pub struct Listeners {
    unix: Option<(StdUnixListener, PathBuf)>,
    loopback: Vec<std::net::TcpListener>,
    remote: Vec<std::net::TcpListener>,
    tls: Option<Arc<ServerConfig>>,
    /// Who may do what.
    pub tokens: Tokens,
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listeners")
            .field("unix", &self.unix)
            .field("loopback", &self.loopback)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl Listeners {
    /// Binds what is asked for. `user` is whom the agent will be.
    ///
    /// # Errors
    /// What cannot be bound or read, or would be open to the network without TLS and tokens.
    pub fn bind(args: &ApiArgs, pin_dir: &Path, user: Option<&str>) -> Result<Self, ApiError> {
        let tokens = args.api_tokens.as_deref().map(Tokens::load).transpose()?.unwrap_or_default();
        let tls = match (&args.api_tls_cert, &args.api_tls_key) {
            (Some(certificate), Some(key)) => Some(Arc::new(tls(certificate, key)?)),
            _ => None,
        };
        let (mut loopback, mut remote) = (Vec::new(), Vec::new());
        for address in &args.api_listen {
            let open = |listener: io::Result<std::net::TcpListener>| {
                let listener = listener.and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    Ok(listener)
                });
                listener.map_err(|source| ApiError::Bind { at: address.to_string(), source })
            };
            if address.ip().is_loopback() {
                loopback.push(open(std::net::TcpListener::bind(address))?);
            } else if tls.is_none() || tokens.is_empty() {
                return Err(ApiError::Open(*address));
            } else {
                remote.push(open(std::net::TcpListener::bind(address))?);
            }
        }
        let unix = match (&args.api_socket, args.no_api_socket) {
            (_, true) => None,
            (Some(path), false) => Some(unix(path, args.api_socket_mode, user)?),
            (None, false) => match unix(&socket_of(pin_dir), args.api_socket_mode, user) {
                Ok(unix) => Some(unix),
                Err(error) => {
                    // Nobody asked for it: the agent works all the same.
                    tracing::warn!(%error, "no API socket");
                    None
                }
            },
        };
        Ok(Self { unix, loopback, remote, tls, tokens })
    }

    /// Whether nothing is bound.
    pub const fn is_empty(&self) -> bool {
        self.unix.is_none() && self.loopback.is_empty() && self.remote.is_empty()
    }

    /// The Unix socket's path.
    pub fn socket(&self) -> Option<&Path> {
        self.unix.as_ref().map(|(_, path)| path.as_path())
    }

    /// Where it listens, for people.
    pub fn places(&self) -> Vec<String> {
        let tcp = |scheme: &'static str, listeners: &[std::net::TcpListener]| -> Vec<String> {
            let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok());
            addresses.map(|address| format!("{scheme}://{address}")).collect()
        };
        let unix = self.socket().map(|path| path.display().to_string());
        let loopback = tcp("http", &self.loopback);
        unix.into_iter().chain(loopback).chain(tcp("https", &self.remote)).collect()
    }

    /// Serves all of them; ends only with the runtime.
    ///
    /// # Errors
    /// The runtime cannot take a socket.
    pub fn serve(self, app: &Router, shared: &Arc<Shared>) -> io::Result<()> {
        if let Some((listener, _)) = self.unix {
            listener.set_nonblocking(true)?;
            tokio::spawn(serve_unix(UnixListener::from_std(listener)?, app.clone(), Arc::clone(shared)));
        }
        for listener in self.loopback {
            let listener = TcpListener::from_std(listener)?;
            tokio::spawn(serve_tcp(listener, None, app.clone(), Arc::clone(shared)));
        }
        for listener in self.remote {
            let (listener, acceptor) =
                (TcpListener::from_std(listener)?, self.tls.clone().map(TlsAcceptor::from));
            tokio::spawn(serve_tcp(listener, acceptor, app.clone(), Arc::clone(shared)));
        }
        Ok(())
    }
}

/// Binds a Unix socket; one that nobody listens to any more gives way.
fn unix(path: &Path, mode: u32, user: Option<&str>) -> Result<(StdUnixListener, PathBuf), ApiError> {
    let failed = |source| ApiError::Bind { at: path.display().to_string(), source };
    if path.starts_with(DIRECTORY) && !Path::new(DIRECTORY).exists() {
        fs::create_dir(DIRECTORY).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(failed(error)),
        })?;
    }
    if let Ok(found) = fs::symlink_metadata(path) {
        let left = found.file_type().is_socket()
            && StdUnixStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if !left {
            return Err(failed(io::Error::new(
                io::ErrorKind::AddrInUse,
                "somebody listens there, or it is no socket",
            )));
        }
        fs::remove_file(path).map_err(failed)?;
    }
    let listener = StdUnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    // A user that does not exist is told of when the agent changes to it.
    if let Some(user) = user.and_then(|name| User::from_name(name).ok().flatten()) {
        chown(path, Some(user.uid), Some(user.gid)).map_err(|error| failed(error.into()))?;
    }
    Ok((listener, path.to_path_buf()))
}

fn tls(certificate: &Path, key: &Path) -> Result<ServerConfig, ApiError> {
    let wrong = |path: &Path, what: String| ApiError::Tls { path: path.display().to_string(), what };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| wrong(certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn serve_unix(listener: UnixListener, app: Router, shared: Arc<Shared>) {
    let places = Places::new();
    // Root came in with its rights, and leaves them to its own.
    let own = rustix::process::geteuid().as_raw();
    loop {
        let Some((stream, _)) = accepted(listener.accept().await).await else { continue };
        let uid = stream.peer_cred().map(|peer| peer.uid());
        let peer = Peer::Local { owner: uid.is_ok_and(|uid| uid == 0 || uid == own) };
        spawn(stream, peer, &places, &app, &shared);
    }
}

async fn serve_tcp(listener: TcpListener, acceptor: Option<TlsAcceptor>, app: Router, shared: Arc<Shared>) {
    let places = Places::new();
    loop {
        let Some((stream, from)) = accepted(listener.accept().await).await else { continue };
        // Small answers, which nothing follows.
        let _ = stream.set_nodelay(true);
        let address = canonical(from);
        let Some(acceptor) = acceptor.clone() else {
            spawn(stream, Peer::Loopback(address), &places, &app, &shared);
            continue;
        };
        let Ok(permit) = Arc::clone(&places.served).try_acquire_owned() else {
            shared.counters.connections_refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (app, shared) = (app.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            match timeout(HEADER, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => connection(stream, Peer::Remote(address), app, &shared).await,
                Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS"),
                Err(_) => tracing::debug!(%address, "the TLS handshake took too long"),
            }
            drop(permit);
        });
    }
}

fn canonical(from: SocketAddr) -> IpAddr {
    from.ip().to_canonical()
}

/// Out of descriptors, or a connection that went away at once: the next one may do.
async fn accepted<T>(outcome: io::Result<T>) -> Option<T> {
    match outcome {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            tracing::debug!(%error, "a connection was not accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// Connections of one listener.
#[derive(Clone, Debug)]
struct Places {
    served: Arc<Semaphore>,
    refused: Arc<Semaphore>,
}

impl Places {
    fn new() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { served: places(CONNECTIONS), refused: places(FAREWELLS) }
    }
}

fn spawn<S>(stream: S, peer: Peer, places: &Places, app: &Router, shared: &Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (app, shared) = (app.clone(), Arc::clone(shared));
    if let Ok(permit) = Arc::clone(&places.served).try_acquire_owned() {
        tokio::spawn(async move {
            connection(stream, peer, app, &shared).await;
            drop(permit);
        });
        return;
    }
    shared.counters.connections_refused.fetch_add(1, Ordering::Relaxed);
    if let Ok(permit) = Arc::clone(&places.refused).try_acquire_owned() {
        tokio::spawn(async move {
            let _ = timeout(Duration::from_secs(1), refuse(stream)).await;
            drop(permit);
        });
    }
}

/// Says why, and waits until the other side has read it: closing with its request unread would take the answer back.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    // The first bytes of a connection: a socket takes them at once.
    poll_fn(|context| Pin::new(&mut stream).poll_write(context, BUSY)).await?;
    poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context)).await?;
    let mut unread = [0; 4096];
    loop {
        let mut buffer = ReadBuf::new(&mut unread);
        poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut buffer)).await?;
        if buffer.filled().is_empty() {
            return Ok(());
        }
    }
}

async fn connection<S>(stream: S, peer: Peer, app: Router, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE));
    let service = TowerToHyperService::new(app.layer(Extension(peer)));
    let outcome = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .await;
    if let Err(error) = outcome {
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        if source.is_some_and(|source| source.kind() == io::ErrorKind::TimedOut) {
            shared.counters.slow_readers.fetch_add(1, Ordering::Relaxed);
        }
        tracing::debug!(?peer, %error, "a connection ended early");
    }
}

/// Removes the socket of an agent that has ended.
pub fn remove(path: &Path) {
    // Of a user who may not write there it stays; the next agent takes its place.
    let _ = fs::remove_file(path);
}

/// Removes the socket that an agent left behind; `false` where there is none, or one that somebody listens to.
pub fn remove_left(pin_dir: &Path) -> bool {
    let path = socket_of(pin_dir);
    let left = fs::symlink_metadata(&path)
        .is_ok_and(|found| found.file_type().is_socket() && found.nlink() == 1)
        && StdUnixStream::connect(&path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    left && fs::remove_file(&path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pin_directory_has_its_socket() {
        let socket = |pins: &str| socket_of(Path::new(pins)).display().to_string();
        assert_eq!(socket("/sys/fs/bpf/ntc/v3"), "/run/ntc/ntc-v3.sock");
        assert_eq!(socket("/mnt/bpf/x"), "/run/ntc/mnt-bpf-x.sock");
    }

    #[test]
    fn the_canned_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(BUSY).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("header and body");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        serde_json::from_str::<crate::api::problem::Problem>(body).expect("a problem");
    }
}
