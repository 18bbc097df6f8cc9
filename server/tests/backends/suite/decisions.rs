//! What reviewers, persons and troubles do to a task, and what the status says of it.

use std::time::{Duration, Instant};

use octopoid_core::{
    ErrorCode,
    backend::{Backend, Heartbeat},
    clock::Timestamp,
    engine::{Claim, ClaimRequest},
    id::TaskId,
    lifecycle::{Command, Failure},
    model::{AttemptOutcome, Evidence, QueueName, Role, Task, Verdict},
};

use super::{
    LONG, count, fail, free, history, hold, judge, kinds, landing, refused, release, reviewing, submit, take, titled,
    unhold, usage, work,
};

fn retry() -> Command {
    Command::Retry { by: "me".into() }
}

fn recover(to: QueueName, reason: &str, merged: Option<&str>, head: Option<&str>) -> Command {
    Command::Recover {
        by: "me".into(),
        to,
        reason: reason.into(),
        merged_sha: merged.map(str::to_owned),
        head_sha: head.map(str::to_owned),
    }
}

/// Where the task is, and what brought it to a person.
fn place(task: &Task) -> (&str, Option<&str>) {
    (task.queue.as_str(), task.attention.as_deref())
}

pub(super) async fn a_rejection_sends_back_with_its_reason(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let id = &task.id;
    for n in 1..=3_i64 {
        let claim = take(b, work(LONG)).await;
        let sha = format!("h{n}");
        b.apply(id, submit(&claim.token, &sha)).await.unwrap();
        let review = take(b, reviewing()).await;
        let silent = judge(&review.token, Verdict::Reject, &sha, " ");
        assert_eq!(refused(b, id, silent).await, ErrorCode::InvalidArgument, "no reason");
        let reject = judge(&review.token, Verdict::Reject, &sha, &format!("no {n}"));
        let back = b.apply(id, reject).await.unwrap();
        assert_eq!(back.rejection_count, n);
        if n < 3 {
            assert_eq!(place(&back), ("incoming", None));
            assert_eq!(back.awaiting.as_deref(), Some("implement"));
        } else {
            assert_eq!(place(&back), ("needs_attention", Some("rejected")));
            assert_eq!(back.awaiting.as_deref(), Some("human"));
        }
    }
    let thread = b.messages(id).await.unwrap();
    let told: Vec<_> = thread
        .iter()
        .map(|m| (m.kind.as_str(), m.from.as_str(), m.content.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("rejection", "rita", "no 1"),
            ("rejection", "rita", "no 2"),
            ("rejection", "rita", "no 3"),
        ]
    );
    let verdicts = b.reviews(id).await.unwrap();
    assert!(verdicts.iter().all(|v| v.verdict == Verdict::Reject) && verdicts.len() == 3);
    assert!(b.why(id).await.unwrap().last_error.unwrap().contains("no 3"));
    let fresh = b.apply(id, retry()).await.unwrap();
    assert_eq!((place(&fresh), fresh.rejection_count), (("incoming", None), 0));

    // A person says no, in the same words for the next attempt.
    let claim = take(b, work(LONG)).await;
    b.apply(id, submit(&claim.token, "h4")).await.unwrap();
    let no = Command::Reject {
        by: "me".into(),
        reason: "no 4".into(),
    };
    assert_eq!(place(&b.apply(id, no).await.unwrap()), ("incoming", None));
    let thread = b.messages(id).await.unwrap();
    let last = thread.last().unwrap();
    assert_eq!((last.from.as_str(), last.content.as_str()), ("me", "no 4"));
}

pub(super) async fn work_goes_on_where_it_stopped_and_not_for_ever(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let request = ClaimRequest {
        queues: vec![QueueName::parse("needs_continuation").unwrap(), QueueName::incoming()],
        ..work(LONG)
    };
    for n in 1..=3_i64 {
        let claim = take(b, request.clone()).await;
        let more = Command::Continue {
            token: claim.token,
            reason: "out of turns".into(),
            evidence: Box::new(Evidence::default()),
            usage: usage(),
        };
        let now = b.apply(&task.id, more).await.unwrap();
        assert_eq!(now.continuation_count, n);
        if n < 3 {
            assert_eq!(place(&now), ("needs_continuation", None));
        } else {
            assert_eq!(place(&now), ("needs_attention", Some("too_many_continuations")));
        }
    }
    let attempts = b.attempts(&task.id).await.unwrap();
    assert_eq!(attempts.len(), 3);
    assert!(attempts.iter().all(|a| a.outcome == Some(AttemptOutcome::Continued)));
    assert!(b.claim(request).await.unwrap().is_none());
}

