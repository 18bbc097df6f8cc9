//! Properties of the one transition function: thousands of random histories, and every illegal pair.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::time::Duration;

use octopoid_core::{
    ErrorCode,
    clock::Timestamp,
    flow::{Flow, Flows},
    id::{OrchestratorId, Scope, TaskId},
    lifecycle::{AttemptChange, Change, Command, Facts, Failure, Limits, TABLE, create, matrix, transition},
    model::{
        Attempt, CheckResult, CreateTask, EditTask, Evidence, QueueKind, QueueName, Review, Role, Task, Usage, Verdict,
    },
};
use proptest::{prelude::*, test_runner::TestRunner};

/// A task with everything that a store would keep beside it.
#[derive(Debug, Clone)]
struct World {
    task: Task,
    attempt: Option<Attempt>,
    reviews: Vec<Review>,
    flow: Flow,
    limits: Limits,
    now: Timestamp,
    claims: i64,
    events: u64,
}

impl World {
    fn new(flow: &str) -> Self {
        let flow = Flows::shipped().unwrap().get(flow).unwrap().clone();
        let request = CreateTask {
            title: Some("a task".into()),
            ..CreateTask::default()
        };
        let now = Timestamp(1_000_000);
        let change = create(
            &request,
            TaskId::parse("t").unwrap(),
            Scope::parse("s").unwrap(),
            "trunk",
            &[],
            &flow,
            now,
        )
        .unwrap();
        Self {
            task: change.after,
            attempt: None,
            reviews: vec![],
            flow,
            limits: Limits::default(),
            now,
            claims: 0,
            events: 1,
        }
    }

    fn try_it(&self, command: &Command) -> Result<Change, octopoid_core::lifecycle::Refusal> {
        let facts = Facts {
            task: &self.task,
            attempt: self.attempt.as_ref(),
            reviews: &self.reviews,
            blockers: &[],
            flow: &self.flow,
            limits: &self.limits,
        };
        transition(&facts, command, self.now)
    }

    fn take(&mut self, change: Change) {
        assert_eq!(change.before_version, self.task.version);
        assert_eq!(
            change.after.version,
            self.task.version + 1,
            "each change raises the version by one"
        );
        assert!(!change.event.kind.is_empty(), "each change has an event");
        self.events += 1;
        match change.attempt {
            Some(AttemptChange::Start(attempt)) => {
                assert!(self.attempt.is_none(), "at most one live attempt");
                assert_eq!(attempt.number, self.task.attempt_count + 1);
                self.attempt = Some(*attempt);
            }
            Some(AttemptChange::Base(sha)) => self.attempt.as_mut().unwrap().base_sha = Some(sha),
            Some(AttemptChange::End { .. }) => {
                assert!(self.attempt.is_some(), "only a live attempt can end");
                self.attempt = None;
            }
            None => {}
        }
        self.reviews.extend(change.review);
        assert!(change.after.epoch >= self.task.epoch, "epochs never go back");
        assert!(change.after.attempt_count >= self.task.attempt_count);
        self.task = change.after;
        let broken = matrix::violations(&self.task);
        assert!(broken.is_empty(), "{broken:?}\n{:#?}", self.task);
        let owned_by_attempt = self
            .task
            .claim_kind
            .is_some_and(|k| k != octopoid_core::model::AttemptKind::Land);
        assert_eq!(
            self.attempt.is_some(),
            owned_by_attempt,
            "a live attempt and its claim go together"
        );
        assert_eq!(
            self.task.awaiting.is_none(),
            self.task.kind().is_terminal(),
            "somebody acts on what is not finished"
        );
    }
}

