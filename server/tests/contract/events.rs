//! The change feed: pages with a cursor, waiting, and a stream that goes on where it broke off.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Api, Server, is_wire_time, number, of, text};

async fn page(server: &Api, query: &str) -> (Vec<Value>, Value) {
    let answer = server.get(&format!("/api/v1/events?scope=s{query}")).await.expect(200);
    let Some(events) = answer["events"].as_array() else {
        panic!("no events: {answer}")
    };
    (events.clone(), answer["cursor"].clone())
}

/// A cursor as it goes into a query.
fn shown(cursor: &Value) -> String {
    match cursor {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What one frame of a stream holds.
#[derive(Debug, Clone, PartialEq)]
struct Frame {
    id: String,
    data: Value,
}

/// A stream of events that is being read.
struct Stream {
    response: reqwest::Response,
    rest: String,
}

impl Stream {
    async fn open(server: &Api, path: &str, headers: &[(&str, &str)]) -> Stream {
        let request = server
            .request("GET", path, headers)
            .header("accept", "text/event-stream");
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        let kind = response.headers().get("content-type").unwrap().to_str().unwrap();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Stream {
            response,
            rest: String::new(),
        }
    }

    /// The next frame with data; comments and frames without data keep the connection alive and nothing more.
    async fn next(&mut self) -> Frame {
        loop {
            if let Some(end) = self.rest.find("\n\n") {
                let block = self.rest[..end].to_owned();
                self.rest.drain(..end + 2);
                let field = |name: &str| -> String {
                    let prefix = format!("{name}:");
                    let lines = block.lines().filter_map(|line| line.strip_prefix(prefix.as_str()));
                    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect()
                };
                let data = field("data");
                if !data.is_empty() {
                    let data = serde_json::from_str(&data).unwrap();
                    return Frame { id: field("id"), data };
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk()).await;
            match chunk {
                Ok(Ok(Some(bytes))) => self
                    .rest
                    .push_str(&String::from_utf8_lossy(&bytes).replace("\r\n", "\n")),
                other => panic!("the stream ended: {other:?}; unread: {}", self.rest),
            }
        }
    }
}

#[tokio::test]
async fn a_page_tells_what_happened_in_order() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.submitted("s", &orchestrator, json!({})).await;
    server.task("s", json!({})).await;
    let foreign = server.task("other", json!({})).await;
    server
        .act(&id, "accept", json!({ "accepted_by": "mia" }))
        .await
        .expect(200);

    let (all, cursor) = page(&server, "").await;
    assert!(all.iter().all(|event| event["task_id"] != foreign.as_str()), "{all:?}");
    assert_eq!(all.len(), 5, "{all:?}");
    let (own, _) = page(&server, &format!("&task_id={id}")).await;
    let types: Vec<&str> = own.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(types, ["created", "claimed", "submitted", "accepted"]);
    for event in &own {
        assert_eq!(event["task_id"], id.as_str());
        assert!(is_wire_time(&event["at"]), "{event}");
        assert!(event.get("by").is_some() && event.get("details").is_some(), "{event}");
    }
    assert_eq!(own[3]["by"], "mia");
    let cursors: Vec<i64> = all.iter().map(|event| number(&event["cursor"])).collect();
    assert!(cursors.windows(2).all(|pair| pair[0] < pair[1]), "{cursors:?}");
    assert_eq!(cursor, all[4]["cursor"], "the page ends with the cursor to go on from");

    let (none, still) = page(&server, &format!("&after={}", shown(&cursor))).await;
    assert!(none.is_empty(), "{none:?}");
    assert_eq!(still, cursor, "an empty page does not lose the place");
    let (tail, _) = page(&server, &format!("&after={}", cursors[1])).await;
    assert_eq!(tail, all[2..]);
}

#[tokio::test]
async fn the_feed_needs_a_scope() {
    let server = Server::start(&[]);
    let refused = server.get("/api/v1/events").await.error(400);
    assert!(text(&refused["error"]).contains("scope"), "{refused}");
    server.get("/api/v1/events?scope=s&after=nonsense").await.error(400);
}

#[tokio::test]
async fn walking_by_cursor_meets_each_event_once() {
    let server = Server::start(&["--page-size", "5"]);
    let mut made = Vec::new();
    for _ in 0..13 {
        made.push(server.task("s", json!({})).await);
    }
    let (mut seen, mut after) = (Vec::new(), "0".to_owned());
    for _ in 0..20 {
        let (events, cursor) = page(&server, &format!("&after={after}")).await;
        if events.is_empty() {
            break;
        }
        assert!(events.len() <= 5, "a page has the size that the server was given");
        seen.extend(events.iter().map(|event| text(&event["task_id"])));
        after = shown(&cursor);
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn waiting_for_an_event_ends_with_it() {
    let server = Server::start(&[]);
    server.task("s", json!({})).await;
    let (_, cursor) = page(&server, "").await;
    let api = server.api();
    let query = format!("&after={}&wait_seconds=30", shown(&cursor));
    let begun = Instant::now();
    let waiting = tokio::spawn(async move { page(&api, &query).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.task("other", json!({})).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        !waiting.is_finished(),
        "an event of another scope is none of its business"
    );
    let id = server.task("s", json!({})).await;
    let (events, _) = waiting.await.unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["task_id"], id.as_str());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());

    let begun = Instant::now();
    let (_, cursor) = page(&server, "").await;
    let (none, _) = page(&server, &format!("&after={}&wait_seconds=1", shown(&cursor))).await;
    assert!(
        none.is_empty() && begun.elapsed() >= Duration::from_millis(900),
        "{none:?}"
    );
}

#[tokio::test]
async fn the_stream_brings_old_and_new_events_with_their_cursors() {
    let server = Server::start(&[]);
    let old = server.task("s", json!({})).await;
    let mut stream = Stream::open(&server, "/api/v1/events?scope=s&after=0", &[]).await;
    let first = stream.next().await;
    assert_eq!(first.data["task_id"], old.as_str());
    assert_eq!(first.id, shown(&first.data["cursor"]));
    server.task("other", json!({})).await;
    let new = server.task("s", json!({})).await;
    let second = stream.next().await;
    assert_eq!(second.data["task_id"], new.as_str());
    assert_eq!(second.data["type"], "created");
    assert!(number(&second.data["cursor"]) > number(&first.data["cursor"]));
}

#[tokio::test]
async fn a_stream_can_follow_one_task() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({ "priority": "P0" })).await;
    let path = format!("/api/v1/events?scope=s&after=0&task_id={id}");
    let mut stream = Stream::open(&server, &path, &[]).await;
    server.task("s", json!({})).await;
    server.claim("s", &orchestrator, json!({})).await;
    for expected in ["created", "claimed"] {
        let frame = stream.next().await;
        assert_eq!(
            (frame.data["type"].as_str(), frame.data["task_id"].as_str()),
            (Some(expected), Some(id.as_str()))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_goes_on_without_gap_or_double() {
    let server = Server::start(&[]);
    const TASKS: usize = 60;
    let api = server.api();
    let writer = tokio::spawn(async move {
        let mut made = Vec::new();
        for _ in 0..TASKS {
            made.push(api.task("s", json!({})).await);
        }
        made
    });
    let mut stream = Stream::open(&server, "/api/v1/events?scope=s&after=0", &[]).await;
    let mut frames: Vec<Frame> = Vec::new();
    while frames.len() < TASKS {
        frames.push(stream.next().await);
        // Hang up every now and then, in the middle of things.
        if frames.len() % 11 == 10 {
            let last = frames.last().unwrap().id.clone();
            let headers = [("last-event-id", last.as_str())];
            stream = Stream::open(&server, "/api/v1/events?scope=s", &headers).await;
        }
    }
    let made = writer.await.unwrap();
    let seen: Vec<String> = frames.iter().map(|frame| text(&frame.data["task_id"])).collect();
    assert_eq!(seen, made);
    let path = of("/api/v1/events", "s") + "&after=" + &frames.last().unwrap().id;
    assert_eq!(
        server.get(&path).await.expect(200)["events"],
        json!([]),
        "nothing more has happened"
    );
}

#[tokio::test]
async fn the_feed_goes_on_after_a_restart() {
    let mut server = Server::start(&[]);
    let one = server.task("s", json!({})).await;
    let mut stream = Stream::open(&server, "/api/v1/events?scope=s&after=0", &[]).await;
    let last = stream.next().await;
    assert_eq!(last.data["task_id"], one.as_str());
    server.kill9();
    server.restart().await;
    let two = server.task("s", json!({})).await;
    let headers = [("last-event-id", last.id.as_str())];
    let mut stream = Stream::open(&server, "/api/v1/events?scope=s", &headers).await;
    assert_eq!(stream.next().await.data["task_id"], two.as_str());
}

#[tokio::test]
async fn a_stream_brings_what_another_server_wrote_without_waiting_for_a_sign_of_life() {
    let server = Server::start(&[]);
    let mut stream = Stream::open(&server, "/api/v1/events?scope=s&after=0", &[]).await;
    let begun = std::time::Instant::now();
    let made = server.beside().task("s", json!({})).await;
    assert_eq!(stream.next().await.data["task_id"], made.as_str());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
