//! The one place that decides how a task may change: pure, total, driven by tables.
//!
//! Nothing here reads a clock, a database or random numbers; facts and the time come in as arguments,
//! everything to be written goes out as one [`Change`].

mod apply;
mod change;
mod command;
mod create;
mod failure;
pub mod guard;
mod limit;
pub mod matrix;
mod table;

pub use change::{AttemptChange, Change, NewEvent, NewMessage, Refusal};
pub use command::Command;
pub use create::create;
pub use failure::{Failure, FailureClass};
pub use limit::{Limits, backoff};
pub use table::{CommandKind, Row, TABLE};

use crate::{
    clock::Timestamp,
    flow::Flow,
    model::{Attempt, Blocker, Review, Task},
};

/// What a decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The task as it is.
    pub task: &'a Task,
    /// Its live attempt.
    pub attempt: Option<&'a Attempt>,
    /// Verdicts given so far.
    pub reviews: &'a [Review],
    /// The tasks that it waits for.
    pub blockers: &'a [Blocker],
    /// Its flow.
    pub flow: &'a Flow,
    /// The project's limits.
    pub limits: &'a Limits,
}

/// Decides what `command` does to the task at `now`, or why it does nothing.
///
/// The returned change always has exactly one event and a version that is one higher.
pub fn transition(facts: &Facts<'_>, command: &Command, now: Timestamp) -> Result<Change, Refusal> {
    guard::table(facts.task, command)?;
    guard::fence(facts.task, command)?;
    let change = apply::apply(facts, command, now)?;
    guard::sound(facts.task, &change)?;
    Ok(change)
}
