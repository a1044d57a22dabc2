//! Numbers and addresses in few columns.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An end of a flow in so many columns.
pub fn end(ip: &str, port: u16, width: usize) -> String {
    let (port, ip) = (format!(":{port}"), if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() });
    let room = width.saturating_sub(port.len());
    if ip.len() <= room {
        return ip + &port;
    }
    let (front, back) = (room.saturating_sub(2) / 2, room.saturating_sub(2).div_ceil(2));
    format!("{}..{}{port}", &ip[..front.min(ip.len())], &ip[ip.len().saturating_sub(back)..])
}

/// A bar of up to so many columns.
pub fn bar(value: u64, most: u64, width: u64) -> String {
    "█".repeat(usize::try_from(value * width / most.max(1)).unwrap_or_default())
}

/// Bits a second.
pub fn rate(bits_per_s: u64) -> String {
    let number = scaled(bits_per_s);
    let digits = number.trim_end_matches(['k', 'M', 'G', 'T']);
    format!("{digits} {}bit/s", &number[digits.len()..])
}

/// How many.
pub fn count(number: u64) -> String {
    if number < 100_000 { number.to_string() } else { scaled(number) }
}

/// A number in four characters or little more.
pub fn scaled(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["", "k", "M", "G"] {
        if value < 999.5 {
            return if unit.is_empty() || value >= 99.95 {
                format!("{value:.0}{unit}")
            } else {
                format!("{value:.1}{unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1}T")
}

/// Microseconds.
pub fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// Seconds since a Unix time in ns.
pub fn up_s(started_ts_ns: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_nanos(started_ts_ns)).as_secs()
}

/// Seconds.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{}:{:02} h", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_fit_their_column_and_keep_their_port() {
        assert_eq!(end("192.0.2.1", 53, 15), "192.0.2.1:53");
        let long = end("2001:db8:1234:5678:9abc:def0:1234:5678", 50_000, 20);
        assert!(long.len() <= 20 && long.starts_with("[2001") && long.ends_with(":50000"), "{long}");
        assert_eq!(end("192.0.2.1", 50_000, 4).rsplit(':').next(), Some("50000"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0, 999, 1_000, 99_940, 99_960, 999_600].map(scaled),
            ["0", "999", "1.0k", "99.9k", "100k", "1.0M"]
        );
        assert_eq!([99_999, 100_000].map(count), ["99999", "100k"]);
        assert_eq!([0, 12_345, 999_600].map(rate), ["0 bit/s", "12.3 kbit/s", "1.0 Mbit/s"]);
        assert_eq!([900, 1_500, 2_000_000].map(time), ["900 us", "1.5 ms", "2.0 s"]);
        assert_eq!([59, 61, 7_260, 90_000].map(duration), ["59 s", "1 min", "2:01 h", "1 d 1 h"]);
    }
}
