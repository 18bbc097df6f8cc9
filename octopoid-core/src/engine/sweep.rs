//! Housekeeping: leases that ran out.

use super::Engine;
use crate::{
    clock::Timestamp,
    error::{ErrorCode, Result},
    id::TaskId,
    lifecycle::Command,
    model::Task,
    store::Spent,
};

impl Engine {
    /// Returns every task whose lease has run out to where it was claimed from.
    pub async fn expire(&self) -> Result<Vec<TaskId>> {
        let mut expired = Vec::new();
        for task in self.store.overdue(Some(&self.rules.scope), self.now()).await? {
            match self.apply(&task.id, Command::Expire).await {
                Ok(_) => expired.push(task.id),
                // Renewed or handed in since it was listed.
                Err(e)
                    if matches!(
                        e.code(),
                        ErrorCode::IllegalTransition | ErrorCode::VersionConflict | ErrorCode::NotFound
                    ) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(expired)
    }

    /// All tasks that somebody has claimed.
    pub async fn claimed(&self) -> Result<Vec<Task>> {
        self.store.claimed(&self.rules.scope).await
    }

    /// The next moment at which a waiting task may be tried again.
    pub async fn next_retry(&self) -> Result<Option<Timestamp>> {
        self.store.next_retry(&self.rules.scope, self.now()).await
    }

    /// What the last 24 hours cost.
    pub async fn spent_today(&self) -> Result<Spent> {
        let since = Timestamp(self.now().0 - 24 * 3600 * 1000);
        self.store.spent(&self.rules.scope, None, since).await
    }

    /// What a task cost so far.
    pub async fn spent_on(&self, id: &TaskId) -> Result<Spent> {
        self.store.spent(&self.rules.scope, Some(id), Timestamp(0)).await
    }
}
