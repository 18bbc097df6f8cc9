//! The nouns: what a task, an attempt, an event and their parts are. No behaviour beyond parsing.

mod attempt;
mod event;
mod message;
mod task;
mod words;

pub use attempt::{Attempt, AttemptKind, AttemptOutcome, CheckResult, Evidence, Usage};
pub use event::Event;
pub use message::{Message, Review, Verdict};
pub use task::{Blocker, CreateTask, EditTask, Task, TaskFilter, TaskPage};
pub(crate) use words::words_macro;
pub use words::{Complexity, Priority, QueueKind, QueueName, Role};
