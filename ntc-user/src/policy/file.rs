//! The policy file as it is written. Its comments are the JSON Schema's descriptions.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::values::{Dscp, Existing, Mac, Mark, Ports, Prefix, Priority, Share, Transport};

/// What ntc does with packets, by class.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(title = "ntc policy")]
pub(super) struct File {
    /// Class of packets that no rule and no sure label speaks of. Without it they are left alone.
    #[serde(default)]
    pub(super) default: DefaultEntry,
    /// A flow's class changes so often at most, the first one counted.
    pub(super) max_changes: Option<Lenient<u8>>,
    /// Classes by name: the ten of the catalogue, and up to five of one's own.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ClassEntry>")]
    pub(super) class: BTreeMap<Spanned<String>, ClassEntry>,
    /// Flows that have a class whatever the model says, from their first packet on. The first rule that matches counts.
    #[serde(default)]
    #[schemars(with = "Vec<RuleEntry>")]
    pub(super) rule: Vec<Spanned<RuleEntry>>,
}

/// Classes of packets that no rule and no sure label speaks of.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct DefaultEntry {
    /// Class of packets without a label.
    pub(super) unlabelled: Option<Lenient<String>>,
    /// Class of packets whose label is unknown, or not sure enough.
    pub(super) unknown: Option<Lenient<String>>,
}

/// A class: which services it has, and what is done with their packets.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ClassEntry {
    /// `skb->priority` at tc egress: an HTB class or a CAKE tin, hexadecimal as tc writes it. Without it, the priority
    /// is left as it is.
    pub(super) priority: Option<Lenient<Priority>>,
    /// Code point by name (EF, AF21, LE) or number. Without it, none is written.
    pub(super) dscp: Option<Lenient<Dscp>>,
    /// What is done where a code point is already there.
    pub(super) existing_dscp: Option<Lenient<Existing>>,
    /// `skb->mark` under the agent's mask. Without it, the class's number.
    pub(super) mark: Option<Lenient<Mark>>,
    /// Labels below this confidence are not acted on.
    pub(super) min_confidence: Option<Lenient<Share>>,
    /// A flow in another class comes to this one only with so much confidence above `min_confidence`.
    pub(super) hysteresis: Option<Lenient<Share>>,
    /// Drop the packets.
    pub(super) drop: Option<Lenient<bool>>,
    /// Services by name, or by patterns with `*`, `?` and `[…]`: "RTP", "TLS.Google*".
    pub(super) services: Option<Vec<Lenient<String>>>,
    /// All services of a protocol: "STUN".
    pub(super) protocols: Option<Vec<Lenient<String>>>,
    /// All services of a category of the catalogue: "realtime". A class that is named like a category and has no
    /// selector has that category.
    pub(super) categories: Option<Vec<Lenient<String>>>,
}

/// What a flow must be like: all that is given has to match, at either end of the flow.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RuleEntry {
    /// The class, or "none": left alone whatever the model says.
    pub(super) class: Option<Lenient<String>>,
    /// TCP or UDP.
    pub(super) protocol: Option<Lenient<Transport>>,
    /// A port, or a range of ports.
    pub(super) port: Option<Lenient<Ports>>,
    /// An address, or a prefix.
    pub(super) address: Option<Lenient<Prefix>>,
    /// A device by its hardware address, as the packets of the interface carry it.
    pub(super) mac: Option<Lenient<Mac>>,
}

/// A value with its place in the text; what is wrong with it does not keep the others from being read.
#[derive(Debug)]
pub(super) struct Lenient<T> {
    pub(super) span: Range<usize>,
    pub(super) value: Result<T, String>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Spanned::<toml::Value>::deserialize(deserializer)?;
        let span = written.span();
        // Its message says what was expected; where, the span says.
        let value = T::deserialize(written.into_inner()).map_err(|error| error.message().to_owned());
        Ok(Self { span, value })
    }
}

impl<T: JsonSchema> JsonSchema for Lenient<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The JSON Schema of policy files.
pub(super) fn schema() -> Schema {
    let mut schema = schemars::schema_for!(File);
    // What the file may not have is refused by `ntc policy check`, too.
    let close = |schema: &mut serde_json::Map<String, serde_json::Value>| {
        schema.insert("additionalProperties".into(), false.into());
    };
    if let Some(root) = schema.as_object_mut() {
        close(root);
        let definitions = root.get_mut("$defs").and_then(|definitions| definitions.as_object_mut());
        definitions
            .into_iter()
            .flat_map(|all| all.values_mut())
            .filter_map(|one| one.as_object_mut())
            .for_each(close);
    }
    schema
}
