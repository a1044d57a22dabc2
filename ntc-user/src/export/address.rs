//! `--export URL`: where changes are sent, and how.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use thiserror::Error;
use url::Url;

/// Port of IPFIX by UDP and TCP (RFC 7011 section 10.3.2).
const IPFIX_PORT: u16 = 4739;
/// A flow that goes on is told of this often.
const ACTIVE_S: u64 = 60;
/// The number that documents may use for an enterprise (RFC 5612): ntc has none of its own.
const EXAMPLE_ENTERPRISE: u32 = 32_473;

/// The forms that there are, for errors.
const FORMS: &str = "ipfix+udp://HOST[:4739], ipfix+tcp://HOST[:4739], nats://[USER:PASSWORD@]HOST[:4222][/PREFIX], \
                         nats+tls://..., file:///PATH";

/// Where changes are sent.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// An IPFIX collector.
    Ipfix(Collector),
    /// A file of JSON lines.
    Lines(PathBuf),
    /// A NATS broker.
    Nats(Broker),
}

/// An IPFIX collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// By TCP, else by UDP.
    pub tcp: bool,
    /// Name or address; of IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// A flow that goes on is told of this often.
    pub active: Duration,
    /// Observation domain (RFC 7011 section 3.1).
    pub domain: u32,
    /// Whose number ntc's own elements carry.
    pub enterprise: u32,
}

/// A NATS broker.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// With user and password, if any.
    pub url: String,
    /// What subjects begin with.
    pub prefix: String,
    /// Every message is acknowledged by a stream.
    pub jetstream: bool,
    /// File with a user's JWT and key.
    pub credentials: Option<PathBuf>,
}

/// A URL that says no place to send changes to.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// No URL at all.
    #[error("{0}; there are {FORMS}")]
    Url(url::ParseError),
    /// A scheme of something else.
    #[error("no export goes to {0}:; there are {FORMS}")]
    Scheme(String),
    /// Nobody is named.
    #[error("no host; there are {FORMS}")]
    Host,
    /// A path that means nothing or is none.
    #[error("{0}")]
    Path(&'static str),
    /// An option that there is not.
    #[error("no option {0:?} here; there are {1}")]
    Option(String, &'static str),
    /// An option's value.
    #[error("{0}={1}: {2}")]
    Value(&'static str, String, &'static str),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let url = Url::parse(text).map_err(AddressError::Url)?;
        match url.scheme() {
            "ipfix+udp" => Ok(Self::Ipfix(collector(&url, false)?)),
            "ipfix+tcp" => Ok(Self::Ipfix(collector(&url, true)?)),
            "nats" => Ok(Self::Nats(broker(&url, "nats")?)),
            "nats+tls" => Ok(Self::Nats(broker(&url, "tls")?)),
            "file" => {
                if let Some((name, _)) = url.query_pairs().next() {
                    return Err(AddressError::Option(name.into(), "none"));
                }
                let path = url
                    .to_file_path()
                    .map_err(|()| AddressError::Path("a file has the form file:///PATH"))?;
                Ok(Self::Lines(path))
            }
            other => Err(AddressError::Scheme(other.into())),
        }
    }
}

