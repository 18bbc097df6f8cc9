//! One assignment: the task, its worktree, what was said before, and the means to run an agent on it.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tokio::sync::watch;

use super::{AtWork, Outcome, RoleError};
use crate::{
    agent::{self, Agent, Ending, Job, RunLimits, outcome, supervise},
    clock::Clock,
    config::Blueprint,
    error::{Error, ErrorCode, Result},
    model::{Attempt, Message, Task},
    prompt,
};

/// How far a run has come, as it was written down before and after each step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Nothing was started.
    Fresh,
    /// About to be started; whether it was is not known.
    Starting,
    /// This process was started.
    Running(supervise::ProcessId),
}

/// Where a run's steps are written down, so that another orchestrator process can go on with it.
pub trait RunRecord: Send + Sync + fmt::Debug {
    /// How far it has come.
    fn state(&self) -> Result<RunState>;
    /// It is about to be started.
    fn starting(&self) -> Result<()>;
    /// It was started as this process.
    fn running(&self, process: &supervise::ProcessId) -> Result<()>;
}

/// One claimed task in the hands of a role.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The task as it was when it was claimed.
    pub task: Task,
    /// The attempt.
    pub attempt: Attempt,
    /// The checkout: on `agent/<id>` for work, exactly at the head commit for a review.
    pub worktree: PathBuf,
    /// Folder of this attempt's files.
    pub dir: PathBuf,
    /// Rejections, failures and answers so far, oldest first.
    pub feedback: Vec<Message>,
    /// Commit on which the work stands.
    pub base_sha: String,
    /// Commit that is judged, or from which work goes on.
    pub head_sha: String,
    /// Files with conflict markers, for the role that resolves them.
    pub conflict: Vec<String>,
    /// Session of the agent's program to go on with.
    pub resume: Option<String>,
    /// Unlike any other attempt's; marks the attempt's processes and reports.
    pub mark: String,
    /// Time limits.
    pub limits: RunLimits,
    /// When the attempt began.
    pub begun: SystemTime,
    /// Facts for the prompt.
    pub commits: Vec<String>,
    /// Files and lines changed so far.
    pub diffstat: String,
    /// Commands that must pass.
    pub checks: Vec<String>,
    /// Commands that ran on the commit under review.
    pub check_results: Vec<prompt::CheckLine>,
    /// Top of the main checkout.
    pub root: PathBuf,
    /// Name of the remote, when there is one.
    pub remote: Option<String>,
    /// Whether the user has a name set for commits.
    pub has_identity: bool,
    pub(crate) record: Arc<dyn RunRecord>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Assignment {
    /// Whether nobody needs the result any more.
    pub fn cancelled(&self) -> bool {
        *self.stop.borrow()
    }

    /// Becomes true when nobody needs the result any more: the task was called off, its time is over, or the
    /// orchestrator was told to stop.
    pub fn cancellation(&self) -> watch::Receiver<bool> {
        self.stop.clone()
    }

    /// To be held by what works on it outside of the role's future, until that has ended.
    pub fn at_work(&self) -> AtWork {
        AtWork::new(&self.worktree)
    }

    /// The same assignment, called off by another word.
    pub(crate) fn with_cancellation(&self, stop: watch::Receiver<bool>) -> Self {
        Self { stop, ..self.clone() }
    }

    /// Writes a line to the attempt's log.
    pub fn log(&self, text: &str) -> Result<()> {
        let path = self.dir.join("stdout.jsonl");
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|e| Error::io("write", &path, e))?;
        writeln!(file, "{text}").map_err(|e| Error::io("write", &path, e))
    }

    /// The prompt for this assignment, the blueprint's own text in front.
    pub fn prompt(&self, own: Option<&str>) -> Result<String> {
        let kind = if self.is_review() {
            prompt::Kind::Review
        } else if self.conflict.is_empty() {
            prompt::Kind::Work
        } else {
            prompt::Kind::Conflict
        };
        let parts = prompt::Parts {
            task: &self.task,
            attempt: self.attempt.number,
            work_branch: self.task.work_branch(),
            base_sha: self.base_sha.clone(),
            head_sha: self.head_sha.clone(),
            feedback: prompt::notes(&self.feedback),
            commits: self.commits.clone(),
            diffstat: self.diffstat.clone(),
            checks: self.checks.clone(),
            check_results: self.check_results.clone(),
            paths: self.task.paths.clone(),
            conflict: self.conflict.clone(),
            summary: self.task.execution_notes.clone().filter(|_| self.is_review()),
        };
        prompt::render(kind, own, &parts)
    }

    /// Whether a commit is to be judged.
    pub fn is_review(&self) -> bool {
        self.attempt.kind == crate::model::AttemptKind::Review
    }

    /// Variables that tell an agent about its attempt.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let text = |p: &Path| p.display().to_string();
        let mut env: BTreeMap<String, String> = [
            ("OCTOPOID_TASK_ID", self.task.id.to_string()),
            ("OCTOPOID_TASK_TITLE", self.task.title.clone()),
            ("OCTOPOID_TASK_FILE", text(&self.dir.join("task.md"))),
            ("OCTOPOID_ATTEMPT", self.attempt.number.to_string()),
            ("OCTOPOID_ROLE", self.attempt.role.to_string()),
            ("OCTOPOID_BASE_BRANCH", self.task.branch.clone()),
            ("OCTOPOID_BASE_SHA", self.base_sha.clone()),
            ("OCTOPOID_HEAD_SHA", self.head_sha.clone()),
            ("OCTOPOID_ATTEMPT_DIR", text(&self.dir)),
            ("OCTOPOID_RESULT_FILE", text(&self.dir.join("result.json"))),
            (supervise::MARK, self.mark.clone()),
            ("GIT_TERMINAL_PROMPT", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let mut set_git = Vec::new();
        if let Some(remote) = &self.remote {
            // Pushing is Octopoid's; an agent that tries learns so from the error.
            set_git.push((
                format!("remote.{remote}.pushurl"),
                "octopoid-agents-do-not-push".to_owned(),
            ));
        }
        if !self.has_identity {
            set_git.push(("user.name".to_owned(), crate::git::IDENTITY.0.to_owned()));
            set_git.push(("user.email".to_owned(), crate::git::IDENTITY.1.to_owned()));
        }
        env.insert("GIT_CONFIG_COUNT".to_owned(), set_git.len().to_string());
        for (n, (key, value)) in set_git.into_iter().enumerate() {
            env.insert(format!("GIT_CONFIG_KEY_{n}"), key);
            env.insert(format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        env
    }

    /// Runs the blueprint's agent on this assignment, or goes on watching it when it was started before.
    pub async fn run_agent(&self, blueprint: &Blueprint, max_turns: u32) -> Result<Outcome, RoleError> {
        let adapter = agent::adapter(blueprint, &self.root)?;
        let stdout = self.dir.join("stdout.jsonl");
        let exit = self.dir.join("exit");
        let mut running = match self.record.state()? {
            RunState::Running(id) => supervise::adopt(id, &self.mark, &exit),
            RunState::Starting
                if supervise::find_by_mark(&self.mark).is_some() || exit.exists() || has_content(&stdout) =>
            {
                let gone = supervise::ProcessId {
                    pid: 0,
                    started: 0,
                    boot: String::new(),
                };
                supervise::adopt(supervise::find_by_mark(&self.mark).unwrap_or(gone), &self.mark, &exit)
            }
            RunState::Starting | RunState::Fresh => self.start_agent(&*adapter, blueprint, max_turns)?,
        };
        let alive = [stdout.clone(), self.dir.join("stderr.log"), self.worktree.clone()];
        let mut stop = self.stop.clone();
        let ending = running.wait(self.limits, self.begun, &alive, &mut stop).await;
        Ok(self.outcome(&*adapter, ending))
    }

    fn start_agent(
        &self,
        adapter: &dyn Agent,
        blueprint: &Blueprint,
        max_turns: u32,
    ) -> Result<supervise::Running, RoleError> {
        let inherited = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let mut env = agent::environment(adapter, inherited, &blueprint.env);
        let program = agent::find_program(adapter, &env, &self.worktree)?;
        env.extend(self.variables());
        let job = Job {
            role: &self.attempt.role,
            reviews: self.is_review(),
            model: blueprint.model.as_deref(),
            max_turns,
            tools: blueprint.tools.as_deref(),
            resume: self.resume.as_deref(),
        };
        let mut argv = adapter.argv(&job);
        if let Some(first) = argv.first_mut() {
            *first = program.display().to_string();
        }
        let prompt_file = self.dir.join("prompt.md");
        write(&prompt_file, &self.prompt(blueprint.prompt.as_deref())?)?;
        write(&self.dir.join("task.md"), &self.task.content)?;
        // Names only for what came from outside: a value may be a key.
        let shown: BTreeMap<&str, &str> = env
            .iter()
            .map(|(k, v)| {
                (
                    k.as_str(),
                    if k.starts_with("OCTOPOID_") && k != supervise::MARK {
                        v.as_str()
                    } else {
                        "(set)"
                    },
                )
            })
            .collect();
        let about = serde_json::json!({ "argv": argv, "cwd": self.worktree, "env": shown });
        write(&self.dir.join("env.json"), &format!("{about:#}\n"))?;
        let (stdout, stderr, exit) = (
            self.dir.join("stdout.jsonl"),
            self.dir.join("stderr.log"),
            self.dir.join("exit"),
        );
        self.record.starting()?;
        let launch = supervise::Launch {
            argv: &argv,
            env: &env,
            cwd: &self.worktree,
            stdin: Some(&prompt_file),
            stdout: &stdout,
            stderr: &stderr,
            exit: &exit,
        };
        let running = supervise::start(&launch)?;
        self.record.running(&running.id)?;
        Ok(running)
    }

    fn outcome(&self, adapter: &dyn Agent, ending: Ending) -> Outcome {
        /// The part of a log that is read for a report; it stands at the end.
        const READ: u64 = 4 << 20;
        let stdout = outcome::file_tail(&self.dir.join("stdout.jsonl"), READ);
        let code = match ending {
            Ending::Exited(code) => Some(code),
            _ => None,
        };
        let mut reading = adapter.read(&stdout, code, self.clock.now());
        if let Ok(text) = fs::read_to_string(self.dir.join("result.json")) {
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(value) if value.is_object() => reading.take_result(&value),
                Ok(_) => reading.unclear = Some("the agent's result file is not a JSON object".to_owned()),
                Err(e) => reading.unclear = Some(format!("the agent's result file is not JSON: {e}")),
            }
        }
        let errors = outcome::file_tail(&self.dir.join("stderr.log"), 8192);
        let tail = format!("{}\n{}", outcome::tail(&stdout, 4096), outcome::tail(&errors, 4096));
        Outcome {
            reading,
            ending: Some(ending),
            tail: tail.trim().to_owned(),
        }
    }
}

fn has_content(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.len() > 0)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| match e.kind() {
        std::io::ErrorKind::StorageFull => Error::new(
            ErrorCode::Io,
            format!("the disk is full; cannot write {}", path.display()),
        )
        .with_source(e),
        _ => Error::io("write", path, e),
    })
}
