#![doc = include_str!("../../../docs/sdk-rust.md")]

use std::process::ExitCode;

use octopoid_core::{
    Error, Octopoid, Result,
    model::{QueueName, Task, TaskFilter},
};

/// Tasks of one page, where all tasks of a queue are read.
const PAGE: u32 = 200;

/// The queue that an argument names: a server's URL, with the key that `OCTOPOID_API_KEY` holds, or a folder.
pub fn open(place: &str) -> Result<Octopoid> {
    if !place.starts_with("http://") && !place.starts_with("https://") {
        return Octopoid::local(place);
    }
    let connect = Octopoid::connect(place);
    match std::env::var("OCTOPOID_API_KEY") {
        Ok(key) if !key.is_empty() => connect.api_key(key).build(),
        _ => connect.build(),
    }
}

/// The program's arguments; refused with the usage when there are too few or too many.
pub fn arguments(count: std::ops::RangeInclusive<usize>, usage: &str) -> Result<Vec<String>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if count.contains(&given.len()) {
        return Ok(given);
    }
    Err(Error::invalid(format!("{} arguments were given", given.len())).with_hint(format!("usage: {usage}")))
}

/// Seconds from an argument, where one was given.
pub fn seconds(argument: Option<&String>) -> Result<Option<std::time::Duration>> {
    let Some(text) = argument else {
        return Ok(None);
    };
    let parsed = text.parse().ok().map(std::time::Duration::try_from_secs_f64);
    match parsed {
        Some(Ok(time)) => Ok(Some(time)),
        _ => Err(Error::invalid(format!("{text:?} is not a number of seconds"))),
    }
}

/// All tasks of a queue, read a page at a time.
pub async fn all_tasks(octopoid: &Octopoid, queue: QueueName) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    loop {
        let filter = TaskFilter {
            queues: vec![queue.clone()],
            limit: Some(PAGE),
            offset: u32::try_from(tasks.len()).unwrap_or(u32::MAX),
            ..TaskFilter::default()
        };
        let page = octopoid.tasks().list(&filter).await?;
        let is_last = page.tasks.is_empty();
        tasks.extend(page.tasks);
        if is_last || tasks.len() as u64 >= page.total {
            return Ok(tasks);
        }
    }
}

/// The exit code of a program that has ended so. What failed, and what to do about it, goes to stderr.
#[allow(clippy::print_stderr, reason = "the user must see what failed")]
pub fn end(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error} [{}]", error.code());
        if let Some(hint) = error.hint() {
            eprintln!("hint: {hint}");
        }
        ExitCode::from(error.code().exit_code())
    })
}
