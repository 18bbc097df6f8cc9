//! Wake-ups: changes that other processes make to the store, so that nobody has to ask again and again.

use std::{fs::File, sync::Arc};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::{
    config::Paths,
    error::{Error, ErrorCode, Result},
    store::sqlite_support::{bell, ring},
};

/// Watches the store's bell; kept for as long as wake-ups are wanted.
#[derive(Debug)]
pub(super) struct Watch {
    _watcher: RecommendedWatcher,
}

/// Calls `wake` after every commit to the project's store, whoever made it.
pub(super) fn watch(paths: &Paths, wake: Arc<Notify>) -> Result<Watch> {
    let folder = paths.dir();
    let bell = bell(&paths.state_db());
    File::create(&bell).map_err(|e| Error::io("create", &bell, e))?;
    let fail = |e: notify::Error| Error::new(ErrorCode::Io, format!("cannot watch {}: {e}", folder.display()));
    let name = bell.file_name().map(ToOwned::to_owned);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let relevant = match &event {
            Ok(event) => {
                matches!(event.kind, EventKind::Modify(_) | EventKind::Create(_))
                    && event.paths.iter().any(|path| path.file_name() == name.as_deref())
            }
            // Events may have been missed: look.
            Err(_) => true,
        };
        if relevant {
            wake.notify_one();
        }
    })
    .map_err(fail)?;
    watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(fail)?;
    Ok(Watch { _watcher: watcher })
}

/// Makes the watch of the project's orchestrator see a change.
pub(super) fn nudge(paths: &Paths) -> Result<()> {
    let bell = bell(&paths.state_db());
    ring(&bell).map_err(|e| Error::io("write", &bell, e))
}
