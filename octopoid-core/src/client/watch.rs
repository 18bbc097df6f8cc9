//! Follows the server's change feed, so that whoever waits is woken up by what others do.

use std::time::Duration;

use tokio::sync::watch;

use super::Client;

/// How long one question for events waits: at most about a request a minute while nothing happens.
const WAIT: Duration = Duration::from_secs(55);
/// Pause after an outage.
const AGAIN: Duration = Duration::from_secs(2);

/// Counts `changes` up after every event, until nobody listens.
pub(super) fn follow(client: Client, changes: watch::Sender<u64>) {
    tokio::spawn(async move {
        let mut after = None;
        // The client keeps one sender; whoever listens holds receivers.
        loop {
            if changes.is_closed() {
                tokio::time::sleep(AGAIN).await;
                after = None;
                continue;
            }
            let known = match after {
                Some(cursor) => cursor,
                None => match client.last_cursor().await {
                    Ok(cursor) => {
                        after = Some(cursor);
                        // What happened before is not known: look once.
                        changes.send_modify(|n| *n += 1);
                        cursor
                    }
                    Err(_) => {
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    }
                },
            };
            match client.wait_events(known, WAIT).await {
                Ok(events) => {
                    if let Some(last) = events.last() {
                        after = Some(last.cursor);
                        changes.send_modify(|n| *n += 1);
                    }
                }
                Err(_) => {
                    after = None;
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    });
}
