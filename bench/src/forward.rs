//! What a router forwards with and without ntc: sender, router and sink in network namespaces, one processor for all.

use std::{
    ffi::CStr,
    fs,
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::{Array, PerCpuArray},
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode},
};
use ntc_tests::{
    agent::{Agent, PinDir},
    frames::{Frame, checksum},
    net::Namespace,
};

use crate::{
    datapath::programs::{Bench, Walk},
    report::{Report, Row},
    rounds::interleaved,
};

/// Live flows; each packet is of one of them at random.
const FLOWS: u64 = 1024;
/// Packets sent in a round.
const PACKETS: u32 = 1_000_000;
/// Frames that the kernel sends at once: its own default.
const BATCH: u32 = 64;
/// Bytes that the source writes into each frame.
const HEADER: usize = 54;
/// Places of the IPv4 header, its checksum and its source address.
const IP: std::ops::Range<usize> = 14..34;
const CHECKSUM: std::ops::Range<usize> = 24..26;
const SOURCE: std::ops::Range<usize> = 26..30;
/// `struct xdp_md` (include/uapi/linux/bpf.h), and the places of two of its words.
const XDP_MD: usize = 24;
const DATA_END: std::ops::Range<usize> = 4..8;
const INGRESS_IFINDEX: std::ops::Range<usize> = 12..16;

/// What is on the router's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Nothing,
    XdpPass,
    Ntc,
}

const ROWS: [(Load, &str); 3] = [
    (Load::Nothing, "nothing attached"),
    (Load::XdpPass, "XDP_PASS attached"),
    (Load::Ntc, "ntc run, both interfaces captured and enforced"),
];

/// sender s0 - r0 router r1 - k0 sink.
struct Route {
    // Dropped in this order: the agent before its interfaces.
    _agent: Option<(Agent, PinDir)>,
    bench: Bench,
    context: [u8; XDP_MD],
    frame: Vec<u8>,
    sender: Namespace,
    _router: Namespace,
    _sink: Namespace,
}

impl Route {
    fn build(load: Load) -> Result<Self> {
        let (sender, router, sink) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        sender.veth("s0", &router, "r0")?;
        router.veth("r1", &sink, "k0")?;
        router.ip(&["link", "set", "r0", "mtu", "1500", "address", "02:00:00:00:00:02"])?;
        router.ip(&["link", "set", "r1", "mtu", "1500"])?;
        router.ip(&["address", "add", "10.255.255.254/8", "dev", "r0"])?;
        router.ip(&["address", "add", "192.0.2.254/24", "dev", "r1"])?;
        router.ip(&["neigh", "add", "192.0.2.1", "lladdr", "02:00:00:00:00:03", "dev", "r1"])?;
        router.enter(|| {
            for (file, value) in
                [("ip_forward", "1"), ("conf/all/rp_filter", "0"), ("conf/r0/rp_filter", "0")]
            {
                fs::write(format!("/proc/sys/net/ipv4/{file}"), value).context(file)?;
            }
            Ok(())
        })?;
        // Frames go from device to device only to a receiver that polls: one with GRO or with XDP.
        let gro = router.prepare("ethtool").args(["-K", "r0", "gro", "on"]).output().context("ethtool")?;
        ensure!(gro.status.success(), "ethtool: {}", String::from_utf8_lossy(&gro.stderr));

        let mut bench = Bench::load(1024)?;
        // Live frames seem to come in on s0, which has to know of XDP for that.
        attach(&sender, &mut bench, "bench_pass", "s0")?;
        attach(&sink, &mut bench, "bench_sink", "k0")?;
        let mut agent = None;
        match load {
            Load::Nothing => {}
            Load::XdpPass => attach(&router, &mut bench, "bench_pass", "r0")?,
            Load::Ntc => {
                let pins = PinDir::new("bench-forward");
                let started = Agent::start(&router, &pins.0, &["--iface", "r0", "--iface", "r1"])?;
                agent = Some((started, pins));
            }
        }
        let frame = Frame::udp(
            (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 40_000),
            (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 53),
            18,
        )
        .bytes();
        header(&mut bench, &frame)?;
        let mut context = [0; XDP_MD];
        context[DATA_END].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        context[INGRESS_IFINDEX].copy_from_slice(&sender.enter(|| index(c"s0"))?.to_ne_bytes());
        let mut route = Self { _agent: agent, bench, context, frame, sender, _router: router, _sink: sink };
        // Sequences full, neighbours and routes cached.
        route.send(FLOWS as u32 * 40)?;
        Ok(route)
    }

