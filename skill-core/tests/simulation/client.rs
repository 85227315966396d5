//! Those who ask: they repeat what failed when they may, look again and again, change their minds,
//! and write down everything that they were told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use skill_core::{
    Engine, Error, ErrorKind, Result,
    access::{Admission, Admitted, Caller},
    call::{CallRequest, Outcome},
    clock::Deadline,
    id::ExecutionId,
    name::OwnerId,
    queue::{Invoked, OnDeadline, Run, Submission, Submitted},
    record::execution::State,
};
use tokio::time::{sleep, timeout};

use super::{cluster::Cluster, dice::Dice, upstream::Kind, walk::Move, world::World};

/// Nobody waits longer for one answer.
const PATIENCE: Duration = Duration::from_secs(45);

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Call(Kind),
    Walk(&'static str, Vec<Move>),
}

/// How it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Submit,
    Abort,
    Continue,
}

/// What one client is going to do.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) tag: String,
    pub(crate) owner: &'static str,
    pub(crate) action: Action,
    manner: Manner,
    has_key: bool,
    start: Duration,
    delay: Option<Duration>,
    priority: i16,
    timeout: Option<Duration>,
    cancels: Option<Duration>,
    looks: u64,
    watches: bool,
}

impl Request {
    pub(crate) fn of(number: u64, chaos: Duration, dice: &Dice) -> Self {
        let action = if dice.in_thousand(400) {
            let name = dice.pick(&["walk", "file"]);
            Action::Walk(name, (0..dice.below(6)).map(|_| step(dice)).collect())
        } else {
            Action::Call(dice.pick(&Kind::ALL))
        };
        let perhaps = |cases: u64, most: u64| dice.in_thousand(cases).then(|| dice.delay(most));
        Self {
            tag: format!("t{number}"),
            owner: dice.pick(&["one", "one", "two"]),
            action,
            manner: dice.pick(&[Manner::Submit, Manner::Submit, Manner::Abort, Manner::Continue]),
            has_key: dice.in_thousand(700),
            start: Duration::from_millis(dice.below(u64::try_from(chaos.as_millis()).unwrap())),
            delay: perhaps(200, 20_000),
            priority: dice.pick(&[0, 0, 0, 5, -5]),
            timeout: perhaps(200, 30_000).map(|time| time + Duration::from_millis(100)),
            cancels: perhaps(200, 20_000),
            looks: dice.below(4),
            watches: dice.in_thousand(300),
        }
    }

    fn submission(&self, tag: &str) -> Submission {
        let mut call = match &self.action {
            Action::Call(kind) => CallRequest::new("desk", kind.name()).unwrap(),
            Action::Walk(name, moves) => {
                CallRequest::new("walks", name).unwrap().param("moves", json!(moves))
            }
        };
        call = call.param("tag", tag).keeping_bodies();
        if self.has_key {
            call = call.idempotency_key(format!("key-{}", self.tag));
        }
        call.timeout = self.timeout;
        let delay = self.delay.filter(|_| self.manner == Manner::Submit);
        Submission { priority: self.priority, delay, ..Submission::new(call) }
    }

    /// Whether nothing in it can fail by itself.
    pub(crate) fn is_harmless(&self) -> bool {
        self.timeout.is_none()
    }

    /// Whether it is a call that somebody waits for: it goes past the queue.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.manner == Manner::Abort && matches!(self.action, Action::Call(_))
    }

    /// Whether the record of it may be lost with its process: it promised no more than an answer.
    pub(crate) fn may_be_lost(&self) -> bool {
        let is_recorded_first = matches!(self.action, Action::Call(Kind::Pay)) || self.has_key;
        self.is_waited_for() && !is_recorded_first
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller::operator(OwnerId::parse(self.owner).unwrap())
    }
}

fn step(dice: &Dice) -> Move {
    match dice.below(8) {
        0 | 1 => Move::Step(dice.below(3_000)),
        2 | 3 => Move::Call(usize::try_from(dice.below(4)).unwrap()),
        4 => Move::Sleep(dice.below(40_000)),
        5 => Move::Work(dice.below(5_000)),
        6 => Move::Progress(u8::try_from(dice.below(101)).unwrap()),
        _ => Move::Stumble,
    }
}

/// What one client was told.
#[derive(Debug, Default, Clone)]
pub(crate) struct Told {
    pub(crate) id: Option<ExecutionId>,
    /// How it ended.
    pub(crate) end: Option<State>,
    outcome: Option<Outcome>,
    /// "Cancelled" was answered.
    pub(crate) is_cancelled: bool,
    /// A client wanted it to end.
    pub(crate) was_stopped: bool,
}

/// What all clients were told, by tag.
#[derive(Default)]
pub(crate) struct Notes(pub(crate) Mutex<BTreeMap<String, Told>>);

/// One client at work.
pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) request: Request,
}

