//! One file for each family of commands; this one only hands over.

mod admin;
mod agents;
mod attempt;
mod doctor;
mod fleet;
mod inbox;
mod init;
mod inspect;
mod mcp;
mod records;
mod service;
mod settings;
mod status;
mod tasks;

use std::future::Future;

use octopoid_core::{Error, ErrorCode};

use crate::{
    cli::{Cli, Command},
    demo,
    output::Output,
};

/// Runs a command to its exit code.
pub(crate) fn run(cli: Cli, output: &Output) -> Result<u8, Error> {
    let global = &cli.global;
    match cli.command {
        Command::Demo { keep } => wide(demo::run(keep, output)),
        Command::Init(args) => init::run(&args, global, output),
        Command::Enqueue(args) => narrow(tasks::enqueue(args, global, output)),
        Command::List(args) => narrow(tasks::list(args, global, output)),
        Command::Show { id, format } => narrow(inspect::show(&id, format, global, output)),
        Command::Why { id } => narrow(inspect::why(&id, global, output)),
        Command::Logs { id, attempt, follow } => narrow(inspect::logs(&id, attempt, follow, global, output)),
        Command::Diff { id } => narrow(inspect::diff(&id, global, output)),
        Command::Approve { id, by } => narrow(tasks::act(tasks::Act::Approve, id, by, global, output)),
        Command::Reject { id, reason, by } => narrow(tasks::act(tasks::Act::Reject(reason), id, by, global, output)),
        Command::Retry { id } => narrow(tasks::act(tasks::Act::Retry, id, None, global, output)),
        Command::Requeue { id } => narrow(tasks::act(tasks::Act::Requeue, id, None, global, output)),
        Command::Cancel { id, reason } => narrow(tasks::act(tasks::Act::Cancel(reason), id, None, global, output)),
        Command::Hold { id, reason } => narrow(tasks::act(tasks::Act::Hold(reason), id, None, global, output)),
        Command::Unhold { id } => narrow(tasks::act(tasks::Act::Unhold, id, None, global, output)),
        Command::Recover { id, to, reason } => {
            narrow(tasks::act(tasks::Act::Recover(to, reason), id, None, global, output))
        }
        Command::Edit(args) => narrow(tasks::edit(args, global, output)),
        Command::Delete { id } => narrow(tasks::delete(id, global, output)),
        Command::Start(args) => service::start(&args, global, output),
        Command::Stop { now } => service::stop(now, global, output),
        Command::Pause { reason } => service::pause(reason, global, output),
        Command::Resume => service::resume(global, output),
        Command::Status => narrow(status::run(global, output)),
        Command::Agents => narrow(agents::run(global, output)),
        Command::Inbox => narrow(inbox::list(global, output)),
        Command::Answer { id, choice, reason, by } => narrow(inbox::answer(id, choice, reason, by, global, output)),
        Command::Worktrees { clean, dry_run } => narrow(inspect::worktrees(clean, dry_run, global, output)),
        Command::Flow(flow) => settings::flow(&flow, global, output),
        Command::Validate => settings::validate(global, output),
        Command::Config(config) => settings::config(&config, global, output),
        Command::Report(args) => attempt::report(args, output),
        Command::Doctor => narrow(doctor::run(global, output)),
        Command::Sync { forget } => narrow(fleet::sync(forget, global, output)),
        Command::Serve(config) => wide(fleet::serve(*config)),
        Command::Key(key) => narrow(admin::key(key, global, output)),
        Command::Project(command) => narrow(records::project(command, global, output)),
        Command::Draft(command) => narrow(records::draft(command, global, output)),
        Command::Export { out, place } => narrow(admin::export(out, place, global, output)),
        Command::Import { file, dry_run, place } => narrow(admin::import(file, dry_run, place, global, output)),
        Command::Migrate { from, dry_run } => narrow(fleet::migrate(from, dry_run, global, output)),
        Command::Mcp => wide(mcp::run(global)),
        Command::Schema { file } => settings::schema(file, output),
        Command::Completions { shell } => settings::completions(shell, output),
        Command::Man => settings::man(output),
        Command::ScriptedAgent { script } => attempt::scripted(&script),
    }
}

fn on(mut builder: tokio::runtime::Builder, work: impl Future<Output = Result<u8, Error>>) -> Result<u8, Error> {
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|e| Error::new(ErrorCode::Internal, format!("cannot start: {e}")))?;
    runtime.block_on(work)
}

/// For commands that ask and answer.
fn narrow(work: impl Future<Output = Result<u8, Error>>) -> Result<u8, Error> {
    on(tokio::runtime::Builder::new_current_thread(), work)
}

/// For commands that run agents.
fn wide(work: impl Future<Output = Result<u8, Error>>) -> Result<u8, Error> {
    on(tokio::runtime::Builder::new_multi_thread(), work)
}

/// Accepting is a person's or a reviewer's business: an agent at work would accept its own.
fn may_accept() -> Result<(), Error> {
    if std::env::var_os("OCTOPOID_ATTEMPT_DIR").is_none() {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::Forbidden,
        "an agent at work on a task cannot accept work: it could be its own",
    )
    .with_hint("`octopoid report` tells how the attempt went; a reviewer adds --verdict"))
}

/// Who gives a command, when nobody is named.
fn me() -> String {
    ["OCTOPOID_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
        .unwrap_or_else(|| "human".to_owned())
}
