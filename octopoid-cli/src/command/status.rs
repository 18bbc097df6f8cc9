//! `octopoid status`: how everything stands, and whether something is stalled.

use std::time::{Duration, SystemTime};

use octopoid_core::{
    Error,
    backend::Reach,
    clock::Timestamp,
    config::Paths,
    orchestrator::{DaemonInfo, Journal, Orchestrator},
};
use serde_json::json;

use crate::{
    cli::Global,
    open,
    output::{Output, Tone, ago, duration},
};

pub(crate) async fn run(global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let paths = Paths::new(octopoid.root());
    let now = octopoid.backend().now();
    let begun = std::time::Instant::now();
    let status = octopoid.status().await?;
    let took = begun.elapsed();
    let reach = octopoid.reach();
    let server = match &reach {
        Reach::Local => None,
        Reach::Online { url, waiting, dropped } => Some(json!({
            "url": url, "connected": true, "latency_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "outbox": waiting, "dropped": dropped,
        })),
        Reach::Offline {
            url,
            since,
            waiting,
            dropped,
        } => Some(json!({
            "url": url, "connected": false, "offline_since": since, "outbox": waiting, "dropped": dropped,
        })),
    };
    let journal = if paths.journal_db().exists() {
        Some(Journal::open(&paths.journal_db())?)
    } else {
        None
    };
    let pause = journal.as_ref().map(Journal::pause).transpose()?.flatten();
    let findings = journal.as_ref().map(Journal::findings).transpose()?.unwrap_or_default();
    let behind: Vec<(String, String)> = journal
        .as_ref()
        .map(|j| j.notes("checkout:"))
        .transpose()?
        .unwrap_or_default();
    let behind: Vec<String> = behind
        .into_iter()
        .map(|(key, stands)| {
            let branch = key.trim_start_matches("checkout:").to_owned();
            format!("your checkout of {branch} had changes and was left at {stands}: git read-tree -m -u {stands} HEAD")
        })
        .collect();
    let written = DaemonInfo::read(&paths);
    let daemon = written.clone().filter(|info| info.process.is_alive());
    let crashed = written.is_some() && daemon.is_none();

    let mut stalled: Vec<String> = findings.iter().map(|f| format!("{}: {}", f.code, f.message)).collect();
    if let Some(info) = &daemon {
        let late = Duration::from_secs_f64(info.tick_seconds.max(1.0) * 3.0) + Duration::from_secs(5);
        if now.since(info.last_tick.unwrap_or(info.started_at)) > late {
            stalled.push(format!(
                "the orchestrator (process {}) has not looked at the queue for too long",
                info.process.pid
            ));
        }
    }
    if crashed {
        stalled.push("the orchestrator ended without being stopped; `octopoid start` takes up what it left".to_owned());
    }
    stalled.extend(status.attention.iter().map(|t| {
        format!(
            "{} needs a person ({}): octopoid why {}",
            t.id,
            t.attention.as_deref().unwrap_or("?"),
            t.id
        )
    }));

    let last_output = |task: &octopoid_core::model::Task| -> Option<Timestamp> {
        let dir = Orchestrator::attempt_dir(octopoid.root(), &task.id, task.attempt_count);
        let changed = ["stdout.jsonl", "stderr.log"]
            .iter()
            .filter_map(|f| std::fs::metadata(dir.join(f)).ok()?.modified().ok())
            .max()?;
        let millis = changed.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis();
        Some(Timestamp(i64::try_from(millis).ok()?))
    };
    let running: Vec<_> = status
        .running
        .iter()
        .map(|t| {
            json!({
                "id": t.id, "title": t.title, "queue": t.queue, "agent": t.claimed_by, "kind": t.claim_kind,
                "since": t.claimed_at, "lease_expires_at": t.lease_expires_at, "last_output_at": last_output(t),
            })
        })
        .collect();
    let counts: serde_json::Map<String, serde_json::Value> = status
        .queues
        .iter()
        .map(|c| (c.queue.to_string(), json!(c.count)))
        .collect();
    output.json(&json!({
        "mode": if matches!(reach, Reach::Local) { "local" } else { "remote" },
        "store": matches!(reach, Reach::Local).then(|| paths.state_db()),
        "server": server,
        "scope": octopoid.settings().config.scope,
        "daemon": daemon.as_ref().map(|d| json!({ "pid": d.process.pid, "started_at": d.started_at, "last_tick": d.last_tick })),
        "paused": pause,
        "queues": counts,
        "running": running,
        "attention": status.attention.iter().map(|t| json!({ "id": t.id, "title": t.title, "code": t.attention })).collect::<Vec<_>>(),
        "review": status.review.iter().map(|t| json!({ "id": t.id, "title": t.title, "awaiting": t.awaiting })).collect::<Vec<_>>(),
        "findings": findings,
        "checkout_behind": behind,
        "stalled": stalled,
    }))?;
    if !output.is_json() {
        match &reach {
            Reach::Local => output.text(&format!(
                "{} local store {}",
                output.paint(Tone::Good, "✓"),
                paths.shown(&paths.state_db())
            ))?,
            Reach::Online { url, .. } => output.text(&format!(
                "{} Connected to server {url} ({} ms)",
                output.paint(Tone::Good, "✓"),
                took.as_millis()
            ))?,
            Reach::Offline { url, since, .. } => output.text(&format!(
                "{} offline since {since}: {url} cannot be reached; what follows is the last that was seen",
                output.paint(Tone::Warn, "!")
            ))?,
        }
        if let Reach::Online { waiting, dropped, .. } | Reach::Offline { waiting, dropped, .. } = &reach
            && waiting + dropped > 0
        {
            output.text(&format!(
                "{} {waiting} requests wait for the server, {dropped} were dropped (`octopoid sync` tells)",
                output.paint(Tone::Warn, "!")
            ))?;
        }
        match &daemon {
            Some(d) => {
                let tick = d.last_tick.map_or("has not looked at the queue yet".to_owned(), |at| {
                    format!("last look {}", ago(at, now))
                });
                output.text(&format!(
                    "{} orchestrator runs as process {}, {tick}",
                    output.paint(Tone::Good, "✓"),
                    d.process.pid
                ))?;
            }
            None => output.text("- no orchestrator runs (`octopoid start`)")?,
        }
        if let Some(pause) = &pause {
            let reason = if pause.reason.is_empty() {
                String::new()
            } else {
                format!(": {}", pause.reason)
            };
            output.text(&format!(
                "{} paused by {} {}{reason}",
                output.paint(Tone::Warn, "!"),
                pause.by,
                ago(pause.at, now)
            ))?;
        }
        behind
            .iter()
            .try_for_each(|line| output.text(&format!("{} {line}", output.paint(Tone::Warn, "!"))))?;
        output.text("")?;
        if status.queues.is_empty() {
            output.text("No tasks.\n")?;
        }
        for count in &status.queues {
            output.text(&format!("  {:<20} {}\n", count.queue, count.count))?;
        }
        if !status.running.is_empty() {
            output.text("\nAt work:\n")?;
            for task in &status.running {
                let silence =
                    last_output(task).map_or("no output yet".to_owned(), |at| format!("last output {}", ago(at, now)));
                let since = task.claimed_at.map_or_else(String::new, |at| duration(now.since(at)));
                output.text(&format!(
                    "  {}  {} for {since}, {silence}  {}\n",
                    task.id,
                    task.claimed_by.as_deref().unwrap_or("?"),
                    task.title
                ))?;
            }
        }
        let by_hand: Vec<_> = status
            .review
            .iter()
            .filter(|t| t.awaiting.as_deref() != Some("engine"))
            .collect();
        if !by_hand.is_empty() {
            output.text("\nTo be reviewed:\n")?;
            for task in by_hand {
                output.text(&format!(
                    "  {}  {}  (octopoid diff {}, octopoid approve {})\n",
                    task.id, task.title, task.id, task.id
                ))?;
            }
        }
        if !stalled.is_empty() {
            output.text(&format!("\n{}\n", output.paint(Tone::Bad, "Needs you:")))?;
            stalled
                .iter()
                .try_for_each(|line| output.text(&format!("  {line}\n")))?;
        }
    }
    Ok(u8::from(!stalled.is_empty()))
}
