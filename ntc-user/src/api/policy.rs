//! `/v1/policy`: what is done with each class.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{auth::Role, extract::Body, problem::Problem, state::Shared};
use crate::{
    kernel::{
        KernelError,
        policy::{ApplyError, PolicyMaps},
    },
    policy::{Policy, PolicyError},
};

/// What stands for a request's policy in messages.
const REQUEST: &str = "request";

/// A policy file as JSON; its schema is what `ntc policy schema` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(value_type = Object)]
pub struct PolicyDocument(pub serde_json::Map<String, Value>);

impl PolicyDocument {
    /// What a policy says.
    fn of(policy: &Policy) -> Self {
        // A policy's text was read as TOML before.
        Self(toml::from_str(&policy.text).unwrap_or_default())
    }

    /// As the text of a policy file.
    ///
    /// # Errors
    /// It has what TOML has not.
    pub fn text(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(&self.0)
    }

    /// Names what it says (RFC 9110 section 8.8.3): the same JSON is the same policy, however its text is laid out.
    pub fn etag(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        format!("\"{}\"", crate::policy::digest(&text).get(..24).unwrap_or_default())
    }

    fn answer(self) -> impl IntoResponse + use<> {
        ([(header::ETAG, self.etag())], Json(self))
    }

    /// What it says of a class.
    pub fn class(&self, name: &str) -> Option<&Value> {
        self.0.get("class")?.get(name)
    }
}

/// The policy that counts, whoever put it there: this interface, or `ntc policy apply` beside it.
#[derive(Debug)]
pub struct PolicyState {
    policy: Arc<Policy>,
    /// Once the agent is ready: the kernel's, and which of its policies this one is.
    maps: Option<(PolicyMaps, u32)>,
}

impl PolicyState {
    /// The policy that the agent starts with.
    pub fn new(policy: Policy) -> Self {
        Self { policy: Arc::new(policy), maps: None }
    }

    /// From here on the kernel's maps say what counts.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn follow(&mut self, maps: PolicyMaps) -> Result<(), KernelError> {
        let applied = maps.applied()?;
        self.maps = Some((maps, applied));
        Ok(())
    }

    /// What counts now.
    pub fn current(&mut self) -> Arc<Policy> {
        if let Some((maps, known)) = &mut self.maps
            && let Ok(applied) = maps.applied()
            && applied != *known
        {
            match maps.active() {
                Ok(policy) => (self.policy, *known) = (Arc::new(policy), applied),
                Err(error) => tracing::error!(%error, "the policy in the kernel cannot be read"),
            }
        }
        Arc::clone(&self.policy)
    }

    /// As JSON.
    pub fn document(&mut self) -> PolicyDocument {
        PolicyDocument::of(&self.current())
    }

    /// Puts a policy in force, or leaves all as it was; returns what counts then. With `expected`, only in place of the
    /// policy with that digest: `ntc policy apply` may come between look and change.
    fn put(&mut self, document: &PolicyDocument, expected: Option<&str>) -> Result<PolicyDocument, Problem> {
        let unprocessable = |what: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what);
        let text = document.text().map_err(|error| unprocessable(error.to_string()))?;
        let (maps, _) = self.maps.as_mut().ok_or_else(|| Problem::unavailable("the agent is starting"))?;
        let applied = maps.apply(REQUEST, &text, expected).map_err(|error| match error {
            // Lines are those of TOML, which the request was not.
            ApplyError::Policy(PolicyError::Mistakes { mistakes, .. }) => {
                let told: Vec<_> =
                    mistakes.iter().map(|mistake| format!("{}: {}", mistake.field, mistake.what)).collect();
                unprocessable(told.join("\n"))
            }
            ApplyError::Policy(error) => unprocessable(error.to_string()),
            ApplyError::Changed { .. } => Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "another policy was applied meanwhile; read it first",
            ),
            ApplyError::Kernel(error) => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the policy cannot be written: {error}; the one before it stays"),
            ),
        })?;
        Ok(PolicyDocument::of(&applied))
    }
}

/// The policy in force. Its ETag is what a change has to name; `Allow` tells whether who asks may change it.
#[utoipa::path(get, path = "/v1/policy", tag = "policy", responses(
    (status = 200, body = PolicyDocument, headers(
        ("ETag" = String, description = "Names this policy"),
        ("Allow" = String, description = "PUT is among the methods if who asks has the role write")
    ))
))]
pub async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(role): Extension<Option<Role>>,
) -> impl IntoResponse {
    let allowed = if role == Some(Role::Write) { "GET, HEAD, PUT" } else { "GET, HEAD" };
    ([(header::ALLOW, allowed)], shared.lock_policy().document().answer())
}

/// Puts another policy in force, whole or not at all. `If-Match` names the one that it replaces, so that of two who
/// change it at one time the second is told. It lasts until the agent ends: the next one starts with its file again.
#[utoipa::path(put, path = "/v1/policy", tag = "policy", request_body = PolicyDocument,
    params(("If-Match" = String, Header, description = "ETag of the policy to replace, or *")),
    responses(
        (status = 200, body = PolicyDocument, description = "It is in force", headers(("ETag" = String, description = "Names this policy"))),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No JSON"),
        (status = 415, body = Problem, content_type = "application/problem+json", description = "No JSON by its media type"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "Another policy is in force by now"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Class and key of every mistake"),
        (status = 428, body = Problem, content_type = "application/problem+json", description = "No If-Match")
    ), security(("token" = ["write"])))]
pub async fn put(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Body(document): Body<PolicyDocument>,
) -> Result<impl IntoResponse, Problem> {
    let named = text(&headers, &header::IF_MATCH).ok_or_else(|| {
        Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "name the policy to replace: If-Match with its ETag, or *",
        )
    })?;
    let mut policy = shared.lock_policy();
    let current = policy.current();
    let etag = PolicyDocument::of(&current).etag();
    let whichever = named.split(',').any(|tag| tag.trim() == "*");
    if !whichever && !named.split(',').any(|tag| tag.trim() == etag) {
        return Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            format!("another policy is in force by now: {etag}; read it first"),
        ));
    }
    let expected = (!whichever).then(|| current.digest());
    let applied = policy.put(&document, expected.as_deref())?;
    tracing::info!(etag = applied.etag(), "another policy is in force");
    Ok(applied.answer())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
