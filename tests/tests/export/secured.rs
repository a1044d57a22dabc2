//! A broker that wants TLS and a user's credentials.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use async_nats::ConnectOptions;
use data_encoding::BASE64URL_NOPAD;
use futures::StreamExt as _;
use nkeys::KeyPair;
use ntc_tests::{
    agent::Agent,
    certificate,
    link::{Link, of_port},
    net::Namespace,
    running::Running,
    unpacked::COLLECTORS,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{export, until};

const URL: &str = "nats+tls://127.0.0.1:4222";

/// A broker's files.
struct Secrets {
    /// Its certificate, which is its own authority.
    certificate: String,
    key: String,
    /// Who is trusted to name accounts, and the one account.
    operator: String,
    account: String,
    account_jwt: String,
    /// Credentials of a user of that account.
    credentials: String,
}

/// What `nsc` would make: an operator who vouches for an account, which vouches for a user.
fn secrets(folder: &Path) -> anyhow::Result<Secrets> {
    let [certificate, key] = certificate::of(folder, "127.0.0.1")?;
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let unlimited = json!({"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1,
        "wildcards": true});
    let operator_jwt = token(&operator, &operator, json!({"type": "operator", "version": 2}))?;
    let account_jwt =
        token(&operator, &account, json!({"type": "account", "version": 2, "limits": unlimited}))?;
    let user_jwt = token(
        &account,
        &user,
        json!({"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}),
    )?;
    let credentials = folder.join("site.creds");
    let seed = user.seed()?;
    fs::write(
        &credentials,
        format!(
            "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        ),
    )?;
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600))?;
    Ok(Secrets {
        certificate,
        key,
        operator: operator_jwt,
        account: account.public_key(),
        account_jwt,
        credentials: credentials.display().to_string(),
    })
}

/// A JWT as NATS has them: signed with an nkey.
fn token(by: &KeyPair, of: &KeyPair, what: Value) -> anyhow::Result<String> {
    let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let claims = json!({"jti": of.public_key(), "iat": 1, "iss": by.public_key(), "sub": of.public_key(), "name": "t", "nats": what});
    let signed = format!("{}.{}", part(json!({"typ": "JWT", "alg": "ed25519-nkey"})), part(claims));
    let signature = by.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
}

fn server(namespace: &Namespace, folder: &Path, secrets: &Secrets) -> anyhow::Result<Running> {
    let Secrets { certificate, key, operator, account, account_jwt, .. } = secrets;
    let file = folder.join("server.conf");
    fs::write(
        &file,
        format!(
            "listen: \"127.0.0.1:4222\"\ntls {{ cert_file: {certificate:?}, key_file: {key:?} }}\n\
             operator: {operator}\nresolver: MEMORY\nresolver_preload: {{ {account}: {account_jwt} }}\n"
        ),
    )?;
    let mut server = COLLECTORS.inside(namespace, "nats-server");
    server.arg("--config").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Running(server.spawn()?))
}

#[test]
fn a_broker_is_told_by_tls_and_with_credentials_or_not_at_all() -> anyhow::Result<()> {
    if !COLLECTORS.at_hand("a_broker_is_told_by_tls_and_with_credentials_or_not_at_all")? {
        return Ok(());
    }
    let link = Link::new("export-secured")?;
    let folder = tempfile::tempdir()?;
    let secrets = secrets(folder.path())?;
    let _server = server(&link.agent_side, folder.path(), &secrets)?;
    let trust = format!("SSL_CERT_FILE={}", secrets.certificate);
    let with_credentials = format!("{URL}?creds={}", secrets.credentials);
    let agent = |trust: &str, url: &str| {
        Agent::start_as(&link.agent_side, &link.pins.0, &["env", trust], &["--iface", "r0", "--export", url])
    };

    // Whom it does not know, and who does not know it, get nothing.
    let nobody = "SSL_CERT_FILE=/dev/null";
    for (trust, url, why) in [(nobody, &*with_credentials, "certificate"), (&*trust, URL, "authorization")] {
        let agent = agent(trust, url)?;
        until("the complaint", || {
            let export = export(&link)?;
            let error = export["error"].as_str().unwrap_or_default().to_lowercase();
            ensure!(export["connected"] != true, "{export}");
            Ok(error.contains(why).then_some(()))
        })
        .with_context(|| format!("{why}: {:?}", export(&link)))?;
        agent.stop()?;
    }

    let mut agent = agent(&trust, &with_credentials)?;
    let heard = link.agent_side.enter(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let options = ConnectOptions::new().add_root_certificates(secrets.certificate.clone().into());
            let client =
                options.credentials_file(&secrets.credentials).await?.connect("tls://127.0.0.1:4222");
            let client = client.await?;
            let mut messages = client.subscribe("ntc.*.new.>").await?;
            client.flush().await?;
            link.first_packets(43_001, 5)?;
            let message = timeout(Duration::from_secs(20), messages.next()).await.context("no message")?;
            Ok(serde_json::from_slice::<Value>(&message.context("the end")?.payload)?)
        })
    })?;
    ensure!(heard["flow"]["src_port"] == 43_001, "{heard}");
    agent.until(of_port(43_001))?;
    until("its delivery", || Ok((export(&link)?["sent"].as_u64() >= Some(1)).then_some(())))?;
    agent.stop()?;
    Ok(())
}
