//! `/v1/flows` and `/v1/flows/lookup`.

use std::{cmp::Reverse, sync::Arc};

use axum::{Json, extract::State};
use ntc_common::{flow::FlowState, key::FlowKey, label::Label};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    extract::{Body, Params},
    mirror::Entry,
    problem::Problem,
    query::{FlowsQuery, LookupQuery, Order, Page, Tuple, cursor},
    sdn::Format,
    state::{Live, Shared},
    view::{self, FlowView},
};
use crate::{
    clock::{self, UnixTime},
    policy::{Policy, Question},
};

/// 5-tuples in one question.
const LARGEST_BATCH: usize = 1000;

/// A page of flows.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FlowPage {
    /// The flows.
    pub flows: Vec<FlowView>,
    /// Labelled flows that there are, wanted or not.
    pub total: usize,
    /// Cursor of the next page; none behind the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Labelled flows. With `next` as `cursor` each page goes on where the one before ended: a flow that lives meanwhile
/// is on exactly one page, whatever comes and goes. Up to a second old; `/v1/flows/lookup` is not.
#[utoipa::path(get, path = "/v1/flows", tag = "flows", params(FlowsQuery), responses(
    (status = 200, body = FlowPage),
    (status = 400, body = Problem, content_type = "application/problem+json", description = "A parameter means nothing"),
    (status = 503, body = Problem, content_type = "application/problem+json", description = "The agent is starting")
))]
pub async fn flows(
    State(shared): State<Arc<Shared>>,
    Params(query): Params<FlowsQuery>,
) -> Result<Json<FlowPage>, Problem> {
    let page = query.page(|name| shared.ifindex(name))?;
    let (live, unix_time) = (shared.live()?, shared.unix_time());
    Ok(Json(if page.order == Order::Key {
        by_key(&shared, live, &page, unix_time)
    } else {
        foremost(&shared, live, &page, unix_time)
    }))
}

fn by_key(shared: &Shared, live: &Live, page: &Page, unix_time: UnixTime) -> FlowPage {
    let now_ns = clock::monotonic_ns();
    let mirror = live.mirror();
    let mut wanted = mirror
        .range(page.after.as_ref())
        .filter(|(key, entry)| page.filter.wants(key, entry, now_ns))
        .take(page.limit + 1);
    let found: Vec<_> = wanted.by_ref().take(page.limit).collect();
    let more = wanted.next().is_some();
    let next = found.last().filter(|_| more).map(|(key, _)| cursor(key));
    let flows = found.iter().map(|(key, entry)| shared.view(key, entry, unix_time)).collect();
    FlowPage { flows, total: mirror.len(), next }
}

fn foremost(shared: &Shared, live: &Live, page: &Page, unix_time: UnixTime) -> FlowPage {
    let now_ns = clock::monotonic_ns();
    let mirror = live.mirror();
    let rank = |entry: &Entry| match page.order {
        Order::Key => 0,
        Order::Rate => entry.bits_per_s,
        Order::Bytes => entry.state.bytes.iter().sum(),
        Order::Packets => entry.state.packets.iter().sum(),
        Order::Latest => entry.label.set_at_ns,
        Order::Unsure => u64::from(u16::MAX - entry.label.confidence),
    };
    let mut wanted: Vec<_> = mirror
        .range(None)
        .filter(|(key, entry)| page.filter.wants(key, entry, now_ns))
        .map(|(key, entry)| (Reverse(rank(entry)), key, entry))
        .collect();
    let by_rank = |flow: &(Reverse<u64>, &FlowKey, &Entry)| (flow.0, *flow.1);
    if wanted.len() > page.limit {
        wanted.select_nth_unstable_by_key(page.limit, by_rank);
        wanted.truncate(page.limit);
    }
    wanted.sort_unstable_by_key(by_rank);
    let flows = wanted.iter().map(|(_, key, entry)| shared.view(key, entry, unix_time)).collect();
    FlowPage { flows, total: mirror.len(), next: None }
}

/// What is known of a 5-tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is a flow with a label.
    Labelled,
    /// It is a flow that has no label yet, or none any more.
    Unlabelled,
    /// It is no live flow, or none that passed here.
    NotFound,
}

/// Which way the question's packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the flow's source: who sent the first packet.
    Forward,
    /// To it.
    Backward,
}

/// What the policy does with a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Treatment {
    /// The class that its packets are given; none where they are left alone.
    pub class: Option<String>,
    /// Code point by the policy, by name or number.
    pub dscp: Option<String>,
    /// Queue by the policy (`skb->priority`), `major:minor` in hexadecimal.
    pub priority: Option<String>,
}

