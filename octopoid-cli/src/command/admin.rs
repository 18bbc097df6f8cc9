//! `octopoid key`, `export`, `import`: against a server's admin routes, or its database.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use octopoid_core::{
    Error, ErrorCode,
    client::Admin,
    config::{self, Mode, Paths},
    engine::registry::Registry,
    queue::project_root,
    store::Store,
};
use serde_json::{Value, json};

use crate::{
    cli::{Global, Key, Place},
    directory,
    output::Output,
};

/// Where the rows are.
enum At {
    Server(Admin),
    Database(Arc<dyn Store>),
}

fn admin(url: &str) -> Result<Admin, Error> {
    let token = std::env::var("OCTOPOID_ADMIN_TOKEN").ok().filter(|t| !t.is_empty());
    let token = token.ok_or_else(|| {
        Error::new(ErrorCode::Unauthorized, "the server's admin token is needed")
            .with_hint("set OCTOPOID_ADMIN_TOKEN to what the server was started with")
    })?;
    Admin::new(url, token)
}

async fn at(place: &Place, global: &Global) -> Result<At, Error> {
    if let Some(url) = &place.server {
        return Ok(At::Server(admin(url)?));
    }
    if let Some(url) = place.database.as_deref().filter(|u| !u.is_empty()) {
        return Ok(At::Database(octopoid_server::open_store(url).await?));
    }
    if let Some(url) = config::process_env("OCTOPOID_SERVER_URL") {
        return Ok(At::Server(admin(&url)?));
    }
    let paths = Paths::new(project_root(&directory(global)?)?);
    let settings = config::load(&paths, &config::process_env)?;
    match settings.config.mode {
        Mode::Local => {
            let url = format!("sqlite:{}", paths.state_db().display());
            Ok(At::Database(octopoid_server::open_store(&url).await?))
        }
        Mode::Remote => Ok(At::Server(admin(
            settings.config.server.url.as_deref().unwrap_or_default(),
        )?)),
    }
}

pub(crate) async fn key(key: Key, global: &Global, output: &Output) -> Result<u8, Error> {
    let answer = match key {
        Key::Create { scope, name, place } => match at(&place, global).await? {
            At::Server(admin) => admin.create_key(&scope, &name).await?,
            At::Database(store) => {
                let (row, key) = Registry::new(store)?.create_key(&scope, &name).await?;
                json!({ "id": row.id, "key": key, "scope": row.scope, "name": row.name })
            }
        },
        Key::List { scope, place } => match at(&place, global).await? {
            At::Server(admin) => admin.keys(scope.as_ref()).await?,
            At::Database(store) => {
                let keys = Registry::new(store)?.keys(scope.as_ref()).await?;
                json!({ "keys": keys, "total": keys.len() })
            }
        },
        Key::Revoke { id, place } => match at(&place, global).await? {
            At::Server(admin) => admin.revoke_key(&id).await?,
            At::Database(store) => {
                Registry::new(store)?.revoke_key(&id).await?;
                json!({ "message": "Key revoked", "id": id })
            }
        },
        Key::Rotate { id, place } => match at(&place, global).await? {
            At::Server(admin) => admin.rotate_key(&id).await?,
            At::Database(store) => {
                let (row, key) = Registry::new(store)?.rotate_key(&id).await?;
                json!({ "id": row.id, "key": key, "scope": row.scope, "name": row.name })
            }
        },
    };
    output.json(&answer)?;
    if output.is_json() {
        return Ok(0);
    }
    if let Some(keys) = answer["keys"].as_array() {
        for key in keys {
            output.text(&format!(
                "{}  {}  {}  made {}, last used {}",
                text(key, "id"),
                text(key, "scope"),
                text(key, "name"),
                text(key, "created_at"),
                key["last_used_at"].as_str().unwrap_or("never")
            ))?;
        }
    } else if let Some(secret) = answer["key"].as_str() {
        output.text(secret)?;
        output.message(&format!(
            "{} opens scope {}; the key is shown this once. Give it to a machine as OCTOPOID_API_KEY.",
            text(&answer, "id"),
            text(&answer, "scope")
        ));
    } else {
        output.text(&text(&answer, "message"))?;
    }
    Ok(0)
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

pub(crate) async fn export(out: Option<PathBuf>, place: Place, global: &Global, output: &Output) -> Result<u8, Error> {
    let text = match at(&place, global).await? {
        At::Server(admin) => admin.export().await?,
        At::Database(store) => {
            let text = Arc::new(Mutex::new(String::new()));
            let lines = Arc::clone(&text);
            store
                .export(Box::new(move |line| {
                    let mut text = lines.lock().unwrap_or_else(PoisonError::into_inner);
                    text.push_str(&line);
                    text.push('\n');
                    Ok(())
                }))
                .await?;
            std::mem::take(&mut *text.lock().unwrap_or_else(PoisonError::into_inner))
        }
    };
    match out {
        Some(path) => {
            write_whole(&path, &text)?;
            output.json(&json!({ "file": path, "lines": text.lines().count() }))?;
            output.message(&format!("{} lines in {}", text.lines().count(), path.display()));
        }
        None => {
            let mut stdout = std::io::stdout().lock();
            stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush())
                .map_err(|e| Error::io("write", Path::new("standard output"), e))?;
        }
    }
    Ok(0)
}

/// A backup is there whole or not at all, and not for everybody to read: it holds claim tokens.
fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let fail = |e| Error::io("write", path, e);
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

pub(crate) async fn import(
    file: PathBuf,
    dry_run: bool,
    place: Place,
    global: &Global,
    output: &Output,
) -> Result<u8, Error> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|e| Error::io("read", Path::new("standard input"), e))?;
    } else {
        text = std::fs::read_to_string(&file).map_err(|e| Error::io("read", &file, e))?;
    }
    if text.trim().is_empty() {
        return Err(Error::invalid(format!("{} is empty", file.display())));
    }
    let answer = match at(&place, global).await? {
        At::Server(admin) => admin.import(text, dry_run).await?,
        At::Database(store) => {
            let done = store.import(text.lines().map(str::to_owned).collect(), dry_run).await?;
            json!({ "dry_run": dry_run, "imported": done })
        }
    };
    output.json(&answer)?;
    if !output.is_json() {
        let count = |name: &str| answer["imported"][name].as_u64().unwrap_or(0);
        let word = if dry_run { "would be written" } else { "written" };
        output.text(&format!(
            "{} rows {word} ({} tasks), {} were there already",
            count("written"),
            count("tasks"),
            count("present")
        ))?;
    }
    Ok(0)
}
