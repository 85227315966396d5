//! Schedules: runs that the clock asks for.
//!
//! A due time moves its schedule on and queues its run in one transaction, so that it makes one run
//! on all nodes together, whoever dies over it. Of the times that went by while nobody looked the
//! last one is caught up with, unless it is too long ago; the others are counted.

mod fire;

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::Notify;

pub(crate) use self::fire::Scheduler;
use crate::{
    access::{Admitted, Caller, Intent, Keys, authorize},
    call::{CallRequest, Known},
    catalog::Catalog,
    clock::Clock,
    credential::{Vault, seal::Binding},
    error::{Error, ErrorKind, Result},
    id::ScheduleId,
    name::{ActionName, AgentId, OwnerId, Version},
    queue::{Runs, Submission, Submitted},
    record::{
        Sealed,
        audit::{Actor, Entry},
        execution::{Origin, Trigger},
        schedule::{Schedule, Times},
        scope::{Scope, Scopes},
        trigger::Source,
    },
    store::Store,
};

/// The most schedules of one owner.
const MOST: u32 = 100;
/// How often a change is tried while a schedule moves on.
const TRIES: u32 = 5;

/// How late a due time may be used.
///
/// ```
/// assert_eq!(skill_core::schedule::Settings::default().catch_up.as_secs(), 3600);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A due time that went by while no process ran is caught up with for this long; of several,
    /// the last one.
    pub catch_up: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { catch_up: Duration::from_secs(3600) }
    }
}

/// What a schedule is to be.
///
/// ```
/// use skill_core::{name::{ActionName, Slug}, schedule::Wanted};
/// let report = ActionName { namespace: Slug::parse("quickbooks")?, name: Slug::parse("report")? };
/// let wanted = Wanted::new(report, "0 9 * * MON-FRI");
/// assert!(wanted.is_enabled && wanted.agent.is_standard());
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The agent that its runs belong to.
    pub agent: AgentId,
    /// What runs.
    pub action: ActionName,
    /// In which version.
    pub version: Version,
    /// When: five fields, in UTC; see [`Times`].
    pub cron: String,
    /// With which inputs.
    pub input: Map<String, Value>,
    /// What its runs may do; `None` is what its maker may.
    pub scopes: Option<Scopes>,
    /// Whether the clock is looked at.
    pub is_enabled: bool,
}

impl Wanted {
    /// Returns an enabled schedule of the standard agent, of version 1.0 and without inputs.
    pub fn new(action: ActionName, cron: &str) -> Self {
        Self {
            agent: AgentId::standard(),
            action,
            version: Version { major: 1, minor: Some(0) },
            cron: cron.into(),
            input: Map::new(),
            scopes: None,
            is_enabled: true,
        }
    }
}

/// What is to change of a schedule; `None` leaves it.
///
/// ```
/// assert!(skill_core::schedule::Edit::default().cron.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edit {
    /// The agent that its runs belong to.
    pub agent: Option<AgentId>,
    /// What runs, and in which version.
    pub action: Option<(ActionName, Version)>,
    /// When.
    pub cron: Option<String>,
    /// With which inputs.
    pub input: Option<Map<String, Value>>,
    /// What its runs may do; otherwise what the caller may.
    pub scopes: Option<Scopes>,
    /// Whether the clock is looked at.
    pub is_enabled: Option<bool>,
}

/// The schedules of all owners.
#[derive(Clone)]
pub struct Schedules {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) runs: Runs,
    /// Wakes the loop that fires.
    pub(crate) wake: Arc<Notify>,
}

impl fmt::Debug for Schedules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schedules")
    }
}

impl Schedules {
    /// Makes a schedule for the caller's owner. Its runs may do what the caller may at this moment,
    /// or what `wanted.scopes` leave of that; a key that is revoked ends them, one that expires
    /// does not.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an unreadable expression, for one whose time never comes and
    /// for inputs that the action does not take; [`ErrorKind::NotFound`] for an unknown action or
    /// agent; [`ErrorKind::ScopeMissing`]; [`ErrorKind::PlanLimit`] when the owner has 100 already.
    pub async fn create(&self, caller: &Caller, wanted: Wanted) -> Result<Schedule> {
        let at = self.clock.now();
        let id = ScheduleId::fresh(at)?;
        let scopes = self.scopes(caller, wanted.scopes)?;
        let schedule = Schedule {
            id,
            owner: caller.owner.clone(),
            user: caller.user.clone(),
            key: caller.key(),
            agent: wanted.agent,
            action: wanted.action,
            version: wanted.version,
            next_run_at: self.next(&wanted.cron, None)?.filter(|_| wanted.is_enabled),
            cron: wanted.cron,
            input: self.seal(&caller.owner, id, &wanted.input)?,
            scopes,
            tier: caller.tier.clone(),
            stopped: None,
            last_due_at: None,
            last_run: None,
            last_error: None,
            missed: 0,
            created_at: at,
            updated_at: at,
        };
        self.check(&schedule, wanted.input).await?;
        if !self.store.insert_schedule(&schedule, MOST).await? {
            let message = format!("there are {MOST} schedules already: delete one first");
            return Err(Error::new(ErrorKind::PlanLimit, message));
        }
        self.wake.notify_one();
        self.audit(caller.actor, &schedule, "schedule.created").await?;
        Ok(schedule)
    }

