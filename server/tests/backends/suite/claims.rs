//! Claims: who gets what, what the holder may do, and how a claim ends.

use std::time::{Duration, Instant};

use octopoid_core::{
    ErrorCode,
    backend::Backend,
    engine::ClaimRequest,
    id::OrchestratorId,
    lifecycle::{Command, Failure},
    model::{AttemptKind, AttemptOutcome, CheckResult, CreateTask, Evidence, Priority, QueueName, Task, Verdict},
};

use super::{
    LONG, count, evidence, fail, free, history, hold, judge, kinds, landing, machine, refused, release, reviewing,
    submit, take, titled, usage, work,
};

pub(super) async fn the_most_urgent_task_is_claimed_first_then_the_oldest(b: &dyn Backend) {
    assert!(!free(b).await);
    assert!(b.claim(work(LONG)).await.unwrap().is_none(), "nothing is there");
    for (title, priority) in [
        ("a", Priority::P2),
        ("b", Priority::P3),
        ("c", Priority::P0),
        ("d", Priority::P2),
        ("e", Priority::P0),
        ("f", Priority::P1),
    ] {
        let request = CreateTask {
            priority: Some(priority),
            ..titled(title)
        };
        b.create(request).await.unwrap();
    }
    let stranger = ClaimRequest {
        answers_to: vec!["test".into()],
        ..work(LONG)
    };
    assert!(b.claim(stranger).await.unwrap().is_none(), "it answers to another name");
    let mut order = String::new();
    assert!(free(b).await);
    while let Some(claim) = b.claim(work(LONG)).await.unwrap() {
        order.push_str(&claim.task.title);
    }
    assert_eq!(order, "cefadb");
    assert!(!free(b).await);
}

fn by_holder(token: &str) -> Vec<Command> {
    let token = || token.to_owned();
    vec![
        Command::Begin {
            token: token(),
            base_sha: "b".into(),
        },
        Command::Renew {
            token: token(),
            lease: LONG,
        },
        Command::Progress {
            token: token(),
            note: "half".into(),
        },
        submit(&token(), "h"),
        Command::Continue {
            token: token(),
            reason: "more".into(),
            evidence: Box::new(Evidence::default()),
            usage: usage(),
        },
        Command::Ask {
            token: token(),
            question: "which?".into(),
            evidence: Box::new(Evidence::default()),
            usage: usage(),
        },
        fail(&token(), Failure::AgentExit, None),
        release(&token()),
    ]
}

pub(super) async fn a_stale_token_changes_nothing(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let first = take(b, work(LONG)).await;
    b.apply(&task.id, release(&first.token)).await.unwrap();
    let second = take(b, work(LONG)).await;
    assert_ne!(first.token, second.token);
    assert_eq!(second.task.epoch, first.task.epoch + 1);
    let before = b.task(&task.id).await.unwrap();
    for token in [first.token.as_str(), "nonsense", ""] {
        for command in by_holder(token) {
            let told = format!("{command:?}");
            assert_eq!(refused(b, &task.id, command).await, ErrorCode::StaleClaim, "{told}");
        }
    }
    assert_eq!(b.task(&task.id).await.unwrap(), before);
    let submitted = b.apply(&task.id, submit(&second.token, "h")).await.unwrap();
    assert_eq!(submitted.queue, QueueName::provisional());
    let late = refused(b, &task.id, submit(&second.token, "h2")).await;
    assert_eq!(late, ErrorCode::IllegalTransition, "it is handed in already");
}

