//! What can be done with projects and drafts.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Project {
    /// Make a project: several tasks on one branch.
    #[command(
        after_help = "Example:\n  octopoid project create pager --title \"A faster pager\"\n  octopoid enqueue \"…\" --project pager"
    )]
    Create {
        /// Its id.
        id: String,
        /// What people call it.
        #[arg(long, value_name = "TEXT")]
        title: String,
        /// The branch of its tasks; project/ID when not given.
        #[arg(long, value_name = "BRANCH")]
        branch: Option<String>,
        #[command(flatten)]
        more: ProjectFields,
    },
    /// List projects, the newest first.
    List {
        /// Only those with this status.
        #[arg(long, value_name = "S")]
        status: Option<String>,
    },
    /// Show a project.
    Show {
        /// Its id.
        id: String,
    },
    /// Change a project.
    Update {
        /// Its id.
        id: String,
        /// What people call it.
        #[arg(long, value_name = "TEXT")]
        title: Option<String>,
        #[command(flatten)]
        more: ProjectFields,
    },
    /// Delete a project that has no tasks.
    Delete {
        /// Its id.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ProjectFields {
    /// What it is about.
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Where it stands: draft, active, completed, or a word of your own.
    #[arg(long, value_name = "S")]
    pub(crate) status: Option<String>,
    /// Where its branch begins.
    #[arg(long, value_name = "BRANCH")]
    pub(crate) base_branch: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Draft {
    /// Keep an idea that is no task yet.
    #[command(after_help = "Example:\n  octopoid draft create \"A dark theme?\"")]
    Create {
        /// What it is called.
        title: String,
        /// The idea itself.
        #[arg(long, value_name = "TEXT")]
        body: Option<String>,
    },
    /// List drafts, the newest first.
    List {
        /// Only those with this status.
        #[arg(long, value_name = "S")]
        status: Option<String>,
    },
    /// Show a draft.
    Show {
        /// Its number.
        id: i64,
    },
    /// Change a draft.
    Update {
        /// Its number.
        id: i64,
        /// What it is called.
        #[arg(long, value_name = "TEXT")]
        title: Option<String>,
        /// The idea itself.
        #[arg(long, value_name = "TEXT")]
        body: Option<String>,
        /// Where it stands.
        #[arg(long, value_name = "S")]
        status: Option<String>,
    },
    /// Delete a draft.
    Delete {
        /// Its number.
        id: i64,
    },
    /// Make a task of a draft; twice gives the same task.
    Promote {
        /// Its number.
        id: i64,
    },
}
