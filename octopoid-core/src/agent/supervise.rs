//! The one process supervisor: starts a command in its own group, watches it, ends it with all its children.
//!
//! The exit code is written to a file by a small shell wrapper, so that it is known even when the
//! orchestrator was not there when the process ended. Everything else about a process is looked up by its
//! id together with its start time; an id that now belongs to somebody else is never touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::{process::Child, sync::watch};

use super::{Ending, RunLimits};
use crate::error::{Error, ErrorCode, Result};

/// Variable that marks every process of an attempt; its value is unlike any other attempt's.
pub const MARK: &str = "OCTOPOID_REPORT_TOKEN";

/// Runs the command and leaves its exit code in the file named by `$0`, all or nothing.
const WRAPPER: &str = r#""$@"; code=$?; printf %s "$code" > "$0.new" && mv -f "$0.new" "$0"; exit "$code""#;

/// How often a process that is not our child is looked at.
const POLL: Duration = Duration::from_millis(50);

/// A process that cannot be mistaken for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id, also the id of its group.
    pub pid: i32,
    /// When it started, in the kernel's ticks since boot.
    pub started: u64,
    /// The boot that both belong to.
    pub boot: String,
}

/// What to start.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Command line.
    pub argv: &'a [String],
    /// The whole environment; must hold [`MARK`].
    pub env: &'a BTreeMap<String, String>,
    /// Working directory.
    pub cwd: &'a Path,
    /// File for standard input; none means no input.
    pub stdin: Option<&'a Path>,
    /// File for standard output.
    pub stdout: &'a Path,
    /// File for standard error; may be the same as `stdout`.
    pub stderr: &'a Path,
    /// File for the exit code.
    pub exit: &'a Path,
}

/// A started process: our child, or one that an earlier orchestrator started.
#[derive(Debug)]
pub struct Running {
    /// Which process.
    pub id: ProcessId,
    child: Option<Child>,
    exit: PathBuf,
    mark: String,
}

/// This boot of the machine.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|s| s.trim().to_owned())
        .unwrap_or_default()
}

/// This process.
pub fn current() -> ProcessId {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    ProcessId {
        pid,
        started: start_time(pid).unwrap_or(0),
        boot: boot_id(),
    }
}

/// Start time of a live process; none when it is gone or only its exit code is left of it.
#[cfg(target_os = "linux")]
fn start_time(pid: i32) -> Option<u64> {
    let stat = procfs::process::Process::new(pid).and_then(|p| p.stat()).ok()?;
    (!matches!(stat.state, 'Z' | 'X')).then_some(stat.starttime)
}

#[cfg(not(target_os = "linux"))]
fn start_time(pid: i32) -> Option<u64> {
    rustix::process::test_kill_process(Pid::from_raw(pid)?).ok().map(|()| 0)
}

impl ProcessId {
    /// Whether exactly this process still runs.
    pub fn is_alive(&self) -> bool {
        self.boot == boot_id() && start_time(self.pid) == Some(self.started)
    }
}

/// Every live process that carries the mark, or descends from one that does.
#[cfg(target_os = "linux")]
fn family(mark: &str, root: Option<&ProcessId>) -> BTreeSet<(i32, u64)> {
    let wanted = format!("{MARK}={mark}");
    let Ok(all) = procfs::process::all_processes() else {
        return BTreeSet::new();
    };
    let mut parents = Vec::new();
    let mut members: BTreeSet<i32> = root.filter(|r| r.is_alive()).map(|r| r.pid).into_iter().collect();
    for process in all.flatten() {
        let Ok(stat) = process.stat() else { continue };
        if matches!(stat.state, 'Z' | 'X') {
            continue;
        }
        parents.push((stat.pid, stat.ppid, stat.pgrp, stat.starttime));
        let environ = fs::read(format!("/proc/{}/environ", stat.pid)).unwrap_or_default();
        if environ.split(|b| *b == 0).any(|entry| entry == wanted.as_bytes()) {
            members.insert(stat.pid);
        }
    }
    let group = root.filter(|r| r.is_alive()).map(|r| r.pid);
    loop {
        let before = members.len();
        for (pid, ppid, pgrp, _) in &parents {
            if members.contains(ppid) || Some(*pgrp) == group {
                members.insert(*pid);
            }
        }
        if members.len() == before {
            break;
        }
    }
    let me = rustix::process::getpid().as_raw_nonzero().get();
    parents
        .iter()
        .filter(|(pid, ..)| members.contains(pid) && *pid != me)
        .map(|(pid, _, _, start)| (*pid, *start))
        .collect()
}