pub(super) async fn work_is_reviewed_and_landed(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let id = &task.id;
    let claim = take(b, work(LONG)).await;
    assert_eq!((claim.task.queue.as_str(), claim.task.epoch), ("claimed", 1));
    assert_eq!(
        (claim.task.claimed_by.as_deref(), claim.task.orchestrator_id.clone()),
        (Some("ann"), Some(machine()))
    );
    let attempt = claim.attempt.clone().unwrap();
    assert_eq!((attempt.number, attempt.kind), (1, AttemptKind::Work));
    assert_eq!(attempt.token, claim.token);
    let begin = Command::Begin {
        token: claim.token.clone(),
        base_sha: "base".into(),
    };
    assert_eq!(b.apply(id, begin).await.unwrap().base_sha.as_deref(), Some("base"));
    let submitted = b.apply(id, submit(&claim.token, "h1")).await.unwrap();
    assert_eq!(
        (submitted.queue.as_str(), submitted.awaiting.as_deref()),
        ("provisional", Some("gatekeeper"))
    );
    assert_eq!(
        (submitted.head_sha.as_deref(), submitted.commits_count),
        (Some("h1"), 1)
    );
    assert_eq!((submitted.claimed_by, submitted.external), (None, false));
    assert!(b.claim(landing()).await.unwrap().is_none(), "nobody has approved it");

    let review = take(b, reviewing()).await;
    assert_eq!(
        (review.task.queue.as_str(), review.task.claim_kind),
        ("provisional", Some(AttemptKind::Review))
    );
    let wrong = judge(&review.token, Verdict::Approve, "h0", "fine");
    assert_eq!(
        refused(b, id, wrong).await,
        ErrorCode::IllegalTransition,
        "another commit"
    );
    let approve = judge(&review.token, Verdict::Approve, "h1", "fine");
    let approved = b.apply(id, approve).await.unwrap();
    assert_eq!(
        (approved.queue.as_str(), approved.awaiting.as_deref()),
        ("provisional", Some("engine"))
    );
    let verdicts = b.reviews(id).await.unwrap();
    assert_eq!(verdicts.len(), 1);
    assert_eq!(
        (verdicts[0].verdict, verdicts[0].sha.as_str()),
        (Verdict::Approve, "h1")
    );
    assert_eq!(
        (verdicts[0].by.as_str(), verdicts[0].condition.as_deref()),
        ("rita", Some("gatekeeper_review"))
    );
    assert!(b.claim(reviewing()).await.unwrap().is_none(), "it is approved already");

    let landed = take(b, landing()).await;
    assert!(landed.attempt.is_none());
    let advance = |sha: Option<&str>| Command::Advance {
        token: landed.token.clone(),
        merged_sha: sha.map(str::to_owned),
    };
    assert_eq!(refused(b, id, advance(None)).await, ErrorCode::IllegalTransition);
    let done = b.apply(id, advance(Some("m1"))).await.unwrap();
    assert_eq!((done.queue.as_str(), done.merged_sha.as_deref()), ("done", Some("m1")));
    assert_eq!((done.awaiting.clone(), done.turns_used), (None, 6));
    assert!(done.completed_at.is_some() && done.claimed_by.is_none());

    let attempts = b.attempts(id).await.unwrap();
    let ends: Vec<_> = attempts.iter().map(|a| (a.kind, a.outcome)).collect();
    assert_eq!(
        ends,
        [
            (AttemptKind::Work, Some(AttemptOutcome::Submitted)),
            (AttemptKind::Review, Some(AttemptOutcome::Approved)),
        ]
    );
    assert_eq!(attempts[0].base_sha.as_deref(), Some("base"));
    assert_eq!(attempts[0].evidence, evidence("h1"));
    assert_eq!((&attempts[0].usage, &attempts[1].usage), (&usage(), &usage()));
    for spent in [b.spent_on(id).await.unwrap(), b.spent_today().await.unwrap()] {
        assert_eq!((spent.tokens, spent.usd), (240, 0.5));
    }
    let used = b.show(id).await.unwrap().usage.unwrap();
    assert_eq!((used.input_tokens, used.output_tokens, used.turns), (200, 40, 6));
    let why = b.why(id).await.unwrap();
    assert!(why.next.contains("m1") && why.tried.len() == 2, "{why:?}");
}

