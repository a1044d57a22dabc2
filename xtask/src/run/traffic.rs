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
    process::Group,
    services::{ALL, Endpoint, PEERS, Service, Site, Transport},
};

/// How long a server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What the clients did.
#[derive(Default)]
pub(crate) struct Tally {
    /// Client programs run.
    pub(crate) runs: usize,
    /// Those that failed, with the service's name and what went wrong.
    pub(crate) failures: Vec<(&'static str, String)>,
}

/// Configures and starts all servers at once; returns when each listens.
pub(crate) fn start_servers(site: &Site) -> Result<Vec<Group>> {
    thread::scope(|scope| {
        let starting: Vec<_> =
            ALL.iter().map(|service| (service.name, scope.spawn(move || start(site, service)))).collect();
        let mut servers = Vec::new();
        let mut first_error = None;
        for (name, handle) in starting {
            match handle.join().map_err(|_| anyhow!("panicked"))?.with_context(|| format!("service {name}")) {
                Ok(groups) => servers.extend(groups),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(servers), Err)
    })
}

fn start(site: &Site, service: &Service) -> Result<Vec<Group>> {
    let log = site.log(service.name, "server");
    let mut groups = Vec::new();
    for program in (service.servers)(site)? {
        groups.push(site.server.spawn(&program, &log).with_context(|| program.line())?);
    }
    let deadline = Instant::now() + START_LIMIT;
    while !service
        .endpoints
        .iter()
        .filter(|endpoint| is_listener(endpoint))
        .all(|endpoint| listens(site, endpoint))
    {
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

/// Ports of data connections come and go; port 20 only calls out.
fn is_listener(endpoint: &Endpoint) -> bool {
    endpoint.mask == 0xffff && endpoint.port != 20
}

fn listens(site: &Site, endpoint: &Endpoint) -> bool {
    site.server.listens(endpoint.transport == Transport::Udp, endpoint.port)
}

/// Runs every client until the deadline; both address families in turns.
pub(crate) fn drive(site: &Site, deadline: Instant) -> Tally {
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for (number, service) in ALL.iter().enumerate() {
            let tally = &tally;
            scope.spawn(move || repeat(site, service, number, deadline, tally));
        }
    });
    tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn repeat(site: &Site, service: &Service, number: usize, deadline: Instant, tally: &Mutex<Tally>) {
    let log = site.log(service.name, "client");
    let interval = Duration::from_secs_f64(service.interval);
    // Services begin one after the other, not all in the same instant.
    let begin = Instant::now() + Duration::from_millis(40) * u32::try_from(number).unwrap_or_default();
    for round in 0.. {
        let start = begin + interval * round;
        // Also where the round before took longer than its interval: rounds are not made up for after the end.
        if start.max(Instant::now()) >= deadline || !site.interrupt.sleep_until(start) {
            return;
        }
        let round = round as usize;
        let peer = &PEERS[round % PEERS.len()];
        for program in (service.exchange)(site, peer, round / PEERS.len()) {
            let result = site.client.run(&program, &log, &site.interrupt);
            if site.interrupt.raised() {
                return;
            }
            let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            tally.runs += 1;
            if let Err(error) = result {
                tally.failures.push((service.name, format!("{error:#}: {}", tail(&log))));
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
