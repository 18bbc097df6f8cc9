//! One request, taken apart once: sender, path, query, fields, and the scope that it is about.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    body::{Bytes, to_bytes},
    extract::{FromRequestParts, Path, Request},
    http::{HeaderMap, Method, header},
};
use octopoid_core::{
    Error, ErrorCode, Result,
    engine::{Engine, registry::Window},
    id::{Scope, TaskId},
    wire::{FULL_FORM, Fields},
};
use serde_json::Value;

use crate::{
    answer::Problem,
    auth::{self, Sender},
    query::Query,
    state::State,
};

/// The header that carries a claim token.
const TOKEN: &str = "octopoid-claim-token";
/// The header that carries an idempotency key.
const IDEMPOTENCY: &str = "idempotency-key";
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

pub(crate) struct Call {
    pub(crate) state: Arc<State>,
    pub(crate) sender: Sender,
    pub(crate) params: HashMap<String, String>,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) fields: Fields,
    pub(crate) body: Bytes,
}

/// How a route reads its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Not at all: anything is fine.
    Nothing,
    /// JSON, or anything as if it were empty.
    Leniently,
    /// JSON.
    Json,
    /// Bytes.
    Bytes,
}

impl Call {
    /// Takes a request apart; nothing has been changed when this refuses.
    pub(crate) async fn new(state: Arc<State>, request: Request, reads: Reads, open: bool) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let sender = if open {
            Sender::Anonymous
        } else {
            let sender = auth::sender(&state, &parts.headers).await?;
            auth::check(&state, &sender)?;
            sender
        };
        query.check()?;
        let params = Path::<HashMap<String, String>>::from_request_parts(&mut parts, &())
            .await
            .map(|Path(params)| params)
            .unwrap_or_default();
        let mut params = params;
        if let Some(last) = parts.uri.path().rsplit('/').next() {
            params.entry("id".to_owned()).or_insert_with(|| last.to_owned());
        }
        if params.values().any(|v| v.contains('\0')) {
            return Err(Error::invalid("the path contains a NUL character").into());
        }
        // An export is as large as it is; only the holder of the admin token sends one.
        let limit = if reads == Reads::Bytes && sender == Sender::Admin {
            usize::MAX
        } else {
            state.config.max_body
        };
        let body = match tokio::time::timeout(BODY_TIME, to_bytes(body, limit)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => {
                let too_large = Error::new(
                    ErrorCode::TooLarge,
                    format!("the body has more than {limit} bytes, or did not arrive whole: {error}"),
                )
                .with_hint("the server takes larger ones with --max-body");
                return Err(too_large.into());
            }
            Err(_) => {
                let late = Error::new(ErrorCode::Timeout, "the body did not arrive in time");
                return Err(Problem::from(late).status(408));
            }
        };
        let has_body = !matches!(parts.method, Method::GET | Method::HEAD);
        let fields = match reads {
            Reads::Json if has_body => Fields::parse(&body)?,
            Reads::Leniently => Fields::parse(&body).unwrap_or_default(),
            _ => Fields::default(),
        };
        let call = Self {
            state,
            sender,
            params,
            query,
            headers: parts.headers,
            fields,
            body,
        };
        call.check_scope()?;
        Ok(call)
    }

    /// A key opens its own scope only.
    fn check_scope(&self) -> Result<()> {
        let Sender::Key(access) = &self.sender else {
            return Ok(());
        };
        match self.asked_scope()? {
            Some(asked) if asked != access.scope => Err(Error::new(
                ErrorCode::Forbidden,
                format!(
                    "scope mismatch: the key opens {}, the request names {asked}",
                    access.scope
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The scope that the request names.
    pub(crate) fn asked_scope(&self) -> Result<Option<Scope>> {
        match self.query.get("scope") {
            Some(scope) => Some(Scope::parse(scope)).transpose(),
            None => self.fields.text("scope")?.map(|s| Scope::parse(&s)).transpose(),
        }
    }

    /// The scope of the sender's key.
    pub(crate) fn key_scope(&self) -> Option<&Scope> {
        match &self.sender {
            Sender::Key(access) => Some(&access.scope),
            _ => None,
        }
    }

    /// The scope that the request is about, where it says or its key does.
    pub(crate) fn scope_or_none(&self) -> Result<Option<Scope>> {
        Ok(self
            .asked_scope()?
            .or_else(|| self.key_scope().cloned())
            .or_else(|| self.state.default_scope.clone()))
    }

    /// The scope that the request is about.
    pub(crate) fn scope(&self) -> Result<Scope> {
        self.scope_or_none()?.ok_or_else(|| {
            Error::invalid("Missing required parameter: scope")
                .with_hint("name a scope, send a key, or start the server with --default-scope")
        })
    }

    /// The engine of the request's scope.
    pub(crate) async fn engine(&self) -> Result<Engine> {
        self.state.registry.engine(&self.scope()?).await
    }

    /// A part of the path.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// The task of the path and the engine of its scope: the request's own, else wherever the task is.
    pub(crate) async fn task(&self) -> Result<(Engine, TaskId), Problem> {
        let text = self.param("id");
        let missing = || Problem::from(Error::new(ErrorCode::NotFound, "Task not found")).about_task(text);
        let Ok(id) = TaskId::parse(text) else {
            return Err(missing());
        };
        let named = match self.key_scope() {
            Some(scope) => Some(scope.clone()),
            None => self.asked_scope()?,
        };
        let scope = match named {
            Some(scope) => scope,
            None => {
                let found = self.state.registry.store().scopes_of(id.as_str()).await?;
                let default = self.state.default_scope.as_ref();
                match default.filter(|d| found.is_empty() || found.contains(d)) {
                    Some(scope) => scope.clone(),
                    None => found.into_iter().next().ok_or_else(missing)?,
                }
            }
        };
        Ok((self.state.registry.engine(&scope).await?, id))
    }

    /// The claim token, from the body or the header.
    pub(crate) fn token(&self) -> Result<Option<String>> {
        match self.fields.text("claim_token")? {
            Some(token) => Ok(Some(token)),
            None => self.header(TOKEN),
        }
    }

    /// The idempotency key, from the header.
    pub(crate) fn idempotency_key(&self) -> Result<Option<String>> {
        match self.header(IDEMPOTENCY)? {
            Some(key) if key.len() > 255 => Err(Error::invalid("an idempotency key has 1 to 255 characters")),
            key => Ok(key),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Result<Option<String>> {
        self.headers
            .get(name)
            .map(|value| {
                value
                    .to_str()
                    .map(str::to_owned)
                    .map_err(|_| Error::invalid(format!("the header {name} is not plain text")))
            })
            .transpose()
            .map(|value| value.filter(|v| !v.is_empty()))
    }

    /// Whether the client wants tasks in the typed form.
    pub(crate) fn wants_full(&self) -> bool {
        self.accepts(FULL_FORM)
    }

    pub(crate) fn accepts(&self, kind: &str) -> bool {
        self.headers
            .get(header::ACCEPT)
            .and_then(|h| h.to_str().ok())
            .is_some_and(|accept| accept.contains(kind))
    }

    /// The page that is asked for.
    pub(crate) fn window(&self) -> Result<Window> {
        let config = &self.state.config;
        Ok(Window {
            limit: self.query.number("limit", config.page_size, 0, config.max_page_size)?,
            offset: self.query.number("offset", 0, 0, u32::MAX)?,
        })
    }

    /// Who acts: `by`, or a word for it.
    pub(crate) fn by(&self) -> Result<String> {
        Ok(self.fields.text("by")?.unwrap_or_else(|| "api".to_owned()))
    }

    /// A list as rows with its page.
    pub(crate) fn page(name: &str, rows: Vec<Value>, total: u64, window: Window) -> Value {
        serde_json::json!({ name: rows, "total": total, "offset": window.offset, "limit": window.limit })
    }
}
