//! A labelled flow as programs and people see it.

use std::{borrow::Cow, net::IpAddr};

use ntc_common::{
    flow::{FlowState, flow_flags},
    key::FlowKey,
    label::{Label, Stage},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    catalogue::{Catalogue, class_name},
    clock::{self, UnixTime},
    flow::FlowId,
};

/// A flow and its label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlowView {
    /// Who sent the first packet.
    #[schema(value_type = String, example = "192.0.2.10")]
    pub src_ip: IpAddr,
    /// To whom.
    #[schema(value_type = String, example = "198.51.100.10")]
    pub dst_ip: IpAddr,
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// `tcp` or `udp`.
    #[schema(value_type = String, example = "udp")]
    pub proto: Cow<'static, str>,
    /// 4 or 6.
    pub ip_version: u8,
    /// VLAN id of the first packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Interface on which the first packet was seen; none where it has gone since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// First packet, Unix time in ns. With the 5-tuple it names the flow: tuples are used again.
    pub first_ts_ns: u64,
    /// Latest packet, Unix time in ns.
    pub last_ts_ns: u64,
    /// Wire packets of both directions.
    pub packets: u64,
    /// IP bytes of both directions, headers included.
    pub bytes: u64,
    /// Of the packets, those from the source.
    pub packets_sent: u64,
    /// Of the bytes, those from the source.
    pub bytes_sent: u64,
    /// Bits a second over the last seconds, both directions; not told by who looks once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits_per_s: Option<u64>,
    /// Stable id of the service in the catalogue; nDPI's, below 1,024.
    pub service_id: u16,
    /// nDPI's full name of the service, or `unknown`.
    #[schema(value_type = String, example = "TLS.Google")]
    pub service: Cow<'static, str>,
    /// The service's protocol.
    #[schema(value_type = String, example = "TLS")]
    pub protocol: Cow<'static, str>,
    /// The service's QoS class.
    #[schema(value_type = String, example = "web")]
    pub class: Cow<'static, str>,
    /// Probability of the answer, 0 to 1.
    pub confidence: f32,
    /// `provisional` while more of the sequence may come and change the answer, else `final`.
    #[schema(value_type = String, example = "final")]
    pub stage: Cow<'static, str>,
    /// Packets that the answer rests on.
    pub label_packets: u8,
    /// Which of the agent's models answered, see `/v1/model`.
    pub model_epoch: u32,
    /// Milliseconds since the label was written.
    pub label_age_ms: u64,
}

impl FlowView {
    /// Of a flow and its label; `interface` is the name of the flow's.
    pub fn new(
        key: FlowKey,
        state: &FlowState,
        label: &Label,
        unix_time: UnixTime,
        bits_per_s: Option<u64>,
        interface: Option<String>,
    ) -> Self {
        let flow = id(key, state);
        let (source, destination) = (flow.source(), flow.destination());
        let (service, protocol) = Catalogue::shipped().names(label.service);
        Self {
            src_ip: source.ip(),
            dst_ip: destination.ip(),
            src_port: source.port(),
            dst_port: destination.port(),
            proto: flow.protocol().into(),
            ip_version: key.ip_version,
            vlan: state.vlan(),
            interface,
            first_ts_ns: unix_time.of(state.start_ns),
            last_ts_ns: unix_time.of(state.last_ns),
            packets: state.packets.iter().sum(),
            bytes: state.bytes.iter().sum(),
            packets_sent: state.packets[0],
            bytes_sent: state.bytes[0],
            bits_per_s,
            service_id: label.service,
            service: service.into(),
            protocol: protocol.into(),
            class: class_name(label.class).into(),
            confidence: f32::from(label.confidence) / 65535.0,
            stage: Stage::from_number(label.stage).map_or("unknown", Stage::name).into(),
            label_packets: label.packets,
            model_epoch: label.model_epoch,
            label_age_ms: clock::monotonic_ns().saturating_sub(label.set_at_ns) / 1_000_000,
        }
    }
}

/// A flow's name.
pub const fn id(key: FlowKey, state: &FlowState) -> FlowId {
    FlowId { key, start_ns: state.start_ns, upper_is_source: state.flags & flow_flags::UPPER_IS_SOURCE != 0 }
}
