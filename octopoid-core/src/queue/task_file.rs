//! Task files: markdown with YAML front matter, and the older `KEY: value` header. Writing and reading back is the same task.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorCode, Result},
    id::{ProjectId, TaskId},
    model::{Complexity, CreateTask, Priority, Role},
};

/// Keys of the front matter, as in the JSON task.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FrontMatter {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    complexity: Option<Complexity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<ProjectId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocked_by: Vec<TaskId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
}

/// Keys of the older header that say something about a new task; the rest told of a life that is over.
const OLD_KEYS: &[&str] = &[
    "ROLE",
    "PRIORITY",
    "BRANCH",
    "CREATED_BY",
    "PROJECT",
    "PROJECT_ID",
    "BLOCKED_BY",
    "CHECKS",
];
const OLD_IGNORED: &[&str] = &[
    "CREATED",
    "CLAIMED_BY",
    "CLAIMED_AT",
    "SUBMITTED_AT",
    "COMPLETED_AT",
    "COMMITS_COUNT",
    "TURNS_USED",
    "FAILED_AT",
    "WIP_BRANCH",
    "LAST_AGENT",
    "CONTINUATION_REASON",
    "SKIP_PR",
    "EXPEDITE",
    "BREAKDOWN_DEPTH",
    "RE_BREAKDOWN_DEPTH",
    "ACCEPTED_AT",
    "ACCEPTED_BY",
    "ESCALATED_AT",
    "PLAN_ID",
    "REJECTED_AT",
    "REJECTION_REASON",
    "REJECTED_BY",
    "ATTEMPT_COUNT",
    "REVIEW_REJECTED_AT",
    "REVIEW_REJECTED_BY",
    "RETRIED_AT",
    "NEEDS_CONTINUATION_AT",
    "RESUMED_AT",
    "RESUMED_BY",
    "ORIGINAL_TASK",
];

/// Reads a task file; `file` is the name used in errors.
pub fn parse(bytes: &[u8], file: &str) -> Result<CreateTask> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        Error::invalid(format!("{file}:{line}: the file is not UTF-8 text"))
            .with_hint("save it as UTF-8 and repeat the command")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    if let Some(rest) = text.strip_prefix("---\n") {
        let end = if rest.starts_with("---\n") {
            Some(0)
        } else {
            rest.find("\n---\n").map(|n| n + 1)
        };
        let end = end.or_else(|| rest.strip_suffix("\n---").map(|r| r.len() + 1));
        let Some(end) = end else {
            return Err(Error::invalid(format!(
                "{file}:1: the front matter is not closed by a line of ---"
            )));
        };
        let body = rest.get(end + 4..).unwrap_or_default();
        return front_matter(&rest[..end], body, file);
    }
    with_heading(&text, file)
}

fn front_matter(header: &str, body: &str, file: &str) -> Result<CreateTask> {
    let parsed: FrontMatter = if header.trim().is_empty() {
        FrontMatter::default()
    } else {
        yaml_serde::from_str(header).map_err(|e| {
            let line = e.location().map_or(1, |l| l.line()) + 1;
            let code = if e.to_string().contains("unknown field") {
                ErrorCode::UnknownField
            } else {
                ErrorCode::InvalidArgument
            };
            Error::new(code, format!("{file}:{line}: {e}"))
        })?
    };
    let body = body.strip_prefix('\n').unwrap_or(body);
    let from_heading = if parsed.title.is_none() {
        Some(with_heading(body, file)?)
    } else {
        None
    };
    let (title, content) = match from_heading {
        Some(found) => (found.title, found.content),
        None => (parsed.title, Some(body.to_owned()).filter(|b| !b.trim().is_empty())),
    };
    Ok(CreateTask {
        id: parsed.id,
        title,
        content,
        role: parsed.role,
        priority: parsed.priority,
        complexity: parsed.complexity,
        branch: parsed.branch,
        flow: parsed.flow,
        project_id: parsed.project_id,
        blocked_by: parsed.blocked_by,
        checks: parsed.checks,
        paths: parsed.paths,
        created_by: parsed.created_by,
        ..CreateTask::default()
    })
}

/// First heading = title, rest = body; `# [TASK-x] title` with `KEY: value` lines below it is the older form.
fn with_heading(text: &str, file: &str) -> Result<CreateTask> {
    let mut lines = text.lines().enumerate().skip_while(|(_, l)| l.trim().is_empty());
    let Some((at, heading)) = lines.next().filter(|(_, l)| l.starts_with('#')) else {
        return Ok(CreateTask {
            content: Some(text.to_owned()),
            ..CreateTask::default()
        });
    };
    let heading = heading.trim_start_matches('#').trim();
    let mut task = CreateTask::default();
    let old = heading.strip_prefix("[TASK-").and_then(|rest| rest.split_once(']'));
    task.title = Some(old.map_or(heading, |(_, title)| title.trim()).to_owned());
    if let Some((id, _)) = old {
        task.id = Some(TaskId::parse(id)?);
    }
    let mut body: Vec<&str> = Vec::new();
    let mut in_header = true;
    for (number, line) in text.lines().enumerate().skip(at + 1) {
        let header = line
            .split_once(':')
            .filter(|(key, _)| OLD_KEYS.contains(key) || OLD_IGNORED.contains(key));
        match header {
            Some((key, value)) if in_header => old_key(&mut task, key, value.trim())
                .map_err(|e| Error::new(e.code(), format!("{file}:{}: {key}: {e}", number + 1)))?,
            _ => {
                in_header = in_header && line.trim().is_empty();
                body.push(line);
            }
        }
    }
    let body = body.join("\n");
    let body = body.trim_start_matches('\n');
    task.content = Some(if text.ends_with('\n') && !body.is_empty() {
        format!("{body}\n")
    } else {
        body.to_owned()
    })
    .filter(|b| !b.trim().is_empty());
    Ok(task)
}

