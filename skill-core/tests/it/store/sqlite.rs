//! SQLite: the suite, and what only a file can show.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use skill_core::{
    ErrorKind,
    name::OwnerId,
    record::audit::{Actor, Entry},
    store::{
        AuditStore, MetaStore, Store,
        sqlite::{SCHEMA, SqliteStore},
        suite,
    },
};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Names the file to a child that writes until it is killed.
const CHILD: &str = "SKILL_TEST_STORE";

fn open() -> (TempDir, Arc<dyn Store>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&dir.path().join("skill.db")).unwrap());
    (dir, store)
}

skill_core::for_each_store_case!(cases);

fn entry(n: usize) -> Entry {
    let at = jiff::Timestamp::UNIX_EPOCH;
    Entry::new(at, Actor::System, OwnerId::standard()).event("test").target(n)
}

#[tokio::test]
async fn what_was_kept_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("skill.db");
    let reopen = async || Arc::new(SqliteStore::open(&path).unwrap()) as Arc<dyn Store>;
    Box::pin(suite::survives_reopening(reopen)).await;
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("skill.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    store.append_audit(&entry(0)).await.unwrap();
    let mut names = Vec::new();
    for file in fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["skill.db", "skill.db-shm", "skill.db-wal", "skill.db.lock"]);
}

#[tokio::test]
async fn one_opener_has_the_file_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("skill.db");
    let first = SqliteStore::open(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "the data directory is in use by another process");
    first.ping().await.unwrap();
    drop(first);
    SqliteStore::open(&path).unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn a_file_of_a_later_program_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("skill.db");
    drop(SqliteStore::open(&path).unwrap());
    // The schema's number stands at offset 60 of a SQLite file.
    let mut bytes = fs::read(&path).unwrap();
    bytes[60..64].copy_from_slice(&(SCHEMA + 1).to_be_bytes());
    fs::write(&path, &bytes).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let (later, known) = (SCHEMA + 1, SCHEMA);
    let message = format!(
        "the store is at schema {later}, this program knows {known}: \
         use the newer program, or restore a backup"
    );
    assert_eq!(error.message(), message);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn what_is_no_store_is_refused_without_naming_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("skill.db");
    fs::write(&path, "not a database at all, but long enough to be one".repeat(99)).unwrap();
    for wrong in [path.as_path(), &dir.path().join("missing/skill.db"), Path::new("/")] {
        let error = SqliteStore::open(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.log_line());
        assert!(!error.message().contains('/'), "{}", error.message());
        assert!(!error.message().contains("skill.db"), "{}", error.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_writers_share_commits() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&dir.path().join("skill.db")).unwrap());
    let mut writers = JoinSet::new();
    for n in 0..1000 {
        let store = store.clone();
        writers.spawn(async move { store.append_audit(&entry(n)).await.unwrap() });
    }
    writers.join_all().await;
    assert_eq!(store.audit(&OwnerId::standard(), 2000).await.unwrap().len(), 1000);
    assert!(store.commits() < 200, "{} commits", store.commits());
}

/// Not a test of its own: the process that the next one kills.
#[tokio::test]
async fn a_child_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = SqliteStore::open(Path::new(&path)).unwrap();
    for n in 0.. {
        store.append_audit(&entry(n)).await.unwrap();
        println!("kept {n}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("skill.db");
    let name = format!("{}::a_child_writes_until_it_is_killed", module_path!());
    let name = name.split_once("::").unwrap().1;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, &path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut lines = lines.filter_map(|line| line.split_once("kept ")?.1.parse::<usize>().ok());
    let taken = lines.nth(60).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert_eq!(error.message(), "the data directory is in use by another process");
    child.kill().unwrap();
    child.wait().unwrap();
    let last = lines.last().unwrap_or(taken);
    let store = SqliteStore::open(&path).unwrap();
    let kept = store.audit(&OwnerId::standard(), 100_000).await.unwrap();
    assert!(kept.len() > last, "{} kept, {last} acknowledged", kept.len());
    assert!(kept.iter().rev().enumerate().all(|(n, kept)| *kept == entry(n)));
}
