//! `/v1/agent`, `/v1/model`, `/healthz`, `/readyz`: the agent itself.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use ntc_common::policy::policy_flags;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    problem::Problem,
    state::{Shared, read, write},
};
use crate::{
    event::{InterfaceEvent, Ready},
    reload::Reloaded,
    switch::Loaded,
};

/// The agent.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AgentView {
    /// Version of ntc.
    pub version: Cow<'static, str>,
    /// Changes with every start: numbers of events are the instance's own.
    pub instance: String,
    /// When it started, Unix time in ns.
    pub started_ts_ns: u64,
    /// Programs are attached and labels count.
    pub ready: bool,
    /// It labels flows and leaves all packets alone.
    pub dry_run: bool,
    /// Where its maps are pinned.
    pub pin_dir: String,
    /// Where it works.
    pub interfaces: Vec<HookView>,
}

/// Where ntc works on an interface, and why there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookView {
    /// The interface's name.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// Where packets that come in are accounted: `native XDP`, `generic XDP`, `tc ingress`, or `below`.
    #[schema(value_type = Option<String>)]
    pub capture: Option<Cow<'static, str>>,
    /// How programs at tc hang there, if labels act there.
    #[schema(value_type = Option<String>)]
    pub enforce: Option<Cow<'static, str>>,
    /// Why so, or what was found since.
    pub why: String,
    /// Programs on which packets pass by, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
}

/// The model that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelView {
    /// Name of the bundle.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its graph.
    pub sha256: String,
    /// The number that its labels carry.
    pub epoch: u32,
    /// Answers below are unknown; 0 to 1.
    pub min_confidence: f32,
    /// Packets of a flow that it reads.
    pub sequence_length: usize,
    /// What it reads of each.
    pub features: Vec<String>,
    /// Services that it tells apart, by nDPI's names.
    pub labels: Vec<String>,
}

impl From<&Loaded> for ModelView {
    fn from(loaded: &Loaded) -> Self {
        let manifest = &loaded.manifest;
        Self {
            name: manifest.model.name.clone(),
            version: manifest.model.version.clone(),
            sha256: loaded.sha256.clone(),
            epoch: loaded.epoch,
            min_confidence: manifest.output.min_confidence,
            sequence_length: manifest.input.sequence_length,
            features: manifest.input.features.clone(),
            labels: manifest.output.labels.clone(),
        }
    }
}

/// Hooks by interface index, as the agent tells of them when it is ready.
pub fn hooks(ready: &Ready) -> BTreeMap<u32, HookView> {
    let view = |hook: &crate::kernel::attach::Hook| HookView {
        interface: hook.interface.clone(),
        index: hook.index,
        capture: hook.capture.map(Into::into),
        enforce: hook.enforce.map(Into::into),
        why: hook.why.clone(),
        silent: Vec::new(),
    };
    ready.hooks.iter().map(|hook| (hook.index, view(hook))).collect()
}

/// Takes over what became of an interface.
pub fn follow(shared: &Shared, event: &InterfaceEvent) {
    let mut hooks = write(&shared.hooks);
    match (event.change, event.program) {
        ("detached" | "failed", _) => {
            hooks.remove(&event.index);
        }
        (change, Some(program)) => {
            if let Some(hook) = hooks.get_mut(&event.index) {
                hook.silent.retain(|silent| silent != program);
                if change == "silent" {
                    hook.silent.push(program.into());
                    hook.why.clone_from(&event.why);
                }
            }
        }
        _ => {
            let hook = HookView {
                interface: event.interface.clone(),
                index: event.index,
                capture: event.capture.map(Into::into),
                enforce: event.enforce.map(Into::into),
                why: event.why.clone(),
                silent: Vec::new(),
            };
            hooks.insert(event.index, hook);
        }
    }
}

/// The agent: version, instance, interfaces.
#[utoipa::path(get, path = "/v1/agent", tag = "agent", responses((status = 200, body = AgentView)))]
pub async fn agent(State(shared): State<Arc<Shared>>) -> Json<AgentView> {
    let mut agent = read(&shared.agent).clone();
    agent.interfaces = read(&shared.hooks).values().cloned().collect();
    // A change of configuration changes it.
    agent.dry_run = shared.lock_policy().current().table.flags & policy_flags::DRY_RUN != 0;
    Json(agent)
}

/// The model that answers.
#[utoipa::path(get, path = "/v1/model", tag = "agent", responses(
    (status = 200, body = ModelView),
    (status = 503, body = Problem, content_type = "application/problem+json")
))]
pub async fn model(State(shared): State<Arc<Shared>>) -> Result<Json<ModelView>, Problem> {
    let current = shared.reload.models().current().ok_or_else(|| Problem::unavailable("no model answers"))?;
    Ok(Json(ModelView::from(&current)))
}

/// Reads the configuration again, as SIGHUP does: policy, dry run and model count from now on; other keys that changed are
/// named, and count from the next start on.
#[utoipa::path(post, path = "/v1/reload", tag = "agent", responses(
    (status = 200, body = Reloaded, description = "What was taken, and what asks for another start"),
    (status = 422, body = Problem, content_type = "application/problem+json", description = "What is wrong; nothing changes by it"),
    (status = 503, body = Problem, content_type = "application/problem+json")
), security(("token" = ["write"])))]
pub async fn reload(State(shared): State<Arc<Shared>>) -> Result<Json<Reloaded>, Problem> {
    shared.live()?;
    let reload = Arc::clone(&shared.reload);
    let outcome = tokio::task::spawn_blocking(move || reload.again()).await;
    let outcome = outcome.map_err(|_| Problem::unavailable("reading it again failed"))?;
    outcome.map(Json).map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))
}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether programs are attached and labels count.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, body = String, content_type = "text/plain"),
    (status = 503, body = Problem, content_type = "application/problem+json")
))]
pub async fn readyz(State(shared): State<Arc<Shared>>) -> Result<&'static str, Problem> {
    if read(&shared.agent).ready {
        Ok("ready\n")
    } else {
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "programs are not attached, or not any more"))
    }
}
