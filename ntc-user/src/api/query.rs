//! What a request asks for: filters, pages, 5-tuples.

use std::net::IpAddr;

use ipnet::IpNet;
use ntc_common::{
    key::{Address, FlowKey, IPPROTO_TCP, IPPROTO_UDP},
    label::Stage,
    policy::CLASS_NAMES,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{mirror::Entry, problem::Problem, sdn::Format, view};
use crate::catalogue::{Catalogue, class_number};

/// Flows on a page unless asked otherwise.
const PAGE: u32 = 100;
/// Flows on a page at most.
const LARGEST_PAGE: u32 = 1000;

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// 6.
    Tcp,
    /// 17.
    Udp,
}

impl Protocol {
    /// Its number in the IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => IPPROTO_TCP,
            Self::Udp => IPPROTO_UDP,
        }
    }
}

/// How sure an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StageName {
    /// More of the sequence may come.
    Provisional,
    /// The sequence is full or the flow closed.
    Final,
}

/// In which order flows come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// By address and port: the only order with further pages.
    #[default]
    Key,
    /// Fastest first.
    Rate,
    /// Most bytes first.
    Bytes,
    /// Most packets first.
    Packets,
    /// Latest label first.
    Latest,
    /// Least confidence first.
    Unsure,
}

/// A query with the filters and more.
macro_rules! query {
    ($(#[$meta:meta])* $name:ident { $($(#[$more:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub struct $name {
            /// Services or protocols by nDPI's names, separated by commas.
            #[param(example = "RTP,SIP")]
            pub service: Option<String>,
            /// QoS classes, separated by commas.
            #[param(example = "realtime")]
            pub class: Option<String>,
            /// An address or a prefix that has one of the flow's ends.
            #[param(example = "192.0.2.0/24")]
            pub prefix: Option<String>,
            /// Port of one of the flow's ends.
            #[param(maximum = 65535)]
            pub port: Option<u16>,
            /// `tcp` or `udp`.
            #[param(inline)]
            pub proto: Option<Protocol>,
            /// VLAN id of the flow's first packet.
            #[param(maximum = 4095)]
            pub vlan: Option<u16>,
            /// Interface on which the flow's first packet was seen.
            #[param(example = "br0")]
            pub interface: Option<String>,
            /// How sure the answer is.
            #[param(inline)]
            pub stage: Option<StageName>,
            /// Confidence from here on; 0 to 1.
            pub min_confidence: Option<f32>,
            /// Confidence up to here; 0 to 1.
            pub max_confidence: Option<f32>,
            /// Flows that began at least so many seconds ago.
            pub min_age_s: Option<f64>,
            /// Flows that began at most so many seconds ago.
            pub max_age_s: Option<f64>,
            /// Flows with a packet in the last so many seconds.
            pub active_s: Option<f64>,
            $($(#[$more])* pub $field: $type,)*
        }

        impl $name {
            /// Compiles the filters; `interfaces` knows the index of each by its name.
            ///
            /// # Errors
            /// The first value that means nothing.
            pub fn filter(&self, interfaces: impl Fn(&str) -> Option<u32>) -> Result<Filter, Problem> {
                let ifindex = self.interface.as_deref().map(|name| {
                    interfaces(name).ok_or_else(|| {
                        Problem::bad_request(format!("interface: no {name:?}; /v1/agent lists those that ntc is on"))
                    })
                });
                Filter::new(
                    [self.service.as_deref(), self.class.as_deref(), self.prefix.as_deref()],
                    (self.port, self.proto, self.vlan, self.stage),
                    ifindex.transpose()?,
                    [self.min_confidence, self.max_confidence],
                    [self.min_age_s, self.max_age_s, self.active_s],
                )
            }
        }
    };
}

query! {
    /// `/v1/flows`
    FlowsQuery {
        /// Flows on the page: 1 to 1,000; 100 if not said.
        limit: Option<u32>,
        /// `next` of the page before.
        cursor: Option<String>,
        /// In which order; only `key` has further pages.
        #[param(inline)]
        order: Option<Order>,
    }
}

query! {
    /// `/v1/events`
    EventsQuery {
        /// `Last-Event-ID` for those who cannot send headers.
        last_event_id: Option<String>,
        /// Whose match is wanted with each flow.
        #[param(inline)]
        #[serde(rename = "match")]
        format: Option<Format>,
    }
}

/// Which page of which flows.
#[derive(Clone, Debug)]
pub struct Page {
    /// Which flows.
    pub filter: Filter,
    /// How many.
    pub limit: usize,
    /// Behind which.
    pub after: Option<FlowKey>,
    /// In which order.
    pub order: Order,
}

impl FlowsQuery {
    /// Compiles it, as [`filter`](Self::filter).
    ///
    /// # Errors
    /// The first value that means nothing.
    pub fn page(&self, interfaces: impl Fn(&str) -> Option<u32>) -> Result<Page, Problem> {
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=LARGEST_PAGE).contains(&limit) {
            return Err(Problem::bad_request(format!("limit: {limit} is not from 1 to {LARGEST_PAGE}")));
        }
        let order = self.order.unwrap_or_default();
        if order != Order::Key && self.cursor.is_some() {
            return Err(Problem::bad_request("cursor: only order=key has further pages"));
        }
        let after = self.cursor.as_deref().map(|text| {
            cursor_key(text)
                .ok_or_else(|| Problem::bad_request("cursor: give `next` of the page before, as it was"))
        });
        Ok(Page { filter: self.filter(interfaces)?, limit: limit as usize, after: after.transpose()?, order })
    }
}

/// Which flows are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Service ids; none: all.
    services: Option<Vec<u16>>,
    /// Bit i: class i.
    classes: Option<u16>,
    prefix: Option<IpNet>,
    port: Option<u16>,
    protocol: Option<u8>,
    vlan: Option<u16>,
    ifindex: Option<u32>,
    stage: Option<u8>,
    /// In 1/65535.
    confidence: Option<(u16, u16)>,
    /// Age in ns, from and to.
    age_ns: Option<(u64, u64)>,
    active_ns: Option<u64>,
}

