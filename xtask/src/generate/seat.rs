//! A seat as the live network drives it: files, servers, and clients by the seed's schedule.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    deal::{BLOCK, Line, Seat},
    draw::Draw,
    script::fill,
};
use crate::{
    build,
    run::{
        host::Program,
        net::{CLIENT_V4, CLIENT_V6, SERVER_V4, SERVER_V6},
        services::{Site, Transport},
        traffic::Workload,
    },
    setup, workspace,
};

/// Exchanges that are planned: more than anybody waits for.
const PLANNED: usize = 2000;
/// Servers that do not show in the socket tables are given this time.
const HEAD_START: Duration = Duration::from_secs(2);

/// A pair at its place, with its own numbers.
pub(super) struct Player {
    /// The place.
    pub(super) seat: Seat,
    seed: u64,
    place: String,
    offsets: Vec<Duration>,
    values: Vec<(&'static str, String)>,
}

impl Player {
    /// At a place of the round of this number. `dir` is the run's temporary folder.
    pub(super) fn new(seat: Seat, seed: u64, round: usize, line: &Line, dir: &Path) -> Result<Self> {
        let place = format!("round {round} {}", seat.pair.name);
        let mut draw = Draw::new(seed, &place);
        let mut offset = if seat.pair.listens { Duration::ZERO } else { HEAD_START };
        let offsets = (0..PLANNED)
            .map(|_| {
                offset += Duration::from_secs_f64(seat.pair.pause * draw.log(0.2, 5.0));
                offset
            })
            .collect();
        let six = line.ip_version == 6;
        let (address, own) = if six { (SERVER_V6, CLIENT_V6) } else { (SERVER_V4, CLIENT_V4) };
        let bracketed = |address: &str| if six { format!("[{address}]") } else { address.to_owned() };
        let python = setup::GENERATING.python().display().to_string();
        let values = vec![
            ("dir", dir.join(&seat.pair.name).display().to_string()),
            ("files", dir.join("files").display().to_string()),
            ("address", address.to_owned()),
            ("host", bracketed(address)),
            ("own", own.to_owned()),
            ("own_host", bracketed(own)),
            ("version", line.ip_version.to_string()),
            ("port", seat.port.to_string()),
            ("block", seat.block.to_string()),
            ("block_end", (seat.block + BLOCK - 1).to_string()),
            ("traffic", format!("{python} -m traffic")),
            ("peer", format!("--host {address} --port {} --files {}/files", seat.port, dir.display())),
            ("python", python),
            // Debian's, as the image has it: what a machine has besides may be of another version.
            ("node", format!("/usr/bin/node {}", workspace::root().join("models/traffic").display())),
            ("rust", build::traffic_program()?.display().to_string()),
        ];
        Ok(Self { seat, seed, place, offsets, values })
    }

    fn program(&self, line: &str, values: &[(&'static str, String)], draw: &mut Draw) -> Program {
        let line = fill(line, values, draw);
        let folder = &self.values[0].1;
        // A line of its own: what the shell starts in the background must not take the change of folder with it.
        Program::shell(format!("cd {folder} || exit 1\n{line}"))
            .env("PYTHONPATH", workspace::root().join("models").display().to_string())
            .env("PYTHONWARNINGS", "ignore")
            .env("NODE_PATH", setup::SPEAKERS.modules().display().to_string())
    }
}

impl Workload for Player {
    fn name(&self) -> &str {
        &self.seat.pair.name
    }

    fn listeners(&self) -> Vec<(Transport, u16)> {
        let transports = self.seat.service.transport.iter().filter(|_| self.seat.pair.listens);
        transports.map(|&transport| (transport, self.seat.port)).collect()
    }

    fn servers(&self, site: &Site) -> Result<Vec<Program>> {
        let pair = &self.seat.pair;
        let mut draw = Draw::new(self.seed, &format!("{} server", self.place));
        site.folder(&pair.name)?;
        for file in &pair.files {
            site.write(&pair.name, &file.path, fill(&file.text, &self.values, &mut draw))?;
        }
        for line in &pair.prepare {
            let program = self.program(line, &self.values, &mut draw);
            site.prepare(&pair.name, &program)
                .with_context(|| crate::run::traffic::tail(&site.log(&pair.name, "prepare")))?;
        }
        Ok(pair.server.iter().map(|line| self.program(line, &self.values, &mut draw)).collect())
    }

    fn offset(&self, round: usize) -> Duration {
        self.offsets[round.min(PLANNED - 1)]
    }

    fn exchange(&self, _: &Site, round: usize) -> Vec<Program> {
        let mut draw = Draw::new(self.seed, &format!("{} exchange {round}", self.place));
        let line = draw.pick(&self.seat.pair.client).clone();
        let mut values = self.values.clone();
        values.push(("seed", (draw.next() >> 32).to_string()));
        values.push(("n", round.to_string()));
        vec![self.program(&line, &values, &mut draw)]
    }
}

/// Files to serve and to send: `1` to `12`, from a hundred bytes to three megabytes, noise and text in turns.
pub(super) fn write_files(folder: &Path, draw: &mut Draw) -> Result<()> {
    fs::create_dir_all(folder)?;
    for number in 1..=12_u32 {
        let length = if number < 11 { draw.log(100.0, 300_000.0) } else { draw.log(3e5, 3e6) };
        let text = number % 2 == 0;
        let byte = |draw: &mut Draw| {
            let byte = draw.next().to_le_bytes()[0];
            match (text, byte % 8) {
                (false, _) => byte,
                (true, 0) => b' ',
                (true, _) => b'a' + byte % 13,
            }
        };
        let content: Vec<u8> = (0..length as usize).map(|_| byte(draw)).collect();
        fs::write(folder.join(number.to_string()), content)?;
    }
    Ok(())
}
