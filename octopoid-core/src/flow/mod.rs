//! Flows: which states a task goes through, what has to hold on the way, and what the engine runs.
//!
//! A flow does exactly what its file says: nothing is added to it silently.

mod parse;
mod registered;
mod validate;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    model::{QueueKind, QueueName, Review, Role, Verdict},
};

pub use parse::parse;
pub(crate) use parse::schema;
pub use registered::{registered, to_registration};

/// Work that the engine does itself on the way from one state to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Bring the work on top of the base branch as it is now.
    RebaseOnBase,
    /// Run the project's and the task's checks on exactly the commit at hand.
    RunTests,
    /// Push the task's branch to the remote, where there is one.
    PushBranch,
    /// Move the base branch to the checked commit.
    Merge,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::RebaseOnBase, Self::RunTests, Self::PushBranch, Self::Merge];

    /// The word in a flow file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RebaseOnBase => "rebase_on_base",
            Self::RunTests => "run_tests",
            Self::PushBranch => "push_branch",
            Self::Merge => "merge",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who or what answers a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Ask {
    /// An agent of this role or blueprint gives a verdict on the commit.
    Agent {
        /// Role or blueprint name.
        agent: String,
    },
    /// A person approves.
    Manual,
    /// A command exits with 0 on the commit.
    Script {
        /// Command line, run by the shell.
        script: String,
    },
}

/// Something that must hold before a transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Its name, unique in the transition.
    pub name: String,
    /// Who answers it.
    #[serde(flatten)]
    pub ask: Ask,
    /// Where the task goes when the answer is no.
    pub on_fail: QueueName,
}

/// One edge of the flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// State that is left.
    pub from: QueueName,
    /// State that is entered.
    pub to: QueueName,
    /// Role or blueprint that does the work, on edges into `claimed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// What must hold first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What the engine runs then, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Step>,
}

/// A named flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// The name that tasks carry.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Edges, in the order of the file.
    pub transitions: Vec<Transition>,
    /// What a client registered over HTTP, and not a file of ours.
    #[serde(skip)]
    pub registered: Option<Registered>,
}

/// What is known of a flow that a client registered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registered {
    /// States that it names.
    pub states: Vec<QueueName>,
    /// Edges as pairs.
    pub edges: Vec<(QueueName, QueueName)>,
    /// Edges of tasks that belong to a project.
    pub child_edges: Vec<(QueueName, QueueName)>,
    /// Whether the engine itself cannot follow it: it asks for steps that only the client knows.
    pub foreign: bool,
}

/// Who has to act on a task, as stored in its `awaiting` column.
pub mod actor {
    /// A person.
    pub const HUMAN: &str = "human";
    /// The orchestrator itself.
    pub const ENGINE: &str = "engine";
    /// The agent that holds the claim.
    pub const AGENT: &str = "agent";
    /// A client that drives the task on its own word.
    pub const CLIENT: &str = "client";
}

impl Flow {
    /// The edge that leaves `queue`; a valid flow has at most one.
    pub fn exit(&self, queue: &QueueName) -> Option<&Transition> {
        self.transitions.iter().find(|t| t.from == *queue)
    }

    /// Every state that the flow names, and the built-in ones.
    pub fn states(&self) -> Vec<QueueName> {
        let mut states: Vec<QueueName> = Vec::new();
        let named = self.transitions.iter().flat_map(|t| {
            [&t.from, &t.to]
                .into_iter()
                .chain(t.conditions.iter().map(|c| &c.on_fail))
        });
        let built_in: Vec<QueueName> = QueueName::BUILT_IN
            .iter()
            .filter_map(|(name, _)| QueueName::parse(name).ok())
            .collect();
        for state in named.chain(&built_in) {
            if !states.contains(state) {
                states.push(state.clone());
            }
        }
        states
    }

    /// Whether tasks of this flow can be in `queue`.
    pub fn has_state(&self, queue: &QueueName) -> bool {
        queue.is_built_in()
            || self.transitions.iter().any(|t| t.from == *queue || t.to == *queue)
            || self.registered.as_ref().is_some_and(|r| r.states.contains(queue))
    }

