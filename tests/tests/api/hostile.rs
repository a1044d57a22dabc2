//! Hostile, malformed, oversized and slow requests: each gets an answer that says what is wrong, or its connection
//! closed, and takes nothing from the next one.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use ntc_tests::{http::Asker, link::Link, patience::patient};
use ntc_user::api::listen::socket_of;
use serde_json::json;

#[test]
fn mistakes_and_attacks_get_problems() -> anyhow::Result<()> {
    let link = Link::new("api-hostile")?;
    let agent = link.agent(&[])?;
    let ask = Asker::unix(&link);
    for (url, word) in [
        ("/v1/flows?servise=DNS", "servise"),
        ("/v1/flows?class=fast", "there are"),
        ("/v1/flows?port=70000", "port"),
        ("/v1/flows?vlan=4096", "vlan"),
        ("/v1/flows?limit=100000", "1 to 1000"),
        ("/v1/flows?cursor=zz", "cursor"),
        ("/v1/flows?prefix=%00", "prefix"),
        ("/v1/flows?interface=r9", "r9"),
        ("/v1/flows/lookup?src_ip=192.0.2.1", "dst_ip"),
        ("/v1/events?min_confidence=2", "min_confidence"),
    ] {
        let detail = ask.ask(url, &[])?.problem(400)?;
        ensure!(detail.contains(word), "{url}: {detail}");
    }
    let two_versions = "src_ip=192.0.2.1&dst_ip=2001:db8::1&src_port=1&dst_port=2&proto=udp";
    ask.ask(&format!("/v1/flows/lookup?{two_versions}"), &[])?.problem(400)?;
    ask.ask("/v2/flows", &[])?.problem(404)?;
    ask.ask("/v1/flows", &["--request", "DELETE"])?.problem(405)?;
    let json = |body: &str| {
        ask.ask("/v1/flows/lookup", &["--header", "Content-Type: application/json", "--data", body])
    };
    json("{")?.problem(400)?;
    json("{\"flows\": 3}")?.problem(422)?;
    ask.ask("/v1/flows/lookup", &["--data", "flows=3"])?.problem(415)?;
    let folder = tempfile::tempdir()?;
    let large = folder.path().join("large");
    std::fs::write(&large, " ".repeat(300_000))?;
    json(&format!("@{}", large.display()))?.problem(413)?;
    let header = format!("X-Large: {}", "x".repeat(20_000));
    ensure!(ask.ask("/healthz", &["--header", &header])?.status == 431);

    // A header that never ends, many at a time, takes nothing from the next one.
    let crawl = (0..40)
        .map(|_| {
            let mut stream = UnixStream::connect(socket_of(&link.pins.0))?;
            stream.write_all(b"GET /v1/flows HTTP/1.1\r\nHost: x\r\nX")?;
            Ok(stream)
        })
        .collect::<io::Result<Vec<_>>>()?;
    ensure!(ask.ask("/readyz", &[])?.status == 200);
    drop(crawl);
    let events = agent.stop()?;
    ensure!(events.last().is_some_and(|event| event["event"] == "summary"));
    Ok(())
}

#[test]
fn a_crowd_at_one_door_is_told_so_and_leaves_the_other_open() -> anyhow::Result<()> {
    let link = Link::new("api-crowd")?;
    let agent = link.agent(&["--api-listen", "127.0.0.1:8080"])?;
    let path = socket_of(&link.pins.0);
    let crowd = (0..256).map(|_| UnixStream::connect(&path)).collect::<io::Result<Vec<_>>>()?;
    let tcp = Asker::inside(&link.agent_side, &[]);
    tcp.until("http://127.0.0.1:8080/v1/agent", |agent| (agent["ready"] == true).then_some(()))?;
    // Accepted in the order of coming: the 257th is one too many.
    let refused = Asker::unix(&link).ask("/healthz", &[])?;
    ensure!(refused.problem(503)?.contains("too many connections"), "{refused:?}");
    drop(crowd);
    let stats = tcp.get("http://127.0.0.1:8080/v1/stats");
    ensure!(stats.is_ok_and(|stats| stats["api"]["connections_refused"] == 1));
    agent.stop()?;
    Ok(())
}

/// What a request that is given byte by byte is answered with.
struct Raw {
    name: &'static str,
    bytes: Vec<u8>,
    /// Of the answer; 0: the connection is closed without one.
    status: u16,
}

fn raw(name: &'static str, bytes: impl Into<Vec<u8>>, status: u16) -> Raw {
    Raw { name, bytes: bytes.into(), status }
}

/// A POST that asks for flows, with headers and a body to order.
fn lookup(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = "POST /v1/flows/lookup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    [head.as_bytes(), headers.as_bytes(), b"\r\n", body].concat()
}

fn sized(body: &[u8]) -> Vec<u8> {
    lookup(&format!("Content-Length: {}\r\n", body.len()), body)
}

fn get(rest: &str) -> Vec<u8> {
    format!("GET {rest}Connection: close\r\n\r\n").into_bytes()
}

