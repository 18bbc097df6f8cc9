//! Wake-ups between servers: one connection that listens, and the clock read anew while nothing happens.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use postgres::fallible_iterator::FallibleIterator;
use tokio::sync::watch;

use super::{Connection, Shared};

/// How long a quiet connection is listened to before the clock is read anew.
const QUIET: Duration = Duration::from_secs(10);
/// Pause before a lost connection is made again.
const AGAIN: Duration = Duration::from_millis(500);

/// Counts `changes` up for every transaction of any server, until the store or every receiver is gone.
pub(super) fn listen(shared: &Arc<Shared>, changes: watch::Sender<u64>) {
    let shared = Arc::downgrade(shared);
    let thread = std::thread::Builder::new().name("octopoid-listener".into());
    let started = thread.spawn(move || {
        while let Some(config) = shared.upgrade().map(|s| s.config.clone()) {
            if let Err(error) = follow(&shared, &config, &changes) {
                tracing::warn!(%error, "the wake-up connection to PostgreSQL was lost; it is made again");
                std::thread::sleep(AGAIN);
            }
            // What happened in between was not told.
            changes.send_modify(|n| *n += 1);
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, "no thread for wake-ups from PostgreSQL; waiting claims find tasks at the next sweep");
    }
}

fn follow(
    shared: &Weak<Shared>,
    config: &postgres::Config,
    changes: &watch::Sender<u64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut client = config.connect(postgres::NoTls)?;
    client.batch_execute("LISTEN octopoid")?;
    changes.send_modify(|n| *n += 1);
    loop {
        let heard = client.notifications().timeout_iter(QUIET).next()?;
        let Some(shared) = shared.upgrade() else { return Ok(()) };
        if heard.is_some() {
            changes.send_modify(|n| *n += 1);
        } else {
            if client.is_closed() {
                return Err("the connection was closed".into());
            }
            let mut connection = Connection::open(config)?;
            shared.read_clock(&mut connection)?;
        }
    }
}
