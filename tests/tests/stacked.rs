//! Devices that lie on others: VLAN, WireGuard, PPPoE. Each packet is accounted once, by the tuple that it has there,
//! and its label gives it its class on the way out.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, UdpSocket},
    process::{Command, Stdio},
    sync::Barrier,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use ntc_common::{
    key::FlowKey, label::Stage, link::LinkType, packet::Packet, parse::parse, source::Captured,
};
use ntc_tests::{
    agent::{Agent, PinDir},
    frames::Frame,
    kernel::has_tcx,
    net::Namespace,
    patience::patient,
    running::Running,
    skip,
};
use ntc_user::{catalogue::Catalogue, kernel::tables};

/// On the device; those of the link under it are [`UNDER`].
const INNER: [&str; 2] = ["10.9.0.1", "10.9.0.2"];
const UNDER: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
const CLIENT_PORT: u16 = 40_100;
const SERVER_PORT: u16 = 5300;
/// Questions of one conversation: with their answers a whole sequence.
const QUESTIONS: u16 = 10;
/// What the policy that is built in gives to real-time traffic.
const REALTIME: &str = "1:13";
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where an agent captures on a device, and a part of why.
#[derive(Clone, Copy)]
struct Hook {
    capture: &'static str,
    why: &'static str,
}

/// On the link under the device: its headers, too, are read there.
const CARD: Hook = Hook { capture: "native XDP", why: "the driver runs XDP" };
const WITHOUT_LINK_HEADER: Hook = Hook { capture: "tc ingress", why: "begin with the IP header" };

/// Two hosts on a link; the device lies on `r0` here and on `s0` there.
struct Hosts {
    here: Namespace,
    there: Namespace,
}

impl Hosts {
    fn new() -> anyhow::Result<Self> {
        let hosts = Self { here: Namespace::new()?, there: Namespace::new()? };
        hosts.here.veth("r0", &hosts.there, "s0")?;
        Ok(hosts)
    }

