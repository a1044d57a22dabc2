//! The kernel's ring, read in whole chunks.

use std::{io, time::Duration};

use aya::{
    Ebpf,
    maps::{MapData, MapError, RingBuf},
};
use bytes::{Bytes, BytesMut};
use ntc_common::record::PacketRecord;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::kernel::KernelError;

/// Records that wake nobody are fetched after this time at the latest.
const TIMER: Duration = Duration::from_millis(2);
/// Records in a chunk at most, so that a full ring does not become one huge chunk.
const CHUNK_RECORDS: usize = 4096;
const RECORD: usize = size_of::<PacketRecord>();

/// Reads `PACKETS`.
pub struct RingReader {
    ring: AsyncFd<RingBuf<MapData>>,
    timer: tokio::time::Interval,
    buffer: BytesMut,
}

impl RingReader {
    /// Takes the ring out of the object.
    ///
    /// # Errors
    /// The object has none, or it cannot be watched.
    pub fn open(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let map = ebpf.take_map("PACKETS").ok_or(KernelError::Missing("PACKETS"))?;
        let ring = RingBuf::try_from(map).map_err(KernelError::map("PACKETS"))?;
        // SAFETY: the ring owns its descriptor, closes it only when dropped, and is dropped with the AsyncFd.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }.map_err(|error| {
            let source = Box::new(MapError::IoError(error.into()));
            KernelError::Map { map: "PACKETS", source }
        })?;
        let mut timer = interval_at(Instant::now(), TIMER);
        timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ok(Self { ring, timer, buffer: BytesMut::new() })
    }

    /// Waits for the kernel's wake-up or the timer, whichever is first, and returns what is there: whole
    /// records, possibly none.
    ///
    /// # Errors
    /// The ring can no longer be watched.
    pub async fn chunk(&mut self) -> io::Result<Bytes> {
        let Self { ring, timer, .. } = self;
        tokio::select! {
            guard = ring.readable_mut() => guard?.clear_ready(),
            _ = timer.tick() => {}
        }
        Ok(self.drain())
    }

    /// What is in the ring now. Beyond a chunk the rest comes with the next call: the timer is due soon.
    fn drain(&mut self) -> Bytes {
        let ring = self.ring.get_mut();
        while let Some(item) = ring.next() {
            debug_assert_eq!(item.len(), RECORD);
            self.buffer.extend_from_slice(&item);
            if self.buffer.len() >= CHUNK_RECORDS * RECORD {
                // There may be more, and no wake-up will tell: let the timer be due at once.
                self.timer.reset_immediately();
                break;
            }
        }
        self.buffer.split().freeze()
    }
}

/// The records of a chunk.
pub fn records(chunk: &[u8]) -> impl Iterator<Item = PacketRecord> + '_ {
    chunk.chunks_exact(RECORD).map(|bytes| {
        // SAFETY: `bytes` is one record's size, records are plain old data (`shared_struct!`), and the read
        // does not ask for alignment.
        unsafe { bytes.as_ptr().cast::<PacketRecord>().read_unaligned() }
    })
}
