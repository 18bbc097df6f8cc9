//! One behaviour whatever is behind it, and what happens when that breaks: the four backends, outages, storms, faults.
#![allow(clippy::cloned_ref_to_slice_refs, reason = "a list of one, written as a list")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures,
    reason = "tests fail by panicking"
)]
#![allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "nothing here is seen from outside"
)]

mod cuts;
mod faults;
mod outage;
mod postgres;
mod proxy;
mod server;
mod storm;
mod stuck;
mod suite;
mod transfer;
mod worlds;
