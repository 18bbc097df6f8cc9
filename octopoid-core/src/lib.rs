//! Octopoid: a queue of tasks for AI coding agents, each worked on in a git worktree of its own, checked,
//! reviewed by a second agent, and merged. No work is ever lost, and nothing is called done that is not done.
//!
//! The crate is built in floors; a module uses only what is below it (see `ARCHITECTURE.md`).
//!
//! ```no_run
//! use octopoid_core::prelude::*;
//!
//! # async fn example() -> octopoid_core::Result<()> {
//! let octopoid = Octopoid::open(".")?;
//! let task = octopoid.tasks().create(CreateTask { title: Some("Fix the typo".into()), ..Default::default() }).await?;
//! Orchestrator::builder().octopoid(octopoid.clone()).build()?.run_once().await?;
//! println!("{} is in {}", task.id, octopoid.tasks().get(&task.id).await?.queue);
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]
// What only a feature that is not chosen would use is left where it is.
#![cfg_attr(
    not(all(feature = "postgres", feature = "client", feature = "orchestrator")),
    allow(dead_code, unused_imports)
)]

mod error;

#[cfg(feature = "orchestrator")]
pub mod agent;
pub mod backend;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod config;
pub mod engine;
pub mod flow;
#[cfg(feature = "git")]
pub mod git;
pub mod id;
pub mod lifecycle;
pub mod model;
#[cfg(all(feature = "client", feature = "sqlite"))]
pub mod offline;
#[cfg(feature = "orchestrator")]
pub mod orchestrator;
#[cfg(feature = "orchestrator")]
pub mod prompt;
pub mod queue;
#[cfg(feature = "orchestrator")]
pub mod role;
pub mod store;
pub mod wire;

pub use error::{Error, ErrorCode, Result};
#[cfg(feature = "orchestrator")]
pub use orchestrator::Orchestrator;
#[cfg(feature = "client")]
pub use queue::Connect;
pub use queue::Octopoid;
#[cfg(feature = "orchestrator")]
pub use role::{Assignment, Outcome, Role, RoleError};

/// What most programs need.
pub mod prelude {
    pub use async_trait::async_trait;

    #[cfg(feature = "orchestrator")]
    pub use crate::{Assignment, Orchestrator, Outcome, Role, RoleError};
    pub use crate::{
        Error, ErrorCode, Octopoid,
        id::TaskId,
        model::{CreateTask, EditTask, Priority, QueueName, Task, TaskFilter, Verdict},
        queue::{HandIn, Take},
    };
}
