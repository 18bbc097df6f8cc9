//! Landing: approved work is combined with the base as it is now, checked as exactly that commit, and the
//! base is moved to it by compare-and-swap. Only then is the task done.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    checks::{Place, Ran},
    worker::Worker,
};
use crate::{
    error::{Error, ErrorCode, Result},
    flow::{Ask, Step, Transition},
    git::{Candidate, Checkout, Merged},
    lifecycle::{Command, Failure},
    model::{AttemptKind, AttemptOutcome, CheckResult, Evidence, QueueKind, QueueName},
};

/// What a merge says of the work that it brought in, so that another machine can tell.
pub(super) const HEAD_LINE: &str = "Octopoid-Head: ";
/// How often the base may move under a landing before it waits for calmer times.
const TRIES: u32 = 5;

/// A merge, as the journal has it.
#[derive(Debug, Serialize, Deserialize)]
struct MergeStep {
    /// The commit in the base branch.
    sha: String,
    /// Where the base branch was before.
    base: String,
    /// The work that it brought in.
    head: String,
}

/// What the checks said about a candidate.
enum Verified {
    Green,
    Red(CheckResult),
    Missing(CheckResult),
    Stopped,
}

impl Worker {
    pub(super) async fn land(&self) -> Result<()> {
        let flow = self.cx.backend.rules().flows.get(&self.task.flow)?.clone();
        let Some(edge) = flow.exit(&self.task.queue).cloned() else {
            return Err(Error::new(
                ErrorCode::Internal,
                format!("flow {} has no exit from {}", flow.name, self.task.queue),
            ));
        };
        let head = self.task.head_sha.clone().ok_or_else(|| {
            Error::new(
                ErrorCode::Internal,
                format!("task {} has nothing to land", self.run.task),
            )
        })?;
        if let Err(error) = self.cx.need(&self.run.task, &head).await {
            // Merged by a machine that ended before it could say so, and tidied up.
            let base = self.cx.base_tip(&self.task.branch).await?;
            return match self.merged_elsewhere(&base, &head).await? {
                Some(sha) => self.finish(&base, &sha).await,
                None => Err(error),
            };
        }
        if let Some((failure, reason, evidence, on_fail)) = self.ask_scripts(&edge, &head).await? {
            return self
                .fail_to(failure, reason, evidence, Default::default(), None, on_fail)
                .await;
        }
        if edge.runs.contains(&Step::PushBranch)
            && let Some(remote) = self.cx.remote.clone()
        {
            let (branch, sha) = (self.task.work_branch(), head.clone());
            if !self
                .cx
                .git(move |repo| repo.push_branch(&remote, &branch, &sha))
                .await?
            {
                // Somebody else's commits there are theirs; the merge does not need this branch.
                self.cx.tell(
                    &self.task,
                    format!(
                        "the remote's {} has other commits and was left alone",
                        self.task.work_branch()
                    ),
                );
            }
        }
        if edge.to.kind() != QueueKind::Done {
            return self.advance(None).await;
        }
        self.merge(&head).await
    }

    pub(super) async fn advance(&self, merged_sha: Option<String>) -> Result<()> {
        let command = Command::Advance {
            token: self.run.token.clone(),
            merged_sha: merged_sha.clone(),
        };
        let task = self.cx.apply(&self.run, command).await?;
        self.collected()?;
        match merged_sha {
            Some(sha) => self.cx.tell(
                &task,
                format!("done: merged into {} as {}", task.branch, &sha[..sha.len().min(10)]),
            ),
            None => self.cx.tell(&task, format!("is in {} now", task.queue)),
        }
        Ok(())
    }

    async fn merge(&self, head: &str) -> Result<()> {
        for _ in 0..TRIES {
            let base = self.cx.base_tip(&self.task.branch).await?;
            if let Some(merge) = self.merged_before(&base, head).await? {
                return self.finish(&merge.base, &merge.sha).await;
            }
            if let Some(sha) = self.merged_elsewhere(&base, head).await? {
                return self.finish(&base, &sha).await;
            }
            let candidate = match self.combine(&base, head).await? {
                Merged::Clean(candidate) => candidate,
                Merged::Conflict(paths) => {
                    let reason = format!(
                        "{} and {} both changed {}",
                        self.task.work_branch(),
                        self.task.branch,
                        paths.join(", ")
                    );
                    let evidence = Evidence {
                        head_sha: Some(head.to_owned()),
                        ..Evidence::default()
                    };
                    return self
                        .fail(Failure::MergeConflict, reason, evidence, Default::default(), None)
                        .await;
                }
            };
            match self.verify(&candidate, head).await? {
                Verified::Green => {}
                Verified::Stopped => return self.release("the orchestrator was told to stop").await,
                Verified::Missing(result) => {
                    let reason = format!("the program of {:?} is not there\n\n{}", result.command, result.tail);
                    return self.fail_without_evidence(Failure::CheckMissing, reason).await;
                }
                Verified::Red(red) => return self.red_after_rebase(&base, &candidate, red).await,
            }
            if self.move_base(&base, &candidate, head).await? {
                return self.finish(&base, &candidate.sha).await;
            }
            self.cx.tell(
                &self.task,
                format!("{} moved meanwhile; combining again", self.task.branch),
            );
        }
        let reason = format!(
            "{} moved {TRIES} times while the work was being merged",
            self.task.branch
        );
        self.fail_without_evidence(Failure::BaseMoved, reason).await
    }

