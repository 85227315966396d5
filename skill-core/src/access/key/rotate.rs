//! Replacing a key by a fresh one.

use std::time::Duration;

use jiff::Timestamp;

use super::{Caller, Keys};
use crate::{
    error::{Error, ErrorKind, Result},
    id::KeyId,
    record::{
        audit::Entry,
        key::{Key, Kind, PlainKey, Rotate, Rotation},
    },
};

/// How long a replaced key goes on when nobody says, and at most.
const OVERLAP: Duration = Duration::from_secs(3600);
const LONGEST_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3600);

impl Keys {
    /// Gives a key a successor of the same name, kind, scopes, user, tier and end. The old one goes
    /// on for `overlap`, an hour when nobody says and 7 days at most; a user's key ends at once.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the caller's owner has no such key, [`ErrorKind::Conflict`] when
    /// it has ended, [`ErrorKind::InvalidInput`] for an overlap that it cannot have,
    /// [`ErrorKind::ScopeMissing`] for a temporary key and for one with more scopes than the
    /// caller's or a later end, [`ErrorKind::PlanLimit`] when the plan has no room for both.
    pub async fn rotate(
        &self,
        caller: &Caller,
        id: KeyId,
        overlap: Option<Duration>,
    ) -> Result<(Key, PlainKey)> {
        let old = self.get(caller, id).await?;
        let at = self.now();
        if !old.is_live(self.latest()) {
            return Err(ended());
        }
        may_rotate(caller, &old)?;
        let end = end_of_old(&old, overlap, at)?;
        let plain = PlainKey::generate(old.kind)?;
        let successor = Key {
            id: KeyId::fresh(at)?,
            shown: plain.shown(),
            hash: plain.hash(),
            created_at: at,
            last_used_at: None,
            ..old
        };
        let owner = self.store.owner(&caller.owner).await?;
        let most = self.plans.plan(owner.and_then(|owner| owner.plan).as_deref()).keys;
        let rotate = Rotate { old: id, successor, end, most };
        match self.store.rotate_key(&caller.owner, &rotate).await? {
            Rotation::Done => {}
            Rotation::Ended => return Err(ended()),
            Rotation::Full => {
                let message = "the plan has no room for both keys: let the old one end at once";
                return Err(Error::new(ErrorKind::PlanLimit, message));
            }
        }
        let successor = rotate.successor;
        self.by_hash.forget_all();
        self.revoked.forget(&id);
        let entry = Entry::new(at, caller.actor, caller.owner.clone()).event("key.rotated");
        let done = format!("done: {} follows", successor.id);
        self.store.append_audit(&entry.target(id).outcome(done)).await?;
        Ok((successor, plain))
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Conflict, "this key has ended: make a new one")
}

/// Whether the caller may hold what a successor of `old` can do.
fn may_rotate(caller: &Caller, old: &Key) -> Result<()> {
    let message = if old.kind == Kind::Temporary {
        "a temporary key has no successor: make a new one"
    } else if !caller.scopes.covers(&old.scopes) {
        "a key cannot replace a key with more scopes than its own"
    } else if caller.until.is_some_and(|end| old.expires_at.is_none_or(|its| its > end)) {
        "a key cannot replace a key that outlives it"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::ScopeMissing, message))
}

/// When a key that is replaced at `at` ends.
fn end_of_old(old: &Key, overlap: Option<Duration>, at: Timestamp) -> Result<Timestamp> {
    let (standard, most) = match old.kind {
        Kind::User => (Duration::ZERO, Duration::ZERO),
        Kind::Api | Kind::Admin | Kind::Service | Kind::Temporary => (OVERLAP, LONGEST_OVERLAP),
    };
    let overlap = overlap.unwrap_or(standard);
    at.checked_add(overlap).ok().filter(|_| overlap <= most).ok_or_else(|| {
        let issue = format!("expected at most {} seconds for this key", most.as_secs());
        Error::invalid(issue.clone()).detail("overlap", issue)
    })
}
