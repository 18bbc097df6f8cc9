//! Creating, reading, listing, editing and deleting; dependencies; keys; the feed.

use octopoid_core::{
    Error, ErrorCode,
    backend::Backend,
    engine::TaskView,
    id::TaskId,
    lifecycle::Command,
    model::{Complexity, CreateTask, EditTask, Priority, QueueName, Role, Sort, Task, TaskFilter, Usage},
};

use super::{LONG, count, edit, finish, free, history, hold, kinds, refused, release, submit, take, titled, work};

fn code<T: std::fmt::Debug>(answer: Result<T, Error>) -> ErrorCode {
    match answer {
        Ok(value) => panic!("not refused: {value:?}"),
        Err(error) => error.code(),
    }
}

fn role(name: &str) -> Role {
    Role::parse(name).unwrap()
}

/// The titles of a list, in its order.
async fn titles(b: &dyn Backend, filter: TaskFilter) -> String {
    let page = b.list(&filter).await.unwrap();
    page.tasks.iter().map(|task| task.title.as_str()).collect()
}

pub(super) async fn a_task_is_created_shown_edited_and_deleted(b: &dyn Backend) {
    let request = CreateTask {
        content: Some("# do it\nwell ✓".into()),
        priority: Some(Priority::P1),
        complexity: Some(Complexity::S),
        role: Some(role("test")),
        checks: vec!["true".into()],
        paths: vec!["src/**".into()],
        created_by: Some("me".into()),
        ..titled("a  title")
    };
    let made = b.create(request).await.unwrap();
    assert_eq!(
        (made.queue.as_str(), made.version, made.branch.as_str()),
        ("incoming", 1, "trunk")
    );
    assert_eq!(
        (made.title.as_str(), made.content.as_str()),
        ("a title", "# do it\nwell ✓")
    );
    assert_eq!(
        (made.priority, made.complexity, made.role.as_str()),
        (Priority::P1, Some(Complexity::S), "test")
    );
    assert_eq!(
        (made.checks.clone(), made.paths.clone()),
        (vec!["true".to_owned()], vec!["src/**".to_owned()])
    );
    assert_eq!(
        (made.awaiting.as_deref(), made.created_by.as_deref()),
        (Some("test"), Some("me"))
    );
    assert_eq!(b.task(&made.id).await.unwrap(), made);

    let page = b.list(&TaskFilter::default()).await.unwrap();
    assert_eq!((page.total, page.tasks), (1, vec![made.clone()]));
    let view = b.show(&made.id).await.unwrap();
    assert_eq!(view.task, made);
    assert_eq!((view.blocked, view.blocked_by), (false, Vec::new()));
    assert_eq!((view.attempts, view.thread), (Some(Vec::new()), Some(Vec::new())));
    assert_eq!((view.reviews, view.usage), (Some(Vec::new()), Some(Usage::default())));
    assert_eq!(view.work_branch, format!("agent/{}", made.id));
    let why = b.why(&made.id).await.unwrap();
    assert_eq!(
        (why.queue.as_str(), why.held_by, why.tried.len()),
        ("incoming", None, 0)
    );
    assert!(why.next.contains("role test"), "{}", why.next);

    let changes = EditTask {
        title: Some("other".into()),
        content: Some("something else".into()),
        priority: Some(Priority::P0),
        version: Some(1),
        ..EditTask::default()
    };
    let edited = b.apply(&made.id, edit(changes)).await.unwrap();
    assert_eq!(
        (edited.version, edited.body_revision, edited.priority),
        (2, 2, Priority::P0)
    );
    assert_eq!(
        (edited.title.as_str(), edited.content.as_str()),
        ("other", "something else")
    );
    let late = EditTask {
        title: Some("too late".into()),
        version: Some(1),
        ..EditTask::default()
    };
    assert_eq!(refused(b, &made.id, edit(late)).await, ErrorCode::VersionConflict);
    let nothing = edit(EditTask::default());
    assert_eq!(refused(b, &made.id, nothing).await, ErrorCode::InvalidArgument);
    assert_eq!(
        b.task(&made.id).await.unwrap(),
        edited,
        "what is refused changes nothing"
    );

    b.delete(&made.id, "me").await.unwrap();
    assert_eq!(code(b.task(&made.id).await), ErrorCode::NotFound);
    assert_eq!(b.list(&TaskFilter::default()).await.unwrap().total, 0);
    assert_eq!(kinds(&history(b, &made.id).await), ["created", "edited", "deleted"]);
}

