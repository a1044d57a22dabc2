//! As a user of its own, with three capabilities and not one less.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use ntc_tests::{agent::Agent, patience::patient};

use crate::link::{Link, of_port, text};

/// The user `nobody`, and nobody's group.
const NOBODY: u32 = 65_534;
/// `CAP_NET_ADMIN` and `CAP_BPF` (include/uapi/linux/capability.h).
const TO_THE_END: u64 = 1 << 12 | 1 << 39;

/// `setpriv` with these capabilities and no other, as an unprivileged user.
fn with(capabilities: &[&str]) -> Vec<String> {
    let set: Vec<_> = capabilities.iter().map(|name| format!("+{name}")).collect();
    let set = ["-all".to_owned()].into_iter().chain(set).collect::<Vec<_>>().join(",");
    let mut words = vec!["setpriv".into(), format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
    words.push("--clear-groups".into());
    words.extend(["inh-caps", "ambient-caps", "bounding-set"].map(|which| format!("--{which}={set}")));
    words
}

fn words(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

/// The directory that somebody else makes for the agent.
fn prepared(link: &Link) -> anyhow::Result<()> {
    fs::create_dir(&link.pins.0)?;
    Ok(std::os::unix::fs::chown(&link.pins.0, Some(NOBODY), Some(NOBODY))?)
}

/// Fields of `/proc/<pid>/task/*/status`, the main thread's first.
fn threads(pid: u32) -> anyhow::Result<Vec<BTreeMap<String, String>>> {
    let mut threads = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?;
        let status = fs::read_to_string(thread.path().join("status"))?;
        let fields = status.lines().filter_map(|line| line.split_once(":\t"));
        let fields: BTreeMap<_, _> = fields.map(|(key, value)| (key.into(), value.trim().into())).collect();
        threads.push((thread.file_name() != pid.to_string().as_str(), fields));
    }
    threads.sort_by_key(|(helper, _)| *helper);
    Ok(threads.into_iter().map(|(_, fields)| fields).collect())
}

/// No way back to more, and only the main thread has anything. The last thread starts just after the agent is ready.
fn has_given_up_the_rest(pid: u32) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let looked = given_up(pid);
        if looked.is_ok() || start.elapsed() > patient(Duration::from_secs(5)) {
            return looked;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn given_up(pid: u32) -> anyhow::Result<()> {
    let threads = threads(pid)?;
    ensure!(threads.len() > 4, "{} threads", threads.len());
    for (number, fields) in threads.iter().enumerate() {
        let set = |name: &str| u64::from_str_radix(fields.get(name).map_or("", String::as_str), 16);
        let wanted = if number == 0 { TO_THE_END } else { 0 };
        for (name, wanted) in [("CapEff", wanted), ("CapPrm", wanted), ("CapInh", 0), ("CapAmb", 0)] {
            ensure!(set(name)? == wanted, "{name} {:x} of thread {}", set(name)?, fields["Name"]);
        }
        ensure!(fields["NoNewPrivs"] == "1", "{}", fields["Name"]);
    }
    Ok(())
}

fn labels_traffic(link: &Link, mut agent: Agent, port: u16) -> anyhow::Result<()> {
    link.exchange(port)?;
    let label = agent.until(of_port(port))?;
    ensure!(label["written"] == true, "{label}");
    let events = agent.stop()?;
    let summary = events.last().context("no summary")?;
    ensure!(
        summary["ledger"]["closes"] == true && summary["enforcement"]["ingress"].as_u64() >= Some(8),
        "{summary}"
    );
    Ok(())
}

/// An unprivileged user must be able to reach binary and library.
fn reachable(test: &str) -> anyhow::Result<bool> {
    let binary = ntc_tests::agent::binary()?;
    let library = ntc_tests::root().join(".tools/onnxruntime/libonnxruntime.so").canonicalize()?;
    for path in [binary.as_path(), library.as_path()].into_iter().flat_map(Path::ancestors) {
        if fs::metadata(path)?.mode() & 0o001 == 0 && path.is_dir() {
            ntc_tests::skip(test, &format!("{} is closed to other users", path.display()))?;
            return Ok(false);
        }
    }
    Ok(true)
}

#[test]
fn three_capabilities_are_enough() -> anyhow::Result<()> {
    if !reachable("three_capabilities_are_enough")? {
        return Ok(());
    }
    let link = Link::new("three")?;
    prepared(&link)?;
    let by = with(&["bpf", "net_admin", "perfmon"]);
    let agent = Agent::start_as(&link.agent_side, &link.pins.0, &words(&by), &["--iface", "r0"])?;
    has_given_up_the_rest(agent.pid())?;
    ensure!(threads(agent.pid())?[0]["Uid"].split_whitespace().all(|uid| uid == NOBODY.to_string()));
    labels_traffic(&link, agent, 40_050)
}

#[test]
fn pins_are_closed_to_other_users() -> anyhow::Result<()> {
    let mode = |path: &Path| anyhow::Ok((fs::metadata(path)?.mode() & 0o7777, fs::metadata(path)?.uid()));
    // Made by ntc; made by an administrator, open to all and to its group; made for another user.
    for (made, user, expected) in
        [(None, None, 0o700), (Some(0o775), None, 0o770), (Some(0o755), Some("nobody"), 0o750)]
    {
        let link = Link::new(&format!("modes-{expected:o}"))?;
        if let Some(made) = made {
            fs::create_dir(&link.pins.0)?;
            fs::set_permissions(&link.pins.0, fs::Permissions::from_mode(made))?;
        }
        let more = user.map_or(vec!["--stay"], |user| vec!["--user", user]);
        if user.is_some() && !reachable("pins_are_closed_to_other_users")? {
            continue;
        }
        let agent = link.agent(&more)?;
        let owner = if user.is_some() { NOBODY } else { 0 };
        ensure!(mode(&link.pins.0)? == (expected, owner), "{made:?}: {:o}", mode(&link.pins.0)?.0);
        let mut pins = 0;
        for pin in fs::read_dir(&link.pins.0)? {
            let pin = pin?.path();
            let closed = if pin.is_dir() { 0o700 } else { 0o600 };
            ensure!(mode(&pin)? == (closed, owner), "{}: {:o}", pin.display(), mode(&pin)?.0);
            pins += 1;
        }
        ensure!(pins >= ntc_user::kernel::pins::PINNED.len(), "{pins} pins");
        // Whoever can open the directory can hold the lock that the next agent needs.
        let stranger = ["--reuid=1", "--regid=1", "--clear-groups", "flock", "--nonblock"];
        let tried = std::process::Command::new("setpriv")
            .args(stranger)
            .args([link.pins.0.as_os_str(), "true".as_ref()])
            .output()?;
        ensure!(!tried.status.success() && text(&tried).contains("denied"), "{}", text(&tried));
        agent.stop()?;
        ensure!(link.ntc(&["detach"])?.status.success());
    }
    Ok(())
}

#[test]
fn a_directory_of_somebody_else_that_is_open_to_all_is_refused() -> anyhow::Result<()> {
    if !reachable("a_directory_of_somebody_else_that_is_open_to_all_is_refused")? {
        return Ok(());
    }
    let link = Link::new("open")?;
    fs::create_dir(&link.pins.0)?;
    fs::set_permissions(&link.pins.0, fs::Permissions::from_mode(0o777))?;
    let by = with(&["bpf", "net_admin", "perfmon"]);
    let refused =
        Agent::command(&link.agent_side, &link.pins.0, &words(&by), &["--iface", "r0"])?.output()?;
    ensure!(refused.status.code() == Some(1), "{}", text(&refused));
    ensure!(text(&refused).contains("open to all (mode 777)"), "{}", text(&refused));
    fs::remove_dir(&link.pins.0)?;
    Ok(())
}

#[test]
fn each_of_the_three_is_needed() -> anyhow::Result<()> {
    if !reachable("each_of_the_three_is_needed")? {
        return Ok(());
    }
    // As docs/operating.md has them.
    let rows = [
        ("bpf", "CAP_BPF", "cannot load ntc's programs"),
        ("net_admin", "CAP_NET_ADMIN", "program ntc_xdp"),
        ("perfmon", "CAP_PERFMON", "program ntc_xdp"),
    ];
    for (without, name, breaks) in rows {
        let link = Link::new(&format!("no-{without}"))?;
        prepared(&link)?;
        let left: Vec<_> =
            ["bpf", "net_admin", "perfmon"].into_iter().filter(|one| *one != without).collect();
        let by = with(&left);
        let output =
            Agent::command(&link.agent_side, &link.pins.0, &words(&by), &["--iface", "r0"])?.output()?;
        let said = text(&output);
        ensure!(output.status.code() == Some(1), "without {name}: {said}");
        ensure!(said.contains(breaks) && said.contains(&format!("lacks {name};")), "without {name}: {said}");
        let left = fs::read_dir(&link.pins.0).map_or(0, Iterator::count);
        ensure!(left == 0, "{left} pins stay of an agent that did not start");
    }
    Ok(())
}

#[test]
fn started_as_root_it_becomes_the_user_who_was_named() -> anyhow::Result<()> {
    if !reachable("started_as_root_it_becomes_the_user_who_was_named")? {
        return Ok(());
    }
    let link = Link::new("user")?;
    let agent = link.agent(&["--user", "nobody"])?;
    has_given_up_the_rest(agent.pid())?;
    for thread in threads(agent.pid())? {
        ensure!(thread["Uid"].split_whitespace().all(|uid| uid == NOBODY.to_string()), "{}", thread["Uid"]);
        ensure!(thread["Gid"].split_whitespace().all(|gid| gid == NOBODY.to_string()), "{}", thread["Gid"]);
        ensure!(u64::from_str_radix(&thread["CapBnd"], 16)? == 0, "{}", thread["CapBnd"]);
    }
    ensure!(fs::metadata(link.pins.0.join("LABELS"))?.uid() == NOBODY);
    labels_traffic(&link, agent, 40_051)?;
    ensure!(!link.pins.0.exists());

    // Root's pins become the user's, the user's root's.
    for (port, more) in [(40_052, &[][..]), (40_053, &["--user", "nobody"]), (40_054, &[])] {
        let mut agent = link.agent(more)?;
        link.exchange(port)?;
        agent.until(of_port(port))?;
        has_given_up_the_rest(agent.pid())?;
        agent.signal(rustix::process::Signal::KILL)?;
        agent.wait()?;
    }
    let flows = link.ntc(&["flows", "--port", "40052"])?;
    ensure!(text(&flows).contains(":40052"), "{}", text(&flows));
    ensure!(link.ntc(&["detach"])?.status.success() && !link.pins.0.exists());

    let refused =
        Agent::command(&link.agent_side, &link.pins.0, &[], &["--iface", "r0", "--user", "no-such"])?
            .output()?;
    ensure!(
        refused.status.code() == Some(1) && text(&refused).contains("user no-such: there is none"),
        "{}",
        text(&refused)
    );
    Ok(())
}
