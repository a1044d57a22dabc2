//! What a round is, by the seed: the line's nature, which services meet, and on which ports.

use serde::Serialize;

use super::{
    draw::Draw,
    service::{Pair, Service},
};
use crate::run::services::Transport;

/// Ports of a block.
pub(super) const BLOCK: u16 = 64;
/// Share of the random ports that are the standard ports of other services: ports that lie.
const LYING: f64 = 0.3;
/// Share of the services over UDP whose answers do not arrive, on lines behind the capture.
const SILENT: f64 = 0.2;

/// The line between client and server.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    /// 4 or 6.
    pub(super) ip_version: u8,
    /// Round-trip time without load.
    pub(super) rtt_ms: f64,
    /// Speed each way.
    pub(super) mbit_s: f64,
    /// Share of frames that are lost, each way.
    pub(super) loss: f64,
    /// Largest packet of both hosts.
    pub(super) mtu: u16,
    /// Whether the line is the client's, so that the capture is near the server; otherwise near the client.
    pub(super) near_server: bool,
}

/// A server with clients, and where it serves in a round.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    /// The service.
    pub(super) service: Service,
    /// Which pair of it.
    pub(super) pair: Pair,
    /// Its port, over TCP, UDP or both.
    pub(super) port: u16,
    /// First port of its block.
    pub(super) block: u16,
    /// Whether the line loses what it sends, as a firewall does or where no server is: clients ask again, or give up.
    pub(super) silent: bool,
}

impl Seat {
    /// Its ports over UDP, first and last.
    pub(super) fn udp_ports(&self) -> impl Iterator<Item = (u16, u16)> {
        let own = self.service.transport.contains(&Transport::Udp).then_some((self.port, self.port));
        let block = self.service.block.as_ref().filter(|block| block.transport == Transport::Udp);
        own.into_iter().chain(block.map(|_| (self.block, self.block + BLOCK - 1)))
    }
}

/// A network for some seconds.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// Whether the services serve on ports of their own choice instead of the standard ones.
    pub(super) random: bool,
    /// The line.
    pub(super) line: Line,
    /// Who serves.
    pub(super) seats: Vec<Seat>,
}

impl Line {
    fn draw(draw: &mut Draw, ip_version: u8) -> Self {
        let loss = if draw.share() < 0.5 { 0.0 } else { draw.log(0.0005, 0.03) };
        Self {
            ip_version,
            rtt_ms: draw.log(0.05, 200.0),
            mbit_s: draw.log(2.0, 500.0),
            loss,
            mtu: *draw.pick(&[1500, 1500, 1500, 1500, 1492, 1480, 1440, 1420, 1400, 1280, 9000]),
            near_server: draw.share() < 0.3,
        }
    }
}

/// The rounds: standard and random ports in turns, every third over IPv6. Each pair is dealt as often as the others, as far
/// as it can meet those that are there: no two on one port, and none twice.
pub(super) fn rounds(services: &[Service], seed: u64, rounds: usize, hand: usize) -> Vec<Round> {
    let mut draw = Draw::new(seed, "deal");
    let pairs: Vec<(&Service, &Pair)> =
        services.iter().flat_map(|service| service.pair.iter().map(move |pair| (service, pair))).collect();
    // How often each was dealt on standard and on random ports.
    let mut dealt = vec![[0_usize; 2]; pairs.len()];
    let standard: Vec<u16> = services.iter().map(|service| service.port).collect();
    (0..rounds)
        .map(|number| {
            let random = number % 2 == 1;
            let ip_version = if number % 6 >= 4 { 6 } else { 4 };
            let line = Line::draw(&mut Draw::new(seed, &format!("line {number}")), ip_version);
            let mut order: Vec<usize> = (0..pairs.len()).collect();
            draw.shuffle(&mut order);
            order.sort_by_key(|&index| dealt[index][usize::from(random)]);
            let mut taken = Taken::default();
            let mut seats = Vec::new();
            for index in order {
                let (service, pair) = pairs[index];
                if seats.len() == hand {
                    break;
                }
                if (ip_version == 6 && !pair.ipv6) || (random && !pair.movable) {
                    continue;
                }
                let port =
                    if random { taken.random(service, &standard, &mut draw) } else { Some(service.port) };
                let Some(port) = port.filter(|&port| taken.is_free(service, port)) else { continue };
                taken.ports.extend(service.transport.iter().map(|&transport| (transport, port)));
                let block = taken.block(&mut draw);
                dealt[index][usize::from(random)] += 1;
                // A stream of its own: the rest stays as it was dealt before there was silence.
                let share = Draw::new(seed, &format!("silence {number} {}", pair.name)).share();
                let silent = service.transport == [Transport::Udp] && !line.near_server && share < SILENT;
                seats.push(Seat { service: service.clone(), pair: pair.clone(), port, block, silent });
            }
            Round { random, line, seats }
        })
        .collect()
}

