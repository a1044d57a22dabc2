//! `cargo xtask run`: real servers and clients in network namespaces, the agent on the router between them, and a
//! summary of what it made of their flows.
//!
//! ```text
//!   ntc-client ---- to-client | ntc-router | to-server ---- ntc-server
//!     clients                   agent, HTB                    servers
//! ```

pub(crate) mod agent;
mod board;
pub(crate) mod capture;
mod compare;
pub(crate) mod host;
pub(crate) mod net;
mod pictures;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod services;
pub(crate) mod shaping;
mod summary;
pub(crate) mod traffic;
mod view;

use std::{
    ffi::OsString,
    fs::File,
    io::{BufWriter, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use agent::{Agent, Event};
use anyhow::{Context, Result, anyhow, bail};
use board::Board;
use host::Host;
use net::{BpfMount, Network, TO_CLIENT, TO_SERVER};
use ports::Ports;
use process::Interrupt;
use serde_json::Value;
use services::Site;
use summary::{AgentReport, Summary};
use traffic::Tally;
use view::View;

use crate::image;

/// Time after the last client for labels that follow a pause.
const SETTLE: Duration = Duration::from_secs(2);
/// Bytes of each packet in the capture that is kept: enough for the headers.
const SNAPLEN: u32 = 128;
/// What the shell says of a process that SIGINT ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Runs the agent: in a test network of its own, or, with arguments after `--`, on this machine's interfaces.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Write the summary as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Seconds of traffic
    #[arg(long, value_name = "SECS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(3..=600))]
    duration: u64,
    /// Capture the traffic of the client's side with tcpdump, 128 bytes of each packet, and compare what `ntc classify`
    /// says of the file with the live labels
    #[arg(long, value_name = "FILE")]
    keep_capture: Option<PathBuf>,
    /// Write the agent's JSON lines, with the truth added, to this file
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Serve on other ports, drawn by this seed, which the hosts translate: what the model makes of behaviour alone
    #[arg(long, value_name = "SEED", num_args = 0..=1, default_missing_value = "1")]
    random_ports: Option<u64>,
    /// Take pictures of the page and of `ntc top`, as PNG, in this folder shortly before the end; installs a browser
    #[arg(long, value_name = "DIR")]
    pub(crate) pictures: Option<PathBuf>,
    /// Arguments of `ntc run`, which then runs on this machine's own interfaces
    #[arg(last = true, value_name = "NTC-ARGS")]
    agent: Vec<OsString>,
}

/// Carries the verb out with the built agent. `root` is the repository's root, `tools` the folder that keeps what was
/// downloaded: the servers and clients are put there if they are not.
pub fn run(args: &Args, ntc: &Path, root: &Path, tools: &Path) -> Result<ExitCode> {
    let ntc = ntc.canonicalize().with_context(|| format!("no agent at {}", ntc.display()))?;
    if !args.agent.is_empty() {
        return Err(Command::new(ntc).arg("run").args(&args.agent).exec()).context("starting the agent");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("network namespaces and BPF programs need root: sudo -E env \"PATH=$PATH\" cargo xtask run");
    }
    let interrupt = Interrupt::install()?;
    let result = live(args, &ntc, root, tools, &interrupt);
    process::reap_orphans();
    match result {
        _ if interrupt.signalled() => {
            eprintln!("interrupted; all that the run had made is removed");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Ok(summary) => {
            print!("{}", summary.text());
            if let Some(file) = &args.json {
                std::fs::write(file, serde_json::to_string_pretty(&summary)? + "\n")
                    .with_context(|| format!("writing {}", file.display()))?;
            }
            summary.verdict().map_err(|reason| anyhow!(reason))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
    }
}

/// The live run. All that it makes is owned by values of this function, which remove it when they are dropped: last
/// made, first removed.
fn live(args: &Args, ntc: &Path, root: &Path, tools: &Path, interrupt: &Interrupt) -> Result<Summary> {
    let image = image::root(tools);
    image::unpack(&image, &services::packages())?;
    process::adopt_orphans()?;
    let _bpf = BpfMount::ensure()?;
    let temporary = net::temporary_folder()?;
    let dir = temporary.path();
    host::write_etc(dir, &host::ACCOUNTS)?;

    println!("network: client -- router -- server, IPv4 and IPv6");
    let network = Network::create()?;
    let ports = args.random_ports.map(Ports::random).unwrap_or_default();
    ports.install(&network)?;
    shaping::install(&network, &ports)?;
    let mut servers = Vec::new();
    let site = Site {
        server: Host::start(&network.namespace("server"), "server", &image, dir)?,
        client: Host::start(&network.namespace("client"), "client", &image, dir)?,
        dir: dir.to_owned(),
        interrupt: interrupt.clone(),
    };
    println!("services: starting {}", services::ALL.map(|service| service.name).join(", "));
    servers.extend(services::start(&site)?);
    interrupt.check()?;

    let agent = Agent::start(
        &network,
        ntc,
        &[TO_CLIENT, TO_SERVER],
        pictures::options(args.pictures.as_deref()),
        &dir.join("log/agent.log"),
        |_| true,
        interrupt,
    )?;
    let pictures = args.pictures.as_deref();
    let pictures = pictures
        .map(|folder| pictures::start(&network, ntc, folder, &dir.join("log/pictures.log"), args.duration))
        .transpose()?;
    let capture = args
        .keep_capture
        .as_deref()
        .map(|file| capture::start(&network, file, SNAPLEN, dir, interrupt))
        .transpose()?;

    let start = Instant::now();
    let (board, tally, report, classes) = observe(args, &network, &site, agent, ports)?;
    if let Some(pictures) = pictures {
        pictures::finish(pictures, &dir.join("log/pictures.log"), interrupt)?;
    }
    if let Some(mut capture) = capture {
        capture.stop(Duration::from_secs(5))?.context("tcpdump does not end")?;
    }
    interrupt.check()?;
    let catalogue = root.join("models/services.csv");
    let mut summary = Summary::new(&board, tally, classes, report, &catalogue, start.elapsed().as_secs_f64());
    if let Some(file) = &args.keep_capture {
        summary.offline = Some(compare::compare(ntc, file, &board)?);
    }
    Ok(summary)
}

/// Drives the clients while the labels come in, then stops the agent and reads the counters.
fn observe(
    args: &Args,
    network: &Network,
    site: &Site,
    mut agent: Agent,
    ports: Ports,
) -> Result<(Board, Tally, AgentReport, Vec<shaping::ClassCount>)> {
    let mut book = Book::open(args.events.as_deref(), ports)?;
    let length = Duration::from_secs(args.duration);
    let mut view = View::open(length);
    let deadline = Instant::now() + length;
    let tally = thread::scope(|scope| {
        let traffic = scope.spawn(|| traffic::drive(site, &services::ALL, deadline));
        let mut settled = None;
        loop {
            if let Err(error) = book.take(agent.drain()).and_then(|()| agent.check()) {
                site.interrupt.raise();
                return Err(error);
            }
            view.update(&book.board);
            if traffic.is_finished()
                && *settled.get_or_insert_with(|| Instant::now() + SETTLE) < Instant::now()
            {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        traffic.join().map_err(|_| anyhow!("driving the clients failed"))
    })?;
    let classes = shaping::read(network)?;
    book.take(agent.stop()?.into_iter())?;
    drop(view);
    let report = book.close()?;
    Ok((book.board, tally, report, classes))
}

/// Keeps the agent's lines: the board of flows, the summary, and the file of events.
struct Book {
    board: Board,
    report: Option<AgentReport>,
    events: Option<BufWriter<File>>,
}

impl Book {
    fn open(events: Option<&Path>, ports: Ports) -> Result<Self> {
        let create = |file| File::create(file).with_context(|| format!("creating {}", Path::display(file)));
        Ok(Self {
            board: Board::new(ports),
            report: None,
            events: events.map(create).transpose()?.map(BufWriter::new),
        })
    }

    fn take(&mut self, lines: impl Iterator<Item = Value>) -> Result<()> {
        for mut line in lines {
            match agent::parse(&line)? {
                Event::Label(label) => {
                    let truth = self.board.add(*label);
                    if let Some(fields) = line.as_object_mut() {
                        fields.insert("truth".into(), truth.into());
                    }
                }
                Event::Summary(summary) => {
                    let ledger_closes = summary.ledger.closes;
                    self.report =
                        Some(AgentReport { flows: summary.flows, ledger_closes, line: line.clone() });
                }
                Event::Ready | Event::Other => {}
            }
            if let Some(events) = &mut self.events {
                writeln!(events, "{line}")?;
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<AgentReport> {
        if let Some(events) = &mut self.events {
            events.flush()?;
        }
        self.report.take().context("the agent ended without a summary")
    }
}
