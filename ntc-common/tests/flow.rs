//! The flow rule in packet time: as a table of scenarios, against a slow model, and on two CPUs.

#[path = "flow/concurrent.rs"]
mod concurrent;
#[path = "flow/events.rs"]
mod events;
#[path = "flow/model.rs"]
mod model;
#[path = "flow/reference.rs"]
mod reference;
#[path = "flow/scenarios.rs"]
mod scenarios;
#[path = "flow/state.rs"]
mod state;
