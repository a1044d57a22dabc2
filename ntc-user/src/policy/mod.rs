//! The policy: which service belongs to which class, and what is done with a class's packets. Here a policy file is
//! checked and compiled for the kernel; [`kernel::policy`](crate::kernel::policy) puts it there.

mod compile;
mod explain;
mod file;
mod hold;
mod mistakes;
mod nft;
mod select;
mod values;

use std::{collections::HashMap, fs, path::Path};

use ntc_common::policy::{PolicyTable, policy_flags};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub use self::{
    explain::{Explanation, Question},
    hold::Standing,
    mistakes::{Mistake, lines, place},
    select::Selector,
    values::dscp_name,
};

/// The policy that counts without another.
pub const BUILT_IN: &str = include_str!("../../policy/default.toml");
/// What stands for its file in messages.
pub const BUILT_IN_NAME: &str = "(built in)";

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
    /// There are mistakes in it.
    #[error("{}", lines("policy", path, mistakes))]
    Mistakes {
        /// The file.
        path: String,
        /// All of them, in the order of the text.
        mistakes: Vec<Mistake>,
    },
}

/// A policy that can be used.
#[derive(Clone, Debug)]
pub struct Policy {
    /// As the kernel takes it.
    pub table: Box<PolicyTable>,
    /// As it was written.
    pub text: String,
    /// What is worth a second look.
    pub warnings: Vec<Mistake>,
    /// Why each service is in its class.
    selectors: HashMap<u16, Selector>,
    /// Line of each rule.
    rule_lines: Vec<usize>,
}

impl Policy {
    /// Reads a policy file, or takes the built-in policy.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(path: Option<&Path>, mark_mask: u32) -> Result<Self, PolicyError> {
        let Some(path) = path else { return Self::parse(BUILT_IN_NAME, BUILT_IN, mark_mask) };
        let name = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|source| PolicyError::Read { path: name.clone(), source })?;
        Self::parse(&name, &text, mark_mask)
    }

    /// Reads the text of a policy; `path` stands for it in messages. Marks lie under `mark_mask`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(path: &str, text: &str, mark_mask: u32) -> Result<Self, PolicyError> {
        compile::compile(text, mark_mask)
            .map_err(|mistakes| PolicyError::Mistakes { path: path.to_owned(), mistakes })
    }

    /// The same policy, only counted: all packets are left alone.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        if dry_run {
            self.table.flags |= policy_flags::DRY_RUN;
        }
        self
    }

    /// The policy's name for who asks whether it is still the same: SHA-256 of its text, hexadecimal.
    pub fn digest(&self) -> String {
        digest(self.text.as_bytes())
    }
}

/// SHA-256, hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The JSON Schema of policy files.
pub fn schema() -> serde_json::Value {
    file::schema().into()
}

/// A class's name as the kernel has it; `None` for a class that the policy does not have.
pub fn class_name(table: &PolicyTable, class: u8) -> Option<String> {
    let name = table.names.get(usize::from(class))?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    (end > 0).then(|| String::from_utf8_lossy(&name[..end]).into_owned())
}

#[cfg(test)]
mod tests;
