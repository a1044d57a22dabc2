//! `ntc doctor`: what this machine gives ntc, what that means for labels and enforcement, and what to do about it.
//!
//! One file a check. Each looks and changes nothing; what it cannot tell it says.

mod bpffs;
mod capabilities;
mod flowtables;
mod interface;
mod kernel;
mod model;
mod net;
mod offloads;
mod pins;
mod qdiscs;
mod runtime;
mod tc;
mod xdp;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::classify::Store;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing to do.
    Note,
    /// ntc works, with labels or enforcement worse than they could be.
    Warn,
    /// `ntc run` does not start, or does nothing.
    Fail,
}

impl Verdict {
    /// As it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What one check came to.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Which check.
    pub check: &'static str,
    /// The interface that it is about; `None`: the machine.
    pub interface: Option<String>,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What that means for labels and enforcement.
    pub means: String,
    /// What to do; empty: nothing.
    pub advice: String,
}

impl Finding {
    fn new(
        check: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        means: impl Into<String>,
    ) -> Self {
        Self {
            check,
            interface: None,
            verdict,
            found: found.into(),
            means: means.into(),
            advice: String::new(),
        }
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    fn on(mut self, interface: &str) -> Self {
        self.interface = Some(interface.to_owned());
        self
    }
}

/// What is to be examined.
#[derive(Debug)]
pub struct Request {
    /// Interfaces; each gets its own findings.
    pub interfaces: Vec<String>,
    /// Where the maps would be pinned.
    pub pin_dir: PathBuf,
    /// Name or folder of a model bundle; the built-in one otherwise.
    pub model: Option<PathBuf>,
    /// Folder of bundles.
    pub models: Option<PathBuf>,
    /// ONNX Runtime's shared library, if it is named.
    pub onnxruntime: Option<PathBuf>,
}

/// All findings.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of ntc.
    pub version: &'static str,
    /// The worst.
    pub verdict: Verdict,
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

/// Looks at everything.
pub async fn examine(request: &Request) -> Report {
    let mut findings = kernel::check();
    findings.push(bpffs::check(&request.pin_dir));
    findings.extend(capabilities::check());
    findings.push(runtime::check(request.onnxruntime.as_deref()));
    findings.push(model::check(request.model.as_deref(), &Store::new(request.models.as_deref())));
    findings.extend(pins::check(&request.pin_dir).await);
    findings.push(flowtables::check());
    for name in &request.interfaces {
        let found = match net::Facts::of(name).await {
            Ok(facts) => {
                let mut found = vec![interface::check(&facts), xdp::check(&facts)];
                found.extend(tc::check(&facts));
                found.extend(offloads::check(&facts));
                found.push(qdiscs::check(&facts));
                found
            }
            Err(error) => vec![interface::not_there(name, &error)],
        };
        findings.extend(found.into_iter().map(|finding| finding.on(name)));
    }
    let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    Report { version: env!("CARGO_PKG_VERSION"), verdict, findings }
}

/// A file's text without its line end; `None` where it cannot be read.
fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
