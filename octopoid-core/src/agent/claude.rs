//! Claude Code, headless: `claude -p` with the prompt on standard input and JSON lines on standard output.
//!
//! Events, exit codes and variables were observed with version 2.1.330 against a local Messages API.

use serde_json::{Value, json};

use super::{Agent, Job, Reading, outcome::LIMIT_PAUSE};
use crate::{clock::Timestamp, lifecycle::Failure, model::Usage};

/// The adapter for the `claude` program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claude;

const WORK_TOOLS: &[&str] = &["Bash", "Edit", "Write", "NotebookEdit", "Read", "Glob", "Grep"];
const REVIEW_TOOLS: &[&str] = &[
    "Read",
    "Glob",
    "Grep",
    "Bash(git diff:*)",
    "Bash(git log:*)",
    "Bash(git show:*)",
    "Bash(git status:*)",
];

impl Agent for Claude {
    fn program(&self) -> &str {
        "claude"
    }

    fn argv(&self, job: &Job<'_>) -> Vec<String> {
        let default = if job.reviews { REVIEW_TOOLS } else { WORK_TOOLS };
        let tools = match job.tools {
            Some(tools) => tools.join(","),
            None => default.join(","),
        };
        let mut argv: Vec<String> = [
            "claude",
            "-p",
            "--output-format",
            "stream-json",
            "--verbose",
            "--permission-mode",
            "acceptEdits",
        ]
        .map(str::to_owned)
        .to_vec();
        argv.extend(["--allowedTools".to_owned(), tools]);
        argv.extend(["--max-turns".to_owned(), job.max_turns.to_string()]);
        argv.extend(["--json-schema".to_owned(), schema(job.reviews).to_string()]);
        if let Some(model) = job.model {
            argv.extend(["--model".to_owned(), model.to_owned()]);
        }
        if let Some(session) = job.resume {
            argv.extend(["--resume".to_owned(), session.to_owned()]);
        }
        argv
    }

    fn may_see(&self, variable: &str) -> bool {
        // Not the variables of a session that this orchestrator may itself have been started from.
        const OF_A_SESSION: &[&str] = &["CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_ENTRYPOINT"];
        const OTHERS: &[&str] = &[
            "CLAUDE_CONFIG_DIR",
            "DISABLE_AUTOUPDATER",
            "DISABLE_TELEMETRY",
            "API_TIMEOUT_MS",
            "IS_SANDBOX",
        ];
        !OF_A_SESSION.contains(&variable)
            && (variable.starts_with("ANTHROPIC_")
                || variable.starts_with("CLAUDE_CODE_")
                || OTHERS.contains(&variable))
    }

