//! NATS, by a real server.

use std::{collections::BTreeSet, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use async_nats::{Client, ConnectOptions, Message, jetstream};
use futures::{Stream, StreamExt as _};
use ntc_tests::{
    link::{Link, of_port},
    net::Namespace,
    running::Running,
    unpacked::COLLECTORS,
};
use serde_json::Value;
use tokio::time::timeout;

use crate::{export, until};

const URL: &str = "nats://127.0.0.1";

fn server(namespace: &Namespace, store: &Path) -> anyhow::Result<Running> {
    let child = COLLECTORS
        .inside(namespace, "nats-server")
        .args(["--addr", "127.0.0.1", "--port", "4222", "--jetstream", "--store_dir"])
        .arg(store)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Running(child))
}

/// Runs in the namespace, sockets and all, with a client of the server.
fn inside<T: Send>(
    namespace: &Namespace,
    work: impl AsyncFnOnce(Client) -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    namespace.enter(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let connect = || ConnectOptions::new().connect(URL);
            let client = timeout(Duration::from_secs(20), async {
                loop {
                    // It may be starting yet.
                    match connect().await {
                        Ok(client) => return client,
                        Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    }
                }
            });
            work(client.await.context("no server")?).await
        })
    })
}

async fn next(messages: &mut (impl Stream<Item = Message> + Unpin)) -> anyhow::Result<(String, Value)> {
    let message = timeout(Duration::from_secs(20), messages.next()).await.context("no message")?;
    let message = message.context("the end")?;
    Ok((message.subject.to_string(), serde_json::from_slice(&message.payload)?))
}

#[test]
fn each_change_is_a_message_under_the_subject_of_its_service() -> anyhow::Result<()> {
    if !COLLECTORS.at_hand("each_change_is_a_message_under_the_subject_of_its_service")? {
        return Ok(());
    }
    let link = Link::new("export-nats")?;
    let folder = tempfile::tempdir()?;
    let _server = server(&link.agent_side, folder.path())?;
    let mut agent = link.agent(&["--export", &format!("{URL}/site7.ntc")])?;
    let new = inside(&link.agent_side, async |client| {
        let mut messages = client.subscribe("site7.ntc.*.new.>").await?;
        client.flush().await?;
        link.first_packets(41_001, 5)?;
        next(&mut messages).await
    })?;
    let label = agent.until(of_port(41_001))?;
    let (subject, change) = new;
    let tokens: Vec<_> = subject.split('.').collect();
    let service = label["service"].as_str().context("a service")?.replace('.', "_");
    ensure!(tokens.len() == 6 && tokens[3] == "new" && tokens[5] == service, "{subject}");
    ensure!(change["event"] == "new" && change["flow"]["src_port"] == 41_001, "{change}");
    until("its delivery", || Ok((export(&link)?["sent"].as_u64() >= Some(1)).then_some(())))?;
    ensure!(export(&link)?["lost"] == 0);
    agent.stop()?;
    Ok(())
}

#[test]
fn a_broker_that_dies_and_comes_back_replays_each_change_once() -> anyhow::Result<()> {
    if !COLLECTORS.at_hand("a_broker_that_dies_and_comes_back_replays_each_change_once")? {
        return Ok(());
    }
    let link = Link::new("export-jetstream")?;
    let folder = tempfile::tempdir()?;
    let first = server(&link.agent_side, folder.path())?;
    let mut agent = link.agent(&["--export", &format!("{URL}?jetstream")])?;
    link.first_packets(42_001, 5)?;
    agent.until(of_port(42_001))?;
    // Who forgot the stream is told.
    let refused = until("the complaint", || {
        Ok(export(&link)?["error"].as_str().filter(|error| error.contains("no stream")).map(str::to_owned))
    })?;
    ensure!(refused.contains("nats stream add NTC --subjects 'ntc.>'"), "{refused}");
    inside(&link.agent_side, async |client| {
        let stream = jetstream::stream::Config {
            name: "NTC".into(),
            subjects: vec!["ntc.>".into()],
            ..Default::default()
        };
        jetstream::new(client).create_stream(stream).await?;
        Ok(())
    })?;
    until("the first change", || Ok((export(&link)?["sent"].as_u64() >= Some(1)).then_some(())))?;

    let mut dead = first;
    dead.0.kill()?;
    drop(dead);
    for port in 42_002..42_022 {
        link.exchange(port)?;
        agent.until(of_port(port))?;
    }
    until("it to be missed", || Ok((export(&link)?["connected"] == false).then_some(())))?;
    let _second = server(&link.agent_side, folder.path())?;
    link.exchange(42_022)?;
    agent.until(of_port(42_022))?;
    let last = until("all changes", || {
        let export = export(&link)?;
        Ok((export["connected"] == true && export["sent"].as_u64() >= Some(22)).then_some(export))
    })?;
    ensure!(last["lost"] == 0 && last["failures"].as_u64() >= Some(1), "{last}");
    agent.stop()?;

    let replayed = inside(&link.agent_side, async |client| {
        let stream = jetstream::new(client).get_stream("NTC").await?;
        let consumer = stream.create_consumer(jetstream::consumer::pull::Config::default()).await?;
        let waiting = stream.get_info().await?.state.messages;
        let mut messages = consumer.messages().await?.take(usize::try_from(waiting)?);
        let mut found = Vec::new();
        while let Some(message) = messages.next().await {
            found.push(serde_json::from_slice::<Value>(&message?.payload)?);
        }
        Ok(found)
    })?;
    let ids: BTreeSet<_> = replayed.iter().filter_map(|change| change["id"].as_str()).collect();
    ensure!(ids.len() == replayed.len(), "each once: {} of {}", ids.len(), replayed.len());
    let new = replayed.iter().filter(|change| change["event"] == "new");
    let ports: BTreeSet<_> = new.filter_map(|change| change["flow"]["src_port"].as_u64()).collect();
    ensure!(ports == (42_001..=42_022).collect(), "{ports:?}");
    Ok(())
}
