//! What is printed: data on standard output, messages on standard error, JSON or text.

mod text;

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use octopoid_core::{Error, ErrorCode};
use serde::Serialize;

use crate::cli::{Color, Global};

pub(crate) use text::{ago, duration, task_rows, task_text, why_text};

/// Where and how a command prints.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    color: bool,
}

/// What a style is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tone {
    Good,
    Bad,
    Warn,
    Strong,
    Faint,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let color = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !no_color && std::io::stdout().is_terminal() && !global.json,
        };
        Self {
            json: global.json,
            quiet: global.quiet,
            color,
        }
    }

    /// For errors found before the options could be read.
    pub(crate) fn json_only() -> Self {
        Self {
            json: true,
            quiet: true,
            color: false,
        }
    }

    /// Whether JSON is wanted.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Text in the style of its tone, where colours are wanted.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let style = match tone {
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Strong => Style::new().bold(),
            Tone::Faint => Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }

    /// Data for people; not with `--json`.
    pub(crate) fn text(&self, text: &str) -> Result<(), Error> {
        if self.json {
            return Ok(());
        }
        self.raw(text.as_bytes())?;
        if text.ends_with('\n') || text.is_empty() {
            Ok(())
        } else {
            self.raw(b"\n")
        }
    }

    /// Bytes as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| {
            if e.kind() == std::io::ErrorKind::BrokenPipe {
                // The reader has seen enough, as `head` does.
                end(0)
            }
            Error::io("write to", std::path::Path::new("standard output"), e)
        })
    }

    /// Data as one JSON document; only with `--json`.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Error> {
        if !self.json {
            return Ok(());
        }
        let mut text = serde_json::to_string_pretty(value).map_err(|e| {
            Error::new(
                ErrorCode::Internal,
                format!("the answer cannot be written as JSON: {e}"),
            )
        })?;
        text.push('\n');
        self.raw(text.as_bytes())
    }

    /// A message on standard error.
    #[expect(clippy::print_stderr, reason = "the one place for messages")]
    pub(crate) fn message(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// An error: on standard output with `--json`, else on standard error.
    #[expect(clippy::print_stderr, reason = "the one place for errors")]
    pub(crate) fn error(&self, error: &Error) {
        if self.json {
            let document = serde_json::json!({
                "error": { "code": error.code().as_str(), "message": error.to_string(), "hint": error.hint() }
            });
            // There is no better place left to tell that standard output is gone.
            let _ = self.json(&document);
            return;
        }
        eprintln!("error: {error}");
        if let Some(hint) = error.hint() {
            eprintln!("hint: {hint}");
        }
    }
}

#[expect(clippy::exit, reason = "a closed pipe ends the program, from wherever it is noticed")]
fn end(code: i32) {
    std::process::exit(code);
}
