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
        run::{Claim, Claimed, Enqueue, Enqueued, Finished, Work, Worker},
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
        origin: None,
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

/// A run of acme that is to be queued, asked for at `seconds`, to be run at once.
pub(super) fn queued(seconds: i64) -> Enqueue {
    let execution = Execution { state: State::Queued, started_at: None, ..run(seconds) };
    Enqueue {
        execution,
        work: Work {
            input: sealed("input"),
            scopes: Scopes::all(),
            tier: None,
            priority: 0,
            run_at: at(seconds),
            deadline: at(seconds + 900),
            group: None,
        },
        idempotency: None,
        claimed: None,
        most_queued: 100_000,
        source: None,
    }
}

/// The same for another owner's or another integration's lane.
pub(super) fn queued_in(owner: OwnerId, namespace: &str, seconds: i64) -> Enqueue {
    let mut asked = queued(seconds);
    asked.execution.owner = owner;
    asked.execution.action.namespace = slug(namespace);
    asked
}

/// Queues runs that are all new, and returns them as they then stand.
pub(super) async fn enqueue(store: &dyn Store, runs: &[Enqueue]) -> Vec<Execution> {
    let made = store.enqueue(runs).await.unwrap();
    assert_eq!(made, vec![Enqueued::New(None); runs.len()]);
    runs.iter().map(|asked| asked.execution.clone()).collect()
}

/// What a worker wants at `seconds`; its leases last a minute.
pub(super) fn want(seconds: i64, most: u32) -> Claim {
    Claim {
        worker: Worker("one".into()),
        now: at(seconds),
        until: at(seconds + 60),
        most,
        after: None,
        saturated: Vec::new(),
    }
}

/// What a worker gets at `seconds`.
pub(super) async fn claim(store: &dyn Store, seconds: i64, most: u32) -> Vec<Claimed> {
    store.claim(&want(seconds, most)).await.unwrap()
}

/// The one run that a worker gets at `seconds`.
pub(super) async fn claim_one(store: &dyn Store, seconds: i64) -> Claimed {
    let mut claimed = claim(store, seconds, 2).await;
    assert_eq!(claimed.len(), 1);
    claimed.remove(0)
}

/// The attempt ended well at `seconds`, with an outcome.
pub(super) fn done(claimed: &Claimed, seconds: i64) -> Finished {
    let execution = Execution {
        state: State::Success,
        progress: 100,
        upstream_status: Some(200),
        ended_at: Some(at(seconds)),
        ..claimed.execution.clone()
    };
    let (lease, outcome) = (claimed.lease.clone(), Some(sealed("outcome")));
    Finished { lease, execution, outcome, run_at: at(seconds), is_undone: false }
}

/// The attempt is given back, to be claimed again at `seconds`.
pub(super) fn given_back(claimed: &Claimed, seconds: i64) -> Finished {
    let upstream_status = Some(503);
    let execution =
        Execution { state: State::Queued, upstream_status, ..claimed.execution.clone() };
    Finished { execution, outcome: None, ..done(claimed, seconds) }
}

/// The run, cancelled at `seconds`.
pub(super) fn cancelled(run: &Execution, seconds: i64) -> Execution {
    let (state, ended_at) = (State::Cancelled, Some(at(seconds)));
    Execution { state, ended_at, progress: 100, ..run.clone() }
}

/// The run of acme as it stands.
pub(super) async fn kept(store: &dyn Store, id: ExecutionId) -> Execution {
    store.execution(&acme(), id).await.unwrap().unwrap()
}
