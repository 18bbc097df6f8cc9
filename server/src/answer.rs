//! Answers: JSON with a status, and errors in the one form that clients know.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use octopoid_core::{Error, ErrorCode, clock::Clock as _, clock::SystemClock};
use serde_json::{Map, Value, json};

/// What a route answers.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    body: Body,
    kind: &'static str,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a route gives back.
pub(crate) type Reply = Result<Answer, Problem>;

impl Answer {
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self::text(status, "application/json", value.to_string())
    }

    pub(crate) fn ok(value: &Value) -> Self {
        Self::json(200, value)
    }

    /// A typed value as JSON.
    pub(crate) fn of(status: u16, value: &impl serde::Serialize) -> Reply {
        let text = serde_json::to_string(value)
            .map_err(|e| Error::new(ErrorCode::Internal, format!("an answer cannot be written: {e}")))?;
        Ok(Self::text(status, "application/json", text))
    }

    pub(crate) fn text(status: u16, kind: &'static str, text: String) -> Self {
        Self::stream(status, kind, Body::from(text))
    }

    pub(crate) fn stream(status: u16, kind: &'static str, body: Body) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            body,
            kind,
            headers: Vec::new(),
        }
    }

    /// A status without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self::stream(status, "", Body::empty())
    }

    /// Adds a header; a value that no header can carry is left out.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        if !self.kind.is_empty() {
            let kind = HeaderValue::from_static(self.kind);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        response.headers_mut().extend(self.headers);
        response
    }
}

/// An error with what its route adds to it.
#[derive(Debug)]
pub(crate) struct Problem {
    error: Box<Error>,
    status: Option<u16>,
    more: Map<String, Value>,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self {
            error: Box::new(error),
            status: None,
            more: Map::new(),
        }
    }
}

impl Problem {
    pub(crate) fn code(&self) -> ErrorCode {
        self.error.code()
    }

    /// A field beside `error` and `code`.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// Another status than the code's own.
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The task of that name is not there; otherwise the same problem.
    pub(crate) fn about_task(self, id: &str) -> Self {
        if self.code() == ErrorCode::NotFound && self.more.is_empty() {
            let hook = self.error.to_string().starts_with("Hook");
            let message = if hook {
                self.error.to_string()
            } else {
                "Task not found".to_owned()
            };
            return Self::from(Error::new(ErrorCode::NotFound, message)).with("task_id", json!(id));
        }
        self
    }

    /// What clients of a step in a task's life look at: the reason as a list.
    pub(crate) fn with_details(self) -> Self {
        if self.error.code().http_status() == 409 {
            let reason = self.error.to_string();
            return self.with("details", json!([reason]));
        }
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = self.error.code();
        let status = self.status.unwrap_or_else(|| code.http_status());
        let mut body = Map::new();
        if status >= 500 && code == ErrorCode::Internal {
            // The details are for the log; what a client is told names no statement and no file.
            tracing::error!(error = %self.error, "a request failed");
            body.insert("error".into(), json!("Internal Server Error"));
            body.insert(
                "message".into(),
                json!("the request failed; the server's log tells why, by the request id"),
            );
            body.insert("timestamp".into(), json!(SystemClock.now()));
        } else {
            body.insert("error".into(), json!(self.error.to_string()));
        }
        body.insert("code".into(), json!(code.as_str()));
        if let Some(hint) = self.error.hint() {
            body.insert("hint".into(), json!(hint));
        }
        body.extend(self.more);
        let mut answer = Answer::json(status, &Value::Object(body));
        if status == 401 {
            answer = answer.with("www-authenticate", "Bearer");
        }
        if status == 429 || status == 503 {
            answer = answer.with("retry-after", "1");
        }
        answer.into_response()
    }
}
