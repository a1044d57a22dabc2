//! A client of the Unix socket, for ntc's own views.

use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

use super::problem::Problem;

/// No answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error("{path}: {source}; is `ntc run` running (and with the same --pin-dir or --api-socket)?")]
    Connect {
        /// The socket.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the agent: {0}")]
    Http(#[from] hyper::Error),
    /// A request that is none.
    #[error("the request: {0}")]
    Request(#[from] hyper::http::Error),
    /// The agent refused.
    #[error("the agent: {}", .0.detail)]
    Refused(Problem),
    /// It is of another version.
    #[error("the agent's answer: {0}")]
    Answer(#[from] serde_json::Error),
}

/// A connection to an agent, made anew when it breaks.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    sender: Option<http1::SendRequest<Empty<Bytes>>>,
}

impl Client {
    /// For the agent at a socket; nothing is connected yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), sender: None }
    }

    /// Asks, and reads the answer.
    ///
    /// # Errors
    /// No agent, or it refuses.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        sender.ready().await?;
        let request = Request::get(path).header(header::HOST, "localhost").body(Empty::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        self.sender = Some(sender);
        if status.is_success() {
            Ok(serde_json::from_slice(&body)?)
        } else {
            Err(ClientError::Refused(serde_json::from_slice(&body)?))
        }
    }

    async fn connect(&self) -> Result<http1::SendRequest<Empty<Bytes>>, ClientError> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|source| ClientError::Connect { path: self.path.display().to_string(), source })?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
