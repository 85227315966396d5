//! What a skill says while it runs: a step, and a line that stays when its steps are gone.

use serde_json::Value;

use super::{
    journal::{Journal, Past, Turn, said_binding},
    live::Why,
    step::{Written, misfit},
};
use crate::{
    error::{Error, ErrorKind, Result},
    record::conversation::Said,
};

/// The most bytes that a skill says at a time, and how often it may.
const BYTES: usize = 16 << 10;
const TIMES: u32 = 200;

impl Journal {
    /// Keeps what the skill says, once: a repeat of the step finds it said, and one whose step was
    /// not recorded says it in the same place.
    pub(super) async fn say(&self, turn: &Turn, text: &str) -> Result<()> {
        if self.count_said() > TIMES {
            let message = format!("the skill said something more than {TIMES} times");
            return Err(self.attempt.refuse(Error::new(ErrorKind::ActionFailed, message)));
        }
        match self.recall(turn).await? {
            Past::None => {}
            Past::Ended(Written::Value(_)) => return Ok(()),
            Past::Ended(Written::GivenUp) => return std::future::pending().await,
            Past::Ended(_) | Past::Unknown => return Err(misfit()),
        }
        if text.is_empty() || text.len() > BYTES {
            let message = format!("the skill said {} bytes: expected 1 to {BYTES}", text.len());
            return Err(self.attempt.refuse(Error::new(ErrorKind::TooLarge, message)));
        }
        let (attempt, position) = (&self.attempt, turn.position);
        let (run, shared) = (&attempt.execution, &attempt.shared);
        let binding = said_binding(&run.owner, run.id, position);
        let text = shared.executor.vault.seal(text.as_bytes(), &binding)?;
        let said = Said { position, at: shared.clock.now(), text };
        if !shared.store.say(&attempt.held.lease(), &said).await? {
            attempt.held.stop(Why::Lost);
            return attempt.check();
        }
        self.note(turn, Some(&Written::Value(Value::Null))).await?;
        self.check()
    }
}
