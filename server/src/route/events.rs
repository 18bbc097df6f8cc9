//! The change feed: pages with a cursor, or a stream that goes on.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::stream;
use octopoid_core::{Error, Result, engine::Engine, id::TaskId, model::Event};
use serde_json::json;
use tokio::sync::watch;

use super::routes;
use crate::{
    answer::{Answer, Reply},
    call::Call,
};

/// Events read at once for a stream.
const CHUNK: u32 = 200;
/// Longest wait for an event.
const MAX_WAIT: u32 = 60;
/// How long a quiet stream goes without a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often a waiting reader looks without being woken up.
const LOOK: Duration = Duration::from_secs(1);

routes! {
    GET "/api/v1/events" events, "Changes after a cursor; with Accept: text/event-stream a stream of them", query "scope after:integer wait_seconds:integer task_id limit:integer" => &[(200, "Events")];
}

fn cursor(text: Option<&str>, name: &str) -> Result<Option<i64>> {
    text.map(|t| {
        t.trim()
            .parse::<i64>()
            .ok()
            .filter(|n| *n >= 0)
            .ok_or_else(|| Error::invalid(format!("{name} must be the cursor of an event")))
    })
    .transpose()
}

async fn events(call: Call) -> Reply {
    let engine = call.engine().await?;
    let task = call.query.get("task_id").map(TaskId::parse).transpose()?;
    let after = cursor(call.query.get("after"), "after")?;
    if call.accepts("text/event-stream") {
        let last = cursor(call.header("last-event-id")?.as_deref(), "Last-Event-ID")?;
        return Ok(stream_of(&call, engine, task, last.or(after).unwrap_or(0)));
    }
    let after = after.unwrap_or(0);
    let window = call.window()?;
    let wait = call.query.number("wait_seconds", 0, 0, MAX_WAIT)?;
    let until = tokio::time::Instant::now() + Duration::from_secs(u64::from(wait));
    let (mut changes, mut stopping) = (call.state.registry.changes(), call.state.stopping.clone());
    loop {
        changes.mark_unchanged();
        let found = engine.events(task.as_ref(), after, window.limit).await?;
        let over = tokio::time::Instant::now() >= until || *stopping.borrow();
        if !found.is_empty() || over || window.limit == 0 {
            let last = found.last().map_or(after, |e| e.cursor);
            return Answer::of(200, &json!({ "events": found, "cursor": last }));
        }
        tokio::select! {
            _ = changes.changed() => {}
            _ = stopping.changed() => {}
            // Other processes that write to the same file wake nobody up here.
            () = tokio::time::sleep_until(until.min(tokio::time::Instant::now() + LOOK)) => {}
        }
    }
}

/// Where a stream is.
struct Feed {
    engine: Engine,
    task: Option<TaskId>,
    after: i64,
    ready: VecDeque<Event>,
    changes: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
}

impl Feed {
    /// The next piece of the stream; none at its end. An error ends it: the client comes back with its last cursor.
    async fn next(&mut self) -> Option<Bytes> {
        let silent_until = tokio::time::Instant::now() + KEEP_ALIVE;
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.after = event.cursor;
                let data = serde_json::to_string(&event).ok()?;
                return Some(format!("id: {}\nevent: {}\ndata: {data}\n\n", event.cursor, event.kind).into());
            }
            self.changes.mark_unchanged();
            let found = self.engine.events(self.task.as_ref(), self.after, CHUNK).await.ok()?;
            if !found.is_empty() {
                self.ready = found.into();
                continue;
            }
            if *self.stopping.borrow() {
                return None;
            }
            if tokio::time::Instant::now() >= silent_until {
                return Some(Bytes::from_static(b": still here\n\n"));
            }
            tokio::select! {
                _ = self.changes.changed() => {}
                _ = self.stopping.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

fn stream_of(call: &Call, engine: Engine, task: Option<TaskId>, after: i64) -> Answer {
    let feed = Feed {
        engine,
        task,
        after,
        ready: VecDeque::new(),
        changes: call.state.registry.changes(),
        stopping: call.state.stopping.clone(),
    };
    let pieces = stream::unfold(feed, |mut feed| async move {
        let piece = feed.next().await?;
        Some((Ok::<_, Infallible>(piece), feed))
    });
    // The first line makes proxies and clients see that the stream is open.
    let hello = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b": events\n\n")) });
    let body = Body::from_stream(futures_util::StreamExt::chain(hello, pieces));
    Answer::stream(200, "text/event-stream", body).with("cache-control", "no-store")
}
