//! How often an address may ask: a bucket of tokens each, filled at a steady rate (the leaky bucket as a meter).

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Addresses that are remembered at one time.
const ADDRESSES: usize = 4096;

/// A bucket for each address.
#[derive(Debug)]
pub struct Rates {
    /// Requests a second.
    rate: f64,
    /// Requests at once.
    burst: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rates {
    /// So many requests a second, and twice as many at once.
    pub fn new(rate: u32) -> Self {
        let rate = f64::from(rate);
        Self { rate, burst: rate * 2.0, buckets: Mutex::default() }
    }

    /// Whether the address may ask now.
    pub fn admit(&self, address: IpAddr) -> bool {
        self.admit_at(address, Instant::now())
    }

    fn admit_at(&self, address: IpAddr, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = |bucket: &Bucket| {
            let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
            passed.mul_add(self.rate, bucket.left).min(self.burst)
        };
        let address = network(address);
        if buckets.len() >= ADDRESSES && !buckets.contains_key(&address) {
            // A full bucket is as good as none.
            buckets.retain(|_, bucket| filled(bucket) < self.burst);
            if buckets.len() >= ADDRESSES {
                return false;
            }
        }
        let bucket = buckets.entry(address).or_insert(Bucket { left: self.burst, at: now });
        *bucket = Bucket { left: filled(bucket), at: now };
        let admitted = bucket.left >= 1.0;
        if admitted {
            bucket.left -= 1.0;
        }
        admitted
    }
}

/// Who has one IPv6 address has its /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_address_has_its_own_rate() {
        let (rates, start) = (Rates::new(10), Instant::now());
        let a: IpAddr = "192.0.2.1".parse().expect("an address");
        let b: IpAddr = "192.0.2.2".parse().expect("an address");
        let admitted = |address, at| (0..100).filter(|_| rates.admit_at(address, at)).count();
        assert_eq!(admitted(a, start), 20);
        assert_eq!(admitted(b, start), 20);
        assert_eq!(admitted(a, start + Duration::from_millis(500)), 5);
        assert_eq!(admitted(a, start + Duration::from_secs(60)), 20);
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory() {
        let (rates, start) = (Rates::new(1), Instant::now());
        for n in 0..100_000u32 {
            rates.admit_at(IpAddr::V4(n.into()), start);
        }
        assert!(rates.buckets.lock().expect("no thread died").len() <= ADDRESSES);
        let one: IpAddr = "2001:db8::1".parse().expect("an address");
        let other: IpAddr = "2001:db8::2".parse().expect("an address");
        assert_eq!(network(one), network(other));
    }
}
