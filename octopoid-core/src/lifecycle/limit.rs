//! Caps and pauses: every loop of the lifecycle ends by one of these numbers.

use std::time::Duration;

/// Limits that a project sets; the defaults are in `config`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Failed attempts until a person is asked.
    pub attempts: i64,
    /// Rejections until a person is asked.
    pub rejections: i64,
    /// Times that the same work may be continued.
    pub continuations: i64,
    /// Reviews in a row without a verdict until a person is asked.
    pub unclear_reviews: i64,
    /// Passing troubles until a person is asked.
    pub transients: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempts: 3,
            rejections: 3,
            continuations: 2,
            unclear_reviews: 2,
            transients: 8,
        }
    }
}

/// Pause before the `n`th retry after a passing trouble: 1 s, doubled each time, at most 5 minutes.
pub fn backoff(n: i64) -> Duration {
    let exponent = u32::try_from(n.clamp(1, 16) - 1).unwrap_or(0);
    Duration::from_secs(1u64 << exponent).min(Duration::from_secs(300))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_a_cap() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 9, 10, 99].map(|n| backoff(n).as_secs()).to_vec();
        assert_eq!(seconds, [1, 1, 2, 4, 256, 300, 300]);
    }
}
