//! What the agent tells of itself.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use ntc_common::{error::ParseError, ledger::Ledger, policy::Enforcement};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::{
    assemble::{self, Cause},
    catalogue::{Catalogue, class_name},
    classify::Answer,
    flow::FlowId,
    kernel::{
        attach::{Hook, hooks::Change, witness::Verdict},
        flow_table::FlowTable,
        netlink::links::PERIOD,
        tables::{Counts, ShadowCount},
    },
};

/// One line of `ntc run --format json`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Programs are attached, labels count.
    Ready(Ready),
    /// An interface came, went or changed, or a program on it was found to run or not to.
    Interface(InterfaceEvent),
    /// Another model was asked for.
    Model(ModelEvent),
    /// A label was written, or changed.
    Label(Box<LabelEvent>),
    /// Once a second.
    Stats(Box<Stats>),
    /// The last line.
    Summary(Box<Stats>),
}

/// Where the agent works.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// Names of the interfaces that programs are on.
    pub interfaces: Vec<String>,
    /// Which programs, and why there.
    pub hooks: Vec<Hook>,
    /// Where the maps are pinned.
    pub pin_dir: String,
    /// Name and version of the model.
    pub model: String,
    /// The kernel's flow table, for who lives in this process.
    #[serde(skip)]
    pub flows: Arc<FlowTable>,
}

impl Ready {
    /// With names taken from the hooks.
    pub fn new(hooks: Vec<Hook>, pin_dir: String, model: String, flows: Arc<FlowTable>) -> Self {
        let interfaces = hooks.iter().map(|hook| hook.interface.clone()).collect();
        Self { interfaces, hooks, pin_dir, model, flows }
    }
}

/// What became of a model that was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct ModelEvent {
    /// `loaded`, `refused`, or `rolled back` where its first batch failed.
    pub change: &'static str,
    /// Name and version of the model that answers now.
    #[serde(serialize_with = "shared_text")]
    pub model: Arc<str>,
    /// Its epoch.
    pub epoch: u32,
    /// Why.
    pub why: String,
}

/// What became of an interface.
#[derive(Clone, Debug, Serialize)]
pub struct InterfaceEvent {
    /// Its name now.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// `attached`, `detached`, `renamed`, `failed`, `running` or `silent`.
    pub change: &'static str,
    /// Where its packets are captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<&'static str>,
    /// How labels act there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce: Option<&'static str>,
    /// Name before, of one that was renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// Which program runs or is silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<&'static str>,
    /// Why.
    pub why: String,
}

impl InterfaceEvent {
    /// At the start [`Ready`] tells of what was attached; what was not is left to tell.
    pub fn at_start(change: Change) -> Option<Self> {
        matches!(change, Change::Failed { .. }).then(|| change.into())
    }

    fn of(hook: Hook, change: &'static str) -> Self {
        let Hook { interface, index, capture, enforce, why } = hook;
        Self { interface, index, change, capture, enforce, was: None, program: None, why }
    }
}

impl From<Change> for InterfaceEvent {
    fn from(change: Change) -> Self {
        match change {
            Change::Attached(hook) => Self::of(hook, "attached"),
            Change::Detached(hook) => Self {
                why: "it has gone, or captures in another place now".into(),
                ..Self::of(hook, "detached")
            },
            Change::Renamed(hook, was) => Self {
                why: format!("it was {was}; programs stay on it"),
                was: Some(was),
                ..Self::of(hook, "renamed")
            },
            Change::Failed { interface, index, error } => Self {
                interface,
                index,
                change: "failed",
                capture: None,
                enforce: None,
                was: None,
                program: None,
                why: error,
            },
            Change::Tested(hook, program, verdict) => {
                let (change, why) = match verdict {
                    Verdict::Runs => ("running", "packets pass and it runs".into()),
                    Verdict::Silent(packets) => (
                        "silent",
                        format!(
                            "{packets} packets passed in {} s and it did not run: a program before it on the hook has \
                             the last word, or packets go another way (offload, XDP redirect)",
                            PERIOD.as_secs()
                        ),
                    ),
                };
                Self { program: Some(program.name()), why, ..Self::of(hook, change) }
            }
        }
    }
}

