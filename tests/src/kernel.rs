//! ntc's programs, run packet by packet (`BPF_PROG_TEST_RUN`), and their maps.

use std::{
    borrow::BorrowMut,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
    programs::{
        SchedClassifier, TcAttachType, TestRun as _, TestRunOptions, TestRunResult, Xdp, XdpMode, tc,
    },
    util::KernelVersion,
};
use ntc_common::{
    key::FlowKey,
    label::Label,
    ledger::Ledger,
    offload::Offload,
    policy::{ClassCounter, Enforcement, PolicyTable, interface_flags},
    record::PacketRecord,
};
use ntc_user::{
    capture::ring::records,
    kernel::{
        load::{self, Settings},
        pins::PinDirectory,
    },
    policy::Policy,
};

use crate::net::Namespace;

/// The interface that test runs of tc programs seem to be on: loopback.
const TEST_RUN_INTERFACE: u32 = 1;
/// Offsets in `struct __sk_buff` (include/uapi/linux/bpf.h).
const SK_BUFF: usize = 192;
const MARK: usize = 8;
const PRIORITY: usize = 32;
const WIRE_LEN: usize = 160;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;

/// The loaded object, unpinned and unattached.
pub struct Programs {
    /// The object itself.
    pub ebpf: Ebpf,
    ring: RingBuf<MapData>,
}

/// Wake-ups of who waits for records.
pub struct WakeUps {
    epoll: OwnedFd,
}

impl WakeUps {
    /// Whether there was one since the last call; it may be so long under way.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn next(&self, within: Duration) -> anyhow::Result<bool> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: there is room for the one event that the kernel may write.
        let events =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), &raw mut event, 1, within.as_millis() as i32) };
        anyhow::ensure!(events >= 0, std::io::Error::last_os_error());
        Ok(events == 1)
    }
}

/// Whether this kernel has TCX: from Linux 6.6 on.
///
/// # Errors
/// Its version cannot be told.
pub fn has_tcx() -> anyhow::Result<bool> {
    Ok(KernelVersion::current()? >= KernelVersion::new(6, 6, 0))
}

/// What a tc program made of a packet.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// `skb->mark`.
    pub mark: u32,
    /// `skb->priority`.
    pub priority: u32,
    /// The bytes afterwards.
    pub bytes: Vec<u8>,
}

