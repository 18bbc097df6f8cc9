//! Brings a database to this program's schema: in one transaction, with checksums, never backwards.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use sha2::{Digest, Sha256};

use super::{store_error, write_ahead};
use crate::{
    error::{Error, ErrorCode, Result},
    id::to_hex,
    lifecycle::matrix,
};

/// Name, statements, and the matrix that stands where the file says so.
type Migration = (&'static str, &'static str, fn() -> String);

const MIGRATIONS: &[Migration] = &[
    (
        "0001_tasks",
        include_str!("../migrations/0001_tasks.sql"),
        matrix::sql_check,
    ),
    (
        "0002_server",
        include_str!("../migrations/0002_server.sql"),
        matrix::sql_check_with_external,
    ),
    (
        "0003_counts",
        include_str!("../migrations/0003_counts.sql"),
        matrix::sql_check_with_external,
    ),
];

pub(super) fn run(connection: &mut Connection, path: &Path) -> Result<()> {
    let fail = |e| store_error(path, "migrate", e);
    // Outside the transaction: the journal mode cannot change inside one.
    write_ahead(connection).map_err(fail)?;
    let known: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(fail)?;
    if usize::try_from(known).is_ok_and(|v| v == MIGRATIONS.len()) {
        return Ok(());
    }
    // A table that is made anew must not take along what refers to it; the pragma cannot change inside a transaction.
    connection.pragma_update(None, "foreign_keys", false).map_err(fail)?;
    let outcome = bring_up(connection, path);
    connection.pragma_update(None, "foreign_keys", true).map_err(fail)?;
    outcome
}

fn bring_up(connection: &mut Connection, path: &Path) -> Result<()> {
    let fail = |e| store_error(path, "migrate", e);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fail)?;
    transaction
        .execute_batch("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)")
        .map_err(fail)?;
    let done: Vec<(i64, String)> = transaction
        .prepare("SELECT number, checksum FROM migrations ORDER BY number")
        .and_then(|mut s| s.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
        .map_err(fail)?;
    if done.len() > MIGRATIONS.len() {
        return Err(Error::new(
            ErrorCode::NewerSchema,
            format!(
                "{} was written by a newer Octopoid (schema {}, this program knows {})",
                path.display(),
                done.len(),
                MIGRATIONS.len()
            ),
        )
        .with_hint("install the newer Octopoid; nothing was changed"));
    }
    for (index, (name, text, matrix)) in MIGRATIONS.iter().enumerate() {
        let text = text.replace("--matrix", &matrix());
        let checksum = to_hex(&Sha256::digest(&text));
        match done.get(index) {
            Some((_, seen)) if *seen == checksum => {}
            Some(_) => {
                return Err(Error::new(
                    ErrorCode::NewerSchema,
                    format!(
                        "migration {name} of {} is not the one that this program has",
                        path.display()
                    ),
                )
                .with_hint("use the Octopoid that created the file, or restore it from a backup"));
            }
            None => {
                transaction.execute_batch(&text).map_err(fail)?;
                transaction
                    .execute(
                        "INSERT INTO migrations (number, name, checksum) VALUES (?1, ?2, ?3)",
                        (index + 1, name, checksum),
                    )
                    .map_err(fail)?;
            }
        }
    }
    let dangling: i64 = transaction
        .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |r| r.get(0))
        .map_err(fail)?;
    if dangling > 0 {
        return Err(Error::new(
            ErrorCode::Internal,
            format!(
                "{dangling} rows of {} refer to nothing; it was not migrated",
                path.display()
            ),
        ));
    }
    transaction
        .pragma_update(None, "user_version", MIGRATIONS.len())
        .map_err(fail)?;
    transaction.commit().map_err(fail)
}