impl Client {
    pub(crate) async fn run(self) {
        sleep(self.request.start).await;
        let Some(id) = self.ask().await else { return };
        if let Some(after) = self.request.cancels {
            sleep(after).await;
            self.cancel(id).await;
        }
        if self.request.watches {
            self.watch(id).await;
        }
        for _ in 0..self.request.looks {
            sleep(self.world.dice.delay(15_000)).await;
            self.look(id).await;
            let is_firm =
                self.request.manner == Manner::Submit || self.told().end == Some(State::Success);
            if self.request.has_key && is_firm && self.world.dice.in_thousand(300) {
                self.ask_again(id).await;
            }
        }
    }

    /// Asks until there is an answer, where a repeat is harmless.
    async fn ask(&self) -> Option<ExecutionId> {
        for _ in 0..8 {
            if let Some(id) = self.ask_once().await {
                self.acknowledged(id);
                return Some(id);
            }
            if !self.request.has_key {
                return None;
            }
            sleep(self.world.dice.delay(5_000)).await;
        }
        None
    }

    async fn ask_once(&self) -> Option<ExecutionId> {
        let engine = self.cluster.any().await;
        match self.request.manner {
            Manner::Submit => {
                match timeout(PATIENCE, self.submit(&engine, &self.request.tag)).await {
                    Ok(Ok(submitted)) => Some(submitted.id),
                    Ok(Err(error)) => self.refused("submit", &error),
                    Err(_) => None,
                }
            }
            Manner::Abort | Manner::Continue => {
                let asked = timeout(PATIENCE * 2, self.invoke(&engine)).await;
                match asked {
                    Ok(Ok(Invoked::Ended(run))) => {
                        self.acknowledged(run.execution.id);
                        self.saw(&run);
                        Some(run.execution.id)
                    }
                    Ok(Ok(Invoked::Continues(id))) => Some(id),
                    Ok(Err(error)) => self.refused("invoke", &error),
                    Err(_) => None,
                }
            }
        }
    }

    async fn submit(&self, engine: &Engine, tag: &str) -> Result<Submitted> {
        let admitted = self.admit(engine).await?;
        engine.runs().submit(&admitted, self.request.submission(tag)).await
    }

    async fn invoke(&self, engine: &Engine) -> Result<Invoked> {
        let admitted = self.admit(engine).await?;
        let on_deadline = match self.request.manner {
            Manner::Continue => OnDeadline::Continue,
            Manner::Submit | Manner::Abort => OnDeadline::Abort,
        };
        engine
            .runs()
            .invoke(&admitted, self.request.submission(&self.request.tag), on_deadline)
            .await
    }

    async fn admit(&self, engine: &Engine) -> Result<Admitted> {
        match engine.keys().admit(self.request.caller()).await? {
            Admission::Admitted(admitted) => Ok(admitted),
            Admission::Refused(_) => panic!("nothing is limited"),
        }
    }

