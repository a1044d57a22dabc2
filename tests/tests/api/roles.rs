//! Who may do what: each cell of the table in `ntc_user::api::auth`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, ensure};
use ntc_tests::{agent::Agent, certificate, http::Asker, link::Link};
use ntc_user::api::listen::socket_of;

const READER: &str = "Authorization: Bearer reader-0123456789";
const WRITER: &str = "Authorization: Bearer writer-0123456789";
const NOBODY: &str = "Authorization: Bearer nobody-0123456789";

/// What looking and writing come to; `{}` is no policy, so that a writer is refused for the missing `If-Match`.
fn looks_and_writes(ask: &Asker, base: &str, token: Option<&str>) -> anyhow::Result<[u16; 2]> {
    let header: Vec<&str> = token.iter().flat_map(|token| ["--header", *token]).collect();
    let put = ["--request", "PUT", "--header", "Content-Type: application/json", "--data", "{}"];
    let looks = ask.ask(&format!("{base}/v1/stats"), &header)?;
    let writes = ask.ask(&format!("{base}/v1/policy"), &[&put[..], &header].concat())?;
    for refused in [&looks, &writes].iter().filter(|answer| answer.status >= 400) {
        refused.problem(refused.status)?;
    }
    Ok([looks.status, writes.status])
}

fn tokens(folder: &Path) -> anyhow::Result<String> {
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
    let stranger = unix.by(&["setpriv", "--reuid", "65534", "--clear-groups"]);
    let loopback = Asker::inside(&link.agent_side, &[]);
    let tls = Asker::inside(&link.far_side, &["--cacert", &certificate]);
    // Looks, writes (428: let through, and refused for the missing If-Match).
    for (who, ask, base, cells) in [
        ("owner", &unix, "", [[200, 428], [200, 428], [200, 428], [401, 401]]),
        ("stranger", &stranger, "", [[200, 401], [200, 403], [200, 428], [401, 401]]),
        ("loopback", &loopback, "http://127.0.0.1:8080", [[200, 401], [200, 403], [200, 428], [401, 401]]),
        ("TLS", &tls, "https://192.0.2.1:8443", [[401, 401], [200, 403], [200, 428], [401, 401]]),
    ] {
        for (token, cell) in [None, Some(READER), Some(WRITER), Some(NOBODY)].into_iter().zip(cells) {
            let found = looks_and_writes(ask, base, token)?;
            ensure!(found == cell, "{who} with {token:?}: {found:?}, not {cell:?}");
        }
    }
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
