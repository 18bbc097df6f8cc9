//! Commands that run, stop and pause the orchestrator.

use std::{
    fs::File,
    io::IsTerminal,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use octopoid_core::{
    Error, ErrorCode, Octopoid,
    backend::Reach,
    clock::{Clock, SystemClock},
    config::Paths,
    orchestrator::{DaemonInfo, Ended, Journal, Notice, Orchestrator, Pause, Stop},
    queue::project_root,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};

use super::{me, wide};
use crate::{
    cli::{self, Global},
    directory, open,
    output::Output,
};

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn start(args: &cli::Start, global: &Global, output: &Output) -> Result<u8, Error> {
    if args.daemon {
        start_daemon(args, global, output)
    } else {
        wide(start_here(args, global, output))
    }
}

fn build(args: &cli::Start, octopoid: &Octopoid) -> Result<Orchestrator, Error> {
    let mut builder = Orchestrator::builder().octopoid(octopoid.clone());
    if let Some(max) = args.max_agents {
        builder = builder.max_agents(max);
    }
    if let Some(seconds) = args.tick_interval {
        builder = builder.tick_seconds(seconds);
    }
    builder.build()
}

async fn start_here(args: &cli::Start, global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let mut orchestrator = build(args, &octopoid)?;
    let notices = orchestrator.notices();
    if !args.once {
        output.message(&format!(
            "orchestrator of {} runs; Ctrl-C stops it, its agents go on",
            octopoid.root().display()
        ));
    }
    let stop = listen()?;
    let show_line = !output.is_json() && !global.quiet && std::io::stderr().is_terminal();
    let printer = tokio::spawn(print_notices(
        notices,
        show_line,
        global.quiet || output.is_json(),
        octopoid.clone(),
    ));
    let ended = orchestrator.run(args.once, stop).await;
    // The sender is gone with the orchestrator: everything told is printed, then it ends.
    if printer.await.is_err() {
        output.message("(the status line stopped)");
    }
    let ended = ended?;
    let status = octopoid.status().await?;
    output.json(&serde_json::json!({
        "ended": match ended { Ended::Clean => "clean", Ended::NeedsAttention => "needs_attention", Ended::Stopped => "stopped" },
        "queues": status.queues,
    }))?;
    match ended {
        Ended::NeedsAttention => {
            for task in &status.attention {
                output.message(&format!(
                    "{} needs a person ({}): octopoid why {}",
                    task.id,
                    task.attention.as_deref().unwrap_or("?"),
                    task.id
                ));
            }
            for finding in Journal::open(&Paths::new(octopoid.root()).journal_db())?.findings()? {
                output.message(&format!("{}: {}", finding.code, finding.message));
            }
            Ok(1)
        }
        Ended::Clean | Ended::Stopped => match octopoid.reach() {
            Reach::Offline { url, waiting, .. } if args.once => {
                output.message(&format!(
                    "the server at {url} cannot be reached, so no task was claimed; {waiting} requests wait for it here"
                ));
                Ok(5)
            }
            _ => Ok(0),
        },
    }
}

/// Signals, as what the orchestrator is told: once to stop, twice to end the agents too.
fn listen() -> Result<watch::Receiver<Stop>, Error> {
    let fail = |e| Error::new(ErrorCode::Internal, format!("cannot listen for signals: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
    let (told, stop) = watch::channel(Stop::No);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            told.send_modify(|stop| {
                *stop = if *stop == Stop::Gracefully {
                    Stop::WithAgents
                } else {
                    Stop::Gracefully
                }
            });
        }
    });
    Ok(stop)
}

#[expect(clippy::print_stderr, reason = "progress is told on standard error")]
async fn print_notices(mut notices: mpsc::UnboundedReceiver<Notice>, show_line: bool, quiet: bool, octopoid: Octopoid) {
    let line = if show_line {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        line.set_style(style);
    }
    let mut refresh = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            notice = notices.recv() => {
                let Some(notice) = notice else { break };
                if quiet { continue; }
                let text = match notice.task {
                    Some(task) => format!("{task}  {}", notice.text),
                    None => notice.text,
                };
                if show_line { line.println(text) } else { eprintln!("{text}") }
            }
            _ = refresh.tick(), if show_line => {
                if let Ok(status) = octopoid.status().await {
                    let counts: Vec<String> = status.queues.iter().map(|c| format!("{} {}", c.count, c.queue)).collect();
                    line.set_message(format!("{} at work; {}", status.running.len(), counts.join(", ")));
                    line.tick();
                }
            }
        }
    }
    line.finish_and_clear();
}

