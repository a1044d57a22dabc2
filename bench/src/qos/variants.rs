//! Ways of queueing at the router, with ntc and without.

use std::{fmt, fs};

use anyhow::{Context as _, Result, ensure};
use ntc_tests::agent::{Agent, PinDir, binary};
use ntc_user::{catalogue::Catalogue, kernel::tables, shape::Rate};
use serde::Serialize;
use tempfile::TempDir;

use super::{
    net::{INSIDE, Net, OUTSIDE},
    traffic::{OTHER, Ports, STANDARD},
};

/// What an operator without ntc's labels writes: ports, and nothing else.
const PORT_RULES: &str = include_str!("ports.toml");
/// As it ships.
const HOME: &str = include_str!("../../../ntc-user/policy/examples/home.toml");
/// Look-ups are over before they have a label; their port is known.
const NAMES_RULE: &str = "\n[[rule]]\nclass = \"management\"\nprotocol = \"udp\"\nport = 53\n";
/// What the model may not be sure of.
const SPEECH_RULE: &str = "\n[[rule]]\nclass = \"voice\"\nprotocol = \"udp\"\nport = \"16384-32767\"\n";
/// Takes the transfers for speech.
const WRONG: &str = "\n[[rule]]\nclass = \"voice\"\nprotocol = \"tcp\"\n";

/// At the root of both of the router's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queues {
    /// HTB with one class, its queue a FIFO of so many ms at the full rate.
    Fifo(u64),
    /// HTB with one class, its queue fq_codel.
    FqCodel,
    /// CAKE that knows one tin.
    CakeBestEffort,
    /// What `ntc qdisc` makes of HTB.
    Htb,
    /// What `ntc qdisc` makes of CAKE.
    Cake,
}

/// A way of queueing, and who sorts.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// In tables.
    pub name: &'static str,
    /// In words.
    pub queues: &'static str,
    /// Of the services.
    pub ports: Ports,
    kind: Queues,
    /// `None`: no agent.
    policy: Option<&'static [&'static str]>,
}

/// Short, and blind to services: a row of both tables.
const SHORT_FIFO: Variant = Variant {
    name: "FIFO of 0.1 s",
    queues: "HTB with one class, a FIFO of a tenth of a second; no ntc",
    ports: STANDARD,
    kind: Queues::Fifo(100),
    policy: None,
};

const HTB: [Variant; 7] = [
    SHORT_FIFO,
    Variant {
        name: "FIFO of 1 s",
        queues: "HTB with one class, a FIFO of a second, as modems have; no ntc",
        ports: STANDARD,
        kind: Queues::Fifo(1000),
        policy: None,
    },
    Variant {
        name: "ntc",
        queues: "`ntc qdisc` (HTB), labels, the policy home.toml",
        ports: STANDARD,
        kind: Queues::Htb,
        policy: Some(&[HOME]),
    },
    Variant {
        name: "ntc, other ports",
        queues: "the same, all services on ports that nobody knows",
        ports: OTHER,
        kind: Queues::Htb,
        policy: Some(&[HOME]),
    },
    Variant {
        name: "ntc and two rules",
        queues: "as ntc, and user rules for port 53 (management) and for the ports of speech (voice)",
        ports: STANDARD,
        kind: Queues::Htb,
        policy: Some(&[HOME, NAMES_RULE, SPEECH_RULE]),
    },
    Variant {
        name: "port rules",
        queues: "the same queues, user rules by port alone, no label counts (ports.toml)",
        ports: STANDARD,
        kind: Queues::Htb,
        policy: Some(&[PORT_RULES]),
    },
    Variant {
        name: "wrong label",
        queues: "as ntc, a rule for the ports of speech, and one that puts all bulk transfers with it",
        ports: STANDARD,
        kind: Queues::Htb,
        policy: Some(&[HOME, SPEECH_RULE, WRONG]),
    },
];

const CAKE: [Variant; 8] = [
    Variant {
        name: "fq_codel",
        queues: "HTB with one class, fq_codel; no ntc",
        ports: STANDARD,
        kind: Queues::FqCodel,
        policy: None,
    },
    SHORT_FIFO,
    Variant {
        name: "CAKE best effort",
        queues: "CAKE with one tin; no ntc",
        ports: STANDARD,
        kind: Queues::CakeBestEffort,
        policy: None,
    },
    Variant {
        name: "CAKE, port rules",
        queues: "CAKE diffserv4, user rules by port alone, no label counts (ports.toml)",
        ports: STANDARD,
        kind: Queues::Cake,
        policy: Some(&[PORT_RULES]),
    },
    Variant {
        name: "CAKE, port rules, other ports",
        queues: "the same, all services on ports that nobody knows",
        ports: OTHER,
        kind: Queues::Cake,
        policy: Some(&[PORT_RULES]),
    },
    Variant {
        name: "CAKE, ntc",
        queues: "CAKE diffserv4 by `ntc qdisc --cake`, labels, the policy home.toml",
        ports: STANDARD,
        kind: Queues::Cake,
        policy: Some(&[HOME]),
    },
    Variant {
        name: "CAKE, ntc, other ports",
        queues: "the same, all services on ports that nobody knows",
        ports: OTHER,
        kind: Queues::Cake,
        policy: Some(&[HOME]),
    },
    Variant {
        name: "CAKE, wrong label",
        queues: "as CAKE, ntc; a rule for the ports of speech, and one that puts all bulk transfers with it",
        ports: STANDARD,
        kind: Queues::Cake,
        policy: Some(&[HOME, SPEECH_RULE, WRONG]),
    },
];