pub(super) async fn a_question_waits_for_a_person(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let claim = take(b, work(LONG)).await;
    let ask = Command::Ask {
        token: claim.token,
        question: "red or blue?".into(),
        evidence: Box::new(Evidence::default()),
        usage: usage(),
    };
    let asked = b.apply(&task.id, ask).await.unwrap();
    assert_eq!(place(&asked), ("needs_attention", Some("question")));
    assert_eq!(asked.failure_count, 0, "to ask is no failure");
    let thread = b.messages(&task.id).await.unwrap();
    assert_eq!(
        (
            thread[0].kind.as_str(),
            thread[0].from.as_str(),
            thread[0].content.as_str()
        ),
        ("question", "ann", "red or blue?")
    );
    let view = b.show(&task.id).await.unwrap();
    assert_eq!(view.thread.unwrap(), thread);
    assert!(!free(b).await);
    let requeue = Command::Requeue { by: "me".into() };
    assert_eq!(place(&b.apply(&task.id, requeue).await.unwrap()), ("incoming", None));
    assert!(free(b).await);
}

/// Waits until work is free, and claims it.
async fn in_time(b: &dyn Backend) -> Claim {
    let begun = Instant::now();
    loop {
        if let Some(claim) = b.claim(work(LONG)).await.unwrap() {
            return claim;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it is never tried again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) async fn a_passing_trouble_is_tried_again_later(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let id = &task.id;
    assert_eq!(b.next_retry().await.unwrap(), None);
    let claim = take(b, work(LONG)).await;
    let paused = b.apply(id, fail(&claim.token, Failure::Remote, None)).await.unwrap();
    assert_eq!(place(&paused), ("incoming", None));
    assert_eq!((paused.transient_count, paused.failure_count), (1, 0));
    assert_eq!(paused.not_before, Some(paused.updated_at.plus(Duration::from_secs(1))));

    let again = in_time(b).await;
    assert!(again.task.claimed_at >= paused.not_before, "before its time");
    assert_eq!(again.task.not_before, None);
    // A cause that says when it passes.
    let at = Timestamp(again.task.updated_at.0 + 4_000);
    let paused = b
        .apply(id, fail(&again.token, Failure::Remote, Some(at)))
        .await
        .unwrap();
    assert_eq!((paused.not_before, paused.transient_count), (Some(at), 2));
    assert_eq!(b.next_retry().await.unwrap(), Some(at));
    assert_eq!(b.next_deadline().await.unwrap(), Some(at));
    assert!(!free(b).await);
    assert!(b.claim(work(LONG)).await.unwrap().is_none(), "it is not time yet");
    let held_by = b.why(id).await.unwrap().held_by.unwrap();
    assert!(held_by.contains(&at.to_string()), "{held_by}");
    let third = in_time(b).await;
    assert!(third.task.claimed_at >= Some(at), "before its time");
    let attempts = b.attempts(id).await.unwrap();
    assert_eq!(attempts[0].failure.as_deref(), Some("remote"));
    assert_eq!(third.attempt.unwrap().number, 3);
}

pub(super) async fn the_fault_of_the_work_counts_and_nobodys_does_not(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let id = &task.id;
    let claim = take(b, work(LONG)).await;
    let paused = b
        .apply(id, fail(&claim.token, Failure::UsageLimit, None))
        .await
        .unwrap();
    assert_eq!(place(&paused), ("incoming", None));
    assert_eq!(
        (paused.failure_count, paused.transient_count, paused.not_before),
        (0, 0, None)
    );
    assert_eq!(
        b.attempts(id).await.unwrap()[0].outcome,
        Some(AttemptOutcome::Released),
        "it pays nothing"
    );
    for n in 1..=3_i64 {
        let claim = take(b, work(LONG)).await;
        let now = b.apply(id, fail(&claim.token, Failure::AgentExit, None)).await.unwrap();
        assert_eq!(now.failure_count, n);
        if n < 3 {
            assert_eq!(place(&now), ("incoming", None));
        } else {
            assert_eq!(place(&now), ("needs_attention", Some("agent_exit")));
        }
    }
    let thread = b.messages(id).await.unwrap();
    assert_eq!(thread.iter().filter(|m| m.kind == "failure").count(), 3);
    assert!(
        thread.iter().all(|m| m.content == "because of agent_exit"),
        "{thread:?}"
    );
    let why = b.why(id).await.unwrap();
    assert_eq!(why.last_error.as_deref(), Some("agent_exit: because of agent_exit"));
    assert_eq!(why.tried.len(), 4);
    let fresh = b.apply(id, retry()).await.unwrap();
    assert_eq!((place(&fresh), fresh.failure_count), (("incoming", None), 0));
}

pub(super) async fn a_hold_lasts_until_it_is_lifted(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let held = b.apply(&task.id, hold("after the holidays")).await.unwrap();
    assert_eq!(held.hold.as_deref(), Some("after the holidays"));
    assert!(!free(b).await && b.claim(work(LONG)).await.unwrap().is_none());
    let why = b.why(&task.id).await.unwrap().held_by.unwrap();
    assert!(why.contains("after the holidays"), "{why}");
    assert_eq!(b.apply(&task.id, unhold()).await.unwrap().hold, None);
    assert_eq!(
        refused(b, &task.id, unhold()).await,
        ErrorCode::IllegalTransition,
        "it is on hold no more"
    );
    // Who works already may end his work.
    let claim = take(b, work(LONG)).await;
    b.apply(&task.id, hold("wait")).await.unwrap();
    let submitted = b.apply(&task.id, submit(&claim.token, "h")).await.unwrap();
    assert_eq!(
        (submitted.queue.as_str(), submitted.hold.as_deref()),
        ("provisional", Some("wait"))
    );
    assert!(b.claim(reviewing()).await.unwrap().is_none());
    b.apply(&task.id, unhold()).await.unwrap();
    assert_eq!(take(b, reviewing()).await.task.id, task.id);
}

pub(super) async fn a_person_ends_and_begins_again(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let id = &task.id;
    let cancel = || Command::Cancel {
        by: "me".into(),
        reason: "not wanted".into(),
    };
    let claim = take(b, work(LONG)).await;
    let ended = b.apply(id, cancel()).await.unwrap();
    assert_eq!(place(&ended), ("cancelled", None));
    assert!(ended.completed_at.is_some() && ended.claimed_by.is_none());
    for command in [cancel(), hold("x"), submit(&claim.token, "h"), release(&claim.token)] {
        let told = format!("{command:?}");
        assert_eq!(refused(b, id, command).await, ErrorCode::IllegalTransition, "{told}");
    }
    let again = b.apply(id, retry()).await.unwrap();
    assert_eq!((place(&again), again.completed_at), (("incoming", None), None));
    assert_eq!(
        refused(b, id, retry()).await,
        ErrorCode::IllegalTransition,
        "nothing ended"
    );

    let claim = take(b, work(LONG)).await;
    let requeue = Command::Requeue { by: "me".into() };
    assert_eq!(place(&b.apply(id, requeue).await.unwrap()), ("incoming", None));
    let second = take(b, work(LONG)).await;
    let late = refused(b, id, submit(&claim.token, "h")).await;
    assert_eq!(late, ErrorCode::StaleClaim, "somebody else has it");
    let give_up = Command::GiveUp {
        by: "me".into(),
        reason: "cannot be done".into(),
    };
    let failed = b.apply(id, give_up).await.unwrap();
    assert_eq!(place(&failed), ("failed", Some("agent_reported")));
    let late = refused(b, id, submit(&second.token, "h")).await;
    assert_eq!(late, ErrorCode::IllegalTransition);
    let ends: Vec<_> = b.attempts(id).await.unwrap().iter().map(|a| a.outcome).collect();
    assert_eq!(ends, [Some(AttemptOutcome::Superseded); 3]);
    let expected = [
        "created",
        "claimed",
        "cancelled",
        "retried",
        "claimed",
        "requeued",
        "claimed",
        "failed",
    ];
    assert_eq!(kinds(&history(b, id).await), expected);
}

pub(super) async fn a_person_recovers_what_is_stuck(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let id = &task.id;
    let (done, review) = (QueueName::done(), QueueName::provisional());
    for (code, command) in [
        (
            ErrorCode::InvalidArgument,
            recover(QueueName::incoming(), " ", None, None),
        ),
        (ErrorCode::IllegalTransition, recover(done.clone(), "r", None, None)),
        (ErrorCode::IllegalTransition, recover(review.clone(), "r", None, None)),
        (
            ErrorCode::IllegalTransition,
            recover(QueueName::claimed(), "r", None, None),
        ),
        (
            ErrorCode::InvalidArgument,
            recover(QueueName::parse("nowhere").unwrap(), "r", None, None),
        ),
    ] {
        let told = format!("{command:?}");
        assert_eq!(refused(b, id, command).await, code, "{told}");
    }
    assert_eq!(b.task(id).await.unwrap(), task, "what is refused changes nothing");
    let handed_in = b.apply(id, recover(review, "by hand", None, Some("h1"))).await.unwrap();
    assert_eq!(
        (handed_in.queue.as_str(), handed_in.head_sha.as_deref()),
        ("provisional", Some("h1"))
    );
    assert_eq!(handed_in.awaiting.as_deref(), Some("gatekeeper"));
    b.apply(id, Command::Approve { by: "me".into() }).await.unwrap();
    let twice = refused(b, id, Command::Approve { by: "me".into() }).await;
    assert_eq!(twice, ErrorCode::IllegalTransition, "approved already");
    let landed = take(b, landing()).await;
    let cancel = Command::Cancel {
        by: "me".into(),
        reason: String::new(),
    };
    assert_eq!(
        refused(b, id, cancel).await,
        ErrorCode::IllegalTransition,
        "it is being merged"
    );
    b.apply(id, release(&landed.token)).await.unwrap();
    let merged = b
        .apply(id, recover(done, "merged by hand", Some("m1"), None))
        .await
        .unwrap();
    assert_eq!(
        (merged.queue.as_str(), merged.merged_sha.as_deref()),
        ("done", Some("m1"))
    );
    for command in [hold("x"), retry(), recover(QueueName::incoming(), "r", None, None)] {
        let told = format!("{command:?}");
        assert_eq!(
            refused(b, id, command).await,
            ErrorCode::IllegalTransition,
            "done is done: {told}"
        );
    }
    assert_eq!(count(&history(b, id).await, "recovered"), 2);
}

fn ids(tasks: &[Task]) -> Vec<&TaskId> {
    tasks.iter().map(|task| &task.id).collect()
}

pub(super) async fn the_status_counts_and_names(b: &dyn Backend) {
    let empty = b.status().await.unwrap();
    assert!(empty.queues.is_empty() && empty.running.is_empty());
    let mut made = Vec::new();
    for title in ["running", "asked", "handed in", "waiting", "waiting too"] {
        made.push(b.create(titled(title)).await.unwrap());
    }
    let mut tokens = Vec::new();
    for task in &made[..3] {
        let claim = take(b, work(LONG)).await;
        assert_eq!(claim.task.id, task.id);
        tokens.push(claim.token);
    }
    let ask = Command::Ask {
        token: tokens[1].clone(),
        question: "which?".into(),
        evidence: Box::new(Evidence::default()),
        usage: usage(),
    };
    b.apply(&made[1].id, ask).await.unwrap();
    b.apply(&made[2].id, submit(&tokens[2], "h")).await.unwrap();

    let status = b.status().await.unwrap();
    let counts: Vec<_> = status.queues.iter().map(|c| (c.queue.as_str(), c.count)).collect();
    let expected = [
        ("incoming", 2),
        ("claimed", 1),
        ("provisional", 1),
        ("needs_attention", 1),
    ];
    assert_eq!(counts, expected, "in the order of a task's life");
    assert_eq!(ids(&status.running), [&made[0].id]);
    assert_eq!(ids(&status.attention), [&made[1].id]);
    assert_eq!(ids(&status.review), [&made[2].id]);
    assert_eq!(status.running[0].claimed_by.as_deref(), Some("ann"));

    let review = take(b, reviewing()).await;
    let status = b.status().await.unwrap();
    assert_eq!(status.running.len(), 2);
    assert!(status.review.is_empty(), "it is under review already");
    b.apply(&made[2].id, release(&review.token)).await.unwrap();
    assert_eq!(b.status().await.unwrap().review.len(), 1);
}

pub(super) async fn a_heartbeat_changes_no_rule(b: &dyn Backend) {
    let beat = Heartbeat {
        cluster: "c".into(),
        machine_id: "m".into(),
        repo_url: "https://example.org/r.git".into(),
        roles: vec![Role::implement(), Role::parse("gatekeeper").unwrap()],
    };
    for _ in 0..2 {
        assert!(b.heartbeat(&beat).await.unwrap());
    }
    let task = b.create(titled("t")).await.unwrap();
    assert_eq!((task.branch.as_str(), task.flow.as_str()), ("trunk", "default"));
    let claim = take(b, work(LONG)).await;
    let submitted = b.apply(&task.id, submit(&claim.token, "h1")).await.unwrap();
    assert_eq!(
        (submitted.queue.as_str(), submitted.awaiting.as_deref()),
        ("provisional", Some("gatekeeper")),
        "a registered flow is the same flow"
    );
    let review = take(b, reviewing()).await;
    let approve = judge(&review.token, Verdict::Approve, "h1", "fine");
    assert_eq!(
        b.apply(&task.id, approve).await.unwrap().awaiting.as_deref(),
        Some("engine")
    );
    let landed = take(b, landing()).await;
    let advance = Command::Advance {
        token: landed.token,
        merged_sha: Some("m1".into()),
    };
    assert_eq!(b.apply(&task.id, advance).await.unwrap().queue, QueueName::done());
}
