//! Who may do what.
//!
//! | came in by | without a token | with a token |
//! | --- | --- | --- |
//! | Unix socket, as root or the agent's user | write | write |
//! | Unix socket, as anybody else whom its mode lets in | read | the token's role, if that is more |
//! | loopback | read | the token's role |
//! | TLS | health and page only | the token's role |
//!
//! A token that nobody has is refused everywhere.

use std::{
    collections::HashMap, fs, net::IpAddr, os::unix::fs::MetadataExt as _, path::Path, sync::Arc,
    sync::atomic::Ordering,
};

use axum::{
    Extension,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

use super::{ApiError, problem::Problem, state::Shared};

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Read,
    /// Look, change the policy, have the configuration read again.
    Write,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// By the Unix socket.
    Local {
        /// Root, or the agent's own user.
        owner: bool,
    },
    /// By TCP, from this machine.
    Loopback(IpAddr),
    /// By TLS.
    Remote(IpAddr),
}

impl Peer {
    const fn role(self) -> Option<Role> {
        match self {
            Self::Local { owner: true } => Some(Role::Write),
            Self::Local { owner: false } | Self::Loopback(_) => Some(Role::Read),
            Self::Remote(_) => None,
        }
    }
}

/// Tokens by their digests: how long a comparison takes tells nothing of a token.
#[derive(Clone, Debug, Default)]
pub struct Tokens(HashMap<[u8; 32], Role>);

/// Tokens are at least so long: what can be guessed is no token.
const TOKEN_CHARACTERS: usize = 16;

impl Tokens {
    /// Reads lines of a role and a token; `#` begins a comment.
    ///
    /// # Errors
    /// The file cannot be read, others may read it, or a line is none.
    pub fn load(path: &Path) -> Result<Self, ApiError> {
        let wrong = |what: String| ApiError::Tokens { path: path.display().to_string(), what };
        let metadata = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        if metadata.mode() & 0o007 != 0 {
            return Err(wrong(format!(
                "mode {:o}: everybody can get at it; chmod o= it",
                metadata.mode() & 0o777
            )));
        }
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Self::parse(&text).map_err(wrong)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
            if line.is_empty() {
                continue;
            }
            let (role, token) =
                line.split_once(char::is_whitespace).map_or((line, ""), |(role, token)| (role, token.trim()));
            let role = match role {
                "read" => Role::Read,
                "write" => Role::Write,
                _ => return Err(format!("line {number}: not `read TOKEN` or `write TOKEN`")),
            };
            if token.len() < TOKEN_CHARACTERS || token.contains(char::is_whitespace) {
                return Err(format!(
                    "line {number}: a token is one word of {TOKEN_CHARACTERS} characters or more"
                ));
            }
            tokens.insert(digest(token), role);
        }
        Ok(Self(tokens))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn role(&self, token: &str) -> Option<Role> {
        self.0.get(&digest(token)).copied()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Paths that show nothing of the network: a browser asks for them before it has a token to send.
const OPEN: [&str; 6] = ["/", "/page.css", "/page.js", "/openapi.json", "/healthz", "/readyz"];

/// The question that comes as POST.
const LOOKUP: &str = "/v1/flows/lookup";

/// Lets requests through that their sender may make.
pub async fn guard(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let response = match check(&shared, peer, &request) {
        Ok(role) => {
            request.extensions_mut().insert(role);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    let count = match response.status() {
        status if status.is_client_error() => &shared.counters.refused,
        _ => &shared.counters.requests,
    };
    count.fetch_add(1, Ordering::Relaxed);
    response
}

/// The role in which a request is let in; `None` where it needs none and has none.
fn check(shared: &Shared, peer: Peer, request: &Request) -> Result<Option<Role>, Problem> {
    if let Peer::Loopback(address) | Peer::Remote(address) = peer
        && !shared.rates.admit(address)
    {
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many requests from this address"));
    }
    let header =
        |name| request.headers().get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    // A page of somebody else's, in a browser on this machine, whose name resolves to 127.0.0.1.
    if matches!(peer, Peer::Loopback(_)) && !header(header::HOST).is_some_and(names_loopback) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "the Host of a loopback address is localhost or the address",
        ));
    }
    let role = match request.headers().get(header::AUTHORIZATION) {
        None => peer.role(),
        Some(_) => {
            let token = header(header::AUTHORIZATION).and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
            let role = token.and_then(|token| shared.tokens.role(token));
            let role = role.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "nobody has this token"))?;
            Some(peer.role().map_or(role, |own| own.max(role)))
        }
    };
    let needed = match *request.method() {
        Method::GET | Method::HEAD | Method::POST if OPEN.contains(&request.uri().path()) => return Ok(role),
        Method::GET | Method::HEAD => Role::Read,
        // It asks about many flows.
        Method::POST if request.uri().path() == LOOKUP => Role::Read,
        _ => Role::Write,
    };
    match role {
        Some(may) if may >= needed => Ok(role),
        Some(_) if request.headers().contains_key(header::AUTHORIZATION) || shared.tokens.is_empty() => {
            Err(Problem::new(StatusCode::FORBIDDEN, "this needs the role write"))
        }
        _ => Err(Problem::new(StatusCode::UNAUTHORIZED, "this needs a token: Authorization: Bearer TOKEN")),
    }
}

/// `localhost` or an address, with or without a port.
fn names_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_roles_and_mistakes_have_lines() {
        let tokens = Tokens::parse("# ours\nread 0123456789abcdef # the page\n\nwrite fedcba9876543210\n")
            .expect("two tokens");
        assert_eq!(tokens.role("0123456789abcdef"), Some(Role::Read));
        assert_eq!(tokens.role("fedcba9876543210"), Some(Role::Write));
        assert_eq!(tokens.role("0123456789abcdeF"), None);
        for (text, line) in
            [("read short", 1), ("\nadmin 0123456789abcdef", 2), ("write", 1), ("read a b c", 1)]
        {
            let error = Tokens::parse(text).expect_err(text);
            assert!(error.contains(&format!("line {line}")), "{error}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_taken_for_loopback() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:80", "[::1]:80", "[::1]", "127.8.9.1"] {
            assert!(names_loopback(host), "{host}");
        }
        for host in
            ["", "example.net", "localhost.example.net", "192.0.2.1", "[2001:db8::1]:80", "127.0.0.1.nip.io"]
        {
            assert!(!names_loopback(host), "{host}");
        }
    }
}
