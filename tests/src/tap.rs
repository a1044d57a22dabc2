//! A tap on a link: what tcpdump sees there, read by ntc's own reader of captures.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Stdio},
};

use anyhow::{Context as _, ensure};
use ntc_common::{flow::FlowRule, key::FlowKey, ledger::Ledger};
use ntc_user::capture::{
    file::CaptureFile,
    table::{EndedFlow, FlowTable},
};

use crate::net::Namespace;

/// tcpdump on an interface, killed on drop.
#[derive(Debug)]
pub struct Tap {
    child: Child,
    file: PathBuf,
}

/// What a tap has seen.
#[derive(Debug)]
pub struct Seen {
    /// The flows; a key has one.
    pub flows: HashMap<FlowKey, EndedFlow>,
    /// Where each packet went.
    pub ledger: Ledger,
}

impl Tap {
    /// Starts one and waits until it listens.
    ///
    /// # Errors
    /// What tcpdump said.
    pub fn open(namespace: &Namespace, interface: &str, file: PathBuf) -> anyhow::Result<Self> {
        // Headers only.
        Self::cut(namespace, interface, file, "256")
    }

    /// As [`open`](Self::open), with whole packets.
    ///
    /// # Errors
    /// What tcpdump said.
    pub fn whole(namespace: &Namespace, interface: &str, file: PathBuf) -> anyhow::Result<Self> {
        Self::cut(namespace, interface, file, "0")
    }

    fn cut(namespace: &Namespace, interface: &str, file: PathBuf, snap: &str) -> anyhow::Result<Self> {
        // Packet by packet into the file, and room for what comes at once.
        let mut child = namespace
            .prepare("tcpdump")
            .args(["-i", interface, "-U", "--immediate-mode", "-s", snap, "-B", "32768", "-Z", "root", "-w"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("tcpdump")?;
        let mut said = BufReader::new(child.stderr.take().context("stderr")?);
        let tap = Self { child, file };
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            ensure!(said.read_line(&mut line)? > 0, "tcpdump does not listen on {interface}");
        }
        Ok(tap)
    }

    /// The bytes of all packets that are in the file by now, but for one that is just being written.
    ///
    /// # Errors
    /// The file is no capture.
    pub fn frames(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut file = CaptureFile::open(&self.file)?;
        let mut frames = Vec::new();
        while let Some(Ok(frame)) = file.next_frame() {
            frames.push(frame.data.to_vec());
        }
        Ok(frames)
    }

    /// All that is in the file by now, but for a packet that is just being written.
    ///
    /// # Errors
    /// The file is no capture.
    pub fn seen(&self) -> anyhow::Result<Seen> {
        let mut table = FlowTable::new(FlowRule::DEFAULT);
        let mut flows = HashMap::new();
        let mut twice = 0;
        let mut ended = |flow: EndedFlow| twice += usize::from(flows.insert(flow.id.key, flow).is_some());
        let mut file = CaptureFile::open(&self.file)?;
        while let Some(Ok(frame)) = file.next_frame() {
            let _ = table.packet(&frame, &mut ended);
        }
        table.finish(&mut ended);
        ensure!(twice == 0, "{twice} flows on keys that had one");
        Ok(Seen { flows, ledger: *table.ledger() })
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // Gone already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
