//! `/v1/services`, `/v1/classes`, `/v1/stats`.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use axum::{Json, extract::State};
use ntc_common::{limits::MAX_CLASSES, policy::CLASS_NAMES};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{problem::Problem, state::Shared};
use crate::{
    catalogue::{Catalogue, class_name},
    event::Stats,
    export::ExportView,
    policy,
};

/// A service that ntc knows by name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServiceView {
    /// Stable id; nDPI's, below 1,024.
    pub id: u16,
    /// nDPI's full name.
    pub name: String,
    /// Its protocol.
    pub protocol: String,
    /// Its QoS class.
    pub class: String,
    /// The model in use can answer with it.
    pub in_model: bool,
    /// Flows that have this label now.
    pub flows: u64,
    /// Their bits a second, both directions.
    pub bits_per_s: u64,
}

/// A QoS class.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClassView {
    /// Its number: what the packet mark carries.
    pub number: u8,
    /// Its name.
    pub name: String,
    /// Flows whose label has this class now.
    pub flows: u64,
    /// Their bits a second, both directions.
    pub bits_per_s: u64,
    /// Packets that left by tc egress in this class since the maps were made.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What the policy does with it; none: left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub policy: Option<serde_json::Value>,
}

/// Counts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatsView {
    /// Of the agent, since it started; of packets, since the maps were made.
    #[serde(flatten)]
    pub stats: Stats,
    /// Flows that have a label now.
    pub labelled_now: u64,
    /// Of these, those whose label is provisional.
    pub provisional_now: u64,
    /// Bits a second of labelled flows, both directions.
    pub bits_per_s: u64,
    /// Places of the flow table that are taken, labelled or not; up to a second old.
    #[serde(default)]
    pub table_flows: u64,
    /// Flows that the table has room for.
    pub table_capacity: u64,
    /// Of the interface itself.
    pub api: ApiCounts,
    /// Of each export.
    #[serde(default)]
    pub exports: Vec<ExportView>,
}

/// Counts of the interface itself.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ApiCounts {
    /// Requests that were answered.
    pub requests: u64,
    /// Requests refused: role, rate, size, form.
    pub refused: u64,
    /// Connections refused: too many at one time.
    pub connections_refused: u64,
    /// Streams of events that are open.
    pub subscribers: u64,
    /// Readers dropped because they did not keep up.
    pub slow_readers: u64,
    /// Label events that found the queue to the interface full; a look at all labels found them later.
    pub missed: u64,
}

impl ApiCounts {
    /// As they are now.
    pub fn of(shared: &Shared) -> Self {
        let counters = &shared.counters;
        Self {
            requests: counters.requests.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            connections_refused: counters.connections_refused.load(Ordering::Relaxed),
            subscribers: (super::state::SUBSCRIBERS - shared.subscribers.available_permits()) as u64,
            slow_readers: counters.slow_readers.load(Ordering::Relaxed),
            missed: counters.missed.load(Ordering::Relaxed),
        }
    }
}

/// All services, with the flows that each has now.
#[utoipa::path(get, path = "/v1/services", tag = "catalogue", responses((status = 200, body = Vec<ServiceView>)))]
pub async fn services(State(shared): State<Arc<Shared>>) -> Json<Vec<ServiceView>> {
    let sums = shared.live().map(|live| live.mirror().sums().services.clone()).unwrap_or_default();
    let model = shared.reload.models().current();
    let labels = model.iter().flat_map(|model| &model.manifest.output.labels);
    let known: BTreeSet<&str> = labels.map(String::as_str).collect();
    let mut services: Vec<_> = Catalogue::shipped()
        .services()
        .map(|service| {
            let sum = sums.get(&service.id).copied().unwrap_or_default();
            ServiceView {
                id: service.id,
                name: service.name.clone(),
                protocol: service.protocol.clone(),
                class: class_name(service.class).into(),
                in_model: known.contains(service.name.as_str()),
                flows: sum.flows,
                bits_per_s: sum.bits_per_s,
            }
        })
        .collect();
    services.sort_unstable_by_key(|service| service.id);
    Json(services)
}

/// All classes: what the policy does with each, and what it has now.
#[utoipa::path(get, path = "/v1/classes", tag = "catalogue", responses((status = 200, body = Vec<ClassView>)))]
pub async fn classes(State(shared): State<Arc<Shared>>) -> Json<Vec<ClassView>> {
    let sums = shared.live().map(|live| live.mirror().sums().classes).unwrap_or_default();
    let stats = shared.stats().ok();
    let (document, current) = {
        let mut policy = shared.lock_policy();
        (policy.document(), policy.current())
    };
    let class = |(number, name): (u8, String)| {
        let sum = sums.get(usize::from(number)).copied().unwrap_or_default();
        let counted = stats.as_ref().and_then(|stats| stats.classes.get(name.as_str()).copied());
        let [packets, bytes] = counted.unwrap_or_default();
        let policy = document.class(&name).cloned();
        ClassView { number, name, flows: sum.flows, bits_per_s: sum.bits_per_s, packets, bytes, policy }
    };
    let catalogue = CLASS_NAMES.iter().map(|name| (*name).to_owned());
    // Behind them those of the policy's own.
    let own = (CLASS_NAMES.len() as u8..MAX_CLASSES as u8)
        .map_while(|number| policy::class_name(&current.table, number));
    Json((0u8..).zip(catalogue.chain(own)).map(class).collect())
}

/// Counts: where packets went, what enforcement did, how long labels took.
#[utoipa::path(get, path = "/v1/stats", tag = "agent", responses(
    (status = 200, body = StatsView),
    (status = 503, body = Problem, content_type = "application/problem+json", description = "The agent is starting")
))]
pub async fn stats(State(shared): State<Arc<Shared>>) -> Result<Json<StatsView>, Problem> {
    let stats = shared.stats()?.as_ref().clone();
    let live = shared.live()?;
    let mirror = live.mirror();
    let sums = mirror.sums();
    Ok(Json(StatsView {
        stats,
        labelled_now: sums.all.flows,
        provisional_now: sums.provisional,
        bits_per_s: sums.all.bits_per_s,
        table_flows: live.taken().flows,
        table_capacity: live.capacity() as u64,
        api: ApiCounts::of(&shared),
        exports: shared.exports.iter().map(|export| export.view()).collect(),
    }))
}
