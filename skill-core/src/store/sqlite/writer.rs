//! The thread that writes: everything that waits is committed at once.
//!
//! A commit costs a sync of the disk, whatever it holds, so a group of commands shares one. Each
//! stands alone nevertheless: one that ends badly is undone without the others.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use rusqlite::config::DbConfig;
use tokio::sync::{mpsc, oneshot};

use super::{
    failure::{Failure, Work, caught, no_thread, unavailable},
    row,
    tally::Session,
};
use crate::error::{Error, Result};

/// The most commands in one commit.
const GROUP: usize = 256;
/// The most commands that wait; further callers wait for room.
const WAITING: usize = 1024;
/// From how many pages on the write-ahead log is moved to the file when nobody waits.
const LOG_PAGES: i64 = 4_000;
/// From how many pages on it is moved although somebody waits.
const MOST_LOG_PAGES: i64 = 8_000;

pub(super) struct Writer {
    commands: Option<mpsc::Sender<Waiter>>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread, which holds the `lock` until its connection is closed.
    pub(super) fn start(session: Session, lock: File) -> Result<Self> {
        let (commands, waiting) = mpsc::channel(WAITING);
        let commits = Arc::new(AtomicU64::new(0));
        let writing = Writing { session, commits: commits.clone(), is_stopped: false };
        let thread = thread::Builder::new().name("store-writer".into()).spawn(move || {
            writing.serve(waiting);
            // Closing would do, but for a child process that is being started: it holds a copy.
            lock.unlock().unwrap_or_else(|cause| tracing::warn!(%cause, "the store stays locked"));
        });
        let thread = thread.map_err(|cause| no_thread(&cause))?;
        Ok(Self { commands: Some(commands), thread: Some(thread), commits })
    }

    /// How many transactions were committed.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Does `work` as one transaction; returns after the commit.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnMut(&Session) -> Work<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let command = Box::new(Waiting { work, found: None, reply });
        let Some(commands) = &self.commands else { return Err(gone()) };
        commands.send(command).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.commands = None;
        // A thread that panicked has said so already.
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}

fn gone() -> Error {
    unavailable().with("what", "the thread that writes has ended")
}

type Waiter = Box<dyn Command>;
/// The commands of one commit.
type Group = Vec<Waiter>;

/// Work that waits for its commit, whatever it returns.
trait Command: Send {
    /// Whether anybody waits for the answer.
    fn is_wanted(&self) -> bool;
    /// Does the work and keeps what it found. Done again when what it wrote was undone.
    fn run(&mut self, session: &Session) -> Ended;
    /// Answers, after the commit ended so.
    fn answer(self: Box<Self>, commit: &Work<()>);
}

/// How a command ended.
enum Ended {
    Well,
    /// What it wrote has to be undone.
    Badly,
    /// The disk failed under it; what the log hears of it.
    ByTheDisk(String),
}

struct Waiting<T, F> {
    work: F,
    found: Option<Work<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Command for Waiting<T, F>
where
    T: Send,
    F: FnMut(&Session) -> Work<T> + Send,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, session: &Session) -> Ended {
        match self.found.insert(caught(|| (self.work)(session))) {
            Ok(_) => Ended::Well,
            Err(failure) if failure.is_of_the_disk() => {
                Ended::ByTheDisk(failure.error().log_line())
            }
            Err(_) => Ended::Badly,
        }
    }

    fn answer(self: Box<Self>, commit: &Work<()>) {
        let answer = match (commit, self.found) {
            (Ok(()), Some(found)) => found.map_err(Failure::into_error),
            (Ok(()), None) => Err(gone()),
            // The one that made SQLite undo the others says why.
            (Err(Failure::Undone), Some(Err(own @ Failure::Sqlite(_)))) => Err(own.error()),
            (Err(failure), _) => Err(failure.error()),
        };
        // Whoever asked may have gone meanwhile.
        drop(self.reply.send(answer));
    }
}

/// What the thread owns.
struct Writing {
    session: Session,
    commits: Arc<AtomicU64>,
    is_stopped: bool,
}

