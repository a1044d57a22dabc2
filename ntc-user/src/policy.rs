//! The policy: classes to queues, marks and code points. Here it is read and compiled for the kernel.

use std::{collections::BTreeMap, fs, path::Path};

use ntc_common::{
    limits::MAX_CLASSES,
    policy::{CLASS_NAMES, ClassAction, ExistingDscp, ServiceAction, mark_of},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::catalogue::{Catalogue, class_number};

const BUILT_IN: &str = include_str!("../policy/default.toml");

/// Code points by name (RFC 2474, 2597, 3246, 5865, 8622).
const CODE_POINTS: [(&str, u8); 23] = [
    ("CS0", 0),
    ("LE", 1),
    ("CS1", 8),
    ("AF11", 10),
    ("AF12", 12),
    ("AF13", 14),
    ("CS2", 16),
    ("AF21", 18),
    ("AF22", 20),
    ("AF23", 22),
    ("CS3", 24),
    ("AF31", 26),
    ("AF32", 28),
    ("AF33", 30),
    ("CS4", 32),
    ("AF41", 34),
    ("AF42", 36),
    ("AF43", 38),
    ("CS5", 40),
    ("VA", 44),
    ("EF", 46),
    ("CS6", 48),
    ("CS7", 56),
];

/// A policy that cannot be used, and why.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("policy {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("policy {path}: {source}")]
    Syntax {
        /// The file.
        path: String,
        /// Place and mistake.
        source: Box<toml::de::Error>,
    },
    /// A value that means nothing.
    #[error("policy {path}: [class.{class}] {field}: {what}")]
    Value {
        /// The file.
        path: String,
        /// Which class.
        class: String,
        /// Which key.
        field: &'static str,
        /// What is wrong.
        what: String,
    },
}

/// What a policy file says: for each class that the policy names, what is done with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// By the class's name; a class that is not named is left alone.
    #[serde(default)]
    pub class: BTreeMap<String, ClassEntry>,
}

/// What is done with a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassEntry {
    /// `skb->priority` at tc egress: `major:minor`, hexadecimal.
    #[schema(example = "1:12")]
    pub priority: String,
    /// Code point: a name (RFC 2474, 2597, 3246, 5865, 8622) or 0 to 63.
    #[schema(example = "AF21")]
    pub dscp: String,
    /// What to do where a packet has one already: `override`, `if-zero` or `never`.
    #[serde(default = "if_zero")]
    pub existing_dscp: String,
    /// Labels below this confidence leave packets alone; 0 to 1.
    #[serde(default)]
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub min_confidence: f32,
}

impl PolicyFile {
    /// The policy in the binary, or a file.
    ///
    /// # Errors
    /// It cannot be read, or is no TOML of this form.
    pub fn load(path: Option<&Path>) -> Result<Self, PolicyError> {
        let Some(path) = path else { return Self::parse("(built in)", BUILT_IN) };
        let name = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|source| PolicyError::Read { path: name.clone(), source })?;
        Self::parse(&name, &text)
    }

    /// Reads TOML; `path` stands for it in messages.
    ///
    /// # Errors
    /// It is no TOML of this form.
    pub fn parse(path: &str, text: &str) -> Result<Self, PolicyError> {
        toml::from_str(text)
            .map_err(|source| PolicyError::Syntax { path: path.into(), source: Box::new(source) })
    }
}

fn if_zero() -> String {
    "if-zero".into()
}

/// A policy as the kernel takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// By service id.
    pub services: Vec<(u16, ServiceAction)>,
    /// By class number.
    pub classes: Vec<ClassAction>,
}

/// A class that nothing is done with.
const INACTIVE: ClassAction =
    ClassAction { priority: 0, mark: 0, dscp: 0, existing_dscp: ExistingDscp::Never as u8, reserved: [0; 2] };

impl Policy {
    /// The policy that leaves all packets alone.
    pub fn idle() -> Self {
        Self { services: Vec::new(), classes: vec![INACTIVE; MAX_CLASSES as usize] }
    }

    /// Reads a policy file, or takes the built-in policy.
    ///
    /// # Errors
    /// File, class and key of the first mistake.
    pub fn load(path: Option<&Path>, mark_mask: u32) -> Result<Self, PolicyError> {
        let name = path.map_or_else(|| "(built in)".into(), |path| path.display().to_string());
        Self::compile(&name, &PolicyFile::load(path)?, mark_mask)
    }

    /// Reads the text of a policy; `path` stands for it in messages.
    ///
    /// # Errors
    /// Class and key of the first mistake.
    pub fn parse(path: &str, text: &str, mark_mask: u32) -> Result<Self, PolicyError> {
        Self::compile(path, &PolicyFile::parse(path, text)?, mark_mask)
    }

