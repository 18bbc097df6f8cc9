//! Runs the project's commands on a checkout: its setup, and the checks that a commit must pass.

use std::{
    path::Path,
    time::{Instant, SystemTime},
};

use super::context::{Context, Stop};
use crate::{
    agent::{
        Ending,
        outcome::{file_tail, tail},
        supervise,
    },
    error::{Error, Result},
    model::{CheckResult, Task},
};

/// Bytes of a check's output that are kept in the store; all of it stays in the attempt's folder.
const TAIL: usize = 4000;

/// What came of a command.
#[derive(Debug)]
pub(super) enum Ran {
    /// It ended by itself.
    Ended(CheckResult),
    /// Its program is not there, so it says nothing about the commit.
    Missing(CheckResult),
    /// Nobody wants the result any more.
    Stopped,
}

/// Where and for whom a command runs.
pub(super) struct Place<'a> {
    pub task: &'a Task,
    pub worktree: &'a Path,
    pub dir: &'a Path,
    pub mark: &'a str,
    pub sha: &'a str,
}

impl Context {
    /// Runs one command line in the shell and waits for it.
    pub(super) async fn run_command(
        &self,
        place: &Place<'_>,
        name: &str,
        command: &str,
        stop: &mut Stop,
    ) -> Result<Ran> {
        std::fs::create_dir_all(place.dir).map_err(|e| Error::io("create", place.dir, e))?;
        let log = place.dir.join(format!("{name}.log"));
        let exit = place.dir.join(format!("{name}.exit"));
        if let Err(e) = std::fs::remove_file(&exit)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Error::io("remove", &exit, e));
        }
        // A run of the same command from before a crash would get in the way.
        supervise::end_family(place.mark, None, self.run_limits().grace).await;
        let env = self.check_env(place.mark, place.task);
        let argv = ["/bin/sh", "-c", command].map(str::to_owned);
        let begun = Instant::now();
        let launch = supervise::Launch {
            argv: &argv,
            env: &env,
            cwd: place.worktree,
            stdin: None,
            stdout: &log,
            stderr: &log,
            exit: &exit,
        };
        let mut running = supervise::start(&launch)?;
        let alive = [log.clone()];
        let limits = crate::agent::RunLimits {
            silence: self.run_limits().wall,
            ..self.run_limits()
        };
        let ending = running.wait(limits, SystemTime::now(), &alive, stop).await;
        let mut said = tail(&file_tail(&log, 64 * 1024), TAIL);
        let exit_code = match ending {
            Ending::Stopped => return Ok(Ran::Stopped),
            Ending::Exited(code) => Some(code),
            Ending::Signaled(signal) => {
                said.push_str(&format!("\n(ended by signal {signal})"));
                None
            }
            Ending::WallTimeout | Ending::SilenceTimeout => {
                said.push_str(&format!(
                    "\n(took longer than {} s and was ended)",
                    limits.wall.as_secs_f64()
                ));
                None
            }
            Ending::Unknown => None,
        };
        let result = CheckResult {
            command: command.to_owned(),
            sha: place.sha.to_owned(),
            passed: exit_code == Some(0),
            exit_code,
            tail: said,
            millis: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        // Only the project's own commands can be missing from the machine; one that the task brought is the task's business.
        let own = place.task.checks.iter().any(|c| c == command) && self.config.repo.test.as_deref() != Some(command);
        let missing = exit_code == Some(127) && !own && !is_there(command, env.get("PATH"));
        Ok(if missing {
            Ran::Missing(result)
        } else {
            Ran::Ended(result)
        })
    }

    /// Runs every check on the commit that is checked out; stops at the first that does not pass.
    pub(super) async fn run_checks(
        &self,
        place: &Place<'_>,
        checks: &[String],
        stop: &mut Stop,
    ) -> Result<Result<Vec<CheckResult>, Ran>> {
        let mut results = Vec::new();
        for (n, command) in checks.iter().enumerate() {
            match self
                .run_command(place, &format!("check-{}", n + 1), command, stop)
                .await?
            {
                Ran::Ended(result) => {
                    let passed = result.passed;
                    results.push(result);
                    if !passed {
                        break;
                    }
                }
                other => return Ok(Err(other)),
            }
        }
        Ok(Ok(results))
    }
}

/// Whether the program that a command line begins with is on the machine. A path is part of the commit, not of the machine.
pub(super) fn is_there(command: &str, path: Option<&String>) -> bool {
    let program = command.split_whitespace().find(|word| !word.contains('='));
    program.is_some_and(|program| program.contains('/') || which::which_in(program, path, "/").is_ok())
}
