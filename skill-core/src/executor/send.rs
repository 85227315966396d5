//! Sending a signed request: one renewal after a 401, one repeat where it is safe.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderMap, StatusCode};

use super::{
    Executor, answer,
    observe::Event,
    quotas::Called,
    renew::dead,
    retry::{self, Verdict},
};
use crate::{
    call::Data,
    catalog::Operation,
    clock::{Deadline, Stopwatch},
    credential::{Credential, Moment},
    error::{Error, ErrorKind, Result, Retry},
    id,
    integration::Integration,
    record::{
        connection::{Connection, Revision},
        execution::Execution,
    },
    transport::{Body, Outgoing, Response},
};

/// The longest body that may say that the access has ended.
pub(super) const REFUSAL: usize = 16 * 1024;

/// The credential of one call, and whether it was renewed for it.
pub(super) struct Grant {
    pub(super) credential: Credential,
    pub(super) revision: Revision,
    pub(super) is_fresh: bool,
}

/// Says whether something may still be sent. It is asked right before each request.
#[async_trait]
pub(crate) trait Gate: Send + Sync {
    /// Refuses when nothing may be sent any more: the error is the outcome then.
    async fn pass(&self) -> Result<()>;
}

/// How requests are sent for a run that waits in no call of its own.
#[derive(Clone, Copy)]
pub(crate) struct Sending<'a> {
    /// What the service is given as idempotency key: the same in every attempt.
    pub(crate) key: &'a str,
    /// Asked right before each request.
    pub(crate) gate: &'a dyn Gate,
}

/// A request that is ready but for its signature.
pub(super) struct Prepared<'a> {
    pub(super) action: &'a Operation,
    pub(super) connection: Option<&'a Connection>,
    pub(super) request: Outgoing,
    pub(super) may_repeat: bool,
    pub(super) deadline: Deadline,
    /// Asked before each request; then nothing is repeated here, because the run is.
    pub(super) gate: Option<&'a dyn Gate>,
}

/// What was sent, and what kind of answer came.
struct Judged {
    sent: Result<Response>,
    /// The status of an answer that says that the access has ended.
    refused: Option<StatusCode>,
    /// Whether the service did nothing because it was asked too much.
    is_busy: bool,
}

/// What a service answered.
pub(crate) type Answered = (StatusCode, HeaderMap, Data);

impl Executor {
    /// Sends, and reads the answer. What the first try may have done stays possible, however
    /// little the second one reached.
    pub(super) async fn send(
        &self,
        prepared: Prepared<'_>,
        grant: Grant,
        run: &mut Execution,
    ) -> Result<Answered> {
        let mut may_have_happened = false;
        let answered = self.try_twice(prepared, grant, (run, &mut may_have_happened)).await;
        answered.map_err(
            |error| {
                if may_have_happened { error.retry(Retry::IfIdempotent) } else { error }
            },
        )
    }

    async fn try_twice(
        &self,
        prepared: Prepared<'_>,
        mut grant: Grant,
        (run, may_have_happened): (&mut Execution, &mut bool),
    ) -> Result<Answered> {
        let integration = &prepared.action.integration;
        let slug = &integration.info().slug;
        let at = (prepared.connection, integration, prepared.deadline);
        let mut is_repeat = false;
        loop {
            let watch = Stopwatch::start();
            run.attempts += 1;
            let sent = self.send_once(&prepared, &grant.credential).await;
            let Judged { sent, refused, is_busy } = self.judge(&**integration, sent).await;
            if let (Some(connection), Ok(answer)) = (prepared.connection, &sent) {
                let said = (answer.status, &answer.headers, is_busy);
                self.learn(Called::of(prepared.action), connection, said);
            }
            run.timing.upstream += watch.elapsed();
            if let Some(status) = refused {
                run.upstream_status = Some(status.as_u16());
                if let Some(renewed) = self.after_refusal(at, &grant).await? {
                    grant = renewed;
                    continue;
                }
            }
            let (verdict, reason) = match &sent {
                Ok(answer) => {
                    let now = self.clock.now();
                    let asked = retry::retry_after(&answer.headers, now);
                    let wait = integration.quota().refused(&answer.headers, (now, asked));
                    (retry::after_answer(is_busy, wait), "refused")
                }
                Err(error) => (retry::after_failure(error, prepared.may_repeat), "failed"),
            };
            match verdict {
                Verdict::Again(pause)
                    if !is_repeat && prepared.gate.is_none() && fits(pause, prepared.deadline) =>
                {
                    is_repeat = true;
                    *may_have_happened = sent.is_err_and(|error| is_unknown(&error));
                    self.observer.hear(&Event::Repeated { integration: slug, reason });
                    tokio::time::sleep(pause).await;
                }
                Verdict::Again(_) | Verdict::Keep => {
                    let watch = Stopwatch::start();
                    let answered = self.read(sent, prepared.may_repeat, run).await;
                    run.timing.upstream += watch.elapsed();
                    return answered;
                }
            }
        }
    }

