//! Roles that are code of the caller's own, run by the real orchestrator in real repositories that nobody set up.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unreachable,
    reason = "tests fail by panicking"
)]

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use octopoid_core::{git::Repo, model::Attempt, orchestrator::Stop, prelude::*};

/// What a role does when it has its turn.
#[derive(Debug, Clone, Copy)]
enum Does {
    Writes,
    Approves,
    Panics,
    Raises,
    NeverEnds,
    WaitsForTheSignal,
}

#[derive(Debug)]
struct Own(&'static str, Does);

#[async_trait]
impl Role for Own {
    fn name(&self) -> &str {
        self.0
    }

    async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError> {
        match self.1 {
            Does::Writes => {
                fs::write(cx.worktree.join("made.txt"), &cx.task.title).unwrap();
                Ok(Outcome::done("made it"))
            }
            Does::Approves => {
                assert!(cx.is_review());
                assert!(cx.worktree.join("made.txt").exists());
                Ok(Outcome::verdict(Verdict::Approve, "looks right"))
            }
            Does::Panics => panic!("the floor is wet"),
            Does::Raises => Err(RoleError::raised("KeyError: 'x'", "line 1\nline 2\nKeyError: 'x'")),
            Does::NeverEnds => loop {
                tokio::time::sleep(Duration::from_secs(3600)).await;
            },
            Does::WaitsForTheSignal => {
                let mut told = cx.cancellation();
                told.wait_for(|stop| *stop).await.unwrap();
                assert!(cx.cancelled());
                Err(RoleError::failed("told to end"))
            }
        }
    }
}

fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    Repo::create(folder.path(), "trunk", "first").unwrap();
    folder
}

fn limited(folder: &Path, limits: &str) {
    fs::create_dir_all(folder.join(".octopoid")).unwrap();
    fs::write(
        folder.join(".octopoid/config.yaml"),
        format!("mode: local\nlimits: {{{limits}}}\n"),
    )
    .unwrap();
}

async fn created(octopoid: &Octopoid) -> TaskId {
    let wanted = CreateTask {
        title: Some("a title".into()),
        ..CreateTask::default()
    };
    octopoid.tasks().create(wanted).await.unwrap().id
}

async fn ran_once(folder: &Path, roles: Vec<Own>) -> (Task, Vec<Attempt>) {
    let octopoid = Octopoid::local(folder).unwrap();
    let id = created(&octopoid).await;
    let mut builder = Orchestrator::builder().octopoid(octopoid.clone()).repo(folder);
    for role in roles {
        builder = builder.role(role);
    }
    builder.build().unwrap().run_once().await.unwrap();
    let attempts = octopoid.tasks().attempts(&id).await.unwrap();
    (octopoid.tasks().get(&id).await.unwrap(), attempts)
}

