//! `ntc extract` and `ntc classify` on captures made to hurt: each ends in time and within its memory, with a clear error
//! or with every packet counted, and never by a panic.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::ensure;
use ntc_tests::{
    agent::binary,
    confined::{self, Ended},
    frames::Frame,
};
use proptest::{
    collection::vec,
    prelude::{ProptestConfig, any, prop},
    prop_assert, proptest,
};

const MB: u64 = 1_000_000;
/// By the clock, for children that wait for something; those that compute have less (see `confined`).
const LIMIT: Duration = Duration::from_secs(300);
/// What `extract` may take for a file without many flows: 16 MiB for the longest record, doubled while it grows, and
/// the program itself.
const SMALL: u64 = 96 * MB;

/// Files could not be read to their end.
const PARTIAL: Option<i32> = Some(3);
const DONE: Option<i32> = Some(0);

fn ntc(verb: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(binary()?);
    command
        .arg(verb)
        .env("ORT_DYLIB_PATH", ntc_tests::root().join(".tools/onnxruntime/libonnxruntime.so"))
        .stdin(Stdio::null());
    Ok(command)
}

/// `ntc extract` of a file with these bytes.
fn extract(name: &str, bytes: &[u8]) -> anyhow::Result<Ended> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(name);
    fs::write(&path, bytes)?;
    extract_file(&path, &folder.path().join("out.parquet"))
}

fn extract_file(capture: &Path, out: &Path) -> anyhow::Result<Ended> {
    confined::run(ntc("extract")?.arg(capture).arg("-o").arg(out), LIMIT)
}

/// Ends with this code, says this, and takes no more than `memory`.
fn ends(name: &str, bytes: &[u8], code: Option<i32>, says: &str, memory: u64) -> anyhow::Result<()> {
    let ended = extract(name, bytes)?;
    ensure!(ended.code == code && ended.stderr.contains(says), "{name}: {ended:?}");
    ensure!(!ended.stderr.contains("panicked"), "{name}: {ended:?}");
    ensure!(ended.peak_rss < memory, "{name}: {} MB resident", ended.peak_rss / MB);
    Ok(())
}

/// Header of a little-endian pcap file: microseconds, this snapshot length, Ethernet.
fn pcap(snaplen: u32) -> Vec<u8> {
    [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, snaplen, 1].into_iter().flat_map(u32::to_le_bytes).collect()
}

fn record(file: &mut Vec<u8>, micros: u64, captured: u32, data: &[u8]) {
    let words = [(micros / 1_000_000) as u32, (micros % 1_000_000) as u32, captured, captured];
    file.extend(words.into_iter().flat_map(u32::to_le_bytes));
    file.extend_from_slice(data);
}

/// A little-endian block with this length at both ends; the body is as it is.
fn block(file: &mut Vec<u8>, kind: u32, length: u32, body: &[u8]) {
    file.extend([kind, length].into_iter().flat_map(u32::to_le_bytes));
    file.extend_from_slice(body);
    file.extend_from_slice(&length.to_le_bytes());
}

fn whole_block(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    block(file, kind, 12 + body.len() as u32, body);
}

fn section(file: &mut Vec<u8>) {
    let body = [0x1a2b_3c4d_u32, 1, u32::MAX, u32::MAX].map(u32::to_le_bytes).concat();
    whole_block(file, 0x0a0d_0d0a, &body);
}

const ETHERNET: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];

fn pcapng() -> Vec<u8> {
    let mut file = Vec::new();
    section(&mut file);
    whole_block(&mut file, 1, &ETHERNET);
    file
}

#[test]
fn empty_and_cut_files_say_so() -> anyhow::Result<()> {
    ends("empty.pcap", &[], PARTIAL, "is empty", SMALL)?;
    let mut whole = pcap(65535);
    record(&mut whole, 1, 60, &[0; 60]);
    for cut in [1, 3, 4, 23, 25, 39, 41, 99] {
        let says = if cut < 4 { "not with a pcap" } else { "within the record that starts at byte" };
        ends("cut.pcap", &whole[..cut], PARTIAL, says, SMALL)?;
    }
    ends("header.pcap", &whole[..24], DONE, "0 flows of 0 packets", SMALL)
}

