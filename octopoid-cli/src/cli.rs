//! What can be typed, with help and examples.

mod place;
mod records;
mod settings;
mod tasks;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use octopoid_core::{
    id::{Scope, TaskId},
    model::QueueName,
};

pub(crate) use place::{Key, Place};
pub(crate) use records::{Draft, Project, ProjectFields};
pub(crate) use settings::{Config, Flow, SchemaFile};
pub(crate) use tasks::{Edit, Enqueue, List};

/// Gives tasks to coding agents, checks and reviews what they do, and merges it.
#[derive(Debug, Parser)]
#[command(name = "octopoid", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Start here:\n  octopoid demo                 the whole story on a repository made for it\n  octopoid init --local         set your own repository up\n  octopoid enqueue \"Fix …\"      write down what should change\n  octopoid start                let agents work\n\nExit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 conflict, 5 server unreachable, 6 not authorised, 7 invalid configuration"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print one JSON document on standard output, and nothing else there.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no messages, only data and errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// When to use colours.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Work as if started in this folder.
    #[arg(long, short = 'C', global = true, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Tell more on standard error; twice tells everything.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole story on a small repository made for it; needs no network and no key.
    #[command(after_help = "Example:\n  octopoid demo --keep /tmp/octopoid-demo")]
    Demo {
        /// Make the repository in this folder and leave it there.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
    /// Set up the repository that you are in.
    #[command(after_help = "Example:\n  octopoid init --local --agent claude")]
    Init(Init),
    /// Write down what should change.
    #[command(
        after_help = "Examples:\n  octopoid enqueue \"Fix the off-by-one error in paging\"\n  octopoid enqueue --file task.md --priority P1\n  git diff | octopoid enqueue \"Review this idea\" -\n  octopoid enqueue \"Use the new API\" --after task-1a2b3c4d"
    )]
    Enqueue(Enqueue),
    /// List tasks, by queue.
    #[command(after_help = "Examples:\n  octopoid list\n  octopoid list --queue incoming,claimed --json")]
    List(List),
    /// Show one task with everything that belongs to it.
    #[command(after_help = "Example:\n  octopoid show task-1a2b3c4d --format md")]
    Show {
        /// The task.
        id: TaskId,
        /// How to show it.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Tell why a task is where it is, and what helps.
    #[command(after_help = "Example:\n  octopoid why task-1a2b3c4d")]
    Why {
        /// The task.
        id: TaskId,
    },
    /// Print what an agent printed.
    #[command(after_help = "Example:\n  octopoid logs task-1a2b3c4d -f")]
    Logs {
        /// The task.
        id: TaskId,
        /// Which attempt; the latest when not given.
        #[arg(long, value_name = "N")]
        attempt: Option<i64>,
        /// Follow the output until the attempt ends.
        #[arg(long, short)]
        follow: bool,
    },
    /// Print a task's changes against its base.
    #[command(after_help = "Example:\n  octopoid diff task-1a2b3c4d | less")]
    Diff {
        /// The task.
        id: TaskId,
    },
    /// Accept the work that is handed in; the orchestrator merges it.
    #[command(after_help = "Example:\n  octopoid approve task-1a2b3c4d --by alice")]
    Approve {
        /// The task.
        id: TaskId,
        /// Who accepts.
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Refuse the work that is handed in; the next attempt gets the reason.
    #[command(after_help = "Example:\n  octopoid reject task-1a2b3c4d --reason \"rename foo to bar\"")]
    Reject {
        /// The task.
        id: TaskId,
        /// What has to change.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who refuses.
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Start a failed, cancelled or stuck task again, with fresh limits and its work kept.
    #[command(after_help = "Example:\n  octopoid retry task-1a2b3c4d")]
    Retry {
        /// The task.
        id: TaskId,
    },
    /// Put a task back to incoming; its work is kept.
    #[command(after_help = "Example:\n  octopoid requeue task-1a2b3c4d")]
    Requeue {
        /// The task.
        id: TaskId,
    },
    /// Call a task off; its agent is ended, its work is kept.
    #[command(after_help = "Example:\n  octopoid cancel task-1a2b3c4d --reason \"not needed any more\"")]
    Cancel {
        /// The task.
        id: TaskId,
        /// Why.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Keep a task from being claimed.
    #[command(after_help = "Example:\n  octopoid hold task-1a2b3c4d --reason \"after the release\"")]
    Hold {
        /// The task.
        id: TaskId,
        /// Why.
        #[arg(long, value_name = "TEXT", default_value = "held by a person")]
        reason: String,
    },
    /// Let a held task be claimed again.
    #[command(after_help = "Example:\n  octopoid unhold task-1a2b3c4d")]
    Unhold {
        /// The task.
        id: TaskId,
    },
    /// Move a task by your own decision; it is written into the history.
    #[command(
        after_help = "Examples:\n  octopoid recover task-1a2b3c4d --to provisional --reason \"conflict resolved by hand\"\n  octopoid recover task-1a2b3c4d --to done --reason \"merged by hand\""
    )]
    Recover {
        /// The task.
        id: TaskId,
        /// Where to.
        #[arg(long, value_name = "QUEUE")]
        to: QueueName,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Change what a task asks for.
    #[command(after_help = "Example:\n  octopoid edit task-1a2b3c4d --priority P0 --after task-5e6f7a8b")]
    Edit(Edit),
    /// Remove a task that nobody works on; its history and commits stay.
    #[command(after_help = "Example:\n  octopoid delete task-1a2b3c4d")]
    Delete {
        /// The task.
        id: TaskId,
    },
    /// Run the orchestrator.
    #[command(after_help = "Examples:\n  octopoid start\n  octopoid start --once\n  octopoid start --daemon")]
    Start(Start),
    /// Stop the orchestrator; its agents go on and are taken up by the next start.
    #[command(after_help = "Example:\n  octopoid stop --now")]
    Stop {
        /// End the agents too; their work is kept.
        #[arg(long)]
        now: bool,
    },
    /// Let no new task be claimed; what runs goes on.
    #[command(after_help = "Example:\n  octopoid pause --reason \"release in progress\"")]
    Pause {
        /// Why.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Let tasks be claimed again.
    #[command(after_help = "Example:\n  octopoid resume")]
    Resume,
    /// Tell how everything stands; exit code 1 when something is stalled.
    #[command(after_help = "Example:\n  octopoid status --json")]
    Status,
    /// List the kinds of agents, whether their programs are there, and how many work.
    #[command(after_help = "Example:\n  octopoid agents")]
    Agents,
    /// List what waits for a person, with the choices.
    #[command(after_help = "Example:\n  octopoid inbox")]
    Inbox,
    /// Answer something of the inbox.
    #[command(
        after_help = "Examples:\n  octopoid answer task-1a2b3c4d approve\n  octopoid answer task-1a2b3c4d reject --reason \"rename foo to bar\"\n  octopoid answer task-5e6f7a8b \"Use the second one\"    # an agent's question; the task starts again"
    )]
    Answer {
        /// The task, or the action.
        id: String,
        /// One of the choices; for a question, any text.
        choice: String,
        /// Why; needed to reject.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Who answers.
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// List the worktrees of tasks; remove those that nobody needs.
    #[command(after_help = "Example:\n  octopoid worktrees --clean --dry-run")]
    Worktrees {
        /// Remove those that can go. Work that is not merged stays.
        #[arg(long)]
        clean: bool,
        /// Only tell what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show and check flows.
    #[command(subcommand, after_help = "Example:\n  octopoid flow show default")]
    Flow(Flow),
    /// Check every file of .octopoid/.
    #[command(after_help = "Example:\n  octopoid validate")]
    Validate,
    /// Show the effective settings.
    #[command(subcommand, after_help = "Example:\n  octopoid config show --origin")]
    Config(Config),
    /// Tell how an attempt went; run by an agent inside its worktree.
    #[command(
        after_help = "Examples:\n  octopoid report --outcome done --summary \"renamed foo\"\n  octopoid report --verdict approve"
    )]
    Report(Report),
    /// Look for what is missing or wrong, with its repair.
    #[command(after_help = "Example:\n  octopoid doctor")]
    Doctor,
    /// Send what waits for the server, refresh the copy, and tell what was dropped and why.
    #[command(
        after_help = "Examples:\n  octopoid sync\n  octopoid sync --forget    # after you have read what was dropped"
    )]
    Sync {
        /// Forget what was dropped, once it is told.
        #[arg(long)]
        forget: bool,
    },
    /// Serve this queue, or a new one, to many machines over HTTP.
    #[command(
        after_help = "Examples:\n  octopoid serve --default-scope default\n  octopoid serve --listen 0.0.0.0:8787 --database postgres://octopoid@db/octopoid --admin-token SECRET"
    )]
    Serve(Box<octopoid_server::Config>),
    /// Make, list, change and revoke the keys of a server.
    #[command(
        subcommand,
        after_help = "Examples:\n  octopoid key create --scope web --name vm-001 --server https://octopoid.example.org\n  octopoid key list --database sqlite:octopoid.db"
    )]
    Key(Key),
    /// Several tasks on one branch.
    #[command(subcommand)]
    Project(Project),
    /// Ideas that are no tasks yet.
    #[command(subcommand)]
    Draft(Draft),
    /// Write every task, attempt and event as lines of JSON.
    #[command(after_help = "Example:\n  octopoid export --out backup.jsonl")]
    Export {
        /// Where to; standard output when not given.
        #[arg(long, value_name = "F")]
        out: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Read an export; all of it, or nothing.
    #[command(after_help = "Example:\n  octopoid import backup.jsonl --dry-run")]
    Import {
        /// The export; `-` is standard input.
        file: PathBuf,
        /// Only tell what would be written.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Take over the tasks of an older installation; nothing is written there.
    #[command(after_help = "Example:\n  octopoid migrate --from ../old-checkout --dry-run")]
    Migrate {
        /// The folder of the older installation; this project's when not given.
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
        /// Only tell what would be written.
        #[arg(long)]
        dry_run: bool,
    },
    /// Give the queue to your assistant as tools, over MCP on standard input and output.
    #[command(after_help = "Example:\n  claude mcp add octopoid -- octopoid -C /path/to/repository mcp")]
    Mcp,
    /// Print the JSON Schema of a file of .octopoid/, for editors.
    #[command(after_help = "Example:\n  octopoid schema config > config.schema.json")]
    Schema {
        /// Which file.
        #[arg(value_enum)]
        file: SchemaFile,
    },
    /// Print a completion script for a shell.
    #[command(
        after_help = "Example:\n  octopoid completions bash > ~/.local/share/bash-completion/completions/octopoid"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    #[command(after_help = "Example:\n  octopoid man | man -l -")]
    Man,
    /// Play a script as an agent would; for `agent: scripted`.
    #[command(hide = true)]
    ScriptedAgent {
        /// The script.
        script: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For reading.
    Text,
    /// As a task file.
    Md,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Keep the tasks in this repository; no server.
    #[arg(long, conflicts_with = "server")]
    pub(crate) local: bool,
    /// Keep the tasks on a server.
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// First half of this orchestrator's name.
    #[arg(long, value_name = "C")]
    pub(crate) cluster: Option<String>,
    /// Second half of this orchestrator's name.
    #[arg(long, value_name = "M")]
    pub(crate) machine_id: Option<String>,
    /// Tenant; the folder's name when not given.
    #[arg(long, value_name = "S")]
    pub(crate) scope: Option<Scope>,
    /// Which program the agents are: claude, or command for any command line.
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<String>,
    /// Write files anew that are there already.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Do all work that is ready, wait for it, and end.
    #[arg(long, conflicts_with = "daemon")]
    pub(crate) once: bool,
    /// Go on in the background.
    #[arg(long)]
    pub(crate) daemon: bool,
    /// Seconds between looks at the queue when nothing happens.
    #[arg(long, value_name = "SECS")]
    pub(crate) tick_interval: Option<f64>,
    /// Agents at work at the same time.
    #[arg(long, value_name = "N")]
    pub(crate) max_agents: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// done, failed, needs_continuation, question or no_change.
    #[arg(long, value_name = "O", value_parser = ["done", "failed", "needs_continuation", "question", "no_change"])]
    pub(crate) outcome: Option<String>,
    /// What was done, or what is asked.
    #[arg(long, value_name = "T")]
    pub(crate) summary: Option<String>,
    /// approve or reject, for a review.
    #[arg(long, value_name = "V", value_parser = ["approve", "reject"])]
    pub(crate) verdict: Option<String>,
    /// A JSON file with the whole result; the other options are laid over it.
    #[arg(long, value_name = "F")]
    pub(crate) file: Option<PathBuf>,
}
