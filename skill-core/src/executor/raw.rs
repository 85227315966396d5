//! The raw door: the stages of a call around a request that a service's own client wrote.
//!
//! They stand in one function, [`Executor::raw`] and what it calls in order, and are those of
//! [`Executor::execute`] but for the schema. Bodies stream both ways: memory does not grow with
//! them.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use http::{Method, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use super::{
    Event, Executor, History, NO_FIELDS, Observer,
    history::Room,
    quotas::{Called, Patience},
    recording::begun,
    retry::{self, Verdict},
    send::{Grant, REFUSAL, fits, unknown},
};
use crate::{
    access::{Admitted, Caller, Intent, authorize},
    clock::{Clock, Deadline, Stopwatch},
    credential::Moment,
    error::{Error, ErrorKind, Result, Retry},
    id,
    integration::Integration,
    name::{ActionName, Slug},
    raw::{self, Reply, Request},
    record::{
        connection::Connection,
        execution::{Execution, Recorded, State},
        scope::Scope,
    },
    transport::{Body, Chunks, Outgoing, Payload, Response, target},
};

impl Executor {
    /// Passes a request on to a service, of whoever was [`Admitted`]; takes the scope `slug/_raw`.
    ///
    /// It is sent once more after the access was renewed, and where the connection failed and a
    /// repeat is harmless; a body that streams is sent once. Everything else, a 429 too, is the
    /// client's to see. The run ends when the body of the answer has been read or dropped.
    ///
    /// # Errors
    /// As [`Executor::execute`]; [`ErrorKind::NotFound`] when the integration has no raw door.
    pub async fn raw(&self, admitted: &Admitted, request: Request) -> Result<Reply> {
        let caller = admitted.caller();
        let (class, method) = (raw::class(&request.method), request.method.clone());
        let action = ActionName { namespace: request.integration.clone(), name: Slug::raw() };
        let scope = Scope::Action(action.clone());
        authorize(caller, &Intent { scope, class: Some(class) }).allowed()?;
        let found = self.catalog.load().integration(&action.namespace).cloned();
        let integration = found.ok_or_else(|| no_door(&action.namespace))?;
        let patience = request.timeout.unwrap_or(self.settings.timeout);
        let pace = Pace::new(patience.min(self.settings.longest_timeout));
        let run = begun(caller, action, (&"raw".into(), class), self.clock.now())?;
        let mut passage = Passage::begin(self, run, pace.patience).await?;
        let way = Way {
            integration: &integration,
            connection: None,
            deadline: Deadline::after(self.settings.transfer),
            pace: pace.clone(),
        };
        match self.pass(caller, request, way, &mut passage).await {
            Ok((response, base)) => Ok(passage.reply((response, &method), base, pace)),
            Err(error) => Err(passage.fail(error)),
        }
    }

    /// From the connection to the head of the answer.
    async fn pass(
        &self,
        caller: &Caller,
        request: Request,
        way: Way<'_>,
        passage: &mut Passage,
    ) -> Result<(Response, Url)> {
        let integration = way.integration;
        let named = request.connection.as_deref();
        let connection = self.connection(caller, named, &**integration).await?;
        let run = &mut passage.execution;
        if let Some(connection) = &connection {
            (run.connection, run.app) = (Some(connection.id), connection.app);
            self.check(connection).await?;
        }
        let soon = way.deadline.within(way.pace.patience);
        let called = Called { integration: &**integration, endpoint: None };
        passage.place = self.enter(called, connection.as_deref(), Patience::Until(soon)).await?;
        let fields = connection.as_ref().map_or(&NO_FIELDS, |connection| &connection.fields);
        let door = integration.raw(fields)?;
        let door = door.ok_or_else(|| no_door(&integration.info().slug))?;
        let url = target::verbatim(&door.base, &request.path, &request.query)?;
        let mut headers = door.onward(&request.headers);
        request.announce(&mut headers);
        let grant = self.grant(integration, connection.as_deref(), soon).await?;
        let body = way.pace.follow(request.body);
        let request = Outgoing { method: request.method, url, headers, body };
        let way = Way { connection: connection.as_deref(), ..way };
        let response = self.exchange(&way, request, grant, &mut passage.execution).await?;
        Ok((response, door.base))
    }

