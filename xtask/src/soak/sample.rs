//! One look at the agent, and what a row of them says: flat, or growing.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::flood::watch::Cost;

/// The agent at one moment.
#[derive(Clone, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) at_s: f64,
    /// What it holds.
    pub(crate) cost: Cost,
    /// Packets accounted.
    pub(crate) seen: u64,
    /// Flows begun.
    pub(crate) new_flows: u64,
    /// Packets lost by ntc.
    pub(crate) dropped: u64,
    /// Whether each packet went one way.
    pub(crate) ledger_closes: bool,
    /// Flows that were labelled.
    pub(crate) labelled: u64,
    /// Events that found the queue to the output full.
    pub(crate) events_lost: u64,
    /// Of the flows that go on all the time, those that still have the label and the class of the start.
    pub(crate) kept: usize,
}

impl Sample {
    /// From what `ntc stats` and the agent's latest line say.
    pub(super) fn new(
        at: Duration,
        cost: Cost,
        stats: &Value,
        closes: bool,
        line: &Value,
        kept: usize,
    ) -> Self {
        let number = |value: &Value, path| value.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        Self {
            at_s: at.as_secs_f64(),
            cost,
            seen: number(stats, "/ledger/seen"),
            new_flows: number(stats, "/ledger/new_flows"),
            dropped: number(stats, "/ledger/dropped"),
            ledger_closes: closes,
            labelled: number(line, "/labelled"),
            events_lost: number(line, "/events_lost"),
            kept,
        }
    }
}

/// What a number does in the last three quarters of the run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Trend {
    /// Straight line fitted by least squares: growth a minute.
    pub(crate) per_minute: f64,
    /// Smallest value.
    pub(crate) min: u64,
    /// Largest value.
    pub(crate) max: u64,
    /// How much larger the smallest value of its second half is than that of its first: what a leak adds to, and
    /// what the agent has open for a moment does not.
    pub(crate) floor_growth: i64,
    /// Length of that part, in minutes.
    pub(crate) minutes: f64,
}

impl Trend {
    /// Of a number of the samples. The first quarter is left out: tables fill, allocators settle.
    pub(super) fn of(samples: &[Sample], pick: impl Fn(&Sample) -> u64) -> Self {
        let settled = &samples[samples.len() / 4..];
        let points: Vec<_> = settled.iter().map(|sample| (sample.at_s / 60.0, pick(sample))).collect();
        let count = points.len().max(1) as f64;
        let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
        let mean_y = points.iter().map(|point| point.1 as f64).sum::<f64>() / count;
        let squares: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let products: f64 = points.iter().map(|(x, y)| (x - mean_x) * (*y as f64 - mean_y)).sum();
        let (first, last) = (points.first(), points.last());
        let halves = points.split_at(points.len() / 2);
        let [floor_before, floor_after] =
            [halves.0, halves.1].map(|half| half.iter().map(|point| point.1).min().unwrap_or_default());
        Self {
            per_minute: if squares > 0.0 { products / squares } else { 0.0 },
            min: points.iter().map(|point| point.1).min().unwrap_or_default(),
            max: points.iter().map(|point| point.1).max().unwrap_or_default(),
            floor_growth: if halves.0.is_empty() { 0 } else { floor_after as i64 - floor_before as i64 },
            minutes: last.zip(first).map_or(0.0, |(last, first)| last.0 - first.0),
        }
    }

    /// Growth that may be noise, in KiB a minute: a fixed one, or in a short run what comes to 4 MiB over all of it.
    /// `None` where the run is too short to tell growth from the start.
    pub(super) fn allowed_kib(&self) -> Option<f64> {
        const STEADY: f64 = 100.0;
        const WHOLE: f64 = 4096.0;
        /// Three quarters of ten minutes.
        const SHORTEST: f64 = 7.0;
        (self.minutes >= SHORTEST).then(|| STEADY.max(WHOLE / self.minutes))
    }

    /// Whether memory in KiB is flat: it does not grow faster, and its largest is near its smallest.
    pub(super) fn is_flat(&self) -> bool {
        const SPREAD: f64 = 1.25;
        self.allowed_kib().is_none_or(|allowed| self.per_minute <= allowed)
            && self.max as f64 <= self.min as f64 * SPREAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rss: impl Fn(f64) -> f64) -> Vec<Sample> {
        let cost = Cost { rss_kib: 0, maps_kib: 0, descriptors: 20, threads: 6 };
        let sample = |number: u32| {
            let at = Duration::from_secs(10) * number;
            let mut sample = Sample::new(at, cost, &Value::Null, true, &Value::Null, 0);
            sample.cost.rss_kib = rss(at.as_secs_f64() / 60.0) as u64;
            sample
        };
        (0..360).map(sample).collect()
    }

    fn trend(rss: impl Fn(f64) -> f64) -> Trend {
        Trend::of(&samples(rss), |sample| sample.cost.rss_kib)
    }

    #[test]
    fn a_leak_is_seen_and_a_start_is_not() {
        let leak = trend(|minutes| 60_000.0 + 150.0 * minutes);
        assert!((leak.per_minute - 150.0).abs() < 1.0 && !leak.is_flat(), "{leak:?}");
        let start = trend(|minutes| if minutes < 10.0 { 40_000.0 } else { 60_000.0 });
        assert!(start.is_flat() && start.min == 60_000, "{start:?}");
        let waves = trend(|minutes| 60_000.0 + 2000.0 * (minutes * 3.0).sin());
        assert!(waves.is_flat(), "{waves:?}");
        let spikes = trend(|minutes| if (30.0..31.0).contains(&minutes) { 80_000.0 } else { 60_000.0 });
        assert!(!spikes.is_flat(), "{spikes:?}");
    }

    #[test]
    fn what_is_open_for_a_moment_is_no_leak() {
        let moments = trend(|minutes| if (minutes as u64).is_multiple_of(3) { 50.0 } else { 46.0 });
        assert!(moments.floor_growth == 0, "{moments:?}");
        let leak = trend(|minutes| 46.0 + (minutes / 20.0).floor());
        assert!(leak.floor_growth > 0, "{leak:?}");
    }

    #[test]
    fn one_sample_is_no_trend() {
        let one = Trend::of(&samples(|_| 5.0)[..1], |sample| sample.cost.rss_kib);
        assert!(one.per_minute == 0.0 && (one.min, one.max) == (5, 5));
    }
}
