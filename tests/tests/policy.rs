//! The policy in the kernel: which of rule, label, mark and default counts, cell by cell; what is counted; and that a
//! packet never sees two policies.

use std::{
    net::IpAddr,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use ntc_common::{
    label::{Label, Stage},
    limits::MAX_CLASSES,
    link::LinkType,
    packet::Packet,
    parse::parse,
    policy::{
        MARK_MASK_DEFAULT,
        interface_flags::{CAPTURED_BELOW, ENFORCED},
        shadow_cell, shadow_flags,
    },
    source::Captured,
};
use ntc_tests::{
    agent::{Agent, PinDir, binary},
    frames::Frame,
    kernel::Programs,
    net::Namespace,
};
use ntc_user::{
    catalogue::Catalogue,
    kernel::{
        heartbeat::Heartbeat,
        load::{Settings, TC_EGRESS, TC_INGRESS},
        pins::PinDirectory,
        policy::{self, ApplyError},
    },
    policy::Policy,
};

/// Inside without accounting packets there.
const INSIDE: u32 = ENFORCED | CAPTURED_BELOW;
const RULED_PORT: u16 = 5060;
const FREE_PORT: u16 = 4000;
/// Numbers of the classes in [`classes`]: the catalogue's, then own ones by name.
const REALTIME: u32 = 3;
const FALLBACK: u32 = 11;
const RULED: u32 = 12;

/// A policy with a class for rules, one for labels and one for the rest.
fn classes(existing: &str, more: &str) -> anyhow::Result<Policy> {
    let class = |name: &str, minor: u32, dscp: u8| {
        format!("[class.{name}]\npriority = \"1:{minor:x}\"\ndscp = {dscp}\nexisting_dscp = \"{existing}\"\n")
    };
    let text = format!(
        "{more}\n{}{}{}[[rule]]\nclass = \"ruled\"\nport = {RULED_PORT}\n[[rule]]\nclass = \"none\"\nport = 7\n",
        class("realtime", REALTIME, 46),
        class("ruled", RULED, 40),
        class("fallback", FALLBACK, 18),
    );
    Ok(Policy::parse("test", &text, MARK_MASK_DEFAULT)?)
}

struct Bench {
    programs: Programs,
    heartbeat: Heartbeat,
}

impl Bench {
    fn new(interface: u32) -> anyhow::Result<Self> {
        Self::with(interface, &Settings::default())
    }

    fn with(interface: u32, settings: &Settings) -> anyhow::Result<Self> {
        let mut programs = Programs::load(settings)?;
        programs.interface(interface)?;
        let heartbeat = Heartbeat::start(&mut programs.ebpf)?;
        Ok(Self { programs, heartbeat })
    }

    fn label(&mut self, frame: &Frame, service: &str, confidence: f32) -> anyhow::Result<()> {
        let service = Catalogue::shipped().by_name(service).context("service")?;
        self.programs.label(&parsed(&frame.bytes())?.key, &label(service.id, confidence))
    }

    /// Mark's class, priority's minor and code point of a packet behind a hook.
    fn through(&mut self, hook: &'static str, frame: &Frame, mark: u32) -> anyhow::Result<(u32, u32, u8)> {
        self.heartbeat.beat(&mut self.programs.ebpf)?;
        let out = self.programs.tc(hook, &frame.bytes(), mark)?;
        Ok((out.mark >> 16, out.priority & 0xffff, parsed(&out.bytes)?.dscp))
    }
}

fn label(service: u16, confidence: f32) -> Label {
    let confidence = (confidence * 65535.0) as u16;
    Label {
        start_ns: 1,
        set_at_ns: 1,
        model_epoch: 1,
        service,
        confidence,
        acts_as: service,
        acts_confidence: confidence,
        stage: Stage::Final as u8,
        class: 0,
        packets: 20,
        changes: 1,
    }
}

fn parsed(bytes: &[u8]) -> anyhow::Result<Packet> {
    let mut packet = Packet::ZERO;
    parse(&Captured::new(bytes, bytes.len()), LinkType::Ethernet, &mut packet)?;
    Ok(packet)
}

fn packet(version: u8, port: u16, dscp: u8) -> anyhow::Result<Frame> {
    let (a, b): (IpAddr, IpAddr) = match version {
        4 => ("192.0.2.1".parse()?, "198.51.100.1".parse()?),
        _ => ("2001:db8::1".parse()?, "2001:db8::2".parse()?),
    };
    Ok(Frame { tos: dscp << 2, ..Frame::udp((a, 30_000), (b, port), 160) })
}

#[test]
fn rule_before_label_before_nothing_in_every_mode() -> anyhow::Result<()> {
    let mut bench = Bench::new(INSIDE)?;
    let (sure, doubt) = (Some(0.9), Some(0.4));
    // Rule, confidence of the label -> class, its code point.
    let cells = [
        (true, None, Some((RULED, 40))),
        (true, sure, Some((RULED, 40))),
        (true, doubt, Some((RULED, 40))),
        (false, sure, Some((REALTIME, 46))),
        (false, doubt, None),
        (false, None, None),
    ];
    // Mode, code point before -> whether one is written.
    let modes = [
        ("override", 0, true),
        ("override", 10, true),
        ("if-zero", 0, true),
        ("if-zero", 10, false),
        ("never", 0, false),
        ("never", 10, false),
    ];
    for version in [4, 6] {
        for (mode, before, writes) in modes {
            bench.programs.policy(&classes(mode, "")?)?;
            for (ruled, confidence, wanted) in cells {
                let mut frame = packet(version, if ruled { RULED_PORT } else { FREE_PORT }, before)?;
                // Another flow for each label: those with one must not lend it to those without.
                frame.source.1 += confidence.map_or(0, |confidence: f32| (confidence * 10.0) as u16);
                if let Some(confidence) = confidence {
                    bench.label(&frame, "RTP", confidence)?;
                }
                let (class, code) = wanted.unwrap_or((0, before));
                let code = if writes { code } else { before };
                let cell = format!("IPv{version} {mode} DSCP {before} rule {ruled} label {confidence:?}");
                for direction in [frame.clone(), frame.reply(160)] {
                    ensure!(bench.through(TC_INGRESS, &direction, 0)? == (class, 0, code), "{cell}: ingress");
                    ensure!(
                        bench.through(TC_EGRESS, &direction, 0)? == (class, class, code),
                        "{cell}: egress"
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn inside_the_tuple_counts_before_the_mark_and_outside_after_it() -> anyhow::Result<()> {
    let mut bench = Bench::new(INSIDE)?;
    bench.programs.policy(&classes("override", "")?)?;
    let (ruled, labelled, bare, left) =
        (packet(4, RULED_PORT, 0)?, packet(4, FREE_PORT, 0)?, packet(4, 4001, 0)?, packet(4, 7, 0)?);
    bench.label(&labelled, "RTP", 0.9)?;
    bench.label(&left, "RTP", 0.9)?;
    let other = FALLBACK << 16;
    let (by_rule, by_label, by_mark) =
        ((RULED, RULED, 40), (REALTIME, REALTIME, 46), (FALLBACK, FALLBACK, 18));
    ensure!(bench.through(TC_EGRESS, &ruled, other)? == by_rule);
    ensure!(bench.through(TC_EGRESS, &labelled, other)? == by_label);
    ensure!(bench.through(TC_EGRESS, &bare, other)? == by_mark, "no label: behind NAT the mark knows");
    ensure!(bench.through(TC_EGRESS, &left, 0)? == (0, 0, 0), "a rule says: leave it alone");
    ensure!(bench.through(TC_EGRESS, &bare, 15 << 16)? == (15, 0, 0), "nobody's mark stays as it is");

    bench.programs.interface(ENFORCED)?;
    for frame in [&ruled, &labelled, &bare] {
        ensure!(bench.through(TC_EGRESS, frame, other)? == by_mark, "outside the mark comes first");
    }
    ensure!(bench.through(TC_EGRESS, &ruled, 0)? == by_rule);
    ensure!(bench.through(TC_EGRESS, &labelled, 0)? == by_label);
    ensure!(bench.through(TC_INGRESS, &ruled, 0)? == (0, 0, 0), "its inside tuple is yet to come");
    ensure!(bench.through(TC_INGRESS, &labelled, 0)? == (REALTIME, 0, 46));
    let counts = bench.programs.enforcement()?;
    ensure!((counts.by_rule, counts.by_mark, counts.labelled) == (2, 4, 3), "{counts:?}");
    Ok(())
}

/// Classes by name, in a policy that tries something else: another class for calls, another rule, other defaults.
const TRIED: &str = "\
[default]
unlabelled = \"bulk\"
unknown = \"web\"
[class.voice]
services = [\"RTP\"]
min_confidence = 0.8
[class.bulk]
[class.web]
[[rule]]
class = \"bulk\"
port = 5061
";

#[test]
fn a_shadow_counts_what_it_would_have_done_and_touches_nothing() -> anyhow::Result<()> {
    const BULK: u32 = 6;
    const WEB: u32 = 2;
    const VOICE: u32 = 11;
    let tried = Policy::parse("tried", TRIED, MARK_MASK_DEFAULT)?;
    let frame = |port| packet(4, port, 0);
    for own_policy in [false, true] {
        let shadow = shadow_flags::COUNTED | if own_policy { shadow_flags::OWN_POLICY } else { 0 };
        let mut bench = Bench::with(INSIDE, &Settings { shadow, ..Settings::default() })?;
        bench.programs.policy(&classes("override", "[default]\nunknown = \"fallback\"")?)?;
        bench.programs.shadow_policy(&tried)?;
        let rtp = Catalogue::shipped().by_name("RTP").context("service")?.id;
        let (sure, less, doubt) = (label(rtp, 0.9), label(rtp, 0.7), label(rtp, 0.4));
        // Port, label, label of the shadow -> class; with the policy that acts, with its own: at ingress and at egress.
        let cells = [
            (4000, Some(sure), Some(sure), REALTIME, [REALTIME; 2], [VOICE; 2]),
            (4001, Some(sure), Some(less), REALTIME, [REALTIME; 2], [0, WEB]),
            (4002, Some(sure), Some(doubt), REALTIME, [0, FALLBACK], [0, WEB]),
            (4003, Some(sure), None, REALTIME, [0, 0], [0, BULK]),
            (4004, None, Some(sure), 0, [REALTIME; 2], [VOICE; 2]),
            (RULED_PORT, Some(sure), Some(sure), RULED, [RULED; 2], [VOICE; 2]),
            (5061, Some(sure), Some(sure), REALTIME, [REALTIME; 2], [BULK; 2]),
        ];
        for (port, acting, tried, class, same, own) in cells {
            let key = parsed(&frame(port)?.bytes())?.key;
            acting.iter().try_for_each(|label| bench.programs.label(&key, label))?;
            tried.iter().try_for_each(|label| bench.programs.shadow_label(&key, label))?;
            for (hook, would) in [TC_INGRESS, TC_EGRESS].into_iter().zip(if own_policy { own } else { same })
            {
                let cell = shadow_cell(class as u8, would as u8);
                let before = bench.programs.left("SHADOW_COUNTERS", cell)?;
                let (mark, ..) = bench.through(hook, &frame(port)?, 0)?;
                let after = bench.programs.left("SHADOW_COUNTERS", cell)?;
                let bytes = frame(port)?.bytes().len() as u64;
                let told = (after.packets - before.packets, after.bytes - before.bytes);
                ensure!(told == (1, bytes), "{hook} {port} own policy {own_policy}: {told:?}");
                ensure!(mark == class, "{hook} {port}: what acts is as without a shadow");
            }
        }
        // Outside labels and rules speak of other tuples.
        bench.programs.interface(ENFORCED)?;
        let all = |bench: &Bench| {
            (0..MAX_CLASSES * MAX_CLASSES)
                .map(|cell| Ok(bench.programs.left("SHADOW_COUNTERS", cell)?.packets))
                .sum::<anyhow::Result<u64>>()
        };
        let before = all(&bench)?;
        bench.through(TC_EGRESS, &frame(4000)?, 0)?;
        ensure!(all(&bench)? == before && before == 2 * cells.len() as u64, "{before}");
    }
    Ok(())
}

#[test]
fn defaults_act_at_egress_and_only_where_nobody_knows() -> anyhow::Result<()> {
    let mut bench = Bench::new(INSIDE)?;
    let unlabelled = "default.unlabelled = \"fallback\"";
    let unknown = "default.unknown = \"fallback\"";
    let (bare, doubt, sure, other) =
        (packet(4, 4001, 0)?, packet(4, 4002, 0)?, packet(4, 4003, 0)?, packet(4, 4004, 0)?);
    bench.label(&doubt, "RTP", 0.4)?;
    bench.label(&sure, "RTP", 0.9)?;
    bench.label(&other, "DNS", 0.9)?;
    let fallback = (FALLBACK, FALLBACK, 18);
    for (text, bare_wanted, doubt_wanted) in
        [("", (0, 0, 0), (0, 0, 0)), (unlabelled, fallback, (0, 0, 0)), (unknown, (0, 0, 0), fallback)]
    {
        bench.programs.policy(&classes("if-zero", text)?)?;
        ensure!(bench.through(TC_EGRESS, &bare, 0)? == bare_wanted, "{text}");
        ensure!(bench.through(TC_EGRESS, &doubt, 0)? == doubt_wanted, "{text}");
        ensure!(bench.through(TC_EGRESS, &sure, 0)? == (REALTIME, REALTIME, 46));
        ensure!(bench.through(TC_EGRESS, &other, 0)? == (0, 0, 0), "DNS is known, and in no class");
        ensure!(bench.through(TC_INGRESS, &bare, 0)? == (0, 0, 0), "{text}: not at ingress");
    }
    ensure!(bench.programs.enforcement()?.by_default == 2);
    Ok(())
}

#[test]
fn rules_by_prefix_and_device_and_classes_that_drop() -> anyhow::Result<()> {
    let mut bench = Bench::new(INSIDE)?;
    let text = "[class.a]\npriority = \"1:a\"\n[class.b]\npriority = \"1:b\"\n[class.c]\ndrop = true\n\
        [[rule]]\nclass = \"a\"\naddress = \"192.0.2.0/24\"\nprotocol = \"tcp\"\n\
        [[rule]]\nclass = \"a\"\naddress = \"2001:db8::2\"\n\
        [[rule]]\nclass = \"c\"\nport = \"6000-6010\"\n\
        [[rule]]\nclass = \"b\"\nmac = \"02:00:00:00:00:01\"\n";
    let policy = Policy::parse("test", text, MARK_MASK_DEFAULT)?;
    bench.programs.policy(&policy)?;
    let minor = |bench: &mut Bench, frame: &Frame| bench.through(TC_EGRESS, frame, 0).map(|seen| seen.1);
    let udp = packet(4, 4000, 0)?;
    let tcp = Frame::tcp(udp.source, udp.destination, 0x10, 10);
    ensure!(minor(&mut bench, &tcp)? == 0xa);
    ensure!(minor(&mut bench, &packet(6, 4000, 0)?)? == 0xa);
    ensure!(minor(&mut bench, &udp)? == 0xb, "by the sender's hardware address");
    let dropped = packet(4, 6005, 0)?;
    ensure!(minor(&mut bench, &dropped)? == 0);
    ensure!(bench.programs.enforcement()?.dropped == 1);
    let verdict = |bench: &mut Bench| bench.programs.verdict(TC_INGRESS, &dropped.bytes());
    const TC_ACT_SHOT: u32 = 2;
    ensure!(verdict(&mut bench)? == TC_ACT_SHOT);
    bench.programs.policy(&policy.dry_run(true))?;
    ensure!(verdict(&mut bench)? != TC_ACT_SHOT, "a dry run drops nothing");
    ensure!(bench.programs.enforcement()?.dropped == 3, "it counts, though");
    ensure!(minor(&mut bench, &tcp)? == 0, "a dry run leaves packets alone");
    Ok(())
}

#[test]
fn what_leaves_is_counted_by_class_and_by_service() -> anyhow::Result<()> {
    let mut bench = Bench::new(INSIDE)?;
    bench.programs.policy(&classes("if-zero", "")?)?;
    let (call, ruled, doubt) = (packet(4, 4000, 0)?, packet(4, RULED_PORT, 0)?, packet(4, 4001, 0)?);
    bench.label(&call, "RTP", 0.9)?;
    bench.label(&doubt, "DNS", 0.9)?;
    for frame in [&call, &call, &ruled, &doubt] {
        bench.through(TC_EGRESS, frame, 0)?;
        bench.through(TC_INGRESS, frame, 0)?;
    }
    let bytes = call.bytes().len() as u64;
    let left = |map, index| bench.programs.left(map, index).map(|left| (left.packets, left.bytes));
    ensure!(left("CLASS_COUNTERS", REALTIME)? == (2, 2 * bytes), "ingress is not leaving");
    ensure!(left("CLASS_COUNTERS", RULED)? == (1, bytes));
    let id = |name| Catalogue::shipped().by_name(name).map(|service| service.id.into()).context("service");
    ensure!(left("SERVICE_COUNTERS", id("RTP")?)? == (2, 2 * bytes));
    ensure!(left("SERVICE_COUNTERS", id("DNS")?)? == (1, bytes), "its service is known, if in no class");
    Ok(())
}

#[test]
fn a_hundred_policies_under_load_and_no_packet_between_two() -> anyhow::Result<()> {
    const POLICIES: usize = 100;
    let pin_dir = PinDir::new("reload");
    let mut pins = PinDirectory::claim(&pin_dir.0)?;
    let mut programs = Programs::load_pinned(&Settings::default(), &pins)?;
    pins.keep();
    programs.interface(INSIDE)?;
    let text = |minor: u32, dscp: u8| {
        format!(
            "[class.realtime]\npriority = \"1:{minor:x}\"\nmark = \"{:#x}\"\ndscp = {dscp}\n\
             [[rule]]\nclass = \"realtime\"\nport = 5060\n",
            minor << 16
        )
    };
    let texts = [text(0x13, 46), text(0x14, 40)];
    policy::start(&pin_dir.0, &Policy::parse("first", &texts[1], MARK_MASK_DEFAULT)?)?;
    let heartbeat = Heartbeat::start(&mut programs.ebpf)?;
    let frames = [packet(4, 4000, 0)?, packet(4, RULED_PORT, 0)?];
    let rtp = Catalogue::shipped().by_name("RTP").context("RTP")?.id;
    programs.label(&parsed(&frames[0].bytes())?.key, &label(rtp, 0.9))?;
    let frames = frames.map(|frame| frame.bytes());

    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let applying = scope.spawn(|| -> anyhow::Result<Duration> {
            let mut slowest = Duration::ZERO;
            let outcome = (0..POLICIES).try_for_each(|number| {
                // At least one packet under each of them.
                let before = sent.load(Ordering::Relaxed);
                while sent.load(Ordering::Relaxed) < before + 2 && !done.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                let since = Instant::now();
                policy::apply(&pin_dir.0, "next", &texts[number % 2], None)?;
                slowest = slowest.max(since.elapsed());
                anyhow::Ok(())
            });
            done.store(true, Ordering::Relaxed);
            outcome.map(|()| slowest)
        });
        let mut seen = [0u64; 2];
        let mut beaten = Instant::now();
        let started = Instant::now();
        let outcome = (|| {
            while !done.load(Ordering::Relaxed) {
                if beaten.elapsed() > Duration::from_millis(200) {
                    heartbeat.beat(&mut programs.ebpf)?;
                    beaten = Instant::now();
                }
                ensure!(started.elapsed() < Duration::from_secs(120), "a hundred policies take two minutes");
                for frame in &frames {
                    let out = programs.tc(TC_EGRESS, frame, 0)?;
                    match (out.mark, out.priority, parsed(&out.bytes)?.dscp) {
                        (0x13_0000, 0x0001_0013, 46) => seen[0] += 1,
                        (0x14_0000, 0x0001_0014, 40) => seen[1] += 1,
                        mixed => anyhow::bail!("neither of the two policies: {mixed:x?}"),
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        })();
        done.store(true, Ordering::Relaxed);
        let slowest = applying.join().map_err(|_| anyhow::anyhow!("applying died"))??;
        outcome?;
        let rate = (seen[0] + seen[1]) as f64 / started.elapsed().as_secs_f64();
        println!("{POLICIES} policies, slowest {slowest:?}, {seen:?} packets, {rate:.0} a second");
        ensure!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
        Ok(())
    })?;

    // Whoever looked at another policy than the one that counts is told so.
    let now = policy::active(&pin_dir.0)?;
    ensure!(
        now.text == texts[1] && policy::apply(&pin_dir.0, "same", &texts[0], Some(&now.digest())).is_ok()
    );
    let late = policy::apply(&pin_dir.0, "late", &texts[1], Some(&now.digest()));
    ensure!(matches!(late, Err(ApplyError::Changed { .. })), "{late:?}");
    ensure!(policy::apply(&pin_dir.0, "wrong", "[class.web]\ncolour = 1", None).is_err());
    ensure!(policy::active(&pin_dir.0)?.text == texts[0], "what is refused changes nothing");
    Ok(())
}

#[test]
fn the_command_checks_shows_and_applies_to_a_running_agent() -> anyhow::Result<()> {
    let (router, host) = (Namespace::new()?, Namespace::new()?);
    router.veth("in0", &host, "h0")?;
    let pin_dir = PinDir::new("policycmd");
    let folder = tempfile::tempdir()?;
    let (good, bad) = (folder.path().join("good.toml"), folder.path().join("bad.toml"));
    std::fs::write(&good, "[class.realtime]\ndscp = \"CS5\"\n[class.calls]\nservices = [\"SIP\"]\n")?;
    std::fs::write(&bad, "[class.realtime]\n\ndscp = \"EFF\"\n")?;
    let agent = Agent::start(&router, &pin_dir.0, &["--iface", "in0"])?;
    let ntc = |arguments: &[&str]| -> anyhow::Result<(bool, String)> {
        let output = Command::new(binary()?).env("NTC_PIN_DIR", &pin_dir.0).args(arguments).output()?;
        let text = String::from_utf8([output.stdout, output.stderr].concat())?;
        Ok((output.status.success(), text))
    };
    let (good, bad) = (good.to_str().context("path")?, bad.to_str().context("path")?);
    let (usable, told) = ntc(&["policy", "check", bad])?;
    ensure!(
        !usable && told.contains("bad.toml:3:8: error: class.realtime.dscp:") && told.contains("\"EF\""),
        "{told}"
    );
    ensure!(!ntc(&["policy", "apply", bad])?.0);
    let (_, told) = ntc(&["policy", "show", "SIP"])?;
    ensure!(told.contains("class     realtime") && told.contains("dscp      EF (if-zero)"), "{told}");
    let (applied, told) = ntc(&["policy", "apply", good])?;
    ensure!(applied, "{told}");
    let (_, told) = ntc(&["policy", "show", "SIP"])?;
    ensure!(told.contains("class     calls") && told.contains("by its name"), "{told}");
    let (_, told) = ntc(&["policy", "show", "udp", "192.0.2.1:4000", "192.0.2.2:5060"])?;
    ensure!(told.contains("the flow has no label"), "{told}");
    let (_, told) = ntc(&["policy", "show"])?;
    ensure!(told.contains("[class.calls]"), "{told}");
    agent.stop()?;
    ensure!(!pin_dir.0.exists(), "nothing is left behind");
    ensure!(!ntc(&["policy", "apply", good])?.0, "there is no agent to apply it to");
    Ok(())
}