/// VLAN ids have 12 bits (IEEE 802.1Q).
const LAST_VLAN: u16 = 4095;

impl Filter {
    fn new(
        [service, class, prefix]: [Option<&str>; 3],
        (port, proto, vlan, stage): (Option<u16>, Option<Protocol>, Option<u16>, Option<StageName>),
        ifindex: Option<u32>,
        confidence: [Option<f32>; 2],
        [min_age, max_age, active]: [Option<f64>; 3],
    ) -> Result<Self, Problem> {
        let seconds = |name: &str, value: Option<f64>| match value {
            Some(value) if !(value >= 0.0 && value.is_finite()) => {
                Err(Problem::bad_request(format!("{name}: {value} is no number of seconds")))
            }
            value => Ok(value.map(|seconds| (seconds * 1e9) as u64)),
        };
        let part = |name: &str, value: Option<f32>, default| match value {
            Some(value) if !(0.0..=1.0).contains(&value) => {
                Err(Problem::bad_request(format!("{name}: {value} is not from 0 to 1")))
            }
            value => Ok(value.map_or(default, |part| (part * 65535.0).round() as u16)),
        };
        if let Some(vlan) = vlan.filter(|vlan| *vlan > LAST_VLAN) {
            return Err(Problem::bad_request(format!("vlan: {vlan} is above {LAST_VLAN}")));
        }
        let [least, most] = confidence;
        let bounds = (part("min_confidence", least, 0)?, part("max_confidence", most, u16::MAX)?);
        let ages = (seconds("min_age_s", min_age)?, seconds("max_age_s", max_age)?);
        Ok(Self {
            services: service.map(services).transpose()?,
            classes: class.map(classes).transpose()?,
            prefix: prefix.map(network).transpose()?,
            port,
            protocol: proto.map(Protocol::number),
            vlan,
            ifindex,
            stage: stage.map(|stage| match stage {
                StageName::Provisional => Stage::Provisional as u8,
                StageName::Final => Stage::Final as u8,
            }),
            confidence: (bounds != (0, u16::MAX)).then_some(bounds),
            age_ns: (ages != (None, None)).then(|| (ages.0.unwrap_or(0), ages.1.unwrap_or(u64::MAX))),
            active_ns: seconds("active_s", active)?,
        })
    }

