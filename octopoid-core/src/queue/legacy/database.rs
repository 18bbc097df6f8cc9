//! SQLite files of the older system: copied away with their journals, opened there, read by the columns that they have.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rusqlite::{Connection, OpenFlags, types::ValueRef};
use serde_json::{Map, Number, Value};

use super::{Reading, rows};
use crate::id::{SystemEntropy, random_hex, to_hex};

/// How every SQLite file begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// What lies beside a database and belongs to it. The `-shm` is made anew from the `-wal`.
const PARTS: &[&str] = &["", "-wal", "-journal"];

/// How often a copy is begun again when somebody writes in the meantime.
const TRIES: usize = 5;

/// Reads one database. `expected`: by its name it holds tasks, and it is a problem when it does not.
pub(super) fn read(reading: &mut Reading, path: &Path, home: &Path, expected: bool) {
    if !path.exists() || !reading.is_new(path) {
        return;
    }
    match open(path) {
        Ok(Some(database)) => rows::read(reading, &database.connection, path, home, expected),
        Ok(None) if expected => reading.problem(path.display(), "the database is empty"),
        Ok(None) => {}
        Err(why) => reading.problem(path.display(), format!("the database cannot be read: {why}")),
    }
}

/// A folder of its own that goes away with it.
#[derive(Debug)]
struct TempFolder(PathBuf);

impl TempFolder {
    fn new() -> Result<Self, String> {
        let name = random_hex(&SystemEntropy, 8).map_err(|e| e.to_string())?;
        let path = std::env::temp_dir().join(format!("octopoid-migrate-{name}"));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(&path)
            .map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // Nothing can be done about it here, and nothing depends on it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A copy that is open. The connection is closed before the folder goes.
#[derive(Debug)]
struct OpenCopy {
    connection: Connection,
    _folder: TempFolder,
}

/// Opens a copy of the database; nothing where the file is empty.
fn open(path: &Path) -> Result<Option<OpenCopy>, String> {
    // Journals lie beside the real file, not beside a link to it.
    let path = path.canonicalize().map_err(|e| e.to_string())?;
    if !path.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut head = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut head))
        .map_err(|e| e.to_string())?;
    let has_journal = PARTS.iter().skip(1).any(|part| length(&beside(&path, part)) > 0);
    if head.is_empty() && !has_journal {
        return Ok(None);
    }
    if !head.is_empty() && head != MAGIC {
        return Err("it is not an SQLite file".to_owned());
    }
    let folder = TempFolder::new()?;
    let copied = copy(&path, &folder.0)?;
    // An interrupted write is rolled back by the journal, and that writes, in the copy.
    let access = if length(&beside(&copied, "-journal")) > 0 {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    let connection =
        Connection::open_with_flags(&copied, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(|e| e.to_string())?;
    Ok(Some(OpenCopy {
        connection,
        _folder: folder,
    }))
}

/// `path` with `part` at its end.
fn beside(path: &Path, part: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(part);
    PathBuf::from(name)
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |about| about.len())
}

/// Length and time of the last change of each part, to see whether somebody writes.
fn looks(path: &Path) -> Vec<Option<(u64, Option<SystemTime>)>> {
    PARTS
        .iter()
        .map(|part| fs::metadata(beside(path, part)).ok())
        .map(|about| about.map(|about| (about.len(), about.modified().ok())))
        .collect()
}

/// Copies all parts as they were at one moment.
fn copy(path: &Path, folder: &Path) -> Result<PathBuf, String> {
    let copied = folder.join("old.db");
    for _ in 0..TRIES {
        let before = looks(path);
        for part in PARTS {
            copy_part(&beside(path, part), &beside(&copied, part), part.is_empty())
                .map_err(|e| format!("it cannot be copied to {}: {e}", folder.display()))?;
        }
        if looks(path) == before {
            return Ok(copied);
        }
    }
    Err("somebody writes to it all the time; stop the older Octopoid and repeat the command".to_owned())
}

fn copy_part(from: &Path, to: &Path, is_needed: bool) -> io::Result<()> {
    match File::open(from) {
        Ok(mut source) => {
            let mut target = File::create(to)?;
            io::copy(&mut source, &mut target)?;
            Ok(())
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound && !is_needed => match fs::remove_file(to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        },
        Err(e) => Err(e),
    }
}

/// The rows of a table that could be read, and what could not.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Number (from 1) and fields; names of columns are in lower case.
    pub(super) rows: Vec<(usize, Map<String, Value>)>,
    /// Row and what is the matter with it.
    pub(super) complaints: Vec<(usize, String)>,
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The names of all tables.
pub(super) fn tables(connection: &Connection) -> Result<Vec<String>, String> {
    texts(
        connection,
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
        0,
    )
    .map_err(|e| e.to_string())
}

/// One column of a query as text. Names are not asked of the library, which insists on UTF-8.
fn texts(connection: &Connection, query: &str, column: usize) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if let ValueRef::Text(bytes) = row.get_ref(column)? {
            found.push(String::from_utf8_lossy(bytes).into_owned());
        }
    }
    Ok(found)
}

/// How many rows a table has.
pub(super) fn count(connection: &Connection, table: &str) -> Result<i64, String> {
    connection
        .query_row(&format!("SELECT count(*) FROM {}", quoted(table)), [], |row| row.get(0))
        .map_err(|e| e.to_string())
}

/// All rows of a table, with whatever columns it has.
pub(super) fn table(connection: &Connection, name: &str) -> Table {
    let mut found = Table::default();
    if let Err(e) = fill(connection, name, &mut found) {
        let next = found.rows.len() + 1;
        found
            .complaints
            .push((next, format!("this row and those after it cannot be read: {e}")));
    }
    found
}

fn fill(connection: &Connection, name: &str, found: &mut Table) -> rusqlite::Result<()> {
    let columns = texts(connection, &format!("PRAGMA table_info({})", quoted(name)), 1)?;
    if columns.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let mut statement = connection.prepare(&format!("SELECT {} FROM {}", listed.join(", "), quoted(name)))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number = found.rows.len() + 1;
        let mut fields = Map::new();
        for (index, column) in columns.iter().enumerate() {
            let (value, is_whole) = json(row.get_ref(index)?);
            if !is_whole {
                found.complaints.push((
                    number,
                    format!("{column}: it is not UTF-8 text; the characters that cannot be read were replaced"),
                ));
            }
            fields.insert(column.to_lowercase(), value);
        }
        found.rows.push((number, fields));
    }
    Ok(())
}

/// A value as JSON, and whether nothing of it was lost.
fn json(value: ValueRef<'_>) -> (Value, bool) {
    match value {
        ValueRef::Null => (Value::Null, true),
        ValueRef::Integer(number) => (Value::from(number), true),
        ValueRef::Real(number) => match Number::from_f64(number) {
            Some(number) => (Value::Number(number), true),
            // Infinity, which JSON cannot say.
            None => (Value::String(number.to_string()), true),
        },
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => (Value::String(text.to_owned()), true),
            Err(_) => (Value::String(String::from_utf8_lossy(bytes).into_owned()), false),
        },
        ValueRef::Blob(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => (Value::String(text.to_owned()), true),
            Err(_) => (Value::String(to_hex(bytes)), true),
        },
    }
}