#[cfg(not(target_os = "linux"))]
fn family(_mark: &str, root: Option<&ProcessId>) -> BTreeSet<(i32, u64)> {
    root.filter(|r| r.is_alive())
        .map(|r| (r.pid, r.started))
        .into_iter()
        .collect()
}

fn signal(members: &BTreeSet<(i32, u64)>, signal: Signal) {
    for (pid, started) in members {
        if let (Some(target), true) = (Pid::from_raw(*pid), start_time(*pid) == Some(*started)) {
            // It may end between the look and the signal; that is what was wanted.
            let _ = kill_process(target, signal);
        }
    }
}

/// Ends everything that belongs to an attempt: asks, waits, then forces. Gives how many were still there at first.
pub async fn end_family(mark: &str, root: Option<&ProcessId>, grace: Duration) -> usize {
    let mut known = family(mark, root);
    let found = known.len();
    if found == 0 {
        return 0;
    }
    signal(&known, Signal::TERM);
    let asked = Instant::now();
    while asked.elapsed() < grace && known.iter().any(|(pid, start)| start_time(*pid) == Some(*start)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Some may have started others meanwhile; those known from before stay on the list even if they lost their parent.
    for _ in 0..50 {
        known.extend(family(mark, root));
        known.retain(|(pid, start)| start_time(*pid) == Some(*start));
        if known.is_empty() {
            break;
        }
        signal(&known, Signal::KILL);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    found
}

/// Starts the command.
pub fn start(launch: &Launch<'_>) -> Result<Running> {
    let open = |path: &Path| {
        File::options()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|e| Error::io("write", path, e))
    };
    let stdin = match launch.stdin {
        Some(path) => Stdio::from(File::open(path).map_err(|e| Error::io("read", path, e))?),
        None => Stdio::null(),
    };
    let mark = launch.env.get(MARK).cloned().unwrap_or_default();
    let mut command = tokio::process::Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(WRAPPER)
        .arg(launch.exit)
        .args(launch.argv)
        .env_clear()
        .envs(launch.env)
        .current_dir(launch.cwd)
        .stdin(stdin)
        .stdout(open(launch.stdout)?)
        .stderr(open(launch.stderr)?)
        .process_group(0)
        .kill_on_drop(false);
    let child = command.spawn().map_err(|e| {
        let program = launch.argv.first().map(String::as_str).unwrap_or_default();
        Error::new(
            ErrorCode::AgentMissing,
            format!("cannot start {program} in {}: {e}", launch.cwd.display()),
        )
        .with_source(e)
    })?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0);
    let id = ProcessId {
        pid,
        started: start_time(pid).unwrap_or(0),
        boot: boot_id(),
    };
    Ok(Running {
        id,
        child: Some(child),
        exit: launch.exit.to_path_buf(),
        mark,
    })
}

/// Takes up a process that an earlier orchestrator started, alive or not.
pub fn adopt(id: ProcessId, mark: &str, exit: &Path) -> Running {
    Running {
        id,
        child: None,
        exit: exit.to_path_buf(),
        mark: mark.to_owned(),
    }
}

/// The process that leads a family whose id was never written down; none when it has ended.
#[cfg(target_os = "linux")]
pub fn find_by_mark(mark: &str) -> Option<ProcessId> {
    let members = family(mark, None);
    let leader = members.iter().find(|(pid, _)| {
        procfs::process::Process::new(*pid)
            .and_then(|p| p.stat())
            .is_ok_and(|s| s.pgrp == *pid)
    })?;
    Some(ProcessId {
        pid: leader.0,
        started: leader.1,
        boot: boot_id(),
    })
}

