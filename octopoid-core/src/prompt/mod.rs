//! Prompts: a blueprint's own text in front, then the task, the feedback and the facts, always all of them.

use minijinja::{Environment, UndefinedBehavior, Value, value::Serde};
use serde::Serialize;

use crate::{
    error::{Error, ErrorCode, Result},
    model::{Message, Task},
};

const WORK: &str = include_str!("work.md.jinja");
const REVIEW: &str = include_str!("review.md.jinja");

/// What stands in front when a blueprint has no text of its own.
const WORK_PREAMBLE: &str = "You change code in a git worktree that was made for this one task. Look before you change; check that what \
the task says about the code is true; prefer the smallest change that does it fully; run the tests.";
const REVIEW_PREAMBLE: &str =
    "You are the gatekeeper: you decide whether a finished change may be merged. Read the change and what it touches.";
const CONFLICT_PREAMBLE: &str =
    "You resolve a merge conflict between finished, reviewed work and its base branch, and nothing else.";

/// One earlier verdict or failure.
#[derive(Debug, Clone, Serialize)]
pub struct Note {
    /// What it is and from whom.
    pub heading: String,
    /// The text, verbatim.
    pub content: String,
}

/// One check that ran.
#[derive(Debug, Clone, Serialize)]
pub struct CheckLine {
    /// The command line.
    pub command: String,
    /// `passed` or `failed`.
    pub outcome: String,
}

/// All that a prompt is made of.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the templates show what each is for")]
pub struct Parts<'a> {
    pub task: &'a Task,
    pub attempt: i64,
    pub work_branch: String,
    pub base_sha: String,
    pub head_sha: String,
    pub feedback: Vec<Note>,
    pub commits: Vec<String>,
    pub diffstat: String,
    pub checks: Vec<String>,
    pub check_results: Vec<CheckLine>,
    pub paths: Vec<String>,
    pub conflict: Vec<String>,
    pub summary: Option<String>,
}

/// Which of the prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Change files.
    Work,
    /// Judge a commit.
    Review,
    /// Resolve a merge conflict.
    Conflict,
}

/// Notes from a task's thread, in order.
pub fn notes(messages: &[Message]) -> Vec<Note> {
    messages
        .iter()
        .map(|m| {
            let what = match m.kind.as_str() {
                "rejection" => format!("Rejected by {}", m.from),
                "check_failure" => "A check did not pass".to_owned(),
                "conflict" => "Could not be merged".to_owned(),
                "failure" => "The attempt failed".to_owned(),
                "question" => format!("Question of {}", m.from),
                other => format!("{other} by {}", m.from),
            };
            Note {
                heading: what,
                content: m.content.clone(),
            }
        })
        .collect()
}

/// The prompt. `own` is the blueprint's text, itself a template with the same names; an unknown name is an error.
pub fn render(kind: Kind, own: Option<&str>, parts: &Parts<'_>) -> Result<String> {
    let fail = |what: &str, e: minijinja::Error| {
        Error::new(
            ErrorCode::InvalidConfig,
            format!("the prompt of {what} cannot be made: {e:#}"),
        )
        .with_hint("the names that a prompt can use are listed in docs/roles.md")
    };
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    let context = Value::from(Serde(parts));
    let preamble = match (own, kind) {
        (Some(own), _) => env
            .render_str(own, context.clone())
            .map_err(|e| fail("this agent's .md file", e))?,
        (None, Kind::Work) => WORK_PREAMBLE.to_owned(),
        (None, Kind::Review) => REVIEW_PREAMBLE.to_owned(),
        (None, Kind::Conflict) => CONFLICT_PREAMBLE.to_owned(),
    };
    let template = if kind == Kind::Review { REVIEW } else { WORK };
    let context = minijinja::context! { preamble => preamble, ..context };
    env.render_str(template, context)
        .map(|text| text.trim_start().to_owned())
        .map_err(|e| fail("a task", e))
}
