//! The program `octopoid-server`; the same as `octopoid serve`.

use std::process::ExitCode;

use clap::Parser;

/// Serves one queue of tasks to many machines.
#[derive(Debug, Parser)]
#[command(
    name = "octopoid-server",
    version,
    after_help = "Example: octopoid-server --default-scope default"
)]
struct Cli {
    #[command(flatten)]
    config: octopoid_server::Config,
}

#[expect(clippy::print_stderr, reason = "a program for the shell")]
fn main() -> ExitCode {
    let cli = Cli::parse();
    octopoid_server::start_logging(cli.config.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(octopoid_server::run(cli.config)),
        Err(error) => Err(octopoid_core::Error::new(
            octopoid_core::ErrorCode::Internal,
            format!("the runtime does not start: {error}"),
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("  help: {hint}");
            }
            ExitCode::from(error.code().exit_code())
        }
    }
}
