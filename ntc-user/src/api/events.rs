//! `/v1/events`: what becomes of labels, as it happens.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt as _, stream};
use ntc_common::key::FlowKey;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    extract::Params,
    log::{Gone, Record},
    mirror::{Change, Entry},
    problem::Problem,
    query::{EventsQuery, Filter},
    sdn::Format,
    state::{Shared, read},
    view::FlowView,
};
use crate::clock;

/// Events that are made ready at one time.
const CHUNK: usize = 256;
/// A comment is sent after so long without an event, so that both sides notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Labels as server-sent events. First the flows that have one (`snapshot`, then one `live`), then what changes: `new`,
/// `changed`, `ended`, each with the whole flow as data, and with the two matches for a controller if `match` asks for
/// them. A change that happened during the snapshot may be told twice. Filters let a change through if the flow was
/// wanted before it: whoever asked for a class hears that a flow has left it.
///
/// Whoever comes back with `Last-Event-ID` gets what he missed, without a snapshot, as long as the agent still has it
/// (the last 16,384 changes); else a snapshot. A reader who falls further behind gets `dropped`, and the stream ends.
#[utoipa::path(get, path = "/v1/events", tag = "flows",
    params(EventsQuery, ("Last-Event-ID" = Option<String>, Header, description = "Go on behind this event")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Events; data is a FlowView, with `match` as in an Answer if it was asked for"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "A parameter means nothing"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "The agent is starting, or has too many subscribers")
    ))]
pub async fn events(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Params(query): Params<EventsQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let filter = query.filter(|name| shared.ifindex(name))?;
    shared.live()?;
    let permit = Arc::clone(&shared.subscribers)
        .try_acquire_owned()
        .map_err(|_| Problem::unavailable("as many subscribers as the agent serves at one time"))?;
    let instance = read(&shared.agent).instance.clone();
    let named = headers.get("last-event-id").and_then(|value| value.to_str().ok().map(str::to_owned));
    let resumed = named.or(query.last_event_id).and_then(|id| {
        let (of, number) = id.split_once('-')?;
        let number = number.parse().ok().filter(|_| of == instance)?;
        shared.log.after(number, 1).ok().map(|_| number)
    });
    // From here on changes are followed; the snapshot that comes first is at least as new.
    let after = resumed.unwrap_or_else(|| shared.log.latest());
    let place = if resumed.is_some() { Place::Live } else { Place::Snapshot(None) };
    let format = query.format;
    let subscriber = Subscriber { shared, filter, format, instance, after, place, _permit: permit };
    let events = stream::unfold(subscriber, Subscriber::next).flat_map(stream::iter).map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// A flow, with its matches if they are wanted.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    flow: &'a FlowView,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matches: Option<[Value; 2]>,
}

enum Place {
    /// Behind this flow.
    Snapshot(Option<FlowKey>),
    Live,
    End,
}

struct Subscriber {
    shared: Arc<Shared>,
    filter: Filter,
    /// Whose match goes with each flow.
    format: Option<Format>,
    instance: String,
    /// The latest change that was told.
    after: u64,
    place: Place,
    _permit: OwnedSemaphorePermit,
}

impl Subscriber {
    async fn next(mut self) -> Option<(Vec<Event>, Self)> {
        let events = match self.place {
            Place::Snapshot(after) => self.snapshot(after),
            Place::Live => self.changes().await,
            Place::End => return None,
        };
        Some((events, self))
    }

    fn snapshot(&mut self, after: Option<FlowKey>) -> Vec<Event> {
        let Ok(live) = self.shared.live() else { return Vec::new() };
        let (now_ns, unix_time) = (clock::monotonic_ns(), self.shared.unix_time());
        let mirror = live.mirror();
        let mut last = None;
        let mut events: Vec<Event> = mirror
            .range(after.as_ref())
            .take(CHUNK)
            .inspect(|(key, _)| last = Some(**key))
            .filter(|(key, entry)| self.filter.wants(key, entry, now_ns))
            .map(|(key, entry)| {
                let flow = self.shared.view(key, entry, unix_time);
                Event::default().event("snapshot").data(self.data(&flow))
            })
            .collect();
        drop(mirror);
        self.place = match last {
            Some(key) => Place::Snapshot(Some(key)),
            None => {
                let id = self.id(self.after);
                events.push(Event::default().event("live").id(id).data("{}"));
                Place::Live
            }
        };
        events
    }

    /// Waits for changes that are wanted.
    async fn changes(&mut self) -> Vec<Event> {
        loop {
            match self.shared.log.next(self.after, CHUNK).await {
                Err(Gone { .. }) => {
                    self.shared.counters.slow_readers.fetch_add(1, Ordering::Relaxed);
                    self.place = Place::End;
                    return vec![Event::default().event("dropped").data("{}")];
                }
                Ok(records) => {
                    self.after = records.last().map_or(self.after, |record| record.number);
                    let events: Vec<Event> = records
                        .iter()
                        .filter(|record| self.wants(record))
                        .map(|record| self.event(record))
                        .collect();
                    if !events.is_empty() {
                        return events;
                    }
                }
            }
        }
    }

    /// By what the flow was when it changed, or right before.
    fn wants(&self, record: &Record) -> bool {
        let wanted = |entry: &Entry| self.filter.wants(&record.key, entry, clock::monotonic_ns());
        let before = || match record.change {
            Change::Changed { was } => Some(record.entry.with(was)),
            Change::New | Change::Ended => None,
        };
        wanted(&record.entry) || before().is_some_and(|entry| wanted(&entry))
    }

    fn event(&self, record: &Record) -> Event {
        let event = Event::default().event(record.change.name()).id(self.id(record.number));
        match self.format {
            // The same for all readers.
            None => event.data(record.json(&self.shared)),
            Some(_) => event.data(self.data(&record.view(&self.shared))),
        }
    }

    fn data(&self, flow: &FlowView) -> String {
        let matches = self.format.map(|format| format.of(flow));
        // Numbers, names and addresses: nothing that JSON cannot hold.
        serde_json::to_string(&Told { flow, matches }).unwrap_or_default()
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.instance)
    }
}
