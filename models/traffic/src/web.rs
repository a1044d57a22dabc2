//! HTTP/1.1 and, over TLS, HTTP/2: axum, reqwest, ureq. Pages, interfaces with JSON-RPC, uploads in chunks, long polling and
//! server-sent events.

use std::{
    convert::Infallible,
    fs, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Sse, sse::Event},
    routing::{get, post},
    serve::Listener,
};
use futures::{Stream, StreamExt as _, stream};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::sleep,
};
use tokio_rustls::server::TlsStream;

use crate::{tls, work::Work};

const AGENTS: [&str; 5] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "reqwest/0.13",
    "okhttp/4.12",
    "agent",
];
const PAGES: [&str; 9] = [
    "",
    "index.html",
    "static/app.js",
    "static/photo.jpg",
    "api/v1/items",
    "api/v1/state",
    "login",
    "feed.xml",
    "stream",
];

/// Draws that handlers share.
#[derive(Clone)]
struct Shop(Arc<Mutex<Work>>);

impl Shop {
    fn draw<T>(&self, with: impl FnOnce(&mut Work) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn router(work: Work) -> Router {
    Router::new()
        .route("/files/{name}", get(file))
        .route("/events", get(events))
        .route("/poll", get(poll))
        .route("/stream", get(chunks))
        .route("/rpc", post(rpc))
        .fallback(page)
        .with_state(Shop(Arc::new(Mutex::new(work))))
}

pub async fn http_server(work: Work) -> Result<()> {
    let listener = TcpListener::bind(work.at).await?;
    Ok(axum::serve(listener, router(work)).await?)
}

/// The folder of its certificates after the name.
pub async fn https_server(mut work: Work) -> Result<()> {
    let acceptor = tls::acceptor(&mut work, &[b"h2", b"http/1.1"])?;
    let (at, listener) = (work.at, TcpListener::bind(work.at).await?);
    let (sender, ready) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                match acceptor.accept(socket).await {
                    Ok(stream) => drop(sender.send(stream).await),
                    Err(error) => println!("{error}"),
                }
            });
        }
    });
    Ok(axum::serve(Secured { ready, at }, router(work)).await?)
}

/// Connections whose handshakes are done.
struct Secured {
    ready: mpsc::Receiver<TlsStream<TcpStream>>,
    at: SocketAddr,
}

impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(stream) => (stream, self.at),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.at)
    }
}

/// What a server says besides, long where it is careful.
fn headers(work: &mut Work) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if work.happens(0.4) {
        let cookie = format!("session={}; Path=/; HttpOnly; SameSite=Lax", token(work, 16, 900));
        headers.extend(HeaderValue::from_str(&cookie).ok().map(|value| (header::SET_COOKIE, value)));
    }
    if work.happens(0.3) {
        let policy =
            "default-src 'self'; img-src 'self' data: https://images.example.net; frame-ancestors 'none'";
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    headers
}

