//! Where things lie in and around `.octopoid/`.

use std::path::{Path, PathBuf};

use crate::{
    error::{Error, ErrorCode, Result},
    id::TaskId,
};

/// Name of the folder.
const DIR: &str = ".octopoid";

/// What `.gitignore` says in a folder that nobody set up; `octopoid init` replaces it.
pub(crate) const IGNORE_ALL: &str = "*\n";

/// The places of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The places of the project whose main checkout is `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
    /// The main checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// `.octopoid/`.
    pub fn dir(&self) -> PathBuf {
        self.root.join(DIR)
    }
    /// `config.yaml`.
    pub fn config(&self) -> PathBuf {
        self.dir().join("config.yaml")
    }
    /// `local.yaml`: values of this machine, over `config.yaml`.
    pub fn local(&self) -> PathBuf {
        self.dir().join("local.yaml")
    }
    /// `agents/`.
    pub fn agents(&self) -> PathBuf {
        self.dir().join("agents")
    }
    /// `flows/`.
    pub fn flows(&self) -> PathBuf {
        self.dir().join("flows")
    }
    /// `state.db`: the tasks, in local mode.
    pub fn state_db(&self) -> PathBuf {
        self.dir().join("state.db")
    }
    /// `runtime/`.
    pub fn runtime(&self) -> PathBuf {
        self.dir().join("runtime")
    }
    /// `runtime/orchestrator.db`: the journal.
    pub fn journal_db(&self) -> PathBuf {
        self.runtime().join("orchestrator.db")
    }
    /// Requests that wait for a server.
    pub fn outbox_db(&self) -> PathBuf {
        self.runtime().join("outbox.db")
    }

    /// Copies of tasks that were seen on the server.
    pub fn cache_db(&self) -> PathBuf {
        self.runtime().join("cache.db")
    }

    /// The key of the scope; readable by its owner only.
    pub fn credentials(&self) -> PathBuf {
        self.dir().join("credentials")
    }

    /// `runtime/daemon.json`: which process is the orchestrator.
    pub fn daemon_json(&self) -> PathBuf {
        self.runtime().join("daemon.json")
    }
    /// `runtime/daemon.lock`: held while an orchestrator runs.
    pub fn daemon_lock(&self) -> PathBuf {
        self.runtime().join("daemon.lock")
    }
    /// `logs/`.
    pub fn logs(&self) -> PathBuf {
        self.dir().join("logs")
    }
    /// `runtime/worktrees/`.
    pub fn worktrees(&self) -> PathBuf {
        self.runtime().join("worktrees")
    }
    /// The worktree in which a task's files are changed.
    pub fn worktree(&self, task: &TaskId) -> PathBuf {
        self.worktrees().join(task.as_str())
    }
    /// The checkout in which one review looks at the work. `+` cannot be part of an id.
    pub fn review_worktree(&self, task: &TaskId, attempt: i64) -> PathBuf {
        self.worktrees().join(format!("{task}+review-{attempt}"))
    }
    /// The checkout in which a merge is tested before it happens.
    pub fn landing_worktree(&self, task: &TaskId) -> PathBuf {
        self.worktrees().join(format!("{task}+landing"))
    }
    /// What one attempt leaves: prompt, output, result.
    pub fn attempt(&self, task: &TaskId, number: i64) -> PathBuf {
        self.runtime()
            .join("attempts")
            .join(task.as_str())
            .join(number.to_string())
    }
    /// Sees to it that git takes no notice of the folder in a repository that was not set up by `octopoid init`.
    pub fn ensure_ignored(&self) -> Result<()> {
        let (dir, file) = (self.dir(), self.dir().join(".gitignore"));
        if self.config().exists() || file.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
        std::fs::write(&file, IGNORE_ALL).map_err(|e| Error::io("write", &file, e))
    }

    /// `path` as it is shown in messages: relative to the main checkout where it lies in it.
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

/// The nearest folder at or above `start` with an `.octopoid/config.yaml`.
pub fn find_root(start: &Path) -> Result<PathBuf> {
    start
        .ancestors()
        .find(|dir| dir.join(DIR).join("config.yaml").is_file())
        .map(Path::to_path_buf)
        .ok_or_else(|| {
            Error::new(
                ErrorCode::NotInitialised,
                format!("there is no .octopoid/ in {} or above it", start.display()),
            )
            .with_hint("run `octopoid init --local` in your repository")
        })
}
