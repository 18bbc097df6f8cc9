//! The text of a task file: YAML front matter, or a heading with `KEY: value` lines, and the stamps that were added later.

use serde_json::{Map, Value};

use super::{Problem, fields::bare_id};

/// Keys that a task was written with.
const WRITTEN: &[&str] = &[
    "ROLE",
    "PRIORITY",
    "COMPLEXITY",
    "BRANCH",
    "CREATED",
    "CREATED_AT",
    "CREATED_BY",
    "PROJECT",
    "PROJECT_ID",
    "BLOCKED_BY",
    "CHECKS",
    "FLOW",
    "TYPE",
    "SKIP_PR",
    "EXPEDITE",
    "BREAKDOWN_DEPTH",
    "RE_BREAKDOWN_DEPTH",
    "ORIGINAL_TASK",
    "AUTO_ACCEPT",
    "STAGING_URL",
];

/// Keys that were added while it lived, at the end or below the heading.
const STAMPS: &[&str] = &[
    "CLAIMED_BY",
    "CLAIMED_AT",
    "SUBMITTED_AT",
    "COMPLETED_AT",
    "COMPLETED_BY",
    "COMMITS_COUNT",
    "TURNS_USED",
    "ACCEPTED_AT",
    "ACCEPTED_BY",
    "REJECTED_AT",
    "REJECTED_BY",
    "REJECTION_REASON",
    "REJECTION_COUNT",
    "ATTEMPT_COUNT",
    "REVIEW_REJECTED_AT",
    "REVIEW_REJECTED_BY",
    "FAILED_AT",
    "ESCALATED_AT",
    "PLAN_ID",
    "RETRIED_AT",
    "NEEDS_CONTINUATION_AT",
    "CONTINUATION_REASON",
    "WIP_BRANCH",
    "LAST_AGENT",
    "RESUMED_AT",
    "RESUMED_BY",
    "RECYCLED_AT",
    "CANCELLED_AT",
    "CANCELLED_BY",
    "PR_NUMBER",
    "PR_URL",
    "UPDATED_AT",
];

/// The bytes of a file as text with plain line ends, or why they are none.
pub(super) fn decode(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        format!("line {line} is not UTF-8 text; save the file as UTF-8 and repeat the command")
    })?;
    if text.contains('\0') {
        return Err("it is not a text file".to_owned());
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n"))
}

/// The fields that a task file tells, `id`, `title` and `content` among them, or why it tells nothing.
pub(super) fn parse(text: &str, source: &str, problems: &mut Vec<Problem>) -> Result<Map<String, Value>, String> {
    if text.trim().is_empty() {
        return Err("the file is empty".to_owned());
    }
    let Some((header, body)) = front_matter(text)? else {
        return Ok(Page::read(text).fields);
    };
    let mut fields = match yaml_serde::from_str::<Value>(header) {
        Ok(Value::Object(map)) => {
            let mut fields: Map<String, Value> = map.into_iter().map(|(key, value)| (name(&key), value)).collect();
            as_written(&mut fields, header);
            fields
        }
        Ok(Value::Null) => Map::new(),
        other => {
            let why = other
                .err()
                .map_or_else(|| "it is no list of keys".to_owned(), |e| e.to_string());
            problems.push(Problem {
                source: source.to_owned(),
                what: format!("the front matter is not YAML ({why}); it was read line by line"),
            });
            by_lines(header)
        }
    };
    let page = Page::read(body);
    // A heading of its own is the title only where the front matter has none.
    if fields.get("title").is_some_and(|title| !title.is_null()) && !page.is_old {
        let (content, stamps) = page.without_header;
        fields.insert("content".to_owned(), Value::String(content));
        add_missing(&mut fields, stamps);
    } else {
        add_missing(&mut fields, page.fields);
    }
    Ok(fields)
}

fn add_missing(fields: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        if fields.get(&key).is_none_or(Value::is_null) {
            fields.insert(key, value);
        }
    }
}

