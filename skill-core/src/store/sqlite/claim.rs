//! Which runs are claimed: lanes in turns, each found by a jump in the index of what is ready.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
};

use rusqlite::params;

use super::{
    execution::{read, select},
    failure::{Failure, Work},
    lease::Known,
    row::{Cells, all, execute, first},
    tally::Session,
};
use crate::{
    id::ExecutionId,
    name::OwnerId,
    record::{
        execution::State,
        run::{Claim, Claimed, Enqueue, Group, Lane, Lease, Work as Needed, Worker},
        scope::Scopes,
    },
};

/// How many runs of a lane are looked up at first: often there are many lanes.
const FEW: u32 = 8;
/// The most runs that one claim finds to be due.
const MOST_DUE: u32 = 2_000;

/// A lane by owner and canonical namespace.
type Key = (String, String);

/// A run that may be claimed, in the order of its lane.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    priority: Reverse<i64>,
    run_at: i64,
    id: String,
    row: i64,
    group: String,
    most: u32,
    /// The worker that asks held it last: it has its place in the group already.
    has_place: bool,
}

/// The runs of one lane that are ready in one group, or in none.
struct Stream {
    group: String,
    found: VecDeque<Candidate>,
    /// How many were looked up so far.
    taken: u32,
    is_whole: bool,
}

struct Turn {
    lane: Key,
    streams: Vec<Stream>,
    lapsed: VecDeque<Candidate>,
}

/// How many runs of each group somebody holds; found out when it is asked for. Those of whoever asks
/// count although they have lapsed: after a jump of the clock it works on them still.
struct Busy<'a> {
    now: i64,
    asks: &'a Worker,
    held: Option<HashMap<(String, String), u32>>,
}

/// Claims what is wanted.
pub(super) fn claim(session: &Session, want: &Claim) -> Work<Vec<Claimed>> {
    let now = want.now.as_microsecond();
    let sql = "UPDATE executions SET is_delayed = 0 WHERE row IN
                   (SELECT row FROM executions INDEXED BY executions_delayed
                    WHERE state = 'queued' AND is_delayed = 1 AND run_at_us <= ?1
                    ORDER BY run_at_us LIMIT ?2)";
    execute(session, sql, params![now, MOST_DUE])?;
    let rows = pick(session, want)?;
    start(session, &rows, want)
}

/// Whether a run that is being queued can be claimed on the way.
pub(super) fn may_start(session: &Session, asked: &Enqueue, asks: &Worker) -> Work<bool> {
    let run = &asked.execution;
    if run.created_at < asked.work.run_at {
        return Ok(false);
    }
    let Some(group) = &asked.work.group else { return Ok(true) };
    let now = run.created_at.as_microsecond();
    Busy::at(now, asks).has_room(session, run.owner.as_str(), &group.name, group.most)
}

/// The rows to claim, in the order of the turns.
fn pick(session: &Session, want: &Claim) -> Work<Vec<i64>> {
    let (now, most) = (want.now.as_microsecond(), want.most as usize);
    let mut lapsed = lapsed(session, want)?;
    let mut busy = Busy::at(now, &want.worker);
    let (mut picked, mut turns) = (Vec::new(), Vec::new());
    let first = want.after.as_ref().map(key);
    let (mut at, mut has_wrapped) = (first.clone(), false);
    while picked.len() < most {
        let Some(lane) = next_lane(session, &lapsed, at.as_ref(), want)? else {
            if has_wrapped || first.is_none() {
                break;
            }
            (at, has_wrapped) = (None, true);
            continue;
        };
        if has_wrapped && first.as_ref() < Some(&lane) {
            break;
        }
        let lost = lapsed.remove(&lane).unwrap_or_default();
        at = Some(lane.clone());
        let mut turn = Turn::open(session, lane, lost)?;
        if let Some(row) = turn.next(session, &mut busy, want.most)? {
            picked.push(row);
            turns.push(turn);
        }
    }
    while picked.len() < most && !turns.is_empty() {
        let mut again = Vec::with_capacity(turns.len());
        for mut turn in turns {
            if picked.len() < most
                && let Some(row) = turn.next(session, &mut busy, want.most)?
            {
                picked.push(row);
                again.push(turn);
            }
        }
        turns = again;
    }
    Ok(picked)
}

fn key(lane: &Lane) -> Key {
    (lane.owner.as_str().to_owned(), lane.namespace.canonical().to_owned())
}

/// The runs whose lease has lapsed, by lane, each in its order.
fn lapsed(session: &Session, want: &Claim) -> Work<BTreeMap<Key, VecDeque<Candidate>>> {
    let sql = "SELECT priority, run_at_us, id, row, group_name, coalesce(group_most, 0),
                      worker = ?2, owner, namespace_canonical
               FROM executions INDEXED BY executions_running
               WHERE state = 'running' AND lease_until_us <= ?1 AND worker IS NOT NULL";
    let values = params![want.now.as_microsecond(), want.worker.0];
    let found =
        all(session, sql, values, |cells| Ok((candidate(cells)?, (cells.next()?, cells.next()?))))?;
    let mut lanes: BTreeMap<Key, VecDeque<Candidate>> = BTreeMap::new();
    for (candidate, lane) in found {
        if !want.saturated.iter().any(|owner| owner.as_str() == lane.0) {
            lanes.entry(lane).or_default().push_back(candidate);
        }
    }
    lanes.values_mut().for_each(|lane| lane.make_contiguous().sort());
    Ok(lanes)
}

