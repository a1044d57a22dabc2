//! Who may do what: each cell of the table in `ntc_user::api::auth`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::ensure;
use ntc_tests::{agent::Agent, certificate, http::Asker, link::Link};
use ntc_user::api::listen::socket_of;

/// The tokens of [`tokens`].
pub(crate) const READER: &str = "reader-0123456789";
pub(crate) const WRITER: &str = "writer-0123456789";

/// What is sent with a request.
const CREDENTIALS: [(&str, Option<&str>); 7] = [
    ("no token", None),
    ("a reader's token", Some("Bearer reader-0123456789")),
    ("a writer's token", Some("Bearer writer-0123456789")),
    ("a writer's token, the scheme in lower case", Some("bearer writer-0123456789")),
    ("a token that nobody has", Some("Bearer nobody-0123456789")),
    ("an empty token", Some("Bearer")),
    ("another scheme", Some("Basic writer-0123456789")),
];

/// What each kind of request comes to: a look, a question about many flows, a change (428: let through, and refused
/// for want of `If-Match`), a method that there is not (405 to who may write), and health.
const REQUESTS: [(&str, &str, &[&str]); 5] = [
    ("look", "/v1/stats", &[]),
    ("ask", "/v1/flows/lookup", &["--header", "Content-Type: application/json", "--data", "{\"flows\":[]}"]),
    (
        "write",
        "/v1/policy",
        &["--request", "PUT", "--header", "Content-Type: application/json", "--data", "{}"],
    ),
    ("remove", "/v1/policy", &["--request", "DELETE"]),
    ("health", "/readyz", &[]),
];

/// Of somebody who may read and write, of one who may read, of one who may not without a token, and of one whose token
/// is none: it is refused even where none is needed.
const WRITES: [u16; 5] = [200, 200, 428, 405, 200];
const READS: [u16; 5] = [200, 200, 403, 403, 200];
const READS_WITHOUT: [u16; 5] = [200, 200, 401, 401, 200];
const SHUT_OUT: [u16; 5] = [401, 401, 401, 401, 200];
const NOBODY: [u16; 5] = [401, 401, 401, 401, 401];

/// Asks everything with everything, and compares cell by cell.
fn compare(who: &str, ask: &Asker, base: &str, rows: [[u16; 5]; 7]) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for ((credential, sent), row) in CREDENTIALS.into_iter().zip(rows) {
        let header = sent.map(|sent| format!("Authorization: {sent}"));
        let header: Vec<&str> = header.iter().flat_map(|header| ["--header", header.as_str()]).collect();
        for ((request, path, options), expected) in REQUESTS.into_iter().zip(row) {
            let answer = ask.ask(&format!("{base}{path}"), &[options, &header].concat())?;
            if answer.status != expected {
                wrong.push(format!(
                    "{who}, {credential}, {request}: {}, not {expected}: {}",
                    answer.status, answer.body
                ));
            } else if expected >= 400 {
                answer.problem(expected)?;
            }
        }
    }
    Ok(wrong)
}

pub(crate) fn tokens(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join("tokens");
    fs::write(&path, "read reader-0123456789\nwrite writer-0123456789\n")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path.display().to_string())
}

