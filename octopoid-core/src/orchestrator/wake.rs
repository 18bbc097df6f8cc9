//! Wake-ups: changes that other processes make to the store, so that nobody has to ask again and again.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::{
    config::Paths,
    error::{Error, ErrorCode, Result},
    store::sqlite_support::{bell, ring},
};

/// Watches bells; kept for as long as wake-ups are wanted.
#[derive(Debug)]
pub(super) struct Watch {
    _watcher: RecommendedWatcher,
}

/// Calls `wake` after every commit to one of these databases, whoever made it. The folder of each is there.
pub(super) fn watch(databases: &BTreeSet<PathBuf>, wake: Arc<Notify>) -> Result<Watch> {
    let bells: BTreeSet<PathBuf> = databases.iter().map(|database| bell(database)).collect();
    for bell in &bells {
        File::create(bell).map_err(|e| Error::io("create", bell, e))?;
    }
    let folders: BTreeSet<PathBuf> = bells.iter().filter_map(|b| b.parent()).map(Path::to_path_buf).collect();
    let ours = move |path: &PathBuf| bells.contains(path);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let relevant = match &event {
            Ok(event) => {
                matches!(event.kind, EventKind::Modify(_) | EventKind::Create(_)) && event.paths.iter().any(&ours)
            }
            // Events may have been missed: look.
            Err(_) => true,
        };
        if relevant {
            wake.notify_one();
        }
    })
    .map_err(|e| Error::new(ErrorCode::Io, format!("cannot watch files: {e}")))?;
    for folder in folders {
        watcher
            .watch(&folder, RecursiveMode::NonRecursive)
            .map_err(|e| Error::new(ErrorCode::Io, format!("cannot watch {}: {e}", folder.display())))?;
    }
    Ok(Watch { _watcher: watcher })
}

/// Makes the watch of the project's orchestrator see a change.
pub(super) fn nudge(paths: &Paths) -> Result<()> {
    let bell = bell(&paths.state_db());
    ring(&bell).map_err(|e| Error::io("write", &bell, e))
}
