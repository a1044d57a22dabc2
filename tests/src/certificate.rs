//! Certificates for tests, by openssl.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};

/// What is asked of `openssl req`. Nobody's authority, as that of a server is: rustls refuses others from servers.
const REQUEST: [&str; 13] = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "2",
    "-subj",
    "/CN=ntc",
    "-addext",
    "basicConstraints=critical,CA:FALSE",
];

/// Makes one for an address, signed by itself, and its key; gives the files of both.
///
/// # Errors
/// What openssl said.
pub fn of(folder: &Path, address: &str) -> anyhow::Result<[String; 2]> {
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
    let name = format!("subjectAltName=IP:{address}");
    let made = Command::new("openssl")
        .args(REQUEST)
        .args(["-addext", &name, "-keyout", &key, "-out", &certificate])
        .output()
        .context("openssl")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok([certificate, key])
}