#[test]
fn each_way_in_gives_the_role_that_is_written_down() -> anyhow::Result<()> {
    let (link, folder) = (Link::new("api-roles")?, tempfile::tempdir()?);
    link.addresses()?;
    let (tokens, [certificate, key]) = (tokens(folder.path())?, certificate::of(folder.path(), "192.0.2.1")?);
    let listen = "127.0.0.1:8080,192.0.2.1:8443";
    let agent = link.agent(&[
        "--api-listen",
        listen,
        "--api-tokens",
        &tokens,
        "--api-tls-cert",
        &certificate,
        "--api-tls-key",
        &key,
        "--api-socket-mode",
        "666",
        "--api-rate",
        "1000",
    ])?;
    let unix = Asker::unix(&link);
    unix.until("/v1/agent", |agent| (agent["ready"] == true).then_some(()))?;
    // What is counted may come a little later than that it is ready.
    unix.until("/v1/stats", |stats| (stats["status"] != 503).then_some(()))?;
    let stranger = unix.by(&["setpriv", "--reuid", "65534", "--clear-groups"]);
    let loopback = Asker::inside(&link.agent_side, &[]);
    let tls = Asker::inside(&link.far_side, &["--cacert", &certificate]);
    let owner = [WRITES, WRITES, WRITES, WRITES, NOBODY, NOBODY, NOBODY];
    let near = [READS_WITHOUT, READS, WRITES, WRITES, NOBODY, NOBODY, NOBODY];
    let far = [SHUT_OUT, READS, WRITES, WRITES, NOBODY, NOBODY, NOBODY];
    let mut wrong = Vec::new();
    for (who, ask, base, rows) in [
        ("by the socket as its owner", &unix, "", owner),
        ("by the socket as a stranger", &stranger, "", near),
        ("by loopback", &loopback, "http://127.0.0.1:8080", near),
        ("by TLS", &tls, "https://192.0.2.1:8443", far),
    ] {
        wrong.extend(compare(who, ask, base, rows)?);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The other POST changes something.
    let reload = |ask: &Asker, base: &str, options: &[&str]| -> anyhow::Result<u16> {
        let post = ["--request", "POST"];
        Ok(ask.ask(&format!("{base}/v1/reload"), &[&post[..], options].concat())?.status)
    };
    let read = ["--header", "Authorization: Bearer reader-0123456789"];
    ensure!(reload(&stranger, "", &[])? == 401 && reload(&stranger, "", &read)? == 403);
    ensure!(reload(&loopback, "http://127.0.0.1:8080", &read)? == 403);
    ensure!(reload(&tls, "https://192.0.2.1:8443", &[])? == 401);
    let allow = |ask: &Asker| -> anyhow::Result<Option<String>> {
        Ok(ask.ask("/v1/policy", &[])?.header("allow").map(str::to_owned))
    };
    ensure!(allow(&unix)?.is_some_and(|methods| methods.contains("PUT")));
    ensure!(allow(&stranger)?.is_some_and(|methods| !methods.contains("PUT")));
    for open in ["/", "/healthz", "/readyz", "/openapi.json", "/page.js"] {
        ensure!(tls.ask(&format!("https://192.0.2.1:8443{open}"), &[])?.status == 200, "{open}");
    }
    ensure!(tls.ask("https://192.0.2.1:8443/metrics", &[])?.problem(401)?.contains("token"));
    let rebound = loopback.ask("http://127.0.0.1:8080/v1/flows", &["--header", "Host: attacker.example"])?;
    rebound.problem(421)?;
    // No TLS, no answer.
    ensure!(Asker::inside(&link.far_side, &[]).ask("http://192.0.2.1:8443/healthz", &[]).is_err());
    agent.stop()?;
    Ok(())
}

#[test]
fn without_tokens_only_the_owner_writes_and_the_mode_says_who_comes_in() -> anyhow::Result<()> {
    let link = Link::new("api-no-tokens")?;
    let agent = link.agent(&["--api-listen", "127.0.0.1:8080", "--api-rate", "1000"])?;
    let unix = Asker::unix(&link);
    unix.until("/v1/agent", |agent| (agent["ready"] == true).then_some(()))?;
    let loopback = Asker::inside(&link.agent_side, &[]);
    // 403: there is no token that could help.
    let owner = [WRITES, NOBODY, NOBODY, NOBODY, NOBODY, NOBODY, NOBODY];
    let near = [READS, NOBODY, NOBODY, NOBODY, NOBODY, NOBODY, NOBODY];
    let mut wrong = compare("by the socket as its owner", &unix, "", owner)?;
    wrong.extend(compare("by loopback", &loopback, "http://127.0.0.1:8080", near)?);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // 660: a stranger does not come in at all, and one of the socket's group may look.
    let stranger = unix.by(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    ensure!(stranger.ask("/readyz", &[]).is_err_and(|error| error.to_string().contains("connect")));
    let group = unix.by(&["setpriv", "--reuid", "65534", "--regid", "0", "--clear-groups"]);
    let wrong = compare("by the socket as one of its group", &group, "", near)?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    agent.stop()?;
    Ok(())
}

#[test]
fn an_open_door_is_not_opened() -> anyhow::Result<()> {
    let (link, folder) = (Link::new("api-open")?, tempfile::tempdir()?);
    link.addresses()?;
    let (tokens, [certificate, key]) = (tokens(folder.path())?, certificate::of(folder.path(), "192.0.2.1")?);
    let refused = |arguments: &[&str]| -> anyhow::Result<String> {
        let arguments = [&["--iface", "r0"], arguments].concat();
        let output = Agent::command(&link.agent_side, &link.pins.0, &[], &arguments)?.output()?;
        ensure!(output.status.code() == Some(1), "{arguments:?}: {output:?}");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let tls = ["--api-tls-cert", &certificate, "--api-tls-key", &key];
    for arguments in [&[][..], &tls, &["--api-tokens", &tokens]] {
        let said = refused(&[&["--api-listen", "192.0.2.1:8443"], arguments].concat())?;
        ensure!(said.contains("beyond loopback it is offered with TLS and tokens only"), "{said}");
    }
    let said = refused(&["--api-listen", "127.0.0.1:8080", "--api-tls-cert", &key, "--api-tls-key", &key])?;
    ensure!(said.contains("key.pem"), "{said}");
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o644))?;
    let said = refused(&["--api-tokens", &tokens])?;
    ensure!(said.contains("everybody can get at it"), "{said}");
    ensure!(!socket_of(&link.pins.0).exists(), "nothing is left of an agent that did not start");
    Ok(())
}

#[test]
fn who_asks_too_often_is_slowed_and_the_socket_is_not() -> anyhow::Result<()> {
    let link = Link::new("api-rate")?;
    let agent = link.agent(&["--api-listen", "127.0.0.1:8080", "--api-rate", "5"])?;
    let tcp = Asker::inside(&link.agent_side, &[]);
    // One connection, forty requests: the bucket holds ten, and is filled with five a second.
    let codes = tcp.ask(
        "http://127.0.0.1:8080/healthz?[1-40]",
        &["--no-globoff", "--output", "/dev/null", "--write-out", "HTTP %{http_code}\r\n\r\n"],
    );
    let text = format!("{codes:?}");
    ensure!(text.contains("429"), "{text}");
    ensure!(Asker::unix(&link).ask("/healthz", &[])?.status == 200);
    agent.stop()?;
    Ok(())
}

#[test]
fn told_to_offer_nothing_it_offers_nothing() -> anyhow::Result<()> {
    let link = Link::new("api-none")?;
    let agent = link.agent(&["--no-api-socket"])?;
    ensure!(!socket_of(&link.pins.0).exists());
    agent.stop()?;
    Ok(())
}
