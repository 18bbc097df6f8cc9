//! Brings a database to this program's schema: in one transaction, with checksums, never backwards.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use sha2::{Digest, Sha256};

use super::store_error;
use crate::{
    error::{Error, ErrorCode, Result},
    id::to_hex,
    lifecycle::matrix,
};

const MIGRATIONS: &[(&str, &str)] = &[("0001_tasks", include_str!("../migrations/0001_tasks.sql"))];

/// The statements of a migration: the matrix stands where its file says so.
fn statements(text: &str) -> String {
    text.replace("--matrix", &matrix::sql_check())
}

pub(super) fn run(connection: &mut Connection, path: &Path) -> Result<()> {
    let fail = |e| store_error(path, "migrate", e);
    // Outside the transaction: the journal mode cannot change inside one.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
    let known: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(fail)?;
    if usize::try_from(known).is_ok_and(|v| v == MIGRATIONS.len()) {
        return Ok(());
    }
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
    for (index, (name, text)) in MIGRATIONS.iter().enumerate() {
        let text = statements(text);
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
    transaction
        .pragma_update(None, "user_version", MIGRATIONS.len())
        .map_err(fail)?;
    transaction.commit().map_err(fail)
}
