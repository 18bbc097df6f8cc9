//! A record: a small named document beside the tasks, such as a project, a role or a key.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

use super::words::words_macro as words;
use crate::{
    clock::Timestamp,
    error::{Error, Result},
};

words! {
    /// What a record is.
    RecordKind("kind of record") {
        /// Several tasks on one branch.
        Project = "project",
        /// An idea kept before it is a task.
        Draft = "draft",
        /// A machine that claims tasks; its place is the whole server.
        Orchestrator = "orchestrator",
        /// A name that tasks can have as role.
        Role = "role",
        /// A flow that was registered.
        Flow = "flow",
        /// Something that an agent proposes to a person.
        Action = "action",
        /// A key to a scope; its place is the whole server.
        Key = "key",
        /// What holds for a scope.
        Settings = "settings",
    }
}

/// Names one record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordKey {
    /// The scope; empty for what belongs to the whole server.
    pub place: String,
    /// What it is.
    pub kind: RecordKind,
    /// Its name; empty to have the store give it the next number.
    pub id: String,
}

impl RecordKey {
    /// The key of `id`.
    pub fn new(place: &str, kind: RecordKind, id: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            kind,
            id: id.into(),
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The scope; empty for what belongs to the whole server.
    pub place: String,
    /// What it is.
    pub kind: RecordKind,
    /// Its name in the place.
    pub id: String,
    /// Position in the store; strictly increasing.
    pub seq: i64,
    /// The document.
    pub body: serde_json::Value,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// What is to become of a record.
#[derive(Debug, Clone)]
pub enum RecordWrite {
    /// This is its document now.
    Put(RecordKey, serde_json::Value),
    /// It is gone.
    Delete(RecordKey),
}