    /// The schedules of the caller's owner, or of its user when it acts for one, the newest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<Schedule>> {
        let mut all = self.store.schedules(&caller.owner).await?;
        all.retain(|schedule| caller.user.is_none() || schedule.user == caller.user);
        Ok(all)
    }

    /// One schedule.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when [`list`](Self::list) does not show it.
    pub async fn get(&self, caller: &Caller, id: ScheduleId) -> Result<Schedule> {
        let known = self.list(caller).await?.into_iter().find(|schedule| schedule.id == id);
        known.ok_or_else(unknown)
    }

    /// The inputs of a schedule's runs.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when they do not open.
    pub fn input(&self, schedule: &Schedule) -> Result<Map<String, Value>> {
        let binding = input_binding(&schedule.owner, schedule.id);
        let plain = self.vault.open_bytes(&schedule.input, &binding)?;
        serde_json::from_slice(&plain).map_err(Error::internal)
    }

    /// Changes a schedule. Whoever does this vouches for it: its runs may do what this caller may
    /// from then on. Enabled again, it goes on from now; what went by is not caught up with.
    ///
    /// # Errors
    /// As [`Schedules::get`] and [`Schedules::create`]; [`ErrorKind::Conflict`] when it is being
    /// changed by others all the time.
    pub async fn change(&self, caller: &Caller, id: ScheduleId, edit: Edit) -> Result<Schedule> {
        for _ in 0..TRIES {
            let seen = self.get(caller, id).await?;
            let input = edit.input.clone().map_or_else(|| self.input(&seen), Ok)?;
            let (action, version) =
                edit.action.clone().unwrap_or_else(|| (seen.action.clone(), seen.version));
            let cron = edit.cron.clone().unwrap_or_else(|| seen.cron.clone());
            let is_enabled = edit.is_enabled.unwrap_or_else(|| seen.next_run_at.is_some());
            let next = self.next(&cron, seen.last_due_at)?;
            let is_kept = cron == seen.cron && seen.next_run_at.is_some();
            let next = if is_kept { seen.next_run_at } else { next };
            let to = Schedule {
                key: caller.key(),
                agent: edit.agent.clone().unwrap_or_else(|| seen.agent.clone()),
                action,
                version,
                next_run_at: next.filter(|_| is_enabled),
                cron,
                input: match &edit.input {
                    Some(input) => self.seal(&seen.owner, id, input)?,
                    None => seen.input.clone(),
                },
                scopes: self.scopes(caller, edit.scopes.clone())?,
                tier: caller.tier.clone(),
                stopped: seen.stopped.clone().filter(|_| !is_enabled),
                updated_at: self.clock.now(),
                ..seen.clone()
            };
            self.check(&to, input).await?;
            if self.store.change_schedule(&seen, &to).await? {
                self.wake.notify_one();
                self.audit(caller.actor, &to, "schedule.changed").await?;
                return Ok(to);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "others change this schedule: try again"))
    }

    /// Removes a schedule. Runs that it made go on.
    ///
    /// # Errors
    /// As [`Schedules::get`].
    pub async fn delete(&self, caller: &Caller, id: ScheduleId) -> Result<()> {
        let schedule = self.get(caller, id).await?;
        if !self.store.delete_schedule(&caller.owner, id).await? {
            return Err(unknown());
        }
        self.audit(caller.actor, &schedule, "schedule.deleted").await
    }

    /// Makes a run at once, beside the due times, whether or not the schedule is enabled. It acts
    /// as the schedule's runs do; the caller has to be one who may call the action itself.
    ///
    /// # Errors
    /// As [`Schedules::get`] and [`Runs::submit`]; [`ErrorKind::Unauthenticated`] when the key that
    /// made the schedule was revoked.
    pub async fn run(
        &self,
        caller: &Caller,
        id: ScheduleId,
        idempotency_key: Option<String>,
    ) -> Result<Submitted> {
        let schedule = self.get(caller, id).await?;
        let scope = Scope::Action(schedule.action.clone());
        authorize(caller, &Intent { scope, class: None }).allowed()?;
        let admitted = self.acting(&schedule).await?;
        let mut submission = self.submission(&schedule, self.input(&schedule)?)?;
        submission.call.idempotency_key = idempotency_key;
        let source = Source { schedule: Some(id), ..Source::default() };
        self.runs.submit_of(&admitted, submission, |_| Ok(source)).await
    }

    /// Who acts in a schedule's runs.
    async fn acting(&self, schedule: &Schedule) -> Result<Admitted> {
        self.keys.resume(maker(schedule)).await
    }

    /// The run that a schedule asks for.
    fn submission(&self, schedule: &Schedule, input: Map<String, Value>) -> Result<Submission> {
        let (agent, trigger) = (schedule.agent.clone(), Trigger::Scheduled);
        let origin = Origin { agent, trigger, conversation: None };
        submission(&self.runs.catalog(), (&schedule.action, schedule.version), (input, origin))
    }

    /// Refuses what could not run at this moment.
    async fn check(&self, schedule: &Schedule, input: Map<String, Value>) -> Result<()> {
        let submission = self.submission(schedule, input)?;
        self.runs.check(&maker(schedule), &submission).await
    }

    fn scopes(&self, caller: &Caller, wanted: Option<Scopes>) -> Result<Scopes> {
        narrowed(caller, wanted, "a schedule")
    }

    /// The first time that is to come, and that was not used already.
    fn next(&self, cron: &str, last: Option<Timestamp>) -> Result<Option<Timestamp>> {
        let wrong = |issue: &str| {
            Error::invalid(format!("`cron_expression`: {issue}")).detail("cron_expression", issue)
        };
        let times = Times::parse(cron).map_err(|error| wrong(error.message()))?;
        let now = self.runs.now();
        let next = times.after(last.map_or(now, |last| last.max(now)));
        next.map(Some).ok_or_else(|| wrong("expected a time that comes: this one never does"))
    }

    fn seal(&self, owner: &OwnerId, id: ScheduleId, input: &Map<String, Value>) -> Result<Sealed> {
        let plain = serde_json::to_vec(input).map_err(Error::internal)?;
        self.vault.seal(&plain, &input_binding(owner, id))
    }

    async fn audit(&self, actor: Actor, schedule: &Schedule, event: &str) -> Result<()> {
        let entry = Entry::new(self.clock.now(), actor, schedule.owner.clone());
        self.store.append_audit(&entry.event(event).target(schedule.id)).await
    }
}

