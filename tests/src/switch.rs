//! Open vSwitch in a namespace: its daemons with their own database and sockets, no service of the system's.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use crate::{net::Namespace, patience::until, running::Running, unpacked::SWITCH};

/// Who moves packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datapath {
    /// ovs-vswitchd itself.
    Userspace,
    /// The kernel's module `openvswitch`.
    Kernel,
}

impl Datapath {
    /// Whether it can be had here; else says that the test is skipped.
    ///
    /// # Errors
    /// It cannot be said.
    pub fn at_hand(self, test: &str) -> std::io::Result<bool> {
        // Built in, loaded, or to be had: as the switch itself would ask for it.
        let there = self == Self::Userspace
            || Command::new("modprobe")
                .args(["--quiet", "openvswitch"])
                .status()
                .is_ok_and(|status| status.success());
        if !there {
            crate::skip(test, "this kernel has no module openvswitch")?;
        }
        Ok(there)
    }

    /// Its name for ovs-vsctl.
    const fn name(self) -> &'static str {
        match self {
            Self::Userspace => "netdev",
            Self::Kernel => "system",
        }
    }
}

/// The bridge's name.
const BRIDGE: &str = "br0";

/// `ovs-vswitchd` looks for processors where so much time has passed since it last did, and counts from the machine's
/// start (`count_cpu_cores` of 3.1). Earlier it finds none, so no thread takes packets of which the kernel knows no flow;
/// nor do those that it starts later.
const BETWEEN_LOOKS_FOR_PROCESSORS: Duration = Duration::from_secs(10);

/// A switch of one bridge, ended on drop.
#[derive(Debug)]
pub struct Switch {
    // In the order of their end.
    _vswitchd: Running,
    _ovsdb: Running,
    folder: TempDir,
}

/// What the switch tells of a flow entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who made it.
    pub cookie: u64,
    /// Packets that it matched.
    pub packets: u64,
    /// How long it has been there.
    pub age: Duration,
    /// The whole line.
    pub text: String,
}

/// What a meter counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metered {
    /// Packets that came to it.
    pub packets: u64,
    /// Of these, those that it dropped.
    pub dropped: u64,
}

impl Switch {
    /// Starts one in the namespace with these interfaces as ports, in the order of their numbers. It forwards nothing
    /// until a controller at `controller` says so.
    ///
    /// # Errors
    /// What it said.
    pub fn start(
        namespace: &Namespace,
        datapath: Datapath,
        ports: &[&str],
        controller: &str,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let schema = SWITCH.root().join("usr/share/openvswitch/vswitch.ovsschema");
        run(SWITCH.here("ovsdb-tool").arg("create").arg(at("conf.db")).arg(schema))?;
        let daemon = |program: &str| {
            let mut command = SWITCH.inside(namespace, program);
            command.env("OVS_RUNDIR", folder.path()).env("OVS_LOGDIR", folder.path());
            let log = format!("--log-file={}", at(&format!("{program}.log")).display());
            command.args([log.as_str(), "--pidfile", "--verbose=console:off"]).stdout(Stdio::null());
            command
        };
        let remote = format!("--remote=punix:{}", at("db.sock").display());
        let ovsdb = Running(daemon("ovsdb-server").arg(remote).arg(at("conf.db")).spawn()?);
        until("the switch's database", Duration::from_secs(10), || Ok(at("db.sock").exists().then_some(())))?;
        run(vsctl(folder.path()).args(["--no-wait", "init"]))?;
        let database = format!("unix:{}", at("db.sock").display());
        // A guest gets here in fewer seconds.
        until("a machine that is up for a while", BETWEEN_LOOKS_FOR_PROCESSORS, || {
            let up = clock_gettime(ClockId::Monotonic).tv_sec;
            Ok((up > BETWEEN_LOOKS_FOR_PROCESSORS.as_secs() as i64).then_some(()))
        })?;
        let vswitchd = Running(daemon("ovs-vswitchd").arg(database).spawn()?);
        let switch = Self { _vswitchd: vswitchd, _ovsdb: ovsdb, folder };

        let mut make = vsctl(switch.folder.path());
        make.args(["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "protocols=OpenFlow13"]);
        make.args([
            "fail-mode=secure",
            "other-config:disable-in-band=true",
            &format!("datapath_type={}", datapath.name()),
        ]);
        for (number, port) in (1..).zip(ports) {
            make.args(["--", "add-port", BRIDGE, port, "--", "set", "interface", port]);
            make.arg(format!("ofport_request={number}"));
        }
        run(make.args(["--", "set-controller", BRIDGE, controller]))?;
        let opened = switch.vsctl(&["get", "bridge", BRIDGE, "datapath_id"])?;
        ensure!(opened.trim().len() > 2, "no datapath: {}", switch.log());
        Ok(switch)
    }

    /// What `ovs-vsctl` prints.
    ///
    /// # Errors
    /// What it said.
    pub fn vsctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run(vsctl(self.folder.path()).args(arguments))
    }

    /// What `ovs-ofctl` prints of the bridge.
    ///
    /// # Errors
    /// What it said.
    pub fn ofctl(&self, verb: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let management = self.folder.path().join(format!("{BRIDGE}.mgmt"));
        let mut command = SWITCH.here("ovs-ofctl");
        run(command.args(["--protocols=OpenFlow13", verb]).arg(management).args(arguments))
    }

    /// Its flow entries, with all that the datapath has counted by now.
    ///
    /// # Errors
    /// It does not tell them.
    pub fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        // The end of a look that may have begun before, and that of a whole one.
        for _ in 0..2 {
            let mut look = SWITCH.here("ovs-appctl");
            run(look.env("OVS_RUNDIR", self.folder.path()).args(["-t", "ovs-vswitchd", "revalidator/wait"]))?;
        }
        let text = self.ofctl("dump-flows", &[])?;
        text.lines().filter(|line| line.contains("cookie=")).map(entry).collect()
    }

