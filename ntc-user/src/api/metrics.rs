//! `/metrics`: for Prometheus, and for who knows its older text format only.

use std::{collections::HashSet, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, header},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::{
    problem::Problem,
    state::{Shared, read},
    stats::ApiCounts,
};
use crate::{
    catalogue::{Catalogue, class_name},
    event::{EnforcementView, LabelEvent, LedgerView, ShadowView, Stats},
    export::ExportView,
};

/// What `Accept` of Prometheus asks for first.
const OPEN_METRICS: &str = "application/openmetrics-text";
/// As it is answered.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The older text format.
const CLASSIC_MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Times to a label in seconds, what labels say, and how sure they are.
#[derive(Debug)]
pub struct Times {
    decided: Histogram,
    first: Histogram,
    confidence: Histogram,
    services: Counters,
}

impl Default for Times {
    fn default() -> Self {
        // 100 us to 26 s: from a sequence that is full at once to a flow that hardly speaks.
        let times = || Histogram::new(exponential_buckets(0.000_1, 2.0, 19));
        let confidence = Histogram::new((1..10).map(|tenth| f64::from(tenth) / 10.0));
        Self { decided: times(), first: times(), confidence, services: Counters::default() }
    }
}

impl Times {
    /// Takes a label in.
    pub fn observe(&self, label: &LabelEvent) {
        let seconds = |us: u64| us as f64 / 1e6;
        // A pause is waited for by intent.
        if label.reason.decides() {
            self.decided.observe(seconds(label.decided_us));
        }
        if label.first {
            self.first.observe(seconds(label.age_us));
        }
        self.confidence.observe(label.confidence.into());
        self.services.get_or_create(&Of { name: label.service.into() }).inc();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    name: String,
}

type Counters = Family<Of, Counter>;
type Gauges = Family<Of, Gauge>;

/// Metrics of every stage.
#[utoipa::path(get, path = "/metrics", tag = "agent", responses(
    (status = 200, description = "OpenMetrics to who accepts it, else the text format before it", content((String = "application/openmetrics-text"), (String = "text/plain"))),
    (status = 503, body = Problem, content_type = "application/problem+json", description = "The agent is starting")
))]
pub async fn metrics(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    let stats = shared.stats()?;
    let mut registry = Registry::with_prefix("ntc");
    agent(&mut registry, &shared);
    stages(&mut registry, &stats);
    ledger(&mut registry, &stats.ledger);
    enforcement(&mut registry, &stats);
    flows(&mut registry, &shared)?;
    api(&mut registry, &ApiCounts::of(&shared));
    exports(&mut registry, &shared);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| Problem::unavailable(error.to_string()))?;
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepted.into_iter().any(|value| value.contains(OPEN_METRICS)) {
        return Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text));
    }
    Ok(([(header::CONTENT_TYPE, CLASSIC_MEDIA_TYPE)], classic(&text)))
}

/// OpenMetrics text in the format before it, where a counter's comments have the name of its samples.
fn classic(text: &str) -> String {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<&str> = types.filter_map(|kind| kind.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => {}
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                out += &format!("# {what} {name}_total {rest}\n");
            }
            _ => out.extend([line, "\n"]),
        }
    }
    out
}

