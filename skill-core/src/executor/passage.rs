//! Requests whose bodies stream: how they are sent, how long they may stand still, and how the
//! history hears of their end.

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
    Event, Executor, History, Observer, answer,
    history::Room,
    quotas::Called,
    retry::{self, Verdict},
    send::{Grant, REFUSAL, fits, unknown},
};
use crate::{
    call,
    clock::{Clock, Deadline, Stopwatch},
    credential::Moment,
    error::{Error, ErrorKind, Result, Retry},
    id,
    integration::Integration,
    name::Slug,
    raw::{self, Reply},
    record::{
        connection::Connection,
        execution::{Execution, Recorded, State},
    },
    transport::{Body, Chunks, Outgoing, Payload, Response},
};

impl Executor {
    /// Sends a request, and returns the head of the answer. It goes out once more after the access
    /// was renewed, and where the connection failed and a repeat is harmless; a body that streams
    /// goes out once.
    pub(super) async fn exchange(
        &self,
        (way, connection): (&Way<'_>, Option<&Connection>),
        mut request: Outgoing,
        mut grant: Grant,
        run: &mut Execution,
    ) -> Result<Response> {
        let may_repeat = way.may_repeat;
        let mut is_repeat = false;
        loop {
            let again = request.repeat();
            let moment = Moment { now: self.clock.now(), nonce: id::random()? };
            way.integration.auth().sign(&mut request, &grant.credential, &moment)?;
            run.attempts += 1;
            let watch = Stopwatch::start();
            let sent = way.pace.run(self.transport.send(request, way.deadline)).await;
            let judged = way.judge(sent.unwrap_or_else(|| Err(stalled()))).await;
            if let (Some(connection), Ok((answer, said))) = (connection, &judged) {
                let said = (answer.status, &answer.headers, said.is_busy);
                self.learn(way.called(), connection, said);
            }
            run.timing.upstream += watch.elapsed();
            let error = match judged {
                Ok((response, Said { has_ended, .. })) => {
                    run.upstream_status = Some(response.status.as_u16());
                    let at = (connection, way.integration, way.soon());
                    let renewed = match has_ended {
                        true => self.after_refusal(at, &grant).await?,
                        false => None,
                    };
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
}

/// Where a request goes, and in what time.
pub(super) struct Way<'a> {
    pub(super) integration: &'a Arc<dyn Integration>,
    /// The endpoint; none of that is known at the raw door.
    pub(super) endpoint: Option<&'a Slug>,
    /// Whether it changes something, as far as its method says.
    pub(super) is_write: bool,
    /// Whether a second effect does no harm.
    pub(super) may_repeat: bool,
    /// For all of it, both bodies included.
    pub(super) deadline: Deadline,
    pub(super) pace: Pace,
}

impl Way<'_> {
    /// What is called.
    pub(super) fn called(&self) -> Called<'_> {
        let (endpoint, is_write) = (self.endpoint, self.is_write);
        Called { integration: &**self.integration, endpoint, is_write }
    }

    /// Until when something has to have begun.
    pub(super) fn soon(&self) -> Deadline {
        self.deadline.within(self.pace.patience)
    }

    /// Whether the answer says that the access has ended, or that the service was asked too much.
    /// Where that takes the body, no more of it is read than such an answer has.
    async fn judge(&self, sent: Result<Response>) -> Result<(Response, Said)> {
        let mut response = sent?;
        let (status, mut said) = (response.status, None);
        if self.integration.reads_refusal(status) && is_json(&response) {
            let peeked = self.pace.run(response.body.peek(REFUSAL)).await;
            let (whole, body) = peeked.unwrap_or_else(|| Err(stalled()))?;
            said = whole.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            response.body = body;
        }
        let said = said.as_ref();
        let has_ended = self.integration.says_expired(status, said);
        Ok((response, Said { has_ended, is_busy: self.integration.says_busy(status, said) }))
    }
}

/// What an answer says besides what was asked for.
struct Said {
    has_ended: bool,
    is_busy: bool,
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.contains("json"))
}

/// How long nothing may move. A large body takes its time; one that stands still is given up.
#[derive(Clone)]
pub(super) struct Pace {
    patience: Duration,
    until: Arc<Mutex<Deadline>>,
}

impl Pace {
    pub(super) fn new(patience: Duration) -> Self {
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
    pub(super) fn follow(&self, body: Payload) -> Payload {
        let chunks = match body {
            Payload::Empty | Payload::Bytes(_) => return body,
            Payload::Stream(chunks) => chunks.into_inner().unwrap_or_else(PoisonError::into_inner),
        };
        let pace = self.clone();
        Payload::Stream(Mutex::new(chunks.inspect(move |_| pace.moved()).boxed()))
    }
}

/// A request while it goes on. However it ends, dropped midway included, the history hears of it.
pub(super) struct Passage {
    history: Arc<History>,
    observer: Arc<dyn Observer>,
    clock: Arc<dyn Clock>,
    pub(super) execution: Execution,
    watch: Stopwatch,
    room: Option<Room>,
    /// Taken where a service lets in only so many at once.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

impl Passage {
    pub(super) async fn begin(
        executor: &Executor,
        execution: Execution,
        patience: Duration,
    ) -> Result<Self> {
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

    pub(super) fn fail(mut self, error: Error) -> Error {
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

    /// The answer, read whole, at most `most` bytes of it.
    pub(super) async fn whole(
        mut self,
        response: Response,
        (way, most): (&Way<'_>, usize),
    ) -> Result<call::Reply> {
        let Response { status, headers, body } = response;
        let read = way.pace.run(answer::read(&headers, body, most)).await;
        let data = match read.unwrap_or_else(|| Err(stalled())) {
            Ok(data) => data,
            Err(error) => return Err(self.fail(unknown(error, way.may_repeat))),
        };
        self.end(Ok(status));
        let (execution, timing) = (self.execution.id, self.execution.timing);
        Ok(call::Reply { execution, status, headers, data, timing, is_replay: false })
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
    pub(super) fn reply(
        mut self,
        (answer, method): (Response, &Method),
        base: Url,
        pace: Pace,
    ) -> Reply {
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
