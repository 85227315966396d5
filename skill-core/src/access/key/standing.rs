//! How much of every limit is used.

use super::{Allowance, Caller, Keys};
use crate::{access::Plan, error::Result};

/// How much of its limits a caller and its owner have used.
///
/// ```
/// use skill_core::access::{Allowance, Plan, Standing};
/// let minute = Allowance::unlimited();
/// let (day, plan) = (minute, Plan::default());
/// let standing = Standing { minute, day, plan, connections: 2, keys: 1 };
/// assert_eq!(standing.minute.limit, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests of the key in the last minute.
    pub minute: Allowance,
    /// Requests of the owner since midnight UTC.
    pub day: Allowance,
    /// The owner's plan.
    pub plan: Plan,
    /// Connections that the owner has.
    pub connections: u64,
    /// Live keys that the owner has.
    pub keys: u64,
}

impl Keys {
    /// What the caller's limits leave it and what its owner has, without counting anything.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the store does not answer.
    pub async fn standing(&self, caller: &Caller) -> Result<Standing> {
        let (minute, day) = self.requests(caller).await?;
        let plan = self.plans.plan(self.plan_name(&caller.owner).await?.as_deref());
        let connections = self.store.connections(&caller.owner, None).await?.len() as u64;
        let (keys, now) = (self.store.keys(&caller.owner).await?, self.now());
        let keys = keys.iter().filter(|key| key.is_live(now)).count() as u64;
        Ok(Standing { minute, day, plan, connections, keys })
    }

    /// What is left of the caller's minute and of its owner's day, without counting anything.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the store does not answer.
    pub async fn requests(&self, caller: &Caller) -> Result<(Allowance, Allowance)> {
        let limits = self.limits(caller).await?;
        Ok(self.limiter.standing(caller, limits))
    }
}
