//! Real HTTP by a program of others: curl.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use ntc_user::api::listen::socket_of;
use serde_json::Value;

use crate::{link::Link, net::Namespace, patience::until};

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Status line and headers.
    pub headers: String,
    /// What follows.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("{self:?}"))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
    }

    /// RFC 9457: the media type, the status again, and what is wrong, which it returns.
    ///
    /// # Errors
    /// It is no such problem.
    pub fn problem(&self, status: u16) -> anyhow::Result<String> {
        ensure!(self.status == status, "{status} was expected: {self:?}");
        ensure!(self.header("content-type") == Some("application/problem+json"), "{self:?}");
        let problem = self.json()?;
        ensure!(problem["status"] == status && problem["type"] == "about:blank", "{problem}");
        Ok(problem["detail"].as_str().context("no detail")?.to_owned())
    }
}

/// Who asks: curl with its options.
#[derive(Clone, Debug)]
pub struct Asker {
    words: Vec<String>,
    answered: Arc<Mutex<BTreeSet<String>>>,
}

impl Asker {
    /// By the Unix socket of a link's agent.
    pub fn unix(link: &Link) -> Self {
        Self::socket(&socket_of(&link.pins.0))
    }

    /// By a Unix socket.
    pub fn socket(path: &Path) -> Self {
        Self::of(["curl", "--unix-socket", &path.display().to_string()].into_iter())
    }

    /// By TCP, inside a namespace.
    pub fn inside(namespace: &Namespace, options: &[&str]) -> Self {
        let net = format!("--net=/run/netns/{}", namespace.name());
        let words = ["nsenter", &net, "curl"].into_iter().chain(options.iter().copied());
        Self::of(words)
    }

    fn of<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        Self { words: words.map(Into::into).collect(), answered: Arc::default() }
    }

    /// Run by another command (`setpriv`).
    pub fn by(&self, command: &[&str]) -> Self {
        Self::of(command.iter().copied().chain(self.words.iter().map(String::as_str)))
    }

    /// Operations that were asked for and answered with success, as `GET /v1/flows`.
    pub fn answered(&self) -> BTreeSet<String> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, url: &str, options: &[&str]) {
        let named = options.iter().skip_while(|option| **option != "--request").nth(1);
        let method = named.copied().unwrap_or(if options.contains(&"--data") { "POST" } else { "GET" });
        let path = url.split('?').next().unwrap_or_default();
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{method} {path}"));
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(["--silent", "--show-error", "--globoff"]);
        command
    }

    /// Sends a request; `options` are curl's.
    ///
    /// # Errors
    /// What curl said.
    pub fn ask(&self, url: &str, options: &[&str]) -> anyhow::Result<Answer> {
        let mut command = self.command();
        let output = command.args(["--max-time", "20", "--include"]).args(options).arg(full(url)).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "curl {url}: {}: {complaint}", output.status);
        let text = String::from_utf8(output.stdout)?;
        // Behind `100 Continue`, if there was one.
        let text = match text.split_once("\r\n\r\n") {
            Some((head, rest)) if head.contains(" 100 ") => rest,
            _ => &text,
        };
        let (head, body) = text.split_once("\r\n\r\n").context("no header")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        if (200..300).contains(&status) {
            self.note(url, options);
        }
        Ok(Answer { status, headers: head.to_owned(), body: body.to_owned() })
    }

    /// A GET that succeeds, as JSON.
    ///
    /// # Errors
    /// It does not.
    pub fn get(&self, url: &str) -> anyhow::Result<Value> {
        let answer = self.ask(url, &[])?;
        ensure!(answer.status == 200, "{url}: {answer:?}");
        answer.json()
    }

    /// Asks again until `wanted` is found in the answer: the mirror may be a second behind.
    ///
    /// # Errors
    /// It is not found.
    pub fn until<T>(&self, url: &str, wanted: impl Fn(&Value) -> Option<T>) -> anyhow::Result<T> {
        let mut answer = Value::Null;
        let found = until("an answer that is wanted", Duration::from_secs(15), || {
            answer = self.get(url)?;
            Ok(wanted(&answer))
        });
        found.with_context(|| format!("{url} still answers {answer}"))
    }

    /// Opens a stream of events.
    ///
    /// # Errors
    /// curl cannot be started.
    pub fn follow(&self, url: &str, options: &[&str]) -> anyhow::Result<Stream> {
        let mut command = self.command();
        command.arg("--no-buffer").args(options).arg(full(url)).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().context("stdout")?;
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let _ = read(stdout, |event| sender.send(event).is_ok());
        });
        self.note(url, options);
        Ok(Stream { child, events })
    }
}

fn full(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("http://localhost{url}") }
}

/// A server-sent event.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub name: String,
    /// Its number, for who comes back.
    pub id: String,
    /// The flow.
    pub data: Value,
}

fn read(stdout: ChildStdout, mut each: impl FnMut(Event) -> bool) -> anyhow::Result<()> {
    let mut event = Event { name: String::new(), id: String::new(), data: Value::Null };
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        match line.split_once(": ") {
            Some(("event", name)) => name.clone_into(&mut event.name),
            Some(("id", id)) => id.clone_into(&mut event.id),
            Some(("data", data)) => event.data = serde_json::from_str(data)?,
            _ if line.is_empty() && !event.name.is_empty() => {
                let blank = Event { name: String::new(), id: String::new(), data: Value::Null };
                if !each(std::mem::replace(&mut event, blank)) {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// An open stream, closed on drop.
#[derive(Debug)]
pub struct Stream {
    child: Child,
    events: Receiver<Event>,
}

impl Stream {
    /// The next event that `wanted` picks.
    ///
    /// # Errors
    /// None came.
    pub fn until(&self, wanted: impl Fn(&Event) -> bool) -> anyhow::Result<Event> {
        // A closed flow ends ten seconds later.
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut last = None;
        while let Ok(event) = self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if wanted(&event) {
                return Ok(event);
            }
            last = Some(event);
        }
        bail!("no such event; the last was {last:?}");
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