    /// A merge of this very work that an earlier run made but could not report.
    async fn merged_before(&self, base: &str, head: &str) -> Result<Option<MergeStep>> {
        for detail in self.cx.journal.steps(&self.run.task, "merge")? {
            let step: MergeStep = serde_json::from_str(&detail).map_err(|e| {
                Error::new(
                    ErrorCode::Internal,
                    format!("the journal has a merge that cannot be read: {e}"),
                )
            })?;
            let (sha, tip) = (step.sha.clone(), base.to_owned());
            if step.head == head && self.cx.git(move |repo| repo.is_ancestor(&sha, &tip)).await? {
                return Ok(Some(step));
            }
        }
        Ok(None)
    }

    async fn combine(&self, base: &str, head: &str) -> Result<Merged> {
        let message = self.message(head).await?;
        let (base, head, method) = (base.to_owned(), head.to_owned(), self.cx.config.merge.method);
        self.cx
            .git(move |repo| repo.combine(&base, &head, method, &message))
            .await
    }

    /// Title, what the agent said when it handed the commit in, and which task it was.
    async fn message(&self, head: &str) -> Result<String> {
        let mut message = self.task.title.clone();
        let attempts = self.cx.backend.attempts(&self.run.task).await?;
        let handed_in = attempts
            .into_iter()
            .rev()
            .find(|a| a.outcome == Some(AttemptOutcome::Submitted) && a.evidence.head_sha.as_deref() == Some(head));
        let summary = handed_in.and_then(|a| a.evidence.summary).unwrap_or_default();
        if !summary.trim().is_empty() {
            message.push_str(&format!("\n\n{}", summary.trim()));
        }
        message.push_str(&format!("\n\nOctopoid-Task: {}\n", self.task.id));
        if self.cx.shared_remote().is_some() {
            message.push_str(&format!("{HEAD_LINE}{head}\n"));
        }
        Ok(message)
    }

    /// Checks exactly the commit that would be merged. A tree that passed once is not checked again.
    async fn verify(&self, candidate: &Candidate, head: &str) -> Result<Verified> {
        let checks = self.cx.checks_of(&self.task);
        if checks.is_empty() {
            return Ok(Verified::Green);
        }
        let fingerprint = format!("{} {}", candidate.tree, checks.join("\u{1}"));
        if self.cx.journal.is_done("checks", &fingerprint)? || self.passed_at_hand_in(candidate, head, &checks).await? {
            return Ok(Verified::Green);
        }
        self.cx.tell(
            &self.task,
            format!("checking the commit that {} will get", self.task.branch),
        );
        let verified = self.check_commit(&candidate.sha, "check", &checks).await?;
        if matches!(verified, Verified::Green) {
            let (epoch, now) = (self.run.epoch, self.cx.now());
            self.cx
                .journal
                .done(&self.run.task, epoch, "checks", &fingerprint, &candidate.sha, now)?;
        }
        Ok(verified)
    }

    async fn passed_at_hand_in(&self, candidate: &Candidate, head: &str, checks: &[String]) -> Result<bool> {
        let sha = head.to_owned();
        if self.cx.git(move |repo| repo.tree_of(&sha)).await? != candidate.tree {
            return Ok(false);
        }
        let attempts = self.cx.backend.attempts(&self.run.task).await?;
        let seen = attempts
            .iter()
            .rev()
            .find(|a| a.kind == AttemptKind::Work && a.evidence.head_sha.as_deref() == Some(head));
        Ok(seen.is_some_and(|a| {
            checks.iter().all(|command| {
                a.evidence
                    .checks
                    .iter()
                    .any(|c| c.command == *command && c.passed && c.sha == head)
            })
        }))
    }

    /// Runs the checks on a commit in a checkout of its own.
    async fn check_commit(&self, sha: &str, name: &str, checks: &[String]) -> Result<Verified> {
        let worktree = self.cx.paths.landing_worktree(&self.run.task);
        let dir = self.cx.dir_of(&self.run).join(name);
        let keep = format!("{}/landing-checkout", self.run.task);
        let (path, commit, keep_as) = (worktree.clone(), sha.to_owned(), keep.clone());
        self.cx
            .git(move |repo| {
                repo.ensure_worktree(&path, Checkout::Commit(&commit), &keep_as)
                    .map(|_| ())
            })
            .await?;
        let verified = self.check_in(&worktree, &dir, sha, checks).await;
        self.cx.git(move |repo| repo.remove_worktree(&worktree, &keep)).await?;
        verified
    }