    /// Whether a flow is wanted; `now_ns` of `CLOCK_MONOTONIC`.
    pub fn wants(&self, key: &FlowKey, entry: &Entry, now_ns: u64) -> bool {
        let Entry { label, state, .. } = entry;
        let wanted = |part: Option<bool>| part.unwrap_or(true);
        wanted(self.services.as_ref().map(|ids| ids.contains(&label.service)))
            && wanted(
                self.classes.map(|classes| classes.checked_shr(label.class.into()).unwrap_or(0) & 1 == 1),
            )
            && wanted(self.protocol.map(|protocol| key.protocol == protocol))
            && wanted(self.port.map(|port| [key.lower_port, key.upper_port].contains(&port.to_be_bytes())))
            && wanted(self.stage.map(|stage| label.stage == stage))
            && wanted(self.confidence.map(|(least, most)| (least..=most).contains(&label.confidence)))
            && wanted(self.vlan.map(|vlan| state.vlan() == Some(vlan)))
            && wanted(self.ifindex.map(|ifindex| state.ifindex == ifindex))
            && wanted(
                self.age_ns
                    .map(|(least, most)| (least..=most).contains(&now_ns.saturating_sub(state.start_ns))),
            )
            && wanted(self.active_ns.map(|within| now_ns.saturating_sub(state.last_ns) <= within))
            && wanted(self.prefix.map(|prefix| {
                let flow = view::id(*key, state);
                prefix.contains(&flow.source().ip()) || prefix.contains(&flow.destination().ip())
            }))
    }
}

/// Names to ids: a protocol stands for all its services.
fn services(names: &str) -> Result<Vec<u16>, Problem> {
    let catalogue = Catalogue::shipped();
    let mut ids = Vec::new();
    for name in names.split(',').map(str::trim) {
        let before = ids.len();
        ids.extend(
            catalogue
                .services()
                .filter(|service| {
                    [&service.name, &service.protocol].iter().any(|known| known.eq_ignore_ascii_case(name))
                })
                .map(|service| service.id),
        );
        if ids.len() == before {
            return Err(Problem::bad_request(format!("service: no {name:?}; /v1/services lists them")));
        }
    }
    Ok(ids)
}

fn classes(names: &str) -> Result<u16, Problem> {
    names.split(',').map(str::trim).try_fold(0, |classes, name| {
        let number = class_number(name).ok_or_else(|| {
            Problem::bad_request(format!("class: no {name:?}; there are {}", CLASS_NAMES.join(", ")))
        })?;
        Ok(classes | 1 << number)
    })
}

fn network(text: &str) -> Result<IpNet, Problem> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| Problem::bad_request(format!("prefix: {text:?} is neither an address nor a prefix")))
}

/// A 5-tuple, in whichever direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Tuple {
    /// An end of the flow.
    #[schema(value_type = String, example = "192.0.2.10")]
    #[param(value_type = String, example = "192.0.2.10")]
    pub src_ip: IpAddr,
    /// Its other end, of the same IP version.
    #[schema(value_type = String, example = "198.51.100.10")]
    #[param(value_type = String, example = "198.51.100.10")]
    pub dst_ip: IpAddr,
    /// Port of the first.
    #[schema(maximum = 65535)]
    #[param(maximum = 65535)]
    pub src_port: u16,
    /// Port of the other.
    #[schema(maximum = 65535)]
    #[param(maximum = 65535)]
    pub dst_port: u16,
    /// `tcp` or `udp`.
    #[param(inline)]
    pub proto: Protocol,
}

/// `GET /v1/flows/lookup`
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LookupQuery {
    /// An end of the flow.
    #[param(value_type = String, example = "192.0.2.10")]
    pub src_ip: IpAddr,
    /// Its other end, of the same IP version.
    #[param(value_type = String, example = "198.51.100.10")]
    pub dst_ip: IpAddr,
    /// Port of the first.
    #[param(maximum = 65535)]
    pub src_port: u16,
    /// Port of the other.
    #[param(maximum = 65535)]
    pub dst_port: u16,
    /// `tcp` or `udp`.
    #[param(inline)]
    pub proto: Protocol,
    /// Whose match is wanted, too.
    #[param(inline)]
    #[serde(rename = "match")]
    pub format: Option<Format>,
}

