//! Brings a file to the schema that this program knows.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{
    failure::{Failure, Work},
    file,
};
use crate::{
    error::{Error, ErrorKind, Result},
    id,
};

/// The steps, in order. The schema's number is how many of them a file has seen.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_init.sql"),
    include_str!("../../../migrations/sqlite/0002_queue.sql"),
    include_str!("../../../migrations/sqlite/0003_webhooks.sql"),
    include_str!("../../../migrations/sqlite/0004_deliveries.sql"),
    include_str!("../../../migrations/sqlite/0005_accounts.sql"),
    include_str!("../../../migrations/sqlite/0006_restored.sql"),
    include_str!("../../../migrations/sqlite/0008_agents.sql"),
    include_str!("../../../migrations/sqlite/0009_schedules.sql"),
];

/// The number of the schema that this program writes.
pub const SCHEMA: u32 = MIGRATIONS.len() as u32;

/// Applies what the file at `path` has not seen, all of it or nothing. What stood in it before is
/// copied first, to `PATH.schema-N`: an older program can go on with that.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when the file is newer than the program or cannot be changed, or when
/// there is no room for the copy.
pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<()> {
    let steps = || -> Work<()> {
        let (found, known) = (version(connection)?, MIGRATIONS.len());
        if known < found {
            return Err(too_new(found, known, kept_copy(path, known).as_deref()).into());
        }
        if (1..known).contains(&found) {
            let copy = copy_of(path, found);
            let trouble = "a copy of the store cannot be written before its schema is changed: \
                           is there room for it beside the file?";
            file::copy(connection, &copy, trouble)?;
            let copy = copy.display();
            tracing::warn!("the store goes from schema {found} to {known}; as it was: {copy}");
        }
        apply(connection, MIGRATIONS)
    };
    steps().map_err(|failure| match failure {
        Failure::Ours(error) => error,
        Failure::Sqlite(_) | Failure::Stopped | Failure::Undone => {
            Error::new(ErrorKind::Unavailable, "the store's file cannot be opened as a store")
                .with("cause", failure.error().log_line())
        }
    })
}

/// How many steps the file has seen.
fn version(connection: &Connection) -> Work<usize> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))? as usize)
}

/// Where the file is kept as it was at a schema.
fn copy_of(path: &Path, schema: usize) -> PathBuf {
    path.with_added_extension(format!("schema-{schema}"))
}

/// The latest copy that a program can read that knows so many steps.
fn kept_copy(path: &Path, known: usize) -> Option<PathBuf> {
    let mut copies = (1..=known).rev().map(|schema| copy_of(path, schema));
    copies.find(|copy| copy.exists())
}

fn too_new(found: usize, known: usize, copy: Option<&Path>) -> Error {
    let way_back = match copy {
        Some(copy) => format!("put {} in its place, which is as it was before", copy.display()),
        None => "restore a backup".to_owned(),
    };
    let message = format!(
        "the store is at schema {found}, this program knows {known}: \
         use the newer program, or {way_back}"
    );
    Error::new(ErrorKind::Unavailable, message)
}