    async fn send_once(
        &self,
        prepared: &Prepared<'_>,
        credential: &Credential,
    ) -> Result<Response> {
        let streamed = || Error::internal("a streamed body cannot be signed twice");
        let mut request = prepared.request.repeat().ok_or_else(streamed)?;
        let moment = Moment { now: self.clock.now(), nonce: id::random()? };
        prepared.action.integration.auth().sign(&mut request, credential, &moment)?;
        if let Some(gate) = prepared.gate {
            gate.pass().await?;
        }
        self.transport.send(request, prepared.deadline).await
    }

    /// Tells the answers that say that the access has ended, or that the service is too busy. Where
    /// that takes the body, the body is read here, and handed on as it was.
    async fn judge(&self, integration: &dyn Integration, sent: Result<Response>) -> Judged {
        let failed = |error| Judged { sent: Err(error), refused: None, is_busy: false };
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return failed(error),
        };
        let (status, mut said) = (response.status, None);
        if integration.reads_refusal(status) {
            match response.body.collect(self.settings.answer_bytes).await {
                Ok(bytes) => {
                    let is_short = bytes.len() <= REFUSAL;
                    said = is_short.then(|| serde_json::from_slice(&bytes).ok()).flatten();
                    response.body = Body::from(bytes);
                }
                Err(error) => return failed(error),
            }
        }
        let has_ended = integration.says_expired(status, said.as_ref());
        let is_busy = integration.says_busy(status, said.as_ref());
        Judged { sent: Ok(response), refused: has_ended.then_some(status), is_busy }
    }

    /// After a 401: the renewed grant to try once more with, or `None` to hand the answer out.
    pub(super) async fn after_refusal(
        &self,
        (connection, integration, deadline): (Option<&Connection>, &Arc<dyn Integration>, Deadline),
        grant: &Grant,
    ) -> Result<Option<Grant>> {
        let Some(connection) = connection else { return Ok(None) };
        let auth = integration.auth();
        if auth.is_renewable(&grant.credential) && !grant.is_fresh {
            let seen = grant.revision;
            return self.renewed(connection, integration, seen, deadline).await.map(Some);
        }
        if grant.is_fresh {
            return Err(self.dead(connection).await);
        }
        let why = "the service refused the credential (401): check it, or reconnect";
        self.note(connection, why).await?;
        // A scheme that could renew, with a grant that cannot: a person has to reconnect it.
        let can_renew = auth.asks_a_person();
        if can_renew { Err(self.dead(connection).await) } else { Ok(None) }
    }

    /// The grant after a renewal; a dead one comes with the page where a person can mend it.
    pub(super) async fn renewed(
        &self,
        connection: &Connection,
        integration: &Arc<dyn Integration>,
        seen: Revision,
        deadline: Deadline,
    ) -> Result<Grant> {
        match self.renewer.renew(connection, integration, seen, deadline).await {
            Ok((credential, revision)) => Ok(Grant { credential, revision, is_fresh: true }),
            Err(error) if error.kind() == ErrorKind::TokenExpired => {
                Err(self.dead(connection).await)
            }
            Err(error) => Err(error),
        }
    }

    /// The error for a connection that a person has to mend, with the page where that is done.
    pub(super) async fn dead(&self, connection: &Connection) -> Error {
        self.with_link(dead(), connection.at(), connection.integration.clone()).await
    }

    /// Notes on the connection what went wrong last.
    async fn note(&self, connection: &Connection, why: &str) -> Result<()> {
        if connection.last_error.as_deref() == Some(why) {
            return Ok(());
        }
        // What this call goes by may be a second old: a change made meanwhile stays.
        let current = self.store.connection(&connection.owner, connection.id).await?;
        let Some(mut current) = current else { return Ok(()) };
        current.last_error = Some(why.to_owned());
        current.updated_at = self.clock.now();
        self.connections.update(&current).await.map(drop)
    }

    async fn read(
        &self,
        sent: Result<Response>,
        may_repeat: bool,
        run: &mut Execution,
    ) -> Result<Answered> {
        let unknown = |error| unknown(error, may_repeat);
        let Response { status, headers, body } = sent.map_err(unknown)?;
        run.upstream_status = Some(status.as_u16());
        let most = self.settings.answer_bytes;
        let data = answer::read(&headers, body, most).await.map_err(unknown)?;
        Ok((status, headers, data))
    }
}

/// Whether the request may have taken effect.
fn is_unknown(error: &Error) -> bool {
    error.retry_state() == Retry::IfIdempotent
}

pub(super) fn fits(pause: Duration, deadline: Deadline) -> bool {
    pause < deadline.remaining()
}

/// What a failure means when something may have happened that must not happen twice.
pub(super) fn unknown(error: Error, may_repeat: bool) -> Error {
    if may_repeat || !is_unknown(&error) {
        return error;
    }
    let reason = "outcome_unknown";
    if error.kind() == ErrorKind::UpstreamUnreachable {
        let message = "the connection to the service was cut after the request had gone out: \
                       it may have taken effect, and was not repeated";
        return Error::new(ErrorKind::OutcomeUnknown, message)
            .detail("reason", reason)
            .caused_by(error);
    }
    if error.kind() == ErrorKind::Timeout { error.detail("reason", reason) } else { error }
}
