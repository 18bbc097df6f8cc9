//! What can be said of tasks.

use std::path::PathBuf;

use clap::Args;
use octopoid_core::{
    id::{ProjectId, TaskId},
    model::{Complexity, Priority, QueueName, Role},
};

#[derive(Debug, Args)]
pub(crate) struct Enqueue {
    /// What should change, in a line.
    pub(crate) title: Option<String>,
    /// `-` takes the body from standard input.
    #[arg(value_parser = ["-"], hide_possible_values = true, value_name = "-")]
    pub(crate) stdin: Option<String>,
    /// A task file: markdown, with or without front matter.
    #[arg(long, value_name = "F.md", conflicts_with_all = ["body", "stdin"])]
    pub(crate) file: Option<PathBuf>,
    /// The body.
    #[arg(long, value_name = "TEXT", conflicts_with = "stdin")]
    pub(crate) body: Option<String>,
    /// What an agent does with it.
    #[arg(long, value_name = "R")]
    pub(crate) role: Option<Role>,
    /// P0 (first) to P3.
    #[arg(long, value_name = "P")]
    pub(crate) priority: Option<Priority>,
    /// XS, S, M, L or XL.
    #[arg(long, value_name = "X")]
    pub(crate) complexity: Option<Complexity>,
    /// The project that it belongs to.
    #[arg(long, value_name = "ID")]
    pub(crate) project: Option<ProjectId>,
    /// A task that must be done first; may be given several times.
    #[arg(long, value_name = "ID")]
    pub(crate) after: Vec<TaskId>,
    /// The branch to start from and to merge into.
    #[arg(long, value_name = "BASE")]
    pub(crate) branch: Option<String>,
    /// The flow that it takes.
    #[arg(long, value_name = "F")]
    pub(crate) flow: Option<String>,
    /// Its id; a fresh one when not given.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<TaskId>,
    /// The same key gives the same task again.
    #[arg(long, value_name = "K")]
    pub(crate) idempotency_key: Option<String>,
    /// A command that must pass besides the project's own; may be given several times.
    #[arg(long, value_name = "CMD")]
    pub(crate) check: Vec<String>,
    /// Only matching files may be changed; may be given several times.
    #[arg(long, value_name = "GLOB")]
    pub(crate) path: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only these queues.
    #[arg(long, value_name = "Q,..", value_delimiter = ',')]
    pub(crate) queue: Vec<QueueName>,
    /// Only these priorities.
    #[arg(long, value_name = "P,..", value_delimiter = ',')]
    pub(crate) priority: Vec<Priority>,
    /// Only these roles.
    #[arg(long, value_name = "R,..", value_delimiter = ',')]
    pub(crate) role: Vec<Role>,
    /// Only this project's.
    #[arg(long, value_name = "ID")]
    pub(crate) project: Option<ProjectId>,
    /// All that match, however many.
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// At most so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// The task.
    pub(crate) id: TaskId,
    /// What should change, in a line.
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// The body; `-` takes it from standard input.
    #[arg(long, value_name = "TEXT")]
    pub(crate) body: Option<String>,
    /// What an agent does with it.
    #[arg(long, value_name = "R")]
    pub(crate) role: Option<Role>,
    /// P0 (first) to P3.
    #[arg(long, value_name = "P")]
    pub(crate) priority: Option<Priority>,
    /// XS, S, M, L or XL.
    #[arg(long, value_name = "X")]
    pub(crate) complexity: Option<Complexity>,
    /// The branch to start from and to merge into.
    #[arg(long, value_name = "BASE")]
    pub(crate) branch: Option<String>,
    /// The tasks that must be done first, instead of the present ones; `none` for no task.
    #[arg(long, value_name = "ID")]
    pub(crate) after: Vec<String>,
    /// The commands that must pass besides the project's own, instead of the present ones.
    #[arg(long, value_name = "CMD")]
    pub(crate) check: Vec<String>,
    /// The files that may be changed, instead of the present ones.
    #[arg(long, value_name = "GLOB")]
    pub(crate) path: Vec<String>,
}
