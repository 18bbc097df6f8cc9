//! The built-in roles: an agent program that works, reviews or resolves, as its blueprint says.

use async_trait::async_trait;

use super::{Assignment, Outcome, Role, RoleError};
use crate::config::Blueprint;

/// A role played by a configured agent program.
#[derive(Debug, Clone)]
pub struct AgentRole {
    /// The blueprint.
    pub blueprint: Blueprint,
    /// Upper bound for its rounds with the model.
    pub max_turns: u32,
}

#[async_trait]
impl Role for AgentRole {
    fn name(&self) -> &str {
        self.blueprint.role.as_str()
    }

    async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError> {
        cx.run_agent(&self.blueprint, self.max_turns).await
    }
}