    /// Whether a client's word may bring a task from `from` to `to`; a flow that nobody registered allows the
    /// ends of a review.
    pub fn client_may(&self, from: &QueueName, to: &QueueName, in_project: bool) -> bool {
        let Some(registered) = &self.registered else {
            return matches!(from.kind(), QueueKind::Working) || *from == QueueName::provisional();
        };
        let edge = (from.clone(), to.clone());
        registered.edges.contains(&edge)
            || in_project && registered.child_edges.contains(&edge)
            || self
                .transitions
                .iter()
                .any(|t| t.from == *from && t.conditions.iter().any(|c| c.on_fail == *to))
    }

    /// Whether the engine can follow the flow itself.
    pub fn is_foreign(&self) -> bool {
        self.registered.as_ref().is_some_and(|r| r.foreign)
    }

    /// The condition of `queue`'s exit that nobody has answered with yes for the commit `head`.
    ///
    /// A person's approval answers every condition but scripts; scripts are run by the engine.
    pub fn open_condition(&self, queue: &QueueName, head: Option<&str>, reviews: &[Review]) -> Option<&Condition> {
        // A rejection takes back every approval that the same commit had before.
        let of_head = |r: &&Review| r.queue == *queue && Some(r.sha.as_str()) == head;
        let rejected = reviews
            .iter()
            .rposition(|r| of_head(&r) && r.verdict == Verdict::Reject);
        let standing = &reviews[rejected.map_or(0, |at| at + 1)..];
        self.exit(queue)?.conditions.iter().find(|c| {
            !matches!(c.ask, Ask::Script { .. })
                && !standing.iter().any(|r| {
                    r.verdict == Verdict::Approve
                        && r.queue == *queue
                        && Some(r.sha.as_str()) == head
                        && r.condition.as_ref().is_none_or(|name| *name == c.name)
                })
        })
    }

    /// Who must act on a task in `queue`; null where nobody has to.
    pub fn awaiting(
        &self,
        queue: &QueueName,
        role: &Role,
        head: Option<&str>,
        attention: Option<&str>,
        reviews: &[Review],
    ) -> Option<String> {
        let who = match queue.kind() {
            QueueKind::Waiting => role.as_str().to_owned(),
            QueueKind::Working => actor::AGENT.to_owned(),
            QueueKind::Review => match self.open_condition(queue, head, reviews).map(|c| &c.ask) {
                Some(Ask::Agent { agent }) => agent.clone(),
                Some(Ask::Manual) => actor::HUMAN.to_owned(),
                Some(Ask::Script { .. }) | None => actor::ENGINE.to_owned(),
            },
            QueueKind::Attention if attention == Some("merge_conflict") => Role::conflict().as_str().to_owned(),
            QueueKind::Attention => actor::HUMAN.to_owned(),
            QueueKind::Done | QueueKind::Failed | QueueKind::Cancelled => return None,
        };
        Some(who)
    }
}

/// The flows that a project can use: the shipped ones, and those of its own files over them.
#[derive(Debug, Clone)]
pub struct Flows {
    named: BTreeMap<String, Flow>,
    /// The shipped default, whatever a project or client calls by that name.
    fallback: Flow,
}

impl Flows {
    /// The shipped files, by name.
    pub const SHIPPED: &'static [(&'static str, &'static str)] = &[
        ("default", include_str!("builtin/default.yaml")),
        ("project", include_str!("builtin/project.yaml")),
    ];

    /// The shipped flows alone.
    pub fn shipped() -> Result<Self> {
        Self::SHIPPED
            .iter()
            .map(|(name, text)| parse(text, &format!("{name}.yaml")))
            .collect::<Result<Vec<_>>>()
            .and_then(|flows| {
                let named: BTreeMap<String, Flow> = flows.into_iter().map(|f| (f.name.clone(), f)).collect();
                let fallback = named.get("default").cloned();
                let fallback = fallback.ok_or_else(|| Error::not_found("flow", "default"))?;
                Ok(Self { named, fallback })
            })
    }

    /// Adds or replaces a flow.
    pub fn insert(&mut self, flow: Flow) {
        self.named.insert(flow.name.clone(), flow);
    }

    /// The flow of that name.
    pub fn get(&self, name: &str) -> Result<&Flow> {
        self.named.get(name).ok_or_else(|| {
            let known: Vec<_> = self.named.keys().map(String::as_str).collect();
            Error::not_found("flow", name).with_hint(format!("known flows: {}", known.join(", ")))
        })
    }

    /// The flow of that name, or the shipped default for a name that nobody registered.
    pub fn get_or_default(&self, name: &str) -> &Flow {
        self.named.get(name).unwrap_or(&self.fallback)
    }

    /// All flows by name.
    pub fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.named.values()
    }
}
