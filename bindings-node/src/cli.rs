//! The command line inside Node.

use napi_derive::napi;

/// Runs one command line and gives its exit code. Blocks: it is for `bin/octopoid.js`, which does nothing else.
#[napi]
pub(crate) fn cli(args: Vec<String>) -> u32 {
    u32::from(octopoid_cli::run(args.into_iter().map(Into::into).collect()))
}
