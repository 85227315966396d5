//! One attempt to deliver a message: from the claim to what becomes of it.

use std::time::Duration;

use futures_util::StreamExt;
use http::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use super::{deliver::Deliverer, payload, sign};
use crate::{
    clock::{Deadline, Stopwatch},
    error::{Error, ErrorKind, Result},
    executor::{Event, retry_after},
    id,
    record::{
        audit::{Actor, Entry},
        delivery::{Claimed, Delivery, Next, Settled, Subject},
        trigger::Callback,
        webhook::{Change, Disabled, Event as Happened, Subscription},
    },
    transport::{Body, Outgoing, Payload},
};

/// The most bytes of a receiver's answer that are read.
const ANSWER: usize = 64 * 1024;
/// How long to wait after the store refused.
const PAUSE: Duration = Duration::from_millis(500);

/// What an attempt came to.
struct Ended {
    status: Option<u16>,
    error: Option<String>,
    next: Next,
    /// The endpoint is slow or broken.
    is_doubtful: bool,
}

/// Where a message goes.
enum To {
    Subscription(Box<Subscription>),
    /// To whoever asked to be told of this one run.
    Callback(Callback),
}

impl To {
    fn url(&self) -> &str {
        match self {
            Self::Subscription(webhook) => &webhook.url,
            Self::Callback(callback) => &callback.url,
        }
    }

    /// Whether what happened is told as an agent's.
    fn is_agents(&self) -> bool {
        match self {
            Self::Subscription(webhook) => webhook.agent.is_some(),
            Self::Callback(_) => true,
        }
    }
}

impl Ended {
    /// It was given up before anything was sent.
    fn dead(why: impl Into<String>) -> Self {
        Self { status: None, error: Some(why.into()), next: Next::Dead, is_doubtful: false }
    }
}

impl Deliverer {
    /// Delivers a message that was claimed, before `deadline`: then somebody else may have it.
    pub(super) async fn attempt(&self, claimed: Claimed, deadline: Deadline) {
        let Claimed { lease, delivery, subscription, callback } = claimed;
        let to = match (subscription, callback) {
            (Some(Subscription { disabled: Some(disabled), .. }), _) => {
                Err(format!("the webhook is disabled: {}", disabled.reason))
            }
            (Some(webhook), _) => Ok(To::Subscription(Box::new(webhook))),
            (None, Some(callback)) => Ok(To::Callback(callback)),
            (None, None) if delivery.webhook.is_none() => Err("the run is no longer kept".into()),
            (None, None) => Err("the webhook was deleted".into()),
        };
        let ended = match to {
            Err(why) => Ended::dead(why),
            Ok(to) => match self.send(&delivery, &to, deadline).await {
                Ok(ended) => ended,
                // It is ours, and may pass: a store that does not answer, or a damaged record.
                Err(error) => self.failed(&delivery, &error),
            },
        };
        let at = self.now();
        let Ended { status, error, next, is_doubtful } = ended;
        self.settle(&Settled { lease, at, status, error, next }, deadline).await;
        self.observer.hear(&Event::Delivery(next));
        let mut rooms = self.rooms();
        rooms.give(&delivery.owner, &delivery.endpoint);
        match is_doubtful {
            true => rooms.doubt(&delivery.owner, &delivery.endpoint),
            false => rooms.trust(&delivery.owner, &delivery.endpoint),
        }
        drop(rooms);
        self.freed.notify_one();
    }

    async fn send(&self, delivery: &Delivery, to: &To, deadline: Deadline) -> Result<Ended> {
        let Some(data) = self.data(delivery, to.is_agents()).await? else {
            return Ok(Ended::dead("the run is no longer kept"));
        };
        let body = payload::message(delivery, &data, to.is_agents());
        let secrets = match to {
            To::Subscription(webhook) => self.webhooks.secrets(webhook)?,
            To::Callback(callback) => vec![self.webhooks.callback_secret(delivery, callback)?],
        };
        let request = self.request(to, (delivery, body), &secrets)?;
        let watch = Stopwatch::start();
        let deadline = deadline.within(self.settings.timeout);
        let answer = self.webhooks.transport.send(request, deadline).await;
        let is_slow = watch.elapsed() > self.settings.timeout / 3;
        Ok(match answer {
            Ok(answer) => {
                let asked = retry_after(&answer.headers, self.webhooks.clock.now());
                let status = answer.status;
                drain(answer.body).await;
                let is_doubtful = is_slow || !status.is_success();
                Ended { is_doubtful, ..self.answered(delivery, to, (status, asked)).await? }
            }
            Err(error) => {
                let next = self.again(delivery, None)?;
                Ended { status: None, error: Some(said(&error)), next, is_doubtful: true }
            }
        })
    }