/// The front matter and what follows it; nothing where the text does not begin with any.
fn front_matter(text: &str) -> Result<Option<(&str, &str)>, String> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    if first.trim_end() != "---" {
        return Ok(None);
    }
    let start = first.len();
    let mut end = start;
    for line in lines {
        if matches!(line.trim_end(), "---" | "...") {
            let header = text.get(start..end).unwrap_or_default();
            let body = text.get(end + line.len()..).unwrap_or_default();
            return Ok(Some((header, body)));
        }
        end += line.len();
    }
    Err("line 1: the front matter is not closed by a line of ---".to_owned())
}

/// Ids of digits and one `e` are numbers to YAML; they are taken as they were written.
fn as_written(fields: &mut Map<String, Value>, header: &str) {
    let mut plain = by_lines(header);
    for key in ["id", "title", "branch", "project_id", "blocked_by"] {
        let is_text = |value: &Value| value.as_str().is_some_and(|text| !matches!(text, "" | "~" | "null"));
        if fields
            .get(key)
            .is_some_and(|value| value.is_number() || value.is_null())
            && let Some(text) = plain.remove(key).filter(is_text)
        {
            fields.insert(key.to_owned(), text);
        }
    }
}

/// A key of any spelling as the column is called.
fn name(key: &str) -> String {
    let key = key.trim().to_lowercase().replace(['-', ' '], "_");
    match key.as_str() {
        "project" => "project_id".to_owned(),
        "created" => "created_at".to_owned(),
        _ => key,
    }
}

fn by_lines(header: &str) -> Map<String, Value> {
    header
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| !key.trim().is_empty() && !key.starts_with([' ', '\t', '-', '#']))
        .map(|(key, value)| {
            let value = value.trim();
            let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            (name(key), Value::String(inner.unwrap_or(value).to_owned()))
        })
        .collect()
}

/// A line of the form `KEY: value`.
fn key_line(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let good = key.len() >= 2
        && key.starts_with(|c: char| c.is_ascii_uppercase())
        && key
            .bytes()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_');
    good.then(|| (key, value.trim()))
}

fn is_stamp(line: &str) -> bool {
    key_line(line).is_some_and(|(key, _)| STAMPS.contains(&key))
}

fn is_known(line: &str) -> bool {
    key_line(line).is_some_and(|(key, _)| STAMPS.contains(&key) || WRITTEN.contains(&key))
}

/// Values by key; a later one takes the place of an earlier one, which is kept aside.
#[derive(Debug, Default)]
struct Keys {
    fields: Map<String, Value>,
    earlier: Map<String, Value>,
}

impl Keys {
    fn put(&mut self, line: &str) {
        let Some((key, value)) = key_line(line) else {
            return;
        };
        let value = match value {
            "" | "None" => Value::Null,
            text => Value::String(text.to_owned()),
        };
        let key = name(key);
        let before = self.fields.insert(key.clone(), value.clone());
        if let Some(before) = before.filter(|before| !before.is_null() && *before != value) {
            let list = self.earlier.entry(key).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(before);
            }
        }
    }

    fn finish(mut self) -> Map<String, Value> {
        if !self.earlier.is_empty() {
            self.fields
                .insert("earlier_values".to_owned(), Value::Object(self.earlier));
        }
        self.fields
    }
}

/// A text with an optional heading and header.
#[derive(Debug)]
struct Page {
    /// Everything: id, title, header, stamps, and what remains as `content`.
    fields: Map<String, Value>,
    /// Whether the heading is `# [TASK-id] title` or a header stands below it.
    is_old: bool,
    /// The text with its heading, and the stamps alone.
    without_header: (String, Map<String, Value>),
}

