//! Review: a checkout of exactly the head commit, a second agent, one verdict on that commit.

use super::worker::{Worker, failure_of};
use crate::{
    error::{Error, ErrorCode, Result},
    git::Checkout,
    lifecycle::{Command, Failure},
    model::{AttemptKind, Evidence, Verdict},
    prompt::CheckLine,
};

impl Worker {
    pub(super) async fn review(&self) -> Result<()> {
        let number = self.attempt()?.number;
        let head = self.task.head_sha.clone().ok_or_else(|| {
            Error::new(
                ErrorCode::Internal,
                format!("task {} has nothing to review", self.run.task),
            )
        })?;
        self.cx.need(&self.run.task, &head).await?;
        let worktree = self.cx.paths.review_worktree(&self.run.task, number);
        let dir = self.prepare_dir()?;
        let keep = format!("{}/review-{number}", self.run.task);
        let (path, sha, keep_as) = (worktree.clone(), head.clone(), keep.clone());
        let begun = self.attempt()?.base_sha.is_some();
        self.cx
            .git(move |repo| {
                if begun && path.exists() {
                    Ok(())
                } else {
                    repo.ensure_worktree(&path, Checkout::Commit(&sha), &keep_as)
                        .map(|_| ())
                }
            })
            .await?;
        let base = self.task.base_sha.clone().unwrap_or_else(|| head.clone());
        if !begun {
            let command = Command::Begin {
                token: self.run.token.clone(),
                base_sha: base.clone(),
            };
            self.cx.apply(&self.run, command).await?;
        }
        self.cx.tell(
            &self.task,
            format!("{} reviews {}", self.run.agent, &head[..head.len().min(10)]),
        );

        let mut assignment = self.assignment(&worktree, &dir, &base, &head).await?;
        assignment.check_results = self.checks_seen(&head).await?;
        let played = self.play(&assignment).await;

        let (path, keep_as) = (worktree.clone(), keep);
        self.cx.git(move |repo| repo.remove_worktree(&path, &keep_as)).await?;
        if self.stopped() {
            return self.release("ended from outside").await;
        }
        let outcome = match played {
            Ok(outcome) => outcome,
            Err(error) => {
                let evidence = Evidence {
                    tail: error
                        .evidence
                        .as_deref()
                        .map(|seen| crate::agent::outcome::tail(seen, 4000)),
                    ..Evidence::default()
                };
                return self
                    .fail(
                        error.failure,
                        error.message,
                        evidence,
                        Default::default(),
                        error.retry_at,
                    )
                    .await;
            }
        };
        let usage = outcome.reading.usage.clone();
        let evidence = Evidence {
            head_sha: Some(head.clone()),
            summary: outcome.reading.summary.clone(),
            session_id: outcome.reading.session_id.clone(),
            ..Evidence::default()
        };
        let with_tail = || Evidence {
            tail: Some(outcome.tail.clone()).filter(|t| !t.is_empty()),
            ..evidence.clone()
        };
        if let Some((failure, reason, retry_at)) = failure_of(&outcome) {
            return self.fail(failure, reason, with_tail(), usage, retry_at).await;
        }
        let Some(verdict) = outcome.reading.verdict else {
            let reason = "the review ended without an exact verdict (approve or reject)".to_owned();
            return self.fail(Failure::NoVerdict, reason, with_tail(), usage, None).await;
        };
        let mut reason = outcome.reading.review_text();
        if verdict == Verdict::Reject && reason.trim().is_empty() {
            reason = "rejected without a reason".to_owned();
        }
        let command = Command::Judge {
            token: self.run.token.clone(),
            verdict,
            sha: head,
            reason,
            evidence: Box::new(evidence),
            usage,
        };
        let task = self.cx.apply(&self.run, command).await?;
        self.collected()?;
        let word = if verdict == Verdict::Approve {
            "approved"
        } else {
            "rejected"
        };
        self.cx.tell(&task, format!("{word} by {}", self.run.agent));
        Ok(())
    }

    /// What ran on the commit when it was handed in.
    async fn checks_seen(&self, head: &str) -> Result<Vec<CheckLine>> {
        let attempts = self.cx.backend.attempts(&self.run.task).await?;
        let handed_in = attempts
            .into_iter()
            .rev()
            .find(|a| a.kind == AttemptKind::Work && a.evidence.head_sha.as_deref() == Some(head));
        Ok(handed_in
            .into_iter()
            .flat_map(|a| a.evidence.checks)
            .map(|c| CheckLine {
                command: c.command,
                outcome: if c.passed { "passed" } else { "failed" }.to_owned(),
            })
            .collect())
    }
}
