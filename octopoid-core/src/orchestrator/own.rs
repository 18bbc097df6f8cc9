//! Roles that are code of the caller's own: the same limits as for a program, and no panic that takes the daemon along.

use futures_util::FutureExt as _;

use crate::{
    lifecycle::Failure,
    role::{Assignment, Outcome, Role, RoleError},
};

/// Runs a role until it is through, its time is over, or nobody needs the result any more.
///
/// A role that is told to end has the grace period for it; then its future is dropped.
pub(super) async fn play(role: &dyn Role, assignment: &Assignment) -> Result<Outcome, RoleError> {
    let limits = assignment.limits;
    let mut stop = assignment.cancellation();
    let run = std::panic::AssertUnwindSafe(role.run(assignment)).catch_unwind();
    tokio::pin!(run);
    let ended = tokio::select! {
        ended = &mut run => ended,
        () = tokio::time::sleep(limits.wall) => {
            return Err(RoleError::new(
                Failure::WallTimeout,
                format!("the role {} ran longer than {} s", role.name(), limits.wall.as_secs_f64()),
            ));
        }
        () = told(&mut stop) => match tokio::time::timeout(limits.grace, &mut run).await {
            Ok(ended) => ended,
            Err(_) => return Err(RoleError::failed(format!("the role {} was ended from outside", role.name()))),
        },
    };
    ended.unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(RoleError::new(
            Failure::AgentExit,
            format!("the role {} panicked: {said}", role.name()),
        ))
    })
}

async fn told(stop: &mut tokio::sync::watch::Receiver<bool>) {
    if stop.wait_for(|stopped| *stopped).await.is_err() {
        // Nobody is left who could tell.
        std::future::pending::<()>().await;
    }
}
