//! The shadow: another model, another policy, or both, whose labels count for nothing. The programs count by them what
//! would have been done with each packet.

use std::{path::Path, sync::Arc};

use ntc_common::policy::shadow_flags;

use crate::{
    assemble::Question,
    classify::{Answer, Model},
    kernel::{KernelError, flow_table::FlowTable, policy},
    label::LabelWriter,
    policy::Policy,
};

/// Labels of the shadow are told from others by nobody: one epoch does.
const EPOCH: u32 = 1;

/// What is to be tried out beside what acts.
#[derive(Debug, Default)]
pub struct Shadow {
    /// Another policy; otherwise the one that acts.
    pub policy: Option<Policy>,
    /// Another model; otherwise the answers of the one that acts.
    pub model: Option<Model>,
}

impl Shadow {
    /// What the programs are told of it.
    pub const fn flags(&self) -> u32 {
        match (&self.policy, &self.model) {
            (None, None) => 0,
            (None, Some(_)) => shadow_flags::COUNTED,
            (Some(_), _) => shadow_flags::COUNTED | shadow_flags::OWN_POLICY,
        }
    }

    /// Puts its policy into the kernel; `None` where there is no shadow.
    ///
    /// # Errors
    /// No pins, or not writable.
    pub fn start(self, pins: &Path, flows: Arc<FlowTable>) -> Result<Option<Follower>, KernelError> {
        if self.flags() == 0 {
            return Ok(None);
        }
        if let Some(own) = &self.policy {
            policy::shadow(pins, own)?;
        }
        let writer = LabelWriter::shadow(pins, flows, self.policy.as_ref())?;
        Ok(Some(Follower { model: self.model, writer, answers: Vec::new() }))
    }
}

/// Answers each question once more, behind the model that acts.
#[derive(Debug)]
pub struct Follower {
    model: Option<Model>,
    writer: LabelWriter,
    answers: Vec<Answer>,
}

impl Follower {
    /// Writes the shadow's labels for a batch. What fails is logged: nothing hangs on it.
    pub fn follow(&mut self, batch: &[Question], features: &[f32], acting: &[Answer]) {
        self.answers.clear();
        let answers = match &mut self.model {
            None => acting,
            Some(model) => match model.classify(features, &mut self.answers) {
                Ok(()) => &self.answers,
                Err(error) => {
                    tracing::error!(%error, flows = batch.len(), "not answered by the shadow");
                    return;
                }
            },
        };
        if let Err(error) = self.writer.follow_policy() {
            tracing::error!(%error, "the shadow goes by the policy before");
        }
        for (question, answer) in batch.iter().zip(answers) {
            if let Err(error) = self.writer.write(question, answer, EPOCH) {
                tracing::error!(%error, "the shadow's label is not written");
            }
        }
    }
}