/// The answer for one 5-tuple.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// As it was asked for.
    pub tuple: Tuple,
    /// What is known of it.
    pub status: Status,
    /// Which way the question's packets go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The flow and its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowView>,
    /// What the policy does with its packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub treatment: Option<Treatment>,
    /// Matches for the controller, from the tuple's source and to it.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub matches: Option<[Value; 2]>,
}

/// `POST /v1/flows/lookup`
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Up to 1,000.
    #[schema(max_items = 1000)]
    pub flows: Vec<Tuple>,
    /// Whose match is wanted, too.
    #[serde(default, rename = "match")]
    pub format: Option<Format>,
}

/// Answers in the order of the questions.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Answers {
    /// One for each 5-tuple.
    pub flows: Vec<Answer>,
}

/// The flow that a 5-tuple belongs to, in either direction, from the kernel's maps themselves.
#[utoipa::path(get, path = "/v1/flows/lookup", tag = "flows", params(LookupQuery), responses(
    (status = 200, body = Answer),
    (status = 400, body = Problem, content_type = "application/problem+json", description = "No 5-tuple"),
    (status = 503, body = Problem, content_type = "application/problem+json", description = "The agent is starting")
))]
pub async fn lookup(
    State(shared): State<Arc<Shared>>,
    Params(LookupQuery { src_ip, dst_ip, src_port, dst_port, proto, format }): Params<LookupQuery>,
) -> Result<Json<Answer>, Problem> {
    let tuple = Tuple { src_ip, dst_ip, src_port, dst_port, proto };
    let policy = shared.lock_policy().current();
    answer(&shared, shared.live()?, &tuple, format, &policy).map(Json)
}

/// Many at once.
#[utoipa::path(post, path = "/v1/flows/lookup", tag = "flows", request_body = Batch, responses(
    (status = 200, body = Answers),
    (status = 400, body = Problem, content_type = "application/problem+json", description = "A tuple that is none, or too many"),
    (status = 415, body = Problem, content_type = "application/problem+json", description = "No JSON by its media type"),
    (status = 422, body = Problem, content_type = "application/problem+json", description = "JSON, and no question"),
    (status = 413, body = Problem, content_type = "application/problem+json", description = "More than 256 KiB"),
    (status = 503, body = Problem, content_type = "application/problem+json", description = "The agent is starting")
))]
pub async fn lookup_many(
    State(shared): State<Arc<Shared>>,
    Body(Batch { flows, format }): Body<Batch>,
) -> Result<Json<Answers>, Problem> {
    if flows.len() > LARGEST_BATCH {
        return Err(Problem::bad_request(format!("{} flows; {LARGEST_BATCH} at most", flows.len())));
    }
    let policy = shared.lock_policy().current();
    let live = shared.live()?;
    let answers = flows.iter().map(|tuple| answer(&shared, live, tuple, format, &policy));
    Ok(Json(Answers { flows: answers.collect::<Result<_, _>>()? }))
}

fn answer(
    shared: &Shared,
    live: &Live,
    tuple: &Tuple,
    format: Option<Format>,
    policy: &Policy,
) -> Result<Answer, Problem> {
    let (key, unix_time) = (tuple.key()?, shared.unix_time());
    let labelled = live.label(&key)?;
    let state = labelled.map_or_else(|| live.flow(&key), |(_, state)| Some(state));
    let direction = |state: &FlowState| {
        let source = view::id(key, state).source();
        if (source.ip(), source.port()) == (tuple.src_ip, tuple.src_port) {
            Direction::Forward
        } else {
            Direction::Backward
        }
    };
    Ok(Answer {
        tuple: *tuple,
        status: match (&labelled, &state) {
            (Some(_), _) => Status::Labelled,
            (None, Some(_)) => Status::Unlabelled,
            (None, None) => Status::NotFound,
        },
        direction: state.as_ref().map(direction),
        flow: labelled.map(|(label, state)| {
            let bits_per_s = live.mirror().get(&key).map(|entry| entry.bits_per_s);
            FlowView::new(key, &state, &label, unix_time, bits_per_s, shared.interface(state.ifindex))
        }),
        treatment: labelled.map(|(label, _)| treatment(&key, &label, policy)),
        matches: format.map(|format| format.both(tuple)),
    })
}

/// By the rules and the label, as on an interface that is captured.
fn treatment(key: &FlowKey, label: &Label, policy: &Policy) -> Treatment {
    let explained = policy.explain(Question::Flow { key, label: Some(label) });
    Treatment { class: explained.class, dscp: explained.dscp, priority: explained.priority }
}
