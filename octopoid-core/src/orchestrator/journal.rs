//! The orchestrator's own journal: what it was about to do, and what it did, on the disk before and after.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use crate::{
    agent::supervise::ProcessId,
    clock::Timestamp,
    error::{Error, ErrorCode, Result},
    id::TaskId,
    role::RunState,
    store::sqlite_support::{connect, store_error, write_ahead},
};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS runs (
  task_id TEXT NOT NULL, epoch INTEGER NOT NULL, attempt INTEGER, agent TEXT NOT NULL, token TEXT NOT NULL, mark TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('fresh', 'starting', 'running', 'collected')),
  process TEXT, begun_at INTEGER NOT NULL, PRIMARY KEY (task_id, epoch)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_open ON runs (state) WHERE state <> 'collected';
CREATE TABLE IF NOT EXISTS steps (
  task_id TEXT NOT NULL, epoch INTEGER NOT NULL, step TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('intent', 'done')),
  fingerprint TEXT NOT NULL, detail TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (task_id, epoch, step)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS findings (
  subject TEXT PRIMARY KEY, code TEXT NOT NULL, message TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS control (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";

/// One claim that this orchestrator works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The task.
    pub task: TaskId,
    /// The claim's epoch.
    pub epoch: i64,
    /// The attempt's number; none for a landing.
    pub attempt: Option<i64>,
    /// Blueprint or role that plays it.
    pub agent: String,
    /// The claim's secret.
    pub token: String,
    /// Marks the run's processes.
    pub mark: String,
    /// How far it has come.
    pub state: RunState,
    /// When it began.
    pub begun_at: Timestamp,
}

/// Something that keeps work from going on and is nobody's task: a missing program, a refused key, a full disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is affected: `agent:<name>`, `base:<branch>`, `claims`.
    pub subject: String,
    /// Code, an anchor in `docs/errors.md`.
    pub code: String,
    /// In words, with what to do.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again; none when it is tried at every look.
    pub until: Option<Timestamp>,
    /// How often in a row.
    pub count: i64,
}

/// Who paused the claims, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// The journal of one project.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    connection: Mutex<Connection>,
    boundaries: AtomicU64,
}