pub(super) async fn work_without_evidence_is_refused(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let claim = take(b, work(LONG)).await;
    let before = b.task(&task.id).await.unwrap();
    let check = |sha: &str, passed: bool| CheckResult {
        command: "make test".into(),
        sha: sha.into(),
        passed,
        exit_code: Some(i32::from(!passed)),
        tail: String::new(),
        millis: 5,
    };
    let with = |checks: Vec<CheckResult>| Evidence {
        checks,
        ..evidence("h")
    };
    for (told, seen) in [
        ("no commit", Evidence::default()),
        (
            "nothing committed",
            Evidence {
                commits: 0,
                ..evidence("h")
            },
        ),
        ("no checks", evidence("h")),
        ("a check that failed", with(vec![check("h", true), check("h", false)])),
        ("a check of another commit", with(vec![check("h0", true)])),
    ] {
        let command = Command::Submit {
            token: claim.token.clone(),
            evidence: Box::new(seen),
            usage: usage(),
            checks_required: true,
        };
        assert_eq!(
            refused(b, &task.id, command).await,
            ErrorCode::IllegalTransition,
            "{told}"
        );
    }
    assert_eq!(b.task(&task.id).await.unwrap(), before);
    let good = Command::Submit {
        token: claim.token.clone(),
        evidence: Box::new(with(vec![check("h", true)])),
        usage: usage(),
        checks_required: true,
    };
    assert_eq!(b.apply(&task.id, good).await.unwrap().queue, QueueName::provisional());
}

pub(super) async fn the_same_token_gives_the_same_task(b: &dyn Backend) {
    for title in ["a", "b", "c"] {
        b.create(titled(title)).await.unwrap();
    }
    let request = ClaimRequest {
        token: Some("0123456789abcdef0123456789abcdef".into()),
        ..work(LONG)
    };
    let first = take(b, request.clone()).await;
    for _ in 0..3 {
        let again = take(b, request.clone()).await;
        assert_eq!((&again.task.id, again.task.epoch), (&first.task.id, 1));
        assert_eq!(
            (&again.token, &again.task.claim_token),
            (&first.token, &first.task.claim_token)
        );
        assert_eq!(again.attempt.map(|a| a.number), Some(1));
    }
    assert_eq!(kinds(&history(b, &first.task.id).await), ["created", "claimed"]);
    assert_eq!(b.claimed(&machine()).await.unwrap().len(), 1);
    assert_ne!(take(b, work(LONG)).await.task.id, first.task.id);
}

pub(super) async fn renewing_makes_the_lease_longer(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let claim = take(b, work(Duration::from_secs(60))).await;
    let (begun, until) = (claim.task.claimed_at.unwrap(), claim.task.lease_expires_at.unwrap());
    assert_eq!(until.since(begun), Duration::from_secs(60));
    let renew = Command::Renew {
        token: claim.token.clone(),
        lease: Duration::from_secs(600),
    };
    let renewed = b.apply(&task.id, renew).await.unwrap();
    assert_eq!(
        renewed.lease_expires_at.unwrap().since(renewed.updated_at),
        Duration::from_secs(600)
    );
    assert!(renewed.lease_expires_at > Some(until));
    assert_eq!((renewed.epoch, renewed.claimed_at), (1, Some(begun)));
    assert_eq!(renewed.claimed_by.as_deref(), Some("ann"));
}

pub(super) async fn releasing_costs_nothing(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let claim = take(b, work(LONG)).await;
    let free_again = b.apply(&task.id, release(&claim.token)).await.unwrap();
    assert_eq!(
        (free_again.queue.as_str(), free_again.awaiting.as_deref()),
        ("incoming", Some("implement"))
    );
    assert_eq!(
        (
            free_again.failure_count,
            free_again.transient_count,
            free_again.attempt_count
        ),
        (0, 0, 1)
    );
    assert_eq!(
        (
            free_again.claimed_by,
            free_again.lease_expires_at,
            free_again.not_before
        ),
        (None, None, None)
    );
    let attempts = b.attempts(&task.id).await.unwrap();
    assert_eq!(attempts[0].outcome, Some(AttemptOutcome::Released));
    assert_eq!(attempts[0].reason.as_deref(), Some("not now"));
    assert_eq!(take(b, work(LONG)).await.attempt.unwrap().number, 2);
}