fn old_key(task: &mut CreateTask, key: &str, value: &str) -> Result<()> {
    if value.is_empty() || value == "None" {
        return Ok(());
    }
    let list = || value.split(',').map(str::trim).filter(|v| !v.is_empty());
    match key {
        "ROLE" => task.role = Some(Role::parse(value)?),
        "PRIORITY" => task.priority = Some(value.parse()?),
        "BRANCH" => task.branch = Some(value.to_owned()),
        "CREATED_BY" => task.created_by = Some(value.to_owned()),
        "PROJECT" | "PROJECT_ID" => task.project_id = Some(ProjectId::parse(value)?),
        "BLOCKED_BY" => {
            task.blocked_by = list()
                .map(|v| TaskId::parse(v.strip_prefix("TASK-").unwrap_or(v)))
                .collect::<Result<_>>()?;
        }
        "CHECKS" => task.checks = list().map(str::to_owned).collect(),
        _ => {}
    }
    Ok(())
}

/// Writes a task as a file that [`parse`] reads back.
pub fn write(task: &CreateTask) -> Result<String> {
    let header = FrontMatter {
        id: task.id.clone(),
        title: Some(task.title.clone().unwrap_or_default()),
        role: task.role.clone(),
        priority: task.priority,
        complexity: task.complexity,
        branch: task.branch.clone(),
        flow: task.flow.clone(),
        project_id: task.project_id.clone(),
        blocked_by: task.blocked_by.clone(),
        checks: task.checks.clone(),
        paths: task.paths.clone(),
        created_by: task.created_by.clone(),
    };
    let header = yaml_serde::to_string(&header)
        .map_err(|e| Error::new(ErrorCode::Internal, format!("a task cannot be written as a file: {e}")))?;
    Ok(format!(
        "---\n{header}---\n\n{}",
        task.content.as_deref().unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_three_forms() {
        let front = parse(
            b"---\ntitle: Fix it\npriority: P1\nblocked_by: [a, b]\n---\n\nBody\n",
            "t.md",
        )
        .unwrap();
        assert_eq!(
            (front.title.as_deref(), front.content.as_deref()),
            (Some("Fix it"), Some("Body\n"))
        );
        assert_eq!((front.priority, front.blocked_by.len()), (Some(Priority::P1), 2));

        let plain = parse(b"# Fix it\n\nBody: x\n", "t.md").unwrap();
        assert_eq!(
            (plain.title.as_deref(), plain.content.as_deref()),
            (Some("Fix it"), Some("Body: x\n"))
        );

        let old = parse(b"# [TASK-1a2b3c4d] Fix it\n\nROLE: test\nPRIORITY: P0\nBRANCH: dev\nCREATED: now\nBLOCKED_BY: None\n\n## Context\nx\n", "t.md").unwrap();
        assert_eq!(old.id.unwrap().as_str(), "1a2b3c4d");
        assert_eq!(
            (old.role.unwrap().as_str(), old.priority, old.branch.as_deref()),
            ("test", Some(Priority::P0), Some("dev"))
        );
        assert_eq!(old.content.as_deref(), Some("## Context\nx\n"));
        assert!(old.blocked_by.is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let said = |bytes: &[u8]| parse(bytes, "t.md").unwrap_err().to_string();
        assert!(
            said(b"---\ntitle: x\nspeed: 3\n---\n").starts_with("t.md:3: "),
            "{}",
            said(b"---\ntitle: x\nspeed: 3\n---\n")
        );
        assert!(said(b"---\ntitle: x\n").starts_with("t.md:1: "));
        assert!(said(b"# x\n\xff\n").starts_with("t.md:2: "));
        assert!(said(b"---\npriority: P9\n---\n").contains("P9"));
    }

    proptest! {
        #[test]
        fn writing_and_reading_is_the_same(title in "[a-zA-Z0-9 :#'\"{}%-]{1,40}", body in "[ -~\n]{0,200}", checks in proptest::collection::vec("[ -~]{1,20}", 0..3)) {
            prop_assume!(!title.trim().is_empty());
            let task = CreateTask {
                title: Some(title),
                content: Some(body).filter(|b| !b.trim().is_empty()),
                checks,
                ..CreateTask::default()
            };
            let text = write(&task).unwrap();
            let back = parse(text.as_bytes(), "t.md").unwrap();
            prop_assert_eq!(back.title, task.title);
            prop_assert_eq!(back.checks, task.checks);
            prop_assert_eq!(back.content, task.content);
        }
    }
}