/// Ports that are in use in a round.
#[derive(Default)]
struct Taken {
    ports: Vec<(Transport, u16)>,
    blocks: Vec<u16>,
}

impl Taken {
    fn is_free(&self, service: &Service, port: u16) -> bool {
        service.transport.iter().all(|&transport| !self.ports.contains(&(transport, port)))
    }

    /// Not among those from which the kernel gives clients theirs, nor in a block.
    fn random(&self, service: &Service, standard: &[u16], draw: &mut Draw) -> Option<u16> {
        (0..100)
            .map(|_| {
                if draw.share() < LYING {
                    *draw.pick(standard)
                } else {
                    draw.log(1025.0, FIRST_BLOCK.into()) as u16
                }
            })
            .find(|&port| port != service.port && self.is_free(service, port))
    }

    fn block(&mut self, draw: &mut Draw) -> u16 {
        loop {
            let block =
                FIRST_BLOCK + BLOCK * draw.below(usize::from((END_OF_BLOCKS - FIRST_BLOCK) / BLOCK)) as u16;
            if !self.blocks.contains(&block) {
                self.blocks.push(block);
                return block;
            }
        }
    }
}

/// Where the blocks begin.
const FIRST_BLOCK: u16 = 24_576;
/// Where the ports begin that the kernel gives to clients.
const END_OF_BLOCKS: u16 = 32_768;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::generate::{DESCRIPTIONS, service};

    fn services() -> Vec<Service> {
        service::read(&crate::workspace::root().join(DESCRIPTIONS)).unwrap()
    }

    #[test]
    fn a_seed_gives_the_same_rounds_and_another_gives_others() {
        let services = services();
        let show = |seed| format!("{:?}", rounds(&services, seed, 6, 12));
        assert_eq!(show(1), show(1));
        assert_ne!(show(1), show(2));
    }

    #[test]
    fn no_two_services_of_a_round_share_a_port() {
        for round in rounds(&services(), 3, 20, 14) {
            let mut seen = BTreeSet::new();
            for seat in &round.seats {
                for transport in &seat.service.transport {
                    assert!(
                        seen.insert((transport.number(), seat.port)),
                        "{} on {}",
                        seat.pair.name,
                        seat.port
                    );
                }
                assert!(seat.pair.ipv6 || round.line.ip_version == 4);
            }
        }
    }

    #[test]
    fn only_services_over_udp_are_silent_and_most_answer() {
        let rounds = rounds(&services(), 7, 50, 14);
        let seats = rounds.iter().flat_map(|round| round.seats.iter().map(move |seat| (round, seat)));
        let (silent, heard): (Vec<_>, Vec<_>) = seats
            .filter(|(_, seat)| seat.service.transport == [Transport::Udp])
            .partition(|(_, seat)| seat.silent);
        assert!(!silent.is_empty() && heard.len() > 3 * silent.len());
        // What the capture sees before it is lost would be an answer.
        assert!(silent.iter().all(|(round, seat)| !round.line.near_server && seat.udp_ports().count() > 0));
        assert!(
            rounds
                .iter()
                .flat_map(|round| &round.seats)
                .all(|seat| { !seat.silent || seat.service.transport == [Transport::Udp] })
        );
    }

    #[test]
    fn each_pair_is_dealt_on_standard_and_on_random_ports() {
        let services = services();
        // Every other round is of standard ports, and TCP's port 80, of which each has one, is that of 29 pairs.
        let rounds = rounds(&services, 5, 70, 14);
        for pair in services.iter().flat_map(|service| &service.pair) {
            for random in [false, true] {
                let dealt = rounds.iter().any(|round| {
                    round.random == random && round.seats.iter().any(|seat| seat.pair.name == pair.name)
                });
                assert!(dealt || (random && !pair.movable), "{} random: {random}", pair.name);
            }
        }
    }
}
