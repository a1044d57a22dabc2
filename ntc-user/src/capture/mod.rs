//! The two sources of packet records: the kernel's ring and capture files.

pub mod file;
pub mod ring;
pub mod table;