/// Those that this kernel has the qdiscs for, and what they are called together.
///
/// # Errors
/// What `tc` said.
pub fn of_this_kernel(net: &Net) -> Result<(&'static str, &'static [Variant])> {
    Ok(if net.has("cake")? { ("cake", &CAKE[..]) } else { ("htb", &HTB[..]) })
}

/// What was set up; goes with this value.
pub struct Running {
    agent: Option<Agent>,
    pins: PinDir,
    _folder: TempDir,
}

/// What a flow was taken for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Labelled {
    flow: &'static str,
    service: String,
    category: String,
    flows: usize,
    least_confidence_percent: u32,
}

impl fmt::Display for Labelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flow, service, category, flows, least_confidence_percent } = self;
        write!(f, "{flow}: {flows} taken for {service} ({category}), at least {least_confidence_percent} %")
    }
}

impl Variant {
    /// Sets it up on both of the router's interfaces.
    ///
    /// # Errors
    /// What `tc` or ntc said.
    pub fn set_up(&self, net: &Net, rate: Rate) -> Result<Running> {
        let folder = tempfile::tempdir()?;
        let pins = PinDir::new("bench-qos");
        let policy = folder.path().join("policy.toml");
        fs::write(&policy, self.policy.unwrap_or(&[HOME]).concat())?;
        let policy = policy.to_str().context("a path")?;
        net.far_away()?;
        for device in [INSIDE, OUTSIDE] {
            self.queue(net, device, rate, policy)?;
        }
        let mut agent = None;
        if self.policy.is_some() {
            let enforce = format!("{INSIDE},{OUTSIDE}");
            let arguments = ["--capture", INSIDE, "--enforce", &enforce, "--policy", policy];
            agent = Some(Agent::start(&net.router, &pins.0, &arguments)?);
        }
        Ok(Running { agent, pins, _folder: folder })
    }

    fn queue(&self, net: &Net, device: &str, rate: Rate, policy: &str) -> Result<()> {
        let one = |net: &Net| -> Result<()> {
            net.tc(&format!("qdisc add dev {device} root handle 1: htb default 1"))?;
            net.tc(&format!("class add dev {device} parent 1: classid 1:1 htb rate {rate}"))?;
            Ok(())
        };
        match self.kind {
            Queues::Fifo(ms) => {
                one(net)?;
                let packets = (rate.0 * ms / 1000 / 1514).max(16);
                net.tc(&format!("qdisc add dev {device} parent 1:1 pfifo limit {packets}"))?;
            }
            Queues::FqCodel => {
                one(net)?;
                net.tc(&format!("qdisc add dev {device} parent 1:1 fq_codel"))?;
            }
            Queues::CakeBestEffort => {
                net.tc(&format!("qdisc add dev {device} root cake besteffort bandwidth {rate}"))?;
            }
            Queues::Htb | Queues::Cake => {
                let rate = rate.to_string();
                let mut words =
                    vec!["qdisc", "apply", "--iface", device, "--rate", &rate, "--policy", policy];
                if self.kind == Queues::Cake {
                    words.push("--cake");
                }
                let output = net.router.prepare(binary()?).args(words).output()?;
                ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        Ok(())
    }
}

impl Running {
    /// What the flows were taken for, then the end.
    ///
    /// # Errors
    /// The agent failed.
    pub fn labels(self, ports: Ports) -> Result<Vec<Labelled>> {
        let Some(agent) = self.agent else { return Ok(Vec::new()) };
        let mut all: Vec<Labelled> = Vec::new();
        for (key, label) in tables::labels(&self.pins.0)?.iter().filter_map(Result::ok) {
            let of = |port: u16| [key.lower_port, key.upper_port].contains(&port.to_be_bytes());
            let speech = ports.speech..ports.speech + 300;
            let flow = if of(ports.bulk) {
                "bulk transfers"
            } else if of(ports.dns) {
                "look-ups"
            } else if of(ports.sip) {
                "signalling"
            } else if speech.contains(&u16::from_be_bytes(key.lower_port)) {
                "speech"
            } else {
                continue;
            };
            let (service, _) = Catalogue::shipped().names(label.acts_as);
            let (service, category) =
                (service.to_owned(), ntc_user::catalogue::class_name(label.class).to_owned());
            let percent = u32::from(label.acts_confidence) * 100 / u32::from(u16::MAX);
            match all.iter_mut().find(|known| (known.flow, &known.service) == (flow, &service)) {
                Some(known) => {
                    known.flows += 1;
                    known.least_confidence_percent = known.least_confidence_percent.min(percent);
                }
                None => all.push(Labelled {
                    flow,
                    service,
                    category,
                    flows: 1,
                    least_confidence_percent: percent,
                }),
            }
        }
        all.sort();
        agent.stop()?;
        Ok(all)
    }
}