    async fn check_in(&self, worktree: &Path, dir: &Path, sha: &str, checks: &[String]) -> Result<Verified> {
        let place = Place {
            task: &self.task,
            worktree,
            dir,
            mark: &self.run.mark,
            sha,
        };
        let commands: Vec<String> = self.cx.config.repo.setup.iter().chain(checks).cloned().collect();
        Ok(
            match self
                .cx
                .run_checks(&place, &commands, &mut self.stop.subscribe())
                .await?
            {
                Ok(results) => results
                    .into_iter()
                    .find(|c| !c.passed)
                    .map_or(Verified::Green, Verified::Red),
                Err(Ran::Missing(result)) => Verified::Missing(result),
                Err(_) => Verified::Stopped,
            },
        )
    }

    /// The combined commit does not pass. Whose fault is it: the base's, or the work's on top of it?
    async fn red_after_rebase(&self, base: &str, candidate: &Candidate, red: CheckResult) -> Result<()> {
        if matches!(
            self.check_commit(base, "check-base", std::slice::from_ref(&red.command))
                .await?,
            Verified::Red(_)
        ) {
            let reason = format!(
                "{:?} does not pass on {} itself ({base})\n\n{}",
                red.command, self.task.branch, red.tail
            );
            return self.fail_without_evidence(Failure::BaseRed, reason).await;
        }
        let reason = format!(
            "{:?} passed on the work alone, but not after it was combined with {} at {base}\n\n{}",
            red.command, self.task.branch, red.tail
        );
        let evidence = Evidence {
            head_sha: Some(candidate.sha.clone()),
            checks: vec![red],
            ..Evidence::default()
        };
        self.fail(Failure::ChecksFailed, reason, evidence, Default::default(), None)
            .await
    }

    /// Moves the base branch, on the remote first where there is one. False when somebody else moved it.
    async fn move_base(&self, base: &str, candidate: &Candidate, head: &str) -> Result<bool> {
        if candidate.sha == base {
            return Ok(true);
        }
        // The last look before the one step that cannot be taken back: the claim must still be ours.
        self.cx.journal.boundary();
        self.cx
            .backend
            .renew_surely(&self.run.task, self.run.token.clone(), self.cx.config.lease())
            .await?;
        self.cx.journal.boundary();
        let (task, epoch, now) = (&self.run.task, self.run.epoch, self.cx.now());
        let fingerprint = format!("{base}..{}", candidate.sha);
        let step = MergeStep {
            sha: candidate.sha.clone(),
            base: base.to_owned(),
            head: head.to_owned(),
        };
        let detail = serde_json::to_string(&step)
            .map_err(|e| Error::new(ErrorCode::Internal, format!("a merge cannot be written down: {e}")))?;
        // The commit is in no branch yet: a crash must not leave it to the garbage collector.
        let (keep, sha) = (format!("{task}/merge-{epoch}"), candidate.sha.clone());
        self.cx.git(move |repo| repo.keep(&keep, &sha)).await?;
        self.cx
            .journal
            .intent(task, epoch, "merge", &fingerprint, &detail, now)?;
        let (branch, remote) = (self.task.branch.clone(), self.cx.remote.clone());
        let (old, new) = (base.to_owned(), candidate.sha.clone());
        let moved = self
            .cx
            .git(move |repo| match remote {
                Some(remote) => {
                    repo.push_base(&remote, &branch, &old, &new)?;
                    repo.fetch(&remote)
                }
                None => repo.move_branch(&branch, Some(&old), &new, "octopoid: merge"),
            })
            .await;
        match moved {
            Ok(()) => {
                self.cx.journal.done(task, epoch, "merge", &fingerprint, &detail, now)?;
                Ok(true)
            }
            Err(error) if error.code() == ErrorCode::VersionConflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Runs the flow's script conditions on the commit that was handed in.
    async fn ask_scripts(
        &self,
        edge: &Transition,
        head: &str,
    ) -> Result<Option<(Failure, String, Evidence, Option<QueueName>)>> {
        let scripts: Vec<(String, String, QueueName)> = edge
            .conditions
            .iter()
            .filter_map(|c| match &c.ask {
                Ask::Script { script } => Some((c.name.clone(), script.clone(), c.on_fail.clone())),
                _ => None,
            })
            .collect();
        for (name, script, on_fail) in scripts {
            let reason = match self
                .check_commit(head, &format!("condition-{name}"), std::slice::from_ref(&script))
                .await?
            {
                Verified::Green => continue,
                Verified::Red(result) => (Failure::ConditionFailed, result),
                Verified::Missing(result) => (Failure::CheckMissing, result),
                Verified::Stopped => {
                    return Ok(Some((
                        Failure::AgentLost,
                        "ended from outside".into(),
                        Evidence::default(),
                        None,
                    )));
                }
            };
            let (failure, result) = reason;
            let text = format!("condition {name}: {:?} said no\n\n{}", result.command, result.tail);
            return Ok(Some((
                failure,
                text,
                Evidence {
                    checks: vec![result],
                    ..Evidence::default()
                },
                Some(on_fail),
            )));
        }
        Ok(None)
    }
}
