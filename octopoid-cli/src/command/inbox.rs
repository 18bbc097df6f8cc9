//! `octopoid inbox`, `answer`: what waits for a person.

use octopoid_core::{Error, queue::InboxKind};
use serde_json::json;

use super::{may_accept, me};
use crate::{
    cli::Global,
    open,
    output::{Output, Tone},
    tell_if_offline,
};

pub(crate) async fn list(global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let items = octopoid.inbox().await?;
    tell_if_offline(&octopoid, output);
    output.json(&json!({ "items": items, "total": items.len() }))?;
    if items.is_empty() {
        output.text("Nothing waits for you.")?;
    }
    for item in &items {
        let what = match item.kind {
            InboxKind::Review => "review",
            InboxKind::Question => "question",
            InboxKind::Attention => "attention",
            InboxKind::Proposal => "proposal",
        };
        output.text(&format!(
            "{}  {what}  {}",
            output.paint(Tone::Strong, &item.id),
            item.title
        ))?;
        for line in item.text.iter().flat_map(|text| text.lines()) {
            output.text(&format!("    {line}"))?;
        }
        let mut choices: Vec<String> = item.choices.iter().map(ToString::to_string).collect();
        if item.kind == InboxKind::Question {
            choices.insert(0, "\"your answer\"".to_owned());
        }
        output.text(&format!("    octopoid answer {} {}", item.id, choices.join(" | ")))?;
    }
    Ok(0)
}

pub(crate) async fn answer(
    id: String,
    choice: String,
    reason: Option<String>,
    by: Option<String>,
    global: &Global,
    output: &Output,
) -> Result<u8, Error> {
    let octopoid = open(global)?;
    may_accept()?;
    let by = by.unwrap_or_else(me);
    let answered = octopoid.answer(&id, &choice, reason.as_deref(), &by).await?;
    output.json(&answered)?;
    output.text(&format!(
        "{} is in {}: {}",
        output.paint(Tone::Strong, &answered.id),
        answered.state,
        answered.choice
    ))?;
    Ok(0)
}