/// A command that may or may not be legal now, from two random numbers.
fn command(world: &mut World, which: u8, detail: u8) -> Command {
    let token = if detail.is_multiple_of(7) {
        "stale".to_owned()
    } else {
        world.task.claim_token.clone().unwrap_or_default()
    };
    let head = format!(
        "{:040x}",
        u64::from(detail) + u64::try_from(world.task.version).unwrap()
    );
    let green = CheckResult {
        command: "t".into(),
        sha: head.clone(),
        passed: true,
        exit_code: Some(0),
        tail: String::new(),
        millis: 1,
    };
    let evidence = Box::new(Evidence {
        head_sha: Some(head.clone()),
        commits: u64::from(detail % 3),
        checks: vec![green],
        ..Evidence::default()
    });
    let usage = Usage::default();
    let by = "somebody".to_owned();
    match which % 24 {
        0..=3 => {
            world.claims += 1;
            Command::Claim {
                agent: "a".into(),
                role: Role::implement(),
                answers_to: vec![world.task.awaiting.clone().unwrap_or_default()],
                orchestrator: OrchestratorId::parse("c-m").unwrap(),
                token: format!("token-{}", world.claims),
                lease: Duration::from_secs(300),
            }
        }
        4 => Command::Begin { token, base_sha: head },
        5 => Command::Renew {
            token,
            lease: Duration::from_secs(300),
        },
        6 | 7 => Command::Submit {
            token,
            evidence,
            usage,
            checks_required: true,
        },
        8 => Command::Judge {
            token,
            verdict: if detail.is_multiple_of(2) {
                Verdict::Approve
            } else {
                Verdict::Reject
            },
            sha: world.task.head_sha.clone().unwrap_or_default(),
            reason: "because".into(),
            evidence,
            usage,
        },
        9 => Command::Continue {
            token,
            reason: "more".into(),
            evidence,
            usage,
        },
        10 => Command::Ask {
            token,
            question: "which?".into(),
            evidence,
            usage,
        },
        11 => {
            let failure = Failure::ALL[usize::from(detail) % Failure::ALL.len()];
            Command::Fail {
                token,
                failure,
                reason: "broken".into(),
                evidence,
                usage,
                retry_at: None,
                send_to: None,
            }
        }
        12 => Command::Release {
            token,
            reason: "given back".into(),
        },
        13 => Command::Advance {
            token,
            merged_sha: (!detail.is_multiple_of(3)).then_some(head),
        },
        14 => Command::Expire,
        15 => Command::Approve { by },
        16 => Command::Reject {
            by,
            reason: "no".into(),
        },
        17 => Command::Hold {
            by,
            reason: "wait".into(),
        },
        18 => Command::Unhold { by },
        19 => Command::Cancel {
            by,
            reason: String::new(),
        },
        20 => Command::Retry { by },
        21 => Command::Requeue { by },
        22 => {
            let queues = QueueName::BUILT_IN;
            let to = QueueName::parse(queues[usize::from(detail) % queues.len()].0).unwrap();
            Command::Recover {
                by,
                to,
                reason: "by hand".into(),
                merged_sha: (detail.is_multiple_of(2)).then_some(head),
                head_sha: None,
            }
        }
        _ if detail.is_multiple_of(2) => Command::GiveUp {
            by,
            reason: "enough".into(),
        },
        _ => Command::Edit {
            by,
            edit: Box::new(EditTask {
                content: Some(format!("body {detail}")),
                ..EditTask::default()
            }),
        },
    }
}

#[test]
fn ten_thousand_random_histories_keep_the_matrix() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let steps = proptest::collection::vec((any::<u8>(), any::<u8>(), 0u32..200_000), 1..40);
    runner
        .run(&(steps, any::<bool>()), |(steps, project)| {
            let mut world = World::new(if project { "project" } else { "default" });
            for (which, detail, millis) in steps {
                world.now = world.now.plus(Duration::from_millis(u64::from(millis)));
                let command = command(&mut world, which, detail);
                let before = world.task.clone();
                match world.try_it(&command) {
                    Ok(change) => {
                        assert!(
                            command.kind().row().from.contains(&before.kind()),
                            "{command:?} from {}",
                            before.queue
                        );
                        assert_ne!(before.kind(), QueueKind::Done, "nothing leaves done");
                        world.take(change);
                    }
                    Err(refusal) => {
                        assert!(!refusal.message.is_empty() && !refusal.guard.is_empty());
                        assert_eq!(world.task, before);
                    }
                }
            }
            assert_eq!(
                u64::try_from(world.task.version).unwrap(),
                world.events,
                "one event for each version"
            );
            Ok(())
        })
        .unwrap();
}

/// A task in the given kind of queue, reached by legal commands.
fn in_kind(kind: QueueKind) -> World {
    let mut world = World::new("default");
    let step = |world: &mut World, command: Command| {
        let change = world.try_it(&command).unwrap_or_else(|r| panic!("{r:?}"));
        world.take(change);
    };
    let claim = |world: &mut World| {
        let answers_to = vec![world.task.awaiting.clone().unwrap()];
        let orchestrator = OrchestratorId::parse("c-m").unwrap();
        Command::Claim {
            agent: "a".into(),
            role: Role::implement(),
            answers_to,
            orchestrator,
            token: "token".into(),
            lease: Duration::from_secs(3),
        }
    };
    let by = || "me".to_owned();
    match kind {
        QueueKind::Waiting => {}
        QueueKind::Working => {
            let command = claim(&mut world);
            step(&mut world, command);
        }
        QueueKind::Review => {
            world = in_kind(QueueKind::Working);
            let evidence = Evidence {
                head_sha: Some("h".into()),
                commits: 1,
                ..Evidence::default()
            };
            step(
                &mut world,
                Command::Submit {
                    token: "token".into(),
                    evidence: Box::new(evidence),
                    usage: Usage::default(),
                    checks_required: false,
                },
            );
        }
        QueueKind::Attention => {
            world = in_kind(QueueKind::Working);
            step(
                &mut world,
                Command::Ask {
                    token: "token".into(),
                    question: "?".into(),
                    evidence: Box::default(),
                    usage: Usage::default(),
                },
            );
        }
        QueueKind::Done => {
            world = in_kind(QueueKind::Review);
            step(&mut world, Command::Approve { by: by() });
            let command = claim(&mut world);
            step(&mut world, command);
            step(
                &mut world,
                Command::Advance {
                    token: "token".into(),
                    merged_sha: Some("m".into()),
                },
            );
        }
        QueueKind::Failed => step(
            &mut world,
            Command::GiveUp {
                by: by(),
                reason: "x".into(),
            },
        ),
        QueueKind::Cancelled => step(
            &mut world,
            Command::Cancel {
                by: by(),
                reason: "x".into(),
            },
        ),
    }
    assert_eq!(world.task.kind(), kind);
    world
}

