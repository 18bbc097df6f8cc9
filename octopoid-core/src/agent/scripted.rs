//! The shipped agent that plays a script: to try out flows, and to show Octopoid without any model.
//!
//! A script is a YAML file with steps for each task, role and attempt; the first entry that fits is played.

use std::{collections::BTreeMap, fs, path::Path, process::Command, thread, time::Duration};

use serde::Deserialize;

use crate::error::{Error, ErrorCode, Result};

/// A script file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What is played, by whom and when.
    pub plays: Vec<Play>,
}

/// Steps for the attempts that fit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Play {
    /// Only this task: its id or its title.
    pub task: Option<String>,
    /// Only this role.
    pub role: Option<String>,
    /// Only this attempt of the task.
    pub attempt: Option<u32>,
    /// Only when the prompt contains this text.
    pub prompt_contains: Option<String>,
    /// What to do, in order.
    #[serde(with = "yaml_serde::with::singleton_map_recursive")]
    pub steps: Vec<Act>,
}

/// One thing that the agent does.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Act {
    /// Write files, by path.
    Write(BTreeMap<String, String>),
    /// Add text to the end of files, by path.
    Append(BTreeMap<String, String>),
    /// Replace text in a file; the text must be there.
    Replace {
        /// The file.
        path: String,
        /// What is there.
        old: String,
        /// What shall be there.
        new: String,
    },
    /// Remove a file.
    Remove(String),
    /// Commit everything with this message.
    Commit(String),
    /// Print a line.
    Print(String),
    /// Print this many bytes.
    PrintBytes(usize),
    /// Run a shell command; it must succeed.
    Run(String),
    /// Start a shell command in a session of its own and leave it behind.
    Spawn(String),
    /// Wait this many seconds.
    Sleep(f64),
    /// Never end.
    Hang {},
    /// End at once with this exit code.
    Exit(i32),
    /// End at once by a signal to itself.
    Kill {},
    /// Write the result file: any object, right or wrong.
    Report(serde_json::Value),
    /// Write the result file with a verdict.
    Verdict {
        /// The word.
        verdict: String,
        /// Why.
        #[serde(default)]
        summary: String,
        /// What has to change.
        #[serde(default)]
        blocking: Vec<String>,
    },
}

/// Plays `script` in the current directory, as an agent started by Octopoid; gives the exit code.
///
/// `prompt` is what stood on standard input, `env` the attempt's variables, `say` takes what is printed.
pub fn play(
    script: &Path,
    prompt: &str,
    env: &dyn Fn(&str) -> Option<String>,
    say: &mut dyn FnMut(&[u8]),
) -> Result<i32> {
    let text = fs::read_to_string(script).map_err(|e| Error::io("read the script", script, e))?;
    let parsed: Script = yaml_serde::from_str(&text).map_err(|e| {
        let line = e.location().map_or(1, |l| l.line());
        Error::new(ErrorCode::InvalidConfig, format!("{}:{line}: {e}", script.display()))
    })?;
    let is = |name: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|w| env(name).as_deref() == Some(w));
    let found = parsed.plays.iter().find(|play| {
        let task = play.task.is_none() || is("OCTOPOID_TASK_ID", &play.task) || is("OCTOPOID_TASK_TITLE", &play.task);
        task && is("OCTOPOID_ROLE", &play.role)
            && is("OCTOPOID_ATTEMPT", &play.attempt.map(|n| n.to_string()))
            && play.prompt_contains.as_ref().is_none_or(|text| prompt.contains(text))
    });
    let Some(play) = found else {
        let who = ["OCTOPOID_TASK_TITLE", "OCTOPOID_ROLE", "OCTOPOID_ATTEMPT"]
            .map(|n| env(n).unwrap_or_default())
            .join(", ");
        return Err(Error::not_found("a play for", who).with_hint(format!("add one to {}", script.display())));
    };
    for act in &play.steps {
        if let Some(code) = perform(act, env, say)? {
            return Ok(code);
        }
    }
    Ok(0)
}

