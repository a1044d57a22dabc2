//! `/v1/policy`: what is done with each class.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::IntoResponse,
};
use sha2::{Digest as _, Sha256};

use super::{extract::Body, problem::Problem, state::Shared};
use crate::{
    kernel::tables::PolicyMaps,
    policy::{Policy, PolicyFile},
};

/// The policy, and where it goes.
#[derive(Debug)]
pub struct PolicyState {
    /// As it was written.
    pub file: PolicyFile,
    compiled: Policy,
    mark_mask: u32,
    /// Nothing is written to the kernel.
    dry_run: bool,
    /// Once the agent is ready.
    pub maps: Option<PolicyMaps>,
}

impl PolicyState {
    /// The policy that the agent starts with.
    pub const fn new(file: PolicyFile, compiled: Policy, mark_mask: u32, dry_run: bool) -> Self {
        Self { file, compiled, mark_mask, dry_run, maps: None }
    }

    /// As the kernel has it, or would have it.
    pub const fn compiled(&self) -> &Policy {
        &self.compiled
    }

    /// Names what the policy says now (RFC 9110 section 8.8.3).
    pub fn etag(&self) -> String {
        let text = serde_json::to_vec(&self.file).unwrap_or_default();
        let digest = Sha256::digest(&text);
        let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        format!("\"{hex}\"")
    }

    /// Compiles a policy and puts it in force, or leaves all as it was.
    fn put(&mut self, file: PolicyFile) -> Result<(), Problem> {
        let compiled = Policy::compile("request", &file, self.mark_mask)
            .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
        if !self.dry_run {
            let maps = self.maps.as_mut().ok_or_else(|| Problem::unavailable("the agent is starting"))?;
            if let Err(error) = maps.write(&compiled.services, &compiled.classes) {
                let back = maps.write(&self.compiled.services, &self.compiled.classes);
                let then =
                    if back.is_ok() { "the policy before it stays" } else { "nor can the one before it" };
                return Err(Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    format!("the policy cannot be written: {error}; {then}"),
                ));
            }
        }
        (self.file, self.compiled) = (file, compiled);
        Ok(())
    }

    fn answer(&self) -> impl IntoResponse + use<> {
        ([(header::ETAG, self.etag())], Json(self.file.clone()))
    }
}

/// The policy in force. Its ETag is what a change has to name.
#[utoipa::path(get, path = "/v1/policy", tag = "policy", responses(
    (status = 200, body = PolicyFile, headers(("ETag" = String, description = "Names this policy")))
))]
pub async fn get(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    shared.lock_policy().answer()
}

/// Puts another policy in force, whole or not at all. `If-Match` names the one that it replaces, so that of two who
/// change it at one time the second is told. It lasts until the agent ends: the next one starts with its file again.
#[utoipa::path(put, path = "/v1/policy", tag = "policy", request_body = PolicyFile,
    params(("If-Match" = String, Header, description = "ETag of the policy to replace, or *")),
    responses(
        (status = 200, body = PolicyFile, description = "It is in force", headers(("ETag" = String, description = "Names this policy"))),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No JSON"),
        (status = 415, body = Problem, content_type = "application/problem+json", description = "No JSON by its media type"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "Another policy is in force by now"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Class and key of the first mistake"),
        (status = 428, body = Problem, content_type = "application/problem+json", description = "No If-Match")
    ), security(("token" = ["write"])))]
pub async fn put(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Body(file): Body<PolicyFile>,
) -> Result<impl IntoResponse, Problem> {
    let named = text(&headers, &header::IF_MATCH).ok_or_else(|| {
        Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "name the policy to replace: If-Match with its ETag, or *",
        )
    })?;
    let mut policy = shared.lock_policy();
    let etag = policy.etag();
    if !named.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag) {
        return Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            format!("another policy is in force by now: {etag}; read it first"),
        ));
    }
    policy.put(file)?;
    tracing::info!(etag = policy.etag(), "another policy is in force");
    Ok(policy.answer())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
