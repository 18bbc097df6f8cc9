//! The server goes away: reads come from the copy, writes wait, claims are not made; and then it comes back.

use std::time::{Duration, Instant};

use octopoid_core::{
    ErrorCode,
    backend::{Backend, Reach},
    engine::ClaimRequest,
    id::TaskId,
    lifecycle::Command,
    model::{CreateTask, EditTask, Event, Priority, QueueName, Task, TaskFilter},
    offline::Offline,
};
use serde_json::Value;

use crate::{
    suite::{
        LONG, count, edit, free, history, hold, kinds, machine, refused, release, submit, take, titled, unhold, work,
    },
    worlds::{Away, SWEEP},
};

/// A task without what depends on when and where it was written down.
fn told(task: &Task) -> Value {
    let mut value = serde_json::to_value(task).unwrap();
    let columns = value.as_object_mut().unwrap();
    for name in [
        "annotations",
        "created_at",
        "updated_at",
        "submitted_at",
        "completed_at",
        "claimed_at",
        "lease_expires_at",
    ] {
        columns.remove(name);
    }
    value
}

/// All tasks, by their names.
async fn all(b: &dyn Backend) -> Vec<Value> {
    let filter = TaskFilter {
        limit: Some(500),
        ..TaskFilter::default()
    };
    let mut tasks = b.list(&filter).await.unwrap().tasks;
    tasks.sort_by(|a, b| a.id.cmp(&b.id));
    tasks.iter().map(told).collect()
}

async fn last_cursor(b: &dyn Backend) -> i64 {
    b.events(None, 0, 500).await.unwrap().last().map_or(0, |e| e.cursor)
}

fn retitled(title: &str) -> Command {
    edit(EditTask {
        title: Some(title.into()),
        ..EditTask::default()
    })
}

