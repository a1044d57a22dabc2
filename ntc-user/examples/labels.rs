//! Reads ntc's labels from their pinned map, as any program of your own may: no agent is asked.
//!
//! ```sh
//! cargo run --release --example labels -- /sys/fs/bpf/ntc/v3
//! ```
//! Prints how many flows each class has, and how long it took to read them.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use anyhow::Context as _;
use ntc_user::{
    catalogue::class_name,
    kernel::{batch::Batch, pins, tables},
};

fn main() -> anyhow::Result<()> {
    let directory = std::env::args_os().nth(1).map_or_else(pins::default_directory, PathBuf::from);
    let labels =
        tables::labels(&directory).with_context(|| format!("no labels in {}", directory.display()))?;
    let (mut classes, start) = (BTreeMap::<u8, u64>::new(), Instant::now());
    // BPF_MAP_LOOKUP_BATCH: some thousand labels in one system call.
    Batch::default().walk(&labels, |_key, label| *classes.entry(label.class).or_default() += 1)?;
    let took = start.elapsed();
    for (class, flows) in &classes {
        println!("{:<12} {flows:>8} flows", class_name(*class));
    }
    println!("{} labels in {:.1} ms", classes.values().sum::<u64>(), took.as_secs_f64() * 1000.0);
    Ok(())
}
