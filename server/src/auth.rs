//! Who sends a request, and which scope it is about.

use axum::http::{HeaderMap, header};
use octopoid_core::{
    Error, ErrorCode, Result,
    engine::registry::{Access, check_key_form},
};

use crate::{config::Auth, state::State};

/// The sender of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Nobody said who.
    Anonymous,
    /// The holder of a scope's key.
    Key(Access),
    /// The holder of the admin token.
    Admin,
}

fn refused(message: &str) -> Error {
    Error::new(ErrorCode::Unauthorized, message)
        .with_hint("send the header `Authorization: Bearer oct_…`; `octopoid key create` makes a key")
}

/// Compares in a time that does not depend on where the two differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    use sha2::{Digest, Sha256};
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    a.iter().zip(b.iter()).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

/// Finds out who sends the request; a header that is there must be right.
pub(crate) async fn sender(state: &State, headers: &HeaderMap) -> Result<Sender> {
    let header = headers
        .get(header::AUTHORIZATION)
        .map(|h| h.to_str().map_err(|_| refused("Invalid Authorization header")))
        .transpose()?
        .unwrap_or_default()
        .trim();
    if header.is_empty() {
        return Ok(Sender::Anonymous);
    }
    let token = header
        .split_once(char::is_whitespace)
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty() && !token.contains(char::is_whitespace))
        .ok_or_else(|| refused("Invalid Authorization header: use `Bearer <key>`"))?;
    if state
        .config
        .admin()
        .is_some_and(|admin| same(admin.as_bytes(), token.as_bytes()))
    {
        return Ok(Sender::Admin);
    }
    if !token.starts_with("oct_") {
        return Err(refused("Invalid API key: a key starts with oct_"));
    }
    let access = if check_key_form(token) {
        state.access(token).await?
    } else {
        None
    };
    access.map(Sender::Key).ok_or_else(|| refused("Invalid API key"))
}

/// Refuses nobody's requests where a key is needed.
pub(crate) fn check(state: &State, sender: &Sender) -> Result<()> {
    match sender {
        Sender::Anonymous if state.auth == Auth::Required => Err(refused("An API key is required")),
        _ => Ok(()),
    }
}

/// Only for the holder of the admin token.
pub(crate) fn admin(state: &State, sender: &Sender) -> Result<()> {
    match sender {
        Sender::Admin => Ok(()),
        _ if state.config.admin().is_none() => Err(Error::new(
            ErrorCode::Forbidden,
            "the admin routes are closed: the server was started without an admin token",
        )
        .with_hint("start it with --admin-token or OCTOPOID_ADMIN_TOKEN")),
        Sender::Anonymous => Err(refused("The admin token is required")),
        Sender::Key(_) => Err(Error::new(
            ErrorCode::Forbidden,
            "a scope's key does not open the admin routes",
        )),
    }
}