impl Page {
    fn read(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let stamped = stamp_lines(&lines);
        let begin = lines.iter().position(|line| !line.trim().is_empty()).unwrap_or(0);
        let mut keys = Keys::default();
        let mut at = begin;
        let mut is_old = false;
        let mut title = None;
        let mut id = None;
        if let Some(heading) = lines.get(begin).and_then(|line| line.strip_prefix('#'))
            && !heading.starts_with('#')
        {
            let heading = heading.trim();
            let old = heading.strip_prefix("[TASK-").and_then(|rest| rest.split_once(']'));
            is_old = old.is_some();
            id = old.map(|(id, _)| bare_id(id).to_owned());
            title = Some(old.map_or(heading, |(_, title)| title.trim()).to_owned());
            at += 1;
        }
        // The header: paragraphs of keys; one that goes on as prose ends it.
        loop {
            let start = at + blank(lines.get(at..).unwrap_or_default());
            let rest = lines.get(start..).unwrap_or_default();
            let paragraph: Vec<&str> = rest.iter().copied().take_while(|l| !l.trim().is_empty()).collect();
            let only_keys = paragraph.iter().all(|l| key_line(l).is_some()) && paragraph.iter().any(|l| is_known(l));
            let taken = if only_keys {
                paragraph.len()
            } else {
                paragraph.iter().take_while(|l| is_known(l)).count()
            };
            if taken == 0 {
                break;
            }
            is_old = true;
            paragraph.iter().take(taken).for_each(|line| keys.put(line));
            at = start + taken;
            if taken < paragraph.len() {
                break;
            }
        }
        let mut stamps = Keys::default();
        for (line, _) in lines.iter().zip(&stamped).skip(at).filter(|(_, stamp)| **stamp) {
            keys.put(line);
            stamps.put(line);
        }
        let kept = |from: usize| -> String {
            let kept: Vec<&str> = lines
                .iter()
                .zip(&stamped)
                .enumerate()
                .filter(|(index, (_, stamp))| *index >= from && !(**stamp && *index >= at))
                .map(|(_, (line, _))| *line)
                .collect();
            let kept = kept.join("\n");
            let kept = kept.trim_start_matches('\n').trim_end();
            if kept.is_empty() {
                String::new()
            } else {
                format!("{kept}\n")
            }
        };
        let content = kept(at);
        let whole = kept(begin);
        let mut fields = Map::new();
        if let Some(id) = id {
            fields.insert("id".to_owned(), Value::String(id));
        }
        if let Some(title) = title.filter(|title| !title.is_empty()) {
            fields.insert("title".to_owned(), Value::String(title));
        }
        fields.insert("content".to_owned(), Value::String(content));
        fields.extend(keys.finish());
        Self {
            fields,
            is_old,
            without_header: (whole, stamps.finish()),
        }
    }
}

/// How many blank lines come first.
fn blank(lines: &[&str]) -> usize {
    lines.iter().take_while(|line| line.trim().is_empty()).count()
}

/// Which lines are stamps: keys of a task's life at the end of a paragraph, outside of code.
fn stamp_lines(lines: &[&str]) -> Vec<bool> {
    let mut in_code = vec![false; lines.len()];
    let mut open: Option<(usize, &str)> = None;
    for (index, (line, code)) in lines.iter().zip(in_code.iter_mut()).enumerate() {
        let fence = ["```", "~~~"].into_iter().find(|f| line.trim_start().starts_with(*f));
        *code = open.is_some() || fence.is_some();
        match (open, fence) {
            (None, Some(fence)) => open = Some((index, fence)),
            (Some((_, begun)), Some(fence)) if begun == fence => open = None,
            _ => {}
        }
    }
    if let Some((from, _)) = open {
        // Never closed: it is no code, and the stamps below it count.
        in_code.iter_mut().skip(from).for_each(|code| *code = false);
    }
    let mut stamps = vec![false; lines.len()];
    let mut ends_in_stamps = true;
    for (index, line) in lines.iter().enumerate().rev() {
        if line.trim().is_empty() {
            ends_in_stamps = true;
            continue;
        }
        let here = ends_in_stamps && is_stamp(line) && !in_code.get(index).copied().unwrap_or(true);
        if let Some(stamp) = stamps.get_mut(index) {
            *stamp = here;
        }
        ends_in_stamps = here;
    }
    stamps
}
