//! The `octopoid` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(octopoid_cli::run(std::env::args_os().collect()))
}
