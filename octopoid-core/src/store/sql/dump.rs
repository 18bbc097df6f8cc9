//! The whole store as lines of JSON, and back: the same bytes after a round trip.

use serde_json::{Map, Number, Value as Json, json};

use super::{Answer, Row, Sql, Stop, Value, all, first, row, write::marks};
use crate::{
    error::{Error, ErrorCode},
    store::Imported,
};

/// A table: its columns (`#` marks whole numbers, `~` other numbers) and how many of the first make its key.
struct Table {
    name: &'static str,
    columns: &'static str,
    key: &'static str,
    /// The column that the database numbers by itself.
    numbered: Option<&'static str>,
}

/// In the order in which rows can be written.
const TABLES: &[Table] = &[
    Table {
        name: "tasks",
        columns: "seq# scope id title content body_revision# queue kind priority complexity role branch flow project_id checks \
            paths created_by awaiting open_blockers# claimed_by orchestrator_id claim_kind claimed_from claimed_at# \
            lease_expires_at# claim_token epoch# version# attempt_count# failure_count# transient_count# rejection_count# \
            continuation_count# unclear_reviews# commits_count# turns_used# base_sha head_sha merged_sha pr_number# pr_url hold \
            not_before# attention execution_notes submitted_at# completed_at# created_at# updated_at# external# annotations \
            type role_given# needs_intervention# has_plan# auto_accept# needs_rebase#",
        key: "scope id",
        numbered: Some("seq"),
    },
    Table {
        name: "blockers",
        columns: "scope task_id blocker_id position#",
        key: "scope task_id blocker_id",
        numbered: None,
    },
    Table {
        name: "attempts",
        columns: "scope task_id number# kind role agent orchestrator_id epoch# token claimed_from body_revision# base_sha \
            started_at# ended_at# outcome failure reason evidence usage tokens# usd~",
        key: "scope task_id number",
        numbered: None,
    },
    Table {
        name: "reviews",
        columns: "id# scope task_id queue by condition sha verdict reason at#",
        key: "id",
        numbered: Some("id"),
    },
    Table {
        name: "messages",
        columns: "id# scope task_id author kind content at# uid reader parent",
        key: "id",
        numbered: Some("id"),
    },
    Table {
        name: "events",
        columns: "cursor# scope task_id kind at# by version# details",
        key: "cursor",
        numbered: Some("cursor"),
    },
    Table {
        name: "idempotency",
        columns: "scope key fingerprint task_id at#",
        key: "scope key",
        numbered: None,
    },
    Table {
        name: "records",
        columns: "seq# place kind id body created_at# updated_at#",
        key: "place kind id",
        numbered: Some("seq"),
    },
    Table {
        name: "counters",
        columns: "place kind n#",
        key: "place kind",
        numbered: None,
    },
];

/// Version of the lines.
const FORMAT: i64 = 1;

fn columns(table: &Table) -> impl Iterator<Item = (&'static str, char)> {
    table.columns.split_whitespace().map(|word| {
        let kind = if word.ends_with('#') {
            '#'
        } else if word.ends_with('~') {
            '~'
        } else {
            't'
        };
        (word.trim_end_matches(['#', '~']), kind)
    })
}

fn read(table: &Table, r: &dyn Row) -> Answer<Map<String, Json>> {
    let mut object = Map::new();
    for (i, (name, kind)) in columns(table).enumerate() {
        let value = match kind {
            '#' => r.int(i)?.map_or(Json::Null, Json::from),
            '~' => r.real(i)?.and_then(Number::from_f64).map_or(Json::Null, Json::Number),
            _ => r.text(i)?.map_or(Json::Null, Json::from),
        };
        object.insert(name.to_owned(), value);
    }
    Ok(object)
}

/// Hands every line to `line`; the same store gives the same lines.
pub(in crate::store) fn export(c: &mut dyn Sql, line: &mut dyn FnMut(String) -> Answer<()>) -> Answer<()> {
    line(json!({ "octopoid": "export", "format": FORMAT }).to_string())?;
    let mut rows: u64 = 0;
    for table in TABLES {
        let names: Vec<&str> = columns(table).map(|(name, _)| name).collect();
        let order = table
            .numbered
            .map_or_else(|| table.key.replace(' ', ", "), str::to_owned);
        let sql = format!("SELECT {} FROM {} ORDER BY {order}", names.join(", "), table.name);
        c.query(&sql, &[], &mut |r| {
            rows += 1;
            line(json!({ "table": table.name, "row": read(table, r)? }).to_string())
        })?;
    }
    // A file that was cut off anywhere is told from a whole one.
    line(json!({ "octopoid": "end", "rows": rows }).to_string())
}

fn bad(number: usize, what: impl std::fmt::Display) -> Stop {
    Stop::Refused(Error::invalid(format!("line {number}: {what}")))
}

