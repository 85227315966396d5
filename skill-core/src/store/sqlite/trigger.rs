//! Triggers in SQLite, and what began a run besides a key.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    failure::{Failure, Work},
    row::{Cells, all, count, execute, first, json},
};
use crate::{
    error::Result,
    id::{ExecutionId, KeyId, ScheduleId, TriggerId},
    name::{ActionName, AgentId, OwnerId, Slug, UserId, Version},
    record::{
        flow::TokenHash,
        scope::Scopes,
        trigger::{Callback, Source, Target, Trigger},
    },
    store::TriggerStore,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, owner, user_id, key_id, agent_id, name, targets, token, shown, secret,
                    is_signed, dedup_header, scopes, tier, created_at_us
             FROM triggers ",
            $rest
        )
    };
}

fn read(cells: &mut Cells<'_>) -> Work<Trigger> {
    Ok(Trigger {
        id: cells.parsed(TriggerId::parse)?,
        owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
        user: cells.parsed_if_any(|text| UserId::parse(text).ok())?,
        key: cells.parsed_if_any(KeyId::parse)?,
        agent: cells.parsed(|text| AgentId::parse(text).ok())?,
        name: cells.next()?,
        targets: targets(&cells.json::<Vec<String>>()?)?,
        token: TokenHash(cells.next()?),
        shown: cells.next()?,
        secret: cells.sealed()?,
        is_signed: cells.next()?,
        dedup_header: cells.next()?,
        scopes: Scopes::parse(cells.json::<Vec<String>>()?.iter().map(String::as_str))?,
        tier: cells.next()?,
        created_at: cells.time()?,
    })
}

/// Targets as they are written: `category/version/name`.
fn targets(texts: &[String]) -> Work<Vec<Target>> {
    let target = |text: &String| {
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().ok_or_else(|| Failure::unreadable("targets"));
        let (namespace, version, name) = (next()?, Version::parse(next()?)?, next()?);
        let action = ActionName { namespace: Slug::parse(namespace)?, name: Slug::parse(name)? };
        Ok(Target { action, version })
    };
    texts.iter().map(target).collect()
}

#[async_trait]
impl TriggerStore for SqliteStore {
    async fn insert_trigger(&self, trigger: &Trigger, most: u32) -> Result<bool> {
        let trigger = trigger.clone();
        self.write(move |session| {
            let sql = "SELECT count(*) FROM triggers WHERE owner = ?1";
            if count(session, sql, [trigger.owner.as_str()])? >= u64::from(most) {
                return Ok(false);
            }
            let sql = "INSERT INTO triggers (id, owner, user_id, key_id, agent_id, name, targets,
                           token, shown, secret, is_signed, dedup_header, scopes, tier,
                           created_at_us)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
            let targets = trigger.targets.iter().map(ToString::to_string).collect::<Vec<_>>();
            let values = params![
                trigger.id.to_string(),
                trigger.owner.as_str(),
                trigger.user.as_ref().map(UserId::as_str),
                trigger.key.map(|id| id.to_string()),
                trigger.agent.as_str(),
                trigger.name,
                json(&targets)?,
                trigger.token.0,
                trigger.shown,
                trigger.secret.0,
                trigger.is_signed,
                trigger.dedup_header,
                json(&trigger.scopes.texts())?,
                trigger.tier,
                trigger.created_at.as_microsecond(),
            ];
            execute(session, sql, values).map(|_| true)
        })
        .await
    }

    async fn triggers(&self, owner: &OwnerId) -> Result<Vec<Trigger>> {
        let owner = owner.clone();
        self.read(move |connection| {
            let sql = select!("WHERE owner = ?1 ORDER BY id DESC");
            all(connection, sql, [owner.as_str()], read)
        })
        .await
    }

    async fn trigger_by_token(&self, token: &TokenHash) -> Result<Option<Trigger>> {
        let token = *token;
        self.read(move |connection| first(connection, select!("WHERE token = ?1"), [token.0], read))
            .await
    }

    async fn delete_trigger(&self, owner: &OwnerId, id: TriggerId) -> Result<bool> {
        let owner = owner.clone();
        self.write(move |session| {
            let sql = "DELETE FROM triggers WHERE owner = ?1 AND id = ?2";
            Ok(execute(session, sql, params![owner.as_str(), id.to_string()])? > 0)
        })
        .await
    }

    async fn source(&self, owner: &OwnerId, run: ExecutionId) -> Result<Option<Source>> {
        let owner = owner.clone();
        self.read(move |connection| source_of(connection, &owner, run)).await
    }
}

/// What began the owner's run besides a key.
pub(super) fn source_of(
    connection: &Connection,
    owner: &OwnerId,
    run: ExecutionId,
) -> Work<Option<Source>> {
    let sql = "SELECT s.schedule_id, s.trigger_id, s.callback_url, s.callback_endpoint,
                   s.callback_secret
               FROM execution_sources s JOIN executions e ON e.row = s.run
               WHERE e.owner = ?1 AND e.id = ?2";
    first(connection, sql, [owner.as_str(), &run.to_string()], |cells| {
        let schedule = cells.parsed_if_any(ScheduleId::parse)?;
        let trigger = cells.parsed_if_any(TriggerId::parse)?;
        let (url, endpoint) = (cells.next::<Option<String>>()?, cells.next::<Option<String>>()?);
        let callback = url.zip(endpoint).zip(cells.sealed_if_any()?);
        let callback = callback.map(|((url, endpoint), secret)| Callback { url, endpoint, secret });
        Ok(Source { schedule, trigger, callback })
    })
}

/// Keeps what began the run in this row.
pub(super) fn keep_source(connection: &Connection, row: i64, source: &Source) -> Work<()> {
    let callback = source.callback.as_ref();
    let sql = "INSERT INTO execution_sources (run, schedule_id, trigger_id, callback_url,
                   callback_endpoint, callback_secret)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let values = params![
        row,
        source.schedule.map(|id| id.to_string()),
        source.trigger.map(|id| id.to_string()),
        callback.map(|callback| &callback.url),
        callback.map(|callback| &callback.endpoint),
        callback.map(|callback| &callback.secret.0),
    ];
    execute(connection, sql, values).map(drop)
}
