//! Which information elements a record has, in order: templates and records are both made of these tables.

use std::{net::IpAddr, sync::OnceLock};

use ntc_common::key::FlowKey;

use super::Report;
use crate::{
    api::view,
    catalogue::{Catalogue, Service, class_name},
    flow::FlowId,
};

/// The number that marks an element as of the reverse direction (RFC 5103 section 6.1).
const REVERSE: u32 = 29_305;
/// An element's length where each record says it (RFC 7011 section 7).
const VARIABLE: u16 = 0xffff;
/// Classification engines of `applicationId` (RFC 6759 section 4.1, IANA): ntop's nDPI, and user-defined.
const NDPI: u8 = 22;
const USER_DEFINED: u8 = 6;
/// Ids below are nDPI's (`models/README.md`).
const NDPI_IDS: u16 = 1024;

/// Whose element it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// IANA.
    Iana,
    /// The same of packets from the destination.
    Reverse,
    /// ntc: the enterprise number is a setting.
    Ntc,
}

/// One element of a record made from a `T`.
#[derive(Debug)]
pub struct Field<T: 'static> {
    /// Its name: IANA's, or ntc's.
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers, and the test that holds the docs to it"))]
    pub name: &'static str,
    pub owner: Owner,
    pub element: u16,
    /// Bytes.
    pub length: u16,
    write: fn(&T, &mut Vec<u8>),
}

const fn iana<T>(name: &'static str, element: u16, length: u16, write: fn(&T, &mut Vec<u8>)) -> Field<T> {
    Field { name, owner: Owner::Iana, element, length, write }
}

const fn reverse<T>(name: &'static str, element: u16, length: u16, write: fn(&T, &mut Vec<u8>)) -> Field<T> {
    Field { name, owner: Owner::Reverse, element, length, write }
}

const fn ntc<T>(name: &'static str, element: u16, length: u16, write: fn(&T, &mut Vec<u8>)) -> Field<T> {
    Field { name, owner: Owner::Ntc, element, length, write }
}

/// Template ids: of data, from 256 (RFC 7011 section 3.4.1).
pub const FLOW_V4: u16 = 256;
pub const FLOW_V6: u16 = 257;
pub const APPLICATION: u16 = 258;
pub const MODEL: u16 = 259;

const ADDRESSES_V4: &[Field<Report>] = &[
    iana("sourceIPv4Address", 8, 4, |flow, out| ip(flow.id().source().ip(), out)),
    iana("destinationIPv4Address", 12, 4, |flow, out| ip(flow.id().destination().ip(), out)),
];
const ADDRESSES_V6: &[Field<Report>] = &[
    iana("sourceIPv6Address", 27, 16, |flow, out| ip(flow.id().source().ip(), out)),
    iana("destinationIPv6Address", 28, 16, |flow, out| ip(flow.id().destination().ip(), out)),
];
/// A flow with its label: a biflow whose source began it (RFC 5103).
const FLOW: &[Field<Report>] = &[
    iana("sourceTransportPort", 7, 2, |flow, out| out.extend(flow.id().source().port().to_be_bytes())),
    iana("destinationTransportPort", 11, 2, |flow, out| {
        out.extend(flow.id().destination().port().to_be_bytes());
    }),
    iana("protocolIdentifier", 4, 1, |flow, out| out.push(flow.key.protocol)),
    iana("flowStartMilliseconds", 152, 8, |flow, out| out.extend(flow.start_ms.to_be_bytes())),
    iana("flowEndMilliseconds", 153, 8, |flow, out| out.extend(flow.end_ms.to_be_bytes())),
    iana("octetDeltaCount", 1, 8, |flow, out| out.extend(flow.bytes[0].to_be_bytes())),
    iana("packetDeltaCount", 2, 8, |flow, out| out.extend(flow.packets[0].to_be_bytes())),
    reverse("reverseOctetDeltaCount", 1, 8, |flow, out| out.extend(flow.bytes[1].to_be_bytes())),
    reverse("reversePacketDeltaCount", 2, 8, |flow, out| out.extend(flow.packets[1].to_be_bytes())),
    iana("ingressInterface", 10, 4, |flow, out| out.extend(flow.state.ifindex.to_be_bytes())),
    iana("vlanId", 58, 2, |flow, out| out.extend(flow.state.vlan().unwrap_or(0).to_be_bytes())),
    iana("flowEndReason", 136, 1, |flow, out| out.push(flow.reason)),
    // 1: as the initiator has it.
    iana("biflowDirection", 239, 1, |_, out| out.push(1)),
    iana("applicationId", 95, 4, |flow, out| out.extend(application(flow.label.service))),
    ntc("labelConfidence", 1, 2, |flow, out| out.extend(flow.label.confidence.to_be_bytes())),
    ntc("labelStage", 2, 1, |flow, out| out.push(flow.label.stage)),
    ntc("labelPackets", 3, 1, |flow, out| out.push(flow.label.packets)),
    ntc("labelClass", 4, 1, |flow, out| out.push(flow.label.class)),
    ntc("modelEpoch", 5, 4, |flow, out| out.extend(flow.label.model_epoch.to_be_bytes())),
];

