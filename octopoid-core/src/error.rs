//! The one error type of the crate and its closed list of codes.

use std::{error::Error as StdError, fmt};

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $name:ident => { str: $str:literal, http: $http:literal, exit: $exit:literal, retryable: $retry:literal },)+) => {
        /// What went wrong, as a closed list: every surface derives its own form from it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[doc = $doc])+ $name,)+ }

        impl ErrorCode {
            /// Every code, in the order of `docs/errors.md`.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)+];

            /// The word used in JSON, on the wire and as the anchor in `docs/errors.md`.
            pub const fn as_str(self) -> &'static str { match self { $(ErrorCode::$name => $str,)+ } }

            /// The code that is written so.
            pub fn parse(text: &str) -> Option<Self> { Self::ALL.iter().copied().find(|c| c.as_str() == text) }

            /// The HTTP status that carries this code.
            pub const fn http_status(self) -> u16 { match self { $(ErrorCode::$name => $http,)+ } }

            /// The exit code of the command line.
            pub const fn exit_code(self) -> u8 { match self { $(ErrorCode::$name => $exit,)+ } }

            /// Whether the same call may succeed later without anyone changing anything.
            pub const fn is_retryable(self) -> bool { match self { $(ErrorCode::$name => $retry,)+ } }
        }
    };
}

error_codes! {
    /// A value given by the caller is not acceptable.
    InvalidArgument => { str: "invalid_argument", http: 400, exit: 2, retryable: false },
    /// A field or key that does not exist was given.
    UnknownField => { str: "unknown_field", http: 400, exit: 2, retryable: false },
    /// The text is not JSON.
    InvalidJson => { str: "invalid_json", http: 400, exit: 2, retryable: false },
    /// A file of `.octopoid/` does not say what it must.
    InvalidConfig => { str: "invalid_config", http: 422, exit: 7, retryable: false },
    /// The named thing does not exist.
    NotFound => { str: "not_found", http: 404, exit: 3, retryable: false },
    /// A thing of that name exists already.
    AlreadyExists => { str: "already_exists", http: 409, exit: 4, retryable: false },
    /// The idempotency key was used before with another body.
    IdempotencyConflict => { str: "idempotency_conflict", http: 409, exit: 4, retryable: false },
    /// The task cannot go that way from the queue that it is in.
    IllegalTransition => { str: "illegal_transition", http: 409, exit: 4, retryable: false },
    /// The claim token is not (or no longer) the one that owns the task.
    StaleClaim => { str: "stale_claim", http: 409, exit: 4, retryable: false },
    /// Somebody else changed the task in between.
    VersionConflict => { str: "version_conflict", http: 409, exit: 4, retryable: true },
    /// Another orchestrator of this project is running.
    AlreadyRunning => { str: "already_running", http: 409, exit: 4, retryable: false },
    /// There is no `.octopoid/` here.
    NotInitialised => { str: "not_initialised", http: 409, exit: 1, retryable: false },
    /// The directory is not in a usable git repository.
    NotARepository => { str: "not_a_repository", http: 409, exit: 1, retryable: false },
    /// A git operation failed.
    Git => { str: "git", http: 500, exit: 1, retryable: false },
    /// Two changes touch the same lines.
    MergeConflict => { str: "merge_conflict", http: 409, exit: 4, retryable: false },
    /// The agent's program is not to be found.
    AgentMissing => { str: "agent_missing", http: 503, exit: 1, retryable: true },
    /// A project's check did not pass.
    ChecksFailed => { str: "checks_failed", http: 409, exit: 1, retryable: false },
    /// Work ended in a state that needs a person.
    NeedsAttention => { str: "needs_attention", http: 409, exit: 1, retryable: false },
    /// The database cannot be read or written now.
    StoreUnavailable => { str: "store_unavailable", http: 503, exit: 1, retryable: true },
    /// The database was written by a newer Octopoid.
    NewerSchema => { str: "newer_schema", http: 503, exit: 1, retryable: false },
    /// A file or folder cannot be read or written.
    Io => { str: "io", http: 500, exit: 1, retryable: false },
    /// No or a wrong key was given.
    Unauthorized => { str: "unauthorized", http: 401, exit: 6, retryable: false },
    /// The key is good, but not for this.
    Forbidden => { str: "forbidden", http: 403, exit: 6, retryable: false },
    /// The request is larger than the server takes.
    TooLarge => { str: "too_large", http: 413, exit: 2, retryable: false },
    /// More requests than the server takes, or more claims than asked for.
    TooManyRequests => { str: "too_many_requests", http: 429, exit: 1, retryable: true },
    /// The server cannot be reached.
    Offline => { str: "offline", http: 503, exit: 5, retryable: true },
    /// The answer did not come in time.
    Timeout => { str: "timeout", http: 504, exit: 5, retryable: true },
    /// The client was closed before.
    Closed => { str: "closed", http: 409, exit: 1, retryable: false },
    /// The client was made before the process was forked.
    Forked => { str: "forked", http: 409, exit: 1, retryable: false },
    /// A defect of Octopoid itself.
    Internal => { str: "internal", http: 500, exit: 1, retryable: false },
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed operation: what failed, on which object, why, and what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    code: ErrorCode,
    message: String,
    hint: Option<String>,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with its sentence; the sentence names the object.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// Adds the next step that the user can take.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A value of the caller that cannot be used.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// An unknown object, `kind` being the word for it.
    pub fn not_found(kind: &str, id: impl fmt::Display) -> Self {
        Self::new(ErrorCode::NotFound, format!("{kind} {id} does not exist"))
    }

    /// A file operation that failed on `path`.
    pub fn io(action: &str, path: &std::path::Path, source: std::io::Error) -> Self {
        let hint = match source.kind() {
            std::io::ErrorKind::StorageFull => Some("free some disk space and repeat the command"),
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                Some("make the path writable for this user and repeat the command")
            }
            _ => None,
        };
        let error = Self::new(ErrorCode::Io, format!("cannot {action} {}: {source}", path.display()));
        match hint {
            Some(hint) => error.with_hint(hint).with_source(source),
            None => error.with_source(source),
        }
    }

    /// The closed code of this error.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The next step, when there is one to name.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether repeating the call later can help.
    pub fn is_retryable(&self) -> bool {
        self.code.is_retryable()
    }
}
