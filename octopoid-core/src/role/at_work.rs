//! Which worktrees code is at work in that no future owns.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many hold a worktree. Of the process, since what works there outlives the orchestrator that started it.
static HELD: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

fn held() -> MutexGuard<'static, BTreeMap<PathBuf, usize>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Held by what works on an assignment outside of the role's future, such as a thread or another interpreter.
///
/// A role that was told to end and does not is given up, and its future dropped. While such a hold is left then, no other attempt
/// begins in the same worktree.
#[derive(Debug)]
#[must_use = "the worktree is free again when it is dropped"]
pub struct AtWork(PathBuf);

impl AtWork {
    pub(crate) fn new(worktree: &Path) -> Self {
        *held().entry(worktree.to_path_buf()).or_default() += 1;
        Self(worktree.to_path_buf())
    }

    /// Whether somebody is at work there.
    pub(crate) fn is_in(worktree: &Path) -> bool {
        held().contains_key(worktree)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut held = held();
        if let Some(count) = held.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.0);
            }
        }
    }
}
