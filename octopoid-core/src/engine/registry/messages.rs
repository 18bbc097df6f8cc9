//! Messages between agents, orchestrators and people, on tasks that may not exist yet.

use super::Registry;
use crate::{
    error::{Error, Result},
    id::{Scope, TaskId},
    model::{Message, MessageFilter, MessagePage, Post},
    wire::Fields,
};

impl Registry {
    /// Keeps a message, from `task_id`, `from_actor`, `type`, `content` and more.
    pub async fn post_message(&self, scope: &Scope, fields: &Fields) -> Result<Message> {
        let [task_id, from, kind, content] = fields.required(["task_id", "from_actor", "type", "content"])?;
        let task_id = TaskId::parse(&task_id)?;
        let elsewhere = self.store().scopes_of(task_id.as_str()).await?;
        if !elsewhere.is_empty() && !elsewhere.contains(scope) && self.store().task(scope, &task_id).await?.is_none() {
            return Err(Error::not_found("task", &task_id));
        }
        let post = Post {
            uid: self.fresh_id("msg")?,
            task_id,
            from,
            to: fields.text("to_actor")?,
            kind,
            content,
            parent: fields.text("parent_message_id")?,
        };
        let message = self.store().post(scope, post, self.now()).await?;
        self.engine.notify();
        Ok(message)
    }

    /// A page of messages, oldest first.
    pub async fn list_messages(&self, scope: &Scope, filter: MessageFilter) -> Result<MessagePage> {
        self.store().message_page(scope, filter).await
    }
}
