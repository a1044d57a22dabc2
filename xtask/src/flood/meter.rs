//! What became of the live flows' messages, period by period.

use std::{collections::HashMap, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest round trip that is told apart, in microseconds.
const LONGEST: u64 = 60_000_000;

/// Counters of a period.
#[derive(Clone, Default)]
pub(crate) struct Period {
    calls: Messages,
    requests: Messages,
    refused: u64,
}

#[derive(Clone, Default)]
struct Messages {
    sent: u64,
    answered: u64,
    round_trips: Option<Histogram<u32>>,
}

/// All periods.
#[derive(Default)]
pub(super) struct Meter {
    periods: HashMap<u32, Period>,
}

impl Meter {
    pub(super) fn sent(&mut self, period: u32, call: bool) {
        self.messages(period, call).sent += 1;
    }

    pub(super) fn refused(&mut self, period: u32) {
        self.periods.entry(period).or_default().refused += 1;
    }

    pub(super) fn answered(&mut self, period: u32, call: bool, round_trip: Duration) {
        let messages = self.messages(period, call);
        messages.answered += 1;
        if messages.round_trips.is_none() {
            messages.round_trips = Histogram::new_with_bounds(1, LONGEST, 3).ok();
        }
        if let Some(histogram) = &mut messages.round_trips {
            histogram.saturating_record(round_trip.as_micros() as u64);
        }
    }

    pub(super) fn take(&mut self, period: u32) -> Period {
        self.periods.remove(&period).unwrap_or_default()
    }

    fn messages(&mut self, period: u32, call: bool) -> &mut Messages {
        let period = self.periods.entry(period).or_default();
        if call { &mut period.calls } else { &mut period.requests }
    }
}

/// A period in reports.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Forwarding {
    /// UDP packets sent, there and back.
    pub(crate) calls_sent: u64,
    /// Share of them without an answer.
    pub(crate) calls_lost_percent: f64,
    /// Half of their round trips took no longer, in microseconds.
    pub(crate) calls_p50_us: u64,
    /// 99 in 100 took no longer, in microseconds.
    pub(crate) calls_p99_us: u64,
    /// Requests sent over TCP.
    pub(crate) requests_sent: u64,
    /// Requests without an answer by the end of the period's last second.
    pub(crate) requests_unanswered: u64,
    /// 99 in 100 took no longer, in microseconds.
    pub(crate) requests_p99_us: u64,
    /// Messages that a socket did not take.
    pub(crate) refused: u64,
}

impl From<Period> for Forwarding {
    fn from(period: Period) -> Self {
        let quantile = |messages: &Messages, share| {
            messages.round_trips.as_ref().map_or(0, |histogram| histogram.value_at_quantile(share))
        };
        let Period { calls, requests, refused } = period;
        let lost = calls.sent.saturating_sub(calls.answered);
        Self {
            calls_sent: calls.sent,
            calls_lost_percent: if calls.sent == 0 { 0.0 } else { 100.0 * lost as f64 / calls.sent as f64 },
            calls_p50_us: quantile(&calls, 0.5),
            calls_p99_us: quantile(&calls, 0.99),
            requests_sent: requests.sent,
            requests_unanswered: requests.sent.saturating_sub(requests.answered),
            requests_p99_us: quantile(&requests, 0.99),
            refused,
        }
    }
}
