//! Changes as messages of a NATS broker, one subject a service: `PREFIX.HOST.EVENT.PROTOCOL.SERVICE`.
//!
//! A message may come twice where a connection broke, never not at all as long as the log holds it. `Nats-Msg-Id` names
//! it, by which JetStream lets one through. Without JetStream a broker acknowledges nothing: a message of our own behind
//! the others that comes back tells that it has them.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_nats::{
    Client, ConnectOptions, Event, HeaderMap, Subscriber,
    jetstream::{self, context::PublishAckFuture},
};
use futures::StreamExt as _;
use tokio::time::timeout;

use super::{PATIENCE, address::Broker, host, id, json, other};
use crate::{
    api::{log::Record, state::Shared},
    catalogue::Catalogue,
};

/// To one broker.
pub struct Publisher {
    broker: Broker,
    host: String,
    connection: Option<Connection>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("broker", &self.broker.prefix).finish_non_exhaustive()
    }
}

struct Connection {
    client: Client,
    /// How often the client lost the broker: what was on the way then is sent again.
    breaks: Arc<AtomicU64>,
    sure: Sure,
}

/// By what the publisher is sure that the broker has a message.
enum Sure {
    /// It says so, of each.
    Acknowledged(jetstream::Context),
    /// One of ours that comes back.
    Echo { subject: String, echoes: Subscriber },
}

impl Publisher {
    pub fn new(broker: Broker) -> Self {
        Self { broker, host: token(&host()), connection: None }
    }

    pub async fn connect(&mut self) -> io::Result<()> {
        self.connection = None;
        let breaks = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&breaks);
        let mut options = ConnectOptions::new().name("ntc").event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            std::future::ready(())
        });
        if let Some(credentials) = &self.broker.credentials {
            options = options
                .credentials_file(credentials)
                .await
                .map_err(|error| other(format!("{}: {error}", credentials.display())))?;
        }
        let client = options.connect(self.broker.url.as_str()).await.map_err(other)?;
        let sure = if self.broker.jetstream {
            Sure::Acknowledged(jetstream::new(client.clone()))
        } else {
            let subject = client.new_inbox();
            Sure::Echo { echoes: client.subscribe(subject.clone()).await.map_err(other)?, subject }
        };
        self.connection = Some(Connection { client, breaks, sure });
        Ok(())
    }

    pub async fn send(&mut self, records: &[Arc<Record>], shared: &Shared) -> io::Result<u64> {
        let Some(connection) = &mut self.connection else { return Err(io::ErrorKind::NotConnected.into()) };
        let breaks = connection.breaks.load(Ordering::Relaxed);
        let mut acknowledgements: Vec<PublishAckFuture> = Vec::new();
        for record in records {
            let (service, protocol) = Catalogue::shipped().names(record.entry.label.service);
            let (prefix, event) = (&self.broker.prefix, record.change.name());
            let subject = format!("{prefix}.{}.{event}.{}.{}", self.host, token(protocol), token(service));
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", id(record, shared));
            let payload = json(record, shared, &self.host).into();
            match &connection.sure {
                Sure::Acknowledged(context) => acknowledgements
                    .push(context.publish_with_headers(subject, headers, payload).await.map_err(other)?),
                Sure::Echo { .. } => {
                    connection.client.publish_with_headers(subject, headers, payload).await.map_err(other)?;
                }
            }
        }
        match &mut connection.sure {
            Sure::Acknowledged(_) => {
                for acknowledgement in acknowledgements {
                    acknowledgement.await.map_err(|error| self.broker.not_taken(&error))?;
                }
            }
            Sure::Echo { subject, echoes } => {
                let mark = records.last().map_or(0, |record| record.number).to_string();
                connection.client.publish(subject.clone(), mark.clone().into()).await.map_err(other)?;
                let back = async {
                    // One of a chunk that was given up may come first.
                    while let Some(echo) = echoes.next().await {
                        if echo.payload == mark.as_bytes() {
                            return Ok(());
                        }
                    }
                    Err(other("the connection was closed"))
                };
                timeout(PATIENCE, back).await.map_err(|_| other("the broker does not answer"))??;
            }
        }
        if connection.breaks.load(Ordering::Relaxed) != breaks {
            return Err(other("the connection broke"));
        }
        Ok(records.len() as u64)
    }
}

impl Broker {
    fn not_taken(&self, error: &jetstream::context::PublishError) -> io::Error {
        use jetstream::context::PublishErrorKind::StreamNotFound;
        if error.kind() == StreamNotFound {
            let prefix = &self.prefix;
            return other(format!(
                "no stream takes {prefix}.>: `nats stream add NTC --subjects '{prefix}.>'` makes one"
            ));
        }
        other(error)
    }
}

/// A name as one token of a subject.
fn token(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.chars().map(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::token;

    #[test]
    fn a_service_is_one_token() {
        assert_eq!(token("TLS.Google"), "TLS_Google");
        assert_eq!(token("gw 1.example.net>*"), "gw_1_example_net__");
    }
}