/// What the inputs of a schedule are bound to.
pub(crate) fn input_binding(owner: &OwnerId, id: ScheduleId) -> Binding {
    Binding::to("schedule_input", [owner.as_str(), &id.to_string()])
}

/// Whoever made the schedule, with what its runs may do.
fn maker(schedule: &Schedule) -> Caller {
    Caller {
        user: schedule.user.clone(),
        actor: schedule.key.map_or(Actor::Operator, Actor::Key),
        scopes: schedule.scopes.clone(),
        tier: schedule.tier.clone(),
        ..Caller::operator(schedule.owner.clone())
    }
}

/// What `what` may do that this caller makes: no more than itself.
pub(crate) fn narrowed(caller: &Caller, wanted: Option<Scopes>, what: &str) -> Result<Scopes> {
    let wanted = wanted.unwrap_or_else(|| caller.scopes.clone());
    if caller.scopes.covers(&wanted) {
        return Ok(wanted);
    }
    let message = format!("a key cannot make {what} with more scopes than its own");
    Err(Error::new(ErrorKind::ScopeMissing, message))
}

/// The run of an action in this version, for somebody who keeps no key for it. Endpoints have the
/// version 1.0 and no other.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is none.
pub(crate) fn submission(
    catalog: &Catalog,
    (action, version): (&ActionName, Version),
    (params, origin): (Map<String, Value>, Origin),
) -> Result<Submission> {
    let is_first = version.major == 1 && version.minor.is_none_or(|minor| minor == 0);
    let version = match catalog.find(action) {
        Some(_) if is_first => None,
        Some(_) => return Err(no_action(action, version)),
        None => Some(version),
    };
    let call = CallRequest {
        action: action.clone(),
        params,
        connection: None,
        idempotency_key: None,
        timeout: None,
        keeps_bodies: true,
        collect: None,
        known: Known::default(),
    };
    Ok(Submission { version, origin: Some(origin), ..Submission::new(call) })
}

fn no_action(action: &ActionName, version: Version) -> Error {
    Error::not_found(format!("there is no action `{action}` in version {version}"))
}

fn unknown() -> Error {
    Error::not_found("there is no scheduled job with this id")
}
