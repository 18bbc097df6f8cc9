//! The statements, once for every database: numbered parameters, values of three types, rows read by position.

mod dump;
mod list;
pub(super) mod load;
mod records;
pub(super) mod row;
pub(super) mod write;

pub(super) use dump::{export, import};
pub(super) use list::list;
pub(super) use records::{message_page, post, records, update};

use crate::error::ErrorCode;
use crate::{
    clock::Timestamp,
    error::Error,
    id::{Scope, TaskId},
    lifecycle::Change,
    model::QueueKind,
    store::{Footprint, Snapshot},
};

/// A value bound to a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
}

/// Output of programs may hold NUL characters, which no text column of PostgreSQL can.
pub(super) fn clean(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(clean(text.to_owned()))
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(clean(text))
    }
}
impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}
impl From<f64> for Value {
    fn from(n: f64) -> Self {
        Self::Real(n)
    }
}
impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Int(at.0)
    }
}
impl From<&Scope> for Value {
    fn from(scope: &Scope) -> Self {
        scope.as_str().into()
    }
}
impl From<&TaskId> for Value {
    fn from(id: &TaskId) -> Self {
        id.as_str().into()
    }
}
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Why a request was not answered.
#[derive(Debug)]
pub(super) enum Stop {
    /// It was refused; nothing is wrong with the database.
    Refused(Error),
    /// A row does not say what it must.
    Malformed(String),
    /// SQLite failed.
    #[cfg(feature = "sqlite")]
    Sqlite(rusqlite::Error),
    /// PostgreSQL failed.
    #[cfg(feature = "postgres")]
    Postgres(postgres::Error),
}

impl Stop {
    /// Whether a constraint of the database said no.
    fn breaks_a_rule(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation),
            #[cfg(feature = "postgres")]
            Self::Postgres(error) => error.code().is_some_and(|code| code.code().starts_with("23")),
            Self::Refused(_) | Self::Malformed(_) => false,
        }
    }
}

#[cfg(feature = "sqlite")]
impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}
#[cfg(feature = "postgres")]
impl From<postgres::Error> for Stop {
    fn from(error: postgres::Error) -> Self {
        Self::Postgres(error)
    }
}
impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

pub(super) type Answer<T> = Result<T, Stop>;

/// A row of a result, by position.
pub(super) trait Row {
    fn text(&self, column: usize) -> Answer<Option<&str>>;
    fn int(&self, column: usize) -> Answer<Option<i64>>;
    fn real(&self, column: usize) -> Answer<Option<f64>>;
}

/// A connection inside its transaction.
pub(super) trait Sql {
    /// Hands each row of a result to `each`.
    fn query(&mut self, sql: &str, values: &[Value], each: &mut dyn FnMut(&dyn Row) -> Answer<()>) -> Answer<()>;
    /// Runs a statement and gives the number of rows that it touched.
    fn execute(&mut self, sql: &str, values: &[Value]) -> Answer<u64>;
    /// Runs several statements without parameters.
    fn batch(&mut self, sql: &str) -> Answer<()>;
    /// What follows a SELECT whose rows are about to be changed; a single writer needs nothing.
    fn lock(&self) -> &'static str {
        ""
    }
    /// The same for a row that must only stay as it is.
    fn share(&self) -> &'static str {
        ""
    }
    /// The same where rows that somebody else is about to change are passed over.
    fn skip_locked(&self) -> &'static str {
        ""
    }
    /// Lets nobody else decide about a thing of this name until the end of the transaction, also one that is not there.
    fn lock_name(&mut self, _name: &str) -> Answer<()> {
        Ok(())
    }
    /// A table with scope, queue and number of tasks `n`.
    fn counts(&self) -> &'static str {
        "(SELECT scope, queue, count(*) AS n FROM tasks GROUP BY scope, queue)"
    }
    /// Goes on numbering after the highest number that is there.
    fn restart_numbers(&mut self, _table: &str, _column: &str) -> Answer<()> {
        Ok(())
    }
    /// Makes the order of events the order in which they become visible.
    fn order_events(&mut self, _scope: &Scope) -> Answer<()> {
        Ok(())
    }
}

/// All rows of a result.
pub(super) fn all<T>(
    c: &mut dyn Sql,
    sql: &str,
    values: &[Value],
    read: impl Fn(&dyn Row) -> Answer<T>,
) -> Answer<Vec<T>> {
    let mut found = Vec::new();
    c.query(sql, values, &mut |row| {
        found.push(read(row)?);
        Ok(())
    })?;
    Ok(found)
}

/// The first row of a result.
pub(super) fn first<T>(
    c: &mut dyn Sql,
    sql: &str,
    values: &[Value],
    read: impl Fn(&dyn Row) -> Answer<T>,
) -> Answer<Option<T>> {
    let mut found = None;
    c.query(sql, values, &mut |row| {
        if found.is_none() {
            found = Some(read(row)?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Loads the footprint, decides, and writes.
pub(super) fn transact(
    c: &mut dyn Sql,
    scope: &Scope,
    footprint: &Footprint,
    decide: &mut (dyn FnMut(&Snapshot) -> Result<Vec<Change>, Error> + Send),
) -> Answer<Vec<Change>> {
    let snapshot = load::snapshot(c, scope, footprint)?;
    let changes = decide(&snapshot)?;
    if changes.is_empty() {
        return Ok(changes);
    }
    c.order_events(scope)?;
    for change in &changes {
        write::change(c, change)?;
    }
    let key = match footprint {
        Footprint::New { key, .. } | Footprint::Task { key, .. } => key.as_ref(),
        Footprint::Claimable(_) | Footprint::Open(_) | Footprint::Many { .. } => None,
    };
    if let (Some((key, fingerprint)), Some(change)) = (key, changes.first()) {
        write::idempotency(c, scope, key, fingerprint, &change.after)?;
    }
    Ok(changes)
}

/// Removes a task; `force` also one that a client has claimed or that others wait for, which go on then.
pub(super) fn delete(c: &mut dyn Sql, scope: &Scope, id: &TaskId, by: &str, force: bool, now: Timestamp) -> Answer<()> {
    let footprint = Footprint::Task {
        id: id.clone(),
        new_blockers: None,
        key: None,
    };
    let snapshot = load::snapshot(c, scope, &footprint)?;
    let task = snapshot.task.ok_or_else(|| Error::not_found("task", id))?;
    let refused = |message: String, hint: String| {
        Err(Stop::Refused(
            Error::new(ErrorCode::IllegalTransition, message).with_hint(hint),
        ))
    };
    if task.claim_token.is_some() && (task.is_fenced() || !force) {
        return refused(
            format!("task {id} is being worked on"),
            format!("`octopoid cancel {id}` first"),
        );
    }
    let waiting = snapshot
        .dependents
        .iter()
        .map(|(d, _)| d)
        .find(|d| d.kind() != QueueKind::Done && task.kind() != QueueKind::Done);
    if let (Some(dependent), false) = (waiting, force) {
        return refused(
            format!("task {} waits for {id}", dependent.id),
            format!("`octopoid edit {} --after …` gives it other blockers", dependent.id),
        );
    }
    c.order_events(scope)?;
    write::delete(c, &task, &snapshot.dependents, by, now)
}
