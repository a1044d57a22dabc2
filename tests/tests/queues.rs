//! Labels, rules and marks at work on a router with queues: what the qdisc counts is what ntc counts, a dead agent means
//! best effort, and the mark is there for others.

#[path = "queues/counters.rs"]
mod counters;
#[path = "queues/killed.rs"]
mod killed;
#[path = "queues/marks.rs"]
mod marks;
#[path = "queues/router.rs"]
mod router;
