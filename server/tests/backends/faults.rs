//! What breaks under the servers: the database starts again, a server stands still, two requests are one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use octopoid_core::{
    ErrorCode,
    backend::Backend,
    client::Client,
    clock::Timestamp,
    engine::{Claim, ClaimRequest},
    lifecycle::Command,
    model::{CreateTask, Event, QueueName, Task},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    postgres::Postgres,
    server::{Answer, Caller, Raw, SCOPE, Server, register, text},
    suite::{LONG, count, history, hold, kinds, machine, refused, submit, take, titled, work},
    worlds::{client, sqlite},
};

/// What one client was told: tasks that it made, by their titles, and claims, by their ids.
type Told = (BTreeMap<String, String>, BTreeMap<String, String>);

async fn create_and_claim(n: usize, rounds: usize, mut caller: Caller, made: Arc<AtomicUsize>) -> Told {
    let (mut tasks, mut claims) = (BTreeMap::new(), BTreeMap::new());
    for round in 0..rounds {
        let title = format!("{n}-{round}");
        let body = json!({ "title": title, "scope": SCOPE });
        let answer = caller.post("/api/v1/tasks", &format!("create-{title}"), &body).await;
        assert!(matches!(answer.status, 200 | 201), "{}", answer.body);
        tasks.insert(title.clone(), text(&answer.body["id"]));
        made.fetch_add(1, Ordering::SeqCst);
        let body = json!({
            "orchestrator_id": "c-m", "agent_name": format!("agent-{n}"), "scope": SCOPE, "fenced": true,
            "lease_duration_seconds": 86400,
        });
        let answer = caller
            .post("/api/v1/tasks/claim", &format!("claim-{title}"), &body)
            .await;
        assert!(matches!(answer.status, 200 | 404), "{} {}", answer.status, answer.body);
        if answer.status == 200 {
            let (id, token) = (text(&answer.body["id"]), text(&answer.body["claim_token"]));
            assert!(claims.insert(id.clone(), token).is_none(), "{id} was given twice");
        }
    }
    (tasks, claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_postgresql_starts_again() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 25;
    let postgres = Arc::new(Postgres::start());
    let database = postgres.url("restarts");
    let servers = [Server::start(&database, &[]), Server::start(&database, &[])];
    let urls = [&servers[0], &servers[1]].map(|server| server.url().to_owned());
    let raw = Raw::fresh();
    register(&raw, &urls[0]).await;
    let made = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let caller = Caller::new(&urls, n, Duration::from_secs(180));
        clients.spawn(create_and_claim(n, ROUNDS, caller, Arc::clone(&made)));
    }
    for at in [CLIENTS * ROUNDS / 4, CLIENTS * ROUNDS / 2] {
        let begun = Instant::now();
        while made.load(Ordering::SeqCst) < at {
            assert!(begun.elapsed() < Duration::from_secs(180), "nobody gets on");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let postgres = Arc::clone(&postgres);
        tokio::task::spawn_blocking(move || postgres.restart()).await.unwrap();
        assert!(made.load(Ordering::SeqCst) < CLIENTS * ROUNDS, "it came too late");
    }
    let (mut tasks, mut claims) = (BTreeMap::new(), BTreeMap::new());
    while let Some(ended) = clients.join_next().await {
        let (some, more) = ended.unwrap();
        tasks.extend(some);
        for (id, token) in more {
            assert!(claims.insert(id.clone(), token).is_none(), "{id} was given to two");
        }
    }
    assert_eq!(tasks.len(), CLIENTS * ROUNDS);
    assert!(!claims.is_empty());

    let list = raw
        .get(&format!("{}/api/v1/tasks?scope={SCOPE}&limit=500", urls[0]))
        .await;
    assert_eq!(list["total"], CLIENTS * ROUNDS, "nothing lost, nothing doubled");
    let there: BTreeMap<String, String> = list["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| (text(&task["title"]), text(&task["id"])))
        .collect();
    assert_eq!(there, tasks);
    let held = raw
        .get(&format!("{}/api/v1/claims?scope={SCOPE}&orchestrator_id=c-m", urls[1]))
        .await;
    let held: BTreeMap<String, String> = held["tokens"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(id, token)| (id.clone(), text(token)))
        .collect();
    assert_eq!(held, claims, "whoever holds a task was told so, and nobody else");
    let mut events: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in raw.events(&urls[0]).await {
        events
            .entry(text(&event["task_id"]))
            .or_default()
            .push(text(&event["type"]));
    }
    for id in tasks.values() {
        let expected: &[&str] = if claims.contains_key(id) {
            &["created", "claimed"]
        } else {
            &["created"]
        };
        assert_eq!(events[id], expected, "{id}");
    }
}

async fn until(b: &dyn Backend, task: &Task, what: impl Fn(&Task) -> bool) -> Task {
    let begun = Instant::now();
    loop {
        let now = b.task(&task.id).await.unwrap();
        if what(&now) {
            return now;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it does not come to that: {now:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stood_still_ends_the_lease_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&sqlite(&dir), &["--lease-sweep-seconds", "0.2"]);
    let b = client(server.url());
    let task = b.create(titled("t")).await.unwrap();
    let claim = take(&b, work(Duration::from_secs(1))).await;
    server.stop();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    server.go_on();
    let now = until(&b, &task, |t| t.claimed_by.is_none()).await;
    assert_eq!(now.queue, QueueName::incoming());
    let late = refused(&b, &task.id, submit(&claim.token, "h")).await;
    assert_eq!(late, ErrorCode::IllegalTransition);
    let second = take(&b, work(LONG)).await;
    let late = refused(&b, &task.id, submit(&claim.token, "h")).await;
    assert_eq!(late, ErrorCode::StaleClaim);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let events = history(&b, &task.id).await;
    assert_eq!(kinds(&events), ["created", "claimed", "requeued", "claimed"]);
    b.apply(&task.id, submit(&second.token, "h2")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_does_not_hold_up_the_others() {
    let postgres = Postgres::start();
    let database = postgres.url("still");
    let sweep = ["--lease-sweep-seconds", "0.2"];
    let (still, lively) = (Server::start(&database, &sweep), Server::start(&database, &sweep));
    let (a, b) = (client(still.url()), client(lively.url()));
    let task = a.create(titled("t")).await.unwrap();
    let claim = take(&a, work(Duration::from_secs(1))).await;
    still.stop();
    until(&b, &task, |t| t.claimed_by.is_none()).await;
    let second = take(&b, work(LONG)).await;
    assert_eq!(second.task.id, task.id);
    still.go_on();
    assert_eq!(
        refused(&a, &task.id, submit(&claim.token, "h")).await,
        ErrorCode::StaleClaim
    );
    tokio::time::sleep(Duration::from_millis(600)).await;
    let submitted = b.apply(&task.id, submit(&second.token, "h2")).await.unwrap();
    assert_eq!(submitted.head_sha.as_deref(), Some("h2"));
    let events = history(&a, &task.id).await;
    assert_eq!(
        kinds(&events),
        ["created", "claimed", "requeued", "claimed", "submitted"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_end_each_lease_once_and_in_time() {
    const SWEEP: Duration = Duration::from_millis(500);
    let postgres = Postgres::start();
    let database = postgres.url("leases");
    let sweep = ["--lease-sweep-seconds", "0.5"];
    let servers: Vec<Server> = (0..3).map(|_| Server::start(&database, &sweep)).collect();
    let clients: Vec<_> = servers.iter().map(|server| client(server.url())).collect();
    let b: &dyn Backend = &clients[0];
    let mut claims: Vec<Claim> = Vec::new();
    for n in 0..18 {
        b.create(titled(&format!("{n}"))).await.unwrap();
    }
    for n in 0..18_u64 {
        let request = ClaimRequest {
            agent: format!("agent-{n}"),
            ..work(Duration::from_millis(3000 + 50 * n))
        };
        claims.push(take(&clients[n as usize % 3], request).await);
    }
    for (n, claim) in claims.iter().enumerate() {
        let until_when = claim.task.lease_expires_at.unwrap();
        let now = until(b, &claim.task, |t| t.claimed_by.is_none()).await;
        assert_eq!((now.queue.as_str(), now.epoch), ("incoming", 1));
        let events = history(b, &claim.task.id).await;
        let ended: &Event = events.iter().find(|e| e.kind == "requeued").unwrap();
        let late: Duration = ended.at.since(until_when);
        assert!(ended.at >= until_when, "too early: {ended:?}");
        assert!(late <= SWEEP + Duration::from_secs(1), "{late:?} too late: {ended:?}");
        assert_eq!(ended.details["owner"], format!("agent-{n}"), "{ended:?}");
        let told: Timestamp = text(&ended.details["lease_expires_at"]).parse().unwrap();
        assert_eq!(told, until_when);
    }
    // Whoever else would have ended them has had his turn by now.
    tokio::time::sleep(SWEEP * 3).await;
    for claim in &claims {
        let events = history(b, &claim.task.id).await;
        assert_eq!(count(&events, "requeued"), 1);
        assert_eq!(kinds(&events), ["created", "claimed", "requeued"]);
    }
}

/// Two servers over one database; they end before it.
struct Two {
    servers: [Server; 2],
    _postgres: Postgres,
}

impl Two {
    fn start(name: &str) -> Two {
        let postgres = Postgres::start();
        let database = postgres.url(name);
        Two {
            servers: [Server::start(&database, &[]), Server::start(&database, &[])],
            _postgres: postgres,
        }
    }

    fn clients(&self) -> (Client, Client) {
        (client(self.servers[0].url()), client(self.servers[1].url()))
    }

    /// Sends the same request to both at the same time.
    async fn send(&self, raw: &Raw, path: &str, key: &str, body: &Value) -> [Answer; 2] {
        let (first, second) = (self.servers[0].at(path), self.servers[1].at(path));
        let (one, other) = tokio::join!(
            raw.ask("POST", &first, Some(key), Some(body)),
            raw.ask("POST", &second, Some(key), Some(body))
        );
        [one.unwrap(), other.unwrap()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_sent_twice_at_once_takes_one_task() {
    const ROUNDS: usize = 30;
    let two = Two::start("claims");
    let (a, b) = two.clients();
    for n in 0..2 * ROUNDS {
        a.create(titled(&format!("{n}"))).await.unwrap();
    }
    let mut given = BTreeSet::new();
    for round in 0..ROUNDS {
        let request = ClaimRequest {
            token: Some(format!("0123456789abcdef-{round}")),
            ..work(LONG)
        };
        let (one, other) = tokio::join!(a.claim(request.clone()), b.claim(request));
        let (one, other) = (one.unwrap().unwrap(), other.unwrap().unwrap());
        assert_eq!(one.task.id, other.task.id, "one request, one task (round {round})");
        assert!(given.insert(one.task.id));
    }
    assert_eq!(a.claimed(&machine()).await.unwrap().len(), ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_sent_twice_at_once_is_done_once_and_answered_twice() {
    let two = Two::start("writes");
    let (raw, b) = (Raw::fresh(), client(two.servers[0].url()));
    let mut wrong = Vec::new();
    for round in 0..20 {
        let body = json!({ "title": format!("{round}"), "scope": SCOPE });
        let made = two.send(&raw, "/api/v1/tasks", &format!("create-{round}"), &body).await;
        assert_eq!(made[0].body["id"], made[1].body["id"], "{made:?}");
        let mut statuses = made.map(|answer| answer.status);
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201]);

        let claim = take(&b, work(LONG)).await;
        let id = claim.task.id;
        let path = format!("/api/v1/tasks/{id}/commands?scope={SCOPE}");
        for (what, command) in [("hold", hold("later")), ("submit", submit(&claim.token, "h1"))] {
            let body = serde_json::to_value(&command).unwrap();
            for answer in two.send(&raw, &path, &format!("{what}-{round}"), &body).await {
                if answer.status != 200 {
                    wrong.push(format!("{what} {round}: {} {}", answer.status, answer.body));
                }
            }
        }
        let events = history(&b, &id).await;
        assert_eq!(kinds(&events), ["created", "claimed", "held", "submitted"]);
    }
    assert!(wrong.is_empty(), "refused although it was done: {wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_go_on_whoever_ends_what_they_wait_for() {
    let two = Two::start("ends");
    let (a, b) = two.clients();
    for round in 0..8 {
        let first = a.create(titled("first")).await.unwrap();
        let second = b.create(titled("second")).await.unwrap();
        let waits = CreateTask {
            blocked_by: vec![first.id.clone(), second.id.clone()],
            ..titled("last")
        };
        let last = a.create(waits).await.unwrap();
        let done = || Command::Recover {
            by: "me".into(),
            to: QueueName::done(),
            reason: "by hand".into(),
            merged_sha: Some("m".into()),
            head_sha: None,
        };
        let (one, other) = tokio::join!(a.apply(&first.id, done()), b.apply(&second.id, done()));
        let queues = [one.unwrap().queue, other.unwrap().queue];
        assert_eq!(queues, [QueueName::done(), QueueName::done()]);
        let now = b.task(&last.id).await.unwrap();
        assert_eq!(now.open_blockers, 0, "round {round}");
        assert_eq!(count(&history(&a, &last.id).await, "unblocked"), 2);
        assert_eq!(take(&a, work(LONG)).await.task.id, last.id);
    }
}
