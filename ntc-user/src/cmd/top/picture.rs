//! What the agent says at one time.

use std::time::Instant;

use ratatui::widgets::TableState;

use super::keys::{State, Tab};
use crate::api::{
    agent::{AgentView, ModelView},
    client::{Client, ClientError},
    flows::FlowPage,
    stats::{ClassView, ServiceView, StatsView},
};

/// Flows that are asked for: more than a screen shows.
const FLOWS: usize = 500;

/// What the agent says at one time.
#[derive(Clone, Debug)]
pub struct Picture {
    pub agent: AgentView,
    pub model: ModelView,
    pub stats: StatsView,
    pub page: FlowPage,
    /// What is wrong with the filter.
    pub mistake: Option<String>,
    pub services: Vec<ServiceView>,
    pub classes: Vec<ClassView>,
    /// Packets a second since the picture before.
    pub packets_per_s: f64,
    /// Flows begun a second since the picture before.
    pub flows_per_s: f64,
    pub taken: Instant,
}

impl Picture {
    /// Asks for what is shown.
    pub async fn take(
        client: &mut Client,
        state: &State,
        before: Option<&Self>,
    ) -> Result<Self, ClientError> {
        let (agent, model) = (client.get("/v1/agent").await?, client.get("/v1/model").await?);
        let stats: StatsView = client.get("/v1/stats").await?;
        let query = format!("/v1/flows?limit={FLOWS}&order={}{}", state.order(), state.query());
        let (page, mistake) = match client.get::<FlowPage>(&query).await {
            Ok(page) => (page, None),
            // A name that there is not: everything else is told all the same.
            Err(ClientError::Refused(problem)) if problem.status == 400 => {
                let total = stats.labelled_now as usize;
                (FlowPage { flows: Vec::new(), total, next: None }, Some(problem.detail))
            }
            Err(error) => return Err(error),
        };
        // Only what is on the screen costs the agent something.
        let services =
            if state.tab == Tab::Services { client.get("/v1/services").await? } else { Vec::new() };
        let classes = if state.tab == Tab::Classes { client.get("/v1/classes").await? } else { Vec::new() };
        let taken = Instant::now();
        let per_s = |count: fn(&StatsView) -> u64| {
            let Some(before) = before else { return 0.0 };
            let new = count(&stats).saturating_sub(count(&before.stats)) as f64;
            new / taken.duration_since(before.taken).as_secs_f64().max(0.001)
        };
        let packets_per_s = per_s(|stats| stats.stats.ledger.seen);
        let flows_per_s = per_s(|stats| stats.stats.ledger.new_flows);
        let mut picture =
            Self { agent, model, stats, page, mistake, services, classes, packets_per_s, flows_per_s, taken };
        picture.services.retain(|service| service.flows > 0);
        picture.services.sort_by_key(|service| std::cmp::Reverse((service.flows, service.bits_per_s)));
        Ok(picture)
    }

    /// Rows of a tab.
    pub fn rows(&self, tab: Tab) -> usize {
        match tab {
            Tab::Flows => self.page.flows.len(),
            Tab::Services => self.services.len(),
            Tab::Classes => self.classes.len(),
            Tab::Agent => 0,
        }
    }
}

/// Keeps the selection within what there is.
pub fn clamp(table: &mut TableState, rows: usize) {
    let last = rows.checked_sub(1);
    table.select(last.map(|last| table.selected().unwrap_or(0).min(last)));
}
