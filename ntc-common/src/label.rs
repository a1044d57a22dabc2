//! The answer for a flow, and the heartbeat on which it hangs.

shared_struct! {
    /// The answer for one flow: value of the pinned map `LABELS`, whose key is the flow's
    /// [`FlowKey`](crate::key::FlowKey).
    pub struct Label: 32 {
        /// The flow's first packet, ns of `CLOCK_MONOTONIC`: the label holds for that flow only.
        pub start_ns: u64,
        /// When the label was written, ns of `CLOCK_MONOTONIC`.
        pub set_at_ns: u64,
        /// Which of the models that the agent has loaded spoke, from 1.
        pub model_epoch: u32,
        /// Stable id of `models/services.csv`; 0: unknown.
        pub service: u16,
        /// Probability of the answer in 1/65535.
        pub confidence: u16,
        /// The service whose class the packets have: of this answer, or of an earlier one that this one is not sure
        /// enough to take the place of.
        pub acts_as: u16,
        /// Probability of that answer in 1/65535.
        pub acts_confidence: u16,
        /// [`Stage`] as a number.
        pub stage: u8,
        /// QoS class of `models/services.csv`; 0: unknown.
        pub class: u8,
        /// Packets of the sequence that the answer rests on.
        pub packets: u8,
        /// How often the flow's class has changed, the first one counted.
        pub changes: u8,
    }
}

/// How much of the flow an answer rests on.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// More of the sequence may come: the answer may change.
    Provisional = 1,
    /// The sequence is full or the flow closed.
    Final = 2,
}

impl Stage {
    /// Name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provisional => "provisional",
            Self::Final => "final",
        }
    }

    /// From [`Label::stage`].
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Provisional),
            2 => Some(Self::Final),
            _ => None,
        }
    }
}

shared_struct! {
    /// The one slot of the map `HEARTBEAT`. Labels count only while the kernel's jiffies are below
    /// `deadline`: the agent moves it on each second, so a dead agent's labels end by themselves.
    pub struct Heartbeat: 16 {
        /// In jiffies (`bpf_jiffies64`), whose rate the agent measures: they cost nearly nothing to read.
        pub deadline: u64,
        /// Jiffies when the deadline was set.
        pub set_at: u64,
    }
}
