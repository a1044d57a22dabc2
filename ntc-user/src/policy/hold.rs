//! Hysteresis: which of a flow's answers its packets are treated by.

use ntc_common::{label::Label, policy::PolicyTable};

/// The answer that counts for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its service.
    pub service: u16,
    /// Its probability in 1/65535.
    pub confidence: u16,
    /// How often the flow's class has changed, the first one counted.
    pub changes: u8,
}

impl Standing {
    /// Of a flow that has a label already, or none, when a new answer comes. An answer that is not sure changes nothing;
    /// one for another class has to be surer than one for the first, and comes too late after so many changes.
    pub fn after(table: &PolicyTable, label: Option<&Label>, service: u16, confidence: u16) -> Self {
        let class = table.class_of(service, confidence);
        let Some(label) = label else {
            return Self { service, confidence, changes: u8::from(class.is_some_and(|class| class != 0)) };
        };
        let stands =
            Self { service: label.acts_as, confidence: label.acts_confidence, changes: label.changes };
        let new = Self { service, confidence, changes: stands.changes };
        let held = table.class_of(stands.service, stands.confidence).unwrap_or(0);
        let may_change = stands.changes < table.max_changes;
        match class {
            None if held != 0 => stands,
            None => new,
            Some(class) if class == held => new,
            Some(_) if held == 0 && may_change => Self { changes: stands.changes + 1, ..new },
            Some(class) if held != 0 && may_change => {
                // Into a class by its own margin; out of all classes by that of the one that is left.
                let (by, margin) = if class == 0 { (stands.service, held) } else { (service, class) };
                let least = table.services.get(usize::from(by)).map_or(0, |action| action.min_confidence);
                let margin = table.action(margin).hysteresis;
                if confidence >= least.saturating_add(margin) {
                    Self { changes: stands.changes + 1, ..new }
                } else {
                    stands
                }
            }
            Some(_) => stands,
        }
    }
}
