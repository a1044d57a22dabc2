//! A host with an agent, one that sends to it, and traffic between the two.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    agent::{Agent, PinDir, binary},
    frames::Frame,
    net::Namespace,
    patience::patient,
    wire::RawSocket,
};
use anyhow::{Context as _, ensure};
use ntc_common::{key::FlowKey, label::Label, policy::Enforcement};
use ntc_user::{catalogue::Catalogue, kernel::tables};
use serde_json::Value;

/// A host with an agent on `r0`, and one that sends to it.
pub struct Link {
    /// Has `r0`.
    pub agent_side: Namespace,
    /// Has `s0`.
    pub far_side: Namespace,
    /// Of the agent.
    pub pins: PinDir,
}

impl Link {
    /// Without an agent yet; `test` names the pins.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn new(test: &str) -> anyhow::Result<Self> {
        let (agent_side, far_side) = (Namespace::new()?, Namespace::new()?);
        agent_side.veth("r0", &far_side, "s0")?;
        Ok(Self { agent_side, far_side, pins: PinDir::new(test) })
    }

    /// Starts one on `r0`.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn agent(&self, more: &[&str]) -> anyhow::Result<Agent> {
        Agent::start(&self.agent_side, &self.pins.0, &[&["--iface", "r0"], more].concat())
    }

    /// A short HTTP exchange: handshake, request, answer, and FIN from both sides. The answers come in by the
    /// same interface, as on a bridge.
    ///
    /// # Errors
    /// They cannot be sent.
    pub fn exchange(&self, port: u16) -> anyhow::Result<()> {
        self.first_packets(port, 8)
    }

    /// So many packets of it: without the last three it stays open.
    ///
    /// # Errors
    /// They cannot be sent.
    pub fn first_packets(&self, port: u16, count: usize) -> anyhow::Result<()> {
        let (client, server): (IpAddr, IpAddr) = ("192.0.2.10".parse()?, "198.51.100.10".parse()?);
        let to = |flags, payload| Frame::tcp((client, port), (server, 80), flags, payload);
        let from = |flags, payload| Frame { tcp: Some(flags), ..to(0, 0).reply(payload) };
        let frames = [
            to(0x02, 0),
            from(0x12, 0),
            to(0x10, 0),
            to(0x18, 78),
            from(0x18, 900),
            to(0x11, 0),
            from(0x11, 0),
            to(0x10, 0),
        ];
        self.far_side.enter(|| {
            let socket = RawSocket::open("s0")?;
            Ok(frames[..count].iter().try_for_each(|frame| socket.send(&frame.bytes()))?)
        })
    }

    /// What `ntc` answers, of these pins, where the agent is.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn ntc(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.asked(self.agent_side.prepare(binary()?), arguments)
    }

    /// The same outside the agent's network namespace.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn ntc_elsewhere(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.asked(Command::new(binary()?), arguments)
    }

    fn asked(&self, mut command: Command, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(command.args(arguments).arg("--pin-dir").arg(&self.pins.0).output()?)
    }

    /// What hangs on the interface, as `ip` tells it.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn xdp_attached(&self) -> anyhow::Result<bool> {
        let output = self.agent_side.prepare("ip").args(["-d", "link", "show", "dev", "r0"]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).contains("prog/xdp"))
    }
}

/// Picks labels of flows from a port.
pub fn of_port(port: u16) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "label" && event["src_port"] == port
}

/// A label of [`Call`], which end it was that spoke first when the agent came.
pub fn of_call(event: &Value) -> bool {
    event["event"] == "label" && (event["src_port"] == CALLER || event["dst_port"] == CALLER)
}

/// What a command said, on both outputs.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Tells a command where ONNX Runtime is.
pub fn with_runtime(command: &mut Command) -> &mut Command {
    command.env("ORT_DYLIB_PATH", crate::root().join(".tools/onnxruntime/libonnxruntime.so"))
}

/// Port of the client of [`Call`].
pub const CALLER: u16 = 40_100;
const SERVER: u16 = 53;

