//! The native part of the Node package: JSON text in and out. Names, defaults, documentation and classes are in `lib/`.

mod answer;
mod cli;
mod connection;
mod git;
mod orchestrator;
mod queue;
mod role;
