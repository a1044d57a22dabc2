//! A long cable: two TAP devices and this process between them, which delays, loses and spaces out frames. Where the kernel
//! has netem it would do; many kernels do not.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{deal::Line, draw::Draw};

/// Longest queue before the line, in time: later frames are dropped.
const QUEUE: Duration = Duration::from_millis(250);
/// The largest frame, and more.
const FRAME: usize = 16_384;
/// How often the end is looked for.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The cable at work; dropping it cuts it.
pub(super) struct Wire {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Wire {
    /// Joins the two ends as the line says. What is lost depends on the seed and on the order of the frames.
    pub(super) fn start([a, b]: [File; 2], line: &Line, draw: &Draw) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (from, to) in [(a.try_clone()?, b.try_clone()?), (b, a)] {
            let (sender, receiver) = channel();
            let (line, draw, flag) = (line.clone(), draw.clone(), Arc::clone(&stop));
            threads.push(thread::spawn(move || take(from, &line, draw, &sender, &flag)));
            threads.push(thread::spawn(move || give(to, &receiver)));
        }
        Ok(Self { stop, threads })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

/// Takes frames in until the end and says when each arrives.
fn take(mut from: File, line: &Line, mut draw: Draw, to: &Sender<(Instant, Vec<u8>)>, stop: &AtomicBool) {
    let delay = Duration::from_secs_f64(line.rtt_ms / 2e3);
    let mut frame = vec![0; FRAME];
    let mut sent = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match poll(&mut [PollFd::new(&from, PollFlags::IN)], Some(&LOOK)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return,
        }
        // A device that is down, or gone with its namespace, fails: the next look tells.
        let Ok(length) = from.read(&mut frame) else {
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        let now = Instant::now();
        let begin = sent.max(now);
        if begin - now > QUEUE || draw.share() < line.loss {
            continue;
        }
        sent = begin + Duration::from_secs_f64(length as f64 * 8e-6 / line.mbit_s);
        if to.send((sent + delay, frame[..length].to_vec())).is_err() {
            return;
        }
    }
}

/// Hands frames over when they arrive.
fn give(mut to: File, from: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((arrival, frame)) = from.recv() {
        thread::sleep(arrival.saturating_duration_since(Instant::now()));
        // As above.
        let _ = to.write_all(&frame);
    }
}