#[test]
fn every_illegal_pair_is_refused_with_a_reason() {
    let mut refused = 0;
    for kind in QueueKind::ALL {
        let mut world = in_kind(*kind);
        for which in 0..=255u8 {
            let command = command(&mut world, which, 1);
            if TABLE
                .iter()
                .any(|row| row.command == command.kind() && row.from.contains(kind))
            {
                continue;
            }
            let refusal = world.try_it(&command).unwrap_err();
            assert_eq!(
                (refusal.guard, refusal.code),
                ("table", ErrorCode::IllegalTransition),
                "{command:?} in {kind}"
            );
            assert!(
                refusal.message.contains(world.task.queue.as_str()),
                "{}",
                refusal.message
            );
            refused += 1;
        }
    }
    assert!(refused > 200, "{refused}");
}

#[test]
fn a_stale_token_changes_nothing() {
    for kind in [QueueKind::Working, QueueKind::Review] {
        let world = in_kind(kind);
        for token in ["", "other", "token "] {
            let refusal = world
                .try_it(&Command::Release {
                    token: token.into(),
                    reason: "r".into(),
                })
                .unwrap_err();
            assert_eq!(refusal.code, ErrorCode::StaleClaim);
        }
    }
}

#[test]
fn work_without_evidence_is_not_handed_in() {
    let world = in_kind(QueueKind::Working);
    let check = |sha: &str, passed| CheckResult {
        command: "t".into(),
        sha: sha.into(),
        passed,
        exit_code: None,
        tail: String::new(),
        millis: 0,
    };
    let good = Evidence {
        head_sha: Some("h".into()),
        commits: 1,
        checks: vec![check("h", true)],
        ..Evidence::default()
    };
    let submit = |evidence: Evidence| {
        world.try_it(&Command::Submit {
            token: "token".into(),
            evidence: Box::new(evidence),
            usage: Usage::default(),
            checks_required: true,
        })
    };
    assert!(submit(good.clone()).is_ok());
    let lacking = [
        Evidence {
            head_sha: None,
            ..good.clone()
        },
        Evidence {
            commits: 0,
            ..good.clone()
        },
        Evidence {
            checks: vec![],
            ..good.clone()
        },
        Evidence {
            checks: vec![check("h", false)],
            ..good.clone()
        },
        Evidence {
            checks: vec![check("other", true)],
            ..good.clone()
        },
    ];
    for evidence in lacking {
        assert_eq!(submit(evidence.clone()).unwrap_err().guard, "evidence", "{evidence:?}");
    }
    assert!(
        submit(Evidence {
            commits: 0,
            no_change: true,
            ..good
        })
        .is_ok(),
        "a typed statement that nothing is needed is evidence too"
    );
}

#[test]
fn done_needs_a_merged_commit() {
    let mut world = in_kind(QueueKind::Review);
    let change = world.try_it(&Command::Approve { by: "me".into() }).unwrap();
    world.take(change);
    let answers_to = vec!["engine".to_owned()];
    let orchestrator = OrchestratorId::parse("c-m").unwrap();
    let claim = Command::Claim {
        agent: "engine".into(),
        role: Role::implement(),
        answers_to,
        orchestrator,
        token: "token".into(),
        lease: Duration::from_secs(3),
    };
    let change = world.try_it(&claim).unwrap();
    world.take(change);
    assert_eq!(
        world
            .try_it(&Command::Advance {
                token: "token".into(),
                merged_sha: None
            })
            .unwrap_err()
            .guard,
        "merged"
    );
    assert_eq!(
        world
            .try_it(&Command::Cancel {
                by: "me".into(),
                reason: String::new()
            })
            .unwrap_err()
            .guard,
        "landing"
    );
}

#[test]
fn a_verdict_on_another_commit_does_not_count() {
    let mut world = in_kind(QueueKind::Review);
    let answers_to = vec!["gatekeeper".to_owned()];
    let orchestrator = OrchestratorId::parse("c-m").unwrap();
    let claim = Command::Claim {
        agent: "g".into(),
        role: Role::implement(),
        answers_to,
        orchestrator,
        token: "token".into(),
        lease: Duration::from_secs(3),
    };
    let change = world.try_it(&claim).unwrap();
    world.take(change);
    let judge = |sha: &str| Command::Judge {
        token: "token".into(),
        verdict: Verdict::Approve,
        sha: sha.into(),
        reason: String::new(),
        evidence: Box::default(),
        usage: Usage::default(),
    };
    assert_eq!(world.try_it(&judge("another")).unwrap_err().guard, "same_commit");
    assert!(world.try_it(&judge("h")).is_ok());
}
