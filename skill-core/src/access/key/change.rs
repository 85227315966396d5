//! Changing keys.

use super::{Keys, check_name, unknown};
use crate::{
    access::Caller,
    error::{Error, ErrorKind, Result},
    id::KeyId,
    record::key::{Change, Key},
};

impl Keys {
    /// Changes a key of the caller's owner, at once; everything that is `None` stays.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the caller's owner has no such key, or it was revoked;
    /// [`ErrorKind::InvalidInput`] for a bad name or an end that has passed;
    /// [`ErrorKind::ScopeMissing`] for scopes that the caller does not have.
    pub async fn change(&self, caller: &Caller, id: KeyId, to: &Change) -> Result<Key> {
        let known = self.get(caller, id).await?;
        if known.revoked_at.is_some() {
            return Err(unknown());
        }
        to.name.as_deref().map_or(Ok(()), check_name)?;
        if to.expires_at.flatten().is_some_and(|end| end <= self.now()) {
            let issue = "expected a time that has not passed";
            return Err(Error::invalid(issue).detail("expires_at", issue));
        }
        let wider = [&known.scopes].into_iter().chain(&to.scopes);
        if !wider.into_iter().all(|scopes| caller.scopes.covers(scopes)) {
            let message =
                "a key cannot change a key that has or would get more scopes than its own";
            return Err(Error::new(ErrorKind::ScopeMissing, message));
        }
        let changed = self.store.change_key(&caller.owner, id, to).await?.ok_or_else(unknown)?;
        self.by_hash.forget_all();
        self.audit(caller, "key.changed", id).await?;
        Ok(changed)
    }
}