    async fn exchange(
        &self,
        way: &Way<'_>,
        mut request: Outgoing,
        mut grant: Grant,
        run: &mut Execution,
    ) -> Result<Response> {
        let may_repeat = request.method.is_idempotent();
        let mut is_repeat = false;
        loop {
            let again = request.repeat();
            let moment = Moment { now: self.clock.now(), nonce: id::random()? };
            way.integration.auth().sign(&mut request, &grant.credential, &moment)?;
            run.attempts += 1;
            let watch = Stopwatch::start();
            let sent = way.pace.run(self.transport.send(request, way.deadline)).await;
            if let (Some(connection), Some(Ok(answer))) = (way.connection, &sent) {
                let called = Called { integration: &**way.integration, endpoint: None };
                self.learn(called, connection, (answer.status, &answer.headers));
            }
            let judged = way.judge(sent.unwrap_or_else(|| Err(stalled()))).await;
            run.timing.upstream += watch.elapsed();
            let error = match judged {
                Ok((response, has_ended)) => {
                    run.upstream_status = Some(response.status.as_u16());
                    let renewed =
                        if has_ended { self.renewed_for(way, &grant).await? } else { None };
                    // A stream has gone out: its client sees the refusal, and the next request goes
                    // out with what was renewed here.
                    let (Some(fresh), Some(copy)) = (renewed, again) else { return Ok(response) };
                    (grant, request) = (fresh, copy);
                    continue;
                }
                Err(error) => error,
            };
            let (pause, copy) = match (retry::after_failure(&error, may_repeat), again) {
                (Verdict::Again(pause), Some(copy)) if !is_repeat && fits(pause, way.deadline) => {
                    (pause, copy)
                }
                (Verdict::Again(_) | Verdict::Keep, _) => return Err(unknown(error, may_repeat)),
            };
            is_repeat = true;
            let integration = &way.integration.info().slug;
            self.observer.hear(&Event::Repeated { integration, reason: "failed" });
            tokio::time::sleep(pause).await;
            request = copy;
        }
    }

    async fn renewed_for(&self, way: &Way<'_>, grant: &Grant) -> Result<Option<Grant>> {
        let soon = way.deadline.within(way.pace.patience);
        self.after_refusal((way.connection, way.integration, soon), grant).await
    }
}

/// Where a request goes, and in what time.
struct Way<'a> {
    integration: &'a Arc<dyn Integration>,
    connection: Option<&'a Connection>,
    /// For all of it, both bodies included.
    deadline: Deadline,
    pace: Pace,
}

impl Way<'_> {
    /// Whether the answer says that the access has ended. Where that takes the body, no more of it
    /// is read than such an answer has.
    async fn judge(&self, sent: Result<Response>) -> Result<(Response, bool)> {
        let mut response = sent?;
        let (status, mut said) = (response.status, None);
        if self.integration.reads_refusal(status) && is_json(&response) {
            let peeked = self.pace.run(response.body.peek(REFUSAL)).await;
            let (whole, body) = peeked.unwrap_or_else(|| Err(stalled()))?;
            said = whole.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            response.body = body;
        }
        let has_ended = self.integration.says_expired(status, said.as_ref());
        Ok((response, has_ended))
    }
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.contains("json"))
}

/// How long nothing may move. A large body takes its time; one that stands still is given up.
#[derive(Clone)]
struct Pace {
    patience: Duration,
    until: Arc<Mutex<Deadline>>,
}

impl Pace {
    fn new(patience: Duration) -> Self {
        Self { patience, until: Arc::new(Mutex::new(Deadline::after(patience))) }
    }