impl Tuple {
    /// The flow's key.
    ///
    /// # Errors
    /// The ends are of different IP versions.
    pub fn key(&self) -> Result<FlowKey, Problem> {
        let ip_version = match (self.src_ip, self.dst_ip) {
            (IpAddr::V4(_), IpAddr::V4(_)) => 4,
            (IpAddr::V6(_), IpAddr::V6(_)) => 6,
            _ => return Err(Problem::bad_request("src_ip and dst_ip are of different IP versions")),
        };
        let end = |ip: IpAddr, port: u16| {
            let address = match ip {
                IpAddr::V4(v4) => Address::mapped(v4.octets()),
                IpAddr::V6(v6) => Address::from_bytes(v6.octets()),
            };
            (address, port.to_be_bytes())
        };
        let mut key = FlowKey::ZERO;
        key.set(
            end(self.src_ip, self.src_port),
            end(self.dst_ip, self.dst_port),
            self.proto.number(),
            ip_version,
        );
        Ok(key)
    }
}

/// A key as a cursor: its fields in hexadecimal.
pub fn cursor(key: &FlowKey) -> String {
    let FlowKey { lower_addr, upper_addr, lower_port, upper_port, protocol, ip_version, reserved: _ } = key;
    [&lower_addr[..], upper_addr, lower_port, upper_port, &[*protocol, *ip_version]]
        .concat()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn cursor_key(text: &str) -> Option<FlowKey> {
    let mut bytes = [0u8; 38];
    if text.len() != 2 * bytes.len() || !text.is_ascii() {
        return None;
    }
    for (byte, index) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(index..index + 2)?, 16).ok()?;
    }
    Some(FlowKey {
        lower_addr: bytes[..16].try_into().ok()?,
        upper_addr: bytes[16..32].try_into().ok()?,
        lower_port: bytes[32..34].try_into().ok()?,
        upper_port: bytes[34..36].try_into().ok()?,
        protocol: bytes[36],
        ip_version: bytes[37],
        reserved: [0; 2],
    })
}

/// Reads a query string as `/v1/flows` does; `interfaces` as for [`FlowsQuery::page`].
///
/// # Errors
/// What is wrong with it.
pub fn parse(query: &str, interfaces: impl Fn(&str) -> Option<u32>) -> Result<Page, Problem> {
    let uri = axum::http::Uri::builder()
        .path_and_query(format!("/v1/flows?{query}"))
        .build()
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    let axum::extract::Query(query) = axum::extract::Query::<FlowsQuery>::try_from_uri(&uri)
        .map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    query.page(interfaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: [&str; 2], ports: [u16; 2]) -> FlowKey {
        let [src_ip, dst_ip] = text.map(|ip| ip.parse().expect("an address"));
        let tuple = Tuple { src_ip, dst_ip, src_port: ports[0], dst_port: ports[1], proto: Protocol::Udp };
        tuple.key().expect("one version")
    }

    #[test]
    fn both_directions_are_one_key_and_a_cursor_keeps_it() {
        let there = key(["192.0.2.10", "198.51.100.10"], [5060, 53]);
        assert_eq!(there, key(["198.51.100.10", "192.0.2.10"], [53, 5060]));
        assert_eq!(cursor_key(&cursor(&there)), Some(there));
        let six = key(["2001:db8::1", "2001:db8::2"], [1, 2]);
        assert_eq!((six.ip_version, cursor_key(&cursor(&six))), (6, Some(six)));
    }

    #[test]
    fn mistakes_are_named() {
        let interfaces = |name: &str| (name == "br0").then_some(7);
        let error = |query: &str| parse(query, interfaces).expect_err(query).detail;
        assert!(error("servise=DNS").contains("servise"));
        assert!(error("service=DNSX").contains("DNSX"));
        assert!(error("class=fast").contains("there are unknown, management"));
        assert!(error("prefix=192.0.2.0/33").contains("192.0.2.0/33"));
        assert!(error("port=70000").contains("port"));
        assert!(error("interface=br1").contains("\"br1\"; /v1/agent lists"));
        assert!(error("min_confidence=NaN").contains("min_confidence"));
        assert!(error("max_age_s=-1").contains("max_age_s"));
        assert!(error("limit=0").contains("1 to 1000"));
        assert!(error("cursor=00").contains("cursor"));
        assert!(error("order=rate&cursor=00").contains("order=key"));
        let page = parse(
            "service=tls,DNS&class=web,unknown&prefix=192.0.2.1&proto=udp&stage=final&interface=br0&limit=7",
            interfaces,
        )
        .expect("all is well");
        assert_eq!((page.limit, page.order), (7, Order::Key));
        assert!(page.filter.services.is_some_and(|ids| ids.contains(&5) && ids.len() > 2));
        assert_eq!((page.filter.classes, page.filter.ifindex), (Some(0b101), Some(7)));
    }
}
