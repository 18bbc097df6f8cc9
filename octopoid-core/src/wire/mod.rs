//! The forms on the wire: requests with loosely typed fields, rows as earlier clients read them.

mod create;
mod fields;
mod patch;
mod task;

pub use create::create_task;
pub use fields::{Fields, parse_flag};
pub use patch::patch_task;
pub use task::{history, message, task_row};

/// The branch of tasks and projects for which neither the client nor an orchestrator of the scope named one; earlier
/// clients rely on it.
pub const BASE_BRANCH: &str = "main";

/// What a client asks for in `Accept` to get tasks with all their columns, typed, as `octopoid show --json` prints them.
pub const FULL_FORM: &str = "application/vnd.octopoid+json";

/// Header of an answer to a claim that gave nothing: `empty`, `paused` or `at_capacity`.
pub const REASON: &str = "octopoid-reason";
