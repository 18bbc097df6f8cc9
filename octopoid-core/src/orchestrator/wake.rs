//! Wake-ups: changes that other processes make to the store, so that nobody has to ask again and again.

use std::{path::Path, sync::Arc};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::error::{Error, ErrorCode, Result};

/// Watches the store's files; kept for as long as wake-ups are wanted.
#[derive(Debug)]
pub(super) struct Watch {
    _watcher: RecommendedWatcher,
}

/// Calls `wake` after every write to the store's files in `folder`.
pub(super) fn watch(folder: &Path, wake: Arc<Notify>) -> Result<Watch> {
    let of_the_store = |path: &std::path::PathBuf| {
        path.file_name()
            .and_then(|n| n.to_str())
            .is_some_and(|n| n.starts_with("state.db") && !n.ends_with("-shm"))
    };
    let fail = |e: notify::Error| Error::new(ErrorCode::Io, format!("cannot watch {}: {e}", folder.display()));
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let relevant = match &event {
            Ok(event) => {
                matches!(event.kind, EventKind::Modify(_) | EventKind::Create(_))
                    && event.paths.iter().any(of_the_store)
            }
            // Events may have been missed: look.
            Err(_) => true,
        };
        if relevant {
            wake.notify_one();
        }
    })
    .map_err(fail)?;
    watcher.watch(folder, RecursiveMode::NonRecursive).map_err(fail)?;
    Ok(Watch { _watcher: watcher })
}

/// Makes the watch on `folder` see a change.
pub(super) fn nudge(folder: &Path) -> Result<()> {
    let path = folder.join("state.db-wake");
    std::fs::write(&path, "").map_err(|e| Error::io("write", &path, e))
}
