//! How good answers are, by labelled flows: `ntc eval`. The definitions are those of
//! `models/ntc_models/evaluate.py`; `models/tests/golden-evaluation.json` holds both to the same figures.

pub mod classes;
pub mod figures;
pub mod labels;
pub mod ports;
pub mod tables;

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    catalogue::{Catalogue, Service, class_name},
    classify::Answer,
};

/// What is judged of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// nDPI's full name, `DNS.*` merged into DNS
    Service,
    /// Its part before the dot
    Protocol,
    /// One of ten classes
    Class,
}

impl Level {
    /// What a service is called at this level.
    pub fn name(self, service: &Service) -> &str {
        match self {
            Self::Service => &service.name,
            Self::Protocol => &service.protocol,
            Self::Class => class_name(service.class),
        }
    }

    /// What an answer says at this level. Its class may be another than its service's: that of what has no name.
    pub fn said(self, answer: &Answer) -> &'static str {
        match self {
            Self::Class => class_name(answer.class),
            Self::Service | Self::Protocol => {
                Catalogue::shipped().get(answer.service).map_or("", |service| self.name(service))
            }
        }
    }
}
