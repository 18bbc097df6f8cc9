//! The HTTP server: a thin face over the engine. One machine with one SQLite file, or several over one PostgreSQL.

mod answer;
mod auth;
mod call;
mod config;
mod connection;
mod openapi;
mod query;
mod route;
mod serve;
mod state;
mod sweeper;
mod telemetry;

pub use answer::Answer;
pub use config::{Auth, Config, LogFormat, open_store};
pub use connection::{Ask, Connection, Told};
pub use route::router;
pub use serve::{run, start_logging};
pub use state::State;