fn host(url: &Url) -> Result<String, AddressError> {
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(AddressError::Host)?;
    Ok(host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

fn collector(url: &Url, tcp: bool) -> Result<Collector, AddressError> {
    if !matches!(url.path(), "" | "/") {
        return Err(AddressError::Path("a collector has no path"));
    }
    let port = url.port().unwrap_or(IPFIX_PORT);
    let mut collector = Collector {
        tcp,
        host: host(url)?,
        port,
        active: Duration::from_secs(ACTIVE_S),
        domain: 0,
        enterprise: EXAMPLE_ENTERPRISE,
    };
    for (name, value) in url.query_pairs() {
        let number = value.parse::<u32>().ok();
        match &*name {
            "active" => {
                let seconds = number.filter(|seconds| (1..=86_400).contains(seconds));
                let what = "is no number of seconds from 1 to 86400";
                let seconds = seconds.ok_or_else(|| AddressError::Value("active", value.into(), what))?;
                collector.active = Duration::from_secs(seconds.into());
            }
            "domain" => {
                let what = "is no number of an observation domain, 0 to 4294967295";
                collector.domain = number.ok_or_else(|| AddressError::Value("domain", value.into(), what))?;
            }
            "enterprise" => {
                let what = "is no private enterprise number";
                let number = number.filter(|number| *number > 0);
                collector.enterprise =
                    number.ok_or_else(|| AddressError::Value("enterprise", value.into(), what))?;
            }
            _ => return Err(AddressError::Option(name.into(), "active, domain, enterprise")),
        }
    }
    Ok(collector)
}

fn broker(url: &Url, scheme: &str) -> Result<Broker, AddressError> {
    let prefix = url.path().trim_matches('/');
    if prefix.contains(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')))
        || (!prefix.is_empty() && prefix.split('.').any(str::is_empty))
    {
        return Err(AddressError::Path(
            "a prefix of subjects is words of letters, digits, - and _ with dots between",
        ));
    }
    let (mut jetstream, mut credentials) = (false, None);
    for (name, value) in url.query_pairs() {
        match &*name {
            "jetstream" if matches!(&*value, "" | "true") => jetstream = true,
            "jetstream" => return Err(AddressError::Value("jetstream", value.into(), "has no value")),
            "creds" => credentials = Some(PathBuf::from(&*value)),
            _ => return Err(AddressError::Option(name.into(), "jetstream, creds")),
        }
    }
    let authority = url.authority();
    host(url)?;
    let prefix = if prefix.is_empty() { "ntc" } else { prefix }.to_owned();
    Ok(Broker { url: format!("{scheme}://{authority}"), prefix, jetstream, credentials })
}

/// Without secrets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipfix(Collector { tcp, host, port, .. }) => {
                let transport = if *tcp { "tcp" } else { "udp" };
                if host.contains(':') {
                    write!(f, "ipfix+{transport}://[{host}]:{port}")
                } else {
                    write!(f, "ipfix+{transport}://{host}:{port}")
                }
            }
            Self::Lines(path) => write!(f, "file://{}", path.display()),
            Self::Nats(Broker { url, prefix, .. }) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
                let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                let scheme = if scheme == "tls" { "nats+tls" } else { scheme };
                write!(f, "{scheme}://{host}/{prefix}")
            }
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Address>().map_or_else(|error| format!("error: {error}"), |address| address.to_string())
    }

    #[test]
    fn forms_are_understood_and_secrets_never_shown() {
        for (text, form) in [
            ("ipfix+udp://192.0.2.7", "ipfix+udp://192.0.2.7:4739"),
            ("ipfix+tcp://[2001:db8::7]:99?active=5&domain=3", "ipfix+tcp://[2001:db8::7]:99"),
            ("nats://joe:secret@broker/site7?jetstream", "nats://broker/site7"),
            ("nats+tls://broker:4333", "nats+tls://broker:4333/ntc"),
            ("file:///var/log/ntc/flows.jsonl", "file:///var/log/ntc/flows.jsonl"),
        ] {
            assert_eq!(shown(text), form);
        }
        let Ok(Address::Nats(broker)) = "nats://joe:secret@broker:1/a.b".parse() else { panic!("a broker") };
        assert_eq!((&*broker.url, &*broker.prefix), ("nats://joe:secret@broker:1", "a.b"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("192.0.2.7:4739", "there are ipfix+udp://"),
            ("http://192.0.2.7", "no export goes to http:"),
            ("ipfix+udp://", "host"),
            ("ipfix+udp://h?activ=5", "no option \"activ\" here; there are active, domain, enterprise"),
            ("ipfix+udp://h?active=0", "active=0: is no number of seconds"),
            ("ipfix+udp://h/path", "no path"),
            ("nats://h/a..b", "prefix"),
            ("nats://h/a.*", "prefix"),
            ("nats://h?jetstream=no", "jetstream=no"),
            ("file://relative/path", "file:///PATH"),
        ] {
            let found = shown(text);
            assert!(found.starts_with("error: ") && found.contains(words), "{text}: {found}");
        }
    }
}