#[test]
fn lengths_that_lie_cost_nothing() -> anyhow::Result<()> {
    // 4 GB of packet, and the longest that is taken at all, of which three bytes are there.
    let mut file = pcap(u32::MAX);
    record(&mut file, 1, u32::MAX, b"abc");
    ends("4GB.pcap", &file, PARTIAL, "claims 4294967295 bytes", SMALL)?;
    let mut file = pcap(u32::MAX);
    record(&mut file, 1, (16 << 20) - 16, b"abc");
    ends("16MiB.pcap", &file, PARTIAL, "within the record that starts at byte 24", SMALL)?;
    for (kind, says) in [
        (6, "claims 4294967292 bytes"),
        (1, "claims 4294967292 bytes"),
        (5, "within the record"),
        (0x0a0d_0d0a, "within the record"),
    ] {
        let mut file = pcapng();
        let body = if kind == 0x0a0d_0d0a { &0x1a2b_3c4d_u32.to_le_bytes()[..] } else { &[] };
        file.extend([kind, 0xffff_fffc].into_iter().flat_map(u32::to_le_bytes));
        file.extend_from_slice(body);
        file.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        ends("block.pcapng", &file, PARTIAL, says, SMALL)?;
    }
    let mut file = pcapng();
    for length in [0, 4, 8] {
        block(&mut file, 6, length, &[]);
        ends("short.pcapng", &file, PARTIAL, "shorter than its own header", SMALL)?;
        file.truncate(48);
    }
    Ok(())
}

#[test]
fn headers_without_end_are_read_in_bounds() -> anyhow::Result<()> {
    let mut sections = Vec::new();
    (0..500_000).for_each(|_| section(&mut sections));
    ends("sections.pcapng", &sections, DONE, "0 flows of 0 packets", SMALL)?;

    let mut interfaces = pcapng();
    (0..200_000).for_each(|_| whole_block(&mut interfaces, 1, &ETHERNET));
    ends("interfaces.pcapng", &interfaces, PARTIAL, "more than 65536 interfaces", SMALL)?;
    // Sections that each bring as many as they may.
    let mut floods = Vec::new();
    for _ in 0..4 {
        section(&mut floods);
        (0..65_536).for_each(|_| whole_block(&mut floods, 1, &ETHERNET));
    }
    ends("floods.pcapng", &floods, DONE, "0 flows of 0 packets", SMALL)?;

    // Four million options of no length, without the one that ends them; then one that reaches past its block.
    let options = [&ETHERNET[..], &[2, 0, 0, 0].repeat(4_000_000)].concat();
    let mut file = pcapng();
    whole_block(&mut file, 1, &options);
    ends("options.pcapng", &file, DONE, "0 flows of 0 packets", SMALL)?;
    let mut file = pcapng();
    whole_block(&mut file, 1, &[&ETHERNET[..], &[2, 0, 0xff, 0xff]].concat());
    ends("option.pcapng", &file, PARTIAL, "an option past its end", SMALL)
}

