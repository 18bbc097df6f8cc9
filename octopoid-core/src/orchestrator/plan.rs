//! Which agents may take a task now: pure, from a snapshot, with the guard that said no.

use crate::clock::Timestamp;

/// What the plan knows of one kind of agent.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    /// Whether its blueprint is paused.
    pub paused: bool,
    /// How many may run.
    pub max_instances: usize,
    /// How many run.
    pub running: usize,
    /// Least time between two starts, in milliseconds.
    pub interval_ms: i64,
    /// When one was last started.
    pub last_start: Option<Timestamp>,
    /// Blocked until then, for a reason that is written down as a finding.
    pub blocked_until: Option<Timestamp>,
}

/// What the plan knows of everything.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// The present moment.
    pub now: Timestamp,
    /// Whether claims are paused, or the orchestrator is about to end.
    pub claims_paused: bool,
    /// Whether the day's budget is used up.
    pub over_budget: bool,
    /// Agents at work.
    pub agents: usize,
    /// Agents that may be at work.
    pub max_agents: usize,
}

/// Why no agent of a kind is started; the names appear in logs and in `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Claims are paused.
    Paused,
    /// The blueprint is paused.
    BlueprintPaused,
    /// The day's budget is used up.
    Budget,
    /// As many agents run as may.
    MaxAgents,
    /// As many of this kind run as may.
    MaxInstances,
    /// The last start was too short a time ago.
    Interval,
    /// Its program, key or quota is missing.
    Blocked,
}

/// The first guard that says no; none when an agent of this kind may take a task.
pub(super) fn refusal(snapshot: &Snapshot, pool: &Pool) -> Option<Guard> {
    let chain = [
        (snapshot.claims_paused, Guard::Paused),
        (pool.paused, Guard::BlueprintPaused),
        (snapshot.over_budget, Guard::Budget),
        (snapshot.agents >= snapshot.max_agents, Guard::MaxAgents),
        (pool.running >= pool.max_instances, Guard::MaxInstances),
        (
            pool.last_start
                .is_some_and(|at| at.0 + pool.interval_ms > snapshot.now.0),
            Guard::Interval,
        ),
        (
            pool.blocked_until.is_some_and(|until| until > snapshot.now),
            Guard::Blocked,
        ),
    ];
    chain.into_iter().find(|(no, _)| *no).map(|(_, guard)| guard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guard_stops_alone() {
        let free = Snapshot {
            now: Timestamp(1000),
            claims_paused: false,
            over_budget: false,
            agents: 0,
            max_agents: 1,
        };
        let pool = Pool {
            paused: false,
            max_instances: 1,
            running: 0,
            interval_ms: 500,
            last_start: Some(Timestamp(500)),
            blocked_until: Some(Timestamp(1000)),
        };
        assert_eq!(refusal(&free, &pool), None);
        assert_eq!(
            refusal(
                &Snapshot {
                    claims_paused: true,
                    ..free.clone()
                },
                &pool
            ),
            Some(Guard::Paused)
        );
        assert_eq!(
            refusal(
                &Snapshot {
                    over_budget: true,
                    ..free.clone()
                },
                &pool
            ),
            Some(Guard::Budget)
        );
        assert_eq!(
            refusal(
                &Snapshot {
                    agents: 1,
                    ..free.clone()
                },
                &pool
            ),
            Some(Guard::MaxAgents)
        );
        assert_eq!(
            refusal(
                &free,
                &Pool {
                    paused: true,
                    ..pool.clone()
                }
            ),
            Some(Guard::BlueprintPaused)
        );
        assert_eq!(
            refusal(
                &free,
                &Pool {
                    running: 1,
                    ..pool.clone()
                }
            ),
            Some(Guard::MaxInstances)
        );
        assert_eq!(
            refusal(
                &free,
                &Pool {
                    last_start: Some(Timestamp(501)),
                    ..pool.clone()
                }
            ),
            Some(Guard::Interval)
        );
        assert_eq!(
            refusal(
                &free,
                &Pool {
                    blocked_until: Some(Timestamp(1001)),
                    ..pool
                }
            ),
            Some(Guard::Blocked)
        );
    }
}
