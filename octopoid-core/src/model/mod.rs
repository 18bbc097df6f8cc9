//! The nouns: what a task, an attempt, an event and their parts are. No behaviour beyond parsing.

mod annotations;
mod attempt;
mod event;
mod message;
mod patch;
mod record;
mod task;
mod words;

pub use annotations::Annotations;
pub use attempt::{Attempt, AttemptKind, AttemptOutcome, CheckResult, Evidence, Usage};
pub use event::Event;
pub use message::{Message, MessageFilter, MessagePage, Post, Review, Verdict};
pub use patch::PatchTask;
pub use record::{Record, RecordKey, RecordKind, RecordWrite};
pub use task::{Blocker, CreateTask, EditTask, Sort, Task, TaskFilter, TaskPage};
pub(crate) use words::words_macro;
pub use words::{Complexity, Priority, QueueKind, QueueName, Role};
