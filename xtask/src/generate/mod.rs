//! `cargo xtask generate`: captures of real servers and clients whose labels are known by construction, to learn from and to
//! test with. The network is that of `cargo xtask run`; software, work and seeds are others, so that the live run stays a
//! test of what was learned.
//!
//! ```text
//!   services/*.toml --+-- deal, by the seed --> rounds: a line, a hand of services, their ports
//!                     |                           |  network, servers, clients, tcpdump
//!                     v                           v
//!   truth.json: whose port is whose  +  standard/*.pcap, random/*.pcap --> labels.csv, beside nDPI's own view
//! ```

mod deal;
pub(crate) mod draw;
mod label;
mod script;
mod seat;
mod service;
#[cfg(test)]
mod tests;
mod truth;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use deal::{Round, Seat};
use draw::Draw;
use seat::Player;
use service::Service;
use truth::Truth;
use wire::{Silent, Wire};

use crate::{
    build, image,
    run::{
        INTERRUPTED, capture,
        host::{self, Host},
        net::{self, Network, SERVER_V4, SERVER_V6, TO_CLIENT, TO_SERVER},
        process::{self, Interrupt},
        services::Site,
        traffic,
    },
    setup, workspace,
};

/// The descriptions, below the project's root.
const DESCRIPTIONS: &str = "xtask/src/generate/services";
/// Time after the last client for what is under way.
const SETTLE: Duration = Duration::from_millis(500);
/// Whole packets: nDPI looks at payload.
const SNAPLEN: u32 = 65_535;
/// Users that servers of the descriptions drop their privileges to, or look for.
const ACCOUNTS: [(&str, u32); 16] = [
    ("nobody", 65534),
    ("nogroup", 65533),
    ("unbound", 911),
    ("knot", 912),
    ("_ntp", 913),
    ("ntpd", 914),
    ("Debian-exim", 915),
    ("mysql", 916),
    ("redis", 917),
    ("memcache", 918),
    ("freerad", 919),
    ("prosody", 920),
    ("rabbitmq", 921),
    ("zabbix", 922),
    ("gearman", 923),
    ("news", 924),
];

/// What to generate.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Folder for captures, labels and report
    #[arg(short, long, value_name = "DIR", required_unless_present = "list")]
    out: Option<PathBuf>,
    /// How many networks, one after the other: each with a line of its own, standard and random ports in turns
    #[arg(long, value_name = "N", default_value_t = 6)]
    rounds: usize,
    /// Seconds of traffic in each
    #[arg(long, value_name = "SECS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    duration: u64,
    /// Decides ports, sizes, pauses, lines and who meets whom
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Servers with their clients at once; fewer leave the processors to each other
    #[arg(long, value_name = "N", default_value_t = 12)]
    hand: usize,
    /// Only these, by label or name
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    services: Vec<String>,
    /// Show what there is, and do nothing
    #[arg(long)]
    list: bool,
    /// Keep what servers and clients said, in DIR/log
    #[arg(long)]
    keep_logs: bool,
    /// Read the captures with this binary instead of building one
    #[arg(long, value_name = "FILE")]
    pub(crate) ntc: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask generate --out /tmp/made                      some minutes of everything
  cargo xtask generate --out /tmp/made --services DNS,MQTT --rounds 2
  ntc eval --captures /tmp/made/random --labels /tmp/made/labels.csv --level protocol";

