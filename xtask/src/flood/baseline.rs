//! The same floods on the same network while no agent is there: what the machine itself loses.
//!
//! A program that does nothing stands where ntc's would. It makes packets take the same way: a veth without a program
//! hands them to the backlog of its processor, which holds 1,000; with one it keeps them in a queue of 256, from which
//! the kernel reads in batches (`drivers/net/veth.c`, `VETH_RING_SIZE`). The source of the flood needs that too: its
//! frames get into a veth only where the other end reads in this way.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    programs::{Xdp, xdp::XdpMode},
};

use super::{DRAIN, SAMPLE, kind::Kind, live::Live, report::Unwatched, source::Source};
use crate::run::{
    net::{Network, TO_ATTACKER, TO_CLIENT, TO_SERVER},
    process::Interrupt,
};

/// The longest flood without ntc: loss and round trips are steady soon.
const LONGEST: Duration = Duration::from_secs(10);

/// The router with a program that does nothing on all its interfaces, until this is dropped.
pub(crate) struct Baseline(#[expect(dead_code, reason = "holds the program and where it is attached")] Ebpf);

impl Baseline {
    /// Loads the program of the sources' object and attaches it natively.
    pub(crate) fn new(network: &Network, object: &Path) -> Result<Self> {
        let bytes = fs::read(object).with_context(|| format!("reading {}", object.display()))?;
        let mut ebpf = EbpfLoader::new().load(&bytes)?;
        let program: &mut Xdp = ebpf.program_mut("pass").context("no program pass")?.try_into()?;
        program.load()?;
        network.enter("router", || {
            for interface in [TO_CLIENT, TO_SERVER, TO_ATTACKER] {
                program.attach(interface, XdpMode::Driver)?;
            }
            Ok(())
        })?;
        Ok(Self(ebpf))
    }

    /// What the live flows lose in a flood of this kind.
    pub(crate) fn flood(
        &self,
        source: &Source,
        live: &mut Live,
        kind: Kind,
        duration: Duration,
        number: u32,
        interrupt: &Interrupt,
    ) -> Result<Unwatched> {
        let mut flood = source.start(kind)?;
        live.begin(number);
        let end = Instant::now() + duration.min(LONGEST);
        while interrupt.sleep_until((Instant::now() + SAMPLE).min(end)) && Instant::now() < end {
            flood.check()?;
            live.check()?;
        }
        live.begin(0);
        interrupt.check()?;
        let sent = flood.stop()?;
        interrupt.sleep_until(Instant::now() + DRAIN);
        let offered_per_s = sent.frames as f64 / sent.took.as_secs_f64();
        Ok(Unwatched { offered_per_s, forwarding: live.take(number).into() })
    }
}
