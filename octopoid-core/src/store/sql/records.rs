//! Records and messages: small documents beside the tasks.

use super::{Answer, Row, Sql, Stop, Value, all, first, row};
use crate::{
    clock::Timestamp,
    error::{Error, ErrorCode},
    id::Scope,
    model::{Message, MessageFilter, MessagePage, Post, Record, RecordKey, RecordKind, RecordWrite},
};

const RECORD: &str = "place, kind, id, seq, body, created_at, updated_at";

fn record(r: &dyn Row) -> Answer<Record> {
    Ok(Record {
        place: row::text(r, 0)?,
        kind: row::parsed(r, 1)?,
        id: row::text(r, 2)?,
        seq: row::int(r, 3)?,
        body: row::json(r, 4)?,
        created_at: Timestamp(row::int(r, 5)?),
        updated_at: Timestamp(row::int(r, 6)?),
    })
}

/// Records of one kind: of a place or of all, one or all of them, in the order in which they were made.
pub(in crate::store) fn records(
    c: &mut dyn Sql,
    place: Option<&str>,
    kind: RecordKind,
    id: Option<&str>,
) -> Answer<Vec<Record>> {
    let mut sql = format!("SELECT {RECORD} FROM records WHERE kind = ?1");
    let mut values = vec![Value::from(kind.as_str())];
    for (column, value) in [("place", place), ("id", id)] {
        if let Some(value) = value {
            values.push(value.into());
            sql.push_str(&format!(" AND {column} = ?{}", values.len()));
        }
    }
    sql.push_str(" ORDER BY seq");
    all(c, &sql, &values, record)
}

type DecideRecords<'a> = dyn FnMut(&[Option<Record>]) -> Result<Vec<RecordWrite>, Error> + Send + 'a;

/// Loads the records, decides, and writes.
pub(in crate::store) fn update(
    c: &mut dyn Sql,
    keys: &[RecordKey],
    decide: &mut DecideRecords<'_>,
    now: Timestamp,
) -> Answer<Vec<Record>> {
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        c.lock_name(&format!("{}\u{1}{}\u{1}{}", key.place, key.kind, key.id))?;
        let sql = format!(
            "SELECT {RECORD} FROM records WHERE place = ?1 AND kind = ?2 AND id = ?3{}",
            c.lock()
        );
        let values = [
            key.place.as_str().into(),
            key.kind.as_str().into(),
            key.id.as_str().into(),
        ];
        found.push(first(c, &sql, &values, record)?);
    }
    let mut written = Vec::new();
    for write in decide(&found)? {
        match write {
            RecordWrite::Put(key, body) => written.push(put(c, key, &body, now)?),
            RecordWrite::Delete(key) => remove(c, &key)?,
        }
    }
    Ok(written)
}

fn put(c: &mut dyn Sql, mut key: RecordKey, body: &serde_json::Value, now: Timestamp) -> Answer<Record> {
    if key.id.is_empty() {
        let next = first(
            c,
            "INSERT INTO counters (place, kind, n) VALUES ('', ?1, 1) \
             ON CONFLICT (place, kind) DO UPDATE SET n = counters.n + 1 RETURNING n",
            &[key.kind.as_str().into()],
            |r| row::int(r, 0),
        )?;
        key.id = next
            .ok_or_else(|| Stop::Malformed("a counter gave no number".into()))?
            .to_string();
    }
    let sql = format!(
        "INSERT INTO records (place, kind, id, body, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5) \
         ON CONFLICT (place, kind, id) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at \
         RETURNING {RECORD}"
    );
    let values = [
        key.place.as_str().into(),
        key.kind.as_str().into(),
        key.id.as_str().into(),
        row::to_json(body)?,
        now.into(),
    ];
    first(c, &sql, &values, record)?.ok_or_else(|| Stop::Malformed("a record was not written".into()))
}

fn remove(c: &mut dyn Sql, key: &RecordKey) -> Answer<()> {
    if key.kind == RecordKind::Project {
        let used = first(
            c,
            "SELECT id FROM tasks WHERE scope = ?1 AND project_id = ?2 LIMIT 1",
            &[key.place.as_str().into(), key.id.as_str().into()],
            |r| row::text(r, 0),
        )?;
        if let Some(task) = used {
            return Err(Stop::Refused(
                Error::new(
                    ErrorCode::IllegalTransition,
                    format!("Cannot delete project {}: task {task} belongs to it", key.id),
                )
                .with_hint("delete its tasks or give them another project first"),
            ));
        }
    }
    c.execute(
        "DELETE FROM records WHERE place = ?1 AND kind = ?2 AND id = ?3",
        &[
            key.place.as_str().into(),
            key.kind.as_str().into(),
            key.id.as_str().into(),
        ],
    )?;
    Ok(())
}

