//! The outside service: it keeps a ledger of what it was asked and of what that did, answers when
//! and how it likes, and goes on with a request that nobody waits for any more.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use skill_core::{
    Error, ErrorKind, Result,
    clock::{Clock, Deadline},
    error::Retry,
    transport::{Body, Outgoing, Payload, Response, Transport},
};
use tokio::sync::oneshot;

use super::{node::Node, world::World};

/// What can be asked of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Takes an idempotency key and honours it.
    Charge,
    /// Does it again whenever it is asked.
    Make,
    /// The same, and declared so that it is never repeated; takes a key that it ignores.
    Pay,
    /// Changes nothing.
    Read,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Charge, Self::Make, Self::Pay, Self::Read];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Make => "make",
            Self::Pay => "pay",
            Self::Read => "read",
        }
    }

    pub(crate) fn may_repeat(self) -> bool {
        matches!(self, Self::Charge | Self::Read)
    }

    pub(crate) fn has_effect(self) -> bool {
        self != Self::Read
    }

    pub(crate) fn takes_key(self) -> bool {
        matches!(self, Self::Charge | Self::Pay)
    }
}

/// What the service may be made to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Good,
    Unreachable,
    Busy { wait: Option<u64>, status: u16 },
    Broken { works: bool },
    Refused,
    Cut { works: bool },
    Silent { works: bool },
}

/// What whoever asked learned about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    /// Nothing: the process died, or nobody waited.
    Nothing,
    /// It certainly did not happen.
    Refused,
    /// It may have happened.
    Unknown,
    /// It happened.
    Done,
}

/// One request as it left a process.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) at: Duration,
    pub(crate) node: Arc<Node>,
    pub(crate) tag: String,
    pub(crate) kind: Kind,
    pub(crate) key: Option<String>,
    pub(crate) learned: Learned,
}

/// What it was asked, and what it did.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) asked: Vec<Asked>,
    /// How often something was done, by tag.
    pub(crate) effects: BTreeMap<String, u32>,
    keys: BTreeMap<String, String>,
}

/// The service.
#[derive(Default)]
pub(crate) struct Upstream(Mutex<Ledger>);

impl Upstream {
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }

    fn work(&self, kind: Kind, tag: &str, key: Option<&str>) {
        let mut ledger = self.ledger();
        if kind == Kind::Charge
            && let Some(key) = key
            && ledger.keys.insert(key.to_owned(), tag.to_owned()).is_some()
        {
            return;
        }
        if kind.has_effect() {
            *ledger.effects.entry(tag.to_owned()).or_default() += 1;
        }
    }
}

/// One process' way to the service.
pub(crate) struct Wire {
    pub(crate) node: Arc<Node>,
    pub(crate) world: Arc<World>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    fn fate(&self) -> Fate {
        let (faults, dice) = (self.world.faults(), &self.world.dice);
        if !dice.in_thousand(faults.upstream) {
            return Fate::Good;
        }
        let works = dice.in_thousand(500);
        match dice.below(7) {
            0 => Fate::Unreachable,
            1 => Fate::Busy { wait: Some(dice.below(5)), status: dice.pick(&[429, 503]) },
            2 => Fate::Busy { wait: None, status: dice.pick(&[429, 503]) },
            3 => Fate::Broken { works },
            4 if dice.in_thousand(300) => Fate::Refused,
            4 | 5 => Fate::Cut { works },
            _ => Fate::Silent { works },
        }
    }

