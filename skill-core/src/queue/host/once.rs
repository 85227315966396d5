//! What must not be done twice: it is on disk that it begins before it does.

use async_trait::async_trait;
use serde_json::Value;

use super::SkillHost;
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    executor::Gate,
    queue::{
        journal::{Journal, Past, Turn},
        step::Written,
    },
    skill::Work,
};

impl SkillHost {
    /// Work that must not be done twice: it is noted before it begins.
    pub(super) async fn did_once(&self, turn: &Turn, work: Work<'_>) -> Result<Value> {
        let name = turn.name();
        if let Past::Unknown = self.journal.recall(turn).await? {
            let message = format!(
                "step `{name}` was cut with its process: it may have taken effect, and was not \
                 repeated"
            );
            return Err(self.attempt().refuse(unknown(message)));
        }
        let begun = async {
            let gate = Mark { journal: &self.journal, turn, may_repeat: false };
            gate.pass().await?;
            match work.await {
                Err(error)
                    if matches!(error.retry_state(), Retry::IfIdempotent | Retry::Exhausted) =>
                {
                    let message = format!(
                        "step `{name}` was cut: it may have taken effect, and was not repeated"
                    );
                    Err(unknown(message).with("cause", error.log_line()))
                }
                Err(error) => {
                    if self.journal.check().is_ok() {
                        self.journal.note(turn, Some(&Written::Open)).await?;
                    }
                    Err(error)
                }
                Ok(value) => Ok(value),
            }
        };
        self.stepped(turn, Box::pin(begun)).await
    }
}

/// Says that nobody knows what became of something.
pub(super) fn unknown(message: String) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, message).detail("reason", "outcome_unknown")
}

/// Stands in front of the first byte of a call that must not be made twice: from here on the
/// journal says that it may have happened.
pub(super) struct Mark<'a> {
    pub(super) journal: &'a Journal,
    pub(super) turn: &'a Turn,
    pub(super) may_repeat: bool,
}

#[async_trait]
impl Gate for Mark<'_> {
    async fn pass(&self) -> Result<()> {
        self.journal.attempt.check()?;
        if self.may_repeat {
            return Ok(());
        }
        self.journal.note(self.turn, None).await?;
        let may_send = self.journal.attempt.check();
        if may_send.is_err() {
            self.journal.note(self.turn, Some(&Written::Open)).await?;
        }
        may_send
    }
}
