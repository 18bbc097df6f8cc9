//! Which command is legal in which kind of queue; the first question that every transition asks.

use crate::model::QueueKind::{self, Attention, Cancelled, Done, Failed, Review, Waiting, Working};

/// The commands, without their facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "documented on Command")]
pub enum CommandKind {
    Claim,
    Begin,
    Renew,
    Submit,
    Judge,
    Continue,
    Ask,
    Fail,
    Release,
    Advance,
    Expire,
    Approve,
    Reject,
    Hold,
    Unhold,
    Cancel,
    Retry,
    Requeue,
    Recover,
    GiveUp,
    Edit,
    Unblock,
    Progress,
    HandIn,
    Accept,
    SendBack,
    Force,
    Patch,
    Hook,
}

/// One row: a command, where it is legal, and whether its sender must hold the claim.
#[derive(Debug)]
pub struct Row {
    /// The command.
    pub command: CommandKind,
    /// The word used in messages.
    pub word: &'static str,
    /// Kinds of queue in which it is legal.
    pub from: &'static [QueueKind],
    /// Whether the claim token must fit.
    pub fenced: bool,
}

const OPEN: &[QueueKind] = &[Waiting, Working, Review, Attention];
const ANY: &[QueueKind] = &[Waiting, Working, Review, Attention, Done, Failed, Cancelled];
const ANY_BUT_DONE: &[QueueKind] = &[Waiting, Working, Review, Attention, Failed, Cancelled];

/// The table itself.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    Row { command: CommandKind::Claim,    word: "claim",    from: &[Waiting, Review, Attention],  fenced: false },
    Row { command: CommandKind::Begin,    word: "begin",    from: &[Working, Review],             fenced: true },
    Row { command: CommandKind::Renew,    word: "renew",    from: &[Working, Review],             fenced: true },
    Row { command: CommandKind::Submit,   word: "submit",   from: &[Working],                     fenced: true },
    Row { command: CommandKind::Judge,    word: "review",   from: &[Review],                      fenced: true },
    Row { command: CommandKind::Continue, word: "continue", from: &[Working],                     fenced: true },
    Row { command: CommandKind::Ask,      word: "ask",      from: &[Working, Review],             fenced: true },
    Row { command: CommandKind::Fail,     word: "fail",     from: &[Working, Review],             fenced: true },
    Row { command: CommandKind::Release,  word: "release",  from: &[Working, Review],             fenced: true },
    Row { command: CommandKind::Advance,  word: "advance",  from: &[Review],                      fenced: true },
    Row { command: CommandKind::Expire,   word: "expire",   from: &[Working, Review],             fenced: false },
    Row { command: CommandKind::Approve,  word: "approve",  from: &[Review],                      fenced: false },
    Row { command: CommandKind::Reject,   word: "reject",   from: &[Review],                      fenced: false },
    Row { command: CommandKind::Hold,     word: "hold",     from: OPEN,                           fenced: false },
    Row { command: CommandKind::Unhold,   word: "unhold",   from: OPEN,                           fenced: false },
    Row { command: CommandKind::Cancel,   word: "cancel",   from: OPEN,                           fenced: false },
    Row { command: CommandKind::Retry,    word: "retry",    from: &[Attention, Failed, Cancelled], fenced: false },
    Row { command: CommandKind::Requeue,  word: "requeue",  from: &[Working, Review, Attention],  fenced: false },
    Row { command: CommandKind::Recover,  word: "recover",  from: ANY_BUT_DONE,                   fenced: false },
    Row { command: CommandKind::GiveUp,   word: "fail",     from: ANY_BUT_DONE,                   fenced: false },
    Row { command: CommandKind::Edit,     word: "edit",     from: OPEN,                           fenced: false },
    Row { command: CommandKind::Unblock,  word: "unblock",  from: ANY_BUT_DONE,                   fenced: false },
    Row { command: CommandKind::Progress, word: "report on", from: &[Working, Review],            fenced: true },
    Row { command: CommandKind::HandIn,   word: "submit",   from: ANY,                            fenced: false },
    Row { command: CommandKind::Accept,   word: "accept",   from: ANY,                            fenced: false },
    Row { command: CommandKind::SendBack, word: "send back", from: ANY,                           fenced: false },
    Row { command: CommandKind::Force,    word: "force",    from: ANY,                            fenced: false },
    Row { command: CommandKind::Patch,    word: "patch",    from: ANY,                            fenced: false },
    Row { command: CommandKind::Hook,     word: "complete a hook of", from: ANY,                  fenced: false },
];

impl CommandKind {
    /// Its row in the table.
    pub fn row(self) -> &'static Row {
        // The table has a row for every variant; a test walks them.
        TABLE.iter().find(|r| r.command == self).unwrap_or(&TABLE[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_clients_word_leaves_done() {
        let word = [
            CommandKind::HandIn,
            CommandKind::Accept,
            CommandKind::SendBack,
            CommandKind::Force,
            CommandKind::Patch,
            CommandKind::Hook,
        ];
        assert!(
            TABLE
                .iter()
                .all(|row| word.contains(&row.command) || !row.from.contains(&QueueKind::Done))
        );
    }

    #[test]
    fn each_command_has_one_row() {
        for row in TABLE {
            assert_eq!(
                TABLE.iter().filter(|r| r.command == row.command).count(),
                1,
                "{:?}",
                row.command
            );
            assert_eq!(row.command.row().command, row.command);
        }
        assert_eq!(TABLE.len(), CommandKind::Hook as usize + 1);
    }
}
