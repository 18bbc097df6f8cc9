//! What only the `git` program can do: remotes, with the user's credentials, proxies and hooks.

use std::{
    fs::File,
    io::{Read, Seek},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{Repo, lock::Turn};
use crate::error::{Error, ErrorCode, Result};

/// How often an exchange is repeated that met a ref which another process was just moving.
const TRIES: u32 = 5;

/// Where shared commits have their names.
const SHARED: &str = "refs/octopoid/shared";

fn shared_ref(task: &str, sha: &str) -> String {
    format!("{SHARED}/{task}/{sha}")
}

/// How long one exchange with a remote may take.
const PATIENCE: Duration = Duration::from_secs(180);

impl Repo {
    /// Fetches everything from `remote`.
    pub fn fetch(&self, remote: &str) -> Result<()> {
        self.program(
            &["fetch", "--quiet", "--no-tags", "--no-auto-maintenance", remote],
            &format!("fetch from {remote}"),
        )
        .map(|_| ())
    }

    /// Moves `branch` on the remote from `old` to `new`, if it still is at `old`; checks that it did.
    pub fn push_base(&self, remote: &str, branch: &str, old: &str, new: &str) -> Result<()> {
        let full = format!("refs/heads/{branch}");
        let lease = format!("--force-with-lease={full}:{old}");
        let pushed = self.program(
            &["push", "--quiet", &lease, remote, &format!("{new}:{full}")],
            &format!("push {branch} to {remote}"),
        );
        if let Err(error) = pushed {
            // Whatever the remote said: the question is whether somebody else was first.
            self.fetch(remote)?;
            if self.remote_tip(remote, branch)?.is_some_and(|tip| tip != old) {
                return Err(Error::new(
                    ErrorCode::VersionConflict,
                    format!("branch {branch} moved on {remote} at the same time"),
                ));
            }
            return Err(error);
        }
        self.verify_pushed(remote, &full, new)
    }

    /// Pushes a branch. False, and nothing is pushed, when the remote's branch has commits that are not in it.
    pub fn push_branch(&self, remote: &str, branch: &str, sha: &str) -> Result<bool> {
        let full = format!("refs/heads/{branch}");
        if let Err(error) = self.program(
            &["push", "--quiet", remote, &format!("{sha}:{full}")],
            &format!("push {branch} to {remote}"),
        ) {
            self.fetch(remote)?;
            return match self.remote_tip(remote, branch)? {
                Some(tip) if !self.is_ancestor(&tip, sha)? => Ok(false),
                _ => Err(error),
            };
        }
        self.verify_pushed(remote, &full, sha).map(|()| true)
    }

    /// Pushes a commit under a name of its own, so that every machine of the pool can have it.
    pub fn share(&self, remote: &str, task: &str, sha: &str) -> Result<()> {
        let full = shared_ref(task, sha);
        self.program(
            &["push", "--quiet", remote, &format!("{sha}:{full}")],
            &format!("push {sha} to {remote}"),
        )?;
        self.verify_pushed(remote, &full, sha)
    }

    /// Fetches a commit that another machine shared.
    pub fn fetch_shared(&self, remote: &str, task: &str, sha: &str) -> Result<()> {
        let full = shared_ref(task, sha);
        let kept = format!("refs/octopoid/keep/{task}/shared-{sha}");
        self.program(
            &[
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-auto-maintenance",
                remote,
                &format!("{full}:{kept}"),
            ],
            &format!("fetch {sha} from {remote}"),
        )
        .map(|_| ())
    }

    /// Removes the names of a task's shared commits from the remote.
    pub fn unshare(&self, remote: &str, task: &str) -> Result<()> {
        let pattern = format!("{SHARED}/{task}/*");
        let there = self.program(&["ls-remote", remote, &pattern], &format!("read {pattern} of {remote}"))?;
        let gone: Vec<String> = there
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1))
            .map(|name| format!(":{name}"))
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let mut args = vec!["push", "--quiet", remote];
        args.extend(gone.iter().map(String::as_str));
        self.program(&args, &format!("remove {pattern} from {remote}"))
            .map(|_| ())
    }

    fn verify_pushed(&self, remote: &str, full: &str, sha: &str) -> Result<()> {
        let there = self.program(&["ls-remote", remote, full], &format!("read {full} of {remote}"))?;
        if there.split_whitespace().next() == Some(sha) {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::Git,
            format!("{remote} took the push of {full}, but is not at {sha}"),
        ))
    }

    /// Runs the `git` program in the main checkout and gives what it printed. One exchange at a time; where another
    /// process moved a ref meanwhile, once more.
    pub(super) fn program(&self, args: &[&str], action: &str) -> Result<String> {
        self.in_turn(Turn::Remote, || {
            let mut tries = 0;
            loop {
                match self.run(args, action) {
                    Err(error) if tries < TRIES && error.to_string().contains("cannot lock ref") => {
                        tries += 1;
                        std::thread::sleep(Duration::from_millis(20 << tries));
                    }
                    answer => return answer,
                }
            }
        })
    }

    fn run(&self, args: &[&str], action: &str) -> Result<String> {
        let fail = |what: String| Error::new(ErrorCode::Offline, format!("cannot {action}: {what}"));
        let io = |e: std::io::Error| fail(e.to_string());
        let scratch = || -> std::io::Result<File> {
            let path = std::env::temp_dir().join(format!("octopoid-git-{}-{:?}", std::process::id(), Instant::now()));
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        };
        let (mut out, mut err) = (scratch().map_err(io)?, scratch().map_err(io)?);
        let mut child = Command::new("git")
            .arg("-C")
            .arg(self.root())
            .args(args)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(io)?)
            .stderr(err.try_clone().map_err(io)?)
            .spawn()
            .map_err(|e| {
                fail(format!("the git program does not start: {e}")).with_hint("install git and put it on the PATH")
            })?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(io)? {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                child.kill().map_err(io)?;
                child.wait().map_err(io)?;
                return Err(fail(format!("no answer in {} s", PATIENCE.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let read = |file: &mut File| -> Result<String> {
            let mut bytes = Vec::new();
            file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(io)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        if status.success() {
            return read(&mut out);
        }
        Err(fail(read(&mut err)?.trim().to_owned()).with_hint(format!("try `git {}` by hand", args.join(" "))))
    }
}