impl Programs {
    /// Loads the object; tc ingress accounts packets, too, and enforces.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn load(settings: &Settings) -> anyhow::Result<Self> {
        Self::of(load::load(settings, None)?)
    }

    /// As [`load`](Self::load), its maps pinned.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn load_pinned(settings: &Settings, pins: &PinDirectory) -> anyhow::Result<Self> {
        Self::of(load::load(settings, Some(pins))?)
    }

    fn of(mut ebpf: Ebpf) -> anyhow::Result<Self> {
        let ring = RingBuf::try_from(ebpf.take_map("PACKETS").context("PACKETS")?)?;
        let mut programs = Self { ebpf, ring };
        programs.interface(interface_flags::CAPTURED_AT_TC | interface_flags::ENFORCED)?;
        Ok(programs)
    }

    /// Sets the flags of the interface that tc test runs are on.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn interface(&mut self, flags: u32) -> anyhow::Result<()> {
        self.announce(TEST_RUN_INTERFACE, flags)
    }

    fn announce(&mut self, index: u32, flags: u32) -> anyhow::Result<()> {
        let map = self.ebpf.map_mut("INTERFACES").context("INTERFACES")?;
        HashMap::<_, u32, u32>::try_from(map)?.insert(index, flags, 0)?;
        Ok(())
    }

    /// Captures on an interface of a namespace: at XDP, or at tc ingress where packets begin with the IP header; and at
    /// tc egress what the host makes itself.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn capture_on(&mut self, namespace: &Namespace, interface: &str) -> anyhow::Result<()> {
        let shown = namespace.output("ip", &["link", "show", "dev", interface])?;
        let raw_ip = shown.contains("link/none");
        let more = if raw_ip { interface_flags::NO_LINK_HEADER | interface_flags::CAPTURED_AT_TC } else { 0 };
        self.announce(namespace.index(interface)?, interface_flags::CAPTURED | more)?;
        namespace.enter(|| {
            // Before Linux 6.6 programs at tc hang on this qdisc; there already is as good.
            let _ = tc::qdisc_add_clsact(interface);
            let egress: &mut SchedClassifier = load::program(&mut self.ebpf, load::TC_EGRESS)?;
            egress.attach(interface, TcAttachType::Egress)?;
            if raw_ip {
                let ingress: &mut SchedClassifier = load::program(&mut self.ebpf, load::TC_INGRESS)?;
                ingress.attach(interface, TcAttachType::Ingress)?;
            } else {
                let xdp: &mut Xdp = load::program(&mut self.ebpf, load::XDP)?;
                xdp.attach(interface, XdpMode::Default)?;
            }
            Ok(())
        })
    }

    /// Gives a frame to the XDP program.
    ///
    /// # Errors
    /// The kernel takes no such frame.
    pub fn xdp(&mut self, frame: &[u8]) -> anyhow::Result<TestRunResult> {
        let program: &mut Xdp = load::program(&mut self.ebpf, load::XDP)?;
        Ok(program.test_run(TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() })?)
    }

    /// Gives a frame to a tc program.
    ///
    /// # Errors
    /// The kernel takes no such frame.
    pub fn tc(&mut self, name: &'static str, frame: &[u8], mark: u32) -> anyhow::Result<Verdict> {
        self.tc_with(name, frame, &[(MARK, mark)])
    }

    /// What a tc program says of a frame (`TC_ACT_…`).
    ///
    /// # Errors
    /// The kernel takes no such frame.
    pub fn verdict(&mut self, name: &'static str, frame: &[u8]) -> anyhow::Result<u32> {
        let program: &mut SchedClassifier = load::program(&mut self.ebpf, name)?;
        Ok(program.test_run(TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() })?.return_value)
    }

    /// Gives a frame to a tc program that stands for several on the wire.
    ///
    /// # Errors
    /// The kernel takes no such frame.
    pub fn tc_offloaded(
        &mut self,
        name: &'static str,
        frame: &[u8],
        offload: Offload,
    ) -> anyhow::Result<Verdict> {
        let wire_len = frame.len() as u32 + offload.repeated_len;
        let words = [(WIRE_LEN, wire_len), (GSO_SEGS, offload.segments), (GSO_SIZE, offload.segment_len)];
        self.tc_with(name, frame, &words)
    }

    fn tc_with(
        &mut self,
        name: &'static str,
        frame: &[u8],
        words: &[(usize, u32)],
    ) -> anyhow::Result<Verdict> {
        let program: &mut SchedClassifier = load::program(&mut self.ebpf, name)?;
        let (mut ctx_in, mut ctx_out) = (vec![0; SK_BUFF], vec![0; SK_BUFF]);
        for (at, word) in words {
            ctx_in[*at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        let mut bytes = vec![0; frame.len() + 256];
        let result = program.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut bytes),
            ctx_in: Some(&ctx_in),
            ctx_out: Some(&mut ctx_out),
            ..TestRunOptions::new()
        })?;
        bytes.truncate(result.data_size_out as usize);
        let word =
            |at: usize| -> anyhow::Result<u32> { Ok(u32::from_ne_bytes(ctx_out[at..at + 4].try_into()?)) };
        Ok(Verdict { mark: word(MARK)?, priority: word(PRIORITY)?, bytes })
    }

    /// The next record in the ring.
    pub fn record(&mut self) -> Option<PacketRecord> {
        let item = self.ring.next()?;
        records(&item).next()
    }

    /// Watches who is woken by records.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn wake_ups(&self) -> anyhow::Result<WakeUps> {
        // SAFETY: no memory is involved.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        anyhow::ensure!(epoll >= 0, std::io::Error::last_os_error());
        // SAFETY: the descriptor was made above and belongs to nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        // Edges: each wake-up is told once, however much is in the ring.
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
        let (ring, add) = (self.ring.as_raw_fd(), libc::EPOLL_CTL_ADD);
        // SAFETY: the kernel reads the event, which outlives the call.
        let added = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), add, ring, &raw mut event) };
        anyhow::ensure!(added == 0, std::io::Error::last_os_error());
        Ok(WakeUps { epoll })
    }

    /// The counts of all CPUs.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn ledger(&self) -> anyhow::Result<Ledger> {
        let map = PerCpuArray::<_, Ledger>::try_from(self.ebpf.map("LEDGER").context("LEDGER")?)?;
        let mut sum = Ledger::ZERO;
        map.get(&0, 0)?.iter().for_each(|cpu| sum.add(cpu));
        Ok(sum)
    }

    /// What the tc programs did, on all CPUs.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn enforcement(&self) -> anyhow::Result<Enforcement> {
        let map =
            PerCpuArray::<_, Enforcement>::try_from(self.ebpf.map("ENFORCEMENT").context("ENFORCEMENT")?)?;
        let mut sum = Enforcement::ZERO;
        map.get(&0, 0)?.iter().for_each(|cpu| sum.add(cpu));
        Ok(sum)
    }

    /// What left by tc egress, on all CPUs: of a class by `CLASS_COUNTERS`, of a service by `SERVICE_COUNTERS`.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn left(&self, map: &'static str, index: u32) -> anyhow::Result<ClassCounter> {
        let map = PerCpuArray::<_, ClassCounter>::try_from(self.ebpf.map(map).context(map)?)?;
        let mut sum = ClassCounter { packets: 0, bytes: 0 };
        for cpu in map.get(&index, 0)?.iter() {
            sum.packets += cpu.packets;
            sum.bytes += cpu.bytes;
        }
        Ok(sum)
    }

    /// Writes a policy.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn policy(&mut self, policy: &Policy) -> anyhow::Result<()> {
        let map = self.ebpf.map("POLICY_ACTIVE").context("POLICY_ACTIVE")?;
        let active = Array::<_, u32>::try_from(map)?.get(&0, 0)?;
        let map = self.ebpf.map_mut("POLICY").context("POLICY")?;
        Array::<_, PolicyTable>::try_from(map)?.set(active & 1, *policy.table, 0)?;
        Ok(())
    }

    /// Writes the shadow's policy.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn shadow_policy(&mut self, policy: &Policy) -> anyhow::Result<()> {
        let map = self.ebpf.map_mut("SHADOW_POLICY").context("SHADOW_POLICY")?;
        Array::<_, PolicyTable>::try_from(map)?.set(0, *policy.table, 0)?;
        Ok(())
    }

    /// Writes a label of the shadow.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn shadow_label(&mut self, key: &FlowKey, label: &Label) -> anyhow::Result<()> {
        let map = self.ebpf.map_mut("SHADOW_LABELS").context("SHADOW_LABELS")?;
        HashMap::<_, FlowKey, Label>::try_from(map)?.insert(key, label, 0)?;
        Ok(())
    }

    /// Writes a label, whatever flow there is.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn label(&mut self, key: &FlowKey, label: &Label) -> anyhow::Result<()> {
        self.labels()?.insert(key, label, 0)?;
        Ok(())
    }

    /// The label of a key.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn labels(&mut self) -> anyhow::Result<HashMap<impl BorrowMut<MapData>, FlowKey, Label>> {
        Ok(HashMap::try_from(self.ebpf.map_mut("LABELS").context("LABELS")?)?)
    }
}
