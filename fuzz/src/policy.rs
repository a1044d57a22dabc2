//! Text that configures the agent: a policy, a bundle's `model.toml`, a catalogue of services. The input is the text, and
//! every reader gets it.

use std::collections::BTreeSet;

use ntc_common::{
    limits::{MAX_RULES, MAX_SERVICES, SEQUENCE_LENGTH},
    policy::{CLASS_NAMES, MARK_MASK_DEFAULT},
};
use ntc_user::{
    catalogue::Catalogue,
    classify::manifest::Manifest,
    features::FEATURES,
    policy::{Policy, class_name},
};

const NAME: &str = "input";

/// Reads the text as each of them.
///
/// # Panics
/// Where something that the kernel or the model cannot take is let through.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Policy::parse(NAME, text, MARK_MASK_DEFAULT) {
        Ok(policy) => usable(&policy),
        Err(error) => assert!(error.to_string().contains(NAME), "{error}"),
    }
    match Manifest::parse(NAME, text) {
        Ok(manifest) => {
            assert_eq!(
                (manifest.input.features, manifest.input.sequence_length),
                (FEATURES.map(String::from).to_vec(), SEQUENCE_LENGTH)
            );
            assert!((0.0..=1.0).contains(&manifest.output.min_confidence));
            assert!(!manifest.output.labels.is_empty());
            let distinct: BTreeSet<_> = manifest.output.labels.iter().collect();
            assert_eq!(distinct.len(), manifest.output.labels.len());
        }
        Err(error) => assert!(error.to_string().contains(NAME), "{error}"),
    }
    match Catalogue::parse(text) {
        Ok(catalogue) => {
            for service in catalogue.services() {
                assert!(
                    u32::from(service.id) < MAX_SERVICES && usize::from(service.class) < CLASS_NAMES.len()
                );
                assert_eq!(catalogue.by_name(&service.name), Some(service));
            }
        }
        Err(error) => assert!(error.to_string().contains("line "), "{error}"),
    }
}

pub(crate) fn usable(policy: &Policy) {
    let table = &policy.table;
    for action in &table.classes {
        assert!(
            action.dscp < 64 && action.existing_dscp <= 2 && action.drop <= 1 && action.reserved == [0; 3]
        );
        assert_eq!(action.mark & !MARK_MASK_DEFAULT, 0, "other people's bits of the mark");
    }
    let named = |class: u8| class == 0 || class_name(table, class).is_some();
    assert!(table.services.iter().all(|action| named(action.class) && action.reserved == 0));
    assert!(table.rule_count <= MAX_RULES && table.rules.iter().all(|rule| named(rule.class)));
    assert!(named(table.unlabelled) && named(table.unknown));
    for class in [table.unlabelled, table.unknown] {
        assert_eq!(table.classes[usize::from(class)].drop, 0, "what is not known is not dropped");
    }
}