/// Starts this program again in the background, and waits until it is ready or has failed.
fn start_daemon(args: &cli::Start, global: &Global, output: &Output) -> Result<u8, Error> {
    let root = project_root(&directory(global)?)?;
    let paths = Paths::new(&root);
    if let Some(info) = DaemonInfo::read_alive(&paths) {
        return Err(Error::new(
            ErrorCode::AlreadyRunning,
            format!(
                "an orchestrator of {} runs already: process {}",
                root.display(),
                info.process.pid
            ),
        )
        .with_hint("`octopoid status` shows what it does, `octopoid stop` ends it"));
    }
    let logs = paths.logs();
    std::fs::create_dir_all(&logs).map_err(|e| Error::io("create", &logs, e))?;
    let log = logs.join("daemon.log");
    let open_log = || {
        File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|e| Error::io("write", &log, e))
    };
    let begun_at = open_log()?.metadata().map(|m| m.len()).unwrap_or(0);
    let mut command = Command::new(octopoid_core::agent::octopoid_program()?);
    command.arg("-v").arg("-C").arg(&root).arg("start");
    if let Some(seconds) = args.tick_interval {
        command.args(["--tick-interval", &seconds.to_string()]);
    }
    if let Some(max) = args.max_agents {
        command.args(["--max-agents", &max.to_string()]);
    }
    use std::os::unix::process::CommandExt as _;
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(open_log()?)
        .stderr(open_log()?);
    let mut child = command
        .spawn()
        .map_err(|e| Error::new(ErrorCode::Internal, format!("the daemon cannot be started: {e}")))?;
    let begun = Instant::now();
    loop {
        if let Some(info) = DaemonInfo::read_alive(&paths).filter(|i| i.last_tick.is_some()) {
            output.text(&format!(
                "orchestrator runs as process {}; its log is {}",
                info.process.pid,
                log.display()
            ))?;
            output.json(&serde_json::json!({ "pid": info.process.pid, "log": log }))?;
            return Ok(0);
        }
        let ended = child
            .try_wait()
            .map_err(|e| Error::new(ErrorCode::Internal, format!("the daemon cannot be watched: {e}")))?;
        if ended.is_some() || begun.elapsed() > PATIENCE {
            let said = std::fs::read(&log).unwrap_or_default();
            let said = String::from_utf8_lossy(said.get(usize::try_from(begun_at).unwrap_or(0)..).unwrap_or_default())
                .trim()
                .to_owned();
            // What kept it from starting decides the exit code; it said so itself, in its log.
            let code = ended.and_then(|s| s.code()).unwrap_or(1);
            let code = ErrorCode::ALL
                .iter()
                .copied()
                .find(|c| i32::from(c.exit_code()) == code)
                .unwrap_or(ErrorCode::Internal);
            return Err(Error::new(code, format!("the daemon did not start:\n{said}"))
                .with_hint("run `octopoid start` in the foreground to see more"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn stop(now: bool, global: &Global, output: &Output) -> Result<u8, Error> {
    let paths = Paths::new(project_root(&directory(global)?)?);
    let Some(info) = DaemonInfo::read_alive(&paths) else {
        output.text("no orchestrator runs here")?;
        output.json(&serde_json::json!({ "stopped": false }))?;
        return Ok(0);
    };
    Orchestrator::tell_to_stop(&paths, now)?;
    let begun = Instant::now();
    while info.process.is_alive() {
        if begun.elapsed() > PATIENCE {
            return Err(Error::new(
                ErrorCode::Timeout,
                format!("process {} has not ended in {} s", info.process.pid, PATIENCE.as_secs()),
            )
            .with_hint("look at .octopoid/logs/daemon.log"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    output.text(if now {
        "stopped, agents too; their work is kept"
    } else {
        "stopped; agents that run go on and are taken up by the next start"
    })?;
    output.json(&serde_json::json!({ "stopped": true, "pid": info.process.pid }))?;
    Ok(0)
}

fn journal(global: &Global) -> Result<(Paths, Journal), Error> {
    let paths = Paths::new(project_root(&directory(global)?)?);
    let journal = Journal::open(&paths.journal_db())?;
    Ok((paths, journal))
}

pub(crate) fn pause(reason: String, global: &Global, output: &Output) -> Result<u8, Error> {
    let (_, journal) = journal(global)?;
    let pause = Pause {
        by: me(),
        reason,
        at: SystemClock.now(),
    };
    journal.set_pause(Some(&pause))?;
    output.text("paused: no new task is claimed; what runs goes on (`octopoid resume`)")?;
    output.json(&serde_json::json!({ "paused": pause }))?;
    Ok(0)
}

pub(crate) fn resume(global: &Global, output: &Output) -> Result<u8, Error> {
    let (paths, journal) = journal(global)?;
    let was = journal.pause()?;
    journal.set_pause(None)?;
    Orchestrator::nudge(&paths)?;
    output.text(if was.is_some() {
        "tasks are claimed again"
    } else {
        "was not paused"
    })?;
    output.json(&serde_json::json!({ "paused": null }))?;
    Ok(0)
}
