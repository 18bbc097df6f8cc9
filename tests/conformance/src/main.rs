//! The server as a process of its own, for the scenarios that are played over HTTP.

use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    config: octopoid_server::Config,
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "who started it reads there why it ended")]
async fn main() -> ExitCode {
    match octopoid_server::run(Arguments::parse().config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