fn token(work: &mut Work, low: u32, high: u32) -> String {
    work.bytes(low, high).iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

async fn page(State(shop): State<Shop>, method: Method, uri: Uri, _: Bytes) -> impl IntoResponse {
    let high = if uri.path().contains("static") { 400_000 } else { 30_000 };
    shop.draw(|work| {
        let status = match method {
            Method::GET | Method::HEAD if work.happens(0.9) => StatusCode::OK,
            Method::GET | Method::HEAD => work.pick([StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED]),
            _ => work.pick([StatusCode::CREATED, StatusCode::OK, StatusCode::NO_CONTENT]),
        };
        let body = match status {
            StatusCode::NO_CONTENT => String::new(),
            StatusCode::OK => work.text(30, high),
            _ => work.text(10, 300),
        };
        (status, headers(work), body)
    })
}

async fn file(State(shop): State<Shop>, Path(name): Path<u8>) -> impl IntoResponse {
    let path = shop.draw(|work| work.files.join(name.to_string()));
    match fs::read(path) {
        Ok(content) => (StatusCode::OK, content),
        Err(_) => (StatusCode::NOT_FOUND, Vec::new()),
    }
}

/// An answer once something has happened, or when it is time.
async fn poll(State(shop): State<Shop>) -> impl IntoResponse {
    let (pause, news) = shop.draw(|work| (work.pause(0.05, 3.0), record(work)));
    sleep(pause).await;
    Json(news)
}

async fn events(State(shop): State<Shop>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let count = shop.draw(|work| work.count(1, 12));
    Sse::new(stream::iter(0..count).then(move |number| {
        let (pause, news) = shop.draw(|work| (work.pause(0.01, 1.0), record(work)));
        async move {
            sleep(pause).await;
            Ok(Event::default().id(number.to_string()).data(news.to_string()))
        }
    }))
}

async fn chunks(State(shop): State<Shop>) -> Body {
    Body::from_stream(pieces(&mut shop.draw(|work| work.with(7))))
}

/// Of a file that is made while it is sent.
fn pieces(work: &mut Work) -> impl Stream<Item = Result<Vec<u8>, Infallible>> + use<> {
    let pieces: Vec<_> =
        (0..work.count(1, 8)).map(|_| (work.pause(0.001, 0.4), work.bytes(20, 8_000))).collect();
    stream::iter(pieces).then(|(pause, piece)| async move {
        sleep(pause).await;
        Ok(piece)
    })
}

fn record(work: &mut Work) -> Value {
    json!({ "id": work.int(1, 9_999_999), "name": work.word(), "value": work.draw(), "note": work.text(2, 1_200) })
}

/// JSON-RPC 2.0: one call or a batch of them.
async fn rpc(State(shop): State<Shop>, Json(asked): Json<Value>) -> impl IntoResponse {
    let answer = |asked: &Value| {
        shop.draw(|work| {
            let told = if work.happens(0.85) { "result" } else { "error" };
            let value = match told {
                "error" => json!({ "code": -32_601, "message": "Method not found" }),
                _ => (0..work.count(0, 6)).map(|_| record(work)).collect(),
            };
            json!({ "jsonrpc": "2.0", "id": asked["id"], told: value })
        })
    };
    Json(match &asked {
        Value::Array(batch) => batch.iter().map(answer).collect(),
        one => answer(one),
    })
}

fn call(work: &mut Work) -> Value {
    let method =
        work.pick(["eth_getBlockByNumber", "getinfo", "item.get", "user.login", "system.listMethods"]);
    json!({ "jsonrpc": "2.0", "id": work.int(1, 99_999), "method": method, "params": [record(work)] })
}

/// What one user's program says of itself with every request.
fn own_headers(work: &mut Work) -> Vec<(&'static str, String)> {
    let mut own = vec![("user-agent", work.pick(AGENTS).to_owned())];
    if work.happens(0.4) {
        own.push(("cookie", format!("id={}", token(work, 10, 1_200))));
    }
    if work.happens(0.3) {
        own.push(("authorization", format!("Bearer {}", token(work, 40, 900))));
    }
    if work.happens(0.4) {
        own.push(("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8".to_owned()));
        own.push(("accept-language", "en-GB,en;q=0.7,de;q=0.3".to_owned()));
    }
    own
}

/// A user's visit or a program's session.
pub async fn http_client(mut work: Work) -> Result<()> {
    let name = format!("{}.example.net", work.word());
    let client = builder(&mut work, &name).build()?;
    let port = work.at.port();
    visit(&mut work, &client, &format!("http://{name}:{port}")).await
}

/// The folder of certificates after the name.
pub async fn https_client(mut work: Work) -> Result<()> {
    let name = format!("{}.example.net", work.word());
    let client = builder(&mut work, &name).tls_backend_preconfigured(tls::client(&mut work)?).build()?;
    let port = work.at.port();
    visit(&mut work, &client, &format!("https://{name}:{port}")).await
}

fn builder(work: &mut Work, name: &str) -> reqwest::ClientBuilder {
    // reqwest wants one even where nothing is encrypted; a second time it stays as it is.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let own = own_headers(work).into_iter();
    let headers = own.filter_map(|(name, value)| {
        Some((header::HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
    });
    Client::builder()
        .default_headers(headers.collect())
        .resolve(name, work.at)
        .cookie_store(work.happens(0.5))
        .pool_max_idle_per_host(work.pick([0, 4, 4, 4]))
        .timeout(Duration::from_secs(15))
}

async fn visit(work: &mut Work, client: &Client, base: &str) -> Result<()> {
    for _ in 0..work.few(14) {
        let request = match work.draw() {
            ..0.35 => client.get(format!("{base}/{}", work.pick(PAGES))),
            0.35..0.45 => client.get(format!("{base}/files/{}", work.int(1, 12))),
            0.45..0.65 => {
                let calls: Vec<_> = (0..work.few(5)).map(|_| call(work)).collect();
                let body = if calls.len() == 1 { calls[0].clone() } else { calls.into() };
                client.post(format!("{base}/rpc")).json(&body)
            }
            0.65..0.75 => {
                client.put(format!("{base}/api/v1/items/{}", work.int(1, 999))).body(work.bytes(10, 60_000))
            }
            0.75..0.82 => {
                client.post(format!("{base}/upload")).body(reqwest::Body::wrap_stream(pieces(work)))
            }
            0.82..0.9 => client.get(format!("{base}/events")).header("accept", "text/event-stream"),
            _ => client.get(format!("{base}/poll?since={}", work.int(1, 99_999))),
        };
        let answer = request.send().await?;
        println!("{} {}", answer.status(), answer.bytes().await?.len());
        sleep(work.pause(0.003, 0.8)).await;
    }
    Ok(())
}

/// Short calls of an interface, by ureq.
pub fn rest_client(mut work: Work) -> Result<()> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(work.pick(AGENTS))
        .max_idle_connections(work.pick([0, 3, 3]))
        .timeout_global(Some(Duration::from_secs(15)))
        .build()
        .into();
    let base = format!("http://{}", work.at);
    // The first is the agent's name, which this one has already.
    let own = &own_headers(&mut work)[1..];
    for _ in 0..work.few(10) {
        let mut answer = if work.happens(0.5) {
            with_headers(agent.post(format!("{base}/rpc")), own).send_json(call(&mut work))?
        } else {
            let (page, name, value) = (work.pick(PAGES), work.word(), token(&mut work, 1, 300));
            with_headers(agent.get(format!("{base}/{page}?{name}={value}")), own).call()?
        };
        println!("{} {}", answer.status(), answer.body_mut().read_to_vec()?.len());
        work.think(0.003, 0.8);
    }
    Ok(())
}

fn with_headers<B>(request: ureq::RequestBuilder<B>, own: &[(&str, String)]) -> ureq::RequestBuilder<B> {
    own.iter().fold(request, |request, (name, value)| request.header(*name, value))
}
