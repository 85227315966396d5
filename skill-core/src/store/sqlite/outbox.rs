//! The outbox in SQLite.
//!
//! Deliveries that are due stand in an index by endpoint, so that an endpoint with any number of
//! them is one jump for whoever looks for the next one. The others stand in an index by time.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{named_params, params};
use serde::{Deserialize, Serialize};

use super::{
    SqliteStore,
    failure::{Failure, Work},
    row::{Cells, all, count, execute, first, json},
    tally::Session,
    trigger, webhook,
};
use crate::{
    error::Result,
    id::{ConnectionId, DeliveryId, ExecutionId, ScheduleId, WebhookId},
    name::{ActionName, AgentId, OwnerId, Slug, UserId},
    record::{
        delivery::{
            Announcement, Claim, Claimed, ConnectionFacts, Delivery, FiringFacts, Lease, Next,
            Rooms, Settled, State, Subject,
        },
        execution::{Execution, Trigger},
        webhook::Event,
    },
    store::{DeliveryFilter, OutboxStore},
};

/// What stands before the name of an agent where others have an id.
const AGENT: &str = "agent/";
/// The most deliveries that one claim finds to be due.
const MOST_DUE: u32 = 1_000;
/// The most rows that one command removes: other commands wait meanwhile.
const BATCH: u32 = 500;

macro_rules! select {
    ($($rest:tt)*) => {
        concat!(
            "SELECT id, owner, webhook_id, endpoint, event, subject_id, facts, state, attempts,
                    iif(state = 'waiting' AND worker IS NULL, due_at_us, NULL), status, error,
                    created_at_us, attempted_at_us, ended_at_us ",
            $($rest)*
        )
    };
}

/// What is kept of a subject that may be gone.
#[derive(Serialize, Deserialize)]
struct Facts {
    integration: String,
    label: Option<String>,
    user: Option<String>,
}

/// What is kept of a due time that no run could be made of.
#[derive(Serialize, Deserialize)]
struct Unmade {
    agent: String,
    namespace: String,
    name: String,
    due_at_us: i64,
    error: String,
}

fn read(cells: &mut Cells<'_>) -> Work<Delivery> {
    Ok(Delivery {
        id: cells.parsed(DeliveryId::parse)?,
        owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
        webhook: cells.parsed_if_any(WebhookId::parse)?,
        endpoint: cells.next()?,
        event: cells.parsed(Event::parse)?,
        subject: subject(&cells.next::<String>()?, cells.next()?)?,
        state: cells.parsed(State::parse)?,
        attempts: cells.next()?,
        due_at: cells.time_if_any()?,
        status: cells.next()?,
        error: cells.next()?,
        created_at: cells.time()?,
        attempted_at: cells.time_if_any()?,
        ended_at: cells.time_if_any()?,
    })
}

fn subject(id: &str, facts: Option<String>) -> Work<Subject> {
    let unreadable = || Failure::unreadable("subject");
    if let Some(agent) = id.strip_prefix(AGENT) {
        return Ok(Subject::Agent(AgentId::parse(agent)?));
    }
    let Some(facts) = facts else {
        let run = ExecutionId::parse(id).map(Subject::Run);
        let subject = run.or_else(|| WebhookId::parse(id).map(Subject::Webhook));
        return subject.ok_or_else(unreadable);
    };
    if let Some(schedule) = ScheduleId::parse(id) {
        let facts: Unmade = serde_json::from_str(&facts).map_err(|_| unreadable())?;
        let (namespace, name) = (Slug::parse(&facts.namespace)?, Slug::parse(&facts.name)?);
        return Ok(Subject::Firing(FiringFacts {
            schedule,
            agent: AgentId::parse(&facts.agent)?,
            action: ActionName { namespace, name },
            due_at: Timestamp::from_microsecond(facts.due_at_us).map_err(|_| unreadable())?,
            error: facts.error,
        }));
    }
    let facts: Facts = serde_json::from_str(&facts).map_err(|_| unreadable())?;
    Ok(Subject::Connection(ConnectionFacts {
        id: ConnectionId::parse(id).ok_or_else(unreadable)?,
        integration: Slug::parse(&facts.integration)?,
        label: facts.label,
        user: facts.user.map(|user| UserId::parse(&user)).transpose()?,
    }))
}

