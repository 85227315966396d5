//! Schedules in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    failure::Work,
    outbox, queue,
    row::{Cells, all, count, execute, first, json, micros},
    tally::Session,
};
use crate::{
    error::Result,
    id::{ExecutionId, KeyId, ScheduleId},
    name::{ActionName, AgentId, OwnerId, Slug, UserId, Version},
    record::{
        delivery::Announcement,
        run::Enqueued,
        schedule::{Fired, Firing, Schedule},
        scope::Scopes,
    },
    store::ScheduleStore,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, owner, user_id, key_id, agent_id, namespace, name, version, cron, input,
                    scopes, tier, next_run_at_us, stopped, last_due_at_us, last_run, last_error,
                    missed, created_at_us, updated_at_us
             FROM schedules ",
            $rest
        )
    };
}

macro_rules! put {
    ($how:literal) => {
        concat!(
            $how,
            " INTO schedules (id, owner, user_id, key_id, agent_id, namespace, name, version, cron,
                  input, scopes, tier, next_run_at_us, stopped, last_due_at_us, last_run,
                  last_error, missed, created_at_us, updated_at_us)
              VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                  ?18, ?19, ?20)"
        )
    };
}

fn read(cells: &mut Cells<'_>) -> Work<Schedule> {
    Ok(Schedule {
        id: cells.parsed(ScheduleId::parse)?,
        owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
        user: cells.parsed_if_any(|text| UserId::parse(text).ok())?,
        key: cells.parsed_if_any(KeyId::parse)?,
        agent: cells.parsed(|text| AgentId::parse(text).ok())?,
        action: ActionName {
            namespace: cells.parsed(|text| Slug::parse(text).ok())?,
            name: cells.parsed(|text| Slug::parse(text).ok())?,
        },
        version: cells.parsed(|text| Version::parse(text).ok())?,
        cron: cells.next()?,
        input: cells.sealed()?,
        scopes: Scopes::parse(cells.json::<Vec<String>>()?.iter().map(String::as_str))?,
        tier: cells.next()?,
        next_run_at: cells.time_if_any()?,
        stopped: cells.next()?,
        last_due_at: cells.time_if_any()?,
        last_run: cells.parsed_if_any(ExecutionId::parse)?,
        last_error: cells.next()?,
        missed: cells.number()?,
        created_at: cells.time()?,
        updated_at: cells.time()?,
    })
}

fn find(connection: &Connection, owner: &OwnerId, id: ScheduleId) -> Work<Option<Schedule>> {
    let sql = select!("WHERE owner = ?1 AND id = ?2");
    first(connection, sql, [owner.as_str(), &id.to_string()], read)
}

#[async_trait]
impl ScheduleStore for SqliteStore {
    async fn insert_schedule(&self, schedule: &Schedule, most: u32) -> Result<bool> {
        let schedule = schedule.clone();
        self.write(move |session| {
            let sql = "SELECT count(*) FROM schedules WHERE owner = ?1";
            if count(session, sql, [schedule.owner.as_str()])? >= u64::from(most) {
                return Ok(false);
            }
            write(session, put!("INSERT"), &schedule).map(|()| true)
        })
        .await
    }

    async fn schedules(&self, owner: &OwnerId) -> Result<Vec<Schedule>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = select!("WHERE owner = ?1 ORDER BY id DESC");
            all(connection, sql, [owner.as_str()], read)
        })
        .await
    }

    async fn change_schedule(&self, seen: &Schedule, to: &Schedule) -> Result<bool> {
        let (seen, to) = (seen.clone(), to.clone());
        self.write(move |session| {
            if find(session, &seen.owner, seen.id)?.as_ref() != Some(&seen) {
                return Ok(false);
            }
            write(session, put!("INSERT OR REPLACE"), &to).map(|()| true)
        })
        .await
    }

    async fn delete_schedule(&self, owner: &OwnerId, id: ScheduleId) -> Result<bool> {
        let owner = owner.clone();
        self.write(move |session| {
            let sql = "DELETE FROM schedules WHERE owner = ?1 AND id = ?2";
            Ok(execute(session, sql, params![owner.as_str(), id.to_string()])? > 0)
        })
        .await
    }

    async fn due_schedules(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, ScheduleId)>,
        most: u32,
    ) -> Result<Vec<Schedule>> {
        let now = now.as_microsecond();
        let (at, id) = after
            .map_or((i64::MIN, String::new()), |(at, id)| (at.as_microsecond(), id.to_string()));
        self.read(move |connection| {
            let sql = select!(
                "INDEXED BY schedules_by_time WHERE next_run_at_us <= ?1
                 AND (next_run_at_us, id) > (?2, ?3) ORDER BY next_run_at_us, id LIMIT ?4"
            );
            all(connection, sql, params![now, at, id, most], read)
        })
        .await
    }

    async fn next_schedule(&self) -> Result<Option<Timestamp>> {
        self.read(move |connection| {
            let sql = "SELECT min(next_run_at_us) FROM schedules INDEXED BY schedules_by_time
                       WHERE next_run_at_us IS NOT NULL";
            Ok(first(connection, sql, [], |cells| cells.time_if_any())?.flatten())
        })
        .await
    }

    async fn fire(&self, firing: &Firing) -> Result<Fired> {
        let firing = firing.clone();
        self.write(move |session| fire(session, &firing)).await
    }
}

fn fire(session: &Session, firing: &Firing) -> Work<Fired> {
    let seen = &firing.seen;
    if find(session, &seen.owner, seen.id)?.as_ref() != Some(seen) {
        return Ok(Fired::Late);
    }
    let enqueued = firing.run.as_ref().map(|run| queue::enqueue(session, run)).transpose()?;
    if enqueued == Some(Enqueued::Full) {
        return Ok(Fired::Full);
    }
    write(session, put!("INSERT OR REPLACE"), &firing.then)?;
    outbox::announce(session, Announcement::of_firing(firing))?;
    Ok(Fired::Done(enqueued))
}

/// Writes a schedule whole.
fn write(session: &Session, sql: &str, schedule: &Schedule) -> Work<()> {
    let values = params![
        schedule.id.to_string(),
        schedule.owner.as_str(),
        schedule.user.as_ref().map(UserId::as_str),
        schedule.key.map(|id| id.to_string()),
        schedule.agent.as_str(),
        schedule.action.namespace.as_str(),
        schedule.action.name.as_str(),
        schedule.version.to_string(),
        schedule.cron,
        schedule.input.0,
        json(&schedule.scopes.texts())?,
        schedule.tier,
        micros(schedule.next_run_at),
        schedule.stopped,
        micros(schedule.last_due_at),
        schedule.last_run.map(|id| id.to_string()),
        schedule.last_error,
        i64::try_from(schedule.missed).unwrap_or(i64::MAX),
        schedule.created_at.as_microsecond(),
        schedule.updated_at.as_microsecond(),
    ];
    execute(session, sql, values).map(drop)
}
