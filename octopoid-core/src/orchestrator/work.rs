//! Work: a worktree, an agent in it, the checks on its commit, and the evidence handed in.

use std::path::{Path, PathBuf};

use globset::{Glob, GlobSetBuilder};

use super::{
    checks::{Place, Ran},
    prepare::Ready,
    share::Shared,
    worker::{Worker, failure_of},
};
use crate::{
    agent::{Reported, outcome::tail},
    error::{Error, Result},
    flow::Step,
    git::{Checkout, Repo},
    lifecycle::{Command, Failure},
    model::{Evidence, QueueName, Role, Verdict},
    role::{AtWork, Outcome},
};

/// Mark of a worktree in which `repo.setup` has run.
const SET_UP: &str = "octopoid-set-up";

impl Worker {
    pub(super) async fn work(&self) -> Result<()> {
        if let Some(limit) = self.cx.config.budget.tokens_per_task {
            let spent = self.cx.backend.spent_on(&self.run.task).await?.tokens;
            if spent >= limit {
                let reason = format!("it used {spent} tokens; budget.tokens_per_task allows {limit}");
                return self.fail_without_evidence(Failure::OverBudget, reason).await;
            }
        }
        let worktree = self.cx.paths.worktree(&self.run.task);
        if AtWork::is_in(&worktree) {
            let reason = format!(
                "a role that was told to end is still at work in {}; end the program that runs it if that lasts",
                self.cx.paths.shown(&worktree)
            );
            return self.fail_without_evidence(Failure::RepositoryBusy, reason).await;
        }
        let dir = self.prepare_dir()?;
        let resolves = self.attempt()?.role == Role::conflict();
        let begun = self.attempt()?.base_sha.clone();
        let ready = match &begun {
            // Taken up after a restart: the worktree belongs to an agent that may be at work in it.
            Some(base) => self.look_at_worktree(&worktree, base.clone(), resolves).await?,
            None => {
                let tip = self.cx.base_tip(&self.task.branch).await?;
                self.prepare_worktree(&worktree, tip, resolves).await?
            }
        };
        if begun.is_none()
            && let Some(setup) = self.cx.config.repo.setup.clone()
            && !self.is_set_up(&worktree).await?
        {
            let place = Place {
                task: &self.task,
                worktree: &worktree,
                dir: &dir,
                mark: &self.run.mark,
                sha: &ready.head_sha,
            };
            match self
                .cx
                .run_command(&place, "setup", &setup, &mut self.stop.subscribe())
                .await?
            {
                Ran::Ended(result) if result.passed => {
                    let path = worktree.clone();
                    self.cx.git(move |repo| repo.set_mark(&path, SET_UP)).await?;
                }
                Ran::Ended(result) | Ran::Missing(result) => {
                    let reason = format!("repo.setup {:?} failed\n\n{}", result.command, result.tail);
                    return self.fail_without_evidence(Failure::CheckMissing, reason).await;
                }
                Ran::Stopped => return self.release("the orchestrator was told to stop").await,
            }
        }
        if begun.is_none() {
            let command = Command::Begin {
                token: self.run.token.clone(),
                base_sha: ready.base_sha.clone(),
            };
            self.cx.apply(&self.run, command).await?;
        }
        self.cx.tell(
            &self.task,
            format!(
                "{} works on attempt {} in {}",
                self.run.agent,
                self.attempt()?.number,
                self.cx.paths.shown(&worktree)
            ),
        );

        let mut assignment = self
            .assignment(&worktree, &dir, &ready.base_sha, &ready.head_sha)
            .await?;
        assignment.conflict = ready.conflict.clone();
        assignment.resume = self.session_to_resume().await?;
        let played = self.play(&assignment).await;

        // Whatever came of it: nothing that was made is left uncommitted or unreachable.
        let evidence = self.collect(&worktree, &ready.base_sha).await?;
        let outcome = match played {
            Ok(outcome) => outcome,
            Err(_) if self.stopped() => return self.release("ended from outside; the work is kept").await,
            Err(error) => {
                let seen = error.evidence.as_deref().unwrap_or(&error.message);
                let evidence = Evidence {
                    tail: Some(tail(seen, 4000)),
                    ..evidence
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
        self.hand_in(&worktree, &dir, &ready, evidence, outcome).await
    }

    async fn is_set_up(&self, worktree: &Path) -> Result<bool> {
        let path = worktree.to_path_buf();
        self.cx.git(move |repo| repo.has_mark(&path, SET_UP)).await
    }

    /// Decides from evidence what the attempt came to.
    async fn hand_in(
        &self,
        worktree: &Path,
        dir: &Path,
        ready: &Ready,
        evidence: Evidence,
        outcome: Outcome,
    ) -> Result<()> {
        if self.stopped() {
            return self.release("ended from outside; the work is kept").await;
        }
        let reading = outcome.reading.clone();
        let usage = reading.usage.clone();
        let code = match outcome.ending {
            Some(crate::agent::Ending::Exited(code)) => Some(code),
            _ => None,
        };
        let signal = match outcome.ending {
            Some(crate::agent::Ending::Signaled(signal)) => Some(signal),
            _ => None,
        };
        let mut evidence = Evidence {
            summary: reading.summary.clone(),
            session_id: reading.session_id.clone(),
            exit_code: code,
            signal,
            no_change: reading.reported == Some(Reported::NoChange),
            ..evidence
        };
        let token = self.run.token.clone();
        if let Some((failure, reason, retry_at)) = failure_of(&outcome) {
            evidence.tail = Some(outcome.tail.clone()).filter(|t| !t.is_empty());
            return self.fail(failure, reason, evidence, usage, retry_at).await;
        }
        if let Some(unclear) = reading.unclear {
            evidence.tail = Some(outcome.tail);
            return self.fail(Failure::AgentReported, unclear, evidence, usage, None).await;
        }
        match reading.reported {
            Some(Reported::Failed) => {
                let reason = reading
                    .summary
                    .unwrap_or_else(|| "the agent says that it failed".into());
                evidence.tail = Some(outcome.tail);
                return self.fail(Failure::AgentReported, reason, evidence, usage, None).await;
            }
            Some(Reported::Question) => {
                let question = reading.summary.unwrap_or_else(|| "the agent asks, but not what".into());
                self.cx.tell(&self.task, format!("asks: {question}"));
                self.cx
                    .apply(
                        &self.run,
                        Command::Ask {
                            token,
                            question,
                            evidence: Box::new(evidence),
                            usage,
                        },
                    )
                    .await?;
                return self.collected();
            }
            Some(Reported::NeedsContinuation) => {
                let reason = reading.summary.unwrap_or_else(|| "more turns are needed".into());
                self.cx.tell(&self.task, "needs more turns");
                self.cx
                    .apply(
                        &self.run,
                        Command::Continue {
                            token,
                            reason,
                            evidence: Box::new(evidence),
                            usage,
                        },
                    )
                    .await?;
                return self.collected();
            }
            Some(Reported::Done | Reported::NoChange) | None => {}
        }
        if evidence.commits == 0 && !evidence.no_change {
            evidence.tail = Some(outcome.tail);
            return self
                .fail(
                    Failure::NoChanges,
                    "the agent ended well, but nothing was changed".into(),
                    evidence,
                    usage,
                    None,
                )
                .await;
        }
        let rejected = self
            .cx
            .backend
            .reviews(&self.run.task)
            .await?
            .into_iter()
            .rev()
            .find(|r| Some(&r.sha) == evidence.head_sha.as_ref());
        if rejected.is_some_and(|r| r.verdict == Verdict::Reject) && !evidence.no_change {
            evidence.tail = Some(outcome.tail);
            let reason = "the agent ended well, but changed nothing since the commit was rejected".to_owned();
            return self.fail(Failure::NoChanges, reason, evidence, usage, None).await;
        }
        if let Some((failure, reason)) = self.examine(ready, &evidence).await? {
            return self.fail(failure, reason, evidence, usage, None).await;
        }

        let head = evidence.head_sha.clone().unwrap_or_default();
        let flow = self.cx.backend.rules().flows.get(&self.task.flow)?;
        let wants_checks = flow
            .exit(&QueueName::claimed())
            .is_some_and(|t| t.runs.contains(&Step::RunTests));
        let checks = if wants_checks {
            self.cx.checks_of(&self.task)
        } else {
            Vec::new()
        };
        let place = Place {
            task: &self.task,
            worktree,
            dir,
            mark: &self.run.mark,
            sha: &head,
        };
        match self.cx.run_checks(&place, &checks, &mut self.stop.subscribe()).await? {
            Ok(results) => evidence.checks = results,
            Err(Ran::Missing(result)) => {
                let reason = format!("the program of {:?} is not there\n\n{}", result.command, result.tail);
                return self.fail(Failure::CheckMissing, reason, evidence, usage, None).await;
            }
            Err(_) => return self.release("ended from outside; the work is kept").await,
        }
        self.put_check_products_away(worktree, dir, &head).await?;
        if let Some(red) = evidence.checks.iter().find(|c| !c.passed) {
            let code = red
                .exit_code
                .map_or("no exit code".to_owned(), |c| format!("exit code {c}"));
            let reason = format!("{:?} did not pass on {head} ({code})\n\n{}", red.command, red.tail);
            return self.fail(Failure::ChecksFailed, reason, evidence, usage, None).await;
        }
        if self.stopped() {
            return self.release("ended from outside; the work is kept").await;
        }
        match self.share_first(&head).await? {
            Shared::There => {}
            Shared::Stopped => return self.release("ended from outside; the work is kept").await,
            Shared::Refused(reason) => return self.fail(Failure::Remote, reason, evidence, usage, None).await,
        }
        let commits = evidence.commits;
        let command = Command::Submit {
            token,
            evidence: Box::new(evidence),
            usage,
            checks_required: !checks.is_empty(),
        };
        let task = self.cx.apply(&self.run, command).await?;
        self.cx.journal.cleared("claims")?;
        self.collected()?;
        let passed = if checks.is_empty() {
            "no checks are configured".to_owned()
        } else {
            format!("{} checks passed", checks.len())
        };
        self.cx.tell(
            &task,
            format!(
                "handed in {commits} commits, {passed}; {} is next",
                task.awaiting.as_deref().unwrap_or("nobody")
            ),
        );
        Ok(())
    }

    /// Commits what is left, keeps the tip, and counts: what did this attempt bring?
    async fn collect(&self, worktree: &Path, base_sha: &str) -> Result<Evidence> {
        let (path, base) = (worktree.to_path_buf(), base_sha.to_owned());
        let (branch, keep) = (self.task.work_branch(), self.cx.keep_name(&self.run));
        self.cx.journal.boundary();
        let evidence = self
            .cx
            .git(move |repo| {
                if !path.exists() {
                    // Removed by the agent or a person; the branch still has every commit.
                    repo.ensure_worktree(
                        &path,
                        Checkout::Branch {
                            name: &branch,
                            base: &base,
                        },
                        &keep,
                    )?;
                }
                let saved = repo.save(&path, "octopoid: work in progress")?;
                repo.keep(&keep, &saved.head)?;
                let head = repo.reattach(&path, &branch, &keep)?;
                repo.keep(&keep, &head)?;
                Ok(Evidence {
                    commits: repo.commits_between(&base, &head)?,
                    head_sha: Some(head),
                    saved_dirty_files: saved.was_dirty,
                    ..Evidence::default()
                })
            })
            .await;
        self.cx.journal.boundary();
        evidence
    }

    /// What is wrong with the commits themselves.
    async fn examine(&self, ready: &Ready, evidence: &Evidence) -> Result<Option<(Failure, String)>> {
        let head = evidence.head_sha.clone().unwrap_or_default();
        let (base, globs) = (ready.base_sha.clone(), self.task.paths.clone());
        let resolves = self.attempt()?.role == Role::conflict();
        self.cx
            .git(move |repo| {
                if !globs.is_empty() {
                    let outside = outside_paths(repo, &base, &head, &globs)?;
                    if !outside.is_empty() {
                        let reason = format!(
                            "only {} may be changed, but these were too: {}",
                            globs.join(" "),
                            outside.join(", ")
                        );
                        return Ok(Some((Failure::OutsidePaths, reason)));
                    }
                }
                if resolves {
                    let marked = repo.conflict_markers(&base, &head)?;
                    if !marked.is_empty() {
                        return Ok(Some((
                            Failure::ConflictUnresolved,
                            format!("conflict markers are left in {}", marked.join(", ")),
                        )));
                    }
                    let open = repo.conflicts_between(&base, &head)?;
                    if !open.is_empty() {
                        return Ok(Some((
                            Failure::ConflictUnresolved,
                            format!("still in conflict: {}", open.join(", ")),
                        )));
                    }
                }
                Ok(None)
            })
            .await
    }

    /// Files that the checks made in the worktree must not become part of the next attempt's work.
    async fn put_check_products_away(&self, worktree: &Path, dir: &Path, head: &str) -> Result<()> {
        let (path, to): (PathBuf, PathBuf) = (worktree.to_path_buf(), dir.join("check-products"));
        let head = head.to_owned();
        self.cx.git(move |repo| repo.set_aside(&path, &head, &to)).await
    }
}

fn outside_paths(repo: &Repo, base: &str, head: &str, globs: &[String]) -> Result<Vec<String>> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(Glob::new(glob).map_err(|e| Error::invalid(format!("{glob:?} is not a path pattern: {e}")))?);
    }
    let set = set
        .build()
        .map_err(|e| Error::invalid(format!("the task's paths cannot be used: {e}")))?;
    Ok(repo
        .changed_files(base, head)?
        .into_iter()
        .map(|c| c.path)
        .filter(|p| !set.is_match(p))
        .collect())
}
