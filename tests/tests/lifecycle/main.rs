//! The agent's life: it labels, it ends, it dies, it comes back.

mod faults;
mod killed;
mod model;
mod privileges;
mod reload;
mod stalled;
mod upgrade;

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};
use link::{Link, of_port, text, with_runtime};
use ntc_tests::{
    agent::{Agent, PinDir, binary},
    frames::Frame,
    link,
    net::Namespace,
    wire::{RawSocket, Tun},
};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn it_labels_tells_and_leaves_nothing_behind() -> anyhow::Result<()> {
    let link = Link::new("labels")?;
    let mut agent = link.agent(&[])?;
    ensure!(link.xdp_attached()?);
    link.exchange(40_001)?;
    // A machine that stops between two packets has an early label before.
    let due = |event: &Value| of_port(40_001)(event) && event["reason"] != "early";
    let label = agent.until(due)?;
    ensure!(label["reason"] == "closed" && label["stage"] == "final" && label["packets"] == 7, "{label}");
    ensure!(label["written"] == true && label["dst_ip"] == "198.51.100.10", "{label}");
    // The last ACK came after the close: asked again, with all eight packets.
    let again = agent.until(due)?;
    ensure!(again["packets"] == 8 && again["first_ts_ns"] == label["first_ts_ns"], "{again}");

    let flows = link.ntc(&["flows", "--format", "json", "--port", "40001"])?;
    let flow: Value = serde_json::from_slice(&flows.stdout).with_context(|| text(&flows))?;
    ensure!(flow["packets"] == 8 && flow["service"] == again["service"], "{flow}");
    let none = link.ntc(&["flows", "--format", "json", "--port", "1"])?;
    ensure!(none.status.success() && none.stdout.is_empty());
    let dump =
        Command::new("bpftool").args(["map", "dump", "pinned"]).arg(link.pins.0.join("LABELS")).output()?;
    for field in ["lower_addr", "upper_port", "service", "confidence", "model_epoch", "stage"] {
        ensure!(text(&dump).contains(field), "bpftool does not name {field}: {}", text(&dump));
    }
    let stats = link.ntc(&["stats", "--format", "json"])?;
    let stats: Value = serde_json::from_slice(&stats.stdout)?;
    ensure!(stats["ledger"]["seen"] == 8 && stats["ledger"]["closes"] == true, "{stats}");

    let events = agent.stop()?;
    let summary = events.last().context("no summary")?;
    ensure!(summary["event"] == "summary" && summary["labelled"] == 1, "{summary}");
    ensure!(!link.pins.0.exists() && !link.xdp_attached()?);
    let gone = link.ntc(&["flows"])?;
    ensure!(gone.status.code() == Some(1) && text(&gone).contains("is `ntc run` running"), "{}", text(&gone));
    Ok(())
}

#[test]
fn killed_it_leaves_labels_to_read_and_a_restart_takes_over() -> anyhow::Result<()> {
    let link = Link::new("killed")?;
    let mut agent = link.agent(&[])?;
    // Not to its end: a closed flow's label ends some seconds later, before a slow machine has the next agent.
    link.first_packets(40_002, 5)?;
    agent.until(of_port(40_002))?;
    agent.signal(Signal::KILL)?;
    agent.wait()?;
    ensure!(!link.xdp_attached()?, "programs go with their agent");
    let flows = link.ntc(&["flows"])?;
    ensure!(text(&flows).contains(":40002"), "labels can be read without an agent: {}", text(&flows));

    let mut agent = link.agent(&[])?;
    let flows = link.ntc(&["flows"])?;
    ensure!(text(&flows).contains(":40002"), "the new agent took the labels over: {}", text(&flows));
    link.exchange(40_003)?;
    agent.until(of_port(40_003))?;

    let mut second = link.agent_side.prepare(binary()?);
    let second =
        with_runtime(second.args(["run", "--iface", "r0", "--pin-dir"]).arg(&link.pins.0)).output()?;
    ensure!(
        second.status.code() == Some(1) && text(&second).contains("another ntc agent"),
        "{}",
        text(&second)
    );
    let detach = link.ntc(&["detach"])?;
    ensure!(
        detach.status.code() == Some(1) && text(&detach).contains("another ntc agent"),
        "{}",
        text(&detach)
    );
    agent.stop()?;
    ensure!(!link.pins.0.exists());
    Ok(())
}

#[test]
fn told_to_stay_it_stays_until_detached() -> anyhow::Result<()> {
    let link = Link::new("stay")?;
    link.agent(&["--stay"])?.stop()?;
    ensure!(link.xdp_attached()? && link.pins.0.exists());
    link.exchange(40_004)?;
    let stats = link.ntc(&["stats", "--format", "json"])?;
    let stats: Value = serde_json::from_slice(&stats.stdout).with_context(|| text(&stats))?;
    ensure!(stats["ledger"]["seen"] == 8, "it goes on counting: {stats}");
    ensure!(stats["enforcement"]["stale"] == 8, "and touches no packet: {stats}");
    // The next agent takes the place of the programs that stayed.
    link.agent(&["--stay"])?.stop()?;
    let detach = link.ntc(&["detach"])?;
    ensure!(detach.status.success(), "{}", text(&detach));
    ensure!(!link.pins.0.exists() && !link.xdp_attached()?);
    ensure!(link.ntc(&["detach"])?.status.success(), "nothing to do is no failure");
    Ok(())
}

