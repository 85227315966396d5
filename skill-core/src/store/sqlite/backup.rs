//! A copy of the file, while another process works on it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{failure::Work, file, row::all};
use crate::error::{Error, ErrorKind, Result};

/// What stands in a copy.
///
/// ```
/// use skill_core::store::sqlite::Copied;
/// fn needs(copy: &Copied) -> &[u32] { &copy.keys }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The number of its schema.
    pub schema: u32,
    /// The epoch of the store that was copied.
    pub epoch: String,
    /// The versions of the keys that its values are sealed with.
    pub keys: Vec<u32>,
}

/// Writes everything that stands in the store at `path` to `copy`, which must not be there: one
/// moment of it, whoever works on it meanwhile. Blocks.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when either file cannot be read or written.
pub fn copy(path: &Path, copy: &Path) -> Result<Copied> {
    let connect = || -> Work<_> {
        // Another process may have died over the file: then its log has to be read, which writes.
        let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, access)?;
        connection.busy_timeout(file::BUSY)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        // The log belongs to whoever works on the file.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    };
    let connection = connect().map_err(|failure| file::opening(path, failure))?;
    let room = "a copy of the store cannot be written: is there room for it?";
    file::copy(&connection, copy, room)?;
    let facts = || -> Work<_> {
        let copied = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let schema = copied.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let sql = "SELECT name, value FROM meta WHERE name = 'epoch' OR name LIKE 'seal_check_%'";
        let facts =
            all(&copied, sql, [], |cells| Ok((cells.next::<String>()?, cells.next::<Vec<u8>>()?)))?;
        Ok((schema, facts))
    };
    let (schema, facts) = facts().map_err(|failure| file::opening(copy, failure))?;
    let epoch = facts.iter().find(|(name, _)| name == "epoch");
    let epoch = epoch.and_then(|(_, value)| String::from_utf8(value.clone()).ok());
    let epoch =
        epoch.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the store has no epoch"))?;
    let keys = facts.iter().filter_map(|(name, _)| name.strip_prefix("seal_check_")?.parse().ok());
    let mut keys: Vec<u32> = keys.collect();
    keys.sort_unstable();
    Ok(Copied { schema, epoch, keys })
}
