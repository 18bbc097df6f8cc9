//! Lock files that a killed process of ours left behind; nobody else's are touched.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::{Repo, failed};
use crate::error::{Error, Result};

/// How long a lock must stay as it is before it counts as left behind.
const STILL: Duration = Duration::from_millis(700);

/// What cannot be done twice at once in one repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Turn {
    /// Making and removing worktrees: each looks at all the others, also at those that are half made.
    Worktrees,
    /// Exchanges with a remote: each writes the same refs.
    Remote,
}

/// Whose turn it is, for each repository that this process works in.
type Turns = Mutex<HashMap<(PathBuf, Turn), Arc<Mutex<()>>>>;

impl Repo {
    /// Runs `work` when nothing else of that kind runs in this repository.
    pub(super) fn in_turn<T>(&self, turn: Turn, work: impl FnOnce() -> T) -> T {
        static TURNS: LazyLock<Turns> = LazyLock::new(Mutex::default);
        let mine = {
            let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry((self.root().to_path_buf(), turn)).or_default())
        };
        let _turn = mine.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    /// Removes lock files on refs and on Octopoid's own worktrees that no process holds open and nobody changes.
    ///
    /// To be called only after an orchestrator of this repository was killed. The main checkout's own locks
    /// (`index.lock`, `HEAD.lock`) belong to the person and stay.
    pub fn clear_stale_locks(&self) -> Result<Vec<PathBuf>> {
        let repo = self.open()?;
        let common = repo.commondir().to_path_buf();
        let look = || -> BTreeSet<(PathBuf, SystemTime)> {
            let mut found = BTreeSet::new();
            collect(&common.join("refs"), &mut found);
            for entry in fs::read_dir(common.join("worktrees")).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with("octopoid+") {
                    collect(&entry.path(), &mut found);
                }
            }
            if let Ok(changed) = fs::metadata(common.join("packed-refs.lock")).and_then(|m| m.modified()) {
                found.insert((common.join("packed-refs.lock"), changed));
            }
            found
        };
        let first = look();
        if first.is_empty() {
            return Ok(Vec::new());
        }
        std::thread::sleep(STILL);
        let second = look();
        let mut removed = Vec::new();
        for (path, _) in first.intersection(&second).filter(|(path, _)| !is_open(path)) {
            match fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove the stale lock", path, e));
                }
                _ => removed.push(path.clone()),
            }
        }
        // What was locked must be readable now; an unreadable repository is better found here than in a merge.
        repo.references()
            .map_err(|e| failed("read the refs after removing stale locks", &e))?;
        Ok(removed)
    }
}

fn collect(dir: &Path, found: &mut BTreeSet<(PathBuf, SystemTime)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "lock") {
            found.extend(meta.modified().ok().map(|changed| (path, changed)));
        }
    }
}

/// Whether any process that we may look at has the file open.
fn is_open(path: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|p| fs::read_dir(p.path().join("fd")).ok())
        .flatten()
        .flatten()
        .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == path))
}
