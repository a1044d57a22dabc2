//! What ntc costs and how fast it is: `cargo xtask bench`.

mod datapath;
mod report;
mod rounds;

fn main() -> anyhow::Result<()> {
    let cpu = rustix::thread::CpuSet::new();
    let mut cpu = cpu;
    cpu.set(1);
    rustix::thread::sched_setaffinity(None, &cpu)?;
    let report = datapath::measure(std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(7))?;
    println!("{report}");
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
