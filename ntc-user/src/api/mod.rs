//! The agent's query interface: HTTP and JSON, described by `docs/openapi.json`.
//!
//! ```text
//! pipeline -> emit -> [Api::publish] -> 8192 keys -> follow (a thread) -> mirror, log
//!                                                                            |
//!                 Unix socket, loopback, TLS -> listen -> auth -> handlers --+-> export (`crate::export`)
//! ```
//! It hangs on the pipeline by one call that never waits. What finds the queue full is counted, and found by the next
//! look at all labels. Its threads give way to all others (nice 5), and hold no capability.

pub mod agent;
pub mod auth;
pub mod client;
pub mod events;
pub mod extract;
pub mod flows;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod mirror;
pub mod page;
pub mod policy;
pub mod problem;
pub mod query;
pub mod rate;
pub mod sdn;
pub mod state;
pub mod stats;
pub mod view;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use futures::future::join_all;
use ntc_common::{flow::FlowRule, key::FlowKey};
use thiserror::Error;
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};
use utoipa::{
    OpenApi,
    openapi::{
        Content, Ref, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    listen::Listeners,
    problem::Problem,
    state::{Shared, write},
};
use crate::{event::Event, export, kernel::privileges};

/// Keys of flows with a new label, between agent and API.
const KEYS: usize = 8192;
/// Bytes of a request's body.
const BODY: usize = 256 * 1024;
/// A request has to be read and answered within this time; streams of events are answered once they begin.
const ANSWER: Duration = Duration::from_secs(20);
/// The API's threads give way to all others by so much.
const NICE: i32 = 5;
/// At the end, requests are given so long.
const LAST_REQUESTS: Duration = Duration::from_millis(300);
/// At the end, exports are given so long for what is left.
const LAST_EXPORTS: Duration = Duration::from_secs(2);

/// The API cannot be offered as it was asked for.
#[derive(Debug, Error)]
pub enum ApiError {
    /// An address or a path.
    #[error("API at {at}: {source}")]
    Bind {
        /// Where.
        at: String,
        /// Why not.
        source: io::Error,
    },
    /// Neither TLS nor tokens.
    #[error(
        "API at {0}: beyond loopback it is offered with TLS and tokens only: give --api-tls-cert, --api-tls-key and \
         --api-tokens"
    )]
    Open(SocketAddr),
    /// The certificate or its key.
    #[error("API: {path}: {what}")]
    Tls {
        /// Which file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The file of tokens.
    #[error("API tokens in {path}: {what}")]
    Tokens {
        /// Which file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A thread or the runtime.
    #[error("API: {0}")]
    Thread(io::Error),
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ntc",
        description = "Ask an agent of ntc what flows are, follow its labels, and set its policy. Lists and objects may get \
                       more members; clients ignore those that they do not know.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    servers((url = "/", description = "The agent: a Unix socket, loopback, or TLS")),
    tags(
        (name = "flows", description = "Flows and their labels"),
        (name = "catalogue", description = "Services and classes"),
        (name = "policy", description = "What is done with each class"),
        (name = "agent", description = "The agent itself"),
        (name = "health", description = "For whoever supervises it")
    )
)]
struct Document;

/// All handlers, and the document that describes them.
pub fn routes() -> (Router<Arc<Shared>>, utoipa::openapi::OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(flows::flows))
        .routes(routes!(flows::lookup, flows::lookup_many))
        .routes(routes!(events::events))
        .routes(routes!(stats::services))
        .routes(routes!(stats::classes))
        .routes(routes!(stats::stats))
        .routes(routes!(policy::get, policy::put))
        .routes(routes!(agent::agent))
        .routes(routes!(agent::model))
        .routes(routes!(agent::reload))
        .routes(routes!(agent::healthz))
        .routes(routes!(agent::readyz))
        .routes(routes!(metrics::metrics))
        .split_for_parts();
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().add_security_scheme("token", token);
    refusals(&mut document);
    (router, document)
}

/// What any question may be answered with, before its handler is asked: by [`auth::guard`], or by [`within_time`].
fn refusals(document: &mut utoipa::openapi::OpenApi) {
    let refusals = [
        ("401", "This needs a token"),
        ("403", "This needs the role write"),
        ("408", "The request did not come in time"),
        ("421", "By loopback: the Host is neither localhost nor a loopback address"),
        ("429", "Too many requests from this address"),
    ];
    let paths = document.paths.paths.values_mut();
    for operation in paths.flat_map(|path| [&mut path.get, &mut path.put, &mut path.post]).flatten() {
        for (status, description) in refusals {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            let response =
                ResponseBuilder::new().description(description).content(problem::MEDIA_TYPE, problem);
            operation.responses.responses.entry(status.into()).or_insert(response.build().into());
        }
    }
}

/// The document as it is served and kept in `docs/openapi.json`.
///
/// # Errors
/// It cannot be written as JSON.
pub fn document() -> serde_json::Result<String> {
    let mut text = routes().1.to_pretty_json()?;
    text.push('\n');
    Ok(text)
}

