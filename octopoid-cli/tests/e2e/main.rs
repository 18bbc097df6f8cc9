//! Drives the built `octopoid` as a user would: real repositories, real processes, a real database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod bad_input;
mod basics;
mod claude;
mod commands;
mod conflicts;
mod crashes;
mod daemon;
mod failures;
mod harness;
mod remote;
