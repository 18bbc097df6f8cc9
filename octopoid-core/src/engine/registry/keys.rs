//! Keys: who may act in a scope. Only a key's hash is kept.

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Registry;
use crate::{
    clock::Timestamp,
    error::Result,
    id::{Scope, random_hex, to_hex},
    model::{Record, RecordKey, RecordKind, RecordWrite},
};

const KIND: RecordKind = RecordKind::Key;
const SERVER: &str = "";
/// How every key begins.
const PREFIX: &str = "oct_";
/// How old the stored time of the last use may become.
const USED_AGAIN: i64 = 60_000;

/// A key as it is listed; the secret is not part of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyRow {
    /// Names the key.
    pub id: String,
    /// What it opens.
    pub scope: String,
    /// For people.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// What a valid key gives access to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The key's id.
    pub key_id: String,
    /// What it opens.
    pub scope: Scope,
}

fn hash(key: &str) -> String {
    to_hex(&Sha256::digest(key))
}

/// Whether the text has a key's form.
pub fn check_key_form(key: &str) -> bool {
    key.strip_prefix(PREFIX)
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

/// Compares two hashes in a time that does not depend on where they differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

fn row(record: &Record) -> KeyRow {
    let text = |name: &str| {
        record
            .body
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    KeyRow {
        id: record.id.clone(),
        scope: text("scope"),
        name: text("name"),
        created_at: record.created_at,
        last_used_at: Timestamp::parse_any(&text("last_used_at")),
    }
}

impl Registry {
    fn fresh_key(&self) -> Result<String> {
        Ok(format!("{PREFIX}{}", random_hex(&*self.engine.entropy, 32)?))
    }

    /// Makes a key; the secret is told this once.
    pub async fn create_key(&self, scope: &Scope, name: &str) -> Result<(KeyRow, String)> {
        super::check_word("name", name)?;
        let key = self.fresh_key()?;
        let id = format!("key-{}", random_hex(&*self.engine.entropy, 6)?);
        let body = json!({ "scope": scope, "name": name, "hash": hash(&key), "last_used_at": null });
        let record = self.add(SERVER, KIND, &id, body).await?;
        Ok((row(&record), key))
    }

    /// The scope's first key; none when it has one already. Of several callers at once, exactly one gets it.
    pub(super) async fn first_key(&self, scope: &Scope) -> Result<Option<String>> {
        let has_one = self.keys(Some(scope)).await?.iter().any(|_| true);
        if has_one {
            return Ok(None);
        }
        let key = self.fresh_key()?;
        // Named after the scope, so that two callers meet.
        let id = format!("key-first-{scope}");
        let body = json!({ "scope": scope, "name": "first", "hash": hash(&key), "last_used_at": null });
        match self.add(SERVER, KIND, &id, body).await {
            Ok(_) => Ok(Some(key)),
            Err(error) if error.code() == crate::error::ErrorCode::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keys of a scope, or of all; oldest first.
    pub async fn keys(&self, scope: Option<&Scope>) -> Result<Vec<KeyRow>> {
        let rows = self.all(SERVER, KIND).await?;
        Ok(rows
            .iter()
            .map(row)
            .filter(|k| scope.is_none_or(|s| k.scope == s.as_str()))
            .collect())
    }

    /// Makes a key worthless from now on.
    pub async fn revoke_key(&self, id: &str) -> Result<()> {
        self.remove(SERVER, KIND, id).await
    }

    /// Gives a key a new secret; the old one is worthless from now on.
    pub async fn rotate_key(&self, id: &str) -> Result<(KeyRow, String)> {
        let key = self.fresh_key()?;
        let new = hash(&key);
        self.edit(SERVER, KIND, id, move |body| {
            body.insert("hash".into(), json!(new));
            body.insert("last_used_at".into(), Value::Null);
            Ok(())
        })
        .await?;
        let record = self.one(SERVER, KIND, id).await?;
        let record = record.ok_or_else(|| super::unknown(KIND, id))?;
        Ok((row(&record), key))
    }

    /// What the key opens; none for one that nobody issued.
    pub async fn access(&self, key: &str) -> Result<Option<Access>> {
        if !check_key_form(key) {
            return Ok(None);
        }
        let wanted = hash(key);
        let mut found = None;
        for record in self.all(SERVER, KIND).await? {
            let stored = record.body.get("hash").and_then(Value::as_str).unwrap_or_default();
            if same(stored, &wanted) {
                found = Some(record);
            }
        }
        let Some(record) = found else { return Ok(None) };
        let key = row(&record);
        let now = self.now();
        if key.last_used_at.is_none_or(|at| now.0 - at.0 > USED_AGAIN) {
            self.note_use(&record, now).await?;
        }
        Ok(Some(Access {
            key_id: key.id,
            scope: Scope::parse(&key.scope)?,
        }))
    }

    async fn note_use(&self, record: &Record, now: Timestamp) -> Result<()> {
        let key = RecordKey::new(SERVER, KIND, record.id.clone());
        self.store()
            .update(
                vec![key.clone()],
                Box::new(move |found| {
                    let Some(Some(record)) = found.first() else {
                        return Ok(Vec::new());
                    };
                    let mut body = record.body.clone();
                    body["last_used_at"] = json!(now);
                    Ok(vec![RecordWrite::Put(key.clone(), body)])
                }),
                now,
            )
            .await?;
        Ok(())
    }
}
