//! The command line of Octopoid: parses, calls the library, prints. No rule about tasks lives here.

mod cli;
mod command;
mod demo;
mod output;

use std::{ffi::OsString, path::PathBuf};

use clap::Parser as _;
use octopoid_core::{Error, ErrorCode, Octopoid};

use cli::{Cli, Global};
use output::Output;

/// Runs one command line and gives its exit code.
pub fn run(args: Vec<OsString>) -> u8 {
    let wants_json = args.iter().skip(1).take_while(|a| *a != "--").any(|a| a == "--json");
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, wants_json),
    };
    let output = Output::new(&cli.global);
    match &cli.command {
        cli::Command::Serve(config) => octopoid_server::start_logging(config.log_format),
        _ => start_log(cli.global.verbose),
    }
    match command::run(cli, &output) {
        Ok(code) => code,
        Err(error) => {
            output.error(&error);
            error.code().exit_code()
        }
    }
}

/// Help and version are answers; everything else is a mistake in the command line.
fn usage(error: &clap::Error, json: bool) -> u8 {
    use clap::error::ErrorKind;
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if json && !is_answer {
        let text = error.to_string();
        let message = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned();
        Output::json_only()
            .error(&Error::new(ErrorCode::InvalidArgument, message).with_hint("add --help to see what is allowed"));
    } else if error.print().is_err() {
        // Nobody reads the answer: the pipe is closed.
        return 1;
    }
    if is_answer { 0 } else { 2 }
}

fn start_log(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let default = match verbose {
        0 => "error",
        1 => "octopoid_core=info",
        _ => "octopoid_core=debug",
    };
    let chosen = std::env::var("OCTOPOID_LOG").ok().filter(|v| !v.is_empty());
    let filter = EnvFilter::try_new(chosen.as_deref().unwrap_or(default)).unwrap_or_else(|_| EnvFilter::new(default));
    // A second start in the same process (tests) keeps the first log.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
}

/// The folder that a command works in.
fn directory(global: &Global) -> Result<PathBuf, Error> {
    match &global.directory {
        Some(dir) => Ok(dir.clone()),
        None => std::env::current_dir().map_err(|e| Error::io("find", std::path::Path::new("."), e)),
    }
}

/// Says when an answer is not the server's own.
fn tell_if_offline(octopoid: &Octopoid, output: &Output) {
    if let octopoid_core::backend::Reach::Offline { url, since, .. } = octopoid.reach() {
        output.message(&format!(
            "offline since {since}: {url} cannot be reached; this is the last that was seen"
        ));
    }
}

/// The project that a command works on.
fn open(global: &Global) -> Result<Octopoid, Error> {
    Octopoid::open(directory(global)?)
}