    async fn ask(&self, (kind, tag, key): (Kind, String, Option<String>)) -> Result<Response> {
        let (fate, dice) = (self.fate(), &self.world.dice);
        let slow = self.world.faults().slow_upstream;
        let (there, back) = if dice.in_thousand(slow) {
            (dice.delay(8_000), dice.delay(20_000))
        } else {
            (dice.delay(20), dice.delay(20))
        };
        if fate == Fate::Unreachable {
            tokio::time::sleep(there).await;
            return Err(failed("the service cannot be reached", Retry::Safe));
        }
        let (done, end) = oneshot::channel();
        let world = self.world.clone();
        // It is on its way: whatever becomes of this process, it arrives.
        tokio::spawn(async move {
            tokio::time::sleep(there).await;
            let works = match fate {
                Fate::Good => true,
                Fate::Broken { works } | Fate::Cut { works } | Fate::Silent { works } => works,
                Fate::Unreachable | Fate::Busy { .. } | Fate::Refused => false,
            };
            if works {
                world.upstream.work(kind, &tag, key.as_deref());
            }
            tokio::time::sleep(back).await;
            _ = done.send(());
        });
        end.await.map_err(Error::internal)?;
        match fate {
            Fate::Good => answer(200, r#"{"ok":true}"#),
            Fate::Broken { .. } => answer(dice.pick(&[500, 502, 504]), "{}"),
            Fate::Refused => answer(422, "{}"),
            Fate::Busy { wait, status } => {
                let mut busy = answer(status, "{}")?;
                if let Some(wait) = wait {
                    busy.headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
                }
                Ok(busy)
            }
            Fate::Silent { .. } => std::future::pending().await,
            Fate::Unreachable | Fate::Cut { .. } => {
                Err(failed("the connection to the service was cut", Retry::IfIdempotent))
            }
        }
    }
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: Outgoing, deadline: Deadline) -> Result<Response> {
        let Some((kind, tag)) = question(&request) else {
            return answer(200, r#"{"login":"ada"}"#); // the check of a connection
        };
        let name = HeaderName::from_static("idempotency-key");
        let key = request.headers.get(name).map(|key| key.to_str().unwrap().to_owned());
        // Who is stopped here has decided already.
        let at = self.node.steady();
        self.node.pass().await;
        let asked = Asked {
            at,
            node: self.node.clone(),
            tag: tag.clone(),
            kind,
            key: key.clone(),
            learned: Learned::Nothing,
        };
        self.world.note(&self.node, "send", kind.name());
        let number = {
            let mut ledger = self.world.upstream.ledger();
            ledger.asked.push(asked);
            ledger.asked.len() - 1
        };
        let late = || Err(failed("no answer before the deadline", Retry::IfIdempotent));
        let answered = deadline.run(self.ask((kind, tag, key))).await.unwrap_or_else(late);
        self.node.pass().await;
        let learned = match &answered {
            Ok(answer) => learned(answer.status),
            Err(error) if error.retry_state() == Retry::Safe => Learned::Refused,
            Err(_) => Learned::Unknown,
        };
        self.world.upstream.ledger().asked[number].learned = learned;
        self.world.note(&self.node, "answer", kind.name());
        answered
    }
}

fn learned(status: StatusCode) -> Learned {
    match status.as_u16() {
        200 => Learned::Done,
        422 | 429 | 503 => Learned::Refused,
        _ => Learned::Unknown,
    }
}

/// What a request asks for, and for whom.
fn question(request: &Outgoing) -> Option<(Kind, String)> {
    let kind =
        Kind::ALL.into_iter().find(|kind| request.url.path() == format!("/{}", kind.name()))?;
    if request.method == Method::GET {
        let (_, tag) = request.url.query_pairs().find(|(name, _)| name == "tag")?;
        return Some((kind, tag.into_owned()));
    }
    let Payload::Bytes(body) = &request.body else { return None };
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some((kind, body["tag"].as_str()?.to_owned()))
}

fn answer(status: u16, body: &'static str) -> Result<Response> {
    let body = Body::from(Bytes::from_static(body.as_bytes()));
    let mut response = Response::new(StatusCode::from_u16(status).unwrap(), body);
    let json = HeaderValue::from_static("application/json");
    response.headers.insert(header::CONTENT_TYPE, json);
    Ok(response)
}

fn failed(message: &'static str, retry: Retry) -> Error {
    Error::new(ErrorKind::UpstreamUnreachable, message).retry(retry)
}