fn apply(connection: &Connection, steps: &[&str]) -> Work<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    let known = steps.len();
    let Some(missing) = steps.get(found..) else {
        return Err(too_new(found, known, None).into());
    };
    for step in missing {
        transaction.execute_batch(step)?;
    }
    if found == 0 {
        let epoch = HEXLOWER.encode(&id::random::<16>()?).into_bytes();
        transaction.execute("INSERT INTO meta (name, value) VALUES ('epoch', ?1)", [epoch])?;
    }
    if !missing.is_empty() {
        transaction.pragma_update(None, "user_version", known as i64)?;
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// The SHA-256 of every step that was released. Add to it; never change it.
    const RELEASED: &[&str] = &[
        "e7b2144a028fa43107b8d9a06af07679a8ed57f2f7107b52f6126bf4ad88a12f",
        "6f29f63ea02bc8ae4f43013395bc0372b3d4699dd80a0e082dc0d946fd796d34",
        "896ab864dd0d1e82d692f16f16ce879383374a96040406b32ffc2256323ab5e5",
        "2256cb6f5cf94315354e6d06223a37a7e5205197ad4ee63c59723bce816f2871",
        "bee65dfcd9eb546a2330854513387aa20574c0b07a703fc51b968fe73088803c",
        "214070c4f6959e6fc2594881bc018144840f70ff123221fbb15898918866707d",
        "5dadac6892a5bf7fd927f7ca2a3ba4ab1016654c8c9a95d046ed813292a8d712",
        "22f3b1350e09451aaea1130e92e664a61b6eacf52be7957700c2e0adca49cda0",
    ];

    #[test]
    fn released_migrations_never_change() {
        let hashes: Vec<_> =
            MIGRATIONS.iter().map(|sql| HEXLOWER.encode(&Sha256::digest(sql.as_bytes()))).collect();
        assert_eq!(hashes, RELEASED);
    }

    #[test]
    fn a_file_is_brought_up_step_by_step() {
        let connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE meta (name, value)", "CREATE TABLE b (x)"];
        assert!(apply(&connection, &steps[..1]).is_ok());
        let epoch = |c: &Connection| {
            c.query_row("SELECT value FROM meta", [], |row| row.get::<_, Vec<u8>>(0)).unwrap()
        };
        let first = epoch(&connection);
        assert!(apply(&connection, &steps).is_ok());
        assert!(apply(&connection, &steps).is_ok());
        assert_eq!((version(&connection).ok(), epoch(&connection)), (Some(2), first));
    }

    #[test]
    fn a_step_that_breaks_changes_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE meta (name, value)", "CREATE TABLE b (x); SELECT nonsense"];
        assert!(apply(&connection, &steps).is_err());
        assert_eq!(version(&connection).ok(), Some(0));
        assert!(connection.prepare("SELECT * FROM meta").is_err());
    }

    #[test]
    fn runs_outlive_the_step_that_makes_the_queue() {
        let connection = Connection::open_in_memory().unwrap();
        assert!(apply(&connection, &MIGRATIONS[..1]).is_ok());
        let run = "INSERT INTO executions (owner, id, user_id, namespace, name, revision, class,
                       parent_id, state, created_at_us, ended_at_us) VALUES ";
        let rows = "('a', 'exec_3', NULL, 'my_crm', 'x', 'r1', 'read', NULL, 'success', 3, 30),
                    ('a', 'exec_1', 'ann', 'my-crm', 'x', 'r1', 'read', NULL, 'success', 1, 10),
                    ('a', 'exec_2', NULL, 'my_crm', 'x', 'r1', 'read', NULL, 'running', 2, NULL),
                    ('a', 'exec_4', NULL, 'my_crm', 'x', 'r1', 'read', 'exec_1', 'error', 4, 40)";
        connection.execute_batch(&format!("{run}{rows}")).unwrap();
        assert!(apply(&connection, MIGRATIONS).is_ok());
        let text =
            |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        let sql = "SELECT group_concat(id || coalesce(lease_until_us, '-'), ' ' ORDER BY row)
                   FROM executions";
        assert_eq!(text(sql), "exec_1- exec_22 exec_3- exec_4-");
        let sql = "SELECT group_concat(user_id || state || runs, ' ') FROM execution_counts";
        assert_eq!(text(sql), "running1 success2 annsuccess1");
    }

    #[test]
    fn what_stood_in_the_file_before_is_kept_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("skill.db");
        let connection = Connection::open(&path).unwrap();
        assert!(apply(&connection, &MIGRATIONS[..1]).is_ok());
        connection.execute("INSERT INTO owners VALUES ('acme', NULL, 7)", []).unwrap();
        migrate(&connection, &path).unwrap();
        assert_eq!(version(&connection).ok(), Some(MIGRATIONS.len()));
        let before = Connection::open(dir.path().join("skill.db.schema-1")).unwrap();
        assert_eq!(version(&before).ok(), Some(1));
        let owners = "SELECT count(*) FROM owners WHERE id = 'acme'";
        assert_eq!(before.query_row(owners, [], |row| row.get(0)), Ok(1));
        // A second start finds nothing to do, and a fresh file has nothing to keep.
        migrate(&connection, &path).unwrap();
        let fresh = Connection::open(dir.path().join("fresh.db")).unwrap();
        migrate(&fresh, &dir.path().join("fresh.db")).unwrap();
        let names = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 3);
    }

    #[test]
    fn an_older_program_names_both_schemas_and_the_copy_it_can_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("skill.db");
        let connection = Connection::open(&path).unwrap();
        let newer = MIGRATIONS.len() + 1;
        connection.pragma_update(None, "user_version", newer as i64).unwrap();
        let refused = || migrate(&connection, &path).unwrap_err().message().to_owned();
        let schemas = format!("is at schema {newer}, this program knows {}", MIGRATIONS.len());
        let plain = refused();
        assert!(plain.contains(&schemas) && plain.contains("restore a backup"), "{plain}");
        for schema in [1, 2, newer] {
            std::fs::write(copy_of(&path, schema), "").unwrap();
        }
        let named = refused();
        let copy = copy_of(&path, 2).display().to_string();
        assert!(named.contains(&schemas) && named.contains(&copy), "{named}");
        assert!(!named.contains('\n'), "{named}");
    }
}
