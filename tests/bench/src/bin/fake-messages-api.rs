//! The scripted Messages API as a program: `fake-messages-api SCRIPT.json` prints its address and serves.

use std::process::ExitCode;

use octopoid_bench_world::messages_api::Api;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the shell")]
fn main() -> ExitCode {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("usage: fake-messages-api SCRIPT.json");
        return ExitCode::from(2);
    };
    let started = std::fs::read_to_string(&file)
        .map_err(|e| e.to_string())
        .and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string()))
        .and_then(|script| Api::start(script).map_err(|e| e.to_string()));
    match started {
        Ok(api) => {
            println!("{}", api.url());
            loop {
                std::thread::park();
            }
        }
        Err(error) => {
            eprintln!("{file}: {error}");
            ExitCode::FAILURE
        }
    }
}
