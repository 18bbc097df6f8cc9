//! What every backend does, written once and looked for in each of the four worlds.

mod claims;
mod decisions;
mod tasks;

use std::time::Duration;

use octopoid_core::{
    ErrorCode,
    backend::Backend,
    clock::Timestamp,
    engine::{Claim, ClaimRequest},
    id::{OrchestratorId, TaskId},
    lifecycle::{Command, Failure},
    model::{CreateTask, EditTask, Event, Evidence, QueueName, Role, Task, Usage, Verdict},
};

use crate::worlds::{Kind, World};

/// A lease that does not end within a test.
pub const LONG: Duration = Duration::from_secs(300);

/// One test for each behaviour and world.
macro_rules! behaviours {
    ($($file:ident $name:ident,)+) => {
        behaviours!(@world embedded Embedded $($file $name,)+);
        behaviours!(@world http_sqlite Sqlite $($file $name,)+);
        behaviours!(@world http_postgres Postgres $($file $name,)+);
        behaviours!(@world offline Offline $($file $name,)+);
    };
    (@world $world:ident $kind:ident $($file:ident $name:ident,)+) => {
        mod $world {
            use crate::worlds::{Kind, World};
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let world = World::new(Kind::$kind);
                    super::$file::$name(world.backend.as_ref()).await;
                }
            )+
        }
    };
}

behaviours! {
    tasks a_task_is_created_shown_edited_and_deleted,
    tasks the_history_says_who_deleted,
    tasks a_body_alone_gives_the_title,
    tasks a_list_is_filtered_ordered_and_paged,
    tasks every_filter_of_a_list_counts,
    tasks a_role_that_nobody_named_is_found_by_its_name,
    tasks blockers_hold_until_they_are_done,
    tasks a_batch_is_created_all_or_none,
    tasks a_view_names_what_was_waited_for,
    tasks the_same_key_gives_the_same_task,
    tasks what_does_not_exist_is_not_found,
    tasks events_come_in_order_and_without_a_gap,
    claims the_most_urgent_task_is_claimed_first_then_the_oldest,
    claims a_stale_token_changes_nothing,
    claims work_is_reviewed_and_landed,
    claims work_without_evidence_is_refused,
    claims the_same_token_gives_the_same_task,
    claims renewing_makes_the_lease_longer,
    claims releasing_costs_nothing,
    claims a_lease_that_runs_out_gives_the_task_back,
    claims own_claims_come_with_their_tokens,
    claims a_nul_character_from_an_agent_breaks_nothing,
    decisions a_rejection_sends_back_with_its_reason,
    decisions work_goes_on_where_it_stopped_and_not_for_ever,
    decisions a_question_waits_for_a_person,
    decisions a_passing_trouble_is_tried_again_later,
    decisions the_fault_of_the_work_counts_and_nobodys_does_not,
    decisions a_hold_lasts_until_it_is_lifted,
    decisions a_person_ends_and_begins_again,
    decisions a_person_recovers_what_is_stuck,
    decisions the_status_counts_and_names,
    decisions a_heartbeat_changes_no_rule,
}

