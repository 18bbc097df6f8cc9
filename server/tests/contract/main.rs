//! Drives the built `octopoid-server` over HTTP, as a client that knows only the documents would.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]
#![allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "nothing here is seen from outside"
)]

mod auth;
mod bad_input;
mod bulk;
mod claims;
mod commands;
mod dependencies;
mod events;
mod evidence;
mod flows;
mod harness;
mod hooks;
mod leases;
mod lifecycle;
mod messages;
mod ops;
mod people;
mod records;
mod resources;
mod seed;
mod tasks;
mod tenants;
mod wrong_types;
