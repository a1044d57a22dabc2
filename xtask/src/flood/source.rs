//! The source of a flood: programs of `ntc-ebpf/src/bin/flood.rs`, run by `BPF_PROG_TEST_RUN` with live frames.
//!
//! The kernel sends what the program makes straight out of the attacker's interface, without a socket, a copy or a
//! system call for each frame.

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, PerCpuArray},
    programs::{ProgramError, TestRun as _, TestRunAttrs, TestRunOptions, Xdp},
};
use rustix::{
    io::Errno,
    thread::{CpuSet, sched_setaffinity},
};

use super::kind::{Kind, TEMPLATE};
use crate::run::net::{self, Network};

/// Frames a call: some ten milliseconds, so that the flood ends when it shall.
const REPEAT: u32 = 32_768;
/// Frames that the kernel makes before it sends them.
const BATCH: u32 = 64;
/// No other program of the machine takes the processor away from the source: packets come in whether there is time
/// for them or not.
const PRIORITY: i32 = -20;
/// How long the last call may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The attacker, ready to send.
pub(crate) struct Source {
    namespace: String,
    programs: Arc<Ebpf>,
    template: Mutex<Array<MapData, [u64; TEMPLATE / 8]>>,
    made: PerCpuArray<MapData, u64>,
    receiver: [u8; 6],
    sender: [u8; 6],
}

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Frames given to the interface.
    pub(crate) frames: u64,
    /// Time taken.
    pub(crate) took: Duration,
}

impl Source {
    /// Loads the programs; frames will leave from the attacker's `eth0`.
    pub(crate) fn new(network: &Network, object: &Path) -> Result<Self> {
        let (ifindex, sender) = network.enter("attacker", || interface("eth0"))?;
        let (_, receiver) = network.enter("router", || interface(net::TO_ATTACKER))?;
        let bytes = fs::read(object).with_context(|| format!("reading {}", object.display()))?;
        let mut ebpf = EbpfLoader::new().override_global("IFINDEX", &ifindex, true).load(&bytes)?;
        for (name, program) in ebpf.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load().with_context(|| format!("loading {name}"))?;
        }
        let made = PerCpuArray::try_from(ebpf.take_map("MADE").context("no map MADE")?)?;
        let template = Array::try_from(ebpf.take_map("TEMPLATE").context("no map TEMPLATE")?)?;
        let (namespace, programs) = (network.namespace("attacker"), Arc::new(ebpf));
        let template = Mutex::new(template);
        Ok(Self { namespace, programs, template, made, receiver, sender })
    }

    /// Sends frames of this kind, as many as one processor can, until the flood is stopped.
    pub(crate) fn start(&self, kind: Kind) -> Result<Flood<'_>> {
        let template = words(&kind.template(self.receiver, self.sender)?);
        self.template.lock().unwrap_or_else(PoisonError::into_inner).set(0, template, 0)?;
        let programs = Arc::clone(&self.programs);
        let stop = Arc::new(AtomicBool::new(false));
        let (namespace, flag) = (self.namespace.clone(), Arc::clone(&stop));
        let before = total(&self.made)?;
        let start = Instant::now();
        let thread = thread::spawn(move || send(&namespace, &programs, kind, &flag));
        Ok(Flood { source: self, stop, thread: Some(thread), before, start })
    }
}

/// A flood under way; dropping it ends it.
pub(crate) struct Flood<'a> {
    source: &'a Source,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
    before: u64,
    start: Instant,
}

impl Flood<'_> {
    /// An error if the source has failed.
    pub(crate) fn check(&mut self) -> Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) { self.join() } else { Ok(()) }
    }

    /// Ends it.
    pub(crate) fn stop(mut self) -> Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + STOP_LIMIT;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            ensure!(Instant::now() < deadline, "the source of the flood does not end");
            thread::sleep(Duration::from_millis(1));
        }
        self.join()?;
        Ok(Sent { frames: total(&self.source.made)? - self.before, took: self.start.elapsed() })
    }

    fn join(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        super::joined(thread)
    }
}

impl Drop for Flood<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // An error would have been seen by `check` or `stop`.
        let _ = self.join();
    }
}

/// Sends from the attacker's namespace. All from one processor, the last: as a network card with one queue would
/// bring it in.
fn send(namespace: &str, programs: &Ebpf, kind: Kind, stop: &AtomicBool) -> Result<()> {
    let program: &Xdp = programs.program(kind.program()).context("no such program")?.try_into()?;
    net::enter(namespace)?;
    let mut last = CpuSet::new();
    last.set(thread::available_parallelism()?.get() - 1);
    sched_setaffinity(None, &last).context("choosing a processor")?;
    super::prefer(PRIORITY)?;
    let frame = vec![0; kind.frame_len()];
    while !stop.load(Ordering::Relaxed) {
        let run = program.test_run(TestRunOptions {
            data_in: Some(&frame),
            repeat: REPEAT,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        });
        match run {
            Err(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(EINTR) => {}
            run => {
                run.context("sending live frames")?;
            }
        }
    }
    Ok(())
}

/// A signal came; whoever has to do with it looks at its flag.
const EINTR: i32 = Errno::INTR.raw_os_error();

/// Number and address of an interface of this thread's network namespace.
fn interface(name: &str) -> Result<(u32, [u8; 6])> {
    // /sys shows the namespace of its mount, netlink and ioctl that of the caller; `ip` asks by netlink.
    let text = crate::run::process::output(
        std::process::Command::new("ip").args(["-o", "link", "show", "dev", name]),
    )?;
    let index = text.split(':').next().and_then(|index| index.trim().parse().ok());
    let mut words = text.split_whitespace().skip_while(|word| *word != "link/ether").skip(1);
    let address = words.next().unwrap_or_default();
    let bytes: Vec<u8> = address.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    index.zip(bytes.try_into().ok()).with_context(|| format!("unexpected: {text}"))
}

fn words(template: &[u8; TEMPLATE]) -> [u64; TEMPLATE / 8] {
    let mut words = [0; TEMPLATE / 8];
    for (word, bytes) in words.iter_mut().zip(template.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}

fn total(made: &PerCpuArray<MapData, u64>) -> Result<u64> {
    Ok(made.get(&0, 0)?.iter().sum())
}
