//! What the server is told at its start: flags, each with an environment variable.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum, builder::NonEmptyStringValueParser};
use octopoid_core::{
    Error, Result,
    id::Scope,
    store::{PostgresStore, SqliteStore, Store},
};

/// Whether a key is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Requests without a key are served.
    Optional,
    /// Every request needs a key.
    Required,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The server's settings.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Address and port; port 0 takes a free one
    #[arg(long, env = "OCTOPOID_LISTEN", default_value = "127.0.0.1:8787", value_name = "ADDR")]
    pub listen: String,
    /// Where the tasks are kept: sqlite:FILE or postgres://…
    #[arg(
        long,
        env = "OCTOPOID_DATABASE_URL",
        default_value = "sqlite:octopoid.db",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database: String,
    /// Scope of requests that name none and carry no key
    #[arg(long, env = "OCTOPOID_DEFAULT_SCOPE", value_name = "SCOPE")]
    pub default_scope: Option<String>,
    /// Whether a key is needed; by default only where others than this machine can connect
    #[arg(long, env = "OCTOPOID_AUTH", value_enum)]
    pub auth: Option<Auth>,
    /// Token for the admin routes; without one they are closed
    #[arg(long, env = "OCTOPOID_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,
    /// Seconds between two looks for leases that ran out
    #[arg(
        long,
        env = "OCTOPOID_LEASE_SWEEP_SECONDS",
        default_value_t = 1.0,
        value_name = "SECS"
    )]
    pub lease_sweep_seconds: f64,
    /// Rows of a list when no limit is asked for
    #[arg(long, env = "OCTOPOID_PAGE_SIZE", default_value_t = 50, value_name = "N")]
    pub page_size: u32,
    /// Rows of a list at most
    #[arg(long, env = "OCTOPOID_MAX_PAGE_SIZE", default_value_t = 500, value_name = "N")]
    pub max_page_size: u32,
    /// Largest body of a request: bytes, KiB or MiB
    #[arg(long, env = "OCTOPOID_MAX_BODY", default_value = "1MiB", value_name = "SIZE", value_parser = parse_size)]
    pub max_body: usize,
    /// Requests a second from one key or address; 0 is no limit
    #[arg(long, env = "OCTOPOID_RATE_LIMIT", default_value_t = 0, value_name = "N")]
    pub rate_limit: u32,
    /// Certificate chain for TLS, a PEM file
    #[arg(long, env = "OCTOPOID_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key for TLS, a PEM file
    #[arg(long, env = "OCTOPOID_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Origin of web pages that may read answers; `*` is any
    #[arg(long, env = "OCTOPOID_CORS_ORIGIN", value_name = "ORIGIN", value_parser = NonEmptyStringValueParser::new())]
    pub cors_origin: Option<String>,
    /// Refuse claims of an orchestrator that holds as many tasks as its `max_claimed` says; the SDKs ask for it themselves
    #[arg(long, env = "OCTOPOID_ENFORCE_MAX_CLAIMED")]
    pub enforce_max_claimed: bool,
    /// Whether the routes run without a socket.
    #[arg(skip)]
    pub embedded: bool,
    /// Form of the log on stderr
    #[arg(long, env = "OCTOPOID_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

fn parse_size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];
    units
        .iter()
        .find_map(|(unit, factor)| {
            let number: usize = text.strip_suffix(unit)?.trim().parse().ok()?;
            number.checked_mul(*factor).filter(|n| *n > 0)
        })
        .ok_or_else(|| format!("{text:?} is not a size; write 1048576, 1024KiB or 1MiB"))
}

impl Config {
    /// For the routes without a socket: whoever holds the handle may do everything, and claims without being registered.
    pub(crate) fn embedded() -> Self {
        Self {
            listen: String::new(),
            database: String::new(),
            default_scope: None,
            auth: None,
            admin_token: None,
            lease_sweep_seconds: 1.0,
            page_size: 50,
            max_page_size: 500,
            max_body: 1 << 20,
            rate_limit: 0,
            tls_cert: None,
            tls_key: None,
            cors_origin: None,
            log_format: LogFormat::Text,
            enforce_max_claimed: false,
            embedded: true,
        }
    }

    /// The scope of requests that name none.
    pub(crate) fn scope(&self) -> Result<Option<Scope>> {
        self.default_scope
            .as_deref()
            .filter(|s| !s.is_empty())
            .map(Scope::parse)
            .transpose()
    }

    /// The admin token; an empty one is none.
    pub(crate) fn admin(&self) -> Option<&str> {
        self.admin_token.as_deref().filter(|t| !t.is_empty())
    }
}

/// Opens the database that `url` names.
pub async fn open_store(url: &str) -> Result<Arc<dyn Store>> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(PostgresStore::open(url).await?));
    }
    let Some(file) = url.strip_prefix("sqlite:").filter(|f| !f.is_empty()) else {
        let scheme = url.split(':').next().unwrap_or_default();
        return Err(Error::invalid(format!("{scheme:?} is no database that is known"))
            .with_hint("use sqlite:FILE or postgres://USER@HOST/DATABASE"));
    };
    let file = PathBuf::from(file.strip_prefix("//").unwrap_or(file));
    if let Some(folder) = file.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    }
    Ok(Arc::new(SqliteStore::open(&file)?))
}
