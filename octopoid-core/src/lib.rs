//! Octopoid: a queue of tasks for AI coding agents, each worked on in a git worktree of its own, checked,
//! reviewed by a second agent, and merged. No work is ever lost, and nothing is called done that is not done.
//!
//! # The map
//!
//! | to | look at |
//! |---|---|
//! | create, claim, review, list tasks | [`Octopoid`] and [`queue`] |
//! | reach a queue on a server | [`Octopoid::connect`], [`client`] |
//! | write an agent in Rust | [`Role`], [`Assignment`], [`Outcome`] |
//! | run agents, checks, reviews and merges | [`Orchestrator`] |
//! | work with worktrees and commits | [`git::tools`] |
//! | read and write task files | [`queue::files`] |
//! | know what a task is, and what may happen to it | [`model`], [`lifecycle`], [`flow`] |
//! | keep tasks somewhere else | [`store`], [`engine`], [`Octopoid::over`] |
//!
//! The crate is built in floors; a module uses only what is below it (see `ARCHITECTURE.md`). Features: `sqlite`, `postgres`,
//! `client`, `git`, `orchestrator`; all are on by default, and each compiles alone.
//!
//! # The handle
//!
//! ```
//! use octopoid_core::prelude::*;
//!
//! # #[tokio::main]
//! # async fn main() -> octopoid_core::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! let octopoid = Octopoid::local(folder.path())?;
//! let wanted = CreateTask { title: Some("Fix the typo".into()), ..Default::default() };
//! let task = octopoid.tasks().create(wanted).await?;
//!
//! let claim = octopoid.tasks().claim(Take::new("ci-host-1", "script")?).await?.expect("a task waits");
//! octopoid.tasks().submit(&task.id, HandIn { commits: 1, ..Default::default() }).await?;
//! octopoid.tasks().accept(&task.id, "me").await?;
//! assert_eq!(octopoid.tasks().get(&claim.task.id).await?.queue, QueueName::done());
//! # Ok(())
//! # }
//! ```
//!
//! # A role, and the orchestrator that runs it
//!
//! ```
//! use octopoid_core::{git::tools, prelude::*};
//!
//! #[derive(Debug)]
//! struct Writer;
//!
//! #[async_trait]
//! impl Role for Writer {
//!     fn name(&self) -> &str {
//!         "implement"
//!     }
//!     async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError> {
//!         std::fs::write(cx.worktree.join("NOTES.md"), &cx.task.title).map_err(|e| RoleError::failed(e.to_string()))?;
//!         Ok(Outcome::done("wrote the notes"))
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> octopoid_core::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let repo = folder.path();
//! # octopoid_core::git::Repo::create(repo, "main", "first")?;
//! let octopoid = Octopoid::local(repo)?;
//! let task = octopoid.tasks().create(CreateTask { title: Some("Write notes".into()), ..Default::default() }).await?;
//! Orchestrator::builder().octopoid(octopoid.clone()).repo(repo).role(Writer).build()?.run_once().await?;
//!
//! // Committed on the task's branch, and waiting for a person or a reviewing role.
//! let task = octopoid.tasks().get(&task.id).await?;
//! assert_eq!(task.queue, QueueName::provisional());
//! let worktree = tools::ensure_worktree(repo, task.id.as_str(), "main")?;
//! assert_eq!(tools::commit_count(&worktree, "main")?, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Task files
//!
//! ```
//! use octopoid_core::queue::files;
//!
//! # fn main() -> octopoid_core::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! let task = serde_json::json!({ "title": "Fix the typo", "priority": "P1" });
//! let file = files::write_task_file(folder.path(), &task)?;
//! assert_eq!(files::read_task_file(&file)?["title"], "Fix the typo");
//! assert_eq!(files::list_task_files(folder.path())?.len(), 1);
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