    /// An answer that is none of the run: it must be one that the API has.
    fn refused(&self, what: &str, error: &Error) -> Option<ExecutionId> {
        let is_refusal = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Conflict);
        // How a call ended that somebody waited for.
        let is_end = matches!(
            error.kind(),
            ErrorKind::Timeout | ErrorKind::UpstreamUnreachable | ErrorKind::OutcomeUnknown
        );
        // Nobody waits for what is stopped before it begins.
        let is_too_late = error.kind() == ErrorKind::InvalidInput
            && self.request.delay.is_some()
            && self.request.timeout.is_some_and(|time| Some(time) <= self.request.delay);
        let is_known = is_refusal || ((is_end || is_too_late) && what == "invoke");
        if !is_known {
            let line = error.log_line();
            self.world.breaks(format!("{what} of {} answers {line}", self.request.tag));
        }
        // A run that was named is there, unless the store refused it.
        let was_kept = error.kind() != ErrorKind::Unavailable;
        let id = error.execution().filter(|_| was_kept).and_then(ExecutionId::parse);
        if let Some(id) = id {
            self.acknowledged(id);
        }
        None
    }

    fn acknowledged(&self, id: ExecutionId) {
        let before = {
            let mut notes = self.notes.0.lock().unwrap();
            notes.entry(self.request.tag.clone()).or_default().id.replace(id)
        };
        // A call that certainly had no effect gives its key back.
        let is_firm = self.request.manner == Manner::Submit;
        if let Some(before) = before.filter(|before| is_firm && *before != id) {
            self.world.breaks(format!("{} is {before}, and then {id}", self.request.tag));
        }
    }

    /// Whatever was told about an end stays true.
    fn saw(&self, run: &Run) {
        let state = run.execution.state;
        if !state.is_final() {
            return;
        }
        let tag = &self.request.tag;
        let mut notes = self.notes.0.lock().unwrap();
        let told = notes.entry(tag.clone()).or_default();
        let before = told.end.replace(state);
        let outcome_before = match &run.outcome {
            Some(outcome) => told.outcome.replace(outcome.clone()),
            None => None,
        };
        let is_cancelled = told.is_cancelled;
        drop(notes);
        // Its end could not be written down before its process died: it says that nobody knows.
        let is_forgotten = self.request.is_waited_for()
            && self.world.plan.faults.store_before + self.world.plan.faults.store_after > 0
            && (run.execution.error == Some(ErrorKind::OutcomeUnknown)
                || run.execution.state == State::Cancelled);
        if is_forgotten {
            return;
        }
        if let Some(before) = before.filter(|before| *before != state) {
            let (before, state) = (before.as_str(), state.as_str());
            self.world.breaks(format!("{tag} was seen as {before}, and then as {state}"));
        }
        if outcome_before.is_some_and(|before| Some(before) != run.outcome) {
            self.world.breaks(format!("{tag} was seen with another outcome before"));
        }
        if is_cancelled && state != State::Cancelled {
            self.world.breaks(format!("{tag} was cancelled, and is {}", state.as_str()));
        }
        if run.execution.progress != 100 {
            self.world.breaks(format!("{tag} ended at {} %", run.execution.progress));
        }
    }

    async fn look(&self, id: ExecutionId) {
        let engine = self.cluster.any().await;
        let caller = self.request.caller();
        let looked = if self.world.dice.in_thousand(500) {
            let until = Deadline::after(self.world.dice.delay(20_000));
            timeout(PATIENCE, engine.runs().wait(&caller, id, until)).await
        } else {
            timeout(PATIENCE, engine.runs().get(&caller, id)).await
        };
        match looked {
            Ok(Ok(run)) => self.saw(&run),
            Ok(Err(error)) if error.kind() == ErrorKind::Unavailable => {}
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound && self.request.may_be_lost() => {
            }
            Ok(Err(error)) => {
                let line = error.log_line();
                self.world.breaks(format!("{} ({id}) cannot be read: {line}", self.request.tag));
            }
            Err(_) => {}
        }
    }

    async fn cancel(&self, id: ExecutionId) {
        self.note(|told| told.was_stopped = true);
        let engine = self.cluster.any().await;
        let asked = timeout(PATIENCE, engine.runs().cancel(&self.request.caller(), id)).await;
        let Ok(answer) = asked else { return };
        match answer {
            Ok(run) if run.state == State::Cancelled => {
                self.note(|told| told.is_cancelled = true);
                let before = self.told().end;
                let is_broken = before.is_some_and(|before| before != State::Cancelled);
                if is_broken && !self.request.is_waited_for() {
                    self.world.breaks(format!("{} ended, and was cancelled", self.request.tag));
                }
            }
            Ok(run) => {
                let state = run.state.as_str();
                self.world.breaks(format!("{} was cancelled into {state}", self.request.tag));
            }
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Conflict) => {}
            Err(error) if error.kind() == ErrorKind::NotFound && self.request.may_be_lost() => {}
            Err(error) => {
                let line = error.log_line();
                self.world.breaks(format!("{} cannot be cancelled: {line}", self.request.tag));
            }
        }
    }

    async fn watch(&self, id: ExecutionId) {
        let engine = self.cluster.any().await;
        let watching = async {
            let Ok(mut watch) = engine.runs().watch(&self.request.caller(), id).await else {
                return;
            };
            let mut end = None;
            while let Ok(Some(run)) = watch.next().await {
                if end.is_some() {
                    self.world.breaks(format!("{} changed after its end", self.request.tag));
                }
                end = run.state.is_final().then_some(run.state);
            }
        };
        drop(timeout(PATIENCE, watching).await);
    }

    /// The same request is the same run; another one under the same key is refused.
    async fn ask_again(&self, id: ExecutionId) {
        let engine = self.cluster.any().await;
        let is_other = self.world.dice.in_thousand(300);
        let tag = if is_other { "other" } else { &self.request.tag };
        let Ok(asked) = timeout(PATIENCE, self.submit(&engine, tag)).await else { return };
        match asked {
            Ok(again) if is_other => {
                self.world.breaks(format!("{id} has a key that made {} of other inputs", again.id));
            }
            Ok(again) if again.id != id || !again.is_replay => {
                self.world.breaks(format!("{id} was asked for again and is {again:?}"));
            }
            Ok(_) => {}
            Err(error) if is_other && error.kind() == ErrorKind::IdempotencyMismatch => {}
            Err(error) => drop(self.refused("a repeat", &error)),
        }
    }

    fn note(&self, change: impl FnOnce(&mut Told)) {
        change(self.notes.0.lock().unwrap().entry(self.request.tag.clone()).or_default());
    }

    fn told(&self) -> Told {
        self.notes.0.lock().unwrap().get(&self.request.tag).cloned().unwrap_or_default()
    }
}
