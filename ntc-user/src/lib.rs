//! ntc's user space: from packet records to labels.
//!
//! Modules in the order of the packet:
//!
//! | module | stage |
//! | --- | --- |
//! | [`kernel`] | loads, attaches and pins the programs of `ntc-ebpf`; the maps from outside |
//! | [`capture`] | records from the kernel's ring, or from capture files |
//! | [`assemble`] | records to sequences, and when to ask about them |
//! | [`features`] | a sequence as the model's input |
//! | [`batch`] | questions in batches |
//! | [`classify`] | ONNX Runtime, bundles, answers |
//! | [`switch`] | another model in a running agent |
//! | [`label`] | answers into the kernel's label map |
//! | [`policy`] | what the kernel does with a label |
//! | [`shadow`] | what another model or policy would have done |
//! | [`shape`] | queues that fit the policy |
//! | [`pipeline`] | all stages together, live |
//! | [`offline`] | all stages together, for captures |
//! | [`evaluate`] | how good answers are |
//!
//! A stage imports from the stages before it only. [`flow`], [`sequence`], [`catalogue`], [`event`] and
//! [`clock`] are words that they share, [`likeness`] finds the word that was meant; [`doctor`] examines the machine; [`api`], [`cli`], [`config`], [`cmd`] and
//! [`output`] face the user, [`reload`] follows changes of configuration, [`reference`] is
//! written from all of them, [`export`] collectors, [`logs`] who looks after it, and [`service`] the service manager.

pub mod api;
pub mod assemble;
pub mod batch;
pub mod capture;
pub mod catalogue;
pub mod classify;
pub mod cli;
pub mod clock;
pub mod cmd;
pub mod config;
pub mod doctor;
pub mod evaluate;
pub mod event;
pub mod export;
pub mod features;
pub mod flow;
pub mod kernel;
pub mod label;
pub mod likeness;
pub mod logs;
pub mod offline;
pub mod output;
pub mod pipeline;
pub mod policy;
pub mod reference;
pub mod reload;
pub mod sequence;
pub mod service;
pub mod shadow;
pub mod shape;
pub mod switch;