/// Whoever waits is woken up by what somebody else does.
async fn changes_wake_up(kind: Kind) {
    let world = World::new(kind);
    let mut changes = world.backend.changes();
    // A backend that begins to follow looks once; that is not what is waited for here.
    let _ = tokio::time::timeout(Duration::from_secs(6), changes.changed()).await;
    for _ in 0..3 {
        changes.mark_unchanged();
        let early = tokio::time::timeout(Duration::from_millis(200), changes.changed()).await;
        assert!(early.is_err(), "woken up by nothing");
        world.other.create(titled("t")).await.unwrap();
        let woken = tokio::time::timeout(Duration::from_secs(10), changes.changed()).await;
        assert!(woken.is_ok(), "nobody was told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_wake_up_embedded() {
    changes_wake_up(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_wake_up_http_sqlite() {
    changes_wake_up(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_wake_up_http_postgres() {
    changes_wake_up(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_wake_up_offline() {
    changes_wake_up(Kind::Offline).await;
}

pub fn titled(title: &str) -> CreateTask {
    CreateTask {
        title: Some(title.into()),
        ..CreateTask::default()
    }
}

pub fn machine() -> OrchestratorId {
    OrchestratorId::parse("c-m").unwrap()
}

/// A claim for work.
pub fn work(lease: Duration) -> ClaimRequest {
    ClaimRequest {
        queues: vec![QueueName::incoming()],
        answers_to: vec!["implement".into()],
        agent: "ann".into(),
        role: Role::implement(),
        orchestrator: machine(),
        lease,
        token: None,
    }
}

/// A claim for review.
pub fn reviewing() -> ClaimRequest {
    ClaimRequest {
        queues: vec![QueueName::provisional()],
        answers_to: vec!["gatekeeper".into()],
        agent: "rita".into(),
        role: Role::parse("gatekeeper").unwrap(),
        ..work(LONG)
    }
}

/// A claim to bring work in.
pub fn landing() -> ClaimRequest {
    ClaimRequest {
        queues: vec![QueueName::provisional()],
        answers_to: vec!["engine".into()],
        agent: "engine".into(),
        ..work(LONG)
    }
}

/// A claim that must find something.
pub async fn take(b: &dyn Backend, request: ClaimRequest) -> Claim {
    match b.claim(request).await.unwrap() {
        Some(claim) => claim,
        None => panic!("nothing is free"),
    }
}

/// Whether work is free.
pub async fn free(b: &dyn Backend) -> bool {
    b.has_claimable(&[QueueName::incoming()], &["implement".to_owned()])
        .await
        .unwrap()
}

pub fn evidence(sha: &str) -> Evidence {
    Evidence {
        head_sha: Some(sha.into()),
        commits: 1,
        summary: Some("did it".into()),
        ..Evidence::default()
    }
}

pub fn usage() -> Usage {
    Usage {
        input_tokens: 100,
        output_tokens: 20,
        cost_usd: 0.25,
        turns: 3,
    }
}

pub fn submit(token: &str, sha: &str) -> Command {
    Command::Submit {
        token: token.into(),
        evidence: Box::new(evidence(sha)),
        usage: usage(),
        checks_required: false,
    }
}

pub fn judge(token: &str, verdict: Verdict, sha: &str, reason: &str) -> Command {
    Command::Judge {
        token: token.into(),
        verdict,
        sha: sha.into(),
        reason: reason.into(),
        evidence: Box::new(Evidence::default()),
        usage: usage(),
    }
}

pub fn fail(token: &str, failure: Failure, retry_at: Option<Timestamp>) -> Command {
    Command::Fail {
        token: token.into(),
        failure,
        reason: format!("because of {failure}"),
        evidence: Box::new(Evidence::default()),
        usage: usage(),
        retry_at,
        send_to: None,
    }
}

pub fn release(token: &str) -> Command {
    Command::Release {
        token: token.into(),
        reason: "not now".into(),
    }
}

pub fn edit(edit: EditTask) -> Command {
    Command::Edit {
        by: "me".into(),
        edit: Box::new(edit),
    }
}

pub fn hold(reason: &str) -> Command {
    Command::Hold {
        by: "me".into(),
        reason: reason.into(),
    }
}

pub fn unhold() -> Command {
    Command::Unhold { by: "me".into() }
}

/// Claims the task, which must be the next one, hands it in as `h1`, and has it approved and landed.
pub async fn finish(b: &dyn Backend, id: &TaskId) -> Task {
    let claim = take(b, work(LONG)).await;
    assert_eq!(claim.task.id, *id, "another task was in the way");
    b.apply(id, submit(&claim.token, "h1")).await.unwrap();
    b.apply(id, Command::Approve { by: "me".into() }).await.unwrap();
    let landing = take(b, landing()).await;
    let advance = Command::Advance {
        token: landing.token,
        merged_sha: Some("m1".into()),
    };
    b.apply(id, advance).await.unwrap()
}

/// The code with which a command is refused.
pub async fn refused(b: &dyn Backend, id: &TaskId, command: Command) -> ErrorCode {
    let told = format!("{command:?}");
    match b.apply(id, command).await {
        Ok(task) => panic!("not refused: {told}: {task:?}"),
        Err(error) => error.code(),
    }
}

/// Everything that happened to a task.
pub async fn history(b: &dyn Backend, id: &TaskId) -> Vec<Event> {
    b.events(Some(id), 0, 500).await.unwrap()
}

/// The kinds of events.
pub fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

/// How often an event of this kind is there.
pub fn count(events: &[Event], kind: &str) -> usize {
    events.iter().filter(|event| event.kind == kind).count()
}
