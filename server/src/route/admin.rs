//! For the holder of the admin token: keys, export, import.

use std::sync::{Arc, Mutex, PoisonError};

use octopoid_core::{Error, id::Scope};
use serde_json::json;

use super::routes;
use crate::{
    answer::{Answer, Reply},
    auth,
    call::Call,
};

routes! {
    POST "/api/v1/admin/keys" create_key, "Make a key; its secret is told this once", fields "scope! name!" => &[(201, "Object")];
    GET "/api/v1/admin/keys" keys, "Keys without their secrets", query "scope" => &[(200, "Object")];
    DELETE "/api/v1/admin/keys/{id}" revoke_key, "Make a key worthless", reads Nothing => &[(200, "Object")];
    POST "/api/v1/admin/keys/{id}/rotate" rotate_key, "Give a key a new secret", reads Nothing => &[(200, "Object")];
    GET "/api/v1/admin/export" export, "Every row as lines of JSON" => &[(200, "Lines")];
    POST "/api/v1/admin/import" import, "Write the lines of an export, all or none", query "dry_run", reads Bytes => &[(200, "Object")];
}

async fn create_key(call: Call) -> Reply {
    auth::admin(&call.state, &call.sender)?;
    call.fields.only(&["scope", "name"])?;
    let [scope, name] = call.fields.required(["scope", "name"])?;
    let (row, key) = call.state.registry.create_key(&Scope::parse(&scope)?, &name).await?;
    call.state.forget_keys();
    Ok(Answer::json(
        201,
        &json!({ "id": row.id, "key": key, "scope": row.scope, "name": row.name, "created_at": row.created_at }),
    ))
}

async fn keys(call: Call) -> Reply {
    auth::admin(&call.state, &call.sender)?;
    let rows = call.state.registry.keys(call.asked_scope()?.as_ref()).await?;
    Answer::of(200, &json!({ "keys": rows, "total": rows.len() }))
}

async fn revoke_key(call: Call) -> Reply {
    auth::admin(&call.state, &call.sender)?;
    let id = call.param("id");
    call.state.registry.revoke_key(id).await?;
    call.state.forget_keys();
    Ok(Answer::ok(&json!({ "message": "Key revoked", "id": id })))
}

async fn rotate_key(call: Call) -> Reply {
    auth::admin(&call.state, &call.sender)?;
    let (row, key) = call.state.registry.rotate_key(call.param("id")).await?;
    call.state.forget_keys();
    Ok(Answer::ok(
        &json!({ "id": row.id, "key": key, "scope": row.scope, "name": row.name }),
    ))
}

async fn export(call: Call) -> Reply {
    auth::admin(&call.state, &call.sender)?;
    let text = Arc::new(Mutex::new(String::new()));
    let lines = Arc::clone(&text);
    call.state
        .registry
        .store()
        .export(Box::new(move |line| {
            let mut text = lines.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&line);
            text.push('\n');
            Ok(())
        }))
        .await?;
    let text = std::mem::take(&mut *text.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Answer::text(200, "application/x-ndjson", text))
}

async fn import(call: Call) -> Reply {
    auth::admin(&call.state, &call.sender)?;
    let text = std::str::from_utf8(&call.body).map_err(|e| Error::invalid(format!("the export is not UTF-8: {e}")))?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(Error::invalid("the export is empty").into());
    }
    let dry_run = call.query.flag("dry_run")?.unwrap_or(false);
    let done = call.state.registry.store().import(lines, dry_run).await?;
    call.state.forget_keys();
    Answer::of(200, &json!({ "dry_run": dry_run, "imported": done }))
}
