//! What only the inside of the store shows: its settings, and work that ends badly.

use rusqlite::ffi;
use tempfile::TempDir;

use super::{failure::Failure, *};
use crate::{
    error::{Error, ErrorKind},
    name::OwnerId,
    record::audit::{Actor, Entry},
    store::{AuditStore, MetaStore},
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

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let (_dir, store) = open();
    let limit = |pages: i64| {
        store.write(move |c| {
            let set = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            Ok(c.pragma_update_and_check(None, "max_page_count", pages, set)?)
        })
    };
    limit(1).await.unwrap();
    let large = "x".repeat(1 << 20);
    let error = store.append_audit(&entry(&large)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "the store is full");
    assert_eq!(entries(&store).await, 0);
    limit(1_000_000).await.unwrap();
    store.append_audit(&entry(&large)).await.unwrap();
    assert_eq!(entries(&store).await, 1);
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