pub(super) async fn the_history_says_who_deleted(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    b.delete(&task.id, "me").await.unwrap();
    let events = history(b, &task.id).await;
    assert_eq!(events.last().and_then(|event| event.by.as_deref()), Some("me"));
}

pub(super) async fn a_body_alone_gives_the_title(b: &dyn Backend) {
    let request = CreateTask {
        content: Some("# Mend the fence\n\nIt is broken.".into()),
        ..CreateTask::default()
    };
    let task = b.create(request).await.unwrap();
    assert_eq!(task.title, "Mend the fence");
    let neither = CreateTask::default();
    assert_eq!(code(b.create(neither).await), ErrorCode::InvalidArgument);
}

pub(super) async fn a_list_is_filtered_ordered_and_paged(b: &dyn Backend) {
    let mut made = Vec::new();
    for (title, priority, name) in [
        ("a", Priority::P2, "implement"),
        ("b", Priority::P0, "test"),
        ("c", Priority::P2, "implement"),
        ("d", Priority::P1, "test"),
        ("e", Priority::P3, "implement"),
    ] {
        let request = CreateTask {
            priority: Some(priority),
            role: Some(role(name)),
            ..titled(title)
        };
        made.push(b.create(request).await.unwrap());
    }
    let all = TaskFilter::default;
    assert_eq!(titles(b, all()).await, "bdace", "by priority, then by age");
    let page = TaskFilter {
        limit: Some(2),
        offset: 1,
        ..all()
    };
    assert_eq!(
        b.list(&page).await.unwrap().total,
        5,
        "all that match, not all of the page"
    );
    assert_eq!(titles(b, page).await, "da");
    let cancel = Command::Cancel {
        by: "me".into(),
        reason: "not wanted".into(),
    };
    b.apply(&made[1].id, cancel).await.unwrap();
    for (expected, filter) in [
        ("daceb", all()),
        (
            "daceb",
            TaskFilter {
                limit: Some(10_000),
                ..all()
            },
        ),
        (
            "dace",
            TaskFilter {
                open_only: true,
                ..all()
            },
        ),
        (
            "b",
            TaskFilter {
                queues: vec![QueueName::cancelled()],
                ..all()
            },
        ),
        (
            "dace",
            TaskFilter {
                queues: vec![QueueName::incoming(), QueueName::done()],
                ..all()
            },
        ),
        (
            "ac",
            TaskFilter {
                priorities: vec![Priority::P2],
                ..all()
            },
        ),
        (
            "db",
            TaskFilter {
                roles: vec![role("test")],
                ..all()
            },
        ),
        (
            "",
            TaskFilter {
                roles: vec![role("nobody")],
                ..all()
            },
        ),
        (
            "",
            TaskFilter {
                limit: Some(0),
                ..all()
            },
        ),
    ] {
        let told = format!("{filter:?}");
        assert_eq!(titles(b, filter).await, expected, "{told}");
    }
}

