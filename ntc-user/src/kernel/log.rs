//! What the programs of a debug build say of each packet (aya-log).

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

use super::KernelError;

/// Passes the programs' messages to this process's log, for as long as it is polled.
///
/// # Errors
/// The object has no log: it is not of a debug build.
pub fn forward(ebpf: &mut Ebpf) -> Result<impl Future<Output = ()> + use<>, KernelError> {
    let logger = EbpfLogger::init(ebpf).map_err(|_| KernelError::Missing("AYA_LOGS"))?;
    Ok(async move {
        // SAFETY: the logger owns its descriptor, closes it only when dropped, and is dropped with the AsyncFd.
        let Ok(mut logger) = (unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }) else {
            return;
        };
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    })
}