fn shared_text<S: Serializer>(text: &Arc<str>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(text)
}

/// A flow and its label.
#[derive(Clone, Debug, Serialize)]
pub struct LabelEvent {
    /// Which flow.
    #[serde(flatten)]
    pub flow: FlowId,
    /// First packet, Unix time in ns.
    pub first_ts_ns: u64,
    /// nDPI's full name, or `unknown`.
    pub service: &'static str,
    /// Its protocol.
    pub protocol: &'static str,
    /// Its QoS class.
    pub class: &'static str,
    /// Probability of the answer, 0 to 1.
    pub confidence: f32,
    /// `provisional` or `final`.
    pub stage: &'static str,
    /// Name and version of the model that answered.
    #[serde(serialize_with = "shared_text")]
    pub model: Arc<str>,
    /// Its epoch.
    pub model_epoch: u32,
    /// Packets that the answer rests on.
    pub packets: usize,
    /// Why the flow was asked about.
    pub reason: Cause,
    /// From the packet that brought the question to the label in the map, in microseconds.
    pub decided_us: u64,
    /// From the first packet to the label in the map, in microseconds.
    pub age_us: u64,
    /// The label is in the map; not so where the flow was over by then.
    pub written: bool,
    /// It is the flow's first.
    pub first: bool,
}

impl LabelEvent {
    /// Names for an answer.
    pub fn names(answer: &Answer) -> (&'static str, &'static str, &'static str) {
        let (service, protocol) = Catalogue::shipped().names(answer.service);
        (service, protocol, class_name(answer.class))
    }
}

/// Counts since the start.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// Flows of which a record came.
    pub flows: u64,
    /// Flows that were labelled at least once.
    pub labelled: u64,
    /// Of those, the ones whose first label came early: before a pause, a close or the whole sequence.
    pub labelled_early: u64,
    /// Flows that the model failed on, and labels that could not be written; the log says why.
    pub failed: u64,
    /// Events that found the queue to the output full.
    pub events_lost: u64,
    /// Where each packet went.
    pub ledger: LedgerView,
    /// What the tc programs did.
    pub enforcement: EnforcementView,
    /// Packets and bytes that left in each class, by name.
    pub classes: BTreeMap<Cow<'static, str>, [u64; 2]>,
    /// Packets and bytes that left of each service that a label names.
    #[serde(default)]
    pub services: BTreeMap<Cow<'static, str>, [u64; 2]>,
    /// What the shadow would have done with packets inside, where there is one.
    #[serde(default)]
    pub shadow: Vec<ShadowView>,
    /// What the assembler did.
    pub assembler: assemble::Counts,
    /// Deciding packet (20th or closing) to label, in microseconds.
    pub decided_us: Percentiles,
    /// First packet to first label, in microseconds.
    pub first_label_us: Percentiles,
}

/// Of a distribution of times.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Percentiles {
    /// How many.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
}

/// [`Ledger`] with names.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LedgerView {
    /// Wire packets that were ntc's to account.
    pub seen: u64,
    /// Left a record.
    pub recorded: u64,
    /// Of flows whose sequence is full.
    pub gated: u64,
    /// Of no flow.
    pub not_flow: u64,
    /// Lost by ntc: ring or table full.
    pub dropped: u64,
    /// Whether the sums close.
    pub closes: bool,
    /// New flows.
    pub new_flows: u64,
    /// Flows taken up again after an eviction.
    pub resumed_flows: u64,
    /// Flows that began while the agent was behind, and are not classified.
    pub shed_flows: u64,
    /// Counters that are not 0, by name.
    pub reasons: BTreeMap<Cow<'static, str>, u64>,
}