/// What stands for a subject: its id, and the facts about it.
fn written(subject: &Subject) -> Work<(String, Option<String>)> {
    Ok(match subject {
        Subject::Run(id) => (id.to_string(), None),
        Subject::Webhook(id) => (id.to_string(), None),
        Subject::Agent(id) => (format!("{AGENT}{id}"), None),
        Subject::Firing(known) => {
            let facts = Unmade {
                agent: known.agent.as_str().to_owned(),
                namespace: known.action.namespace.as_str().to_owned(),
                name: known.action.name.as_str().to_owned(),
                due_at_us: known.due_at.as_microsecond(),
                error: known.error.clone(),
            };
            (known.schedule.to_string(), Some(json(&facts)?))
        }
        Subject::Connection(known) => {
            let facts = Facts {
                integration: known.integration.as_str().to_owned(),
                label: known.label.clone(),
                user: known.user.as_ref().map(|user| user.as_str().to_owned()),
            };
            (known.id.to_string(), Some(json(&facts)?))
        }
    })
}

/// Keeps a message for everybody who wants to know that a run has ended.
pub(super) fn announce_end(session: &Session, run: &Execution) -> Work<()> {
    for what in Announcement::of_run(run) {
        announce(session, Some(what))?;
    }
    // Nobody else is told of single runs, and a run that ends costs no look-up for it.
    if !run.origin.as_ref().is_some_and(|origin| origin.trigger == Trigger::Webhook) {
        return Ok(());
    }
    let source = trigger::source_of(session, &run.owner, run.id)?;
    let Some(callback) = source.and_then(|source| source.callback) else { return Ok(()) };
    let told = Delivery::of_callback(run, &callback)?;
    told.map_or(Ok(()), |delivery| insert(session, &delivery))
}

/// Keeps a message for everybody who wants to know.
pub(super) fn announce(session: &Session, what: Option<Announcement<'_>>) -> Work<()> {
    let Some(what) = what else { return Ok(()) };
    if !session.has_subscriber(what.news.owner)? {
        return Ok(());
    }
    let known = webhook::of_owner(session, what.news.owner)?;
    what.deliveries(&known)?.iter().try_for_each(|delivery| insert(session, delivery))
}

fn insert(session: &Session, delivery: &Delivery) -> Work<()> {
    let (subject, facts) = written(&delivery.subject)?;
    let due = delivery.due_at.unwrap_or(delivery.created_at);
    let sql = "INSERT INTO deliveries (owner, id, webhook_id, endpoint, event, subject_id, facts,
                   state, due_at_us, created_at_us)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'waiting', ?8, ?9)";
    let values = params![
        delivery.owner.as_str(),
        delivery.id.to_string(),
        delivery.webhook.map(|id| id.to_string()),
        delivery.endpoint,
        delivery.event.as_str(),
        subject,
        facts,
        due.as_microsecond(),
        delivery.created_at.as_microsecond(),
    ];
    execute(session, sql, values)?;
    session.stir();
    Ok(())
}

#[async_trait]
impl OutboxStore for SqliteStore {
    async fn insert_delivery(&self, delivery: &Delivery) -> Result<()> {
        let delivery = delivery.clone();
        self.write(move |session| insert(session, &delivery)).await
    }

    async fn claim_deliveries(&self, want: &Claim) -> Result<Vec<Claimed>> {
        let want = want.clone();
        self.write(move |session| claim(session, &want)).await
    }

    async fn settle_deliveries(&self, settled: &[Settled]) -> Result<Vec<bool>> {
        let settled = settled.to_vec();
        self.write(move |session| settled.iter().map(|one| settle(session, one)).collect()).await
    }

    async fn adopt_deliveries(&self, now: Timestamp) -> Result<u64> {
        let now = now.as_microsecond();
        self.write(move |session| {
            let sql = "UPDATE deliveries SET due_at_us = min(due_at_us, ?1)
                       WHERE state = 'waiting' AND is_due = 0 AND worker IS NOT NULL";
            Ok(execute(session, sql, [now])? as u64)
        })
        .await
    }

    async fn next_delivery(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        self.read(move |connection| {
            let sql = "SELECT 1 FROM deliveries INDEXED BY deliveries_ready
                       WHERE state = 'waiting' AND is_due = 1 LIMIT 1";
            if first(connection, sql, [], |cells| cells.next::<i64>())?.is_some() {
                return Ok(Some(now));
            }
            let sql = "SELECT min(due_at_us) FROM deliveries INDEXED BY deliveries_delayed
                       WHERE state = 'waiting' AND is_due = 0";
            let due = first(connection, sql, [], |cells| cells.time_if_any())?.flatten();
            Ok(due.map(|due| due.max(now)))
        })
        .await
    }

