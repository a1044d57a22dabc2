//! What a session works with, as `Work` of `__init__.py` has it for those of Python.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    thread,
    time::Duration,
};

/// A session's place, and draws by the seed.
#[derive(Clone)]
pub struct Work {
    /// Where the server is.
    pub at: SocketAddr,
    /// Folder of the run's files.
    pub files: PathBuf,
    /// What only one function needs.
    pub more: Vec<String>,
    state: u32,
}

impl Work {
    pub fn new(host: IpAddr, port: u16, files: PathBuf, seed: u32, more: Vec<String>) -> Self {
        Self { at: SocketAddr::new(host, port), files, more, state: seed }
    }

    /// The same place with draws of its own, which this number and the seed decide.
    pub fn with(&self, number: u32) -> Self {
        Self { state: self.state ^ number, ..self.clone() }
    }

    /// From 0 to 1, by the seed (mulberry32).
    pub fn draw(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x6d2b_79f5);
        let mut mixed = (self.state ^ (self.state >> 15)).wrapping_mul(self.state | 1);
        mixed ^= mixed.wrapping_add((mixed ^ (mixed >> 7)).wrapping_mul(mixed | 61));
        f64::from(mixed ^ (mixed >> 14)) / 4_294_967_296.0
    }

    /// Whether something of this probability comes about.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.draw() < probability
    }

    /// A whole number, both ends included.
    pub fn int(&mut self, low: u32, high: u32) -> u32 {
        low + (self.draw() * (f64::from(high - low) + 1.0)) as u32
    }

    pub fn pick<T: Clone, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.int(0, N as u32 - 1) as usize].clone()
    }

    /// Bytes, each magnitude as likely as the next.
    pub fn size(&mut self, low: u32, high: u32) -> usize {
        self.log(f64::from(low), f64::from(high)) as usize
    }

    /// A number of things to do, small ones more often.
    pub fn count(&mut self, low: u32, high: u32) -> usize {
        if low > 0 { self.size(low, high + 1) } else { self.size(1, high + 2) - 1 }
    }

    /// One, or some.
    pub fn few(&mut self, high: u32) -> usize {
        if self.happens(0.67) { 1 } else { self.count(1, high) }
    }

    pub fn bytes(&mut self, low: u32, high: u32) -> Vec<u8> {
        let length = self.size(low, high);
        (0..length).map(|_| self.int(0, 255) as u8).collect()
    }

    pub fn text(&mut self, low: u32, high: u32) -> String {
        let length = self.size(low, high);
        (0..length).map(|_| char::from(self.pick(*b"abcdefghijklmnop qrst uvwxyz .,"))).collect()
    }

    pub fn word(&mut self) -> String {
        let length = self.int(3, 14);
        (0..length).map(|_| char::from(self.int(97, 122) as u8)).collect()
    }

    /// Seconds as a user or a device lets pass.
    pub fn pause(&mut self, low: f64, high: f64) -> Duration {
        Duration::from_secs_f64(self.log(low, high))
    }

    /// Waits so long.
    pub fn think(&mut self, low: f64, high: f64) {
        thread::sleep(self.pause(low, high));
    }

    fn log(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.draw())
    }
}