    /// Sends frames; returns how many came to the sink, and seconds.
    fn send(&mut self, packets: u32) -> Result<(u64, f64)> {
        // Not from 10.0.0.0: that is the network's own address.
        self.bench.walk(Walk { state: 0x9e37_79b9_7f4a_7c15, random: 1, first: 256, mask: FLOWS - 1 })?;
        let before = arrived(&mut self.bench)?;
        let options = TestRunOptions {
            data_in: Some(&self.frame),
            ctx_in: Some(&self.context),
            repeat: packets,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        let source: &mut Xdp =
            self.bench.ebpf().program_mut("bench_source").context("bench_source")?.try_into()?;
        let seconds = self.sender.enter(|| {
            let start = Instant::now();
            source.test_run(options)?;
            Ok(start.elapsed().as_secs_f64())
        })?;
        Ok((arrived(&mut self.bench)? - before, seconds))
    }
}

/// The rows.
///
/// # Errors
/// What the kernel said, or nothing came through.
pub fn measure(rounds: usize) -> Result<Report> {
    let mut report =
        Report::new("forward", "packets/s at the sink, sender and router and sink on one processor");
    let mut routes = ROWS.iter().map(|(load, _)| Route::build(*load)).collect::<Result<Vec<_>>>()?;
    let mut through = vec![0; ROWS.len()];
    let spreads = interleaved(rounds, ROWS.len(), |row| {
        let (arrived, seconds) = routes[row].send(PACKETS)?;
        ensure!(arrived > 0, "{}: nothing came through", ROWS[row].1);
        through[row] += arrived;
        Ok(arrived as f64 / seconds)
    })?;
    let sent = f64::from(PACKETS) * rounds as f64;
    for (row, ((_, name), spread)) in ROWS.iter().zip(&spreads).enumerate() {
        report.rows.push(
            Row::new(*name, *spread)
                .with("ns a packet", 1e9 / spread.median)
                .with("of nothing", spread.median / spreads[0].median)
                .with("arrived %", 100.0 * through[row] as f64 / sent),
        );
    }
    Ok(report)
}

fn attach(namespace: &Namespace, bench: &mut Bench, program: &str, interface: &str) -> Result<()> {
    let program: &mut Xdp = bench.ebpf().program_mut(program).context("no such program")?.try_into()?;
    namespace.enter(|| Ok(program.attach(interface, XdpMode::Driver).map(drop)?))
}

/// The header that the source writes, with the checksum over all but the source address, not yet inverted.
fn header(bench: &mut Bench, frame: &[u8]) -> Result<()> {
    let mut header = [0; HEADER];
    header.copy_from_slice(frame.get(..HEADER).context("a frame of a header")?);
    header[SOURCE].fill(0);
    header[CHECKSUM].fill(0);
    let sum = !checksum(&header[IP]);
    header[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    let map = bench.ebpf().map_mut("HEADER").context("HEADER")?;
    Ok(Array::<_, [u8; HEADER]>::try_from(map)?.set(0, header, 0)?)
}

fn arrived(bench: &mut Bench) -> Result<u64> {
    let map = PerCpuArray::<_, u64>::try_from(bench.ebpf().map("ARRIVED").context("ARRIVED")?)?;
    Ok(map.get(&0, 0)?.iter().sum())
}

fn index(interface: &CStr) -> Result<u32> {
    // SAFETY: a C string that lives for the call.
    let index = unsafe { libc::if_nametoindex(interface.as_ptr()) };
    ensure!(index != 0, std::io::Error::last_os_error());
    Ok(index)
}