fn candidate(cells: &mut Cells<'_>) -> Work<Candidate> {
    Ok(Candidate {
        priority: Reverse(cells.next()?),
        run_at: cells.next()?,
        id: cells.next()?,
        row: cells.next()?,
        group: cells.next()?,
        most: cells.next()?,
        has_place: cells.next()?,
    })
}

/// The first lane behind `at` that has something and whose owner is not saturated.
fn next_lane(
    session: &Session,
    lapsed: &BTreeMap<Key, VecDeque<Candidate>>,
    at: Option<&Key>,
    want: &Claim,
) -> Work<Option<Key>> {
    let is_saturated = |lane: &Key| want.saturated.iter().any(|owner| owner.as_str() == lane.0);
    let mut ready = match at {
        Some(at) => ready_behind(session, at)?,
        None => ready_behind_owner(session, "")?,
    };
    while let Some(lane) = ready.take_if(|lane| is_saturated(lane)) {
        ready = ready_behind_owner(session, &lane.0)?;
    }
    let behind = at.map_or(Bound::Unbounded, Bound::Excluded);
    let lost = lapsed.range((behind, Bound::Unbounded)).next().map(|(lane, _)| lane);
    Ok(match (ready, lost) {
        (Some(ready), Some(lost)) => Some(ready.min(lost.clone())),
        (ready, lost) => ready.or_else(|| lost.cloned()),
    })
}

/// The next lane in which something is ready. Two jumps: SQLite would look at every run of the lane
/// to find what is greater than a pair.
fn ready_behind(session: &Session, at: &Key) -> Work<Option<Key>> {
    let sql = "SELECT namespace_canonical FROM executions INDEXED BY executions_ready
               WHERE state = 'queued' AND is_delayed = 0 AND owner = ?1
               AND namespace_canonical > ?2 ORDER BY namespace_canonical LIMIT 1";
    match first(session, sql, [&at.0, &at.1], |cells| cells.next())? {
        Some(namespace) => Ok(Some((at.0.clone(), namespace))),
        None => ready_behind_owner(session, &at.0),
    }
}

fn ready_behind_owner(session: &Session, owner: &str) -> Work<Option<Key>> {
    let sql = "SELECT owner, namespace_canonical FROM executions INDEXED BY executions_ready
               WHERE state = 'queued' AND is_delayed = 0 AND owner > ?1
               ORDER BY owner, namespace_canonical LIMIT 1";
    first(session, sql, [owner], |cells| Ok((cells.next()?, cells.next()?)))
}

impl Turn {
    fn open(session: &Session, lane: Key, lapsed: VecDeque<Candidate>) -> Work<Self> {
        let sql = "SELECT group_name FROM executions INDEXED BY executions_ready
                   WHERE state = 'queued' AND is_delayed = 0 AND owner = ?1
                   AND namespace_canonical = ?2 AND group_name > ?3
                   ORDER BY group_name LIMIT 1";
        let mut groups = vec![String::new()];
        while let Some(group) =
            first(session, sql, params![lane.0, lane.1, groups.last()], |cells| cells.next())?
        {
            groups.push(group);
        }
        let streams = groups.into_iter().map(|group| Stream {
            group,
            found: VecDeque::new(),
            taken: 0,
            is_whole: false,
        });
        Ok(Self { streams: streams.collect(), lane, lapsed })
    }

    /// The next run of the lane that has room in its group.
    fn next(&mut self, session: &Session, busy: &mut Busy<'_>, most: u32) -> Work<Option<i64>> {
        loop {
            for stream in &mut self.streams {
                stream.fill(session, &self.lane, most)?;
            }
            let heads = self.streams.iter().enumerate();
            let heads = heads.filter_map(|(n, stream)| Some((stream.found.front()?, Some(n))));
            let heads = heads.chain(self.lapsed.front().map(|head| (head, None)));
            let Some((head, from)) = heads.min() else { return Ok(None) };
            let has_room = head.group.is_empty()
                || head.has_place
                || busy.has_room(session, &self.lane.0, &head.group, head.most)?;
            let row = head.row;
            match from {
                Some(n) if !has_room => drop(self.streams.remove(n)),
                Some(n) => drop(self.streams[n].found.pop_front()),
                None => drop(self.lapsed.pop_front()),
            }
            if has_room {
                return Ok(Some(row));
            }
        }
    }
}

