//! Roles written in Rust, run inside the real orchestrator in a real repository.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use octopoid_core::{
    git::Repo,
    lifecycle::Failure,
    model::Usage,
    orchestrator::Ended,
    prelude::*,
    queue::{InitRequest, init},
};

fn project() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().join("repo");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("README"), "x\n").unwrap();
    Repo::create(&root, "trunk", "first").unwrap();
    init(
        &root,
        &InitRequest {
            agent: Some("command".into()),
            ..InitRequest::default()
        },
    )
    .unwrap();
    for name in ["implementer", "gatekeeper"] {
        std::fs::remove_file(root.join(format!(".octopoid/agents/{name}.yaml"))).unwrap();
    }
    (dir, root)
}

#[derive(Debug, Default)]
struct Writes(AtomicUsize);

#[async_trait]
impl Role for Writes {
    fn name(&self) -> &str {
        "implement"
    }
    async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError> {
        cx.log("writing")?;
        assert!(!cx.cancelled());
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(RoleError::failed("not in the mood"));
        }
        assert!(cx.feedback.iter().any(|m| m.content.contains("not in the mood")));
        let text = format!("{} at attempt {}\n", cx.task.title, cx.attempt.number);
        std::fs::write(cx.worktree.join("result.txt"), text).map_err(|e| RoleError::failed(e.to_string()))?;
        let usage = Usage {
            turns: 3,
            cost_usd: 0.5,
            ..Usage::default()
        };
        Ok(Outcome::done("wrote it").with_usage(usage))
    }
}

#[derive(Debug)]
struct Reads;

#[async_trait]
impl Role for Reads {
    fn name(&self) -> &str {
        "gatekeeper"
    }
    async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError> {
        let text = std::fs::read_to_string(cx.worktree.join("result.txt")).unwrap_or_default();
        let verdict = if text.contains("attempt 2") {
            Verdict::Approve
        } else {
            Verdict::Reject
        };
        Ok(Outcome::verdict(verdict, "read it"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_of_ones_own_get_leases_worktrees_review_and_merge() {
    let (_dir, root) = project();
    let octopoid = Octopoid::open(&root).unwrap();
    let request = CreateTask {
        title: Some("Own role".into()),
        ..CreateTask::default()
    };
    let task = octopoid.tasks().create(request).await.unwrap();
    let orchestrator = Orchestrator::builder()
        .octopoid(octopoid.clone())
        .role(Writes::default())
        .role(Reads)
        .build()
        .unwrap();
    assert_eq!(
        Orchestrator::builder()
            .octopoid(octopoid.clone())
            .role(Reads)
            .build()
            .unwrap_err()
            .code(),
        ErrorCode::AlreadyRunning
    );
    assert_eq!(orchestrator.run_once().await.unwrap(), Ended::Clean);
    let shown = octopoid.tasks().show(&task.id).await.unwrap();
    assert_eq!(shown.task.queue, QueueName::done());
    assert_eq!(
        std::fs::read_to_string(root.join("result.txt")).unwrap(),
        "Own role at attempt 2\n"
    );
    assert_eq!((shown.usage.unwrap().cost_usd, shown.task.turns_used), (0.5, 3));
    let attempts = shown.attempts.unwrap();
    assert_eq!(attempts[0].failure.as_deref(), Some(Failure::AgentReported.as_str()));
    assert_eq!(attempts[0].reason.as_deref(), Some("not in the mood"));
    let log = root.join(format!(".octopoid/runtime/attempts/{}/1/stdout.jsonl", task.id));
    assert_eq!(std::fs::read_to_string(log).unwrap(), "writing\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_without_agents_says_so() {
    let (_dir, root) = project();
    let octopoid = Octopoid::open(&root).unwrap();
    let error = Orchestrator::builder().octopoid(octopoid).build().unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidConfig);
    assert!(error.hint().unwrap().contains("octopoid init"));
}
