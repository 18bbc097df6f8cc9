//! What can be asked about flows and settings.

use clap::{Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Flow {
    /// List the flows.
    List,
    /// Print exactly what a flow does.
    Show {
        /// The flow.
        name: String,
    },
    /// Check flows.
    Validate {
        /// Only this one.
        name: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print the effective settings.
    Show {
        /// With the place that each value comes from.
        #[arg(long)]
        origin: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaFile {
    /// config.yaml and local.yaml.
    Config,
    /// agents/<name>.yaml.
    Blueprint,
    /// flows/<name>.yaml.
    Flow,
}
