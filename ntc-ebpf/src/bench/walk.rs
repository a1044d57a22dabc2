//! Which flow the next packet belongs to; shared with the benchmark's user space.

/// The value of `WALK`. A packet belongs to flow `first + n & mask`, where `n` is random or counts up.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// The last `n`; of a random walk the generator's state, which may not be 0.
    pub state: u64,
    /// 1: random. 0: each flow in turn.
    pub random: u64,
    /// Number of the first flow.
    pub first: u64,
    /// Flows less one; their number is a power of two.
    pub mask: u64,
}

impl Walk {
    /// Number of the next packet's flow.
    #[inline(always)]
    pub fn step(&mut self) -> u32 {
        let n = if self.random != 0 {
            // xorshift64* (Vigna 2016): the upper half is the better one.
            let mut x = self.state;
            x ^= x >> 12;
            x ^= x << 25;
            x ^= x >> 27;
            self.state = x;
            x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
        } else {
            self.state += 1;
            self.state
        };
        (self.first + (n & self.mask)) as u32
    }
}