    /// Compiles what a file says; `path` stands for it in messages.
    ///
    /// # Errors
    /// Class and key of the first mistake.
    pub fn compile(path: &str, file: &PolicyFile, mark_mask: u32) -> Result<Self, PolicyError> {
        let mut classes = vec![INACTIVE; MAX_CLASSES as usize];
        let mut confidence = BTreeMap::new();
        for (name, entry) in &file.class {
            let wrong = |field, what: String| PolicyError::Value {
                path: path.into(),
                class: name.clone(),
                field,
                what,
            };
            let number = class_number(name).filter(|number| *number != 0).ok_or_else(|| {
                wrong("", format!("no such class; there are {}", CLASS_NAMES[1..].join(", ")))
            })?;
            if !(0.0..=1.0).contains(&entry.min_confidence) {
                return Err(wrong("min_confidence", format!("{} is not from 0 to 1", entry.min_confidence)));
            }
            confidence.insert(number, (entry.min_confidence * 65535.0).round() as u16);
            classes[usize::from(number)] = ClassAction {
                priority: priority(&entry.priority).ok_or_else(|| {
                    wrong("priority", format!("{:?} is no \"major:minor\" in hexadecimal", entry.priority))
                })?,
                mark: mark_of(number, mark_mask),
                dscp: dscp(&entry.dscp).ok_or_else(|| {
                    wrong("dscp", format!("{:?} is neither a name like AF21 nor 0 to 63", entry.dscp))
                })?,
                existing_dscp: existing(&entry.existing_dscp)
                    .ok_or_else(|| wrong("existing_dscp", "give override, if-zero or never".into()))?
                    as u8,
                reserved: [0; 2],
            };
        }
        let mut services: Vec<_> = Catalogue::shipped()
            .services()
            .filter_map(|service| {
                let min_confidence = *confidence.get(&service.class)?;
                Some((service.id, ServiceAction { min_confidence, class: service.class, reserved: 0 }))
            })
            .collect();
        services.sort_unstable_by_key(|(id, _)| *id);
        Ok(Self { services, classes })
    }
}

/// `major:minor`, hexadecimal as tc has it.
fn priority(text: &str) -> Option<u32> {
    let (major, minor) = text.split_once(':')?;
    let half = |text| u16::from_str_radix(text, 16).ok().map(u32::from);
    Some((half(major)? << 16) | half(minor)?)
}

pub(crate) fn dscp(text: &str) -> Option<u8> {
    let named = CODE_POINTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, code)| *code);
    named.or_else(|| text.parse().ok().filter(|code| *code < 64))
}

fn existing(text: &str) -> Option<ExistingDscp> {
    match text {
        "override" => Some(ExistingDscp::Override),
        "if-zero" => Some(ExistingDscp::IfZero),
        "never" => Some(ExistingDscp::Never),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntc_common::policy::MARK_MASK_DEFAULT;

    #[test]
    fn the_built_in_policy_has_an_action_for_every_class() {
        let policy = Policy::load(None, MARK_MASK_DEFAULT).expect("the built-in policy reads");
        for (class, action) in (0u32..).zip(&policy.classes).take(CLASS_NAMES.len()).skip(1) {
            assert_eq!(action.priority, 0x0001_0010 + class, "class {class}");
            assert_eq!(action.mark, class << 16);
        }
        let dns = Catalogue::shipped().by_name("DNS").expect("DNS is listed");
        let (_, action) = policy.services.iter().find(|(id, _)| *id == dns.id).expect("an action for DNS");
        assert_eq!((action.class, action.min_confidence), (1, 32768));
    }

    #[test]
    fn mistakes_name_class_and_key() {
        let error = |text: &str| Policy::parse("p.toml", text, 0xff).expect_err("a mistake").to_string();
        let entry = |rest: &str| format!("[class.web]\npriority = \"1:1\"\ndscp = \"EF\"\n{rest}");
        assert!(error("[class.fast]\npriority=\"1:1\"\ndscp=\"EF\"").contains("there are management"));
        assert!(error("[class.web]\npriority=\"7\"\ndscp=\"EF\"").contains("[class.web] priority"));
        assert!(error("[class.web]\npriority=\"1:1\"\ndscp=\"AF99\"").contains("AF99"));
        assert!(error(&entry("existing_dscp = \"always\"")).contains("override"));
        assert!(error(&entry("min_confidence = 2.0")).contains("from 0 to 1"));
        assert!(error(&entry("colour = 1")).contains("colour"));
    }
}