impl From<&Ledger> for LedgerView {
    fn from(ledger: &Ledger) -> Self {
        let named = [
            ("ring_full", ledger.ring_full),
            ("table_full", ledger.table_full),
            ("super_packets", ledger.super_packets),
            ("unsplit", ledger.unsplit),
            ("zero_ip_len", ledger.zero_ip_len),
        ];
        let errors = ParseError::ALL.iter().zip(&ledger.not_flow).map(|(error, n)| (error.name(), *n));
        Self {
            seen: ledger.seen,
            recorded: ledger.recorded,
            gated: ledger.gated,
            not_flow: ledger.not_flow_total(),
            dropped: ledger.dropped(),
            closes: ledger.closes(),
            new_flows: ledger.new_flows,
            resumed_flows: ledger.resumed_flows,
            shed_flows: ledger.shed_flows,
            reasons: named
                .into_iter()
                .chain(errors)
                .filter(|(_, n)| *n > 0)
                .map(|(name, n)| (name.into(), n))
                .collect(),
        }
    }
}

/// [`Enforcement`] with names.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct EnforcementView {
    /// At tc ingress.
    pub ingress: u64,
    /// At tc egress.
    pub egress: u64,
    /// Left alone: no heartbeat.
    pub stale: u64,
    /// Left alone for want of a class.
    pub unlabelled: u64,
    /// Class applied from the label.
    pub labelled: u64,
    /// Class applied from the mark.
    pub by_mark: u64,
    /// Code point written.
    pub remarked: u64,
    /// Class applied from a rule of the operator's.
    pub by_rule: u64,
    /// Class applied from the policy's default.
    pub by_default: u64,
    /// Dropped, as the class says.
    pub dropped: u64,
}

impl From<&Enforcement> for EnforcementView {
    fn from(counts: &Enforcement) -> Self {
        let Enforcement {
            ingress,
            egress,
            stale,
            unlabelled,
            labelled,
            by_mark,
            remarked,
            by_rule,
            by_default,
            dropped,
        } = *counts;
        Self { ingress, egress, stale, unlabelled, labelled, by_mark, remarked, by_rule, by_default, dropped }
    }
}

/// Packets inside that had one class, and would have had the same or another by the shadow's model and policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShadowView {
    /// The class that they had; none: left alone.
    pub class: Option<String>,
    /// The class that they would have had; none: left alone.
    pub would: Option<String>,
    /// How many.
    pub packets: u64,
    /// Their bytes on the wire, link headers included.
    pub bytes: u64,
}

/// What the shadow counted.
pub fn shadow(counts: &Counts) -> Vec<ShadowView> {
    let view = |count: &ShadowCount| ShadowView {
        class: (count.class != 0).then(|| named(counts, count.class)),
        would: (count.would != 0).then(|| name_or_number(count.would_name.clone(), count.would)),
        packets: count.counter.packets,
        bytes: count.counter.bytes,
    };
    counts.shadow.iter().map(view).collect()
}

/// A class by the policy that counts.
fn named(counts: &Counts, class: u8) -> String {
    name_or_number(counts.class_names.get(usize::from(class)).cloned().flatten(), class)
}

/// A class that the policy no longer has goes by its number.
fn name_or_number(name: Option<String>, class: u8) -> String {
    name.unwrap_or_else(|| format!("class {class}"))
}

/// Packets and bytes of classes that have any.
pub fn classes(counts: &Counts) -> BTreeMap<Cow<'static, str>, [u64; 2]> {
    (0..)
        .zip(&counts.classes)
        .filter(|(_, counter)| counter.packets > 0)
        .map(|(class, counter)| (named(counts, class).into(), [counter.packets, counter.bytes]))
        .collect()
}

/// Packets and bytes of services that have any.
pub fn services(counts: &Counts) -> BTreeMap<Cow<'static, str>, [u64; 2]> {
    let name = |id| Catalogue::shipped().names(id).0;
    counts.services.iter().map(|(id, counter)| (name(*id).into(), [counter.packets, counter.bytes])).collect()
}
