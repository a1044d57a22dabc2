//! Other programs that read captures into labelled flows, where they are installed.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// One thread each, labels from payload, as both do by default. Its flows are counted and dropped.
const NFSTREAM: &str = "
import sys, nfstream
flows = sum(1 for _ in nfstream.NFStreamer(source=sys.argv[1], n_dissections=20, n_meters=1))
sys.exit(0 if flows else 1)
";

/// Name and command of each, or why there is none.
pub fn find(capture: &Path) -> Vec<Result<(String, Command), String>> {
    vec![ndpi(capture), nfstream(capture)]
}

fn ndpi(capture: &Path) -> Result<(String, Command), String> {
    answer(Command::new("ndpiReader").arg("-h"))
        .ok_or("ndpiReader is not installed (Debian: libndpi-bin)")?;
    let mut command = Command::new("ndpiReader");
    command.arg("-q").arg("-i").arg(capture);
    Ok(("ndpiReader".to_owned(), command))
}

fn nfstream(capture: &Path) -> Result<(String, Command), String> {
    let version =
        answer(Command::new("python3").args(["-c", "import nfstream; print(nfstream.__version__)"]))
            .ok_or("python3 has no module nfstream")?;
    let mut command = Command::new("python3");
    command.args(["-c", NFSTREAM]).arg(capture);
    Ok((format!("nfstream {}", version.trim()), command))
}

/// What a command printed; `None` where it cannot be started or failed.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
