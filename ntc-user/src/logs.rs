//! What the program says of its work, on stderr: lines for people, JSON, or lines for the journal.

use std::{fmt, io::IsTerminal as _, os::unix::fs::MetadataExt as _};

use clap::ValueEnum;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Writer},
    },
    registry::LookupSpan,
};

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people; for the journal where stderr goes there
    Auto,
    /// Lines for people, with the time
    Text,
    /// JSON lines
    Json,
    /// Lines for the journal: priority before each (sd-daemon(3)), no time, which the journal has by itself
    Journal,
}

/// Begins to write it. `default` says what is written where NTC_LOG does not.
pub fn init(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_env("NTC_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let format = match format {
        LogFormat::Auto if is_journal() => LogFormat::Journal,
        LogFormat::Auto => LogFormat::Text,
        other => other,
    };
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Journal => {
            log.with_ansi(false).event_format(Prefixed(Format::default().without_time())).init();
        }
        LogFormat::Auto | LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}

/// Whether stderr is the stream that systemd made for the journal (`JOURNAL_STREAM`, systemd.exec(5)).
fn is_journal() -> bool {
    let stderr = std::fs::metadata("/proc/self/fd/2").map(|file| format!("{}:{}", file.dev(), file.ino()));
    stderr.is_ok_and(|stderr| std::env::var("JOURNAL_STREAM").is_ok_and(|journal| journal == stderr))
}

/// Lines with the priority before them, as sd-daemon(3) has it.
struct Prefixed(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for Prefixed
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // syslog(3): error, warning, notice, informational, debug.
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(ctx, writer, event)
    }
}