fn malformed() -> Vec<Raw> {
    let tuple = |port: u32| json!({"src_ip": "192.0.2.1", "dst_ip": "192.0.2.2", "src_port": port, "dst_port": 2, "proto": "udp"});
    let flows = |port, count| json!({"flows": vec![tuple(port); count]}).to_string();
    let headers: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    let host = "HTTP/1.1\r\nHost: localhost\r\n";
    vec![
        raw(
            "TLS where there is none",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".as_slice(),
            400,
        ),
        raw("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), 0),
        raw("no request line", b"\x00\x00\x00\x00\r\n\r\n".as_slice(), 400),
        raw("NUL in a header", get(&format!("/healthz {host}X: a\0b\r\n")), 400),
        raw("a header without a colon", get(&format!("/healthz {host}nonsense\r\n")), 400),
        raw("folded header", get(&format!("/healthz {host}X: a\r\n b\r\n")), 400),
        raw("header of 20 kB", get(&format!("/healthz {host}X: {}\r\n", "x".repeat(20_000))), 431),
        raw("200 headers", get(&format!("/healthz {host}{headers}")), 431),
        raw("path of 70 kB", get(&format!("/{} {host}", "x".repeat(70_000))), 431),
        raw("query of 12 kB", get(&format!("/v1/flows?{} {host}", "a=b&".repeat(3_000))), 400),
        raw("NUL in a query", get(&format!("/v1/flows?service=%00 {host}")), 400),
        raw("no UTF-8 in a query", get(&format!("/v1/flows?service=%ff%fe {host}")), 400),
        raw("the same parameter twice", get(&format!("/v1/flows?port=1&port=2 {host}")), 400),
        raw("TRACE", format!("TRACE /healthz {host}Connection: close\r\n\r\n"), 405),
        raw("CONNECT", format!("CONNECT 192.0.2.1:80 {host}Connection: close\r\n\r\n"), 404),
        raw("out of the tree", get(&format!("/../../etc/passwd {host}")), 404),
        raw("out of the tree, encoded", get(&format!("/%2e%2e/%2e%2e/etc/passwd {host}")), 404),
        raw("two lengths", lookup("Content-Length: 2\r\nContent-Length: 3\r\n", b"{}x"), 400),
        raw("a length below 0", lookup("Content-Length: -1\r\n", b""), 400),
        raw("a length beyond all", lookup("Content-Length: 99999999999999999999\r\n", b""), 400),
        raw("a body larger than is read", lookup("Content-Length: 4000000000\r\n", b""), 413),
        raw("chunks that are none", lookup("Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"), 400),
        raw(
            "a length beside chunks, which count (RFC 9112 section 6.3)",
            lookup(
                "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                b"c\r\n{\"flows\":[]}\r\n0\r\n\r\n",
            ),
            200,
        ),
        raw("a coding that nobody has", lookup("Transfer-Encoding: gzip\r\n", b""), 400),
        raw("nothing", sized(b""), 400),
        raw("no JSON", sized(b"{\"flows\": ["), 400),
        raw("no UTF-8", sized(b"{\"flows\": [\"\xff\"]}"), 400),
        raw("a hundred thousand brackets", sized(&[b'['; 100_000]), 422),
        raw("another type", sized(b"{\"flows\": 3}"), 422),
        raw("a member too many", sized(b"{\"flows\": [], \"admin\": true}"), 422),
        raw("1,001 flows", sized(flows(1, 1001).as_bytes()), 400),
        raw("a port beyond 65535", sized(flows(65_536, 1).as_bytes()), 422),
    ]
}

/// Sends all, and reads until the other side closes.
fn answered(socket: &Path, bytes: &[u8]) -> anyhow::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patient(Duration::from_secs(10))))?;
    // Closed while it still sends: the answer is there all the same.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error.into()),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

#[test]
fn malformed_requests_are_told_what_they_are() -> anyhow::Result<()> {
    let link = Link::new("api-malformed")?;
    let agent = link.agent(&[])?;
    let socket = socket_of(&link.pins.0);
    let mut wrong = Vec::new();
    for Raw { name, bytes, status } in malformed() {
        let answer = answered(&socket, &bytes).with_context(|| name.to_owned())?;
        let found = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        if found != status {
            wrong.push(format!("{name}: {found}, not {status}: {answer}"));
        }
        // What reached a handler says why; what was no HTTP has its status alone.
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        if status != 200 && !body.is_empty() && !body.contains("\"detail\":\"") {
            wrong.push(format!("{name}: no problem: {answer}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(Asker::unix(&link).ask("/readyz", &[])?.status == 200);
    let events = agent.stop()?;
    ensure!(events.last().is_some_and(|event| event["event"] == "summary"));
    Ok(())
}

#[test]
fn who_is_slow_is_not_waited_for() -> anyhow::Result<()> {
    let link = Link::new("api-slow")?;
    let agent = link.agent(&[])?;
    let socket = socket_of(&link.pins.0);
    let open = |bytes: &[u8]| -> anyhow::Result<UnixStream> {
        let mut stream = UnixStream::connect(&socket)?;
        stream.set_read_timeout(Some(patient(Duration::from_secs(45))))?;
        stream.write_all(bytes)?;
        Ok(stream)
    };
    let begin = Instant::now();
    // A body that stops, a header that stops, a connection that says nothing, and somebody who asks and never reads.
    let mut body = open(&lookup("Content-Length: 100\r\n", b"{"))?;
    let mut header = open(b"GET /v1/flows HTTP/1.1\r\nHost: x\r\nX")?;
    let mut silent = open(b"")?;
    let deaf = UnixStream::connect(&socket)?;
    deaf.set_nonblocking(true)?;
    let question = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    ensure!((&deaf).write(&question)? > 1000, "it asks more than the socket holds answers");
    let ask = Asker::unix(&link);
    ensure!(ask.ask("/readyz", &[])?.status == 200, "others are answered meanwhile");

    let mut answer = String::new();
    body.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("did not come in time"), "{answer}");
    ensure!(begin.elapsed() >= Duration::from_secs(15), "{:?}: it had no time", begin.elapsed());
    let slow = |stats: &serde_json::Value| (stats["api"]["slow_readers"] == 1).then_some(());
    ask.until("/v1/stats", slow)?;
    for stream in [&mut header, &mut silent] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest)?;
        ensure!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 "), "{rest:?}");
    }
    agent.stop()?;
    Ok(())
}
