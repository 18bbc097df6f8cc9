//! Which database an administrator means, and what can be done with its keys.

use clap::{Args, Subcommand};
use octopoid_core::id::Scope;

/// Which database: a server's by its address, or a database itself; else the server of OCTOPOID_SERVER_URL, else this project's.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// A server; the admin token comes from OCTOPOID_ADMIN_TOKEN.
    #[arg(long, value_name = "URL", conflicts_with = "database")]
    pub(crate) server: Option<String>,
    /// The database itself: sqlite:FILE or postgres://…
    #[arg(long, value_name = "URL", env = "OCTOPOID_DATABASE_URL", hide_env_values = true)]
    pub(crate) database: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key; its secret is printed this once.
    #[command(after_help = "Example:\n  octopoid key create --scope web --name vm-001")]
    Create {
        /// What it opens.
        #[arg(long, value_name = "S")]
        scope: Scope,
        /// What people call it.
        #[arg(long, value_name = "N")]
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// List keys without their secrets.
    #[command(after_help = "Example:\n  octopoid key list --scope web")]
    List {
        /// Only this scope's.
        #[arg(long, value_name = "S")]
        scope: Option<Scope>,
        #[command(flatten)]
        place: Place,
    },
    /// Make a key worthless.
    #[command(after_help = "Example:\n  octopoid key revoke key-1a2b3c4d5e6f")]
    Revoke {
        /// The key's id, not its secret.
        id: String,
        #[command(flatten)]
        place: Place,
    },
    /// Give a key a new secret; the old one is worthless from then on.
    #[command(after_help = "Example:\n  octopoid key rotate key-1a2b3c4d5e6f")]
    Rotate {
        /// The key's id, not its secret.
        id: String,
        #[command(flatten)]
        place: Place,
    },
}