impl Link {
    /// Gives both ends addresses of 192.0.2.0/24: what follows passes the stack, as a machine's own traffic does.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn addresses(&self) -> anyhow::Result<()> {
        self.agent_side.ip(&["address", "add", "192.0.2.1/24", "dev", "r0"])?;
        self.far_side.ip(&["address", "add", "192.0.2.2/24", "dev", "s0"])
    }

    /// What enforcement has counted.
    ///
    /// # Errors
    /// No pins.
    pub fn enforcement(&self) -> anyhow::Result<Enforcement> {
        Ok(tables::counts(&self.pins.0)?.enforcement)
    }

    /// The label of the call, if it has one.
    ///
    /// # Errors
    /// No pins.
    pub fn label(&self) -> anyhow::Result<Option<(FlowKey, Label)>> {
        let of_call =
            |key: &FlowKey| [key.lower_port, key.upper_port].map(u16::from_be_bytes).contains(&CALLER);
        let labels = tables::labels(&self.pins.0)?;
        Ok(labels.iter().filter_map(Result::ok).find(|(key, _)| of_call(key)))
    }

    /// Makes the call's label one that the built-in policy acts on, whatever the model thinks of it.
    ///
    /// # Errors
    /// It has no label.
    pub fn promote(&self) -> anyhow::Result<Label> {
        let (key, label) = self.label()?.context("the call has no label")?;
        let rtp = Catalogue::shipped().by_name("RTP").context("RTP")?;
        let label = Label {
            service: rtp.id,
            class: rtp.class,
            confidence: u16::MAX,
            acts_as: rtp.id,
            acts_confidence: u16::MAX,
            ..label
        };
        tables::labels(&self.pins.0)?.insert(key, label, 0)?;
        Ok(label)
    }

    /// Waits until enforcement has counted on what `what` picks.
    ///
    /// # Errors
    /// Nothing was counted.
    pub fn counts_on(
        &self,
        what: impl Fn(&Enforcement) -> u64,
        within: Duration,
    ) -> anyhow::Result<Duration> {
        let (before, start) = (what(&self.enforcement()?), Instant::now());
        while what(&self.enforcement()?) == before {
            ensure!(
                start.elapsed() < patient(within),
                "nothing counted within {within:?}: {:?}",
                self.enforcement()?
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(start.elapsed())
    }
}

/// A call over UDP that goes on whatever happens: each question waits for its answer, 200 ms at most.
pub struct Call {
    stop: Arc<AtomicBool>,
    /// Questions that were answered.
    answered: Arc<AtomicU64>,
    client: Option<JoinHandle<anyhow::Result<Tally>>>,
    server: Option<JoinHandle<anyhow::Result<()>>>,
}

/// How a call went.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answered.
    pub answered: u64,
    /// Not answered within 200 ms, most in a row.
    pub longest_gap: u32,
}

impl Call {
    /// Begins one from the far side to the agent's host.
    ///
    /// # Errors
    /// No sockets.
    pub fn begin(link: &Link) -> anyhow::Result<Self> {
        let bind = |namespace: &Namespace, address: &str, port| -> anyhow::Result<UdpSocket> {
            namespace.enter(|| {
                let socket = UdpSocket::bind(SocketAddr::new(address.parse()?, port))?;
                socket.set_read_timeout(Some(patient(Duration::from_millis(200))))?;
                Ok(socket)
            })
        };
        let (server, client) =
            (bind(&link.agent_side, "192.0.2.1", SERVER)?, bind(&link.far_side, "192.0.2.2", CALLER)?);
        client.connect("192.0.2.1:53")?;
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let serve = {
            let stop = Arc::clone(&stop);
            move || {
                let mut question = [0; 512];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((_, from)) = server.recv_from(&mut question) {
                        server.send_to(&[1; 120], from)?;
                    }
                }
                Ok(())
            }
        };
        let ask = {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            move || {
                let (mut tally, mut gap, mut answer) = (Tally::default(), 0, [0; 512]);
                while !stop.load(Ordering::Relaxed) {
                    // Refused while the interface is down: as good as lost.
                    let sent = client.send(&[2; 40]);
                    if sent.is_ok() && client.recv(&mut answer).is_ok() {
                        tally.answered += 1;
                        answered.fetch_add(1, Ordering::Relaxed);
                        gap = 0;
                    } else {
                        gap += 1;
                        tally.longest_gap = tally.longest_gap.max(gap);
                    }
                    thread::sleep(Duration::from_millis(2));
                }
                Ok(tally)
            }
        };
        Ok(Self { stop, answered, client: Some(thread::spawn(ask)), server: Some(thread::spawn(serve)) })
    }

    /// Waits for so many more answers.
    ///
    /// # Errors
    /// It does not.
    pub fn goes_on(&self, answers: u64) -> anyhow::Result<()> {
        let (wanted, start) = (self.answered.load(Ordering::Relaxed) + answers, Instant::now());
        while self.answered.load(Ordering::Relaxed) < wanted {
            ensure!(start.elapsed() < patient(Duration::from_secs(10)), "the call does not go on");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// An end of it died.
    pub fn end(mut self) -> anyhow::Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let died = |_| anyhow::anyhow!("an end of the call died");
        let tally = self.client.take().context("no client")?.join().map_err(died)??;
        self.server.take().context("no server")?.join().map_err(died)??;
        Ok(tally)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
