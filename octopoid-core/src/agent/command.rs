//! Any command line as an agent: prompt on standard input, result file if it likes.

use super::{Agent, Job, Reading};
use crate::clock::Timestamp;

/// A command given in a blueprint.
#[derive(Debug, Clone)]
pub struct CommandLine {
    argv: Vec<String>,
}

impl CommandLine {
    /// A command line; a program given as a relative path is taken from the main checkout at `root`.
    pub fn new(mut argv: Vec<String>, root: &std::path::Path) -> Self {
        if let Some(program) = argv.first_mut()
            && program.contains('/')
            && !program.starts_with('/')
        {
            *program = root.join(&*program).display().to_string();
        }
        Self { argv }
    }
}

impl Agent for CommandLine {
    fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    fn argv(&self, _job: &Job<'_>) -> Vec<String> {
        self.argv.clone()
    }

    fn may_see(&self, _variable: &str) -> bool {
        false
    }

    fn read(&self, _stdout: &str, _exit_code: Option<i32>, _now: Timestamp) -> Reading {
        Reading::default()
    }
}
