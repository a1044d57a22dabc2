//! Figures of one round.

use std::fmt;

use serde::Serialize;

use super::traffic::{Outcome, Stream, Way};

/// Of the calls' packets in one direction.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Calls {
    /// Half of them came sooner.
    pub p50_ms: f64,
    /// All but one in a hundred came sooner.
    pub p99_ms: f64,
    /// The latest.
    pub most_ms: f64,
    /// Mean of the interarrival jitter of RFC 3550, section 6.4.1.
    pub jitter_ms: f64,
    /// p99 of the delay above the least (RFC 5481, PDV).
    pub variation_ms: f64,
    /// Never came.
    pub lost_percent: f64,
}

/// Of the look-ups.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Names {
    /// Half of the answers came sooner.
    pub p50_ms: f64,
    /// All but one in a hundred came sooner.
    pub p99_ms: f64,
    /// Without an answer in two seconds.
    pub lost_percent: f64,
}

/// Of one round.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    up: Calls,
    down: Calls,
    /// Look-ups.
    pub names: Names,
    /// INVITE to 200, the slowest of the calls.
    pub slowest_setup_ms: f64,
    /// Payload that came to the far host.
    pub bulk_up_mbit: f64,
    /// Payload that came to the client.
    pub bulk_down_mbit: f64,
}

impl Figures {
    /// Of what happened.
    pub fn of(outcome: &Outcome) -> Self {
        let calls = |way| Calls::of(outcome.streams.iter().filter(|stream| stream.way == way));
        let mut answered: Vec<f64> = outcome.answers_ms.iter().flatten().copied().collect();
        answered.sort_by(f64::total_cmp);
        let lost = outcome.answers_ms.len() - answered.len();
        Self {
            up: calls(Way::Up),
            down: calls(Way::Down),
            names: Names {
                p50_ms: quantile(&answered, 0.5),
                p99_ms: quantile(&answered, 0.99),
                lost_percent: percent(lost, outcome.answers_ms.len()),
            },
            slowest_setup_ms: outcome.setups_ms.iter().copied().fold(0.0, f64::max),
            bulk_up_mbit: outcome.bulk_up_mbit,
            bulk_down_mbit: outcome.bulk_down_mbit,
        }
    }

    /// Client to far host.
    pub const fn up(&self) -> &Calls {
        &self.up
    }

    /// Far host to client.
    pub const fn down(&self) -> &Calls {
        &self.down
    }
}

impl Calls {
    fn of<'a>(streams: impl Iterator<Item = &'a Stream>) -> Self {
        let (mut delays, mut jitters, mut lost, mut sent) = (Vec::new(), Vec::new(), 0, 0);
        for stream in streams {
            let came: Vec<f64> = stream.delays_ms.iter().flatten().copied().collect();
            let mut jitter = 0.0;
            for pair in came.windows(2) {
                jitter += ((pair[1] - pair[0]).abs() - jitter) / 16.0;
                jitters.push(jitter);
            }
            sent += stream.delays_ms.len();
            lost += stream.delays_ms.len() - came.len();
            delays.extend(came);
        }
        delays.sort_by(f64::total_cmp);
        let p99_ms = quantile(&delays, 0.99);
        Self {
            p50_ms: quantile(&delays, 0.5),
            p99_ms,
            most_ms: quantile(&delays, 1.0),
            jitter_ms: jitters.iter().sum::<f64>() / jitters.len().max(1) as f64,
            variation_ms: p99_ms - quantile(&delays, 0.0),
            lost_percent: percent(lost, sent),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { up, down, names, .. } = self;
        write!(
            f,
            "calls p99 {:.2}/{:.2} ms, jitter {:.3}/{:.3}, lost {:.1}/{:.1} %; names p99 {:.1} ms, lost {:.1} %; \
             bulk {:.2}/{:.2} Mbit/s",
            up.p99_ms,
            down.p99_ms,
            up.jitter_ms,
            down.jitter_ms,
            up.lost_percent,
            down.lost_percent,
            names.p99_ms,
            names.lost_percent,
            self.bulk_up_mbit,
            self.bulk_down_mbit
        )
    }
}

/// Of sorted values; 0 of none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len().saturating_sub(1) as f64 * share).ceil() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

fn percent(part: usize, of: usize) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_packets_count_as_lost_and_not_as_quick() {
        let stream = |delays_ms: Vec<Option<f64>>| Stream { way: Way::Up, delays_ms };
        let calls = Calls::of([stream(vec![Some(1.0), None, Some(3.0), Some(2.0)])].iter());
        assert_eq!((calls.p50_ms, calls.p99_ms, calls.most_ms, calls.lost_percent), (2.0, 3.0, 3.0, 25.0));
        assert_eq!(calls.variation_ms, 2.0);
        // 2/16, then (1 - 2/16)/16 more.
        let second = 0.125 + (1.0 - 0.125) / 16.0;
        assert!((calls.jitter_ms - f64::midpoint(0.125, second)).abs() < 1e-9, "{calls:?}");
    }

    #[test]
    fn quantiles_are_of_what_there_is() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| quantile(&values, share)), [1.0, 3.0, 4.0, 4.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