fn perform(act: &Act, env: &dyn Fn(&str) -> Option<String>, say: &mut dyn FnMut(&[u8])) -> Result<Option<i32>> {
    let write = |path: &str, text: &str| {
        let path = Path::new(path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(path, text))
            .map_err(|e| Error::io("write", path, e))
    };
    let read = |path: &str| fs::read_to_string(path).map_err(|e| Error::io("read", Path::new(path), e));
    match act {
        Act::Write(files) => files.iter().try_for_each(|(path, text)| write(path, text))?,
        Act::Append(files) => {
            for (path, text) in files {
                let before = if Path::new(path).exists() {
                    read(path)?
                } else {
                    String::new()
                };
                write(path, &(before + text))?;
            }
        }
        Act::Replace { path, old, new } => {
            let text = read(path)?;
            if !text.contains(old.as_str()) {
                return Err(Error::invalid(format!("{path} does not contain {old:?}")));
            }
            write(path, &text.replacen(old.as_str(), new, 1))?;
        }
        Act::Remove(path) => fs::remove_file(path).map_err(|e| Error::io("remove", Path::new(path), e))?,
        Act::Commit(message) => {
            run(Command::new("git").args(["add", "--all"]))?;
            run(Command::new("git").args(["commit", "--quiet", "--allow-empty", "--message", message]))?;
        }
        Act::Print(line) => say(format!("{line}\n").as_bytes()),
        Act::PrintBytes(count) => {
            let line = [b'x'; 99].iter().chain(b"\n").copied().collect::<Vec<u8>>();
            let mut left = *count;
            while left > 0 {
                let part = left.min(line.len());
                say(&line[..part]);
                left -= part;
            }
        }
        Act::Run(line) => run(Command::new("/bin/sh").args(["-c", line]))?,
        Act::Spawn(line) => {
            run(Command::new("/bin/sh").args(["-c", "setsid /bin/sh -c \"$0\" </dev/null >/dev/null 2>&1 &", line]))?
        }
        Act::Sleep(seconds) => thread::sleep(Duration::try_from_secs_f64(*seconds).unwrap_or_default()),
        Act::Hang {} => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        Act::Exit(code) => return Ok(Some(*code)),
        Act::Kill {} => {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL)
                .map_err(|e| Error::new(ErrorCode::Internal, format!("cannot end itself: {e}")))?;
        }
        Act::Report(value) => report(env, value)?,
        Act::Verdict {
            verdict,
            summary,
            blocking,
        } => {
            report(
                env,
                &serde_json::json!({ "outcome": "done", "verdict": verdict, "summary": summary, "blocking": blocking }),
            )?;
        }
    }
    Ok(None)
}

fn run(command: &mut Command) -> Result<()> {
    let fail = |what: String| {
        Error::new(
            ErrorCode::ChecksFailed,
            format!("{command:?}: {what}", command = "a command of the script"),
        )
    };
    let status = command.status().map_err(|e| fail(e.to_string()))?;
    if status.success() {
        Ok(())
    } else {
        Err(fail(format!("ended with {status}")))
    }
}

/// Writes the result file of the attempt that this process belongs to, all or nothing.
pub fn report(env: &dyn Fn(&str) -> Option<String>, value: &serde_json::Value) -> Result<()> {
    let file = env("OCTOPOID_RESULT_FILE").ok_or_else(|| {
        Error::new(
            ErrorCode::InvalidArgument,
            "this is no attempt: OCTOPOID_RESULT_FILE is not set",
        )
        .with_hint("agents started by Octopoid run this inside their worktree")
    })?;
    let path = Path::new(&file);
    let new = path.with_extension("new");
    fs::write(&new, value.to_string())
        .and_then(|()| fs::rename(&new, path))
        .map_err(|e| Error::io("write", path, e))
}
