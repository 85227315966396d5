//! Plans and tiers: how much an owner and a key may do. They are configuration, not code.

use std::collections::BTreeMap;

use crate::{
    error::{Error, Result},
    record::key::limit_of,
};

/// What one plan allows; `None` is without limit.
///
/// ```
/// use skill_core::access::Plan;
/// let free = Plan { per_minute: Some(30), per_day: Some(10_000), connections: Some(3), keys: Some(1) };
/// assert_ne!(free, Plan::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// Calls of one key in any 60 seconds.
    pub per_minute: Option<u32>,
    /// Calls of one owner from midnight to midnight UTC.
    pub per_day: Option<u32>,
    /// Connections of one owner.
    pub connections: Option<u32>,
    /// Live keys of one owner.
    pub keys: Option<u32>,
}

/// The limits of one key.
///
/// ```
/// use skill_core::access::Limits;
/// assert_eq!(Limits::default().per_minute, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Calls in any 60 seconds.
    pub per_minute: Option<u32>,
    /// Calls of its owner from midnight to midnight UTC.
    pub per_day: Option<u32>,
}

/// Every plan and tier.
///
/// ```
/// use skill_core::access::{Plan, Plans};
/// let plans = Plans::new("standard", [("standard".to_owned(), Plan::default())], [])?;
/// assert_eq!(plans.plan(None), Plan::default());
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plans {
    standard: Plan,
    plans: BTreeMap<String, Plan>,
    tiers: BTreeMap<String, u32>,
}

impl Plans {
    /// Returns plans, the default one among them, and tiers (calls per minute).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the default plan is not
    /// among the plans.
    pub fn new(
        standard: &str,
        plans: impl IntoIterator<Item = (String, Plan)>,
        tiers: impl IntoIterator<Item = (String, u32)>,
    ) -> Result<Self> {
        let plans = plans.into_iter().collect::<BTreeMap<_, _>>();
        let Some(default) = plans.get(standard) else {
            return Err(Error::invalid(format!("the default plan `{standard}` is not defined")));
        };
        Ok(Self { standard: *default, tiers: tiers.into_iter().collect(), plans })
    }

    /// One plan without any limit.
    pub fn unlimited() -> Self {
        Self { standard: Plan::default(), plans: BTreeMap::new(), tiers: BTreeMap::new() }
    }

    /// The plan of an owner. A plan that is no longer defined is the default one.
    pub fn plan(&self, name: Option<&str>) -> Plan {
        name.and_then(|name| self.plans.get(name)).copied().unwrap_or(self.standard)
    }

    /// Whether there is a plan of this name.
    pub fn has_plan(&self, name: &str) -> bool {
        self.plans.contains_key(name)
    }

    /// The limits of a key: its tier, or its own limit, decides the minute, its owner's plan the rest.
    pub fn limits(&self, plan: Option<&str>, tier: Option<&str>) -> Limits {
        let plan = self.plan(plan);
        let tier = tier.and_then(|tier| self.tiers.get(tier).copied().or_else(|| limit_of(tier)));
        Limits { per_minute: tier.or(plan.per_minute), per_day: plan.per_day }
    }
}