/// The verb.
pub fn main(args: &Args) -> Result<ExitCode> {
    let all = service::read(&workspace::root().join(DESCRIPTIONS))?;
    if args.list {
        list(&all);
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = service::choose(all.clone(), &args.services)?;
    let out = std::path::absolute(args.out.as_deref().context("no --out")?)?;
    if !rustix::process::geteuid().is_root() {
        bail!("network namespaces need root: sudo -E env \"PATH=$PATH\" cargo xtask generate");
    }
    setup::ensure(&[setup::Scope::Generate])?;
    let ntc = match &args.ntc {
        Some(ntc) => ntc.canonicalize().with_context(|| ntc.display().to_string())?,
        None => build::agent(build::Profile::Release)?,
    };
    if service::in_machine_code(&chosen) {
        build::traffic()?;
    }
    let interrupt = Interrupt::install()?;
    let made = make(args, &all, &chosen, &out, &workspace::tools(), &interrupt);
    process::reap_orphans();
    if interrupt.signalled() {
        eprintln!("interrupted; networks and servers are removed, captures stay without labels");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    made?;
    label::label(&ntc, &out)?;
    Ok(ExitCode::SUCCESS)
}

fn list(services: &[Service]) {
    println!("{:<14} {:>5}  {:<8} {:<20} implementations", "label", "port", "over", "name");
    for service in services {
        let over: Vec<_> = service.transport.iter().map(|transport| transport.name()).collect();
        for pair in &service.pair {
            let (port, over) = (service.port, over.join("+"));
            let implementations = pair.implementations.join(", ");
            println!("{:<14} {port:>5}  {over:<8} {:<20} {implementations}", service.label, pair.name);
        }
    }
}

/// Plays all rounds and writes captures and truth.
fn make(
    args: &Args,
    all: &[Service],
    chosen: &[Service],
    out: &Path,
    tools: &Path,
    interrupt: &Interrupt,
) -> Result<()> {
    let image = ready_image(tools, all, chosen)?;
    for folder in ["standard", "random", "log"] {
        fs::create_dir_all(out.join(folder))?;
    }
    ensure!(!out.join("truth.json").exists(), "{} has captures already", out.display());
    process::adopt_orphans()?;
    let rounds = deal::rounds(chosen, args.seed, args.rounds, args.hand);
    let mut truths = Vec::new();
    let begin = Instant::now();
    for (number, round) in rounds.iter().enumerate() {
        let truth = play(args, number, round, &image, out, interrupt)
            .with_context(|| format!("round {number} of seed {}", args.seed))?;
        truths.push(truth);
        // Kept up to date, so that what is there can be used whatever happens.
        truth::write(&out.join("truth.json"), args.seed, &truths)?;
        let (done, left) = (number + 1, args.rounds - number - 1);
        let each = begin.elapsed() / u32::try_from(done)?;
        eprintln!("[{done}/{}] about {:.0} min left", args.rounds, each.as_secs_f64() * left as f64 / 60.0);
    }
    Ok(())
}

/// The image with the packages of all services; one without any where none is needed, so that a few that are all Python
/// need no download.
fn ready_image(tools: &Path, all: &[Service], chosen: &[Service]) -> Result<PathBuf> {
    let image = tools.join("generate");
    if service::packages(chosen).is_empty() && !image::is_there(&image, &service::packages(all)) {
        let empty = tools.join("generate-empty");
        for folder in ["usr", "etc"] {
            fs::create_dir_all(empty.join(folder))?;
        }
        return Ok(empty);
    }
    image::unpack(&image, &service::packages(all))?;
    Ok(image)
}

/// Plays one round. All that it makes is owned by values of this function.
fn play(
    args: &Args,
    number: usize,
    round: &Round,
    image: &Path,
    out: &Path,
    interrupt: &Interrupt,
) -> Result<Truth> {
    let kind = if round.random { "random" } else { "standard" };
    let line = &round.line;
    println!(
        "round {number}: {kind} ports, IPv{}, {:.1} ms, {:.0} Mbit/s, {:.2}% lost, MTU {}, {} services",
        line.ip_version,
        line.rtt_ms,
        line.mbit_s,
        100.0 * line.loss,
        line.mtu,
        round.seats.len()
    );
    for seat in round.seats.iter().filter(|seat| seat.silent) {
        println!("  {} is not heard", seat.pair.name);
    }
    let temporary = net::temporary_folder()?;
    let dir = temporary.path();
    host::write_etc(dir, &ACCOUNTS)?;
    seat::write_files(&dir.join("files"), &mut Draw::new(args.seed, &format!("files {number}")))?;
    let (network, ends) = Network::with_long_cable(if line.near_server { "client" } else { "server" })?;
    for (role, port) in [("client", "eth0"), ("server", "eth0"), ("router", TO_CLIENT), ("router", TO_SERVER)]
    {
        network.ip(role, &format!("link set {port} mtu {}", line.mtu))?;
    }
    let unheard = round.seats.iter().filter(|seat| seat.silent);
    let silent = Silent::new(&[SERVER_V4, SERVER_V6], unheard.flat_map(Seat::udp_ports).collect())?;
    let _wire = Wire::start(ends, line, &Draw::new(args.seed, &format!("wire {number}")), &silent)?;
    let mut servers = Vec::new();
    let site = Site {
        server: Host::start(&network.namespace("server"), "server", image, dir)?,
        client: Host::start(&network.namespace("client"), "client", image, dir)?,
        dir: dir.to_owned(),
        interrupt: interrupt.clone(),
    };
    let player = |seat: &Seat| Player::new(seat.clone(), args.seed, number, line, dir);
    let players: Vec<Player> = round.seats.iter().map(player).collect::<Result<_>>()?;
    let mut serving = Vec::new();
    let mut failures = Vec::new();
    for (player, started) in traffic::start_servers(&site, &players) {
        match started {
            Ok(groups) => {
                servers.extend(groups);
                serving.push(player);
            }
            Err(error) => failures.push((player.seat.pair.name.clone(), format!("{error:#}"))),
        }
    }
    interrupt.check()?;
    let name = format!("{kind}-{}-{number:03}.pcap", args.seed);
    let mut tcpdump = capture::start(&network, &out.join(kind).join(&name), SNAPLEN, dir, interrupt)?;
    let tally = traffic::drive(&site, &serving, Instant::now() + Duration::from_secs(args.duration));
    interrupt.check()?;
    thread::sleep(SETTLE);
    tcpdump.stop(Duration::from_secs(5))?.context("tcpdump does not end")?;
    failures.extend(tally.failures);
    for (name, error) in &failures {
        println!("  {name}: {error}");
    }
    if args.keep_logs {
        keep_logs(&dir.join("log"), &out.join("log").join(format!("{number:03}")))?;
    }
    println!("  {} exchanges, {} failed", tally.runs, failures.len());
    Ok(Truth::new(name, round, &serving, tally.runs, failures))
}

fn keep_logs(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
