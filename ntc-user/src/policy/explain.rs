//! `ntc policy show`: what would happen to a service or a flow, and why; by the code that tc runs.

use ntc_common::{
    key::FlowKey,
    label::Label,
    policy::{ExistingDscp, policy_flags},
    rules::Ends,
};
use serde::Serialize;

use super::{Policy, class_name, dscp_name};
use crate::catalogue::Catalogue;

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// Packets of flows with such a label.
    Service {
        /// Stable id.
        id: u16,
        /// Probability of the answer, 0 to 1.
        confidence: f32,
    },
    /// A flow, and its label if it has one.
    Flow {
        /// Which one.
        key: &'a FlowKey,
        /// In the kernel's map.
        label: Option<&'a Label>,
    },
}

/// What is done, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The class; `None`: packets are left alone.
    pub class: Option<String>,
    /// `major:minor`, hexadecimal, at tc egress.
    pub priority: Option<String>,
    /// Code point by name.
    pub dscp: Option<String>,
    /// `override`, `if-zero` or `never`.
    pub existing_dscp: Option<&'static str>,
    /// `skb->mark` under the mask.
    pub mark: Option<String>,
    /// Packets are dropped.
    pub drop: bool,
    /// Step by step.
    pub because: Vec<String>,
}

impl Policy {
    /// What this policy does with packets of that kind on an interface that is captured.
    pub fn explain(&self, question: Question<'_>) -> Explanation {
        let mut because = Vec::new();
        let class = match question {
            Question::Service { id, confidence } => {
                let confidence = (confidence.clamp(0.0, 1.0) * 65535.0).round() as u16;
                if self.table.rule_count > 0 {
                    because.push(
                        "no rule speaks of a service; one that matches the flow would come first".into(),
                    );
                }
                self.by_answer(id, confidence, &mut because)
            }
            Question::Flow { key, label } => self.by_flow(key, label, &mut because),
        };
        let mut explanation = self.action(class, &mut because);
        if self.table.flags & policy_flags::DRY_RUN != 0 {
            because.push("dry run: this is counted, and packets are left alone".into());
        }
        explanation.because = because;
        explanation
    }

    fn by_flow(&self, key: &FlowKey, label: Option<&Label>, because: &mut Vec<String>) -> u8 {
        if self.table.flags & policy_flags::READS_MAC != 0 {
            because.push("rules by hardware address are not looked at: a 5-tuple has none".into());
        }
        if let Some((index, class)) = self.table.by_rule(&Ends::of(key, [0; 2])) {
            let line = self.rule_lines.get(index).copied().unwrap_or_default();
            because.push(format!("rule {} (line {line}) matches; labels are not asked", index + 1));
            if class == 0 {
                because.push("the rule says none: left alone".into());
            }
            return class;
        }
        if self.table.rule_count > 0 {
            because.push(format!("none of {} rules matches", self.table.rule_count));
        }
        let Some(label) = label else {
            because.push("the flow has no label".into());
            return self.default(self.table.unlabelled, "unlabelled", because);
        };
        if (label.acts_as, label.acts_confidence) != (label.service, label.confidence) {
            let (name, _) = Catalogue::shipped().names(label.service);
            because.push(format!(
                "the latest answer, {name} ({:.2}), is not sure enough to change the flow's class",
                f64::from(label.confidence) / 65535.0
            ));
        }
        self.by_answer(label.acts_as, label.acts_confidence, because)
    }

    fn by_answer(&self, service: u16, confidence: u16, because: &mut Vec<String>) -> u8 {
        let (name, _) = Catalogue::shipped().names(service);
        let share = f64::from(confidence) / 65535.0;
        let Some(class) = self.table.class_of(service, confidence) else {
            let action = self.table.services.get(usize::from(service));
            let least = f64::from(action.map_or(0, |action| action.min_confidence)) / 65535.0;
            because.push(if service == 0 {
                "the answer is unknown".into()
            } else {
                format!("the answer is {name} ({share:.2}), the class asks for {least:.2}: unsure")
            });
            return self.default(self.table.unknown, "unknown", because);
        };
        match (class_name(&self.table, class), self.selectors.get(&service)) {
            (Some(class), Some(selector)) => {
                because.push(format!("the answer is {name} ({share:.2}), in class {class} {selector}"));
            }
            _ => {
                because.push(format!("the answer is {name} ({share:.2}), which no class of this policy has"));
            }
        }
        class
    }

    fn default(&self, class: u8, key: &str, because: &mut Vec<String>) -> u8 {
        match class_name(&self.table, class).filter(|_| class != 0) {
            Some(name) => because.push(format!("[default] {key} says {name}, at egress")),
            None => because.push(format!("[default] has no class for {key} packets: left alone")),
        }
        class
    }

    fn action(&self, class: u8, because: &mut Vec<String>) -> Explanation {
        let name = class_name(&self.table, class);
        let Some(name) = name.filter(|_| class != 0) else { return Explanation::default() };
        let action = self.table.action(class);
        let existing = match action.existing_dscp {
            written if written == ExistingDscp::Override as u8 => Some("override"),
            written if written == ExistingDscp::IfZero as u8 => Some("if-zero"),
            _ => None,
        };
        if action.drop != 0 {
            because.push("the class drops its packets".into());
            return Explanation { class: Some(name), drop: true, ..Explanation::default() };
        }
        because.push(match existing {
            Some("override") => "the code point is written whatever is there".into(),
            Some(_) => "the code point is written where there is none".into(),
            None => "no code point is written".into(),
        });
        Explanation {
            class: Some(name),
            priority: (action.priority != 0)
                .then(|| format!("{:x}:{:x}", action.priority >> 16, action.priority & 0xffff)),
            dscp: existing.map(|_| dscp_name(action.dscp)),
            existing_dscp: existing,
            mark: (action.mark != 0).then(|| format!("{:#010x}/{:#010x}", action.mark, self.table.mark_mask)),
            drop: false,
            because: Vec::new(),
        }
    }
}
