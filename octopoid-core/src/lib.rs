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

mod error;

pub mod agent;
pub mod backend;
pub mod client;
pub mod clock;
pub mod config;
pub mod engine;
pub mod flow;
pub mod git;
pub mod id;
pub mod lifecycle;
pub mod model;
pub mod offline;
pub mod orchestrator;
pub mod prompt;
pub mod queue;
pub mod role;
pub mod store;
pub mod wire;

pub use error::{Error, ErrorCode, Result};
pub use orchestrator::Orchestrator;
pub use queue::{Connect, Octopoid};
pub use role::{Assignment, Outcome, Role, RoleError};

/// What most programs need.
pub mod prelude {
    pub use async_trait::async_trait;

    pub use crate::{
        Assignment, Error, ErrorCode, Octopoid, Orchestrator, Outcome, Role, RoleError,
        id::TaskId,
        model::{CreateTask, EditTask, Priority, QueueName, Task, TaskFilter, Verdict},
        queue::{HandIn, Take},
    };
}
