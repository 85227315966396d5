//! Counts that a commit changes: of runs by action and state, for listings, and of the runs that
//! wait, for the queue's depth. They are summed up beside the connection and written once for all
//! commands of a commit.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    hash::Hash,
    ops::Deref,
    sync::Arc,
};

use rusqlite::{Connection, params};
use tokio::sync::Notify;

use super::{
    failure::Work,
    lease::Leased,
    row::{Cells, all, execute},
};
use crate::{
    name::{ActionName, OwnerId, UserId},
    record::execution::{Execution, State},
};

/// The connection that writes, with the counts of the commit that is being made.
pub(super) struct Session {
    connection: Connection,
    tally: RefCell<Tally>,
    /// The runs that somebody holds.
    pub(super) leased: Leased,
    /// The owners who want to be told about anything, once somebody asked.
    subscribers: RefCell<Option<HashSet<OwnerId>>>,
    /// A delivery was kept in the commit that is being made.
    has_news: Cell<bool>,
    /// Hears of it when the commit is made.
    stirred: Arc<Notify>,
}

/// Under which a listing counts.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Count {
    owner: OwnerId,
    user: Option<UserId>,
    action: ActionName,
    state: State,
}

#[derive(Default)]
struct Tally {
    /// The runs that wait by owner, as the file has them.
    waiting: HashMap<OwnerId, i64>,
    /// What the commands of this commit changed.
    group: Changes,
    /// What the command that is being done changed.
    command: Changes,
}

#[derive(Default)]
struct Changes {
    counts: HashMap<Count, i64>,
    waiting: HashMap<OwnerId, i64>,
}

impl Session {
    /// Takes the connection, and reads what waits in the file.
    pub(super) fn of(connection: Connection, stirred: Arc<Notify>) -> Work<Self> {
        let read = |cells: &mut Cells<'_>| {
            Ok((cells.parsed(|text| OwnerId::parse(text).ok())?, cells.next::<i64>()?))
        };
        let sql = "SELECT owner, sum(waiting) FROM (
                       SELECT owner, count(*) AS waiting
                       FROM executions INDEXED BY executions_ready
                       WHERE state = 'queued' AND is_delayed = 0 GROUP BY owner
                       UNION ALL
                       SELECT owner, count(*) FROM executions INDEXED BY executions_delayed
                       WHERE state = 'queued' AND is_delayed = 1 GROUP BY owner)
                   GROUP BY owner";
        let waiting = all(&connection, sql, [], read)?.into_iter().collect();
        let tally = RefCell::new(Tally { waiting, ..Tally::default() });
        let (subscribers, has_news) = (RefCell::new(None), Cell::new(false));
        let leased = Leased::default();
        Ok(Self { connection, tally, leased, subscribers, has_news, stirred })
    }

    /// Whether the owner wants to be told about anything: hardly anybody does, and every run that
    /// ends asks.
    pub(super) fn has_subscriber(&self, owner: &OwnerId) -> Work<bool> {
        if let Some(known) = &*self.subscribers.borrow() {
            return Ok(known.contains(owner));
        }
        let read = |cells: &mut Cells<'_>| cells.parsed(|text| OwnerId::parse(text).ok());
        let sql = "SELECT DISTINCT owner FROM webhooks WHERE disabled_at_us IS NULL";
        let known = all(&self.connection, sql, [], read)?.into_iter().collect::<HashSet<_>>();
        let has = known.contains(owner);
        *self.subscribers.borrow_mut() = Some(known);
        Ok(has)
    }

    /// A subscription is changed: who has one is looked up anew.
    pub(super) fn forget_subscribers(&self) {
        *self.subscribers.borrow_mut() = None;
    }

    /// A delivery is kept: whoever sends them hears of it after the commit.
    pub(super) fn stir(&self) {
        self.has_news.set(true);
    }

    /// Notes that the run, as it stands with `to`, stood with `from` before.
    pub(super) fn moved(&self, run: &Execution, from: Option<State>, to: Option<State>) {
        let changes = &mut self.tally.borrow_mut().command;
        for (state, change) in [(from, -1), (to, 1)] {
            let Some(state) = state else { continue };
            if state == State::Queued {
                add(&mut changes.waiting, run.owner.clone(), change);
            }
            if run.parent.is_some() {
                continue;
            }
            let (owner, action) = (run.owner.clone(), run.action.clone());
            let everybodys = Count { owner, user: None, action, state };
            if run.user.is_some() {
                let theirs = Count { user: run.user.clone(), ..everybodys.clone() };
                add(&mut changes.counts, theirs, change);
            }
            add(&mut changes.counts, everybodys, change);
        }
    }

    /// How many runs of the owner wait.
    pub(super) fn waiting(&self, owner: &OwnerId) -> u64 {
        let tally = self.tally.borrow();
        let parts = [&tally.waiting, &tally.group.waiting, &tally.command.waiting];
        let waiting = parts.into_iter().filter_map(|part| part.get(owner)).sum::<i64>();
        u64::try_from(waiting).unwrap_or(0)
    }

    /// The command is part of the commit.
    pub(super) fn keep_command(&self) {
        let tally = &mut *self.tally.borrow_mut();
        merge(&mut tally.group.counts, &mut tally.command.counts);
        merge(&mut tally.group.waiting, &mut tally.command.waiting);
    }

    /// The command was undone.
    pub(super) fn forget_command(&self) {
        self.tally.borrow_mut().command = Changes::default();
        self.leased.forget_all();
        self.forget_subscribers();
    }

    /// Writes what the commands changed.
    pub(super) fn write_counts(&self) -> Work<()> {
        let mut tally = self.tally.borrow_mut();
        for (count, change) in tally.group.counts.drain().filter(|(_, change)| *change != 0) {
            let sql = "INSERT INTO execution_counts VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                       ON CONFLICT DO UPDATE SET runs = runs + excluded.runs";
            let values = params![
                count.owner.as_str(),
                count.user.as_ref().map_or("", UserId::as_str),
                count.action.namespace.canonical(),
                count.action.name.canonical(),
                count.state.as_str(),
                change,
            ];
            execute(&self.connection, sql, values)?;
        }
        Ok(())
    }

    /// The commit is made.
    pub(super) fn keep_commit(&self) {
        let tally = &mut *self.tally.borrow_mut();
        merge(&mut tally.waiting, &mut tally.group.waiting);
        tally.waiting.retain(|_, waiting| *waiting != 0);
        if self.has_news.take() {
            self.stirred.notify_one();
        }
    }

    /// The commit was undone.
    pub(super) fn forget_commit(&self) {
        let tally = &mut *self.tally.borrow_mut();
        (tally.group, tally.command) = (Changes::default(), Changes::default());
        self.has_news.set(false);
        self.leased.forget_all();
        self.forget_subscribers();
    }
}

impl Deref for Session {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

fn add<K: Eq + Hash>(sums: &mut HashMap<K, i64>, key: K, change: i64) {
    *sums.entry(key).or_default() += change;
}

fn merge<K: Eq + Hash>(into: &mut HashMap<K, i64>, from: &mut HashMap<K, i64>) {
    from.drain().for_each(|(key, change)| add(into, key, change));
}