    fn read(&self, stdout: &str, exit_code: Option<i32>, now: Timestamp) -> Reading {
        let mut reading = Reading::default();
        let mut result: Option<Value> = None;
        let mut resets_at = None;
        for event in stdout
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        {
            if let Some(session) = event.get("session_id").and_then(Value::as_str) {
                reading.session_id = Some(session.to_owned());
            }
            match event.get("type").and_then(Value::as_str) {
                Some("rate_limit_event") => {
                    resets_at = event
                        .pointer("/rate_limit_info/resetsAt")
                        .and_then(Value::as_i64)
                        .map(|s| Timestamp(s.saturating_mul(1000)));
                }
                Some("result") => result = Some(event),
                _ => {}
            }
        }
        let Some(result) = result else {
            if exit_code.is_some_and(|c| c != 0) && reading.session_id.is_none() {
                reading.failure = Some((
                    Failure::AgentExit,
                    "claude ended before it began a session".into(),
                    None,
                ));
            }
            return reading;
        };
        reading.usage = usage(&result);
        if let Some(structured) = result.get("structured_output") {
            reading.take_result(structured);
        }
        let said = result
            .get("result")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .or_else(|| {
                let errors = result.get("errors").and_then(Value::as_array)?;
                Some(errors.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "))
            });
        if reading.summary.is_none() && result.get("structured_output").is_none() {
            reading.summary = said.clone();
        }
        // `subtype` says success even for a refused key: `is_error` is the field that decides.
        if result.get("is_error").and_then(Value::as_bool) == Some(true) {
            let text = said.unwrap_or_else(|| "claude reported an error".into());
            let subtype = result.get("subtype").and_then(Value::as_str).unwrap_or_default();
            let api = result.get("api_error").and_then(Value::as_str).unwrap_or_default();
            let status = result.get("api_error_status").and_then(Value::as_u64);
            let of_the_service = result.get("terminal_reason").and_then(Value::as_str) == Some("api_error");
            reading.failure = match (subtype, status) {
                ("error_max_turns", _) => {
                    reading.reported = Some(super::Reported::NeedsContinuation);
                    None
                }
                (_, Some(429)) => Some((
                    Failure::UsageLimit,
                    text,
                    Some(resets_at.unwrap_or(now.plus(LIMIT_PAUSE))),
                )),
                _ if api == "usage_limit_reached" || text.contains("Credit balance is too low") => Some((
                    Failure::UsageLimit,
                    text,
                    Some(resets_at.unwrap_or(now.plus(LIMIT_PAUSE))),
                )),
                (_, Some(401 | 403 | 404)) => Some((Failure::AgentAuth, text, None)),
                (_, Some(_)) => Some((Failure::Remote, text, None)),
                // No status: nothing was sent for want of a key, or nobody answered.
                (_, None) if of_the_service && text.contains("/login") => Some((Failure::AgentAuth, text, None)),
                (_, None) if of_the_service => Some((Failure::Remote, text, None)),
                _ => Some((Failure::AgentExit, text, None)),
            };
        }
        reading
    }
}

/// The object that the agent must end with.
fn schema(reviews: bool) -> Value {
    let text = json!({ "type": "string" });
    let list = json!({ "type": "array", "items": { "type": "string" } });
    if reviews {
        json!({
            "type": "object",
            "properties": {
                "verdict": { "enum": ["approve", "reject"] },
                "summary": text, "blocking": list, "advice": list,
            },
            "required": ["verdict", "summary"],
            "additionalProperties": false,
        })
    } else {
        json!({
            "type": "object",
            "properties": {
                "outcome": { "enum": ["done", "failed", "needs_continuation", "question", "no_change"] },
                "summary": text,
            },
            "required": ["outcome", "summary"],
            "additionalProperties": false,
        })
    }
}

/// Totals by model where they are given: they are right even when the run ended in an error.
fn usage(result: &Value) -> Usage {
    let number = |v: Option<&Value>| v.and_then(Value::as_u64).unwrap_or(0);
    let models = result
        .get("modelUsage")
        .and_then(Value::as_object)
        .filter(|m| !m.is_empty());
    let (input, output) = match models {
        Some(models) => models.values().fold((0, 0), |(i, o), m| {
            let read = number(m.get("inputTokens"))
                + number(m.get("cacheReadInputTokens"))
                + number(m.get("cacheCreationInputTokens"));
            (i + read, o + number(m.get("outputTokens")))
        }),
        None => (
            number(result.pointer("/usage/input_tokens")),
            number(result.pointer("/usage/output_tokens")),
        ),
    };
    Usage {
        input_tokens: input,
        output_tokens: output,
        cost_usd: result
            .get("total_cost_usd")
            .and_then(Value::as_f64)
            .filter(|c| c.is_finite())
            .unwrap_or(0.0),
        turns: number(result.get("num_turns")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent::Reported, model::Verdict};

    fn read(sample: &str, exit: i32) -> Reading {
        Claude.read(sample, Some(exit), Timestamp(0))
    }

    #[test]
    fn recorded_outputs_are_understood() {
        let done = read(include_str!("../../tests/recordings/claude-success.jsonl"), 0);
        assert!(
            done.failure.is_none() && done.session_id.is_some() && done.usage.turns > 0 && done.usage.output_tokens > 0
        );

        let turns = read(include_str!("../../tests/recordings/claude-max-turns.jsonl"), 1);
        assert_eq!(
            (turns.reported, turns.failure),
            (Some(Reported::NeedsContinuation), None)
        );

        let auth = read(include_str!("../../tests/recordings/claude-auth.jsonl"), 1);
        assert_eq!(auth.failure.map(|f| f.0), Some(Failure::AgentAuth));

        let limit = read(include_str!("../../tests/recordings/claude-limit.jsonl"), 1);
        assert!(matches!(limit.failure, Some((Failure::UsageLimit, _, Some(at))) if at > Timestamp(0)));

        let overloaded = read(include_str!("../../tests/recordings/claude-overloaded.jsonl"), 1);
        assert_eq!(overloaded.failure.map(|f| f.0), Some(Failure::Remote));

        let structured = read(include_str!("../../tests/recordings/claude-structured.jsonl"), 0);
        assert!(structured.failure.is_none());
        assert_eq!(
            structured.verdict, None,
            "the recorded object says \"pass\", which is no verdict of ours"
        );
    }

    #[test]
    fn a_structured_verdict_counts_and_prose_does_not() {
        let line = |extra: &str| {
            format!(r#"{{"type":"result","subtype":"success","is_error":false,"result":"approve"{extra}}}"#)
        };
        assert_eq!(read(&line(""), 0).verdict, None);
        assert_eq!(
            read(
                &line(r#","structured_output":{"verdict":"approve","summary":"fine"}"#),
                0
            )
            .verdict,
            Some(Verdict::Approve)
        );
    }

    #[test]
    fn nonsense_and_cut_lines_are_left_out() {
        assert_eq!(read("", 0), Reading::default());
        assert_eq!(read("{\"type\":\"resu", 0), Reading::default());
        assert!(read("not json\n", 1).failure.is_some());
    }
}
