//! What an attempt came to: the process's end, the result file, the program's own report. Unknown stays unknown.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    clock::Timestamp,
    lifecycle::Failure,
    model::{Usage, Verdict},
};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal.
    Signaled(i32),
    /// By us: it ran too long.
    WallTimeout,
    /// By us: it gave no sign of life.
    SilenceTimeout,
    /// By us: nobody needs it any more.
    Stopped,
    /// It is gone and left no exit code.
    Unknown,
}

/// What an agent may say that it did. The exact words, nothing near them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reported {
    /// The work is finished.
    Done,
    /// It could not be done.
    Failed,
    /// More turns are needed.
    NeedsContinuation,
    /// A person has to answer first.
    Question,
    /// Nothing has to be changed.
    NoChange,
}

impl Reported {
    /// The exact word, or nothing.
    pub fn parse(word: &str) -> Option<Self> {
        serde_json::from_value(Value::String(word.to_owned())).ok()
    }
}

/// Everything that an agent reported, by whichever way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// What it says that it did.
    pub reported: Option<Reported>,
    /// A reviewer's decision.
    pub verdict: Option<Verdict>,
    /// In words.
    pub summary: Option<String>,
    /// What has to be changed before approval.
    pub blocking: Vec<String>,
    /// What could be better.
    pub advice: Vec<String>,
    /// What it used up.
    pub usage: Usage,
    /// The session, to go on with.
    pub session_id: Option<String>,
    /// A report that is there but cannot be understood, in words; it decides nothing, and it is not passed over.
    pub unclear: Option<String>,
    /// A failure that the program itself named, and when to try again.
    pub failure: Option<(Failure, String, Option<Timestamp>)>,
}

impl Reading {
    /// Takes over what a result object says: the file of `octopoid report`, or a program's structured output.
    pub fn take_result(&mut self, value: &Value) {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let list = |key: &str| -> Vec<String> {
            let items = value.get(key).and_then(Value::as_array);
            items
                .into_iter()
                .flatten()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect()
        };
        if let Some(word) = text("outcome") {
            self.reported = Reported::parse(&word);
            if self.reported.is_none() {
                self.unclear = Some(format!(
                    "the agent reported the outcome {word:?}, which is none that is known"
                ));
            }
        }
        match text("verdict").as_deref() {
            Some("approve") => self.verdict = Some(Verdict::Approve),
            Some("reject") => self.verdict = Some(Verdict::Reject),
            _ => {}
        }
        if let Some(summary) = text("summary") {
            self.summary = Some(summary);
        }
        if value.get("blocking").is_some() {
            self.blocking = list("blocking");
        }
        if value.get("advice").is_some() {
            self.advice = list("advice");
        }
        if let Some(usage) = value.get("usage").and_then(Value::as_object) {
            let number = |key: &str| usage.get(key).and_then(Value::as_u64);
            self.usage.input_tokens = number("input_tokens").unwrap_or(self.usage.input_tokens);
            self.usage.output_tokens = number("output_tokens").unwrap_or(self.usage.output_tokens);
            self.usage.turns = number("turns").unwrap_or(self.usage.turns);
            let cost = usage
                .get("cost_usd")
                .and_then(Value::as_f64)
                .filter(|c| c.is_finite() && *c >= 0.0);
            self.usage.cost_usd = cost.unwrap_or(self.usage.cost_usd);
        }
    }

    /// The reviewer's words as the next attempt gets them: summary, what blocks, what is advised.
    pub fn review_text(&self) -> String {
        let mut text = self.summary.clone().unwrap_or_default();
        let mut section = |title: &str, items: &[String]| {
            if !items.is_empty() {
                if !text.is_empty() {
                    text.push_str("\n\n");
                }
                text.push_str(title);
                for item in items {
                    text.push_str("\n- ");
                    text.push_str(item);
                }
            }
        };
        section("Must be changed:", &self.blocking);
        section("Advice:", &self.advice);
        text
    }
}

/// The last `limit` bytes of `text`, from the start of a line where there is one.
pub fn tail(text: &str, limit: usize) -> String {
    let text = text.trim_end();
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut start = text.len() - limit;
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let cut = &text[start..];
    cut.find('\n').map_or(cut, |n| &cut[n + 1..]).to_owned()
}

/// Reads a file's end as text, at most `limit` bytes; empty when it is not there.
pub fn file_tail(path: &std::path::Path, limit: u64) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    // A log that cannot be read only makes a message shorter; it decides nothing.
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// Time until a program's own words for a limit say that it ends; 30 minutes when they do not.
pub(super) const LIMIT_PAUSE: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_exact_words_count() {
        let read = |verdict: Value| {
            let mut reading = Reading::default();
            reading.take_result(&json!({ "verdict": verdict }));
            reading.verdict
        };
        assert_eq!(read(json!("approve")), Some(Verdict::Approve));
        assert_eq!(read(json!("reject")), Some(Verdict::Reject));
        for near in [
            json!("Approve"),
            json!("approved"),
            json!("not approve"),
            json!(" approve"),
            json!(true),
            json!(["approve"]),
            json!(null),
        ] {
            assert_eq!(read(near.clone()), None, "{near}");
        }
    }

    proptest! {
        #[test]
        fn no_other_text_approves(text in ".*") {
            prop_assume!(text != "approve");
            let mut reading = Reading::default();
            reading.take_result(&json!({ "verdict": text }));
            prop_assert_ne!(reading.verdict, Some(Verdict::Approve));
        }

        #[test]
        fn a_tail_is_the_end(text in "(.|\n){0,200}", limit in 0usize..100) {
            let end = tail(&text, limit);
            prop_assert!(end.len() <= limit.max(text.trim_end().len().min(limit)));
            prop_assert!(text.trim_end().ends_with(&end));
        }
    }
}