impl Journal {
    /// Opens the journal, creating it as needed.
    pub fn open(path: &Path) -> Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        }
        let fail = |e| store_error(path, "open", e);
        let connection =
            connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).map_err(fail)?;
        write_ahead(&connection).map_err(fail)?;
        connection.execute_batch(SCHEMA).map_err(fail)?;
        Ok(Self {
            path: path.to_path_buf(),
            connection: Mutex::new(connection),
            boundaries: AtomicU64::new(0),
        })
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, action: &str, error: rusqlite::Error) -> Error {
        store_error(&self.path, action, error)
    }

    fn write(&self, sql: &str, params: impl rusqlite::Params) -> Result<()> {
        self.boundary();
        let written = self.db().prepare_cached(sql).and_then(|mut s| s.execute(params));
        written.map_err(|e| self.fail("write", e))?;
        self.boundary();
        Ok(())
    }

    /// A point at which a crash must lose nothing.
    ///
    /// In builds with debug assertions the process ends here, as by `kill -9`, when the environment variable
    /// `OCTOPOID_FAULT_KILL_AT` has the number of this boundary. Tests walk through all of them.
    pub fn boundary(&self) {
        if cfg!(debug_assertions) {
            let here = self.boundaries.fetch_add(1, Ordering::SeqCst) + 1;
            let wanted = std::env::var("OCTOPOID_FAULT_KILL_AT")
                .ok()
                .and_then(|n| n.parse::<u64>().ok());
            if wanted == Some(here) {
                // Nothing after this line runs; an error would mean that the process is gone already.
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                loop {
                    std::thread::park();
                }
            }
        }
    }

    /// Writes down a claim before anything is done with it.
    pub fn claimed(&self, run: &Run) -> Result<()> {
        self.write(
            "INSERT OR REPLACE INTO runs (task_id, epoch, attempt, agent, token, mark, state, begun_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'fresh', ?7)",
            (run.task.as_str(), run.epoch, run.attempt, &run.agent, &run.token, &run.mark, run.begun_at.0),
        )
    }

    /// Its process is about to be started.
    pub fn starting(&self, task: &TaskId, epoch: i64) -> Result<()> {
        self.write(
            "UPDATE runs SET state = 'starting' WHERE task_id = ?1 AND epoch = ?2",
            (task.as_str(), epoch),
        )
    }

    /// Its process was started.
    pub fn running(&self, task: &TaskId, epoch: i64, process: &ProcessId) -> Result<()> {
        let process = serde_json::to_string(process)
            .map_err(|e| Error::new(ErrorCode::Internal, format!("a process id cannot be written down: {e}")))?;
        self.write(
            "UPDATE runs SET state = 'running', process = ?3 WHERE task_id = ?1 AND epoch = ?2",
            (task.as_str(), epoch, process),
        )
    }

    /// Its result was handed in, or nobody wants it any more.
    pub fn collected(&self, task: &TaskId, epoch: i64) -> Result<()> {
        self.write(
            "UPDATE runs SET state = 'collected' WHERE task_id = ?1 AND epoch = ?2",
            (task.as_str(), epoch),
        )
    }

    /// How far a run has come.
    pub fn state(&self, task: &TaskId, epoch: i64) -> Result<RunState> {
        let found = self
            .db()
            .prepare_cached(&format!("SELECT {RUN} FROM runs WHERE task_id = ?1 AND epoch = ?2"))
            .and_then(|mut s| s.query_row((task.as_str(), epoch), run).optional())
            .map_err(|e| self.fail("read", e))?;
        Ok(found.map_or(RunState::Fresh, |r| r.state))
    }

    /// Runs whose results have not been collected.
    pub fn open_runs(&self) -> Result<Vec<Run>> {
        self.db()
            .prepare_cached(&format!(
                "SELECT {RUN} FROM runs WHERE state <> 'collected' ORDER BY begun_at"
            ))
            .and_then(|mut s| s.query_map([], run)?.collect())
            .map_err(|e| self.fail("read", e))
    }

    /// A step with an effect outside is about to be done.
    pub fn intent(
        &self,
        task: &TaskId,
        epoch: i64,
        step: &str,
        fingerprint: &str,
        detail: &str,
        at: Timestamp,
    ) -> Result<()> {
        self.step(task, epoch, step, "intent", fingerprint, detail, at)
    }

    /// The step was done.
    pub fn done(
        &self,
        task: &TaskId,
        epoch: i64,
        step: &str,
        fingerprint: &str,
        detail: &str,
        at: Timestamp,
    ) -> Result<()> {
        self.step(task, epoch, step, "done", fingerprint, detail, at)
    }

    #[expect(clippy::too_many_arguments, reason = "one row, one argument for each column")]
    fn step(
        &self,
        task: &TaskId,
        epoch: i64,
        step: &str,
        state: &str,
        fingerprint: &str,
        detail: &str,
        at: Timestamp,
    ) -> Result<()> {
        self.write(
            "INSERT OR REPLACE INTO steps (task_id, epoch, step, state, fingerprint, detail, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (task.as_str(), epoch, step, state, fingerprint, detail, at.0),
        )
    }

    /// Details of every time that `step` was begun or done for a task, latest first.
    pub fn steps(&self, task: &TaskId, step: &str) -> Result<Vec<String>> {
        self.db()
            .prepare_cached("SELECT detail FROM steps WHERE task_id = ?1 AND step = ?2 ORDER BY epoch DESC")
            .and_then(|mut s| s.query_map((task.as_str(), step), |r| r.get(0))?.collect())
            .map_err(|e| self.fail("read", e))
    }

    /// Whether a step was done with exactly these inputs, for any task.
    pub fn is_done(&self, step: &str, fingerprint: &str) -> Result<bool> {
        self.db()
            .prepare_cached("SELECT 1 FROM steps WHERE step = ?1 AND fingerprint = ?2 AND state = 'done'")
            .and_then(|mut s| s.exists((step, fingerprint)))
            .map_err(|e| self.fail("read", e))
    }

    /// Writes down a finding; seen again, it is counted.
    pub fn found(
        &self,
        subject: &str,
        code: &str,
        message: &str,
        at: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<()> {
        self.write(
            "INSERT INTO findings (subject, code, message, since, until, count) VALUES (?1, ?2, ?3, ?4, ?5, 1) \
             ON CONFLICT (subject) DO UPDATE SET since = CASE WHEN code = ?2 THEN since ELSE ?4 END, \
             count = CASE WHEN code = ?2 THEN count + 1 ELSE 1 END, code = ?2, message = ?3, until = ?5",
            (subject, code, message, at.0, until.map(|t| t.0)),
        )
    }

    /// A fresh start tries everything again at once, and what is not configured any more is no finding.
    pub fn review_findings(&self, agents: &[String]) -> Result<()> {
        for finding in self.findings()? {
            let gone = finding
                .subject
                .strip_prefix("agent:")
                .is_some_and(|name| !agents.iter().any(|a| a == name));
            if gone {
                self.cleared(&finding.subject)?;
            } else if finding.until.is_some() {
                self.write(
                    "UPDATE findings SET until = NULL WHERE subject = ?1",
                    [&finding.subject],
                )?;
            }
        }
        Ok(())
    }

    /// The subject works again.
    pub fn cleared(&self, subject: &str) -> Result<()> {
        let there = self.findings()?.iter().any(|f| f.subject == subject);
        if there {
            self.write("DELETE FROM findings WHERE subject = ?1", [subject])
        } else {
            Ok(())
        }
    }

    /// All findings.
    pub fn findings(&self) -> Result<Vec<Finding>> {
        self.db()
            .prepare_cached("SELECT subject, code, message, since, until, count FROM findings ORDER BY since")
            .and_then(|mut s| {
                s.query_map([], |r| {
                    Ok(Finding {
                        subject: r.get(0)?,
                        code: r.get(1)?,
                        message: r.get(2)?,
                        since: Timestamp(r.get(3)?),
                        until: r.get::<_, Option<i64>>(4)?.map(Timestamp),
                        count: r.get(5)?,
                    })
                })?
                .collect()
            })
            .map_err(|e| self.fail("read", e))
    }

    /// The pause in force.
    pub fn pause(&self) -> Result<Option<Pause>> {
        Ok(self.control("pause")?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Pauses the claims, or lets them go on.
    pub fn set_pause(&self, pause: Option<&Pause>) -> Result<()> {
        let text = pause
            .map(serde_json::to_string)
            .transpose()
            .map_err(|e| Error::new(ErrorCode::Internal, format!("a pause cannot be written down: {e}")))?;
        self.set_control("pause", text.as_deref())
    }

    /// Whether agents are to be ended too when the orchestrator stops.
    pub fn stop_now(&self) -> Result<bool> {
        Ok(self.control("stop_now")?.is_some())
    }

    /// Asks for that, or takes it back.
    pub fn set_stop_now(&self, now: bool) -> Result<()> {
        self.set_control("stop_now", now.then_some("1"))
    }

    /// Something to remember between runs.
    pub fn note(&self, key: &str) -> Result<Option<String>> {
        self.control(key)
    }

    /// Remembers it, or forgets it.
    pub fn set_note(&self, key: &str, value: Option<&str>) -> Result<()> {
        if self.control(key)?.as_deref() == value {
            Ok(())
        } else {
            self.set_control(key, value)
        }
    }

    /// Notes whose keys begin with `prefix`.
    pub fn notes(&self, prefix: &str) -> Result<Vec<(String, String)>> {
        self.db()
            .prepare_cached("SELECT key, value FROM control WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key")
            .and_then(|mut s| s.query_map([prefix], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
            .map_err(|e| self.fail("read", e))
    }

    fn control(&self, key: &str) -> Result<Option<String>> {
        self.db()
            .prepare_cached("SELECT value FROM control WHERE key = ?1")
            .and_then(|mut s| s.query_row([key], |r| r.get(0)).optional())
            .map_err(|e| self.fail("read", e))
    }

    fn set_control(&self, key: &str, value: Option<&str>) -> Result<()> {
        match value {
            Some(value) => self.write(
                "INSERT OR REPLACE INTO control (key, value) VALUES (?1, ?2)",
                (key, value),
            ),
            None => self.write("DELETE FROM control WHERE key = ?1", [key]),
        }
    }
}

const RUN: &str = "task_id, epoch, attempt, agent, token, mark, state, process, begun_at";

fn run(r: &Row<'_>) -> rusqlite::Result<Run> {
    let wrong = |e: String| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, e.into());
    let state: String = r.get(6)?;
    let process: Option<String> = r.get(7)?;
    let state = match (state.as_str(), process) {
        ("running", Some(text)) => RunState::Running(serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?),
        ("starting", _) => RunState::Starting,
        _ => RunState::Fresh,
    };
    Ok(Run {
        task: r
            .get::<_, String>(0)?
            .parse()
            .map_err(|e: Error| wrong(e.to_string()))?,
        epoch: r.get(1)?,
        attempt: r.get(2)?,
        agent: r.get(3)?,
        token: r.get(4)?,
        mark: r.get(5)?,
        state,
        begun_at: Timestamp(r.get(8)?),
    })
}
