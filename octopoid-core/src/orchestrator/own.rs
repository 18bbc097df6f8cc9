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
    let (tell, told) = tokio::sync::watch::channel(false);
    let assignment = assignment.with_cancellation(told);
    let run = std::panic::AssertUnwindSafe(role.run(&assignment)).catch_unwind();
    tokio::pin!(run);
    let (is_late, why) = tokio::select! {
        ended = &mut run => return told_by(role, ended),
        () = tokio::time::sleep(limits.wall) => (
            true,
            RoleError::new(
                Failure::WallTimeout,
                format!("the role {} ran longer than {} s", role.name(), limits.wall.as_secs_f64()),
            ),
        ),
        () = stopped(&mut stop) => (
            false,
            RoleError::failed(format!("the role {} was ended from outside", role.name())),
        ),
    };
    tell.send_replace(true);
    match tokio::time::timeout(limits.grace, &mut run).await {
        Ok(ended) if !is_late => told_by(role, ended),
        // What a role says after its time is not asked for any more; it has stopped working, and that was wanted.
        _ => Err(why),
    }
}

/// What came of a run, a panic too.
fn told_by(role: &dyn Role, ended: std::thread::Result<Result<Outcome, RoleError>>) -> Result<Outcome, RoleError> {
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

async fn stopped(stop: &mut tokio::sync::watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left who could tell.
        std::future::pending::<()>().await;
    }
}
