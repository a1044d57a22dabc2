//! `ntc doctor`: what it finds on interfaces made to order.

use std::process::Output;

use anyhow::{Context as _, ensure};
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode};
use ntc_tests::{
    agent::{Agent, PinDir, binary},
    net::Namespace,
};
use ntc_user::kernel::load;
use rustix::process::Signal;
use serde_json::Value;

/// A host with `r0`, whose other end is `s0` beside it.
struct Host {
    namespace: Namespace,
    pins: PinDir,
}

impl Host {
    fn new(test: &str) -> anyhow::Result<Self> {
        let namespace = Namespace::new()?;
        namespace.veth("r0", &namespace, "s0")?;
        Ok(Self { namespace, pins: PinDir::new(test) })
    }

    fn doctor(&self, by: &[&str], more: &[&str]) -> anyhow::Result<Output> {
        let binary = binary()?;
        let mut command = match by {
            [] => self.namespace.prepare(&binary),
            [program, options @ ..] => {
                let mut command = self.namespace.prepare(program);
                command.args(options).arg(&binary);
                command
            }
        };
        let library = ntc_tests::root().join(".tools/onnxruntime/libonnxruntime.so");
        let command = command.args(["doctor", "--json", "--pin-dir"]).arg(&self.pins.0).args(more);
        Ok(command.env("ORT_DYLIB_PATH", library).output()?)
    }

    /// The report on `r0`; the exit code must fit its verdict.
    fn report(&self, more: &[&str]) -> anyhow::Result<Report> {
        let output = self.doctor(&[], &[&["--iface", "r0"], more].concat())?;
        let report = Report::of(&output)?;
        let wanted = i32::from(report.0["verdict"] == "fail");
        ensure!(output.status.code() == Some(wanted), "{:?}: {}", output.status, report.0);
        Ok(report)
    }

    fn ethtool(&self, arguments: &[&str]) -> anyhow::Result<bool> {
        let output = self.namespace.prepare("ethtool").args(arguments).output();
        Ok(output.is_ok_and(|output| output.status.success()))
    }
}

struct Report(Value);

impl Report {
    fn of(output: &Output) -> anyhow::Result<Self> {
        let said = String::from_utf8_lossy(&output.stderr);
        Ok(Self(serde_json::from_slice(&output.stdout).with_context(|| said.into_owned())?))
    }

    fn finding(&self, check: &str) -> anyhow::Result<&Value> {
        let mut all = self.0["findings"].as_array().context("findings")?.iter();
        all.find(|finding| finding["check"] == check).with_context(|| format!("no {check} in {}", self.0))
    }

    fn is(&self, check: &str, verdict: &str, found: &str) -> anyhow::Result<()> {
        let finding = self.finding(check)?;
        let fits = finding["verdict"] == verdict
            && finding["found"].as_str().is_some_and(|text| text.contains(found));
        ensure!(fits, "wanted {verdict}, {found:?}: {finding}");
        Ok(())
    }
}

