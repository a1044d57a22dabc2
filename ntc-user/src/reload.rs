//! A changed configuration in a running agent, without losing a flow.
//!
//! What can be taken over: the policy, whether it is a dry run, the model. The rest is where the agent works and how large
//! its tables are, and asks for a new agent, which takes maps and labels over (`systemctl restart`).
//! A policy that was put over HTTP or by `ntc policy apply` stays until the file says something new.

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::{
    cli::RunArgs,
    config::{self, ConfigError, Values},
    kernel::policy::{self as kernel, ApplyError},
    policy::Policy,
    switch::{Switch, SwitchError},
};

/// Keys that a running agent takes over.
pub const KEYS: [&str; 3] = ["policy", "dry-run", "model"];

/// A configuration that is not taken; what counted still counts, but for what was taken before.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// File, environment and flags.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] ApplyError),
    /// The model.
    #[error(transparent)]
    Model(#[from] SwitchError),
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// Keys whose change counts from now on.
    pub taken: Vec<String>,
    /// Keys that changed, and count when the agent is started anew.
    pub restart: Vec<String>,
}

/// Reads the configuration again. One at a time.
#[derive(Debug)]
pub struct Reload {
    arguments: Vec<OsString>,
    /// These two are what the agent started with.
    pins: PathBuf,
    mark_mask: u32,
    models: Switch,
    known: Mutex<Known>,
}

/// What counts by the configuration.
#[derive(Debug)]
struct Known {
    values: Values,
    policy: String,
    dry_run: bool,
    /// When `ntc model use` last chose.
    chosen: Option<SystemTime>,
}

impl Reload {
    /// From what the agent started with: its command line, and the text of the policy that it read.
    ///
    /// # Errors
    /// The configuration cannot be used any more.
    pub fn new(arguments: Vec<OsString>, models: Switch, policy: &Policy) -> Result<Self, ConfigError> {
        let (options, values) = config::again(&arguments)?;
        let chosen = options.model.store.store().chosen();
        let known = Known { values, policy: policy.text.clone(), dry_run: options.dry_run, chosen };
        let (pins, mark_mask) = (options.pins.pin_dir, options.mark_mask);
        Ok(Self { arguments, pins, mark_mask, models, known: Mutex::new(known) })
    }

    /// The model that answers.
    pub const fn models(&self) -> &Switch {
        &self.models
    }

    /// Reads it, and takes over what can be. To be called where waiting does no harm.
    ///
    /// # Errors
    /// What is not taken. Nothing is where the configuration has a mistake or the policy has.
    pub fn again(&self) -> Result<Reloaded, ReloadError> {
        let outcome = self.take();
        match &outcome {
            Ok(Reloaded { taken, restart }) => {
                tracing::info!(taken = taken.join(", "), "the configuration was read again");
                if !restart.is_empty() {
                    tracing::warn!(keys = restart.join(", "), "changed, and counts from the next start on");
                }
            }
            Err(error) => tracing::error!(%error, "the configuration is not taken"),
        }
        outcome
    }

    fn take(&self) -> Result<Reloaded, ReloadError> {
        // Whoever panicked under the lock left whole values behind.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (options, values) = config::again(&self.arguments)?;
        let mut reloaded = Reloaded::default();
        let changed = |key: &str| known.values.get(key) != values.get(key);
        reloaded.restart =
            values.keys().filter(|key| changed(key) && !KEYS.contains(&key.as_str())).cloned().collect();
        let model = changed("model");
        self.policy(&mut known, &options, &mut reloaded)?;
        let chosen = options.model.store.store().chosen();
        // `ntc model use` speaks to the running agent also where an option named its model.
        if model || chosen != known.chosen {
            known.chosen = chosen;
            self.models.load(options.model.model.as_deref().filter(|_| model))?;
            reloaded.taken.push("model".to_owned());
        }
        // Those that count from the next start on are named again until then.
        for key in KEYS {
            if let Some(value) = values.get(key) {
                known.values.insert(key.to_owned(), value.clone());
            }
        }
        Ok(reloaded)
    }

    fn policy(
        &self,
        known: &mut Known,
        options: &RunArgs,
        reloaded: &mut Reloaded,
    ) -> Result<(), ReloadError> {
        let policy = Policy::load(options.policy.as_deref(), self.mark_mask).map_err(ApplyError::from)?;
        let policy = policy.dry_run(options.dry_run);
        let (text, dry_run) = (policy.text != known.policy, options.dry_run != known.dry_run);
        if text {
            for warning in &policy.warnings {
                tracing::warn!("policy: {warning}");
            }
            kernel::start(&self.pins, &policy).map_err(ApplyError::from)?;
            known.policy = policy.text;
            reloaded.taken.push("policy".to_owned());
        } else if dry_run {
            kernel::set_dry_run(&self.pins, options.dry_run)?;
        }
        if dry_run {
            known.dry_run = options.dry_run;
            reloaded.taken.push("dry-run".to_owned());
        }
        Ok(())
    }
}