    fn until(&self) -> Deadline {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self) {
        let until = Deadline::after(self.patience);
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Waits for `work` as long as something moves; `None` when nothing did for too long.
    async fn run<F: Future>(&self, work: F) -> Option<F::Output> {
        self.moved();
        let mut work = pin!(work);
        loop {
            let until = self.until();
            if let Some(done) = until.run(work.as_mut()).await {
                return Some(done);
            }
            if self.until() <= until {
                return None;
            }
        }
    }

    /// The same body; a stream moves with each of its chunks.
    fn follow(&self, body: Payload) -> Payload {
        let chunks = match body {
            Payload::Empty | Payload::Bytes(_) => return body,
            Payload::Stream(chunks) => chunks.into_inner().unwrap_or_else(PoisonError::into_inner),
        };
        let pace = self.clone();
        Payload::Stream(Mutex::new(chunks.inspect(move |_| pace.moved()).boxed()))
    }
}

/// A request while it goes on. However it ends, dropped midway included, the history hears of it.
struct Passage {
    history: Arc<History>,
    observer: Arc<dyn Observer>,
    clock: Arc<dyn Clock>,
    execution: Execution,
    watch: Stopwatch,
    room: Option<Room>,
    /// Taken where a service lets in only so many at once.
    place: Option<OwnedSemaphorePermit>,
}

impl Passage {
    async fn begin(executor: &Executor, execution: Execution, patience: Duration) -> Result<Self> {
        let watch = Stopwatch::start();
        let room = Deadline::after(patience).run(executor.history.room()).await;
        let room = room.ok_or_else(|| {
            let message = "the history cannot be written at present: try again later";
            Error::new(ErrorKind::Unavailable, message)
        })??;
        Ok(Self {
            history: executor.history.clone(),
            observer: executor.observer.clone(),
            clock: executor.clock.clone(),
            execution,
            watch,
            room: Some(room),
            place: None,
        })
    }

    fn fail(mut self, error: Error) -> Error {
        let id = self.execution.id;
        self.end(Err(&error));
        error.of_run(id)
    }

    fn end(&mut self, ended: Result<StatusCode, &Error>) {
        self.execution.error = ended.err().map(Error::kind);
        let is_good = ended.is_ok_and(|status| status.as_u16() < 400);
        self.execution.state = if is_good { State::Success } else { State::Error };
        self.close();
    }

    fn close(&mut self) {
        let Some(room) = self.room.take() else { return };
        self.place = None;
        self.execution.timing.total = self.watch.elapsed();
        self.execution.progress = 100;
        self.execution.ended_at = Some(self.clock.now());
        self.observer.hear(&Event::Ended(&self.execution));
        let execution = self.execution.clone();
        let ended = Recorded { execution, input: None, outcome: None, replay: None };
        self.history.push(ended, room);
    }

    /// The answer; the passage goes on with its body.
    fn reply(mut self, (answer, method): (Response, &Method), base: Url, pace: Pace) -> Reply {
        let (execution, status) = (self.execution.id, answer.status);
        let length = answer.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        // These have no body, whatever they say of its length: RFC 9110 section 6.4.1.
        let bare = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
        let has_body = *method != Method::HEAD && !bare.contains(&status) && length != Some(0);
        let body = if has_body {
            let chunks = answer.body.into_chunks();
            Body::Chunks(Passing { chunks, passage: self, left: length, status, pace }.stream())
        } else {
            self.end(Ok(status));
            Body::from("")
        };
        Reply { execution, status, headers: raw::back(&answer.headers), body, base }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if self.room.is_some() {
            self.execution.state = State::Cancelled;
            self.close();
        }
    }
}

/// The body of an answer on its way.
struct Passing {
    chunks: Chunks,
    passage: Passage,
    /// How many bytes are to come, when that is known.
    left: Option<u64>,
    status: StatusCode,
    pace: Pace,
}

impl Passing {
    fn stream(self) -> Chunks {
        stream::unfold(Some(self), |passing| async move {
            let mut passing = passing?;
            let next = passing.pace.run(passing.chunks.next()).await;
            match next.unwrap_or_else(|| Some(Err(stalled()))) {
                None => {
                    passing.passage.end(Ok(passing.status));
                    None
                }
                Some(Err(error)) => {
                    passing.passage.end(Err(&error));
                    Some((Err(error), None))
                }
                Some(Ok(chunk)) => {
                    passing.left = passing.left.map(|left| left.saturating_sub(chunk.len() as u64));
                    // Whoever knows the length asks for nothing behind it.
                    if passing.left == Some(0) {
                        passing.passage.end(Ok(passing.status));
                    }
                    Some((Ok(chunk), Some(passing)))
                }
            }
        })
        .boxed()
    }
}

fn stalled() -> Error {
    let message = "the service did not answer or go on in time";
    Error::new(ErrorKind::Timeout, message).retry(Retry::IfIdempotent)
}

fn no_door(slug: &Slug) -> Error {
    Error::not_found(format!("there is no raw door to `{slug}`: check the integration"))
}
