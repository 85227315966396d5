//! The SQLite store as a whole.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::params;

use super::{
    SqliteStore,
    execution::{find, read, select, update},
    reseal,
    row::{all, count, execute},
};
use crate::{
    error::Result,
    id::ExecutionId,
    name::OwnerId,
    record::{
        Sealed,
        connection::{ConnectionRef, Revision},
        execution::{Event, Execution, State, transition},
    },
    store::{Aged, Cursor, Part, Restored, UpkeepStore, upkeep::RESTORED},
};

#[async_trait]
impl UpkeepStore for SqliteStore {
    async fn owners(&self, after: Option<&OwnerId>, most: u32) -> Result<Vec<OwnerId>> {
        let after = after.map(|owner| owner.as_str().to_owned()).unwrap_or_default();
        self.read(move |connection| {
            let sql = "SELECT id FROM (SELECT id FROM owners UNION SELECT owner FROM keys
                                       UNION SELECT owner FROM connections)
                       WHERE id > ?1 ORDER BY id LIMIT ?2";
            all(connection, sql, params![after, most], |cells| {
                cells.parsed(|text| OwnerId::parse(text).ok())
            })
        })
        .await
    }

    async fn facts(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let prefix = prefix.to_owned();
        self.read(move |connection| {
            let sql = "SELECT name, value FROM meta WHERE substr(name, 1, length(?1)) = ?1";
            all(connection, sql, [&prefix], |cells| Ok((cells.next()?, cells.next()?)))
        })
        .await
    }

    async fn forget_fact(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.write(move |session| {
            execute(session, "DELETE FROM meta WHERE name = ?1", [&name]).map(drop)
        })
        .await
    }

    async fn begin_epoch(&self, epoch: &str) -> Result<Restored> {
        let epoch = epoch.as_bytes().to_vec();
        self.write(move |session| {
            let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES ('epoch', ?1)";
            execute(session, sql, [&epoch])?;
            let sql = select!(
                "FROM executions
                 WHERE state IN ('queued', 'running') AND run_at_us IS NOT NULL"
            );
            let runs = all(session, sql, [], read)?;
            for run in &runs {
                session.moved(run, Some(run.state), transition(run.state, Event::Hold));
            }
            let sql = "UPDATE executions SET state = 'held', lease_until_us = NULL, worker = NULL
                       WHERE state IN ('queued', 'running') AND run_at_us IS NOT NULL";
            execute(session, sql, [])?;
            let sql = "UPDATE grants SET restored_revision = revision WHERE sealed IS NOT NULL";
            let grants = execute(session, sql, [])? as u64;
            execute(session, "DELETE FROM flows", [])?;
            execute(session, "DELETE FROM logins", [])?;
            execute(session, "DELETE FROM renewals", [])?;
            let sql = "UPDATE schedules SET next_run_at_us = NULL, stopped = ?1
                       WHERE next_run_at_us IS NOT NULL";
            let schedules = execute(session, sql, [RESTORED])? as u64;
            Ok(Restored { runs: runs.len() as u64, grants, schedules })
        })
        .await
    }

    async fn is_restored(&self, at: &ConnectionRef, revision: Revision) -> Result<bool> {
        let (id, revision) = (at.id.to_string(), i64::try_from(revision.0).unwrap_or(i64::MAX));
        self.read(move |connection| {
            let sql = "SELECT count(*) FROM grants
                       WHERE connection_id = ?1 AND revision = ?2 AND restored_revision = ?2";
            Ok(count(connection, sql, params![id, revision])? > 0)
        })
        .await
    }

    async fn release(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
        now: Timestamp,
    ) -> Result<Option<Execution>> {
        let (owner, now) = (owner.clone(), now.as_microsecond());
        self.write(move |session| {
            let Some((row, old)) = find(session, &owner, id)? else { return Ok(None) };
            let Some(state) = transition(old.state, Event::Release) else { return Ok(Some(old)) };
            let run = Execution { state, progress: 0, ..old };
            update(session, row, &run)?;
            let sql = "UPDATE executions SET is_delayed = 1,
                           deadline_us = max(deadline_us, ?2 + deadline_us - created_at_us)
                       WHERE row = ?1";
            execute(session, sql, params![row, now])?;
            session.moved(&run, Some(State::Held), Some(state));
            Ok(Some(run))
        })
        .await
    }

    async fn sealed_before(
        &self,
        part: Part,
        version: u32,
        after: Option<Cursor>,
        most: u32,
    ) -> Result<Vec<Aged>> {
        self.read(move |connection| reseal::before(connection, part, (version, after), most)).await
    }

    async fn reseal(&self, part: Part, values: &[(Aged, Sealed)]) -> Result<u64> {
        let values = values.to_vec();
        self.write(move |session| reseal::replace(session, part, &values)).await
    }
}
