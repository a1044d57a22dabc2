//! The truth by construction: which ports of the server are whose, for each capture.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{
    deal::{BLOCK, Line, Round},
    seat::Player,
};
use crate::run::{
    net::{SERVER_V4, SERVER_V6},
    services::Transport,
};

/// Of one round.
#[derive(Serialize)]
pub(super) struct Truth {
    capture: String,
    random_ports: bool,
    line: Line,
    ports: Vec<Ports>,
    exchanges: usize,
    /// Name and error of what did not work.
    failures: Vec<(String, String)>,
}

/// Server ports whose flows are of one protocol.
#[derive(Serialize)]
struct Ports {
    transport: Transport,
    first: u16,
    last: u16,
    step: u16,
    label: String,
    category: String,
    name: String,
    /// Whether its answers were lost.
    silent: bool,
}

/// All that is written.
#[derive(Serialize)]
struct All<'a> {
    seed: u64,
    servers: [&'static str; 2],
    rounds: &'a [Truth],
}

impl Truth {
    /// Of a round that was played by these.
    pub(super) fn new(
        capture: String,
        round: &Round,
        serving: &[&Player],
        exchanges: usize,
        failures: Vec<(String, String)>,
    ) -> Self {
        let mut ports = Vec::new();
        for player in serving {
            let seat = &player.seat;
            let name = &seat.pair.name;
            ports.extend(seat.service.transport.iter().map(|&transport| Ports {
                transport,
                first: seat.port,
                last: seat.port,
                step: 1,
                label: seat.service.label.clone(),
                category: seat.service.category.clone(),
                name: name.clone(),
                silent: seat.silent,
            }));
            ports.extend(seat.service.block.iter().map(|block| Ports {
                transport: block.transport,
                first: seat.block,
                last: seat.block + BLOCK - 1,
                step: block.step,
                label: block.label.clone(),
                category: block.category.clone(),
                name: name.clone(),
                silent: seat.silent,
            }));
        }
        Self { capture, random_ports: round.random, line: round.line.clone(), ports, exchanges, failures }
    }
}

/// Writes the truth of all rounds so far.
pub(super) fn write(path: &Path, seed: u64, rounds: &[Truth]) -> Result<()> {
    let text = serde_json::to_string_pretty(&All { seed, servers: [SERVER_V4, SERVER_V6], rounds })?;
    fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
}