#[test]
fn it_ends_under_traffic_also_when_told_to_stay() -> anyhow::Result<()> {
    let link = Link::new("busy")?;
    let agent = link.agent(&["--stay"])?;
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            link.far_side.enter(|| {
                let socket = RawSocket::open("s0")?;
                let mut port = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    port = if port == u16::MAX { 1 } else { port + 1 };
                    let source = ("192.0.2.10".parse()?, port);
                    socket.send(&Frame::udp(source, ("198.51.100.10".parse()?, 53), 40).bytes())?;
                    std::thread::sleep(std::time::Duration::from_micros(100));
                }
                Ok(())
            })
        });
        let events = agent.stop();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        traffic.join().map_err(|_| anyhow::anyhow!("the traffic died"))??;
        ensure!(events?.last().context("no summary")?["event"] == "summary");
        anyhow::Ok(())
    })?;
    ensure!(link.ntc(&["detach"])?.status.success());
    Ok(())
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() -> anyhow::Result<()> {
    let link = Link::new("refused")?;
    // Somebody else's program sits on the interface.
    let mut other = ntc_tests::kernel::Programs::load(&ntc_user::kernel::load::Settings::default())?;
    link.agent_side.enter(|| {
        let xdp: &mut aya::programs::Xdp = ntc_user::kernel::load::program(&mut other.ebpf, "ntc_xdp")?;
        Ok(xdp.attach("r0", aya::programs::XdpMode::Default)?)
    })?;
    let mut command = link.agent_side.prepare(binary()?);
    command.args(["run", "--iface", "r0", "--hook", "native", "--stay", "--pin-dir"]).arg(&link.pins.0);
    let refused = with_runtime(&mut command).output()?;
    ensure!(refused.status.code() == Some(1), "{}", text(&refused));
    ensure!(text(&refused).contains("interface r0: cannot attach ntc_xdp"), "{}", text(&refused));
    ensure!(!link.pins.0.exists(), "pins stay of an agent that did not start");
    Ok(())
}

#[test]
fn only_pins_of_its_own_are_removed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let treasure = folder.path().join("LABELS");
    std::fs::write(&treasure, "not a map")?;
    let detach = Command::new(binary()?).args(["detach", "--pin-dir"]).arg(folder.path()).output()?;
    ensure!(detach.status.code() == Some(1), "{}", text(&detach));
    ensure!(text(&detach).contains("not on a BPF file system"), "{}", text(&detach));
    ensure!(treasure.exists());
    Ok(())
}

#[test]
fn pins_of_another_size_are_refused() -> anyhow::Result<()> {
    let link = Link::new("sizes")?;
    let agent = link.agent(&["--max-flows", "128"])?;
    agent.signal(Signal::KILL)?;
    agent.wait()?;
    let mut command = link.agent_side.prepare(binary()?);
    let refused =
        with_runtime(command.args(["run", "--iface", "r0", "--pin-dir"]).arg(&link.pins.0)).output()?;
    let said = text(&refused);
    ensure!(refused.status.code() == Some(1), "{said}");
    ensure!(said.contains("128 entries") && said.contains("ntc detach"), "{said}");
    ensure!(link.ntc(&["detach"])?.status.success());
    link.agent(&[])?.stop()?;
    Ok(())
}

#[test]
fn packets_without_a_link_header_are_flows_too() -> anyhow::Result<()> {
    let (host, pins) = (Namespace::new()?, PinDir::new("tun"));
    let mut tun = host.enter(|| Ok(Tun::new("t0")?))?;
    host.ip(&["link", "set", "t0", "up"])?;
    let mut agent = Agent::start(&host, &pins.0, &["--iface", "t0"])?;
    let question = Frame::udp(("192.0.2.10".parse()?, 40_005), ("198.51.100.10".parse()?, 53), 40);
    for frame in [&question, &question.reply(120)] {
        tun.receive(&frame.bytes()[14..])?;
    }
    let label = agent.until(|event| of_port(40_005)(event) && event["packets"] == 2)?;
    ensure!(label["dst_port"] == 53, "{label}");
    let events = agent.stop()?;
    let summary = events.last().context("no summary")?;
    ensure!(summary["ledger"]["seen"] == 2 && summary["ledger"]["closes"] == true, "{summary}");
    Ok(())
}

#[test]
fn mistakes_are_named() -> anyhow::Result<()> {
    let link = Link::new("mistakes")?;
    let run = |arguments: &[&str]| -> anyhow::Result<(Option<i32>, String)> {
        let mut command = link.agent_side.prepare(binary()?);
        let output = with_runtime(command.args(arguments).arg("--pin-dir").arg(&link.pins.0)).output()?;
        Ok((output.status.code(), text(&output)))
    };
    let (code, said) = run(&["run", "--iface", "r7"])?;
    ensure!(code == Some(1) && said.contains("interface r7: there is none of that name"), "{said}");
    let (code, said) = run(&["run", "--iface", "lo"])?;
    ensure!(code == Some(1) && said.contains("does not capture on loopback"), "{said}");
    let (code, said) = run(&["run"])?;
    ensure!(code == Some(1) && said.contains("give --iface or --capture"), "{said}");
    let (code, said) = run(&["run", "--iface", "r0", "--model", "/nonexistent"])?;
    ensure!(code == Some(1) && said.contains("/nonexistent/model.toml"), "{said}");
    let (code, said) = run(&["run", "--iface", "r0", "--onnxruntime", "/nonexistent.so"])?;
    ensure!(code == Some(1) && said.contains("--onnxruntime names /nonexistent.so"), "{said}");
    let (code, said) = run(&["run", "--iface", "r0", "--ring-bytes", "5000"])?;
    ensure!(code == Some(2) && said.contains("no power of two"), "{said}");
    ensure!(!Path::new(&link.pins.0).exists(), "nothing is left of an agent that did not start");
    Ok(())
}
