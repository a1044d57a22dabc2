//! Attaching at tc: by TCX links from Linux 6.6 on, before that by filters on a clsact qdisc.

use std::{io, mem::ManuallyDrop, path::Path};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        links::FdLink,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError},
    },
    util::KernelVersion,
};
use clap::ValueEnum;
use sha2::{Digest as _, Sha256};

use super::{Attachment, Options, capture::number};
use crate::kernel::{
    KernelError,
    load::{TC_EGRESS, TC_INGRESS, program},
    netlink::{filters, links::Link},
    pins,
};

/// `--tc`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// TCX, else clsact
    #[default]
    Auto,
    /// TCX or nothing
    Tcx,
    /// Filters on a clsact qdisc
    Clsact,
}

/// How programs hang at tc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// By links, which go with their agent.
    Tcx,
    /// By filters, which do not.
    Clsact,
}

impl Means {
    /// As output has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "TCX",
            Self::Clsact => "clsact",
        }
    }
}

/// Attaches a program, by what an earlier one of the same interface was attached by.
///
/// # Errors
/// What the kernel said.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    name: &'static str,
    link: &Link,
    options: &Options,
    before: Option<(Means, String)>,
) -> Result<(Attachment, Means, String), KernelError> {
    let (means, why) = before.unwrap_or_else(|| match options.tc {
        Choice::Tcx => (Means::Tcx, "--tc tcx".into()),
        Choice::Clsact => (Means::Clsact, "--tc clsact".into()),
        Choice::Auto if has_tcx() => (Means::Tcx, "Linux has it from 6.6 on".into()),
        Choice::Auto => (Means::Clsact, "Linux has TCX from 6.6 on only".into()),
    });
    match attach_by(ebpf, name, link, options, means) {
        Ok(attached) => Ok((attached, means, why)),
        // A kernel without what TCX needs, whatever its version.
        Err(KernelError::Attach { source, .. })
            if options.tc == Choice::Auto
                && means == Means::Tcx
                && matches!(number(&source), Some(libc::EINVAL | libc::EOPNOTSUPP)) =>
        {
            let why = format!("TCX: {source}");
            Ok((attach_by(ebpf, name, link, options, Means::Clsact)?, Means::Clsact, why))
        }
        Err(error) => Err(error),
    }
}

/// A kernel whose version cannot be read is taken for a new one: the attach says if it is not.
fn has_tcx() -> bool {
    KernelVersion::current().map_or(true, |kernel| kernel >= KernelVersion::new(6, 6, 0))
}

fn attach_by(
    ebpf: &mut Ebpf,
    name: &'static str,
    link: &Link,
    options: &Options,
    means: Means,
) -> Result<Attachment, KernelError> {
    let failed = |source| KernelError::Attach {
        interface: link.name.clone(),
        program: name,
        source: Box::new(source),
    };
    let how = match means {
        // Before the others, who are let have their say: one of them that ends the walk would keep packets from ntc.
        Means::Tcx => TcAttachOptions::TcxOrder(LinkOrder::first()),
        Means::Clsact => {
            add_clsact(link).map_err(failed)?;
            // The kernel gives a priority before those that are there.
            let handle = filter_handle(&options.pin_dir).into();
            TcAttachOptions::Netlink(NlOptions { handle, ..NlOptions::default() })
        }
    };
    let direction = if name == TC_EGRESS { TcAttachType::Egress } else { TcAttachType::Ingress };
    let program = program::<SchedClassifier>(ebpf, name)?;
    let id = program.attach_with_options(&link.name, direction, how).map_err(failed)?;
    let attached = program.take_link(id).map_err(failed)?;
    match (options.stay, means) {
        (false, _) => Ok(Attachment::Tc { _link: attached }),
        (true, Means::Tcx) => pin(attached, link, name, options),
        (true, Means::Clsact) => Ok(Attachment::Filter(ManuallyDrop::new(attached))),
    }
}

fn pin(
    attached: SchedClassifierLink,
    link: &Link,
    name: &str,
    options: &Options,
) -> Result<Attachment, KernelError> {
    let attached = FdLink::try_from(attached).map_err(|_| KernelError::CannotStay(link.name.clone()))?;
    Attachment::pin(attached, pins::link(&options.pin_dir, name, link.index))
}

/// Adds the qdisc; there already is as good.
fn add_clsact(link: &Link) -> Result<(), ProgramError> {
    match tc::qdisc_add_clsact(&link.name) {
        Ok(()) => Ok(()),
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Says so if programs of others are on TCX, which the kernel asks before filters on clsact: one that ends the walk
/// (`TC_ACT_OK`) keeps packets from these.
pub(super) fn asked_before_clsact(link: &Link) -> Option<&'static str> {
    let others = [TcAttachType::Ingress, TcAttachType::Egress].into_iter().any(|direction| {
        match SchedClassifier::query_tcx(&link.name, direction) {
            Ok((_, programs)) => !programs.is_empty(),
            // There are some; to open them is for CAP_SYS_ADMIN. A kernel without TCX has another answer.
            Err(error) => number(&error) == Some(libc::EPERM),
        }
    });
    others.then_some("programs on TCX come before it and may keep packets from it")
}

/// Whether an interface has a clsact qdisc; `None` where that cannot be asked.
pub(super) fn has_clsact(link: &Link) -> Option<bool> {
    Some(filters::clsact_interfaces().ok()?.contains(&link.index))
}

/// The handle of an agent's filters: `n`, and 24 bits that tell its pin directory. A filter carries no owner, and its
/// program's maps are for CAP_SYS_ADMIN alone to ask for.
fn filter_handle(pin_dir: &Path) -> u32 {
    let path = pin_dir.components().as_path().as_os_str().as_encoded_bytes();
    let digest = Sha256::digest(path);
    u32::from_be_bytes([b'n', digest[0], digest[1], digest[2]])
}

/// Removes the filters that an agent with this pin directory has left on clsact qdiscs of this network namespace, and
/// qdiscs on which nothing is left then. Returns how many filters.
///
/// # Errors
/// What the kernel said.
pub fn remove_filters(pin_dir: &Path) -> io::Result<usize> {
    let handle = filter_handle(pin_dir);
    let mut removed = 0;
    for index in filters::clsact_interfaces()? {
        let all = filters::filters(index)?;
        let ours = |filter: &&filters::Filter| {
            filter.handle == handle && [TC_INGRESS, TC_EGRESS].contains(&filter.name.as_str())
        };
        let mut any = false;
        for filter in all.iter().filter(ours) {
            filters::remove(filter)?;
            (any, removed) = (true, removed + 1);
        }
        if any {
            filters::remove_empty_clsact(index)?;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_tells_the_pin_directory() {
        let of = |path: &str| filter_handle(Path::new(path));
        assert_eq!(of("/sys/fs/bpf/ntc/v1"), of("/sys/fs/bpf/ntc/v1/"));
        assert_ne!(of("/sys/fs/bpf/ntc/v1"), of("/sys/fs/bpf/ntc/v2"));
        assert_eq!(of("/") >> 24, u32::from(b'n'));
    }
}