fn agent(registry: &mut Registry, shared: &Shared) {
    let (agent, model) = (read(&shared.agent), shared.reload.models().current());
    let mut labels = vec![("version", agent.version.to_string())];
    if let Some(model) = &model {
        labels.push(("model", model.manifest.model.name.clone()));
        labels.push(("model_version", model.manifest.model.version.clone()));
        labels.push(("model_sha256", model.sha256.clone()));
    }
    // A gauge, since Prometheus' own text format knows no type `info`.
    let info = Family::<Vec<(&str, String)>, Gauge>::default();
    info.get_or_create(&labels).set(1);
    registry.register("agent_info", "The agent and its model", info);
    gauge(registry, "ready", "Programs are attached and labels count", u64::from(agent.ready));
    gauge(
        registry,
        "model_epoch",
        "Number of the model that answers",
        model.map_or(0, |model| model.epoch).into(),
    );
    registry.register_with_unit(
        "label_decided",
        "From the packet that brought the question to the label",
        Unit::Seconds,
        shared.times.decided.clone(),
    );
    registry.register_with_unit(
        "label_age",
        "From a flow's first packet to the label",
        Unit::Seconds,
        shared.times.first.clone(),
    );
    registry.register("label_confidence", "Confidence of labels", shared.times.confidence.clone());
    registry.register(
        "labels",
        "Labels given, by service; a flow may get several, the last of which counts",
        shared.times.services.clone(),
    );
    registry.register_with_unit(
        "inference",
        "Time of one call of the model, by flows that it answered",
        Unit::Seconds,
        shared.reload.models().times(),
    );
}

fn stages(registry: &mut Registry, stats: &Stats) {
    let assembler = &stats.assembler;
    counters(
        registry,
        "agent_flows",
        "Flows by what became of them in the agent",
        [
            ("recorded", stats.flows),
            ("labelled", stats.labelled),
            ("labelled_early", stats.labelled_early),
            ("gapped", assembler.gapped),
            ("headless", assembler.headless),
            ("deferred", assembler.deferred),
            ("evicted", assembler.evicted),
        ],
    );
    counter(registry, "records_misfit", "Records that fitted nowhere", assembler.misfits);
    counter(
        registry,
        "answers_failed",
        "Flows that the model failed on, labels that could not be written",
        stats.failed,
    );
    counter(registry, "events_lost", "Label events that found the queue full", stats.events_lost);
}

fn ledger(registry: &mut Registry, ledger: &LedgerView) {
    let LedgerView { seen, recorded, gated, not_flow, dropped, new_flows, resumed_flows, shed_flows, .. } =
        *ledger;
    counter(registry, "packets_seen", "Wire packets that were ntc's to account", seen);
    counters(
        registry,
        "packets",
        "Where each packet went: the sum is packets_seen",
        [("recorded", recorded), ("gated", gated), ("not_flow", not_flow), ("dropped", dropped)],
    );
    let reasons = ledger.reasons.iter().map(|(name, count)| (name.as_ref(), *count));
    counters(registry, "packet_reasons", "Packets by reason: of no flow, lost, or counted apart", reasons);
    counters(
        registry,
        "flows_begun",
        "Flows in the kernel",
        [("new", new_flows), ("resumed", resumed_flows), ("shed", shed_flows)],
    );
}

fn enforcement(registry: &mut Registry, stats: &Stats) {
    let EnforcementView {
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
    } = stats.enforcement;
    counters(
        registry,
        "enforcement_packets",
        "Packets at the tc programs, by what was done",
        [
            ("ingress", ingress),
            ("egress", egress),
            ("stale", stale),
            ("unlabelled", unlabelled),
            ("labelled", labelled),
            ("by_mark", by_mark),
            ("remarked", remarked),
            ("by_rule", by_rule),
            ("by_default", by_default),
            ("dropped", dropped),
        ],
    );
    let of = |index: usize| stats.classes.iter().map(move |(name, counts)| (name.as_ref(), counts[index]));
    counters(registry, "class_packets", "Packets that left in a class", of(0));
    counters(registry, "class_bytes", "Bytes that left in a class", of(1));
    let of = |index: usize| stats.services.iter().map(move |(name, counts)| (name.as_ref(), counts[index]));
    counters(registry, "service_packets", "Packets that left of a service", of(0));
    counters(registry, "service_bytes", "Bytes that left of a service", of(1));
    shadow(registry, &stats.shadow);
}

/// Two labels, the class and the one that would have been.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Would {
    class: String,
    would: String,
}