/// A zstd frame of `blocks` times 128 KiB of zeros, four bytes each (RFC 8878 section 3.1.1.2: RLE blocks).
fn zstd_zeros(blocks: usize) -> Vec<u8> {
    // No content size, no checksum, a window of 128 KiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    for block in 1..=blocks {
        let header: u32 = (0x2_0000 << 3) | (1 << 1) | u32::from(block == blocks);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn decompression_bombs_are_refused() -> anyhow::Result<()> {
    // 16 GiB of zeros, as packets without a byte.
    let bomb = [zstd::encode_all(&pcap(65535)[..], 1)?, zstd_zeros(1 << 17)].concat();
    ends("bomb.pcap.zst", &bomb, PARTIAL, "times its size", SMALL)?;
    // The same in a block that nobody looks into.
    let mut start = pcapng();
    start.extend([5, 0xffff_fffc_u32].into_iter().flat_map(u32::to_le_bytes));
    let bomb = [zstd::encode_all(&start[..], 1)?, zstd_zeros(1 << 16)].concat();
    ends("block.pcapng.zst", &bomb, PARTIAL, "times its size", SMALL)?;
    // gzip's best is 1032 to 1: members of 16 MiB, one after the other.
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    member.write_all(&vec![0; 16 << 20])?;
    let mut head = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    head.write_all(&pcap(65535))?;
    let bomb = [head.finish()?, member.finish()?.repeat(64)].concat();
    ends("bomb.pcap.gz", &bomb, PARTIAL, "times its size", SMALL)?;
    // zstd's largest window that is taken, 128 MiB, and one that is not.
    let head = zstd::encode_all(&pcap(65535)[..], 1)?;
    let wide = |window: u8| [&head[..], &[0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0x01, 0x00, 0x00]].concat();
    ends("wide.pcap.zst", &wide(17 << 3), DONE, "0 flows of 0 packets", SMALL + 140 * MB)?;
    ends("wider.pcap.zst", &wide(21 << 3), PARTIAL, "zstd -t", SMALL)
}

#[test]
fn zeros_are_packets_of_no_flow() -> anyhow::Result<()> {
    // Below the bound of the expansion: 80 MB of zeros are five million packets of nothing, all counted.
    let bytes = [pcap(65535), vec![0; 80 * MB as usize]].concat();
    ends("zeros.pcap.zst", &zstd::encode_all(&bytes[..], 1)?, DONE, "5000000 packets of no flow", SMALL)
}

/// More flows at once than the table holds: the longest idle go, told as such, and the memory stays in its bounds.
#[test]
fn a_flood_of_flows_is_bounded() -> anyhow::Result<()> {
    const FLOWS: u32 = 1_200_000;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("flood.pcap.zst");
    let mut file = zstd::Encoder::new(File::create(&path)?, 1)?;
    file.write_all(&pcap(65535))?;
    let mut frame = Frame::udp(("10.0.0.0".parse()?, 1000), ("192.0.2.1".parse()?, 53), 0).bytes();
    let mut chunk = Vec::new();
    for flow in 0..FLOWS {
        // The sender's address.
        frame[27..30].copy_from_slice(&flow.to_be_bytes()[1..]);
        record(&mut chunk, u64::from(flow), frame.len() as u32, &frame);
        if chunk.len() > 1 << 20 {
            file.write_all(&chunk)?;
            chunk.clear();
        }
    }
    file.write_all(&chunk)?;
    file.finish()?;
    let ended = extract_file(&path, &folder.path().join("out.parquet"))?;
    ensure!(ended.code == DONE, "{ended:?}");
    ensure!(ended.stderr.contains("1200000 flows of 1200000 packets"), "{ended:?}");
    ensure!(ended.peak_rss < 700 * MB, "{} MB resident", ended.peak_rss / MB);
    Ok(())
}

#[test]
fn classify_takes_hostile_files_as_extract_does() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut lie = pcap(u32::MAX);
    record(&mut lie, 1, 42, &Frame::udp(("10.0.0.1".parse()?, 1), ("10.0.0.2".parse()?, 53), 0).bytes());
    record(&mut lie, 1, u32::MAX, b"abc");
    let bomb = [zstd::encode_all(&pcap(65535)[..], 1)?, zstd_zeros(1 << 17)].concat();
    for (name, bytes) in
        [("a.pcap", &lie[..]), ("b.pcap", &[]), ("c.pcap", &[0x55; 4096]), ("d.pcap.zst", &bomb)]
    {
        fs::write(folder.path().join(name), bytes)?;
    }
    let mut classify = ntc("classify")?;
    let ended = confined::run(classify.args(["--format", "json"]).arg(folder.path()), LIMIT)?;
    ensure!(ended.code == PARTIAL && ended.stdout.lines().count() == 1, "{ended:?}");
    for says in ["claims 4294967295 bytes", "is empty", "not with a pcap", "times its size", "4 of 4 files"] {
        ensure!(ended.stderr.contains(says), "{says}: {ended:?}");
    }
    ensure!(ended.peak_rss < 400 * MB, "{} MB resident", ended.peak_rss / MB);
    Ok(())
}

#[test]
fn a_pipe_may_trickle_and_break_off() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )?;
    let mut file = pcap(65535);
    let frame = Frame::udp(("10.0.0.1".parse()?, 1), ("10.0.0.2".parse()?, 53), 0).bytes();
    (0..50).for_each(|at| record(&mut file, at, frame.len() as u32, &frame));
    file.truncate(file.len() - 1);
    let writer = std::thread::spawn({
        let (fifo, file) = (fifo.clone(), file.clone());
        move || -> std::io::Result<()> {
            let mut pipe = File::options().write(true).open(fifo)?;
            file.chunks(7).try_for_each(|piece| pipe.write_all(piece))
        }
    });
    let ended = extract_file(&fifo, &folder.path().join("out.parquet"))?;
    ensure!(writer.join().is_ok_and(|result| result.is_ok()));
    ensure!(ended.code == PARTIAL && ended.stderr.contains("1 flows of 49 packets"), "{ended:?}");
    // Never a byte of a capture, but without end.
    let mut zeros = ntc("extract")?;
    zeros.arg("-").arg("-o").arg(folder.path().join("o")).stdin(File::open("/dev/zero")?);
    let ended = confined::run(&mut zeros, LIMIT)?;
    ensure!(ended.code == PARTIAL && ended.stderr.contains("not with a pcap"), "{ended:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random bytes behind the start of each format.
    #[test]
    fn random_files_are_survived(
        start in prop::sample::select(vec![vec![], pcap(65535), pcapng(), vec![0x1f, 0x8b, 8, 0], vec![0x28, 0xb5, 0x2f, 0xfd]]),
        bytes in vec(any::<u8>(), 0..20_000),
    ) {
        let ended = extract("random.pcap", &[start, bytes].concat());
        let ended = ended.map_err(|error| proptest::test_runner::TestCaseError::fail(error.to_string()))?;
        prop_assert!(ended.code == DONE || ended.code == PARTIAL, "{:?}", ended);
        prop_assert!(ended.peak_rss < SMALL + 140 * MB, "{} MB resident", ended.peak_rss / MB);
    }
}