/// Keeps a message.
pub(in crate::store) fn post(c: &mut dyn Sql, scope: &Scope, post: &Post, now: Timestamp) -> Answer<Message> {
    if let Some(parent) = &post.parent {
        let task = first(
            c,
            "SELECT task_id FROM messages WHERE scope = ?1 AND uid = ?2",
            &[scope.into(), parent.as_str().into()],
            |r| row::text(r, 0),
        )?;
        match task {
            None => {
                return Err(Stop::Refused(Error::invalid(format!(
                    "Parent message not found: {parent}"
                ))));
            }
            Some(task) if task != post.task_id.as_str() => {
                return Err(Stop::Refused(Error::invalid(format!(
                    "Parent message {parent} belongs to task {task}, not to {}",
                    post.task_id
                ))));
            }
            Some(_) => {}
        }
    }
    let sql = format!(
        "INSERT INTO messages (scope, uid, task_id, author, reader, parent, kind, content, at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING {}",
        row::MESSAGE
    );
    let values = [
        scope.into(),
        post.uid.as_str().into(),
        (&post.task_id).into(),
        post.from.as_str().into(),
        post.to.clone().into(),
        post.parent.clone().into(),
        post.kind.as_str().into(),
        post.content.as_str().into(),
        now.into(),
    ];
    first(c, &sql, &values, row::message)?.ok_or_else(|| Stop::Malformed("a message was not written".into()))
}

/// A page of messages, oldest first.
pub(in crate::store) fn message_page(c: &mut dyn Sql, scope: &Scope, filter: &MessageFilter) -> Answer<MessagePage> {
    if let Some(root) = &filter.thread {
        let columns: Vec<String> = row::MESSAGE.split(", ").map(|column| format!("m.{column}")).collect();
        let sql = format!(
            "WITH RECURSIVE thread(uid) AS (SELECT uid FROM messages WHERE scope = ?1 AND uid = ?2 \
             UNION SELECT m.uid FROM messages m JOIN thread t ON m.scope = ?1 AND m.parent = t.uid) \
             SELECT {} FROM messages m JOIN thread t ON t.uid = m.uid WHERE m.scope = ?1 ORDER BY m.id",
            columns.join(", ")
        );
        let messages = all(c, &sql, &[scope.into(), root.as_str().into()], row::message)?;
        let total = messages.len() as u64;
        return Ok(MessagePage { messages, total });
    }
    let mut condition = "scope = ?1".to_owned();
    let mut values = vec![Value::from(scope)];
    for (column, value) in [
        ("task_id", &filter.task_id),
        ("reader", &filter.to),
        ("kind", &filter.kind),
    ] {
        if let Some(value) = value {
            values.push(value.as_str().into());
            condition.push_str(&format!(" AND {column} = ?{}", values.len()));
        }
    }
    if filter.unreplied {
        condition.push_str(
            " AND NOT EXISTS (SELECT 1 FROM messages r WHERE r.scope = messages.scope AND r.parent = messages.uid)",
        );
    }
    let total = first(
        c,
        &format!("SELECT count(*) FROM messages WHERE {condition}"),
        &values,
        |r| row::int(r, 0),
    )?;
    let (order, limit, offset) = match filter.page {
        Some((limit, offset)) => ("id", limit, offset),
        None => ("id DESC", filter.newest, 0),
    };
    values.push(i64::from(limit).into());
    values.push(i64::from(offset).into());
    let sql = format!(
        "SELECT {} FROM messages WHERE {condition} ORDER BY {order} LIMIT ?{} OFFSET ?{}",
        row::MESSAGE,
        values.len() - 1,
        values.len()
    );
    let mut messages = all(c, &sql, &values, row::message)?;
    if filter.page.is_none() {
        messages.reverse();
    }
    Ok(MessagePage {
        messages,
        total: u64::try_from(total.unwrap_or(0)).unwrap_or(0),
    })
}
