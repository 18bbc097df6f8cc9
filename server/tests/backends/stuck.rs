//! A server that has trouble with one request and is well otherwise: what waits of other tasks is sent all the same.

use std::time::{Duration, Instant};

use octopoid_core::{
    ErrorCode,
    backend::{Backend, Reach},
    lifecycle::Command,
    model::{CreateTask, EditTask, QueueName, TaskFilter},
    offline::Offline,
};

use crate::{
    proxy::Proxy,
    suite::{LONG, edit, history, hold, kinds, submit, take, titled, unhold, work},
    worlds::{Away, client, rules},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_server_cannot_take_stops_its_own_task_only() {
    let mut away = Away::start();
    let proxy = Proxy::before(away.server.url());
    let offline = away.open_at(proxy.url());
    let a = offline.create(titled("a")).await.unwrap().id;
    let b = offline.create(titled("b")).await.unwrap().id;
    let retitled = |title: &str| {
        edit(EditTask {
            title: Some(title.into()),
            ..EditTask::default()
        })
    };
    away.go_offline();
    offline.apply(&a, hold("one")).await.unwrap();
    offline.apply(&a, retitled("two")).await.unwrap();
    offline.apply(&b, hold("other")).await.unwrap();
    let c = offline.create(titled("c")).await.unwrap().id;
    away.come_back();
    proxy.fail(Some(&format!("/api/v1/tasks/{a}/commands")));

    let direct = away.direct();
    for round in 0..2 {
        let synced = offline.sync().await.unwrap();
        let delivered = if round == 0 { 2 } else { 0 };
        assert_eq!((synced.delivered, synced.waiting), (delivered, 2), "{synced:?}");
        assert!(synced.dropped.is_empty(), "nobody has refused it: {synced:?}");
        match offline.reach() {
            Reach::Online {
                waiting: 2, dropped: 0, ..
            } => {}
            other => panic!("the server is there, and two requests wait: {other:?}"),
        }
        assert_eq!(kinds(&history(&direct, &a).await), ["created"]);
        assert_eq!(direct.task(&b).await.unwrap().hold.as_deref(), Some("other"));
        assert_eq!(direct.task(&c).await.unwrap().title, "c");
    }
    // What comes later goes behind what waits of the same task, and straight to the server for any other.
    offline.apply(&a, retitled("three")).await.unwrap();
    offline.apply(&b, unhold()).await.unwrap();
    assert_eq!(kinds(&history(&direct, &a).await), ["created"]);
    assert_eq!(direct.task(&b).await.unwrap().hold, None);
    // Another process of the machine finds the same, also one that is asked to work.
    let second = away.open_at(proxy.url());
    direct.apply(&a, hold("so that nobody takes it")).await.unwrap();
    let claim = take(&second, work(LONG)).await;
    assert_eq!(claim.task.id, b);
    let submitted = second.apply(&b, submit(&claim.token, "h1")).await.unwrap();
    assert_eq!(submitted.queue, QueueName::provisional());
    assert_eq!(direct.task(&b).await.unwrap().head_sha.as_deref(), Some("h1"));

    direct.apply(&a, unhold()).await.unwrap();
    proxy.fail(None);
    let synced = offline.sync().await.unwrap();
    assert_eq!((synced.delivered, synced.waiting), (3, 0), "{synced:?}");
    assert!(synced.dropped.is_empty(), "{synced:?}");
    let events = history(&direct, &a).await;
    assert_eq!(
        kinds(&events),
        ["created", "held", "unheld", "held", "edited", "edited"]
    );
    assert_eq!(direct.task(&a).await.unwrap().title, "three");
    assert!(matches!(
        offline.reach(),
        Reach::Online {
            waiting: 0,
            dropped: 0,
            ..
        }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_task_that_is_stuck_stays_behind_it() {
    let mut away = Away::start();
    let proxy = Proxy::before(away.server.url());
    let offline = away.open_at(proxy.url());
    let known = offline.create(titled("known")).await.unwrap().id;
    let after = |title: &str, id| CreateTask {
        blocked_by: vec![id],
        ..titled(title)
    };
    away.go_offline();
    let first = offline.create(titled("first")).await.unwrap().id;
    let second = offline.create(after("second", first.clone())).await.unwrap().id;
    let third = offline.create(after("third", second.clone())).await.unwrap().id;
    let wait = edit(EditTask {
        blocked_by: Some(vec![first.clone()]),
        ..EditTask::default()
    });
    offline.apply(&known, wait).await.unwrap();
    away.come_back();
    proxy.fail(Some("\"title\":\"first\""));

    let direct = away.direct();
    let synced = offline.sync().await.unwrap();
    assert_eq!((synced.delivered, synced.waiting), (0, 4), "{synced:?}");
    assert!(synced.dropped.is_empty(), "nobody has refused anything: {synced:?}");
    let fourth = offline.create(after("fourth", second.clone())).await.unwrap().id;
    assert_eq!(direct.list(&TaskFilter::default()).await.unwrap().total, 1);

    proxy.fail(None);
    let synced = offline.sync().await.unwrap();
    assert_eq!((synced.delivered, synced.waiting), (5, 0), "{synced:?}");
    for (id, waits_for) in [
        (&second, &first),
        (&third, &second),
        (&known, &first),
        (&fourth, &second),
    ] {
        assert_eq!(direct.show(id).await.unwrap().blocked_by, [waits_for.clone()]);
    }
}

/// The copy says no to a request which the server would take. While the copy has not spoken, another process of the
/// machine does not send what may never have been asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_taken_back_was_sent_by_nobody() {
    let mut away = Away::start();
    let first = away.open();
    let id = first.create(titled("t")).await.unwrap().id;
    let cancel = Command::Cancel {
        by: "me".into(),
        reason: "no".into(),
    };
    first.apply(&id, cancel).await.unwrap();
    // Somebody else begins it again, which is not known here.
    let retry = Command::Retry { by: "you".into() };
    away.direct().apply(&id, retry).await.unwrap();
    // Another process, whose copy is not in the way of the first one's.
    let other = |away: &Away| {
        let outbox = away.place("outbox.db");
        Offline::new(client(away.server.url()), rules(), &away.place("other.db"), &outbox).unwrap()
    };
    away.go_offline();
    let slow = rusqlite::Connection::open(away.place("copy.db")).unwrap();
    slow.execute_batch("BEGIN IMMEDIATE").unwrap();
    let asked = {
        let (first, id) = (first.clone(), id.clone());
        tokio::spawn(async move { first.apply(&id, hold("later")).await })
    };
    let outbox = rusqlite::Connection::open(away.place("outbox.db")).unwrap();
    let begun = Instant::now();
    while outbox
        .query_row("SELECT count(*) FROM outbox", [], |r| r.get::<_, i64>(0))
        .unwrap()
        == 0
    {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is not written down");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    away.come_back();
    let second = other(&away);
    let synced = second.sync().await.unwrap();
    assert_eq!((synced.delivered, synced.waiting), (0, 1), "{synced:?}");
    slow.execute_batch("ROLLBACK").unwrap();
    let refused = asked.await.unwrap().unwrap_err();
    assert_eq!(refused.code(), ErrorCode::IllegalTransition, "{refused}");
    assert_eq!(second.sync().await.unwrap().delivered, 0);
    let events = history(&away.direct(), &id).await;
    assert_eq!(kinds(&events), ["created", "cancelled", "retried"]);
    assert!(matches!(
        second.reach(),
        Reach::Online {
            waiting: 0,
            dropped: 0,
            ..
        }
    ));

    // What is promised is sent by anybody.
    first.sync().await.unwrap();
    away.go_offline();
    first.apply(&id, hold("now")).await.unwrap();
    away.come_back();
    assert_eq!(other(&away).sync().await.unwrap().delivered, 1);
    assert_eq!(away.direct().task(&id).await.unwrap().hold.as_deref(), Some("now"));
}
