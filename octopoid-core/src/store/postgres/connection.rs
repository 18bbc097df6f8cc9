//! One connection: statements prepared once, transactions, the schema, the database's time.

use std::collections::HashMap;

use postgres::{
    Client, NoTls, Statement,
    fallible_iterator::FallibleIterator,
    types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked},
};
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, ErrorCode},
    id::{Scope, to_hex},
    lifecycle::matrix,
    store::sql::{Answer, Row, Sql, Stop, Value},
};

const MIGRATIONS: &[(&str, &str)] = &[("0001_schema", include_str!("../migrations/postgres/0001_schema.sql"))];

/// The lock under which the tables are made; any number that nobody else uses.
const MIGRATION_LOCK: i64 = 0x0c70_901d;

pub(super) struct Connection {
    client: Client,
    prepared: HashMap<String, Statement>,
    fresh: bool,
    /// Whether a statement of the request has reached the database.
    touched: bool,
}

impl Connection {
    pub(super) fn open(config: &postgres::Config) -> Result<Self, postgres::Error> {
        let mut config = config.clone();
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(std::time::Duration::from_secs(5));
        }
        config.application_name("octopoid");
        Ok(Self {
            client: config.connect(NoTls)?,
            prepared: HashMap::new(),
            fresh: true,
            touched: false,
        })
    }

    /// Whether it was lost before the request reached the database.
    pub(super) fn broke_while_idle(&self) -> bool {
        !self.fresh && !self.touched && self.client.is_closed()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) fn used(mut self) -> Self {
        self.fresh = false;
        self
    }

    /// The database's time in milliseconds.
    pub(super) fn now(&mut self) -> Answer<i64> {
        let row = self.client.query_one(
            "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
            &[],
        )?;
        Ok(row.try_get(0)?)
    }

    pub(super) fn transaction<T>(&mut self, write: bool, work: &mut dyn FnMut(&mut dyn Sql) -> Answer<T>) -> Answer<T> {
        self.touched = false;
        let begin = if write {
            "BEGIN"
        } else {
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        };
        self.client.batch_execute(begin)?;
        self.touched = true;
        let result = work(self);
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.client.batch_execute(end);
        match (result, ended) {
            (Ok(value), Ok(())) => Ok(value),
            (Ok(_), Err(error)) => Err(error.into()),
            // The connection is gone or will be found so; the first error says why.
            (Err(stop), _) => Err(stop),
        }
    }

    /// Brings the tables to this program's schema; several servers may start at once.
    pub(super) fn migrate(&mut self) -> Answer<()> {
        self.transaction(true, &mut |c| {
            c.execute(
                "SELECT pg_advisory_xact_lock(?1)",
                &[MIGRATION_LOCK.into()],
            )?;
            c.execute(
                "CREATE TABLE IF NOT EXISTS migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)",
                &[],
            )?;
            let mut done = Vec::new();
            c.query("SELECT checksum FROM migrations ORDER BY number", &[], &mut |r| {
                done.push(r.text(0)?.unwrap_or_default().to_owned());
                Ok(())
            })?;
            if done.len() > MIGRATIONS.len() {
                return Err(Stop::Refused(
                    Error::new(
                        ErrorCode::NewerSchema,
                        format!(
                            "the database was written by a newer Octopoid (schema {}, this program knows {})",
                            done.len(),
                            MIGRATIONS.len()
                        ),
                    )
                    .with_hint("install the newer Octopoid; nothing was changed"),
                ));
            }
            for (number, (name, text)) in (1_i64..).zip(MIGRATIONS) {
                let text = text.replace("--matrix", &matrix::sql_check_with_external());
                let checksum = to_hex(&Sha256::digest(&text));
                match done.get(usize::try_from(number - 1).unwrap_or(0)) {
                    Some(seen) if *seen == checksum => {}
                    Some(_) => {
                        return Err(Stop::Refused(Error::new(
                            ErrorCode::NewerSchema,
                            format!("migration {name} of the database is not the one that this program has"),
                        )));
                    }
                    None => {
                        c.batch(&text)?;
                        c.execute(
                            "INSERT INTO migrations (number, name, checksum) VALUES (?1, ?2, ?3)",
                            &[number.into(), (*name).into(), checksum.into()],
                        )?;
                    }
                }
            }
            Ok(())
        })
    }

    fn statement(&mut self, sql: &str) -> Answer<Statement> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        // Parameters are numbered in both databases, with another sign.
        let statement = self.client.prepare(&sql.replace('?', "$"))?;
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(n) if *ty == Type::INT4 => i32::try_from(*n)?.to_sql(ty, out),
            Self::Int(n) => n.to_sql(ty, out),
            Self::Real(n) => n.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl Row for postgres::Row {
    fn text(&self, column: usize) -> Answer<Option<&str>> {
        Ok(self.try_get(column)?)
    }
    fn int(&self, column: usize) -> Answer<Option<i64>> {
        if self.columns()[column].type_() == &Type::INT4 {
            return Ok(self.try_get::<_, Option<i32>>(column)?.map(i64::from));
        }
        Ok(self.try_get(column)?)
    }
    fn real(&self, column: usize) -> Answer<Option<f64>> {
        Ok(self.try_get(column)?)
    }
}

impl Sql for Connection {
    fn query(&mut self, sql: &str, values: &[Value], each: &mut dyn FnMut(&dyn Row) -> Answer<()>) -> Answer<()> {
        let statement = self.statement(sql)?;
        let mut rows = self.client.query_raw(&statement, values)?;
        while let Some(row) = rows.next()? {
            each(&row)?;
        }
        Ok(())
    }

    fn execute(&mut self, sql: &str, values: &[Value]) -> Answer<u64> {
        let statement = self.statement(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|v| v as &(dyn ToSql + Sync)).collect();
        Ok(self.client.execute(&statement, &values)?)
    }

    fn batch(&mut self, sql: &str) -> Answer<()> {
        Ok(self.client.batch_execute(sql)?)
    }

    fn lock(&self) -> &'static str {
        " FOR UPDATE"
    }

    fn share(&self) -> &'static str {
        " FOR SHARE"
    }

    fn skip_locked(&self) -> &'static str {
        " FOR UPDATE SKIP LOCKED"
    }

    fn lock_name(&mut self, name: &str) -> Answer<()> {
        self.query(
            "SELECT pg_advisory_xact_lock(hashtextextended(?1, 902))",
            &[name.into()],
            &mut |_| Ok(()),
        )
    }

    fn restart_numbers(&mut self, table: &str, column: &str) -> Answer<()> {
        self.batch(&format!(
            "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), (SELECT coalesce(max({column}), 0) + 1 FROM {table}), false)"
        ))
    }

    /// Cursors are given in the order of commits: whoever wrote an event holds the scope's lock until its commit.
    fn order_events(&mut self, scope: &Scope) -> Answer<()> {
        self.query(
            "SELECT pg_advisory_xact_lock(hashtextextended(?1, 901))",
            &[scope.into()],
            &mut |_| Ok(()),
        )?;
        self.query("SELECT pg_notify('octopoid', ?1)", &[scope.into()], &mut |_| Ok(()))
    }
}
