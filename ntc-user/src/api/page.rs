//! The page for people: three small files, nothing from elsewhere.

use std::sync::Arc;

use axum::{Router, http::header, response::IntoResponse, routing::get};

use super::state::Shared;

/// Nothing but this agent's own files and answers.
const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Serves the page.
pub fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(|| async { file("text/html; charset=utf-8", include_str!("page/index.html")) }))
        .route("/page.css", get(|| async { file("text/css; charset=utf-8", include_str!("page/page.css")) }))
        .route(
            "/page.js",
            get(|| async { file("text/javascript; charset=utf-8", include_str!("page/page.js")) }),
        )
}

fn file(media_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        // With a new agent comes a new page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