    async fn stirred(&self) -> Result<()> {
        self.stirred.notified().await;
        Ok(())
    }

    async fn deliveries(
        &self,
        owner: &OwnerId,
        webhook: WebhookId,
        filter: &DeliveryFilter,
    ) -> Result<(Vec<Delivery>, u64)> {
        let (owner, filter) = (owner.clone(), filter.clone());
        self.read(move |connection| {
            // One snapshot for both statements.
            let _snapshot = connection.unchecked_transaction()?;
            let offset = i64::try_from(filter.offset).unwrap_or(i64::MAX);
            let (webhook, state) = (webhook.to_string(), filter.state.map(State::as_str));
            let sql = select!(
                "FROM deliveries WHERE owner = ?1 AND webhook_id = ?2
                 AND (?3 IS NULL OR state = ?3) ORDER BY id DESC LIMIT ?4 OFFSET ?5"
            );
            let values = params![owner.as_str(), webhook, state, filter.limit, offset];
            let page = all(connection, sql, values, read)?;
            let sql = "SELECT count(*) FROM deliveries WHERE owner = ?1 AND webhook_id = ?2
                       AND (?3 IS NULL OR state = ?3)";
            Ok((page, count(connection, sql, params![owner.as_str(), webhook, state])?))
        })
        .await
    }

    async fn revive_delivery(
        &self,
        owner: &OwnerId,
        (webhook, id): (WebhookId, DeliveryId),
        now: Timestamp,
    ) -> Result<Option<Delivery>> {
        let (owner, now) = (owner.clone(), now.as_microsecond());
        self.write(move |session| {
            let (webhook, id) = (webhook.to_string(), id.to_string());
            let sql = "UPDATE deliveries SET
                           attempts = iif(state = 'waiting', attempts, 0), state = 'waiting',
                           due_at_us = ?4, is_due = 1, ended_at_us = NULL
                       WHERE owner = ?1 AND webhook_id = ?2 AND id = ?3 AND worker IS NULL";
            execute(session, sql, params![owner.as_str(), webhook, id, now])?;
            session.stir();
            let sql = select!("FROM deliveries WHERE owner = ?1 AND webhook_id = ?2 AND id = ?3");
            first(session, sql, params![owner.as_str(), webhook, id], read)
        })
        .await
    }

    async fn prune_deliveries(&self, before: Timestamp, most: u32) -> Result<u64> {
        let (before, mut removed) = (before.as_microsecond(), 0);
        while removed < most {
            let size = BATCH.min(most - removed);
            let gone = self
                .write(move |session| {
                    let sql = "DELETE FROM deliveries WHERE row IN
                                   (SELECT row FROM deliveries INDEXED BY deliveries_by_end
                                    WHERE ended_at_us < ?1 ORDER BY ended_at_us LIMIT ?2)";
                    execute(session, sql, params![before, size])
                })
                .await?;
            removed += u32::try_from(gone).unwrap_or(size);
            if gone < size as usize {
                break;
            }
        }
        Ok(u64::from(removed))
    }
}

fn claim(session: &Session, want: &Claim) -> Work<Vec<Claimed>> {
    let sql = "UPDATE deliveries SET is_due = 1, worker = NULL WHERE row IN
                   (SELECT row FROM deliveries INDEXED BY deliveries_delayed
                    WHERE state = 'waiting' AND is_due = 0 AND due_at_us <= ?1
                    ORDER BY due_at_us LIMIT ?2)";
    execute(session, sql, params![want.now.as_microsecond(), MOST_DUE])?;
    let rows = pick(session, want)?;
    rows.into_iter().map(|row| start(session, row, want)).collect()
}

/// What one endpoint has that is due, the oldest at the end.
struct Turn {
    owner: OwnerId,
    endpoint: String,
    rows: Vec<i64>,
}

/// The rows to claim, in the order of the turns.
fn pick(session: &Session, want: &Claim) -> Work<Vec<i64>> {
    let (mut rooms, mut picked, mut turns) = (want.rooms.clone(), Vec::new(), Vec::new());
    let after = want.after.as_deref().unwrap_or_default();
    let (mut at, mut has_wrapped) = (after.to_owned(), false);
    while rooms.left() > 0 {
        match next_endpoint(session, &at)? {
            Some((endpoint, owner)) if !has_wrapped || endpoint.as_str() <= after => {
                at.clone_from(&endpoint);
                if let Some(mut turn) = open(session, &mut rooms, (owner, endpoint))? {
                    picked.extend(turn.rows.pop());
                    turns.push(turn);
                }
            }
            Some(_) | None if has_wrapped => break,
            Some(_) | None => (at, has_wrapped) = (String::new(), true),
        }
    }
    while rooms.left() > 0 && !turns.is_empty() {
        turns.retain_mut(|turn| {
            let has_more = !turn.rows.is_empty() && rooms.take(&turn.owner, &turn.endpoint);
            picked.extend(turn.rows.pop().filter(|_| has_more));
            has_more
        });
    }
    Ok(picked)
}

