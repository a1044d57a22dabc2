//! Exports: real collectors take what a real agent sends of live traffic.

mod broker;
mod ipfix;
mod lines;
mod scrape;
mod secured;

use std::time::Duration;

use ntc_tests::{http::Asker, link::Link, patience};
use serde_json::Value;

/// Looks again until there is something, for so long as a flow takes to end and its label to go.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    patience::until(what, Duration::from_secs(40), look)
}

/// What the agent tells of its only export.
pub(crate) fn export(link: &Link) -> anyhow::Result<Value> {
    Ok(Asker::unix(link).get("/v1/stats")?["exports"][0].take())
}
