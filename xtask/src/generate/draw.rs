//! Numbers drawn by the seed: the same seed and the same place give the same numbers, whatever else is drawn.

/// A stream of numbers (SplitMix64).
#[derive(Clone)]
pub(crate) struct Draw(u64);

impl Draw {
    /// The stream of a place, such as a round and a service, under a seed.
    pub(crate) fn new(seed: u64, place: &str) -> Self {
        // FNV-1a: the place only has to lead somewhere else.
        let hash = place.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut draw = Self(hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        draw.next();
        draw
    }

    /// The next number, all bits random.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1, without 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((self.share() * end as f64) as usize).min(end.saturating_sub(1))
    }

    /// From `low` to `high`, each magnitude as likely as the next.
    pub(crate) fn log(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.share())
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Puts them in another order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Draw;

    #[test]
    fn a_place_has_its_own_numbers_and_always_the_same() {
        let numbers = |seed, place| {
            let mut draw = Draw::new(seed, place);
            [draw.next(), draw.next()]
        };
        assert_eq!(numbers(1, "round 3"), numbers(1, "round 3"));
        assert_ne!(numbers(1, "round 3"), numbers(1, "round 4"));
        assert_ne!(numbers(1, "round 3"), numbers(2, "round 3"));
    }

    #[test]
    fn draws_keep_their_bounds() {
        let mut draw = Draw::new(7, "bounds");
        for _ in 0..10_000 {
            assert!(draw.below(3) < 3);
            assert!((10.0..=1000.0).contains(&draw.log(10.0, 1000.0)));
        }
        let mut items: Vec<_> = (0..50).collect();
        draw.shuffle(&mut items);
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
