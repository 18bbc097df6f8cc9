//! The orchestrator inside a service of one's own: every line that arrives on a TCP port becomes a task, and its result
//! is answered.
//!
//! ```text
//! embedded_service REPOSITORY [SECONDS]        a git repository with a commit; without a time it serves until it is stopped
//! ```
//!
//! Ends in order at SIGTERM or Ctrl-C: no new claims, running roles are told to end, their work is kept.
#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(clippy::print_stderr, reason = "a service tells its operator what goes wrong")]

use std::{fs, path::Path, process::ExitCode, time::Duration};

use octopoid_core::{Result, orchestrator::Stop, prelude::*};
use octopoid_examples::{arguments, end, open, seconds};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Writes the task's title into a file. A real service would call a model here.
#[derive(Debug)]
struct Note;

#[async_trait]
impl Role for Note {
    fn name(&self) -> &str {
        "implement"
    }

    async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError> {
        let file = cx.worktree.join(format!("{}.txt", cx.task.id));
        fs::write(&file, format!("{}\n", cx.task.title)).map_err(|e| Error::io("write", &file, e))?;
        Ok(Outcome::done("noted"))
    }
}

#[derive(Debug)]
struct Approve;

#[async_trait]
impl Role for Approve {
    fn name(&self) -> &str {
        "gatekeeper"
    }

    async fn run(&self, _: &Assignment) -> Result<Outcome, RoleError> {
        Ok(Outcome::verdict(Verdict::Approve, "fine"))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    end(run().await)
}

fn network(action: &str, error: std::io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("cannot {action}: {error}")).with_source(error)
}

/// Creates the task that one connection asks for, waits for its end and answers it.
async fn answer(octopoid: &Octopoid, stream: TcpStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream
        .read_line(&mut line)
        .await
        .map_err(|e| network("read a title", e))?;
    let wanted = CreateTask {
        title: Some(line.trim().to_owned()),
        ..CreateTask::default()
    };
    let told = match octopoid.tasks().create(wanted).await {
        Ok(mut task) => {
            let mut cursor = 0;
            while !task.kind().is_terminal() && task.queue != QueueName::needs_attention() {
                let news = octopoid
                    .events()
                    .wait(Some(&task.id), cursor, 100, Duration::from_secs(10))
                    .await?;
                cursor = news.last().map_or(cursor, |event| event.cursor);
                task = octopoid.tasks().get(&task.id).await?;
            }
            format!("{} {}\n", task.id, task.queue)
        }
        Err(error) => format!("error {}: {error}\n", error.code()),
    };
    stream
        .write_all(told.as_bytes())
        .await
        .map_err(|e| network("answer", e))
}

/// Comes back when the service is to end.
async fn told_to_stop(after: Option<Duration>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| network("wait for SIGTERM", e))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| network("wait for Ctrl-C", e))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = tokio::time::sleep(after.unwrap_or_default()), if after.is_some() => {}
    }
    Ok(())
}

async fn run() -> Result<ExitCode> {
    let given = arguments(1..=2, "embedded_service REPOSITORY [SECONDS]")?;
    let (repo, after) = (Path::new(&given[0]), seconds(given.get(1))?);
    let octopoid = open(&given[0])?;
    let orchestrator = Orchestrator::builder()
        .octopoid(octopoid.clone())
        .repo(repo)
        .role(Note)
        .role(Approve)
        .max_agents(2)
        .build()?;
    let (stop, stopping) = watch::channel(Stop::No);
    let working = tokio::spawn(orchestrator.run(false, stopping));

    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(|e| network("listen", e))?;
    let address = listener.local_addr().map_err(|e| network("listen", e))?;
    println!("listening on {address}");

    let stopped = told_to_stop(after);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            over = &mut stopped => {
                over?;
                break;
            }
            accepted = listener.accept() => {
                let (stream, _) = accepted.map_err(|e| network("accept a connection", e))?;
                let octopoid = octopoid.clone();
                tokio::spawn(async move {
                    if let Err(error) = answer(&octopoid, stream).await {
                        eprintln!("a connection broke off: {error}");
                    }
                });
            }
        }
    }

    // The receiver is gone only when the orchestrator has ended by itself, and then its result says why.
    let _ = stop.send(Stop::WithAgents);
    let ended = working
        .await
        .map_err(|e| Error::new(ErrorCode::Internal, format!("the orchestrator broke down: {e}")))??;
    println!("orchestrator: {ended:?}");
    Ok(ExitCode::SUCCESS)
}
