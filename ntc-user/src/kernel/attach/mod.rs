//! Attaching the programs to interfaces, and following these as they come, go and change their names.
//!
//! | module | does |
//! | --- | --- |
//! | [`requests`] | what the user asks for: names and patterns |
//! | [`capture`] | which hook packets are captured at: native XDP, generic XDP, tc ingress |
//! | [`tc`] | attaching at tc: TCX, or filters on a clsact qdisc |
//! | [`offloads`] | whether a device hands over merged packets |
//! | [`stack`] | devices on top of captured ones |
//! | [`hooks`] | all interfaces together: attach, follow, detach |
//! | [`witness`] | whether the programs run |

pub mod capture;
pub mod hooks;
pub mod offloads;
pub mod requests;
pub mod stack;
pub mod tc;
pub mod witness;

use std::{mem::ManuallyDrop, path::PathBuf};

use aya::programs::{links::FdLink, tc::SchedClassifierLink, xdp::XdpLink};
use serde::Serialize;

use super::KernelError;

/// How to attach.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where packets are captured.
    pub hook: capture::Choice,
    /// How programs at tc are attached.
    pub tc: tc::Choice,
    /// An interface that is named may come later.
    pub may_come_later: bool,
    /// Attachments are to outlive the agent.
    pub stay: bool,
    /// The pin directory: where links that stay are pinned, and what tells one agent's filters from another's.
    pub pin_dir: PathBuf,
}

/// Where ntc works on an interface, and why there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// The interface's name.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// Where packets that come in are accounted: `native XDP`, `generic XDP`, `tc ingress`, or `below`, on devices
    /// that this one stands on.
    pub capture: Option<&'static str>,
    /// How programs at tc hang there, if labels act there.
    pub enforce: Option<&'static str>,
    /// Why so.
    pub why: String,
}

/// An attachment, which ends with this value unless it is to stay.
#[derive(Debug)]
enum Attachment {
    Xdp {
        _link: XdpLink,
    },
    Tc {
        _link: SchedClassifierLink,
    },
    Pinned(PathBuf),
    /// A filter on a clsact qdisc, which stays by itself.
    Filter(ManuallyDrop<SchedClassifierLink>),
}

impl Attachment {
    /// Pins a link, so that it stays.
    fn pin(link: FdLink, path: PathBuf) -> Result<Self, KernelError> {
        match link.pin(&path) {
            Ok(_) => Ok(Self::Pinned(path)),
            Err(error) => Err(KernelError::PinDirectory {
                path: path.display().to_string(),
                source: std::io::Error::other(error),
            }),
        }
    }

    /// Ends it, also if it was to stay: its interface has gone, or another program takes its place.
    fn end(self) {
        match self {
            Self::Pinned(path) => {
                // Gone already: as good.
                let _ = std::fs::remove_file(path);
            }
            Self::Filter(link) => drop(ManuallyDrop::into_inner(link)),
            // They end with the value.
            Self::Xdp { .. } | Self::Tc { .. } => {}
        }
    }
}
