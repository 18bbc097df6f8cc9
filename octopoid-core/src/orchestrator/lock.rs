//! One orchestrator for each project: a lock that ends with its process, and a file that tells about it.

use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    agent::supervise::{self, ProcessId},
    clock::Timestamp,
    config::Paths,
    error::{Error, ErrorCode, Result},
};

/// A killed orchestrator's lock may outlive it for a moment, in a child that it was just starting.
const HANDOVER: Duration = Duration::from_secs(3);

/// What `daemon.json` tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DaemonInfo {
    /// Which process.
    pub process: ProcessId,
    /// The orchestrator's id.
    pub orchestrator_id: String,
    /// Since when it runs.
    pub started_at: Timestamp,
    /// Last look at the queue that ended well.
    pub last_tick: Option<Timestamp>,
    /// Seconds between looks when nothing happens.
    pub tick_seconds: f64,
    /// Whether it ends by itself when the work is done.
    pub once: bool,
}

impl DaemonInfo {
    /// What is written down about the project's orchestrator; none when nothing is.
    pub fn read(paths: &Paths) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(paths.daemon_json()).ok()?).ok()
    }

    /// The same, when that process still runs.
    pub fn read_alive(paths: &Paths) -> Option<Self> {
        Self::read(paths).filter(|info| info.process.is_alive())
    }

    pub(super) fn write(&self, paths: &Paths) -> Result<()> {
        let path = paths.daemon_json();
        let text = serde_json::to_string(self)
            .map_err(|e| Error::new(ErrorCode::Internal, format!("daemon.json cannot be written: {e}")))?;
        replace(&path, &text)
    }
}

/// Replaces a file's content, all or nothing.
fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .map_err(|e| Error::io("write", path, e))
}

/// Held while an orchestrator runs; released by the system when its process ends, however that happens.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    info: PathBuf,
}

impl Lock {
    pub(super) fn take(paths: &Paths) -> Result<Self> {
        let path = paths.daemon_lock();
        let folder = paths.runtime();
        fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| Error::io("open", &path, e))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock)
                    if DaemonInfo::read_alive(paths).is_none() && begun.elapsed() < HANDOVER =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => {
                    // Written by its holder at once; daemon.json comes only after its start-up work.
                    let pid = fs::read_to_string(&path).unwrap_or_default();
                    let who = if pid.trim().is_empty() {
                        "another process".to_owned()
                    } else {
                        format!("process {}", pid.trim())
                    };
                    return Err(Error::new(
                        ErrorCode::AlreadyRunning,
                        format!("an orchestrator of {} runs already: {who}", paths.root().display()),
                    )
                    .with_hint("`octopoid status` shows what it does, `octopoid stop` ends it"));
                }
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path, e)),
            }
        }
        let pid = supervise::current().pid;
        file.set_len(0)
            .and_then(|()| writeln!(file, "{pid}"))
            .map_err(|e| Error::io("write", &path, e))?;
        Ok(Self {
            _file: file,
            info: paths.daemon_json(),
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What stays behind names a process that is gone; readers check that.
        let _ = fs::remove_file(&self.info);
    }
}
