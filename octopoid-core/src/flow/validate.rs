//! What a flow must fulfil before it may be used.

use super::{Flow, Step, Transition};
use crate::{
    error::{Error, ErrorCode, Result},
    model::{QueueKind, QueueName},
};

/// Line in `text` on which `word` first stands; 1 when it does not.
fn line_of(text: &str, word: &str) -> usize {
    text.lines().position(|l| l.contains(word)).map_or(1, |n| n + 1)
}

/// Refuses a flow in which a task could get stuck, or be merged without checks on the same commit.
pub(super) fn validate(flow: &Flow, text: &str, file: &str) -> Result<()> {
    let refuse = |word: &str, what: String| {
        Err(Error::new(
            ErrorCode::InvalidConfig,
            format!("{file}:{}: {what}", line_of(text, word)),
        )
        .with_hint("`octopoid flow show default` prints a flow that works"))
    };
    if file
        .rsplit('/')
        .next()
        .and_then(|f| f.strip_suffix(".yaml"))
        .is_some_and(|stem| stem != flow.name)
    {
        return refuse(
            "name:",
            format!("name: is {:?}, but the file is {file}; the two must agree", flow.name),
        );
    }

    for (i, edge) in flow.transitions.iter().enumerate() {
        let arrow = format!("{} -> {}", edge.from, edge.to);
        if flow.transitions.iter().take(i).any(|other| other.from == edge.from) {
            return refuse(
                &arrow,
                format!(
                    "transitions: {} has more than one exit; a state has exactly one",
                    edge.from
                ),
            );
        }
        if let Some(problem) = problem_of(edge) {
            return refuse(&arrow, format!("transitions: {arrow}: {problem}"));
        }
        for condition in &edge.conditions {
            if condition.on_fail.kind() != QueueKind::Waiting {
                let what = format!(
                    "on_fail: {} is no queue from which work goes on; allowed: incoming, needs_continuation",
                    condition.on_fail
                );
                return refuse(&condition.name, what);
            }
            if !flow.has_state(&condition.on_fail) {
                return refuse(
                    &condition.name,
                    format!("on_fail: {} is no state of this flow", condition.on_fail),
                );
            }
            if edge.conditions.iter().filter(|c| c.name == condition.name).count() > 1 {
                return refuse(
                    &condition.name,
                    format!("conditions: the name {} is used twice", condition.name),
                );
            }
        }
    }

    let mut reached = vec![QueueName::incoming()];
    while let Some(next) = flow
        .transitions
        .iter()
        .find(|t| reached.contains(&t.from) && !reached.contains(&t.to))
    {
        reached.push(next.to.clone());
    }
    if !reached.contains(&QueueName::done()) {
        return refuse(
            "transitions",
            "transitions: no way leads from incoming to done".to_owned(),
        );
    }
    for edge in &flow.transitions {
        let arrow = format!("{} -> {}", edge.from, edge.to);
        if !reached.contains(&edge.from) {
            return refuse(
                &arrow,
                format!("transitions: {} cannot be reached from incoming", edge.from),
            );
        }
        if !edge.to.kind().is_terminal() && flow.exit(&edge.to).is_none() {
            return refuse(
                &arrow,
                format!("transitions: {} has no exit; a task there would stay for ever", edge.to),
            );
        }
    }
    Ok(())
}

fn problem_of(edge: &Transition) -> Option<String> {
    let at = |step: Step| edge.runs.iter().position(|s| *s == step);
    match (edge.from.kind(), edge.to.kind()) {
        (QueueKind::Waiting, QueueKind::Working) => {
            if edge.from != QueueName::incoming() {
                return Some("needs_continuation is left by its own rule; remove this transition".into());
            }
            if !edge.runs.is_empty() || !edge.conditions.is_empty() {
                return Some("a claim takes no `runs` and no `conditions`; put them on the next transition".into());
            }
            edge.agent.is_none().then(|| "nobody works here; name the role as `agent`".into())
        }
        (QueueKind::Working, QueueKind::Review) => {
            if !edge.conditions.is_empty() {
                return Some("conditions belong to the transition that leaves the review".into());
            }
            edge.runs
                .iter()
                .find(|s| **s != Step::RunTests)
                .map(|s| format!("{s} cannot run here; only run_tests can"))
        }
        (QueueKind::Review, QueueKind::Review) => {
            if edge.conditions.is_empty() {
                return Some("a review needs at least one of `conditions`".into());
            }
            edge.runs
                .iter()
                .find(|s| !matches!(s, Step::PushBranch))
                .map(|s| format!("{s} cannot run here; only push_branch can"))
        }
        (QueueKind::Review, QueueKind::Done) => match (at(Step::RebaseOnBase), at(Step::RunTests), at(Step::Merge)) {
            (Some(rebase), Some(tests), Some(merge)) if rebase < tests && tests < merge && merge + 1 == edge.runs.len() => None,
            _ => Some(
                "a merge runs rebase_on_base, run_tests and merge, in this order and merge last, so that exactly the checked commit is merged".into(),
            ),
        },
        (from, to) => Some(format!("a task cannot go from a {from} state to a {to} state")),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        error::ErrorCode,
        flow::{Flows, parse},
    };

    #[test]
    fn shipped_flows_are_valid() {
        let flows = Flows::shipped().unwrap();
        assert_eq!(
            flows.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(),
            ["default", "project"]
        );
    }

    #[test]
    fn flows_that_lose_tasks_are_refused_with_their_line() {
        let cases = [
            (
                "name: x\ntransitions:\n  \"incoming -> claimed\": {agent: implement, speed: 3}\n",
                3,
                "speed",
            ),
            ("name: x\nstates: 3\n", 2, "states"),
            (
                "name: x\ntransitions:\n  \"incoming -> claimed\": {agent: implement}\n",
                2,
                "done",
            ),
            (
                "name: x\ntransitions:\n  \"incoming -> claimed\": {agent: a}\n  \"claimed -> provisional\": {}\n  \"provisional -> done\": {runs: [merge]}\n",
                5,
                "run_tests",
            ),
            (
                "name: x\ntransitions:\n  \"incoming -> claimed\": {agent: a}\n  \"claimed -> provisional\": {}\n  \"provisional -> done\": {runs: [rebase_on_base, fly, merge]}\n",
                5,
                "fly",
            ),
            ("name: x\ntransitions:\n  \"incoming -> claimed\": {}\n", 3, "agent"),
            (
                "name: x\ntransitions:\n  \"incoming -> claimed\": {agent: a}\n  \"claimed -> provisional\": {}\n  \"provisional -> done\": {runs: [rebase_on_base, run_tests, merge]}\n  \"qa -> done\": {runs: [rebase_on_base, run_tests, merge]}\n",
                6,
                "qa",
            ),
        ];
        for (text, line, word) in cases {
            let error = parse(text, "x.yaml").unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidConfig);
            let said = error.to_string();
            assert!(said.starts_with(&format!("x.yaml:{line}: ")), "{said}");
            assert!(said.contains(word), "{said}");
        }
    }
}