/// What an `applicationId` means (RFC 6759): the scope comes first.
const SERVICE: &[Field<Service>] = &[
    iana("applicationId", 95, 4, |service, out| out.extend(application(service.id))),
    iana("applicationName", 96, VARIABLE, |service, out| string(&service.name, out)),
    iana("applicationCategoryName", 372, VARIABLE, |service, out| string(class_name(service.class), out)),
];

/// What a `modelEpoch` means.
const MODEL_FIELDS: &[Field<(u32, String)>] = &[
    ntc("modelEpoch", 5, 4, |model, out| out.extend(model.0.to_be_bytes())),
    ntc("modelName", 6, VARIABLE, |model, out| string(&model.1, out)),
];

fn flow_fields(ip_version: u8) -> impl Iterator<Item = &'static Field<Report>> {
    if ip_version == 4 { ADDRESSES_V4 } else { ADDRESSES_V6 }.iter().chain(FLOW)
}

/// `applicationId`: engine and selector.
fn application(service: u16) -> [u8; 4] {
    let [high, low] = service.to_be_bytes();
    [if service < NDPI_IDS { NDPI } else { USER_DEFINED }, 0, high, low]
}

fn ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    // Names of services and models: none is near the length from which three bytes are needed.
    let bytes = &text.as_bytes()[..text.len().min(254)];
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

/// A record's set and bytes.
pub type Encoded = (u16, Vec<u8>);

fn encode<T: 'static>(set: u16, fields: impl Iterator<Item = &'static Field<T>>, of: &T) -> Encoded {
    let mut out = Vec::new();
    fields.for_each(|field| (field.write)(of, &mut out));
    (set, out)
}

/// A flow's record.
pub fn flow(report: &Report) -> Encoded {
    let FlowKey { ip_version, .. } = report.key;
    encode(if ip_version == 4 { FLOW_V4 } else { FLOW_V6 }, flow_fields(ip_version), report)
}

/// The record that names a model.
pub fn model(epoch: u32, name: String) -> Encoded {
    encode(MODEL, MODEL_FIELDS.iter(), &(epoch, name))
}

/// Records that name all services: the same in every process.
pub fn services() -> &'static [Encoded] {
    static ENCODED: OnceLock<Vec<Encoded>> = OnceLock::new();
    ENCODED.get_or_init(|| {
        let mut services: Vec<_> = Catalogue::shipped().services().collect();
        services.sort_unstable_by_key(|service| service.id);
        services.into_iter().map(|service| encode(APPLICATION, SERVICE.iter(), service)).collect()
    })
}

/// All templates.
pub fn templates(enterprise: u32) -> [Encoded; 4] {
    [
        template(FLOW_V4, None, flow_fields(4), enterprise),
        template(FLOW_V6, None, flow_fields(6), enterprise),
        template(APPLICATION, Some(1), SERVICE.iter(), enterprise),
        template(MODEL, Some(1), MODEL_FIELDS.iter(), enterprise),
    ]
}

/// A template record (RFC 7011 section 3.4), with so many scope fields if it is one of options.
fn template<T: 'static>(
    id: u16,
    scopes: Option<u16>,
    fields: impl Iterator<Item = &'static Field<T>>,
    enterprise: u32,
) -> Encoded {
    /// Marks an element as an enterprise's.
    const ENTERPRISE: u16 = 0x8000;
    let (mut out, mut count) = (Vec::new(), 0_u16);
    for field in fields {
        let owner = match field.owner {
            Owner::Iana => None,
            Owner::Reverse => Some(REVERSE),
            Owner::Ntc => Some(enterprise),
        };
        out.extend((field.element | if owner.is_some() { ENTERPRISE } else { 0 }).to_be_bytes());
        out.extend(field.length.to_be_bytes());
        out.extend(owner.into_iter().flat_map(u32::to_be_bytes));
        count += 1;
    }
    let head: Vec<u8> =
        [Some(id), Some(count), scopes].into_iter().flatten().flat_map(u16::to_be_bytes).collect();
    (if scopes.is_some() { 3 } else { 2 }, [head, out].concat())
}

impl Report {
    fn id(&self) -> FlowId {
        view::id(self.key, &self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_as_long_as_their_templates_say() {
        for version in [4, 6] {
            let report = Report::example(version);
            let length: usize = flow_fields(version).map(|field| usize::from(field.length)).sum();
            assert_eq!(flow(&report).1.len(), length, "IPv{version}");
        }
        assert!(services().len() > 300);
    }

    #[test]
    fn elements_are_in_the_docs() {
        let docs = include_str!("../../../../docs/export.md");
        let flow = flow_fields(4).chain(ADDRESSES_V6).map(|field| (field.name, field.element));
        let service = SERVICE.iter().map(|field| (field.name, field.element));
        let model = MODEL_FIELDS.iter().map(|field| (field.name, field.element));
        for (name, element) in flow.chain(service).chain(model) {
            assert!(docs.contains(&format!("| `{name}` | {element} |")), "{name} {element}");
        }
    }
}