/// The first endpoint behind `at` to which something is due, and whose it is.
fn next_endpoint(session: &Session, at: &str) -> Work<Option<(String, OwnerId)>> {
    let sql = "SELECT endpoint, owner FROM deliveries INDEXED BY deliveries_ready
               WHERE state = 'waiting' AND is_due = 1 AND endpoint > ?1
               ORDER BY endpoint LIMIT 1";
    first(session, sql, [at], |cells| {
        Ok((cells.next()?, cells.parsed(|text| OwnerId::parse(text).ok())?))
    })
}

/// The turn of an endpoint, with its first place taken; `None` when it has none.
fn open(
    session: &Session,
    rooms: &mut Rooms,
    (owner, endpoint): (OwnerId, String),
) -> Work<Option<Turn>> {
    if !rooms.take(&owner, &endpoint) {
        return Ok(None);
    }
    let sql = "SELECT row FROM deliveries INDEXED BY deliveries_ready
               WHERE state = 'waiting' AND is_due = 1 AND endpoint = ?1
               ORDER BY due_at_us, row LIMIT ?2";
    let values = params![endpoint, rooms.left().saturating_add(1)];
    let mut rows = all(session, sql, values, |cells| cells.next())?;
    rows.reverse();
    Ok(Some(Turn { owner, endpoint, rows }))
}

fn start(session: &Session, row: i64, want: &Claim) -> Work<Claimed> {
    let sql = "UPDATE deliveries SET is_due = 0, due_at_us = ?2, worker = ?3,
                   fencing = fencing + 1, attempts = attempts + 1 WHERE row = ?1";
    execute(session, sql, params![row, want.until.as_microsecond(), want.worker.0])?;
    let sql = select!(", fencing FROM deliveries WHERE row = ?1");
    let found = first(session, sql, [row], |cells| Ok((read(cells)?, cells.number()?)))?;
    let (delivery, fencing) = found.ok_or_else(|| Failure::unreadable("delivery"))?;
    let (subscription, callback) = match (delivery.webhook, &delivery.subject) {
        (Some(id), _) => (webhook::find(session, &delivery.owner, id)?, None),
        (None, Subject::Run(id)) => {
            let source = trigger::source_of(session, &delivery.owner, *id)?;
            (None, source.and_then(|source| source.callback))
        }
        (None, _) => (None, None),
    };
    let (owner, id, worker) = (delivery.owner.clone(), delivery.id, want.worker.clone());
    let lease = Lease { owner, id, worker, fencing };
    Ok(Claimed { lease, delivery, subscription, callback })
}

fn settle(session: &Session, settled: &Settled) -> Work<bool> {
    let lease = &settled.lease;
    let (state, due, is_final) = match settled.next {
        Next::Delivered => (State::Delivered, settled.at, true),
        Next::Dead => (State::Dead, settled.at, true),
        Next::Again(at) => (State::Waiting, at, false),
        Next::Undone => (State::Waiting, settled.at, false),
    };
    let sql = "UPDATE deliveries SET state = :state, due_at_us = :due, is_due = 0, worker = NULL,
                   attempts = attempts - :is_undone,
                   status = iif(:is_undone, status, :status),
                   error = iif(:is_undone, error, :error),
                   attempted_at_us = iif(:is_undone, attempted_at_us, :at),
                   ended_at_us = iif(:is_final, :at, NULL)
               WHERE owner = :owner AND id = :id AND state = 'waiting'
               AND worker = :worker AND fencing = :fencing";
    let values = named_params! {
        ":state": state.as_str(),
        ":due": due.as_microsecond(),
        ":is_undone": settled.next == Next::Undone,
        ":is_final": is_final,
        ":status": settled.status,
        ":error": settled.error,
        ":at": settled.at.as_microsecond(),
        ":owner": lease.owner.as_str(),
        ":id": lease.id.to_string(),
        ":worker": lease.worker.0,
        ":fencing": i64::try_from(lease.fencing).unwrap_or(i64::MAX),
    };
    Ok(execute(session, sql, values)? > 0)
}