/// Requests that wait, and requests that were refused; and whether the server is away.
fn reach(offline: &Offline) -> (bool, usize, usize) {
    match offline.reach() {
        Reach::Offline { waiting, dropped, .. } => (true, waiting, dropped),
        Reach::Online { waiting, dropped, .. } => (false, waiting, dropped),
        Reach::Local => panic!("it has a server"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_answered_from_the_copy() {
    let mut away = Away::start();
    let offline = away.open();
    let mine = offline.create(titled("mine")).await.unwrap();
    let request = CreateTask {
        priority: Some(Priority::P3),
        ..titled("later")
    };
    let later = offline.create(request).await.unwrap();
    // Made by somebody else, and seen from here in a list.
    let seen = away.direct().create(titled("seen")).await.unwrap();
    let claim = take(&offline, work(LONG)).await;
    assert_eq!(claim.task.id, mine.id);
    let before = all(&offline).await;
    assert_eq!(before.len(), 3);
    let unseen = away.direct().create(titled("unseen")).await.unwrap();
    assert_eq!(reach(&offline), (false, 0, 0));

    away.go_offline();
    assert_eq!(all(&offline).await, before);
    assert!(matches!(offline.reach(), Reach::Offline { .. }));
    for id in [&mine.id, &later.id, &seen.id] {
        let task = offline.task(id).await.unwrap();
        assert!(before.contains(&told(&task)), "{task:?}");
        assert_eq!(offline.show(id).await.unwrap().task, task);
        assert_eq!(offline.why(id).await.unwrap().queue, task.queue);
    }
    let status = offline.status().await.unwrap();
    let counts: Vec<_> = status.queues.iter().map(|c| (c.queue.as_str(), c.count)).collect();
    assert_eq!(counts, [("incoming", 2), ("claimed", 1)]);
    let own = offline.claimed(&machine()).await.unwrap();
    assert_eq!(own.len(), 1);
    assert_eq!((&own[0].id, &own[0].claim_token), (&mine.id, &Some(claim.token)));

    let id = &unseen.id;
    let codes = [
        offline.task(id).await.unwrap_err().code(),
        offline.show(id).await.unwrap_err().code(),
        offline.why(id).await.unwrap_err().code(),
        refused(&offline, id, hold("x")).await,
        offline.events(None, 0, 10).await.unwrap_err().code(),
        offline.delete(&seen.id, "me").await.unwrap_err().code(),
    ];
    assert_eq!(codes, [ErrorCode::Offline; 6]);
    assert!(
        offline.claim(work(LONG)).await.unwrap().is_none(),
        "claims are not made"
    );
    assert!(!free(&offline).await);
    assert_eq!(all(&offline).await, before);
    assert_eq!(reach(&offline), (true, 0, 0), "nothing of this waits");
    assert_eq!(offline.sync().await.unwrap_err().code(), ErrorCode::Offline);

    away.come_back();
    assert_eq!(offline.task(id).await.unwrap().title, "unseen");
    assert_eq!(reach(&offline), (false, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_away_arrives_once_and_in_order() {
    let mut away = Away::start();
    let offline = away.open();
    let mine = offline.create(titled("mine")).await.unwrap().id;
    let other = offline.create(titled("other")).await.unwrap().id;
    let doomed = offline.create(titled("doomed")).await.unwrap().id;
    let token = take(&offline, work(LONG)).await.token;
    let cursor = last_cursor(&away.direct()).await;

    away.go_offline();
    let begin = Command::Begin {
        token: token.clone(),
        base_sha: "base".into(),
    };
    offline.apply(&mine, begin).await.unwrap();
    let renew = Command::Renew {
        token: token.clone(),
        lease: LONG,
    };
    assert_eq!(offline.apply(&mine, renew).await.unwrap().queue, QueueName::claimed());
    let submitted = offline.apply(&mine, submit(&token, "h1")).await.unwrap();
    assert_eq!(
        (submitted.queue.as_str(), submitted.awaiting.as_deref()),
        ("provisional", Some("gatekeeper"))
    );
    let keyed = CreateTask {
        idempotency_key: Some("k".into()),
        ..titled("fourth")
    };
    let fourth = offline.create(keyed.clone()).await.unwrap();
    assert_eq!((fourth.queue.as_str(), fourth.branch.as_str()), ("incoming", "trunk"));
    assert_eq!(
        offline.create(keyed.clone()).await.unwrap().id,
        fourth.id,
        "the same once more"
    );
    let waits = CreateTask {
        blocked_by: vec![fourth.id.clone()],
        ..titled("fifth")
    };
    let fifth = offline.create(waits).await.unwrap();
    assert_eq!(fifth.open_blockers, 1);
    offline.apply(&other, retitled("renamed")).await.unwrap();
    offline.apply(&other, hold("later")).await.unwrap();
    offline.apply(&other, retitled("renamed again")).await.unwrap();
    let cancel = Command::Cancel {
        by: "me".into(),
        reason: "not wanted".into(),
    };
    offline.apply(&doomed, cancel).await.unwrap();
    // What cannot be is refused here already, and does not wait.
    assert_eq!(
        refused(&offline, &doomed, hold("x")).await,
        ErrorCode::IllegalTransition
    );
    assert_eq!(
        refused(&offline, &other, release("nonsense")).await,
        ErrorCode::IllegalTransition
    );
    assert_eq!(reach(&offline), (true, 8, 0));
    let copy = all(&offline).await;
    assert_eq!(copy.len(), 5);

    away.come_back();
    let synced = offline.sync().await.unwrap();
    assert_eq!((synced.delivered, synced.waiting, synced.refreshed), (8, 0, 5));
    assert!(synced.dropped.is_empty(), "{:?}", synced.dropped);
    assert_eq!(reach(&offline), (false, 0, 0));
    let again = offline.sync().await.unwrap();
    assert_eq!((again.delivered, again.dropped.len()), (0, 0), "nothing twice");

    let direct = away.direct();
    assert_eq!(all(&direct).await, copy, "the server says what the copy said");
    let arrived: Vec<Event> = direct.events(None, cursor, 500).await.unwrap();
    let order: Vec<(&TaskId, &str)> = arrived.iter().map(|e| (&e.task_id, e.kind.as_str())).collect();
    let expected = [
        (&mine, "started"),
        (&mine, "submitted"),
        (&fourth.id, "created"),
        (&fifth.id, "created"),
        (&other, "edited"),
        (&other, "held"),
        (&other, "edited"),
        (&doomed, "cancelled"),
    ];
    assert_eq!(order, expected);
    assert_eq!(
        offline.create(keyed).await.unwrap().id,
        fourth.id,
        "the key is still the same"
    );
    assert_eq!(direct.list(&TaskFilter::default()).await.unwrap().total, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_later_goes_after_what_waits() {
    let mut away = Away::start();
    let offline = away.open();
    let id = offline.create(titled("t")).await.unwrap().id;
    away.go_offline();
    offline.apply(&id, hold("one")).await.unwrap();
    offline.apply(&id, retitled("two")).await.unwrap();
    away.come_back();
    // No sync: the next write finds the server there again.
    let task = offline.apply(&id, unhold()).await.unwrap();
    assert_eq!((task.title.as_str(), task.hold, task.version), ("two", None, 4));
    assert_eq!(reach(&offline), (false, 0, 0));
    let events = history(&away.direct(), &id).await;
    assert_eq!(kinds(&events), ["created", "held", "edited", "unheld"]);
    away.go_offline();
    offline.apply(&id, hold("three")).await.unwrap();
    away.come_back();
    // Nor has a claim to be waited with.
    assert!(
        offline.claim(work(LONG)).await.unwrap().is_none(),
        "the hold is there first"
    );
    assert_eq!(count(&history(&away.direct(), &id).await, "held"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_comes_too_late_is_dropped_and_kept() {
    let mut away = Away::start();
    let offline = away.open();
    let id = offline.create(titled("t")).await.unwrap().id;
    let token = take(&offline, work(Duration::from_secs(1))).await.token;
    away.go_offline();
    let here = offline.apply(&id, submit(&token, "mine")).await.unwrap();
    assert_eq!(here.queue, QueueName::provisional());
    away.come_back();

    let direct = away.direct();
    let begun = Instant::now();
    let theirs = loop {
        let request = ClaimRequest {
            agent: "bob".into(),
            ..work(LONG)
        };
        if let Some(claim) = direct.claim(request).await.unwrap() {
            break claim;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the lease does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(theirs.task.id, id);
    let before = direct.task(&id).await.unwrap();
    let happened = kinds(&history(&direct, &id).await).join(" ");

    for delivered in 0..2 {
        let synced = offline.sync().await.unwrap();
        assert_eq!((synced.delivered, synced.waiting), (0, 0), "time {delivered}");
        assert_eq!(synced.dropped.len(), 1, "it is kept: {:?}", synced.dropped);
        let dropped = &synced.dropped[0];
        assert_eq!(
            (&dropped.task_id, dropped.request.as_str()),
            (&Some(id.clone()), "submit")
        );
        assert!(dropped.reason.contains(id.as_str()), "{}", dropped.reason);
        assert_eq!(reach(&offline), (false, 0, 1));
    }
    assert_eq!(
        direct.task(&id).await.unwrap(),
        before,
        "the server's task is as it was"
    );
    assert_eq!(kinds(&history(&direct, &id).await).join(" "), happened);
    direct.apply(&id, submit(&theirs.token, "theirs")).await.unwrap();

    // The copy has learnt what is true.
    assert_eq!(offline.task(&id).await.unwrap().head_sha.as_deref(), Some("theirs"));
    away.go_offline();
    assert_eq!(offline.task(&id).await.unwrap().head_sha.as_deref(), Some("theirs"));
    assert_eq!(reach(&offline), (true, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_sends_what_the_first_has_left() {
    let mut away = Away::start();
    let first = away.open();
    let id = first.create(titled("t")).await.unwrap().id;
    let cursor = last_cursor(&away.direct()).await;
    away.go_offline();
    first.apply(&id, hold("later")).await.unwrap();
    let made = first.create(titled("made")).await.unwrap().id;
    let since = match first.reach() {
        Reach::Offline { since, .. } => since,
        other => panic!("{other:?}"),
    };
    drop(first);

    let second = away.open();
    match second.reach() {
        Reach::Offline {
            since: still, waiting, ..
        } => assert_eq!((still, waiting), (since, 2)),
        other => panic!("it does not know that it is offline: {other:?}"),
    }
    assert_eq!(second.task(&made).await.unwrap().title, "made");
    assert_eq!(second.task(&id).await.unwrap().hold.as_deref(), Some("later"));
    // A third one at the same time.
    let third = away.open();
    third.apply(&id, unhold()).await.unwrap();
    assert_eq!(reach(&second), (true, 3, 0));
    away.come_back();
    let (a, b) = tokio::join!(second.sync(), third.sync());
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(a.dropped.is_empty() && b.dropped.is_empty(), "{a:?} {b:?}");
    assert!(a.delivered + b.delivered >= 3, "{a:?} {b:?}");
    assert_eq!((reach(&second), reach(&third)), ((false, 0, 0), (false, 0, 0)));
    let arrived = away.direct().events(None, cursor, 500).await.unwrap();
    let order: Vec<(&TaskId, &str)> = arrived.iter().map(|e| (&e.task_id, e.kind.as_str())).collect();
    assert_eq!(
        order,
        [(&id, "held"), (&made, "created"), (&id, "unheld")],
        "once and in order"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_twin_leaves_the_first_where_it_is() {
    let mut away = Away::start();
    let offline = away.open();
    offline.status().await.unwrap();
    away.go_offline();
    let keyed = |title: &str| CreateTask {
        idempotency_key: Some("k".into()),
        ..titled(title)
    };
    let first = offline.create(keyed("first")).await.unwrap();
    let twin = offline.create(keyed("another")).await.unwrap_err();
    assert_eq!(twin.code(), ErrorCode::IdempotencyConflict);
    assert_eq!(reach(&offline), (true, 1, 0), "what was promised still waits");
    away.come_back();
    assert_eq!(offline.sync().await.unwrap().delivered, 1);
    assert_eq!(away.direct().task(&first.id).await.unwrap().title, "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_a_key_is_no_reason_to_drop_work() {
    let mut away = Away::start();
    let offline = away.open();
    let id = offline.create(titled("t")).await.unwrap().id;
    away.go_offline();
    offline.apply(&id, hold("later")).await.unwrap();
    // Somebody has revoked the key, or changed it: nobody has looked at the request.
    let keys = ["--auth", "required"];
    away.server.set_args(&[SWEEP, &keys[..]].concat());
    away.come_back();
    let code = offline.sync().await.unwrap_err().code();
    assert_eq!(code, ErrorCode::Unauthorized, "a person is told");
    let (_, waiting, dropped) = reach(&offline);
    assert_eq!((waiting, dropped), (1, 0));
    away.go_offline();
    away.server.set_args(SWEEP);
    away.come_back();
    assert_eq!(offline.sync().await.unwrap().delivered, 1);
    assert_eq!(away.direct().task(&id).await.unwrap().hold.as_deref(), Some("later"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_knows_that_work_is_approved() {
    let mut away = Away::start();
    let offline = away.open();
    let id = offline.create(titled("t")).await.unwrap().id;
    let token = take(&offline, work(LONG)).await.token;
    offline.apply(&id, submit(&token, "h1")).await.unwrap();
    let approved = offline.apply(&id, Command::Approve { by: "me".into() }).await.unwrap();
    assert_eq!(approved.awaiting.as_deref(), Some("engine"));
    away.go_offline();
    offline.apply(&id, hold("after the holidays")).await.unwrap();
    let copy = told(&offline.apply(&id, unhold()).await.unwrap());
    assert_eq!(copy["awaiting"], "engine", "the approval still stands");
    away.come_back();
    assert_eq!(offline.sync().await.unwrap().delivered, 2);
    assert_eq!(told(&away.direct().task(&id).await.unwrap()), copy);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_knows_what_a_task_waits_for() {
    let mut away = Away::start();
    let offline = away.open();
    let first = offline.create(titled("first")).await.unwrap().id;
    let waits = CreateTask {
        blocked_by: vec![first.clone()],
        ..titled("last")
    };
    let last = offline.create(waits).await.unwrap().id;
    assert_eq!(offline.show(&last).await.unwrap().blocked_by, [first.clone()]);
    away.go_offline();
    let view = offline.show(&last).await.unwrap();
    assert_eq!((view.blocked, view.task.open_blockers), (true, 1));
    assert_eq!(view.blocked_by, [first.clone()]);
    let held_by = offline.why(&last).await.unwrap().held_by.unwrap();
    assert!(held_by.contains(first.as_str()), "{held_by}");
}