impl Stream {
    /// Makes sure that the next run is known, if there is one.
    fn fill(&mut self, session: &Session, lane: &Key, most: u32) -> Work<()> {
        if self.is_whole || !self.found.is_empty() {
            return Ok(());
        }
        let sql = "SELECT priority, run_at_us, id, row, group_name, coalesce(group_most, 0), 0
                   FROM executions INDEXED BY executions_ready
                   WHERE state = 'queued' AND is_delayed = 0 AND owner = ?1
                   AND namespace_canonical = ?2 AND group_name = ?3
                   ORDER BY priority DESC, run_at_us, id LIMIT ?4 OFFSET ?5";
        let limit = if self.taken == 0 { most.min(FEW) } else { most };
        let values = params![lane.0, lane.1, self.group, limit, self.taken];
        self.found = all(session, sql, values, candidate)?.into();
        self.is_whole = self.found.len() < limit as usize;
        self.taken += limit;
        Ok(())
    }
}

impl<'a> Busy<'a> {
    fn at(now: i64, asks: &'a Worker) -> Self {
        Self { now, asks, held: None }
    }

    /// Takes a place in the group, if it has one.
    fn has_room(&mut self, session: &Session, owner: &str, group: &str, most: u32) -> Work<bool> {
        let held = match &mut self.held {
            Some(held) => held,
            empty @ None => empty.insert(held_by_group(session, self.now, self.asks)?),
        };
        let held = held.entry((owner.to_owned(), group.to_owned())).or_default();
        let has_room = *held < most;
        *held += u32::from(has_room);
        Ok(has_room)
    }
}

fn held_by_group(
    session: &Session,
    now: i64,
    asks: &Worker,
) -> Work<HashMap<(String, String), u32>> {
    let sql = "SELECT owner, group_name, count(*) FROM executions INDEXED BY executions_running
               WHERE state = 'running' AND (lease_until_us > ?1 OR worker = ?2)
               AND group_name <> ''
               GROUP BY owner, group_name";
    let held = all(session, sql, params![now, asks.0], |cells| {
        Ok(((cells.next()?, cells.next()?), cells.next()?))
    });
    Ok(held?.into_iter().collect())
}

/// Gives the runs to the worker; those that were running were lost with another one.
fn start(session: &Session, rows: &[i64], want: &Claim) -> Work<Vec<Claimed>> {
    let sql = select!(
        ", fencing, crashes, is_sent, sealed, scopes, tier, priority, run_at_us, deadline_us,
           group_name, coalesce(group_most, 0), has_key
         FROM executions JOIN execution_inputs ON run = row WHERE row = ?1"
    );
    let mut find = session.prepare_cached(sql)?;
    let sql = "UPDATE executions SET state = 'running', room = NULL, is_delayed = 0,
                   attempt = attempt + 1, fencing = fencing + 1, crashes = ?2,
                   lease_until_us = ?3, worker = ?4,
                   started_at_us = coalesce(started_at_us, ?5) WHERE row = ?1";
    let mut hold = session.prepare_cached(sql)?;
    let (until, now) = (want.until.as_microsecond(), want.now.as_microsecond());
    let start = |row: &i64| {
        let mut found = find.query([row])?;
        let cells = found.next()?.ok_or_else(|| Failure::unreadable("run"))?;
        let (mut claimed, has_key) = claimed(&mut Cells::of(cells), want)?;
        drop(found);
        let run = &mut claimed.execution;
        let was = run.state;
        claimed.crashes += u32::from(was == State::Running);
        run.state = State::Running;
        run.attempts += 1;
        run.started_at = run.started_at.or(Some(want.now));
        session.moved(run, Some(was), Some(State::Running));
        let has_steps = claimed.lease.fencing > 1;
        session.leased.remember(run.id, Known { row: *row, has_steps, has_key });
        hold.execute(params![row, claimed.crashes, until, want.worker.0, now])?;
        Ok(claimed)
    };
    rows.iter().map(start).collect()
}

fn claimed(cells: &mut Cells<'_>, want: &Claim) -> Work<(Claimed, bool)> {
    let execution = read(cells)?;
    let fencing = cells.number()? + 1;
    let (crashes, may_have_happened) = (cells.next()?, cells.next()?);
    let (owner, id): (OwnerId, ExecutionId) = (execution.owner.clone(), execution.id);
    let (worker, until) = (want.worker.clone(), want.until);
    let mut work = Needed {
        input: cells.sealed()?,
        scopes: scopes(cells)?,
        tier: cells.next()?,
        priority: cells.next()?,
        run_at: cells.time()?,
        deadline: cells.time()?,
        group: None,
    };
    let (name, most): (String, u32) = (cells.next()?, cells.next()?);
    work.group = (!name.is_empty()).then_some(Group { name, most });
    let lease = Lease { owner, id, worker, fencing, until };
    Ok((Claimed { lease, execution, work, crashes, may_have_happened }, cells.next()?))
}

fn scopes(cells: &mut Cells<'_>) -> Work<Scopes> {
    let texts: Vec<String> = cells.json()?;
    Ok(Scopes::parse(texts.iter().map(String::as_str))?)
}