impl Writing {
    fn serve(mut self, mut waiting: mpsc::Receiver<Waiter>) {
        let mut group = Vec::with_capacity(GROUP);
        while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
            group.retain(|command| command.is_wanted());
            let commit = self.commit(&mut group, &mut waiting);
            group.drain(..).for_each(|command| command.answer(&commit));
            match commit {
                Ok(()) if waiting.is_empty() => self.checkpoint(LOG_PAGES),
                Ok(()) => self.checkpoint(MOST_LOG_PAGES),
                Err(_) if self.is_stopped => {}
                // On a full disk there may be room for it in the file.
                Err(_) => self.checkpoint(1),
            }
        }
        if !self.is_stopped {
            let cut = self.session.pragma_update(None, "wal_checkpoint", "truncate");
            cut.unwrap_or_else(|cause| tracing::warn!(%cause, "the store keeps its log"));
        }
    }

    /// Moves the write-ahead log to the file when it has so many pages. One that failed is tried
    /// again after the next commit, unless the disk is broken: then the log is all there is.
    fn checkpoint(&mut self, most: i64) {
        let pages = |sql| {
            row::first(&self.session, sql, [], |cells| {
                Ok((cells.next::<i64>()?, cells.next::<i64>()?).1)
            })
        };
        let moved = pages("PRAGMA wal_checkpoint(noop)").and_then(|found| {
            if found.is_some_and(|found| most <= found) {
                pages("PRAGMA wal_checkpoint(passive)")?;
            }
            Ok(())
        });
        let Err(failure) = moved else { return };
        let cause = failure.error().log_line();
        if failure.is_of_the_disk() {
            self.stop(&cause);
        } else {
            tracing::warn!(cause, "the store's log was not moved to its file yet");
        }
    }

    /// Commits the group and what comes meanwhile, or nothing of it.
    fn commit(&mut self, group: &mut Group, waiting: &mut mpsc::Receiver<Waiter>) -> Work<()> {
        if self.is_stopped {
            return Err(Failure::Stopped);
        }
        let ended = self.attempt(group, waiting);
        if let Err(failure) = &ended
            && failure.is_of_the_disk()
        {
            self.stop(&failure.error().log_line());
        }
        if !self.session.is_autocommit()
            && let Err(failure) = self.execute("ROLLBACK")
        {
            self.stop(&failure.error().log_line());
        }
        if ended.is_err() {
            self.session.forget_commit();
        }
        ended
    }

    fn attempt(&mut self, group: &mut Group, waiting: &mut mpsc::Receiver<Waiter>) -> Work<()> {
        if group.is_empty() {
            return Ok(());
        }
        // Hardly any command ends badly, and savepoints cost more than most commands do: so the
        // group is tried without them first.
        self.execute("BEGIN IMMEDIATE")?;
        if !self.run_together(group, waiting)? {
            self.execute("ROLLBACK")?;
            self.session.forget_commit();
            self.execute("BEGIN IMMEDIATE")?;
            self.run_apart(group)?;
        }
        self.session.write_counts()?;
        self.execute("COMMIT")?;
        self.session.keep_commit();
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Runs the commands, and those that come meanwhile, until one ends badly; whether none did.
    fn run_together(
        &mut self,
        group: &mut Group,
        waiting: &mut mpsc::Receiver<Waiter>,
    ) -> Work<bool> {
        let mut done = 0;
        while let Some(command) = group.get_mut(done) {
            match command.run(&self.session) {
                Ended::Well => self.session.keep_command(),
                Ended::Badly if self.session.is_autocommit() => return Err(Failure::Undone),
                Ended::Badly => return Ok(false),
                Ended::ByTheDisk(cause) => return Err(self.stopped(&cause)),
            }
            done += 1;
            if done == group.len() && done < GROUP {
                group.extend(waiting.try_recv().ok().filter(|command| command.is_wanted()));
            }
        }
        Ok(true)
    }

    /// Runs the commands, and undoes those that end badly without the others.
    fn run_apart(&mut self, group: &mut Group) -> Work<()> {
        for command in group {
            self.execute("SAVEPOINT command")?;
            match command.run(&self.session) {
                Ended::Well => self.session.keep_command(),
                // Some errors make SQLite undo the whole transaction.
                Ended::Badly if self.session.is_autocommit() => return Err(Failure::Undone),
                Ended::Badly => {
                    self.session.forget_command();
                    self.execute("ROLLBACK TO command")?;
                }
                Ended::ByTheDisk(cause) => return Err(self.stopped(&cause)),
            }
            self.execute("RELEASE command")?;
        }
        Ok(())
    }

    fn stopped(&mut self, cause: &str) -> Failure {
        self.stop(cause);
        Failure::Stopped
    }

    fn execute(&self, sql: &str) -> Work<()> {
        row::execute(&self.session, sql, []).map(drop)
    }

    /// Writes nothing any more until the file is opened again.
    fn stop(&mut self, cause: &str) {
        self.is_stopped = true;
        tracing::error!(cause, "the store stopped writing: its disk failed");
        // The log is read again when the file is opened again.
        let stays = self.session.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        stays.map_or_else(|cause| tracing::error!(%cause, "the log may be lost"), drop);
    }
}
