//! Why work on the database ended badly, and what the caller and the log hear of it.

use std::{any::Any, io, panic::AssertUnwindSafe};

use rusqlite::{ErrorCode, ffi};

use crate::error::{Error, ErrorKind, Retry};

/// What work on the database returns.
pub(super) type Work<T> = Result<T, Failure>;

pub(super) enum Failure {
    /// SQLite said no.
    Sqlite(rusqlite::Error),
    /// We said no, or met a record that cannot be read.
    Ours(Error),
    /// The disk failed before: what it holds is unknown until the file is opened again.
    Stopped,
    /// The transaction was undone because of other work in it.
    Undone,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Failure {
    /// A stored value that no program of ours wrote.
    pub(super) fn unreadable(what: &str) -> Self {
        Self::Ours(Error::internal(format_args!("a stored {what} cannot be read")))
    }

    /// Whether the disk failed. A sync that failed once may seem to work when it is repeated,
    /// although the pages never reached the disk: so nothing is repeated.
    pub(super) fn is_of_the_disk(&self) -> bool {
        let Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) = self else { return false };
        // These concern shared memory, which is built anew from the log at any time.
        let is_of_memory = matches!(
            error.extended_code,
            ffi::SQLITE_IOERR_NOMEM
                | ffi::SQLITE_IOERR_SHMOPEN
                | ffi::SQLITE_IOERR_SHMSIZE
                | ffi::SQLITE_IOERR_SHMMAP
                | ffi::SQLITE_IOERR_SHMLOCK
        );
        error.code == ErrorCode::SystemIoFailure && !is_of_memory
    }

    /// What the caller hears; the log hears the rest.
    pub(super) fn error(&self) -> Error {
        match self {
            Self::Sqlite(cause) => of_sqlite(cause).with("cause", cause),
            Self::Ours(error) => Error::internal(error.log_line()),
            Self::Stopped => Error::new(
                ErrorKind::Unavailable,
                "the store stopped writing after an error of its disk: restart the program",
            )
            .retry(Retry::Safe),
            Self::Undone => unavailable().retry(Retry::Safe),
        }
    }

    /// As [`Failure::error`], with our own errors as they are.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Ours(error) => error,
            Self::Sqlite(_) | Self::Stopped | Self::Undone => self.error(),
        }
    }
}

/// An error that says nothing but that the store does not answer.
pub(super) fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "the store does not answer at this moment")
}

/// The system has no thread to give.
pub(super) fn no_thread(cause: &io::Error) -> Error {
    unavailable().with("what", "no thread").with("cause", cause)
}

fn of_sqlite(cause: &rusqlite::Error) -> Error {
    match cause.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            Error::new(ErrorKind::Unavailable, "the store is full").retry(Retry::Safe)
        }
        Some(code) if is_of_the_moment(code) => unavailable().retry(Retry::IfIdempotent),
        Some(_) => Error::internal("the database refused a statement"),
        None => Error::internal("a stored record cannot be read"),
    }
}

/// Whether the same work may well succeed later.
fn is_of_the_moment(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::OperationInterrupted
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed
    )
}

/// Runs `work`; a panic in it is a failure like any other, and the thread lives on.
pub(super) fn caught<T>(work: impl FnOnce() -> Work<T>) -> Work<T> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = said(&*panic);
        Err(Error::internal(format_args!("work on the store panicked: {said}")).into())
    })
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
