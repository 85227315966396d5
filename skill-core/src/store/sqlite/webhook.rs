//! Webhooks in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    failure::{Failure, Work},
    row::{Cells, all, count, execute, first, json, micros},
};
use crate::{
    error::Result,
    id::WebhookId,
    name::{ActionName, AgentId, OwnerId, UserId},
    record::{
        scope::{Scope, Scopes},
        webhook::{Change, Disabled, Event, Subscription},
    },
    store::WebhookStore,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, owner, user_id, agent_id, url, events, tool_ids, actions, scopes, secret,
                    previous_secret, previous_until_us, disabled_at_us, disabled_reason,
                    created_at_us
             FROM webhooks ",
            $rest
        )
    };
}

fn read(cells: &mut Cells<'_>) -> Work<Subscription> {
    Ok(Subscription {
        id: cells.parsed(WebhookId::parse)?,
        owner: cells.parsed(|text| OwnerId::parse(text).ok())?,
        user: cells.parsed_if_any(|text| UserId::parse(text).ok())?,
        agent: cells.parsed_if_any(|text| AgentId::parse(text).ok())?,
        url: cells.next()?,
        events: events(&cells.json::<Vec<String>>()?)?,
        tool_ids: cells.json()?,
        actions: actions(&cells.json::<Vec<String>>()?)?,
        scopes: Scopes::parse(cells.json::<Vec<String>>()?.iter().map(String::as_str))?,
        secret: cells.sealed()?,
        previous: cells.sealed_if_any()?.zip(cells.time_if_any()?),
        disabled: {
            let (at, reason) = (cells.time_if_any()?, cells.next::<Option<String>>()?);
            at.map(|at| Disabled { at, reason: reason.unwrap_or_default() })
        },
        created_at: cells.time()?,
    })
}

fn names(events: &[Event]) -> Work<String> {
    json(&events.iter().map(|event| event.as_str()).collect::<Vec<_>>())
}

fn events(names: &[String]) -> Work<Vec<Event>> {
    let known = |name: &String| Event::parse(name).ok_or_else(|| Failure::unreadable("events"));
    names.iter().map(known).collect()
}

/// An action is written as the scope that stands for it.
fn actions(texts: &[String]) -> Work<Vec<ActionName>> {
    let action = |text: &String| match Scope::parse(text)? {
        Scope::Action(action) => Ok(action),
        Scope::All | Scope::Namespace(_) => Err(Failure::unreadable("action")),
    };
    texts.iter().map(action).collect()
}

fn texts(actions: &[ActionName]) -> Work<String> {
    json(&actions.iter().map(ToString::to_string).collect::<Vec<_>>())
}

/// The owner's subscription.
pub(super) fn find(
    connection: &Connection,
    owner: &OwnerId,
    id: WebhookId,
) -> Work<Option<Subscription>> {
    let sql = select!("WHERE owner = ?1 AND id = ?2");
    first(connection, sql, [owner.as_str(), &id.to_string()], read)
}

/// The owner's subscriptions, the newest first.
pub(super) fn of_owner(connection: &Connection, owner: &OwnerId) -> Work<Vec<Subscription>> {
    let sql = select!("WHERE owner = ?1 ORDER BY id DESC");
    all(connection, sql, [owner.as_str()], read)
}

#[async_trait]
impl WebhookStore for SqliteStore {
    async fn insert_webhook(&self, webhook: &Subscription, most: u32) -> Result<bool> {
        let webhook = webhook.clone();
        self.write(move |session| {
            session.forget_subscribers();
            let sql = "SELECT count(*) FROM webhooks WHERE owner = ?1";
            if count(session, sql, [webhook.owner.as_str()])? >= u64::from(most) {
                return Ok(false);
            }
            let (previous, until) = webhook.previous.clone().unzip();
            let (disabled_at, reason) =
                webhook.disabled.clone().map(|disabled| (disabled.at, disabled.reason)).unzip();
            let sql = "INSERT INTO webhooks (id, owner, user_id, url, events, tool_ids, actions,
                           scopes, secret, previous_secret, previous_until_us, disabled_at_us,
                           disabled_reason, created_at_us, agent_id)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
            let values = params![
                webhook.id.to_string(),
                webhook.owner.as_str(),
                webhook.user.as_ref().map(UserId::as_str),
                webhook.url,
                names(&webhook.events)?,
                json(&webhook.tool_ids)?,
                texts(&webhook.actions)?,
                json(&webhook.scopes.texts())?,
                webhook.secret.0,
                previous.map(|sealed| sealed.0),
                micros(until),
                micros(disabled_at),
                reason,
                webhook.created_at.as_microsecond(),
                webhook.agent.as_ref().map(AgentId::as_str),
            ];
            execute(session, sql, values).map(|_| true)
        })
        .await
    }

    async fn webhooks(&self, owner: &OwnerId) -> Result<Vec<Subscription>> {
        let owner = owner.clone();
        self.read(move |connection| of_owner(connection, &owner)).await
    }

    async fn change_webhook(&self, owner: &OwnerId, id: WebhookId, to: &Change) -> Result<bool> {
        let (owner, id, to) = (owner.clone(), id.to_string(), to.clone());
        self.write(move |session| {
            session.forget_subscribers();
            let owner = owner.as_str();
            let changed = match &to {
                Change::Secret(secret, until) => {
                    let sql = "UPDATE webhooks SET previous_secret = secret,
                                   previous_until_us = ?4, secret = ?3
                               WHERE owner = ?1 AND id = ?2";
                    execute(session, sql, params![owner, id, secret.0, until.as_microsecond()])?
                }
                Change::Disable(Disabled { at, reason }) => {
                    let sql = "UPDATE webhooks SET
                                   disabled_reason = iif(disabled_at_us IS NULL, ?4, disabled_reason),
                                   disabled_at_us = coalesce(disabled_at_us, ?3)
                               WHERE owner = ?1 AND id = ?2";
                    execute(session, sql, params![owner, id, at.as_microsecond(), reason])?
                }
                Change::Edit(url, events) => {
                    let sql = "UPDATE webhooks SET url = ?3, events = ?4
                               WHERE owner = ?1 AND id = ?2";
                    execute(session, sql, params![owner, id, url, names(events)?])?
                }
                Change::Enable(actions, scopes) => {
                    let sql = "UPDATE webhooks SET actions = ?3, scopes = ?4,
                                   disabled_at_us = NULL, disabled_reason = NULL
                               WHERE owner = ?1 AND id = ?2";
                    let (actions, scopes) = (texts(actions)?, json(&scopes.texts())?);
                    execute(session, sql, params![owner, id, actions, scopes])?
                }
            };
            Ok(changed > 0)
        })
        .await
    }

    async fn delete_webhook(&self, owner: &OwnerId, id: WebhookId) -> Result<bool> {
        let owner = owner.clone();
        self.write(move |session| {
            session.forget_subscribers();
            let sql = "DELETE FROM webhooks WHERE owner = ?1 AND id = ?2";
            Ok(execute(session, sql, params![owner.as_str(), id.to_string()])? > 0)
        })
        .await
    }
}
