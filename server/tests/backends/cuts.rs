//! A cut between request and answer: what the server did is not done again, and the client gets the result.

use octopoid_core::{
    ErrorCode,
    backend::{Backend, Reach},
    engine::ClaimRequest,
    model::{QueueName, TaskFilter},
};

use crate::{
    proxy::{Proxy, stranger},
    suite::{LONG, count, history, hold, kinds, machine, submit, take, titled, work},
    worlds::{self, Away},
};

/// How often the client sends a request that may be repeated, before it tells of an outage.
const TRIES: usize = 4;

async fn total(b: &dyn Backend) -> u64 {
    b.list(&TaskFilter::default()).await.unwrap().total
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_are_asked_for_again() {
    let away = Away::start();
    let proxy = Proxy::before(away.server.url());
    let (client, direct) = (worlds::client(proxy.url()), away.direct());

    proxy.cut(2);
    let task = client.create(titled("t")).await.unwrap();
    assert_eq!(proxy.left(), 0, "the answers were not lost");
    assert_eq!(total(&direct).await, 1);
    direct.create(titled("another")).await.unwrap();

    proxy.cut(TRIES - 1);
    let claim = take(&client, work(LONG)).await;
    assert_eq!((proxy.left(), &claim.task.id), (0, &task.id));
    let claimed = direct.claimed(&machine()).await.unwrap();
    assert_eq!(claimed.len(), 1, "one claim takes one task");
    assert_eq!(claimed[0].claim_token.as_deref(), Some(claim.token.as_str()));

    proxy.cut(2);
    let submitted = client.apply(&task.id, submit(&claim.token, "h1")).await.unwrap();
    assert_eq!((proxy.left(), submitted.queue), (0, QueueName::provisional()));
    proxy.cut(1);
    client.apply(&task.id, hold("later")).await.unwrap();
    assert_eq!(proxy.left(), 0);
    let events = history(&direct, &task.id).await;
    assert_eq!(kinds(&events), ["created", "claimed", "submitted", "held"]);
    let now = direct.task(&task.id).await.unwrap();
    assert_eq!((now.version, now.attempt_count), (4, 1));

    // A question is asked again as well.
    proxy.cut(2);
    assert_eq!(client.task(&task.id).await.unwrap(), now);
    assert_eq!(proxy.left(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_never_come_are_an_outage_and_nothing_is_done_twice() {
    let away = Away::start();
    let proxy = Proxy::before(away.server.url());
    let (offline, direct) = (away.open_at(proxy.url()), away.direct());
    let is_away = || matches!(offline.reach(), Reach::Offline { .. });

    proxy.cut(TRIES);
    let task = offline.create(titled("t")).await.unwrap();
    assert_eq!(proxy.left(), 0, "it did not try often enough");
    assert!(is_away(), "it does not say that it is offline");
    assert_eq!(total(&direct).await, 1, "the server has it all the same");
    let synced = offline.sync().await.unwrap();
    assert_eq!((synced.delivered, synced.dropped.len()), (1, 0));
    assert!(!is_away());
    assert_eq!(total(&direct).await, 1);

    let claim = take(&offline, work(LONG)).await;
    proxy.cut(TRIES);
    let submitted = offline.apply(&task.id, submit(&claim.token, "h1")).await.unwrap();
    assert_eq!((submitted.queue.as_str(), is_away()), ("provisional", true));
    let there = direct.task(&task.id).await.unwrap();
    assert_eq!(there.queue, QueueName::provisional());
    let synced = offline.sync().await.unwrap();
    assert_eq!((synced.delivered, synced.dropped.len()), (1, 0), "{:?}", synced.dropped);
    assert_eq!(direct.task(&task.id).await.unwrap(), there, "nothing was done again");

    proxy.cut(TRIES);
    offline.apply(&task.id, hold("later")).await.unwrap();
    assert_eq!(offline.sync().await.unwrap().delivered, 1);
    let events = history(&direct, &task.id).await;
    assert_eq!(kinds(&events), ["created", "claimed", "submitted", "held"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_answer_never_came_can_be_asked_for_again() {
    let away = Away::start();
    let proxy = Proxy::before(away.server.url());
    let (client, direct) = (worlds::client(proxy.url()), away.direct());
    for title in ["a", "b"] {
        direct.create(titled(title)).await.unwrap();
    }
    let request = ClaimRequest {
        token: Some("0123456789abcdef0123456789abcdef".into()),
        ..work(LONG)
    };
    proxy.cut(TRIES);
    let lost = client.claim(request.clone()).await.unwrap_err();
    assert_eq!((lost.code(), proxy.left()), (ErrorCode::Offline, 0));
    let claimed = direct.claimed(&machine()).await.unwrap();
    assert_eq!(claimed.len(), 1, "the server has given it away");
    let found = take(&client, request).await;
    assert_eq!((&found.task.id, found.task.epoch), (&claimed[0].id, 1));
    assert_eq!(direct.claimed(&machine()).await.unwrap().len(), 1);
    client.apply(&found.task.id, submit(&found.token, "h1")).await.unwrap();
    let events = history(&direct, &found.task.id).await;
    assert_eq!((count(&events, "claimed"), count(&events, "submitted")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_somebody_else_is_not_the_servers_word() {
    let mut away = Away::start();
    let id = away.open().create(titled("t")).await.unwrap().id;
    away.go_offline();
    away.open().apply(&id, hold("later")).await.unwrap();
    let mut wrong = Vec::new();
    for status in ["200 OK", "403 Forbidden", "404 Not Found", "502 Bad Gateway"] {
        let _stranger = stranger(away.server.url(), status);
        let offline = away.open();
        // What it says of this is its own affair; what waits has to wait on.
        let said = offline.sync().await;
        match offline.reach() {
            Reach::Offline { waiting: 1, .. } | Reach::Online { waiting: 1, .. } => {}
            other => wrong.push(format!("{status}: {other:?}, {said:?}")),
        }
        let seen = offline.task(&id).await.map(|task| task.title);
        if seen.as_deref().ok() != Some("t") {
            wrong.push(format!("{status}: the copy is not asked: {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    away.come_back();
    assert_eq!(away.open().sync().await.unwrap().delivered, 1);
    assert_eq!(away.direct().task(&id).await.unwrap().hold.as_deref(), Some("later"));
}
