//! The labels of a model, and what its probabilities say.

use std::collections::BTreeSet;

use crate::catalogue::{Catalogue, Service, UNKNOWN};

/// What a model says of a flow.
///
/// A model may have labels for what it has no name for, one a class (`unknown.web`). They name no flow; where they are
/// together likelier than the most probable protocol, the class is that of the likeliest of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The most probable service of the most probable protocol; 0: unknown.
    pub service: u16,
    /// Its QoS class, or that of what has no name.
    pub class: u8,
    /// Probability of that protocol, over all its services.
    pub confidence: f32,
    /// Probability of that service alone.
    pub service_confidence: f32,
    /// The nameless label that the class is of, by id, and its probability; none where the class is the service's.
    pub nameless: Option<(u16, f32)>,
}

impl Answer {
    /// What is said of a flow of which nothing is known.
    pub const NONE: Self =
        Self { service: UNKNOWN, class: 0, confidence: 0.0, service_confidence: 0.0, nameless: None };

    /// What is sure enough to be said: the service, or of something nameless its label; else unknown.
    #[must_use]
    pub fn at_least(self, min_confidence: f32) -> Self {
        match self.nameless {
            None if self.confidence >= min_confidence => self,
            Some((service, confidence)) if confidence >= min_confidence => {
                Self { service, confidence, ..self }
            }
            _ => Self { service: UNKNOWN, class: 0, ..self },
        }
    }
}

/// The protocol, in the catalogue, of labels for what has no name.
const NAMELESS: &str = "unknown";

/// A label of the model.
#[derive(Debug)]
struct Label {
    service: &'static Service,
    /// Index of its protocol among the model's protocols.
    protocol: usize,
}

/// The labels of a model, in the order of its outputs.
#[derive(Debug)]
pub struct Vocabulary {
    labels: Vec<Label>,
    /// Place among the protocols of what has no name.
    nameless: Option<usize>,
    /// Room for the probability of each protocol.
    protocols: Vec<f32>,
}

impl Vocabulary {
    /// Of services by nDPI's full name.
    ///
    /// # Errors
    /// The first name that the catalogue does not have.
    pub fn new(names: &[String]) -> Result<Self, String> {
        let services: Vec<&Service> = names
            .iter()
            .map(|name| Catalogue::shipped().by_name(name).ok_or_else(|| name.clone()))
            .collect::<Result<_, _>>()?;
        let protocols: BTreeSet<&str> = services.iter().map(|service| service.protocol.as_str()).collect();
        let protocols: Vec<&str> = protocols.into_iter().collect();
        let nameless = protocols.iter().position(|protocol| *protocol == NAMELESS);
        let labels = services
            .into_iter()
            .map(|service| Label {
                service,
                protocol: protocols.partition_point(|protocol| *protocol < service.protocol.as_str()),
            })
            .collect();
        Ok(Self { labels, nameless, protocols: vec![0.0; protocols.len()] })
    }

    /// The services, in the order of the outputs.
    pub fn services(&self) -> impl Iterator<Item = &'static Service> {
        self.labels.iter().map(|label| label.service)
    }

    /// Number of labels.
    pub const fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no label.
    pub const fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The likeliest service of the likeliest protocol, however unsure; of equal ones the first.
    pub fn answer(&mut self, probabilities: &[f32]) -> Answer {
        // A graph that answers NaN answers nothing.
        if !probabilities.iter().all(|probability| probability.is_finite()) {
            return Answer::NONE;
        }
        self.protocols.fill(0.0);
        for (label, probability) in self.labels.iter().zip(probabilities) {
            self.protocols[label.protocol] += probability;
        }
        let named =
            self.protocols.iter().copied().enumerate().filter(|(place, _)| Some(*place) != self.nameless);
        let Some((protocol, confidence)) = first_largest(named) else {
            return Answer::NONE;
        };
        let Some((service, alone)) = self.likeliest_of(protocol, probabilities) else {
            return Answer::NONE;
        };
        let nameless = self.nameless.filter(|place| self.protocols[*place] > confidence);
        let other = nameless.and_then(|place| self.likeliest_of(place, probabilities));
        Answer {
            service: service.id,
            class: other.map_or(service.class, |(other, _)| other.class),
            confidence: confidence.min(1.0),
            service_confidence: alone.min(1.0),
            nameless: other.map(|(other, probability)| (other.id, probability.min(1.0))),
        }
    }

    /// The likeliest label of a protocol, and its probability.
    fn likeliest_of(&self, protocol: usize, probabilities: &[f32]) -> Option<(&'static Service, f32)> {
        let inside = self.labels.iter().zip(probabilities).filter(|(label, _)| label.protocol == protocol);
        first_largest(inside.map(|(label, probability)| (label.service, *probability)))
    }
}

fn first_largest<T>(values: impl Iterator<Item = (T, f32)>) -> Option<(T, f32)> {
    values.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(names: &[&str]) -> Vocabulary {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Vocabulary::new(&names).expect("the catalogue has them")
    }

    #[test]
    fn services_of_one_protocol_speak_together() {
        let mut labels = vocabulary(&["TLS", "TLS.Google", "HTTP"]);
        let google = Catalogue::shipped().by_name("TLS.Google").expect("TLS.Google");
        let said = labels.answer(&[0.25, 0.35, 0.4]);
        assert_eq!((said.service, said.class), (google.id, google.class));
        assert!((said.confidence - 0.6).abs() < 1e-6 && (said.service_confidence - 0.35).abs() < 1e-6);
        let unsure = said.at_least(0.7);
        assert_eq!((unsure.service, unsure.class, unsure.confidence), (UNKNOWN, 0, said.confidence));
        assert_eq!(said.at_least(0.5), said);
    }

    #[test]
    fn what_has_no_name_has_a_class() {
        let mut labels = vocabulary(&["TLS", "HTTP", "unknown.industrial", "unknown.bulk"]);
        let of = |name: &str| {
            let service = Catalogue::shipped().by_name(name).expect("a label");
            (service.id, service.class)
        };
        let (tls, industrial) = (of("TLS"), of("unknown.industrial"));
        let said = labels.answer(&[0.25, 0.125, 0.5, 0.125]);
        assert_eq!((said.service, said.class, said.confidence), (tls.0, industrial.1, 0.25));
        let sure = said.at_least(0.5);
        assert_eq!(((sure.service, sure.class), sure.confidence), (industrial, 0.5));
        assert_eq!((said.at_least(0.7).service, said.at_least(0.7).class), (UNKNOWN, 0));
        // The service is not said beside another's class, however low the bar.
        assert_eq!(labels.answer(&[0.3, 0.3, 0.2, 0.2]).at_least(0.25).class, 0);
        let named = labels.answer(&[0.6, 0.1, 0.2, 0.1]);
        assert_eq!((named.at_least(0.5), named.class), (named, tls.1));
    }

    #[test]
    fn a_graph_that_answers_nan_answers_nothing() {
        assert_eq!(vocabulary(&["HTTP"]).answer(&[f32::NAN]), Answer::NONE);
    }

    #[test]
    fn a_service_without_an_id_is_named() {
        assert_eq!(Vocabulary::new(&["Nonsense".into()]).expect_err("no such service"), "Nonsense");
    }
}