/// Writes lines of an export; a row that is there already and differs refuses the whole.
pub(in crate::store) fn import(c: &mut dyn Sql, lines: &[String], dry_run: bool) -> Answer<Imported> {
    let mut done = Imported::default();
    let (mut rows, mut ended): (u64, bool) = (0, false);
    for (number, line) in (1..).zip(lines) {
        if line.trim().is_empty() {
            continue;
        }
        if ended {
            return Err(bad(number, "there is more after the export's last line"));
        }
        let value: Json = serde_json::from_str(line).map_err(|e| bad(number, format!("not JSON: {e}")))?;
        if number == 1 {
            if value["octopoid"] != "export" || value["format"] != FORMAT {
                return Err(bad(
                    number,
                    "this is no export of Octopoid in a format that this version reads",
                ));
            }
            continue;
        }
        if value["octopoid"] == "end" {
            if value["rows"].as_u64() != Some(rows) {
                return Err(bad(
                    number,
                    format!(
                        "{rows} rows came before the export's last line, which counts {}",
                        value["rows"]
                    ),
                ));
            }
            ended = true;
            continue;
        }
        rows += 1;
        let name = value["table"].as_str().unwrap_or_default();
        let table = TABLES
            .iter()
            .find(|t| t.name == name)
            .ok_or_else(|| bad(number, format!("unknown table {name:?}")))?;
        let object = value["row"].as_object().ok_or_else(|| bad(number, "no row"))?;
        if let Some(unknown) = object
            .keys()
            .find(|k| !columns(table).any(|(name, _)| name == k.as_str()))
        {
            return Err(bad(number, format!("{name} has no column {unknown}")));
        }
        let mut values = Vec::new();
        for (column, kind) in columns(table) {
            values.push(match (kind, object.get(column)) {
                (_, None) => return Err(bad(number, format!("{name}.{column} is missing"))),
                (_, Some(Json::Null)) => Value::Null,
                ('#', Some(n)) if n.is_i64() => n.as_i64().into(),
                ('~', Some(n)) if n.is_number() => n.as_f64().into(),
                ('t', Some(Json::String(text))) => text.as_str().into(),
                _ => return Err(bad(number, format!("{name}.{column} has the wrong type"))),
            });
        }
        let names: Vec<&str> = columns(table).map(|(name, _)| name).collect();
        let sql = format!(
            "INSERT INTO {name} ({}) VALUES ({}) ON CONFLICT DO NOTHING",
            names.join(", "),
            marks(names.len())
        );
        if name == "tasks" {
            done.tasks += 1;
        }
        let written = c.execute(&sql, &values).map_err(|stop| {
            if stop.breaks_a_rule() {
                bad(number, format!("the row of {name} is not one that may be"))
            } else {
                stop
            }
        })?;
        if written == 1 {
            done.written += 1;
            continue;
        }
        let key: Vec<&str> = table.key.split(' ').collect();
        let conditions: Vec<String> = (1..).zip(&key).map(|(n, column)| format!("{column} = ?{n}")).collect();
        let wanted: Vec<Value> = key
            .iter()
            .filter_map(|column| names.iter().position(|n| n == column))
            .map(|at| values[at].clone())
            .collect();
        let sql = format!(
            "SELECT {} FROM {name} WHERE {}",
            names.join(", "),
            conditions.join(" AND ")
        );
        let present = first(c, &sql, &wanted, |r| read(table, r))?;
        if present.as_ref() != Some(object) {
            return Err(Stop::Refused(
                Error::new(
                    ErrorCode::AlreadyExists,
                    format!("line {number}: {name} has another row in its place already"),
                )
                .with_hint("import into an empty database; nothing was written"),
            ));
        }
        done.present += 1;
    }
    if !ended {
        return Err(Stop::Refused(
            Error::invalid("the export is not whole: its last line is missing; nothing was written")
                .with_hint("export again, and copy the whole file"),
        ));
    }
    verify(c)?;
    // Numbering is not undone with the rest.
    for table in TABLES.iter().filter(|_| !dry_run) {
        if let Some(column) = table.numbered {
            c.restart_numbers(table.name, column)?;
        }
    }
    Ok(done)
}

/// Every dependency leads to a task, and each task counts its open blockers rightly.
fn verify(c: &mut dyn Sql) -> Answer<()> {
    let wrong = all(
        c,
        "SELECT t.id FROM tasks t WHERE t.open_blockers <> (SELECT count(*) FROM blockers b JOIN tasks x \
         ON x.scope = b.scope AND x.id = b.blocker_id WHERE b.scope = t.scope AND b.task_id = t.id AND x.kind <> 'done') LIMIT 5",
        &[],
        |r| row::text(r, 0),
    )?;
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Stop::Refused(Error::invalid(format!(
        "the dependencies of {} do not add up; nothing was written",
        wrong.join(", ")
    ))))
}
