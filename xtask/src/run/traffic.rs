//! Starts the servers and drives the clients, one thread a service.

use std::{
    fs,
    path::Path,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use super::{
    host::Program,
    process::Group,
    services::{Site, Transport},
};

/// How long a server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A service as it is driven: servers that listen, and what a client does again and again.
pub(crate) trait Workload: Sync {
    /// Name in logs and messages.
    fn name(&self) -> &str;
    /// Ports that are listened on when all servers are up.
    fn listeners(&self) -> Vec<(Transport, u16)>;
    /// Writes the configuration and says which servers to start.
    fn servers(&self, site: &Site) -> Result<Vec<Program>>;
    /// When a round begins, from the start of all.
    fn offset(&self, round: usize) -> Duration;
    /// What the client does in a round, one program after another.
    fn exchange(&self, site: &Site, round: usize) -> Vec<Program>;
}

impl<W: Workload> Workload for &W {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn listeners(&self) -> Vec<(Transport, u16)> {
        (**self).listeners()
    }

    fn servers(&self, site: &Site) -> Result<Vec<Program>> {
        (**self).servers(site)
    }

    fn offset(&self, round: usize) -> Duration {
        (**self).offset(round)
    }

    fn exchange(&self, site: &Site, round: usize) -> Vec<Program> {
        (**self).exchange(site, round)
    }
}

/// What the clients did.
#[derive(Default)]
pub(crate) struct Tally {
    /// Client programs run.
    pub(crate) runs: usize,
    /// Those that failed, with the service's name and what went wrong.
    pub(crate) failures: Vec<(String, String)>,
}

/// The servers of one service, or why they do not serve.
pub(crate) type Started<'a, W> = (&'a W, Result<Vec<Group>>);

/// Configures and starts all servers at once; returns when each listens or has failed.
pub(crate) fn start_servers<'a, W: Workload>(site: &Site, services: &'a [W]) -> Vec<Started<'a, W>> {
    thread::scope(|scope| {
        let starting: Vec<_> =
            services.iter().map(|service| (service, scope.spawn(move || start(site, service)))).collect();
        starting
            .into_iter()
            .map(|(service, handle)| {
                let servers = handle.join().unwrap_or_else(|_| Err(anyhow!("panicked")));
                (service, servers.with_context(|| format!("service {}", service.name())))
            })
            .collect()
    })
}

fn start(site: &Site, service: &impl Workload) -> Result<Vec<Group>> {
    let log = site.log(service.name(), "server");
    let mut groups = Vec::new();
    for program in service.servers(site)? {
        groups.push(site.server.spawn(&program, &log).with_context(|| program.line())?);
    }
    let listeners = service.listeners();
    let deadline = Instant::now() + START_LIMIT;
    while !listeners.iter().all(|&(transport, port)| site.server.listens(transport == Transport::Udp, port)) {
        site.interrupt.check()?;
        for group in &mut groups {
            if let Some(status) = group.try_wait()? {
                bail!("the server ended at once ({status}): {}", tail(&log));
            }
        }
        if Instant::now() > deadline {
            bail!("the server does not listen after {START_LIMIT:?}: {}", tail(&log));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(groups)
}

/// Runs every client until the deadline.
pub(crate) fn drive<W: Workload>(site: &Site, services: &[W], deadline: Instant) -> Tally {
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for (number, service) in services.iter().enumerate() {
            let tally = &tally;
            scope.spawn(move || repeat(site, service, number, deadline, tally));
        }
    });
    tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn repeat(site: &Site, service: &impl Workload, number: usize, deadline: Instant, tally: &Mutex<Tally>) {
    let log = site.log(service.name(), "client");
    // Services begin one after the other, not all in the same instant.
    let begin = Instant::now() + Duration::from_millis(40) * u32::try_from(number).unwrap_or_default();
    for round in 0.. {
        let start = begin + service.offset(round);
        // Also where the round before took longer than its interval: rounds are not made up for after the end.
        if start.max(Instant::now()) >= deadline || !site.interrupt.sleep_until(start) {
            return;
        }
        for program in service.exchange(site, round) {
            let result = site.client.run(&program, &log, &site.interrupt);
            if site.interrupt.raised() {
                return;
            }
            let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            tally.runs += 1;
            if let Err(error) = result {
                tally.failures.push((service.name().to_owned(), format!("{error:#}: {}", tail(&log))));
            }
        }
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.trim_end().lines().rev().take(4).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
