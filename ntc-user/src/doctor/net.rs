//! What the kernel tells of an interface, by netlink: as any user, of this network namespace.

use std::collections::HashMap;

use ethtool::{EthtoolAttr, EthtoolFeatureAttr};
use futures::TryStreamExt as _;
use genetlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, Nla as _, NlasIterator,
    Parseable as _, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use rtnetlink::packet_route::{
    link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage, LinkXdp},
    tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};

/// `NETDEV_XDP_ACT_BASIC` (include/uapi/linux/netdev.h): the driver runs XDP programs itself.
pub(super) const XDP_BASIC: u64 = 1;
/// `NETDEV_XDP_ACT_RX_SG`: also on frames of several buffers.
pub(super) const XDP_FRAGMENTS: u64 = 32;

/// An interface.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) mtu: u32,
    pub(super) up: bool,
    pub(super) loopback: bool,
    /// Packets begin with an Ethernet header.
    pub(super) ethernet: bool,
    /// Id of the XDP program that is attached.
    pub(super) xdp_program: Option<u32>,
    /// `NETDEV_XDP_ACT_` bits; `None` where the kernel does not say.
    pub(super) xdp_features: Option<u64>,
    /// Kind and major number of the root qdisc.
    pub(super) root_qdisc: Option<(String, u16)>,
    /// tc filters on clsact, by kind and name.
    pub(super) ingress_filters: Vec<String>,
    /// As above.
    pub(super) egress_filters: Vec<String>,
    /// Offloads by the kernel's names; `None` where the driver does not say.
    pub(super) features: Option<HashMap<String, bool>>,
}

impl Facts {
    /// Asks for everything. What only some kernels or drivers tell may be missing.
    pub(super) async fn of(name: &str) -> Result<Self, String> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| error.to_string())?;
        let connection = tokio::spawn(connection);
        let links = handle.link().get().match_name(name.to_owned()).execute();
        let link = std::pin::pin!(links).try_next().await.ok().flatten();
        let Some(link) = link else { return Err("there is none of that name".into()) };
        let mut facts = Self { name: name.to_owned(), ..Self::from(&link) };
        let index = facts.index as i32;
        let qdiscs: Vec<TcMessage> =
            handle.qdisc().get().index(index).execute().try_collect().await.unwrap_or_default();
        facts.root_qdisc =
            qdiscs.iter().find(|qdisc| qdisc.header.index == index && is_root(qdisc)).and_then(|qdisc| {
                kind(qdisc)
                    .filter(|kind| *kind != "noqueue")
                    .map(|kind| (kind.to_owned(), qdisc.header.handle.major))
            });
        let filter = || handle.traffic_filter(index).get();
        facts.ingress_filters = filters(filter().ingress().execute().try_collect().await.unwrap_or_default());
        facts.egress_filters = filters(filter().egress().execute().try_collect().await.unwrap_or_default());
        facts.features = features(name).await;
        facts.xdp_features = xdp_features(facts.index).await;
        connection.abort();
        Ok(facts)
    }
}