pub(super) async fn every_filter_of_a_list_counts(b: &dyn Backend) {
    let first = b.create(titled("a")).await.unwrap();
    let request = CreateTask {
        blocked_by: vec![first.id.clone()],
        ..titled("b")
    };
    b.create(request).await.unwrap();
    let request = CreateTask {
        flow: Some("project".into()),
        ..titled("c")
    };
    b.create(request).await.unwrap();
    assert_eq!(take(b, work(LONG)).await.task.id, first.id);
    let all = TaskFilter::default;
    let mut wrong = Vec::new();
    for (expected, filter) in [
        (
            "cba",
            TaskFilter {
                sort: Sort::Newest,
                ..all()
            },
        ),
        (
            "c",
            TaskFilter {
                flow: Some("project".into()),
                ..all()
            },
        ),
        (
            "a",
            TaskFilter {
                claimed_by: Some("ann".into()),
                ..all()
            },
        ),
        (
            "a",
            TaskFilter {
                orchestrator_id: Some("c-m".into()),
                ..all()
            },
        ),
        (
            "b",
            TaskFilter {
                blocked_by: Some(first.id.clone()),
                ..all()
            },
        ),
    ] {
        let told = format!("{filter:?}");
        let found = titles(b, filter).await;
        if found != expected {
            wrong.push(format!("{found} and not {expected} for {told}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

pub(super) async fn a_role_that_nobody_named_is_found_by_its_name(b: &dyn Backend) {
    let task = b.create(titled("t")).await.unwrap();
    assert_eq!(task.role.as_str(), "implement");
    let filter = TaskFilter {
        roles: vec![role("implement")],
        ..TaskFilter::default()
    };
    assert_eq!(titles(b, filter).await, "t");
}

async fn waiting_for(b: &dyn Backend, title: &str, blockers: &[&Task]) -> Task {
    let request = CreateTask {
        blocked_by: blockers.iter().map(|task| task.id.clone()).collect(),
        ..titled(title)
    };
    b.create(request).await.unwrap()
}

pub(super) async fn a_batch_is_created_all_or_none(b: &dyn Backend) {
    let named = |id: &str, after: &[&str]| CreateTask {
        id: Some(TaskId::parse(id).unwrap()),
        blocked_by: after.iter().map(|id| TaskId::parse(id).unwrap()).collect(),
        ..titled(id)
    };
    // The second waits for one that comes after it.
    let created = b
        .create_many(vec![
            named("one", &[]),
            named("two", &["three"]),
            named("three", &["one"]),
        ])
        .await
        .unwrap();
    let seen: Vec<_> = created.iter().map(|t| (t.id.as_str(), t.open_blockers)).collect();
    assert_eq!(seen, [("one", 0), ("two", 1), ("three", 1)]);
    assert!(created.iter().all(|t| t.branch == b.rules().base_branch));

    assert_eq!(
        code(b.create_many(vec![named("four", &[]), named("one", &[])]).await),
        ErrorCode::AlreadyExists
    );
    assert_eq!(
        code(b.create_many(vec![named("four", &["nobody"])]).await),
        ErrorCode::NotFound
    );
    for wrong in [vec![], vec![titled("t"); 1001]] {
        assert_eq!(code(b.create_many(wrong).await), ErrorCode::InvalidArgument);
    }
    assert_eq!(code(b.task(&TaskId::parse("four").unwrap()).await), ErrorCode::NotFound);
}

pub(super) async fn blockers_hold_until_they_are_done(b: &dyn Backend) {
    let first = b.create(titled("first")).await.unwrap();
    let second = b.create(titled("second")).await.unwrap();
    let last = waiting_for(b, "last", &[&first, &second]).await;
    assert_eq!((last.open_blockers, last.is_blocked()), (2, true));
    let view = b.show(&last.id).await.unwrap();
    assert_eq!(view.blocked_by, [first.id.clone(), second.id.clone()]);
    let held_by = b.why(&last.id).await.unwrap().held_by.unwrap();
    assert!(held_by.contains(first.id.as_str()), "{held_by}");

    let unknown = CreateTask {
        blocked_by: vec![TaskId::parse("nobody").unwrap()],
        ..titled("t")
    };
    assert_eq!(code(b.create(unknown).await), ErrorCode::NotFound);
    for circle in [&first, &last] {
        let wait = EditTask {
            blocked_by: Some(vec![circle.id.clone()]),
            ..EditTask::default()
        };
        assert_eq!(
            refused(b, &first.id, edit(wait)).await,
            ErrorCode::InvalidArgument,
            "{}",
            circle.title
        );
    }
    assert_eq!(code(b.delete(&first.id, "me").await), ErrorCode::IllegalTransition);

    finish(b, &first.id).await;
    assert_eq!(b.task(&last.id).await.unwrap().open_blockers, 1);
    let claim = take(b, work(LONG)).await;
    assert_eq!(claim.task.id, second.id);
    assert!(!free(b).await, "the last one waits for the second");
    assert!(b.claim(work(LONG)).await.unwrap().is_none());
    b.apply(&second.id, submit(&claim.token, "h")).await.unwrap();
    assert!(!free(b).await, "handed in is not done");
    let done = Command::Recover {
        by: "me".into(),
        to: QueueName::done(),
        reason: "merged by hand".into(),
        merged_sha: Some("m2".into()),
        head_sha: None,
    };
    b.apply(&second.id, done).await.unwrap();
    assert!(free(b).await);
    assert_eq!(take(b, work(LONG)).await.task.id, last.id);
    assert_eq!(count(&history(b, &last.id).await, "unblocked"), 2);
}

pub(super) async fn a_view_names_what_was_waited_for(b: &dyn Backend) {
    let first = b.create(titled("first")).await.unwrap();
    let last = waiting_for(b, "last", &[&first]).await;
    for done in [false, true] {
        if done {
            finish(b, &first.id).await;
        }
        let task = b.task(&last.id).await.unwrap();
        assert_eq!(task.is_blocked(), !done);
        let views: Vec<TaskView> = b.views(vec![task]).await.unwrap();
        assert_eq!(views.len(), 1);
        assert_eq!(views[0].blocked_by, [first.id.clone()], "done: {done}");
        let shown = b.show(&last.id).await.unwrap().blocked_by;
        assert_eq!(shown, [first.id.clone()], "done: {done}");
    }
}

pub(super) async fn the_same_key_gives_the_same_task(b: &dyn Backend) {
    let keyed = |title: &str| CreateTask {
        idempotency_key: Some("k".into()),
        ..titled(title)
    };
    let first = b.create(keyed("t")).await.unwrap();
    assert_eq!(b.create(keyed("t")).await.unwrap(), first);
    assert_eq!(
        code(b.create(keyed("another")).await),
        ErrorCode::IdempotencyConflict,
        "another body"
    );
    let twin = CreateTask {
        id: Some(first.id.clone()),
        ..titled("twin")
    };
    assert_eq!(code(b.create(twin).await), ErrorCode::AlreadyExists);
    assert_eq!(b.list(&TaskFilter::default()).await.unwrap().total, 1);
    assert_eq!(kinds(&history(b, &first.id).await), ["created"]);
    let own = CreateTask {
        id: Some(TaskId::parse("chosen").unwrap()),
        ..titled("own")
    };
    assert_eq!(b.create(own).await.unwrap().id.as_str(), "chosen");
}

pub(super) async fn what_does_not_exist_is_not_found(b: &dyn Backend) {
    let id = TaskId::parse("nobody").unwrap();
    assert_eq!(code(b.task(&id).await), ErrorCode::NotFound);
    assert_eq!(code(b.show(&id).await), ErrorCode::NotFound);
    assert_eq!(code(b.why(&id).await), ErrorCode::NotFound);
    assert_eq!(code(b.delete(&id, "me").await), ErrorCode::NotFound);
    for command in [hold("x"), release("token"), submit("token", "h")] {
        assert_eq!(refused(b, &id, command).await, ErrorCode::NotFound);
    }
    assert!(history(b, &id).await.is_empty());
    assert_eq!(b.list(&TaskFilter::default()).await.unwrap().total, 0);
}

pub(super) async fn events_come_in_order_and_without_a_gap(b: &dyn Backend) {
    let mut tasks = Vec::new();
    for title in ["a", "b", "c"] {
        tasks.push(b.create(titled(title)).await.unwrap());
    }
    for _ in 0..2 {
        for task in &tasks {
            b.apply(&task.id, hold("for now")).await.unwrap();
        }
    }
    finish_held(b, &tasks[0].id).await;
    let all = b.events(None, 0, 500).await.unwrap();
    assert!(all.windows(2).all(|pair| pair[0].cursor < pair[1].cursor), "{all:?}");
    let mut paged = Vec::new();
    loop {
        let after = paged
            .last()
            .map_or(0, |event: &octopoid_core::model::Event| event.cursor);
        let page = b.events(None, after, 2).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all, "page by page the same");
    for task in &tasks {
        let own = history(b, &task.id).await;
        let of_all: Vec<_> = all.iter().filter(|event| event.task_id == task.id).cloned().collect();
        assert_eq!(own, of_all);
        let now = b.task(&task.id).await.unwrap();
        let versions: Vec<i64> = own.iter().map(|event| event.version).collect();
        assert_eq!(
            versions,
            (1..=now.version).collect::<Vec<_>>(),
            "one event for each version"
        );
        assert_eq!(own.last().unwrap().at, now.updated_at);
    }
    let expected = [
        "created",
        "held",
        "held",
        "unheld",
        "claimed",
        "submitted",
        "approved",
        "landing",
        "done",
    ];
    assert_eq!(kinds(&history(b, &tasks[0].id).await), expected);
}

async fn finish_held(b: &dyn Backend, id: &TaskId) {
    b.apply(id, super::unhold()).await.unwrap();
    let done = finish(b, id).await;
    assert_eq!((done.queue.as_str(), done.hold), ("done", None));
}