#[test]
fn the_report_has_its_form() -> anyhow::Result<()> {
    let host = Host::new("form")?;
    let Report(report) = host.report(&[])?;
    let keys = |value: &Value| value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
    ensure!(keys(&report) == Some(["findings", "verdict", "version"].map(String::from).into()), "{report}");
    let findings = report["findings"].as_array().context("findings")?;
    let wanted = ["advice", "check", "found", "interface", "means", "verdict"].map(String::from);
    for finding in findings {
        ensure!(keys(finding).as_deref() == Some(&wanted[..]), "{finding}");
        for text in ["found", "means"] {
            ensure!(finding[text].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
        }
        // What does not work is never left without a way out.
        let bad = finding["verdict"] == "fail" || finding["verdict"] == "warn";
        ensure!(!bad || finding["advice"] != "", "{finding}");
    }
    let of = |interface: Option<&str>| -> Vec<&str> {
        let here = findings.iter().filter(|finding| finding["interface"].as_str() == interface);
        here.filter_map(|finding| finding["check"].as_str()).collect()
    };
    let machine = [
        "kernel",
        "btf",
        "jit",
        "settings",
        "clock",
        "bpffs",
        "capabilities",
        "onnxruntime",
        "model",
        "pins",
        "flowtables",
    ];
    ensure!(of(None) == machine, "{:?}", of(None));
    let interface = [
        "interface",
        "xdp",
        "tc-ingress",
        "tc-egress",
        "gro",
        "lro",
        "tso",
        "gso",
        "uso",
        "rxvlan",
        "hw-tc",
        "qdisc",
    ];
    ensure!(of(Some("r0")) == interface, "{:?}", of(Some("r0")));
    Ok(())
}

#[test]
fn a_machine_that_runs_the_tests_is_well() -> anyhow::Result<()> {
    let report = Host::new("well")?.report(&[])?;
    for check in ["kernel", "bpffs", "capabilities", "model", "pins", "interface", "tc-ingress", "tc-egress"]
    {
        report.is(check, "ok", "")?;
    }
    report.is("onnxruntime", "ok", "libonnxruntime.so")?;
    let version = report.finding("onnxruntime")?["found"].as_str().context("found")?;
    ensure!(version.starts_with(|first: char| first.is_ascii_digit()), "{version}");
    report.is("xdp", "ok", "native")?;
    report.is("qdisc", "note", "none")?;
    ensure!(report.0["verdict"] != "fail", "{}", report.0);
    Ok(())
}

#[test]
fn offloads_are_told_as_they_are() -> anyhow::Result<()> {
    let host = Host::new("offloads")?;
    if !host.ethtool(&["--version"])? {
        return Ok(ntc_tests::skip("offloads_are_told_as_they_are", "no ethtool to switch them with")?);
    }
    for (check, switch, bad) in [("gro", "gro", "note"), ("tso", "tso", "note"), ("gso", "gso", "note")] {
        for (state, verdict) in [("on", bad), ("off", "ok"), ("on", bad)] {
            ensure!(host.ethtool(&["-K", "r0", switch, state])?, "ethtool -K r0 {switch} {state}");
            host.report(&[])?.is(check, verdict, state)?;
        }
    }
    // veth merges nothing in hardware.
    host.report(&[])?.is("lro", "ok", "off")?;
    Ok(())
}

#[test]
fn programs_of_others_are_named() -> anyhow::Result<()> {
    let host = Host::new("others")?;
    let mut other = ntc_tests::kernel::Programs::load(&load::Settings::default())?;
    host.namespace.enter(|| {
        let tc: &mut SchedClassifier = load::program(&mut other.ebpf, "ntc_tc_egress")?;
        tc.attach("r0", TcAttachType::Egress)?;
        let xdp: &mut Xdp = load::program(&mut other.ebpf, "ntc_xdp")?;
        Ok(xdp.attach("r0", XdpMode::Default)?)
    })?;
    let report = host.report(&[])?;
    report.is("xdp", "ok", "ntc_xdp is attached")?;
    report.is("tc-egress", "ok", "ntc_tc_egress")?;
    drop(other);

    // A program that is not ntc's: the same one by another name.
    let host = Host::new("foreign")?;
    let mut object = load::OBJECT.to_vec();
    let (ours, theirs) = (b"ntc_xdp\0", b"foreign\0");
    for start in 0..object.len() - ours.len() {
        if object[start..].starts_with(ours) {
            object[start..start + theirs.len()].copy_from_slice(theirs);
        }
    }
    let mut other = aya::Ebpf::load(&object)?;
    host.namespace.enter(|| {
        let xdp: &mut Xdp = load::program(&mut other, "foreign")?;
        xdp.load()?;
        Ok(xdp.attach("r0", XdpMode::Default)?)
    })?;
    host.report(&[])?.is("xdp", "warn", "another XDP program is attached: foreign")?;
    Ok(())
}

#[test]
fn pins_are_told_by_their_agent() -> anyhow::Result<()> {
    let host = Host::new("pins")?;
    host.report(&[])?.is("pins", "ok", "none in")?;
    let agent = Agent::start(&host.namespace, &host.pins.0, &["--iface", "r0"])?;
    let report = host.report(&[])?;
    report.is("pins", "ok", &format!("agent alive (process {}, ntc), heartbeat fresh", agent.pid()))?;
    report.is("xdp", "ok", "ntc_xdp is attached")?;
    report.is("tc-ingress", "ok", "ntc_tc_ingress")?;
    agent.signal(Signal::STOP)?;
    host.report(&[])?.is("pins", "fail", "its heart does not beat")?;
    agent.signal(Signal::KILL)?;
    agent.wait()?;
    host.report(&[])?.is("pins", "warn", "without an agent")?;
    Ok(())
}

#[test]
fn queues_are_told_by_handle() -> anyhow::Result<()> {
    let host = Host::new("queues")?;
    for (handle, verdict) in [("1:", "ok"), ("2:", "warn")] {
        let tc = |arguments: &[&str]| host.namespace.prepare("tc").args(arguments).output();
        let add = tc(&["qdisc", "replace", "dev", "r0", "root", "handle", handle, "htb"])?;
        if !add.status.success() {
            let said = String::from_utf8_lossy(&add.stderr).into_owned();
            return Ok(ntc_tests::skip("queues_are_told_by_handle", &format!("no HTB here: {said}"))?);
        }
        host.report(&[])?.is("qdisc", verdict, &format!("htb, handle {handle}"))?;
        tc(&["qdisc", "del", "dev", "r0", "root"])?;
    }
    Ok(())
}

#[test]
fn what_keeps_it_from_starting_fails() -> anyhow::Result<()> {
    let host = Host::new("fails")?;
    host.report(&["--iface", "r7"])?.is("interface", "ok", "up")?;
    let output = host.doctor(&[], &["--iface", "r7"])?;
    ensure!(output.status.code() == Some(1));
    Report::of(&output)?.is("interface", "fail", "there is none of that name")?;
    let output = host.doctor(&[], &["--iface", "lo"])?;
    ensure!(output.status.code() == Some(1));
    Report::of(&output)?.is("interface", "fail", "index 1")?;
    let output = host.doctor(&[], &["--onnxruntime", "/nonexistent.so", "--model", "/nonexistent"])?;
    let report = Report::of(&output)?;
    report.is("onnxruntime", "fail", "/nonexistent.so")?;
    report.is("model", "fail", "/nonexistent/model.toml")?;
    let without = "--bounding-set=-perfmon";
    let output = host.doctor(&["setpriv", without, "--inh-caps=-perfmon"], &[])?;
    ensure!(output.status.code() == Some(1));
    Report::of(&output)?.is("capabilities", "fail", "CAP_PERFMON missing")?;
    Ok(())
}