impl From<&LinkMessage> for Facts {
    fn from(link: &LinkMessage) -> Self {
        let mut facts = Self {
            index: link.header.index,
            up: link.header.flags.contains(LinkFlags::Up),
            loopback: link.header.link_layer_type == LinkLayerType::Loopback,
            ethernet: link.header.link_layer_type == LinkLayerType::Ether,
            ..Self::default()
        };
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::Mtu(mtu) => facts.mtu = *mtu,
                LinkAttribute::Xdp(attributes) => {
                    facts.xdp_program = attributes.iter().find_map(|attribute| match attribute {
                        LinkXdp::ProgId(id) if *id != 0 => Some(*id),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        facts
    }
}

fn is_root(qdisc: &TcMessage) -> bool {
    qdisc.header.parent == TcHandle::ROOT
}

fn kind(message: &TcMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    })
}

/// Filters by name, each once: a dump lists a chain's head beside its filters.
fn filters(messages: Vec<TcMessage>) -> Vec<String> {
    let mut names: Vec<String> = messages
        .iter()
        .filter_map(|message| {
            let kind = kind(message)?;
            let name = message.attributes.iter().find_map(|attribute| match attribute {
                TcAttribute::Options(options) => options.iter().find_map(|option| match option {
                    TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name.clone()),
                    _ => None,
                }),
                _ => None,
            });
            // cls_bpf without options is the chain's head.
            match (kind, name) {
                ("bpf", None) => None,
                (_, Some(name)) => Some(format!("filter {name}")),
                (kind, None) => Some(format!("filter of kind {kind}")),
            }
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

async fn features(interface: &str) -> Option<HashMap<String, bool>> {
    let (connection, mut handle, _) = ethtool::new_connection().ok()?;
    let connection = tokio::spawn(connection);
    let answers: Vec<_> =
        handle.feature().get(Some(interface)).execute().await.try_collect().await.unwrap_or_default();
    connection.abort();
    let mut features: Option<HashMap<String, bool>> = None;
    for attribute in answers.into_iter().flat_map(|answer| answer.payload.nlas) {
        if let EthtoolAttr::Feature(EthtoolFeatureAttr::Hw(all)) = &attribute {
            // All that the driver could switch: off, unless it stands among the active ones.
            for bit in all {
                features.get_or_insert_default().entry(bit.name.clone()).or_insert(false);
            }
        }
        if let EthtoolAttr::Feature(EthtoolFeatureAttr::Active(active)) = &attribute {
            for bit in active {
                features.get_or_insert_default().insert(bit.name.clone(), bit.value);
            }
        }
    }
    features
}

/// A program's name; `None` where this user may not look (CAP_SYS_ADMIN).
pub(super) fn program_name(id: u32) -> Option<String> {
    let mut programs = aya::programs::loaded_programs().filter_map(Result::ok);
    programs.find(|program| program.id() == id).and_then(|program| program.name_as_str().map(str::to_owned))
}

/// `NETDEV_CMD_DEV_GET` of the generic netlink family `netdev` (include/uapi/linux/netdev.h).
#[derive(Clone, Debug)]
struct Device {
    attributes: Vec<DefaultNla>,
}

const DEV_GET: u8 = 1;
const IFINDEX: u16 = 1;
const XDP_FEATURES: u16 = 3;

impl GenlFamily for Device {
    fn family_name() -> &'static str {
        "netdev"
    }

    fn command(&self) -> u8 {
        DEV_GET
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Device {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Device {
    fn parse_with_param(bytes: &[u8], _: GenlHeader) -> Result<Self, DecodeError> {
        let attributes = NlasIterator::new(bytes).map(|attribute| DefaultNla::parse(&attribute?));
        Ok(Self { attributes: attributes.collect::<Result<_, _>>()? })
    }
}

async fn xdp_features(index: u32) -> Option<u64> {
    let (connection, mut handle, _) = genetlink::new_connection().ok()?;
    let connection = tokio::spawn(connection);
    let question = Device { attributes: vec![DefaultNla::new(IFINDEX, index.to_ne_bytes().to_vec())] };
    let mut message = NetlinkMessage::from(GenlMessage::from_payload(question));
    message.header.flags = NLM_F_REQUEST;
    let answer = async {
        let answers = handle.request(message).await.ok()?;
        std::pin::pin!(answers).try_next().await.ok().flatten()
    }
    .await;
    connection.abort();
    let NetlinkPayload::InnerMessage(device) = answer?.payload else { return None };
    device.payload.attributes.iter().find(|attribute| attribute.kind() == XDP_FEATURES).and_then(
        |attribute| {
            let mut value = vec![0; attribute.value_len()];
            genetlink_packet_core::Nla::emit_value(attribute, &mut value);
            value.try_into().ok().map(u64::from_ne_bytes)
        },
    )
}