/// The process that leads a family whose id was never written down; none when it has ended.
#[cfg(not(target_os = "linux"))]
pub fn find_by_mark(_mark: &str) -> Option<ProcessId> {
    None
}

/// The exit code in the file that the wrapper wrote.
pub fn exit_code(file: &Path) -> Option<i32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

impl Running {
    /// Waits until the process has ended by itself, by a limit or because `stop` became true; then nothing of it is left.
    ///
    /// `alive` names files and folders whose changes are signs of life.
    pub async fn wait(
        &mut self,
        limits: RunLimits,
        begun: SystemTime,
        alive: &[PathBuf],
        stop: &mut watch::Receiver<bool>,
    ) -> Ending {
        let mut life = LifeSigns::new(alive, limits.silence);
        let ending = loop {
            tokio::select! {
                ended = self.ended() => break ended,
                () = stopped(stop) => break Ending::Stopped,
                () = tokio::time::sleep(life.next_look()) => {
                    if begun.elapsed().unwrap_or_default() >= limits.wall {
                        break Ending::WallTimeout;
                    }
                    if life.silent() {
                        break Ending::SilenceTimeout;
                    }
                }
            }
            // Both limits are looked at again at every turn.
        };
        end_family(&self.mark, Some(&self.id), limits.grace).await;
        if let Some(child) = &mut self.child {
            // Takes the exit code from the kernel; the answer is in `ending` already.
            let _ = child.wait().await;
        }
        ending
    }

    async fn ended(&mut self) -> Ending {
        if let Some(child) = &mut self.child {
            let status = child.wait().await;
            if let Some(code) = exit_code(&self.exit) {
                return code_to_ending(code);
            }
            use std::os::unix::process::ExitStatusExt;
            return match status.ok().and_then(|s| s.signal()) {
                Some(signal) => Ending::Signaled(signal),
                None => Ending::Unknown,
            };
        }
        while self.id.is_alive() {
            tokio::time::sleep(POLL).await;
        }
        exit_code(&self.exit).map_or(Ending::Unknown, code_to_ending)
    }
}

/// The shell says 128 + n for a command that a signal n ended.
fn code_to_ending(code: i32) -> Ending {
    if (129..=192).contains(&code) {
        Ending::Signaled(code - 128)
    } else {
        Ending::Exited(code)
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender lives as long as the attempt; without one there is nobody to stop it.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Looks for signs of life as seldom as the limit allows.
struct LifeSigns<'a> {
    places: &'a [PathBuf],
    silence: Duration,
    last: Instant,
    seen: Option<SystemTime>,
}

impl<'a> LifeSigns<'a> {
    fn new(places: &'a [PathBuf], silence: Duration) -> Self {
        Self {
            places,
            silence,
            last: Instant::now(),
            seen: None,
        }
    }

    fn next_look(&self) -> Duration {
        (self.silence / 8).clamp(Duration::from_millis(50), Duration::from_secs(15))
    }

    /// Files first; folders are walked only when the files have been still for half of the limit.
    fn silent(&mut self) -> bool {
        let half_over = self.last.elapsed() >= self.silence / 2;
        let newest = self
            .places
            .iter()
            .filter(|p| half_over || !p.is_dir())
            .filter_map(|p| newest_change(p, 0))
            .max();
        if newest > self.seen {
            self.seen = newest;
            self.last = Instant::now();
        }
        self.last.elapsed() >= self.silence
    }
}

/// The latest change at or below a path; deep trees are cut off.
fn newest_change(path: &Path, depth: usize) -> Option<SystemTime> {
    let meta = fs::symlink_metadata(path).ok()?;
    let mut newest = meta.modified().ok();
    if meta.is_dir() && depth < 12 {
        for entry in fs::read_dir(path).ok()?.flatten() {
            if entry.file_name() != ".git" {
                newest = newest.max(newest_change(&entry.path(), depth + 1));
            }
        }
    }
    newest
}
