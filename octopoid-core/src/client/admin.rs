//! The admin routes of a server: keys, export, import.

use std::time::Duration;

use serde_json::{Value, json};

use super::http::{Ask, Http};
use crate::{error::Result, id::Scope};

/// A server, asked by the holder of its admin token.
#[derive(Debug, Clone)]
pub struct Admin(Http);

/// A whole database takes its time.
const LONG: Duration = Duration::from_secs(600);

impl Admin {
    /// For the server at `url`.
    pub fn new(url: &str, token: String) -> Result<Self> {
        let http = Http::new(url, Some(token), None, Duration::from_secs(30))?;
        Ok(Self(http))
    }

    /// Makes a key; the answer has its secret.
    pub async fn create_key(&self, scope: &Scope, name: &str) -> Result<Value> {
        let body = json!({ "scope": scope, "name": name });
        self.0.send(Ask::post("/api/v1/admin/keys", body)).await
    }

    /// Keys without their secrets.
    pub async fn keys(&self, scope: Option<&Scope>) -> Result<Value> {
        let ask = Ask {
            query: scope.map(|s| ("scope", s.to_string())).into_iter().collect(),
            ..Ask::get("/api/v1/admin/keys")
        };
        self.0.send(ask).await
    }

    /// Makes a key worthless.
    pub async fn revoke_key(&self, id: &str) -> Result<Value> {
        let path = format!("/api/v1/admin/keys/{id}");
        let ask = Ask {
            method: reqwest::Method::DELETE,
            again: false,
            ..Ask::get(&path)
        };
        self.0.send(ask).await
    }

    /// Gives a key a new secret; the answer has it.
    pub async fn rotate_key(&self, id: &str) -> Result<Value> {
        let path = format!("/api/v1/admin/keys/{id}/rotate");
        self.0.send(Ask::post(&path, json!({}))).await
    }

    /// Every row as lines of JSON.
    pub async fn export(&self) -> Result<String> {
        let ask = Ask {
            wait: LONG,
            ..Ask::get("/api/v1/admin/export")
        };
        self.0.text(ask).await
    }

    /// Writes the lines of an export, all or none.
    pub async fn import(&self, lines: String, dry_run: bool) -> Result<Value> {
        let ask = Ask {
            query: vec![("dry_run", dry_run.to_string())],
            raw: Some(lines),
            wait: LONG,
            ..Ask::post("/api/v1/admin/import", Value::Null)
        };
        self.0.send(ask).await
    }
}