    /// What meter 1 counted; none where there is no such meter.
    ///
    /// # Errors
    /// It does not tell.
    pub fn meter(&self) -> anyhow::Result<Option<Metered>> {
        let text = self.ofctl("meter-stats", &["meter=1"])?;
        if !text.contains("meter:1") {
            return Ok(None);
        }
        let mut counts = text.split_whitespace().filter_map(|word| {
            let (name, count) = word.split_once(':')?;
            (name.ends_with("packet_in_count") || name == "packet_count").then(|| count.parse::<u64>())
        });
        let mut next = || counts.next().with_context(|| format!("no such meter: {text}"));
        Ok(Some(Metered { packets: next()??, dropped: next()?? }))
    }

    /// Gives a port so many queues, by HTB.
    ///
    /// # Errors
    /// What it said.
    pub fn shape(&self, port: &str, queues: u32) -> anyhow::Result<()> {
        let names: Vec<_> = (0..queues).map(|queue| format!("{queue}=@q{queue}")).collect();
        let queues = format!("queues={}", names.join(","));
        let mut words =
            vec!["set", "port", port, "qos=@qos", "--", "--id=@qos", "create", "qos", "type=linux-htb"];
        words.extend(["other-config:max-rate=1000000000", &queues]);
        let ids: Vec<_> = (0..names.len()).map(|queue| format!("--id=@q{queue}")).collect();
        for id in &ids {
            words.extend(["--", id, "create", "queue", "other-config:min-rate=1000000"]);
        }
        self.vsctl(&words)?;
        Ok(())
    }

    /// Packets that each queue of a port has sent, by the queue's number.
    ///
    /// # Errors
    /// It does not tell.
    pub fn queues(&self, port: &str) -> anyhow::Result<Vec<(u32, u64)>> {
        let text = self.ofctl("queue-stats", &[port])?;
        let lines = text.lines().filter(|line| line.contains("queue "));
        lines
            .map(|line| -> anyhow::Result<_> {
                let of = |name: &str| value(line, name).with_context(|| format!("no {name} in {line}"));
                Ok((of("queue ")?.parse()?, of("pkts=")?.parse()?))
            })
            .collect()
    }

    /// The end of what its daemon logged.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("ovs-vswitchd.log")
    }
}

fn vsctl(folder: &Path) -> Command {
    let mut command = SWITCH.here("ovs-vsctl");
    command.arg(format!("--db=unix:{}", folder.join("db.sock").display())).arg("--timeout=60");
    command
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {complaint}");
    Ok(String::from_utf8(output.stdout)?)
}

/// ` cookie=0x6e7463, duration=1.234s, table=0, n_packets=5, …`
fn entry(line: &str) -> anyhow::Result<Entry> {
    let of = |name: &str| value(line, name).with_context(|| format!("no {name} in {line}"));
    let cookie = u64::from_str_radix(of("cookie=")?.trim_start_matches("0x"), 16)?;
    let age = Duration::from_secs_f64(of("duration=")?.trim_end_matches('s').parse()?);
    Ok(Entry { cookie, packets: of("n_packets=")?.parse()?, age, text: line.trim().to_owned() })
}

fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = line.split_once(name)?;
    after.split([',', ' ', ':']).next()
}
