//! The live view: a table redrawn in place on a terminal, a line now and then anywhere else.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Write, stdout},
    time::{Duration, Instant},
};

use rustix::termios::tcgetwinsize;

use super::board::{Board, Flow};

/// Time between two pictures on a terminal.
const FRAME: Duration = Duration::from_millis(200);
/// Time between two lines elsewhere.
const LINE: Duration = Duration::from_secs(5);

/// Where the progress of the run is shown. Dropping it gives the terminal back.
pub(super) struct View {
    terminal: bool,
    start: Instant,
    length: Duration,
    next: Instant,
}

impl View {
    /// Begins to show a run of about this length.
    pub(super) fn open(length: Duration) -> Self {
        let terminal = stdout().is_terminal();
        if terminal {
            // The alternate screen, so that the scroll-back stays as it was; no cursor.
            print!("\x1b[?1049h\x1b[?25l");
        }
        let now = Instant::now();
        Self { terminal, start: now, length, next: now }
    }

    /// Shows the state, if it is time to.
    pub(super) fn update(&mut self, board: &Board) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + if self.terminal { FRAME } else { LINE };
        if self.terminal {
            let mut picture = String::new();
            // Writing to a string cannot fail.
            let _ = self.draw(board, &mut picture);
            let mut out = stdout().lock();
            // A terminal that has gone away is no reason to end the run.
            let _ = out.write_all(picture.as_bytes()).and_then(|()| out.flush());
        } else {
            println!("{}", self.progress(board));
        }
    }

    fn progress(&self, board: &Board) -> String {
        let (labelled, right) = board.counts();
        let flows = board.flows().len();
        let share = if flows == 0 { 0.0 } else { 100.0 * right as f64 / flows as f64 };
        format!(
            "{:>3} of {} s: {flows} flows, {labelled} labelled, {right} right ({share:.0}%)",
            self.start.elapsed().as_secs(),
            self.length.as_secs()
        )
    }

    fn draw(&self, board: &Board, out: &mut String) -> std::fmt::Result {
        let (width, height) = tcgetwinsize(stdout())
            .map_or((100, 30), |size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        let done = self.start.elapsed().as_secs_f64() / self.length.as_secs_f64();
        let bar = ((done.min(1.0) * 30.0) as usize).min(30);
        let mut lines = vec![
            format!("ntc  {}{}  {}", "█".repeat(bar), "░".repeat(30 - bar), self.progress(board)),
            String::new(),
            "   truth        label                   class        conf.  pkts  stage        after pkt   after start  flow"
                .to_owned(),
        ];
        lines.extend(board.recent().take(height.saturating_sub(lines.len() + 1)).map(row));
        out.push_str("\x1b[H");
        for line in lines {
            let line: String = line.chars().take(width).collect();
            let colour = match line.chars().next() {
                Some('✓') => "\x1b[32m",
                Some('✗') => "\x1b[31m",
                Some('?') => "\x1b[33m",
                _ => "",
            };
            write!(out, "{colour}{line}\x1b[0m\x1b[K\r\n")?;
        }
        out.push_str("\x1b[J");
        Ok(())
    }
}

fn row(flow: &Flow) -> String {
    let label = &flow.label;
    let mark = if flow.right() {
        '✓'
    } else if flow.labelled() {
        '✗'
    } else {
        '?'
    };
    let end = |ip: &str, port: u16| {
        if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
    };
    format!(
        "{mark}  {:<12} {:<23} {:<12} {:>5.2} {:>5}  {:<11} {:>8.2} ms {:>10.2} ms  {} {} > {}",
        flow.truth.unwrap_or("-"),
        label.service,
        label.class,
        label.confidence,
        label.packets,
        label.stage,
        label.decided_us as f64 / 1e3,
        label.age_us as f64 / 1e3,
        label.proto,
        end(&label.src_ip, label.src_port),
        end(&label.dst_ip, label.dst_port)
    )
}

impl Drop for View {
    fn drop(&mut self) {
        if self.terminal {
            print!("\x1b[?25h\x1b[?1049l");
            let _ = stdout().flush();
        }
    }
}