    fn sides(&self) -> [(&Namespace, &'static str, usize); 2] {
        [(&self.here, "r0", 0), (&self.there, "s0", 1)]
    }

    /// Whether the kernel and `ip` can make such a device; if not, the test is skipped.
    fn have(&self, test: &str, kind: &[&str]) -> anyhow::Result<bool> {
        let probe = [&["link", "add", "probe0"], kind].concat();
        if let Err(error) = self.here.ip(&probe) {
            let said = error.to_string();
            let reason = said.rsplit(": ").next().unwrap_or(&said);
            skip(test, &format!("this kernel has no such device ({reason})"))?;
            return Ok(false);
        }
        self.here.ip(&["link", "del", "probe0"])?;
        Ok(true)
    }

    /// So many questions from here to there, each answered before the next.
    fn talk(&self) -> anyhow::Result<()> {
        let ready = Barrier::new(2);
        let socket = |address: &str, port| -> anyhow::Result<UdpSocket> {
            let socket = UdpSocket::bind((address.parse::<IpAddr>()?, port))?;
            socket.set_read_timeout(Some(patient(PATIENCE)))?;
            Ok(socket)
        };
        let server = || -> anyhow::Result<()> {
            let socket = socket(INNER[1], SERVER_PORT);
            ready.wait();
            let (socket, mut question) = (socket?, [0; 1500]);
            for _ in 0..QUESTIONS {
                let (len, client) = socket.recv_from(&mut question).context("no question came")?;
                socket.send_to(&question[..len / 2], client)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let server = scope.spawn(|| self.there.enter(server));
            self.here.enter(|| {
                ready.wait();
                let socket = socket(INNER[0], CLIENT_PORT)?;
                for _ in 0..QUESTIONS {
                    socket.send_to(&[0; 200], (INNER[1], SERVER_PORT))?;
                    socket.recv(&mut [0; 1500]).context("no answer came")?;
                }
                Ok(())
            })?;
            server.join().map_err(|_| anyhow::anyhow!("the server died"))?
        })
    }

    /// Packets that left by a class of the device's HTB. As text: `tc` knows HTB's classes in no other form.
    fn sent(&self, device: &str, class: &str) -> anyhow::Result<u64> {
        let output = self.here.prepare("tc").args(["-s", "class", "show", "dev", device]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let after = text.split_once(&format!("class htb {class} ")).map(|(_, after)| after);
        // ` Sent 2420 bytes 10 pkt (dropped 0, …`
        let sent = after.and_then(|after| after.split_once(" bytes ")?.1.split_once(" pkt"));
        sent.with_context(|| format!("no class {class}: {text}"))?.0.parse().context("packets")
    }

    /// An HTB with one class for real-time traffic; all else goes past it.
    fn shape(&self, device: &str) -> anyhow::Result<()> {
        for arguments in [
            &["qdisc", "add", "dev", device, "root", "handle", "1:", "htb"][..],
            &["class", "add", "dev", device, "parent", "1:", "classid", REALTIME, "htb", "rate", "1gbit"],
        ] {
            let output = self.here.prepare("tc").args(arguments).output()?;
            ensure!(output.status.success(), "tc {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// An agent on the device alone, at the hook that is the right one there: the conversation is seen as its ends see
    /// it, each packet once, and with a label of real-time traffic it leaves by that class.
    fn labelled_once_and_sent_by_class(&self, test: &str, device: &str, hook: Hook) -> anyhow::Result<()> {
        self.shape(device)?;
        let pins = PinDir::new(test);
        let mut agent = Agent::start(&self.here, &pins.0, &["--iface", device])?;
        let told = &agent.ready["hooks"][0];
        let (enforce, why) =
            if has_tcx()? { ("TCX", "from 6.6 on") } else { ("clsact", "TCX from 6.6 on only") };
        let reasons = told["why"].to_string();
        ensure!((&told["capture"], &told["enforce"]) == (&hook.capture.into(), &enforce.into()), "{told}");
        ensure!(reasons.contains(hook.why) && reasons.contains(why), "{told}");
        self.talk()?;
        let label = agent.until(|event| event["event"] == "label" && event["reason"] == "complete")?;
        ensure!(label["packets"] == 20, "{label}");
        ensure!((&label["src_ip"], &label["dst_ip"]) == (&INNER[0].into(), &INNER[1].into()), "{label}");
        ensure!((&label["src_port"], &label["dst_port"]) == (&CLIENT_PORT.into(), &SERVER_PORT.into()));
        ensure!(self.sent(device, REALTIME)? == 0, "no real-time traffic yet: {label}");

        // Whatever the model took this for: the sequence is full, so the agent does not answer again.
        let mut labels = tables::labels(&pins.0)?;
        let mut label = labels.get(&key()?, 0).context("no label on the inner tuple")?;
        ensure!(label.stage == Stage::Final as u8, "{label:?}");
        let rtp = Catalogue::shipped().by_name("RTP").context("RTP")?;
        (label.service, label.class, label.confidence) = (rtp.id, rtp.class, u16::MAX);
        (label.acts_as, label.acts_confidence) = (label.service, label.confidence);
        labels.insert(key()?, label, 0)?;
        self.talk()?;
        let sent = self.sent(device, REALTIME)?;
        ensure!(sent == u64::from(QUESTIONS), "{sent} packets left by the class of their label");

        let events = agent.stop()?;
        let ledger = &events.last().context("no summary")?["ledger"];
        ensure!(ledger["closes"] == true, "{ledger}");
        // 40 packets, of which the first 20 are the sequence.
        ensure!((&ledger["recorded"], &ledger["gated"]) == (&20.into(), &20.into()), "{ledger}");
        ensure!(ledger["new_flows"] == 1, "{ledger}");
        Ok(())
    }
}

/// The conversation's key.
fn key() -> anyhow::Result<FlowKey> {
    let frame = Frame::udp((INNER[0].parse()?, CLIENT_PORT), (INNER[1].parse()?, SERVER_PORT), 200).bytes();
    let mut packet = Packet::ZERO;
    parse(&Captured::new(&frame, frame.len()), LinkType::Ethernet, &mut packet)?;
    Ok(packet.key)
}

/// Whether these programs are installed; if not, the test is skipped.
fn installed(test: &str, programs: &[&str]) -> anyhow::Result<bool> {
    let found = |program: &&&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    };
    if let Some(missing) = programs.iter().find(|program| !found(program)) {
        skip(test, &format!("there is no program {missing} on this machine"))?;
        return Ok(false);
    }
    Ok(true)
}

#[test]
fn over_a_vlan() -> anyhow::Result<()> {
    let (test, hosts) = ("stacked: VLAN", Hosts::new()?);
    if !hosts.have(test, &["link", "r0", "type", "vlan", "id", "6"])? {
        return Ok(());
    }
    for (host, under, side) in hosts.sides() {
        host.ip(&["link", "add", "link", under, "name", "v0", "type", "vlan", "id", "7"])?;
        host.ip(&["address", "add", &format!("{}/24", INNER[side]), "dev", "v0"])?;
        host.ip(&["link", "set", "v0", "up"])?;
    }
    let merged = Hook { capture: "tc ingress", why: "merged packets on a vlan device" };
    hosts.labelled_once_and_sent_by_class("vlan", "v0", merged)?;
    hosts.labelled_once_and_sent_by_class("vlan-card", "r0", CARD)
}

#[test]
fn inside_wireguard() -> anyhow::Result<()> {
    let (test, hosts) = ("stacked: WireGuard", Hosts::new()?);
    if !hosts.have(test, &["type", "wireguard"])? || !installed(test, &["wg"])? {
        return Ok(());
    }
    let private = [wg(&["genkey"], "")?, wg(&["genkey"], "")?];
    for (host, under, side) in hosts.sides() {
        let other = 1 - side;
        host.ip(&["address", "add", &format!("{}/24", UNDER[side]), "dev", under])?;
        host.ip(&["link", "add", "w0", "type", "wireguard"])?;
        host.ip(&["address", "add", &format!("{}/24", INNER[side]), "dev", "w0"])?;
        let mut set = host.prepare("wg");
        set.args(["set", "w0", "listen-port", "51820", "private-key", "/dev/stdin", "peer"]);
        set.arg(wg(&["pubkey"], &private[other])?).args(["allowed-ips", &format!("{}/32", INNER[other])]);
        feed(set.args(["endpoint", &format!("{}:51820", UNDER[other])]), &private[side])?;
        host.ip(&["link", "set", "w0", "up"])?;
    }
    hosts.labelled_once_and_sent_by_class("wireguard", "w0", WITHOUT_LINK_HEADER)
}

/// What `wg` answers.
fn wg(arguments: &[&str], input: &str) -> anyhow::Result<String> {
    feed(Command::new("wg").args(arguments), input)
}

fn feed(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("stdin")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{command:?} failed: {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[test]
fn over_pppoe() -> anyhow::Result<()> {
    let (test, hosts) = ("stacked: PPPoE", Hosts::new()?);
    if !installed(test, &["pppd", "pppoe-server"])? {
        return Ok(());
    }
    if !std::path::Path::new("/dev/ppp").exists() {
        return Ok(skip(test, "no /dev/ppp: this kernel has no PPP, or its module is not loaded")?);
    }
    // A veth's frames are larger than PPPoE allows for.
    for (host, under, _) in hosts.sides() {
        host.ip(&["link", "set", under, "mtu", "1500"])?;
    }
    let options = tempfile::NamedTempFile::new()?;
    std::fs::write(options.path(), "noauth\nnoipv6\nnodetach\n")?;
    let mut server = hosts.there.prepare("pppoe-server");
    server.args(["-F", "-I", "s0", "-L", INNER[1], "-R", INNER[0], "-N", "1", "-O"]).arg(options.path());
    let _server = Running(server.stdout(Stdio::null()).spawn()?);
    let mut client = hosts.here.prepare("pppd");
    client.args(["plugin", "rp-pppoe.so", "r0", "ifname", "p0", "noauth", "noipv6", "nodetach"]);
    // Both begin at once: the first offer may go to nobody.
    client.args(["nodefaultroute", "persist", "holdoff", "1", "maxfail", "20", "logfd", "1"]);
    let mut client = Running(client.stdout(Stdio::piped()).spawn()?);
    let mut said = Vec::new();
    for line in BufReader::new(client.0.stdout.take().context("stdout")?).lines() {
        said.push(line?);
        if said.last().is_some_and(|line| line.contains("remote IP address")) {
            break;
        }
    }
    ensure!(said.last().is_some_and(|line| line.contains(INNER[1])), "pppd: {said:#?}");
    hosts.labelled_once_and_sent_by_class("pppoe", "p0", WITHOUT_LINK_HEADER)?;
    hosts.labelled_once_and_sent_by_class("pppoe-card", "r0", CARD)
}