    /// What a message says; `None` when there is nothing left to tell of.
    async fn data(&self, delivery: &Delivery, is_agents: bool) -> Result<Option<String>> {
        let id = match &delivery.subject {
            Subject::Run(id) => *id,
            Subject::Connection(facts) => return Ok(Some(payload::of_connection(facts))),
            Subject::Agent(id) => return Ok(Some(payload::of_removed(id))),
            Subject::Firing(facts) => return Ok(Some(payload::of_firing(facts))),
            Subject::Webhook(id) => return Ok(Some(payload::of_test(*id))),
        };
        let Some(run) = self.runs.ended(&delivery.owner, id).await? else { return Ok(None) };
        let beside = match is_agents {
            true => {
                let source = self.webhooks.store.source(&delivery.owner, id).await?;
                payload::of_agent(&run.execution, &source.unwrap_or_default())
            }
            false => Map::new(),
        };
        if delivery.event == Happened::ConversationCreated {
            return Ok(Some(Value::Object(beside).to_string()));
        }
        Ok(Some(payload::of_run(&run, &self.runs.catalog(), beside)))
    }

    fn request(
        &self,
        to: &To,
        (delivery, body): (&Delivery, bytes::Bytes),
        secrets: &[SecretString],
    ) -> Result<Outgoing> {
        let url = Url::parse(to.url()).map_err(Error::internal)?;
        let mut request = Outgoing::new(Method::POST, url);
        let seconds = self.webhooks.clock.now().as_second();
        request.headers = sign::headers((&delivery.id.to_string(), seconds), &body, secrets)?;
        request.body = Payload::Bytes(body);
        Ok(request)
    }

    /// What a receiver's answer means.
    async fn answered(
        &self,
        delivery: &Delivery,
        to: &To,
        (status, asked): (StatusCode, Option<Duration>),
    ) -> Result<Ended> {
        let code = status.as_u16();
        let ended = |error: Option<String>, next| Ended {
            status: Some(code),
            error,
            next,
            is_doubtful: false,
        };
        if status.is_success() {
            return Ok(ended(None, Next::Delivered));
        }
        if status == StatusCode::GONE {
            if let To::Subscription(webhook) = to {
                self.disable(webhook).await?;
            }
            return Ok(ended(Some("the receiver answered 410: it is gone".into()), Next::Dead));
        }
        let error = match status.is_redirection() {
            true => format!("the receiver answered {code}: redirects are not followed"),
            false => format!("the receiver answered {code}"),
        };
        Ok(ended(Some(error), self.again(delivery, asked)?))
    }

    /// Nothing is sent any more to a receiver that says it is gone.
    async fn disable(&self, webhook: &Subscription) -> Result<()> {
        let (store, at) = (&self.webhooks.store, self.webhooks.clock.now());
        let reason = "the receiver answered 410 Gone".to_owned();
        let change = Change::Disable(Disabled { at, reason });
        if store.change_webhook(&webhook.owner, webhook.id, &change).await? {
            let entry = Entry::new(at, Actor::System, webhook.owner.clone());
            store.append_audit(&entry.event("webhook.disabled").target(webhook.id)).await?;
        }
        Ok(())
    }

    /// What becomes of a message that was not taken.
    fn again(&self, delivery: &Delivery, asked: Option<Duration>) -> Result<Next> {
        let random = u64::from_le_bytes(id::random()?);
        let pause = self.settings.pause(delivery.attempts, (asked, random));
        let at = pause.and_then(|pause| self.now().checked_add(pause).ok());
        Ok(at.map_or(Next::Dead, Next::Again))
    }

    /// What becomes of a message that could not be made.
    fn failed(&self, delivery: &Delivery, error: &Error) -> Ended {
        tracing::error!(delivery = %delivery.id, error = %error.log_line(), "nothing was delivered");
        let next = self.again(delivery, None).unwrap_or(Next::Undone);
        let error = Some("the message could not be made".to_owned());
        Ended { status: None, error, next, is_doubtful: true }
    }

    /// Says what became of the message. A store that does not answer is asked again as long as
    /// nobody else has it: what has arrived should not arrive again.
    async fn settle(&self, settled: &Settled, deadline: Deadline) {
        loop {
            match self.webhooks.store.settle_deliveries(std::slice::from_ref(settled)).await {
                Ok(_) => return,
                Err(error) if deadline.remaining() > PAUSE => {
                    tracing::warn!(error = %error.log_line(), "the end of a delivery is not recorded yet");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    let (id, error) = (settled.lease.id, error.log_line());
                    return tracing::error!(delivery = %id, error, "a message will be sent again");
                }
            }
        }
    }
}

/// Reads what a receiver says beside its status, and throws it away: a connection can be used again
/// when its answer was read. One that never ends is cut.
async fn drain(body: Body) {
    let Body::Chunks(mut chunks) = body else { return };
    let mut read = 0;
    while let Some(Ok(chunk)) = chunks.next().await {
        read += chunk.len();
        if read > ANSWER {
            return;
        }
    }
}

/// Why nothing was taken, without an address that the receiver's name resolved to.
fn said(error: &Error) -> String {
    if error.kind() == ErrorKind::Timeout {
        return "the receiver did not answer in time".into();
    }
    error.message().replace("the service", "the receiver")
}
