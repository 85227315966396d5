//! What the engine does for a running skill.

use std::sync::Arc;

use super::attempt::Attempt;
use crate::{error::{Error, Result}, skill::SkillContext};

/// The context of a skill that runs in `attempt`, with the journal of earlier attempts.
pub(crate) async fn context(_attempt: &Arc<Attempt>) -> Result<SkillContext> {
    Err(Error::internal("skills cannot be run yet"))
}