#[tokio::test(flavor = "multi_thread")]
async fn work_and_review_end_in_a_merged_commit() {
    let folder = repository();
    let roles = vec![Own("implement", Does::Writes), Own("gatekeeper", Does::Approves)];
    let (task, attempts) = ran_once(folder.path(), roles).await;
    assert_eq!(task.queue, QueueName::done(), "{attempts:#?}");
    let repo = Repo::at(folder.path()).unwrap();
    let tip = repo.branch_tip("trunk").unwrap().unwrap();
    assert_eq!(task.merged_sha.as_deref(), Some(tip.as_str()));
    assert_eq!(fs::read_to_string(folder.path().join("made.txt")).unwrap(), "a title");
    assert!(
        repo.is_clean(folder.path()).unwrap(),
        "git sees nothing of ours in the checkout"
    );
    assert!(
        !folder.path().join(".octopoid/config.yaml").exists(),
        "nobody set it up"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_elsewhere_serves_a_repository() {
    let (folder, store) = (repository(), tempfile::tempdir().unwrap());
    let octopoid = Octopoid::local(store.path().join("queue")).unwrap();
    let id = created(&octopoid).await;
    // The store knows no branch of the repository; whoever creates the task names it.
    let edit = EditTask {
        branch: Some("trunk".into()),
        ..EditTask::default()
    };
    octopoid.tasks().edit(&id, "me", edit).await.unwrap();
    let built = Orchestrator::builder()
        .octopoid(octopoid.clone())
        .repo(folder.path())
        .role(Own("implement", Does::Writes))
        .build();
    built.unwrap().run_once().await.unwrap();
    assert_eq!(octopoid.tasks().get(&id).await.unwrap().queue, QueueName::provisional());
    assert!(
        !folder.path().join(".octopoid/state.db").exists(),
        "its queue is not here"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_add_to_a_store_elsewhere_is_seen_at_once() {
    let (folder, store) = (repository(), tempfile::tempdir().unwrap());
    let built = Orchestrator::builder()
        .octopoid(Octopoid::local(store.path()).unwrap())
        .repo(folder.path())
        .role(Own("implement", Does::Writes))
        .tick_seconds(3600.0)
        .build();
    let (stop, told) = tokio::sync::watch::channel(Stop::No);
    let running = tokio::spawn(built.unwrap().run(false, told));
    // Its first look at the queue finds nothing.
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Another handle knows as little of the first as another process does.
    let other = Octopoid::local(store.path()).unwrap();
    let wanted = CreateTask {
        title: Some("a title".into()),
        branch: Some("trunk".into()),
        ..CreateTask::default()
    };
    let id = other.tasks().create(wanted).await.unwrap().id;
    let begun = std::time::Instant::now();
    while other.tasks().get(&id).await.unwrap().queue != QueueName::provisional() {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody looked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.send_replace(Stop::WithAgents);
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failed_attempt() {
    let folder = repository();
    limited(folder.path(), "attempts: 1");
    let (task, attempts) = ran_once(folder.path(), vec![Own("implement", Does::Panics)]).await;
    assert_eq!(task.queue, QueueName::needs_attention());
    let said = serde_json::to_string(&attempts).unwrap();
    assert!(
        said.contains("the floor is wet") && said.contains("agent_exit"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traceback_is_kept_as_evidence() {
    let folder = repository();
    limited(folder.path(), "attempts: 1");
    let (task, attempts) = ran_once(folder.path(), vec![Own("implement", Does::Raises)]).await;
    assert_eq!(task.queue, QueueName::needs_attention());
    let tail = attempts[0].evidence.tail.as_deref().unwrap_or_default();
    assert_eq!(tail, "line 1\nline 2\nKeyError: 'x'");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_never_ends_is_ended() {
    let folder = repository();
    limited(folder.path(), "attempts: 1, wall_minutes: 0.005");
    let (task, attempts) = ran_once(folder.path(), vec![Own("implement", Does::NeverEnds)]).await;
    assert_eq!(task.queue, QueueName::needs_attention());
    let said = serde_json::to_string(&attempts).unwrap();
    assert!(said.contains("timeout_wall"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_tells_its_role() {
    let folder = repository();
    let octopoid = Octopoid::local(folder.path()).unwrap();
    let id = created(&octopoid).await;
    let built = Orchestrator::builder()
        .octopoid(octopoid.clone())
        .repo(folder.path())
        .role(Own("implement", Does::WaitsForTheSignal))
        .build();
    let running = tokio::spawn(built.unwrap().run_once());
    while octopoid.tasks().get(&id).await.unwrap().queue != QueueName::claimed() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    octopoid.tasks().cancel(&id, "me", "not needed").await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(octopoid.tasks().get(&id).await.unwrap().queue.as_str(), "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_role_has_stopped_before_the_next_attempt_begins() {
    static AT_WORK: AtomicUsize = AtomicUsize::new(0);
    #[derive(Debug)]
    struct Late;
    #[async_trait]
    impl Role for Late {
        fn name(&self) -> &str {
            "implement"
        }
        async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError> {
            assert_eq!(AT_WORK.fetch_add(1, Ordering::SeqCst), 0, "two at once in one worktree");
            cx.cancellation().wait_for(|stop| *stop).await.unwrap();
            tokio::time::sleep(Duration::from_millis(700)).await;
            AT_WORK.fetch_sub(1, Ordering::SeqCst);
            Ok(Outcome::done("too late"))
        }
    }
    let folder = repository();
    limited(folder.path(), "attempts: 2, wall_minutes: 0.005");
    let octopoid = Octopoid::local(folder.path()).unwrap();
    let id = created(&octopoid).await;
    let built = Orchestrator::builder()
        .octopoid(octopoid.clone())
        .repo(folder.path())
        .role(Late)
        .build();
    built.unwrap().run_once().await.unwrap();
    let attempts = octopoid.tasks().attempts(&id).await.unwrap();
    assert_eq!(attempts.len(), 2);
    let said = serde_json::to_string(&attempts).unwrap();
    assert_eq!(said.matches("timeout_wall").count(), 2, "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attempt_begins_where_a_thread_that_was_given_up_still_works() {
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    #[derive(Debug)]
    struct Deaf(std::sync::Mutex<Option<std::sync::mpsc::Receiver<()>>>);
    #[async_trait]
    impl Role for Deaf {
        fn name(&self) -> &str {
            "implement"
        }
        async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError> {
            BEGUN.fetch_add(1, Ordering::SeqCst);
            let until = self.0.lock().unwrap().take();
            let Some(until) = until else {
                fs::write(cx.worktree.join("made.txt"), "made").unwrap();
                return Ok(Outcome::done("made it"));
            };
            let at_work = cx.at_work();
            std::thread::spawn(move || {
                let _ = until.recv();
                drop(at_work);
            });
            std::future::pending().await
        }
    }
    let folder = repository();
    limited(folder.path(), "attempts: 2, wall_minutes: 0.005");
    let octopoid = Octopoid::local(folder.path()).unwrap();
    let id = created(&octopoid).await;
    let (let_go, until) = std::sync::mpsc::channel();
    let built = Orchestrator::builder()
        .octopoid(octopoid.clone())
        .repo(folder.path())
        .role(Deaf(std::sync::Mutex::new(Some(until))))
        .build();
    let running = tokio::spawn(built.unwrap().run_once());
    let said = async || serde_json::to_string(&octopoid.tasks().attempts(&id).await.unwrap()).unwrap();
    while !said().await.contains("repository_busy") {
        assert!(!running.is_finished(), "{}", said().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(BEGUN.load(Ordering::SeqCst), 1, "the thread is still in the worktree");
    let_go.send(()).unwrap();
    running.await.unwrap().unwrap();
    let said = said().await;
    assert!(
        said.contains("timeout_wall") && said.contains("still at work in"),
        "{said}"
    );
    let task = octopoid.tasks().get(&id).await.unwrap();
    assert_eq!(task.queue, QueueName::provisional(), "{said}");
    assert_eq!(BEGUN.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_roles_of_one_name_are_refused() {
    let folder = repository();
    let octopoid = Octopoid::local(folder.path()).unwrap();
    let twice = Orchestrator::builder()
        .octopoid(octopoid)
        .role(Own("implement", Does::Writes))
        .role(Own("implement", Does::Panics))
        .build();
    assert!(
        twice
            .unwrap_err()
            .to_string()
            .contains("two roles are called implement")
    );
}

#[test]
fn no_key_is_printed_for_debugging() {
    let key = format!("oct_{}", "a".repeat(64));
    let connect = Octopoid::connect("http://ann:secret@127.0.0.1:1")
        .api_key(&key)
        .scope("s");
    let shown = format!("{connect:?} {:?}", connect.clone().build().unwrap());
    assert!(!shown.contains("aaaa") && !shown.contains("secret"), "{shown}");
    let bad = Octopoid::connect("http://127.0.0.1:1")
        .api_key("two\nlines")
        .build()
        .unwrap_err();
    assert!(
        !bad.to_string().contains("lines") && bad.to_string().contains("API key"),
        "{bad}"
    );
}

#[test]
fn outcomes_of_other_languages_are_read_strictly() {
    let read = |value: serde_json::Value| Outcome::from_value(&value);
    let good = read(serde_json::json!({ "outcome": "done", "summary": "s", "usage": { "turns": 2 } })).unwrap();
    assert_eq!(good.reading.usage.turns, 2);
    let verdict = read(serde_json::json!({ "verdict": "reject", "reason": "because" })).unwrap();
    assert_eq!(
        (verdict.reading.verdict, verdict.reading.summary.as_deref()),
        (Some(Verdict::Reject), Some("because"))
    );
    for (bad, says) in [
        (serde_json::json!(null), "nothing"),
        (serde_json::json!("done"), "a text"),
        (serde_json::json!({}), "neither"),
        (serde_json::json!({ "outcome": "finished" }), "finished"),
        (serde_json::json!({ "outcome": 3 }), "no text"),
        (serde_json::json!({ "verdict": "approved" }), "approved"),
        (serde_json::json!({ "outcome": "done", "speed": 1 }), "speed"),
    ] {
        let error = read(bad.clone()).unwrap_err();
        assert!(error.to_string().contains(says), "{bad}: {error}");
        assert!(error.hint().is_some_and(|h| h.contains("outcome")));
    }
}
