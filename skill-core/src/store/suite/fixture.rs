//! The smallest valid records, and a way to do things at once.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::{
    id::{self, ConnectionId, ExecutionId, FlowId, KeyId},
    name::{ActionName, OwnerId, Slug, UserId},
    record::{
        Sealed,
        connection::Connection,
        execution::{Class, Execution, Recorded, State, Timing},
        flow::{Departure, Flow, TokenHash},
        key::{Key, KeyHash, Kind},
        scope::Scopes,
    },
    store::Store,
};

/// The moment `seconds` after the suite's beginning of time.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

pub(super) fn acme() -> OwnerId {
    OwnerId::parse("acme").unwrap()
}

pub(super) fn rival() -> OwnerId {
    OwnerId::parse("rival").unwrap()
}

pub(super) fn user(name: &str) -> Option<UserId> {
    Some(UserId::parse(name).unwrap())
}

pub(super) fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

pub(super) fn sealed(text: &str) -> Sealed {
    Sealed(text.as_bytes().to_vec())
}

/// A key of acme made at `seconds`.
pub(super) fn key(seconds: i64) -> Key {
    Key {
        id: KeyId::fresh(at(seconds)).unwrap(),
        owner: acme(),
        user: None,
        name: "deploy".into(),
        kind: Kind::Api,
        shown: "sk_abcd...wxyz".into(),
        hash: KeyHash(id::random().unwrap()),
        scopes: Scopes::all(),
        tier: None,
        created_at: at(seconds),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

/// A connection of acme to GitHub made at `seconds`.
pub(super) fn connection(seconds: i64) -> Connection {
    let id = ConnectionId::fresh(at(seconds)).unwrap();
    Connection::new(id, acme(), slug("github"), at(seconds))
}

/// A connection of acme to GitHub that is kept.
pub(super) async fn kept_connection(store: &dyn Store, seconds: i64) -> Connection {
    let connection = connection(seconds);
    assert!(store.insert_connection(&connection, None).await.unwrap());
    store.connection(&acme(), connection.id).await.unwrap().unwrap()
}

/// A flow for a connection, begun at `seconds` and open for ten minutes.
pub(super) fn flow(connection: &Connection, seconds: i64) -> Flow {
    Flow {
        id: FlowId::fresh(at(seconds)).unwrap(),
        connection: connection.at(),
        integration: connection.integration.clone(),
        scopes: Vec::new(),
        link: token(),
        expires_at: at(seconds + 600),
        return_url: None,
    }
}

/// A departure whose state ends at `seconds`.
pub(super) fn departure(seconds: i64) -> Departure {
    Departure {
        state: token(),
        browser: token(),
        verifier: sealed("verifier"),
        issuer: Some("https://github.com".into()),
        expires_at: at(seconds),
    }
}

pub(super) fn token() -> TokenHash {
    TokenHash(id::random().unwrap())
}

/// A run of acme that began at `seconds`.
pub(super) fn run(seconds: i64) -> Execution {
    Execution {
        id: ExecutionId::fresh(at(seconds)).unwrap(),
        owner: acme(),
        user: None,
        key: None,
        action: ActionName { namespace: slug("github"), name: slug("create_issue") },
        revision: "r1".into(),
        class: Class::Write,
        connection: None,
        app: None,
        parent: None,
        state: State::Running,
        version: None,
        progress: 0,
        attempts: 0,
        upstream_status: None,
        error: None,
        timing: Timing::default(),
        created_at: at(seconds),
        started_at: Some(at(seconds)),
        ended_at: None,
    }
}

/// A run that ended, with what a repeat of its request is given.
pub(super) fn replayable(execution: Execution, replay: Sealed) -> Recorded {
    Recorded { replay: Some(replay), ..Recorded::bare(execution) }
}

/// The same run, ended well a second after it began.
pub(super) fn ended(run: &Execution) -> Execution {
    let total = Duration::from_secs(1);
    Execution {
        state: State::Success,
        attempts: 1,
        upstream_status: Some(201),
        timing: Timing { total, upstream: Duration::from_micros(999_001) },
        progress: 100,
        ended_at: Some(run.created_at + total),
        ..run.clone()
    }
}

/// What `work` returned, done `times` over at once.
pub(super) async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    store: &Arc<dyn Store>,
    times: i64,
    work: impl Fn(Arc<dyn Store>, i64) -> F,
) -> Vec<T> {
    let mut tasks = JoinSet::new();
    for n in 0..times {
        tasks.spawn(work(store.clone(), n));
    }
    tasks.join_all().await
}