fn app(shared: &Arc<Shared>) -> serde_json::Result<Router> {
    let text: Arc<str> = document()?.into();
    let serve_document =
        move || async move { ([(header::CONTENT_TYPE, "application/json")], text.to_string()) };
    let router = routes()
        .0
        .route("/openapi.json", axum::routing::get(serve_document))
        .merge(page::routes())
        .fallback(|uri: Uri| async move {
            Problem::new(
                StatusCode::NOT_FOUND,
                format!("nothing at {}; /openapi.json lists what there is", uri.path()),
            )
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "not this method here; /openapi.json lists what there is",
            )
        })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn(within_time))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), auth::guard))
        .with_state(Arc::clone(shared));
    Ok(router)
}

/// Ends what takes too long, and tells browsers to guess nothing.
async fn within_time(request: Request, next: Next) -> Response {
    let mut response = match timeout(ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "the request did not come in time").into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The running API: the agent's side of it.
#[derive(Debug)]
pub struct Api {
    shared: Arc<Shared>,
    pin_dir: PathBuf,
    rule: FlowRule,
    keys: Option<SyncSender<FlowKey>>,
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    socket: Option<PathBuf>,
}

impl Api {
    /// Serves the listeners. Until the agent is ready, `/readyz` and whoever asks for flows are told so.
    ///
    /// # Errors
    /// A thread or the runtime.
    pub fn start(
        listeners: Listeners,
        shared: Shared,
        pin_dir: PathBuf,
        rule: FlowRule,
    ) -> Result<Self, ApiError> {
        let shared = Arc::new(shared);
        let socket = listeners.socket().map(Into::into);
        let app = app(&shared).map_err(|error| ApiError::Thread(error.into()))?;
        let (keys, labelled) = sync_channel(KEYS);
        let (stop, stopped) = oneshot::channel();
        let mut api =
            Self { shared, pin_dir, rule, keys: Some(keys), stop: Some(stop), threads: Vec::new(), socket };
        let shared = Arc::clone(&api.shared);
        api.thread("api-follow", move || state::follow(&shared, &labelled))?;
        let shared = Arc::clone(&api.shared);
        api.thread("api", move || {
            if let Err(error) = serve(listeners, &app, &shared, stopped) {
                tracing::error!(%error, "the API ended");
            }
        })?;
        Ok(api)
    }

    fn thread(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), ApiError> {
        let work = move || {
            give_way();
            work();
        };
        self.threads.push(thread::Builder::new().name(name.into()).spawn(work).map_err(ApiError::Thread)?);
        Ok(())
    }

    /// Takes an event of the agent's in. Never waits.
    pub fn publish(&self, event: &Event) {
        match event {
            Event::Ready(ready) => {
                if let Err(error) = self.shared.open(&self.pin_dir, Arc::clone(&ready.flows), self.rule) {
                    tracing::error!(%error, "the API has no flows to tell of");
                }
                *write(&self.shared.hooks) = agent::hooks(ready);
                write(&self.shared.agent).ready = true;
            }
            Event::Interface(change) => agent::follow(&self.shared, change),
            Event::Label(label) => {
                self.shared.times.observe(label);
                let sent = self.keys.as_ref().map(|keys| keys.try_send(label.flow.key));
                if let Some(Err(TrySendError::Full(_))) = sent {
                    self.shared.counters.missed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Event::Stats(stats) => *write(&self.shared.stats) = Some(Arc::new(stats.as_ref().clone())),
            Event::Summary(_) => write(&self.shared.agent).ready = false,
            // Asked of the switch itself.
            Event::Model(_) => {}
        }
    }

    /// Ends it.
    pub fn stop(mut self) {
        drop(self.keys.take());
        drop(self.stop.take());
        for thread in self.threads.drain(..) {
            // What a thread died of was printed when it did.
            let _ = thread.join();
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            listen::remove(socket);
        }
    }
}

fn serve(
    listeners: Listeners,
    app: &Router,
    shared: &Arc<Shared>,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("api")
        .on_thread_start(give_way)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        listeners.serve(app, shared)?;
        let (stop, exports_end) = watch::channel(());
        let exports = shared.exports.iter().map(|export| {
            tokio::spawn(export::run(Arc::clone(export), Arc::clone(shared), exports_end.clone()))
        });
        let exports = join_all(exports.collect::<Vec<_>>());
        // Its sender is dropped: that is the signal. So it is with theirs.
        let _ = stopped.await;
        drop(stop);
        if timeout(LAST_EXPORTS, exports).await.is_err() {
            tracing::warn!("an export was not done in time; what it had not sent is lost");
        }
        Ok(())
    });
    runtime.shutdown_timeout(LAST_REQUESTS);
    outcome
}

fn give_way() {
    privileges::renounce();
    // Without it the API is merely no politer than the rest.
    let _ = rustix::process::nice(NICE);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// `NTC_BLESS=1` writes the document anew.
    #[test]
    fn the_document_in_the_repository_is_the_one_that_is_served() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        let served = super::document().expect("a document");
        if std::env::var_os("NTC_BLESS").is_some() {
            fs::write(&path, &served).expect("it can be written");
        }
        let kept = fs::read_to_string(&path).expect("it is there");
        assert!(kept == served, "docs/openapi.json is of another version: NTC_BLESS=1 writes it anew");
    }
}
