//! `octopoid sync`, `serve`, `migrate`: the queue beyond this machine.

use std::{path::PathBuf, sync::Arc};

use octopoid_core::{
    Error,
    backend::Reach,
    config::Paths,
    engine::registry::Registry,
    queue::{legacy, migrate as take_over, migrate_records, project_root},
    store::SqliteStore,
};

use crate::{
    cli::Global,
    directory, open,
    output::{Output, Tone},
};

pub(crate) async fn serve(config: octopoid_server::Config) -> Result<u8, Error> {
    octopoid_server::run(config).await.map(|()| 0)
}

pub(crate) async fn sync(forget: bool, global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let synced = octopoid.sync().await?;
    output.json(&synced)?;
    output.text(&format!(
        "{} {} delivered, {} waiting, {} tasks refreshed",
        output.paint(Tone::Good, "✓"),
        synced.delivered,
        synced.waiting,
        synced.refreshed
    ))?;
    for dropped in &synced.dropped {
        output.text(&format!(
            "{} dropped: {} {} ({}): {}",
            output.paint(Tone::Warn, "!"),
            dropped.request,
            dropped.task_id.as_ref().map_or("", |id| id.as_str()),
            dropped.at,
            dropped.reason
        ))?;
    }
    // Only after it was told.
    if forget {
        octopoid.forget_dropped().await?;
    }
    Ok(0)
}

pub(crate) async fn migrate(
    from: Option<PathBuf>,
    dry_run: bool,
    global: &Global,
    output: &Output,
) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let from = match from {
        Some(from) => from,
        None => project_root(&directory(global)?)?,
    };
    let source = legacy::read(&from)?;
    let mut done = take_over(&source, &**octopoid.backend(), dry_run).await?;
    if octopoid.reach() == Reach::Local {
        let store = SqliteStore::open(&Paths::new(octopoid.root()).state_db())?;
        let registry = Registry::new(Arc::new(store))?;
        let scope = &octopoid.settings().config.scope;
        let (records, problems) = migrate_records(&source, &registry, scope, dry_run).await?;
        done.records = records;
        done.problems.extend(problems);
    }
    output.json(&done)?;
    if !output.is_json() {
        for task in &done.tasks {
            output.text(&format!("{}  {} -> {}  {}", task.id, task.from, task.to, task.outcome))?;
        }
        for (queue, count) in &done.queues {
            output.text(&format!("{queue}: {count}"))?;
        }
        output.text(&format!("{} dependencies", done.dependencies))?;
        for (what, count) in &done.records {
            output.text(&format!("{}: {count}", what.replace('_', " ")))?;
        }
        for (what, count) in done
            .beside
            .iter()
            .filter(|(_, count)| **count > 0 && octopoid.reach() != Reach::Local)
        {
            output.text(&format!(
                "{count} {what} stay there: migrate into a local store, and carry it over with export and import"
            ))?;
        }
        for problem in &done.problems {
            output.text(&format!("{} {problem}", output.paint(Tone::Warn, "!")))?;
        }
    }
    if done.failed > 0 {
        output.message(&format!(
            "{} tasks could not be taken over; the problems say why",
            done.failed
        ));
    }
    Ok(u8::from(done.failed > 0))
}
