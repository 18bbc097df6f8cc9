//! Many clients at once: every task is given to one of them, and every one of them is served.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    postgres::Postgres,
    server::{Caller, Raw, SCOPE, Server, register, text},
    worlds::sqlite,
};

const CLIENTS: usize = 64;
const CLAIM: &str = "/api/v1/tasks/claim";

/// How many tasks there are; the full size is 5000.
fn wanted() -> usize {
    match std::env::var("OCTOPOID_STORM_TASKS") {
        Ok(number) => number.parse().expect("OCTOPOID_STORM_TASKS is a number"),
        Err(_) => 600,
    }
}

/// Longer than a slow machine needs, shorter than the leases: a task that nobody knows he has is found out.
fn patience(tasks: usize) -> Duration {
    Duration::from_secs(120) + Duration::from_millis(60) * u32::try_from(tasks).unwrap()
}

fn claim_by(agent: &str) -> Value {
    json!({
        "orchestrator_id": "c-m", "agent_name": agent, "scope": SCOPE, "fenced": true,
        "lease_duration_seconds": 86400,
    })
}

async fn create(raw: &Raw, server: &str, tasks: usize) {
    let all: Vec<Value> = (0..tasks)
        .map(|n| json!({ "title": format!("t{n}"), "priority": format!("P{}", n % 4) }))
        .collect();
    for some in all.chunks(500) {
        let body = json!({ "scope": SCOPE, "tasks": some });
        raw.post(&format!("{server}/api/v1/tasks/batch"), &body, 201).await;
    }
}

/// Claims and hands in until all is done by somebody; gives the ids and tokens of what it got.
async fn work(n: usize, mut caller: Caller, done: Arc<AtomicUsize>, tasks: usize) -> Vec<(String, String)> {
    let mut got = Vec::new();
    let ask = claim_by(&format!("agent-{n}"));
    let mut tried = 0;
    while done.load(Ordering::SeqCst) < tasks {
        tried += 1;
        let key = format!("claim-{n}-{tried}");
        let answer = caller.post(CLAIM, &key, &ask).await;
        if answer.status == 404 {
            // The rest is in other hands; one of them may yet let go of it.
            caller.check("some tasks are never done by anybody");
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
        let (id, token) = (text(&answer.body["id"]), text(&answer.body["claim_token"]));
        if got.len() & 15 == 0 {
            // As if the answer had been lost, and somewhere else.
            caller.turn();
            let again = caller.post(CLAIM, &key, &ask).await;
            assert_eq!(again.status, 200, "{}", again.body);
            assert_eq!(
                (text(&again.body["id"]), text(&again.body["claim_token"])),
                (id.clone(), token.clone()),
                "the same request gives the same task"
            );
        }
        let body = json!({ "claim_token": token, "commits_count": 1, "turns_used": 1 });
        let path = format!("/api/v1/tasks/{id}/submit?scope={SCOPE}");
        let submitted = caller.post(&path, &format!("submit-{n}-{tried}"), &body).await;
        assert_eq!(submitted.status, 200, "{id}: {}", submitted.body);
        assert_eq!(submitted.body["queue"], "provisional");
        got.push((id, token));
        done.fetch_add(1, Ordering::SeqCst);
    }
    got
}

/// All clients against all servers; with `killed`, that one ends in the middle of it.
async fn storm(servers: &[String], mut killed: Option<Server>) {
    let (tasks, raw) = (wanted(), Raw::fresh());
    let last = servers.last().unwrap();
    register(&raw, last).await;
    create(&raw, last, tasks).await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let caller = Caller::new(servers, n, patience(tasks));
        clients.spawn(work(n, caller, Arc::clone(&done), tasks));
    }
    let mut got: Vec<(String, String)> = Vec::new();
    loop {
        if done.load(Ordering::SeqCst) > tasks / 3
            && let Some(mut server) = killed.take()
        {
            server.kill9();
            assert!(done.load(Ordering::SeqCst) < tasks, "it was killed too late");
        }
        match tokio::time::timeout(Duration::from_millis(5), clients.join_next()).await {
            Err(_) => {}
            Ok(None) => break,
            Ok(Some(ended)) => got.extend(ended.unwrap()),
        }
    }
    assert!(killed.is_none(), "nobody was killed");

    assert_eq!(got.len(), tasks, "each task is handed in once");
    let ids: HashSet<&str> = got.iter().map(|(id, _)| id.as_str()).collect();
    let tokens: HashSet<&str> = got.iter().map(|(_, token)| token.as_str()).collect();
    assert_eq!((ids.len(), tokens.len()), (tasks, tasks), "no task is given twice");
    let list = format!("{last}/api/v1/tasks?scope={SCOPE}&limit=1");
    for (query, expected) in [("", tasks), ("&queue=provisional", tasks), ("&queue=claimed", 0)] {
        assert_eq!(raw.get(&format!("{list}{query}")).await["total"], expected, "{query}");
    }
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut cursor = 0;
    for event in raw.events(last).await {
        let at = event["cursor"].as_i64().unwrap();
        assert!(at > cursor, "{at} comes after {cursor}");
        cursor = at;
        seen.entry(text(&event["task_id"]))
            .or_default()
            .push(text(&event["type"]));
    }
    assert_eq!(seen.len(), tasks);
    for (id, kinds) in seen {
        assert_eq!(kinds, ["created", "claimed", "submitted"], "{id}");
    }
    urgent_first(&raw, last).await;
}

/// One client alone gets the most urgent task, and of these the oldest.
async fn urgent_first(raw: &Raw, server: &str) {
    let mut expected = Vec::new();
    for n in 0..24 {
        let priority = ["P2", "P0", "P3", "P1", "P0", "P2"][n % 6];
        let body = json!({ "title": format!("{n}"), "priority": priority, "scope": SCOPE });
        let task = raw.post(&format!("{server}/api/v1/tasks"), &body, 201).await;
        expected.push((priority, text(&task["id"])));
    }
    // The order of creation within a priority stays.
    expected.sort_by_key(|(priority, _)| *priority);
    for (priority, id) in expected {
        let task = raw.post(&format!("{server}{CLAIM}"), &claim_by("alone"), 200).await;
        assert_eq!(task["id"], id.as_str(), "next of {priority}");
    }
    raw.post(&format!("{server}{CLAIM}"), &claim_by("alone"), 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_with_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&sqlite(&dir), &[]);
    storm(&[server.url().to_owned()], None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_with_three_servers_of_which_one_is_killed() {
    let postgres = Postgres::start();
    let database = postgres.url("storm");
    let victim = Server::start(&database, &[]);
    let others = [Server::start(&database, &[]), Server::start(&database, &[])];
    let urls = [&victim, &others[0], &others[1]].map(|server| server.url().to_owned());
    storm(&urls, Some(victim)).await;
    for server in &others {
        assert!(!server.said().contains("ERROR"), "{}", server.said());
    }
}
