//! What changed between two commits.

use git2::{Diff, DiffFormat, DiffOptions};
use serde::Serialize;

use super::{Repo, failed, oid};
use crate::error::Result;

/// One changed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Path in the repository.
    pub path: String,
    /// `added`, `modified`, `deleted`, …
    pub status: String,
}

/// One commit, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// The commit.
    pub sha: String,
    /// First line of its message.
    pub summary: String,
    /// Who made it.
    pub author: String,
}

impl Repo {
    fn with_diff<T>(&self, from: &str, to: &str, use_it: impl FnOnce(&Diff<'_>) -> Result<T>) -> Result<T> {
        let repo = self.open()?;
        let action = format!("compare {from} with {to}");
        let tree = |sha: &str| {
            oid(sha).and_then(|id| {
                repo.find_commit(id)
                    .and_then(|c| c.tree())
                    .map_err(|e| failed(&action, &e))
            })
        };
        let (from, to) = (tree(from)?, tree(to)?);
        let mut options = DiffOptions::new();
        options.include_typechange(true);
        let diff = repo
            .diff_tree_to_tree(Some(&from), Some(&to), Some(&mut options))
            .map_err(|e| failed(&action, &e))?;
        use_it(&diff)
    }

    /// Files that differ between two commits.
    pub fn changed_files(&self, from: &str, to: &str) -> Result<Vec<FileChange>> {
        self.with_diff(from, to, |diff| {
            Ok(diff
                .deltas()
                .map(|d| FileChange {
                    path: d
                        .new_file()
                        .path()
                        .or(d.old_file().path())
                        .map(|p| p.to_string_lossy().into_owned())
                        .unwrap_or_default(),
                    status: format!("{:?}", d.status()).to_lowercase(),
                })
                .collect())
        })
    }

    /// The change as a patch.
    pub fn patch(&self, from: &str, to: &str) -> Result<String> {
        self.with_diff(from, to, |diff| {
            let mut text = Vec::new();
            diff.print(DiffFormat::Patch, |_, _, line| {
                if matches!(line.origin(), '+' | '-' | ' ') {
                    text.push(line.origin() as u8);
                }
                text.extend_from_slice(line.content());
                true
            })
            .map_err(|e| failed("write the patch", &e))?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        })
    }

    /// Files and lines changed, as `git diff --stat` tells it.
    pub fn diffstat(&self, from: &str, to: &str) -> Result<String> {
        self.with_diff(from, to, |diff| {
            let stats = diff.stats().map_err(|e| failed("count the changed lines", &e))?;
            let text = stats
                .to_buf(git2::DiffStatsFormat::FULL, 80)
                .map_err(|e| failed("count the changed lines", &e))?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        })
    }

    /// The newest commit of `base..head` with `line` in its message, among at most `limit`.
    pub fn find_message(&self, base: Option<&str>, head: &str, line: &str, limit: usize) -> Result<Option<String>> {
        let repo = self.open()?;
        for found in self.log(base, head, limit)? {
            let commit = repo
                .find_commit(oid(&found.sha)?)
                .map_err(|e| failed("read a commit", &e))?;
            let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
            if message.lines().any(|l| l.trim() == line) {
                return Ok(Some(found.sha));
            }
        }
        Ok(None)
    }

    /// The commits of `base..head`, newest first, at most `limit`.
    pub fn log(&self, base: Option<&str>, head: &str, limit: usize) -> Result<Vec<LogLine>> {
        let repo = self.open()?;
        let action = "list the commits";
        let mut walk = repo.revwalk().map_err(|e| failed(action, &e))?;
        walk.push(oid(head)?).map_err(|e| failed(action, &e))?;
        if let Some(base) = base {
            walk.hide(oid(base)?).map_err(|e| failed(action, &e))?;
        }
        let mut lines = Vec::new();
        for id in walk.take(limit) {
            let commit = id.and_then(|id| repo.find_commit(id)).map_err(|e| failed(action, &e))?;
            lines.push(LogLine {
                sha: commit.id().to_string(),
                summary: commit.summary().ok().flatten().unwrap_or_default().to_owned(),
                author: String::from_utf8_lossy(commit.author().name_bytes()).into_owned(),
            });
        }
        Ok(lines)
    }
}