/// Waits until nobody holds the task.
async fn until_free(b: &dyn Backend, task: &Task) -> Task {
    let begun = Instant::now();
    loop {
        // Where no server does it, whoever works with the file has to.
        b.expire().await.unwrap();
        let now = b.task(&task.id).await.unwrap();
        if now.claimed_by.is_none() {
            return now;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "the lease does not end: {now:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) async fn a_lease_that_runs_out_gives_the_task_back(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    let bystander = b.create(titled("bystander")).await.unwrap();
    let claim = take(b, work(Duration::from_millis(1500))).await;
    assert_eq!(claim.task.id, task.id);
    assert!(b.expire().await.unwrap().is_empty(), "not yet");
    let now = until_free(b, &task).await;
    assert_eq!((now.queue.as_str(), now.attempt_count), ("incoming", 1));
    let events = history(b, &task.id).await;
    assert_eq!(kinds(&events), ["created", "claimed", "requeued"]);
    let told = &events[2].details;
    assert_eq!(told["owner"], "ann", "{told}");
    assert_eq!(told["orchestrator_id"], "c-m", "{told}");
    assert!(Some(events[2].at) >= claim.task.lease_expires_at, "too early");
    assert_eq!(
        b.attempts(&task.id).await.unwrap()[0].outcome,
        Some(AttemptOutcome::Expired)
    );
    let again = take(b, work(LONG)).await;
    assert_eq!((&again.task.id, again.task.epoch), (&task.id, 2));
    let late = refused(b, &task.id, submit(&claim.token, "h")).await;
    assert_eq!(late, ErrorCode::StaleClaim);
    assert_eq!(kinds(&history(b, &bystander.id).await), ["created"]);
    assert_eq!(count(&history(b, &task.id).await, "requeued"), 1);
}

pub(super) async fn own_claims_come_with_their_tokens(b: &dyn Backend) {
    for title in ["a", "b", "c"] {
        b.create(titled(title)).await.unwrap();
    }
    let own = take(b, work(LONG)).await;
    let foreign = ClaimRequest {
        orchestrator: OrchestratorId::parse("other-machine").unwrap(),
        ..work(LONG)
    };
    let foreign = take(b, foreign).await;
    let claimed = b.claimed(&machine()).await.unwrap();
    assert_eq!(claimed.len(), 2, "whose they are is not asked");
    for task in &claimed {
        let holder = task.orchestrator_id.as_ref().map(OrchestratorId::as_str);
        if task.id == own.task.id {
            assert_eq!((holder, &task.claim_token), (Some("c-m"), &Some(own.token.clone())));
        } else {
            assert_eq!((&task.id, holder), (&foreign.task.id, Some("other-machine")));
            assert!(task.claim_token.is_some(), "that it is claimed is told");
        }
    }
    b.apply(&own.task.id, release(&own.token)).await.unwrap();
    let left = b.claimed(&machine()).await.unwrap();
    assert_eq!(left.iter().map(|t| &t.id).collect::<Vec<_>>(), [&foreign.task.id]);
}

/// PostgreSQL keeps no NUL characters in its texts; what a program printed may have some.
pub(super) async fn a_nul_character_from_an_agent_breaks_nothing(b: &dyn Backend) {
    let id = b.create(titled("t")).await.unwrap().id;
    let claim = take(b, work(LONG)).await;
    let note = Command::Progress {
        token: claim.token.clone(),
        note: "half\0way".into(),
    };
    b.apply(&id, note).await.unwrap();
    let submit = Command::Submit {
        token: claim.token,
        evidence: Box::new(Evidence {
            summary: Some("did\0it".into()),
            tail: Some("\0\0".into()),
            ..evidence("h1")
        }),
        usage: usage(),
        checks_required: false,
    };
    b.apply(&id, submit).await.unwrap();
    b.apply(&id, hold("not\0now")).await.unwrap();
    let task = b.task(&id).await.unwrap();
    assert_eq!(
        (
            task.queue.as_str(),
            task.execution_notes.as_deref(),
            task.hold.as_deref()
        ),
        ("provisional", Some("did\u{fffd}it"), Some("not\u{fffd}now"))
    );
    assert_eq!(b.attempts(&id).await.unwrap().len(), 1);
    let events = history(b, &id).await;
    assert_eq!(kinds(&events), ["created", "claimed", "progress", "submitted", "held"]);
}
