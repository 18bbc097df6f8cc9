//! Drives the built `octopoid` as a user would: real repositories, real processes, a real database.
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

mod bad_input;
mod basics;
mod chaos;
mod claude;
mod commands;
mod conflicts;
mod crashes;
mod daemon;
mod failures;
mod fleet;
mod harness;
mod inbox;
mod landing;
mod machines;
mod mcp;
mod moving;
mod offline;
mod older;
mod records;
mod remote;
mod safety;
mod sharing;