fn shadow(registry: &mut Registry, counts: &[ShadowView]) {
    if counts.is_empty() {
        return;
    }
    let (packets, bytes) = (Family::<Would, Counter>::default(), Family::<Would, Counter>::default());
    for count in counts {
        let name = |class: &Option<String>| class.clone().unwrap_or_default();
        let of = Would { class: name(&count.class), would: name(&count.would) };
        packets.get_or_create(&of).inc_by(count.packets);
        bytes.get_or_create(&of).inc_by(count.bytes);
    }
    registry.register("shadow_packets", "Packets inside by class and by the shadow's class", packets);
    registry.register("shadow_bytes", "Their bytes", bytes);
}

fn exports(registry: &mut Registry, shared: &Shared) {
    let views: Vec<_> = shared.exports.iter().map(|export| export.view()).collect();
    let of = |count: fn(&ExportView) -> u64| views.iter().map(move |view| (view.to.as_str(), count(view)));
    counters(registry, "export_records", "Records that an export sent", of(|view| view.sent));
    counters(
        registry,
        "export_lost",
        "Changes that were gone before an export could send them",
        of(|view| view.lost),
    );
    counters(
        registry,
        "export_failures",
        "An export's connections that failed or broke",
        of(|view| view.failures),
    );
    gauges(
        registry,
        "export_connected",
        "Whether an export reaches the other side",
        of(|view| view.connected.into()),
    );
}

fn flows(registry: &mut Registry, shared: &Shared) -> Result<(), Problem> {
    let live = shared.live()?;
    let mirror = live.mirror();
    let sums = mirror.sums();
    let taken = live.taken();
    gauges(
        registry,
        "map_entries",
        "Places taken in the kernel's tables",
        [("flows", taken.flows), ("labels", taken.labels)],
    );
    gauges(
        registry,
        "map_capacity",
        "Places in the kernel's tables",
        [("flows", live.capacity() as u64), ("labels", live.label_capacity() as u64)],
    );
    gauge(registry, "labelled_flows", "Flows that have a label", sums.all.flows);
    gauge(registry, "provisional_flows", "Of these, with a provisional one", sums.provisional);
    let catalogue = Catalogue::shipped();
    let services = sums.services.iter().map(|(id, sum)| (catalogue.names(*id).0, sum.flows));
    gauges(registry, "service_flows", "Labelled flows by service", services);
    let classes = (0u8..).zip(&sums.classes).filter(|(_, sum)| sum.flows > 0);
    gauges(
        registry,
        "class_flows",
        "Labelled flows by class",
        classes.clone().map(|(n, sum)| (class_name(n), sum.flows)),
    );
    let rates = classes.map(|(n, sum)| (class_name(n), sum.bits_per_s / 8));
    gauges(registry, "class_bytes_per_second", "Rate of labelled flows by class", rates);
    Ok(())
}

fn api(registry: &mut Registry, counts: &ApiCounts) {
    let ApiCounts { requests, refused, connections_refused, subscribers, slow_readers, missed } = *counts;
    counters(registry, "api_requests", "Requests", [("answered", requests), ("refused", refused)]);
    counter(registry, "api_connections_refused", "Connections beyond the limit", connections_refused);
    gauge(registry, "api_subscribers", "Open streams of events", subscribers);
    counter(registry, "api_slow_readers", "Readers that were dropped", slow_readers);
    counter(registry, "api_events_missed", "Label events found by a later look at all labels", missed);
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(value.try_into().unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn counters<'a>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) {
    let family = Counters::default();
    for (name, value) in values {
        family.get_or_create(&Of { name: name.into() }).inc_by(value);
    }
    registry.register(name, help, family);
}

fn gauges<'a>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) {
    let family = Gauges::default();
    for (name, value) in values {
        family.get_or_create(&Of { name: name.into() }).set(value.try_into().unwrap_or(i64::MAX));
    }
    registry.register(name, help, family);
}
