//! What only the inside of the store shows: its settings, and work that ends badly.

use rusqlite::ffi;
use tempfile::TempDir;

use super::{failure::Failure, *};
use crate::{
    error::{Error, ErrorKind},
    id::ExecutionId,
    name::{ActionName, OwnerId, Slug},
    record::{
        Sealed,
        audit::{Actor, Entry},
        execution::{Class, Execution, Idempotency, State, Timing},
        run::{Claim, Enqueue, Enqueued, Finished, Step, Work as Needed, Worker},
        scope::Scopes,
    },
    store::{AuditStore, ExecutionFilter, ExecutionStore, MetaStore, QueueStore},
};

fn open() -> (TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("skill.db")).unwrap();
    (dir, store)
}

fn setting(connection: &Connection, name: &str) -> Work<i64> {
    Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
}

fn entry(target: impl fmt::Display) -> Entry {
    let at = jiff::Timestamp::UNIX_EPOCH;
    Entry::new(at, Actor::System, OwnerId::standard()).event("test").target(target)
}

async fn entries(store: &SqliteStore) -> usize {
    store.audit(&OwnerId::standard(), 10_000).await.unwrap().len()
}

#[tokio::test]
async fn a_commit_is_synced_and_the_log_is_a_write_ahead_log() {
    let (_dir, store) = open();
    let full = 2;
    let settings = store.write(|c| Ok((setting(c, "synchronous")?, setting(c, "foreign_keys")?)));
    assert_eq!(settings.await.unwrap(), (full, 1));
    let mode = |c: &Connection| -> Work<String> {
        Ok(c.pragma_query_value(None, "journal_mode", |row| row.get(0))?)
    };
    assert_eq!(store.write(move |c| mode(c)).await.unwrap(), "wal");
    assert_eq!(store.read(mode).await.unwrap(), "wal");
    assert!(store.write(|c| setting(c, "busy_timeout")).await.unwrap() > 0);
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let (_dir, store) = open();
    let sql = "DELETE FROM meta";
    let error = store.read(move |c| row::execute(c, sql, [])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_work_leaves_its_neighbors_alone() {
    let (_dir, store) = open();
    let bad = |n: u32| {
        store.write(move |c| {
            row::execute(c, "INSERT INTO owners VALUES (?1, NULL, 0)", [n.to_string()])?;
            match n % 3 {
                0 => Err(Failure::Sqlite(c.execute("nonsense", []).unwrap_err())),
                1 => Err(Error::not_found("nothing").into()),
                _ => panic!("on purpose"),
            }
        })
    };
    let kinds = [ErrorKind::Internal, ErrorKind::NotFound, ErrorKind::Internal];
    for n in 0..60 {
        let good = entry(n);
        let both = tokio::join!(bad(n), store.append_audit(&good));
        let failed: Result<()> = both.0;
        assert_eq!(failed.unwrap_err().kind(), kinds[n as usize % 3]);
        both.1.unwrap();
    }
    assert_eq!(entries(&store).await, 60);
    let owners = |c: &Connection| row::count(c, "SELECT count(*) FROM owners", []);
    assert_eq!(store.read(owners).await.unwrap(), 0);
}

#[tokio::test]
async fn a_panic_while_reading_ends_in_an_error() {
    let (_dir, store) = open();
    for _ in 0..9 {
        let error = store.read::<()>(|_| panic!("on purpose")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.log_line().contains("on purpose"));
    }
    store.ping().await.unwrap();
}

/// Stands for a disk that holds so many pages of the file, or those that it has.
async fn limit(store: &SqliteStore, pages: i64) {
    let set = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let limit = store.write(move |session| {
        Ok(session.pragma_update_and_check(None, "max_page_count", pages, set)?)
    });
    limit.await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let (_dir, store) = open();
    limit(&store, 1).await;
    let large = "x".repeat(1 << 20);
    let error = store.append_audit(&entry(&large)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "the store is full");
    assert_eq!(entries(&store).await, 0);
    limit(&store, 1_000_000).await;
    store.append_audit(&entry(&large)).await.unwrap();
    assert_eq!(entries(&store).await, 1);
}

/// A run that is to be queued, with inputs of so many bytes; only one may wait.
fn queued(bytes: usize) -> Enqueue {
    let at = jiff::Timestamp::UNIX_EPOCH;
    let slug = |text| Slug::parse(text).unwrap();
    let execution = Execution {
        id: ExecutionId::fresh(at).unwrap(),
        owner: OwnerId::standard(),
        user: None,
        key: None,
        action: ActionName { namespace: slug("a"), name: slug("b") },
        version: None,
        revision: "r1".into(),
        class: Class::Read,
        connection: None,
        app: None,
        parent: None,
        origin: None,
        state: State::Queued,
        progress: 0,
        attempts: 0,
        upstream_status: None,
        error: None,
        timing: Timing::default(),
        created_at: at,
        started_at: None,
        ended_at: None,
    };
    let work = Needed {
        input: Sealed(vec![7; bytes]),
        scopes: Scopes::all(),
        tier: None,
        priority: 0,
        run_at: at,
        deadline: at,
        group: None,
    };
    let (idempotency, claimed, source) = (None, None, None);
    Enqueue { execution, work, idempotency, claimed, most_queued: 1, source }
}

#[tokio::test]
async fn a_full_disk_loses_no_run_and_counts_none_that_it_refused() {
    let (_dir, store) = open();
    assert_eq!(store.enqueue(&[queued(10)]).await.unwrap(), [Enqueued::New(None)]);
    let at = jiff::Timestamp::UNIX_EPOCH;
    let (worker, saturated) = (Worker("one".into()), Vec::new());
    let want = Claim { worker, now: at, until: at, most: 1, after: None, saturated };
    let claimed = store.claim(&want).await.unwrap().remove(0);
    limit(&store, 1).await;
    let error = store.enqueue(&[queued(1 << 20)]).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, "the store is full"));
    let execution =
        Execution { state: State::Success, ended_at: Some(at), ..claimed.execution.clone() };
    let outcome = Some(Sealed(vec![7; 1 << 20]));
    let lease = claimed.lease.clone();
    let done = [Finished { lease, execution, outcome, run_at: at, is_undone: false }];
    let error = store.finish(&done).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let (page, _) =
        store.executions(&OwnerId::standard(), &ExecutionFilter::default()).await.unwrap();
    assert_eq!(page, [claimed.execution]);
    limit(&store, 1_000_000).await;
    assert_eq!(store.enqueue(&[queued(1 << 20)]).await.unwrap(), [Enqueued::New(None)]);
    assert_eq!(store.finish(&done).await.unwrap(), [true]);
    assert_eq!(store.enqueue(&[queued(10)]).await.unwrap(), [Enqueued::Full]);
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_run_that_was_claimed_over_another_connection_ends_as_a_whole() {
    let (dir, store) = open();
    let at = jiff::Timestamp::UNIX_EPOCH;
    let expires_at = at + std::time::Duration::from_secs(600);
    let once = Idempotency { key: "once".into(), inputs: [1; 32], expires_at };
    let asked = Enqueue { idempotency: Some(once.clone()), ..queued(10) };
    store.enqueue(std::slice::from_ref(&asked)).await.unwrap();
    let (worker, saturated) = (Worker("one".into()), Vec::new());
    let want = Claim { worker, now: at, until: at, most: 1, after: None, saturated };
    let claimed = store.claim(&want).await.unwrap().remove(0);
    let step = Step { position: 0, name: "first".into(), value: None };
    assert!(store.record_step(&claimed.lease, &step).await.unwrap());
    drop(store);
    let store = SqliteStore::open(&dir.path().join("skill.db")).unwrap();
    let execution = Execution { state: State::Success, ended_at: Some(at), ..claimed.execution };
    let (lease, outcome) = (claimed.lease, Some(Sealed(vec![7])));
    let done = Finished { lease, execution, outcome, run_at: at, is_undone: false };
    assert_eq!(store.finish(&[done]).await.unwrap(), [true]);
    let steps = |c: &Connection| row::count(c, "SELECT count(*) FROM execution_steps", []);
    assert_eq!(store.read(steps).await.unwrap(), 0);
    let again = Enqueue { idempotency: Some(once), ..queued(10) };
    let id = asked.execution.id;
    assert_eq!(store.enqueue(&[again]).await.unwrap(), [Enqueued::Same(id)]);
}

#[tokio::test]
async fn the_log_is_moved_to_the_file_between_commits() {
    let (dir, store) = open();
    let large = "x".repeat(1 << 20);
    // Twice what the log may hold when the next command always waits already.
    for _ in 0..64 {
        store.append_audit(&entry(&large)).await.unwrap();
    }
    let log = std::fs::metadata(dir.path().join("skill.db-wal")).unwrap().len();
    let file = std::fs::metadata(dir.path().join("skill.db")).unwrap().len();
    assert!(log < 36 << 20 && 30 << 20 < file, "{log} bytes in the log, {file} in the file");
}

#[tokio::test]
async fn a_broken_disk_ends_writing_until_the_file_is_opened_again() {
    let (dir, store) = open();
    store.append_audit(&entry("before")).await.unwrap();
    let error = store.write::<()>(|c| {
        row::execute(c, "INSERT INTO owners VALUES ('lost', NULL, 0)", [])?;
        let error = ffi::Error::new(ffi::SQLITE_IOERR_FSYNC);
        Err(rusqlite::Error::SqliteFailure(error, None).into())
    });
    assert_eq!(error.await.unwrap_err().kind(), ErrorKind::Unavailable);
    for _ in 0..2 {
        let error = store.append_audit(&entry("after")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(store.ping().await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(entries(&store).await, 1);
    drop(store);
    let store = SqliteStore::open(&dir.path().join("skill.db")).unwrap();
    let owners = |c: &Connection| row::count(c, "SELECT count(*) FROM owners", []);
    assert_eq!(store.read(owners).await.unwrap(), 0);
    store.append_audit(&entry("after")).await.unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_of_ours() {
    let (_dir, store) = open();
    let sql = "INSERT INTO audit (at_us, actor, owner, event, target, outcome)
               VALUES (0, 'nobody', 'default', '', '', '')";
    store.write(move |c| row::execute(c, sql, [])).await.unwrap();
    let error = store.audit(&OwnerId::standard(), 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.log_line().contains("actor"), "{}", error.log_line());
}

#[tokio::test]
async fn the_audit_cannot_be_changed() {
    let (_dir, store) = open();
    store.append_audit(&entry("kept")).await.unwrap();
    for sql in ["DELETE FROM audit", "UPDATE audit SET target = ''"] {
        assert!(store.write(move |c| row::execute(c, sql, [])).await.is_err());
    }
    assert_eq!(store.audit(&OwnerId::standard(), 9).await.unwrap(), [entry("kept")]);
}
