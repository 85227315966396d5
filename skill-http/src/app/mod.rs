//! What a handler may use, and the routes that lead to it.

pub(crate) mod rendered;
pub(crate) mod route;
pub(crate) mod streams;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use secrecy::SecretString;
use serde_json::{Map, Value};
use skill_core::{
    Engine, Error, ErrorKind,
    access::{Admitted, Caller},
    json,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::{rendered::Rendered, route::Table, streams::Streams};
use crate::{
    metrics::Metrics,
    reply::Failure,
    request::{Members, Query, check_content_type, object},
};

/// Everything that requests share.
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) table: Table,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) public_url: Url,
    pub(crate) admin_secret: Option<SecretString>,
    /// Whether calls answer with the upstream's status instead of 200.
    pub(crate) mirror_status: bool,
    /// What was written for the present catalogue.
    pub(crate) rendered: Rendered,
    /// Paths of dialects that are not spoken at the public door.
    pub(crate) hidden: BTreeSet<&'static str>,
    /// Streams of events that are open, and requests that wait for a run.
    pub(crate) events: Streams,
    /// How often such a stream says that it is alive.
    pub(crate) events_keep_alive: Duration,
    /// Cancelled when the server stops taking requests.
    pub(crate) stopping: CancellationToken,
    /// When the store answered last, in steady time.
    pub(crate) answered: Mutex<Option<Duration>>,
}

/// How long an answer of the store is believed: asking writes to the disk, and anybody may ask.
const BELIEVED: Duration = Duration::from_secs(1);

impl App {
    /// Answers when calls can be served.
    pub(crate) async fn ready(&self) -> Result<(), Error> {
        if self.stopping.is_cancelled() {
            return Err(Error::new(ErrorKind::Unavailable, "the server is stopping"));
        }
        let now = self.engine.clock().steady();
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.is_some_and(|at| now < at + BELIEVED) {
            return Ok(());
        }
        self.engine.ready().await?;
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }
}

/// One request, after everything that is common to all of them.
pub(crate) struct Context {
    pub(crate) app: Arc<App>,
    /// Who calls; routes that ask for no key have nobody.
    pub(crate) admitted: Option<Admitted>,
    /// The values of the path, in order.
    pub(crate) values: Vec<String>,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Context {
    /// Who calls.
    pub(crate) fn admitted(&self) -> Result<&Admitted, Error> {
        self.admitted.as_ref().ok_or_else(|| Error::internal("a route without a caller"))
    }

    /// Who calls.
    pub(crate) fn caller(&self) -> Result<&Caller, Error> {
        Ok(self.admitted()?.caller())
    }

    /// A value of the path.
    pub(crate) fn value(&self, at: usize) -> &str {
        self.values.get(at).map_or("", String::as_str)
    }

    /// The query.
    pub(crate) fn query(&self) -> Query<'_> {
        Query::new(&self.query)
    }

    /// The body, which is a JSON object; an empty body is an empty one.
    pub(crate) fn object(&self) -> Result<Map<String, Value>, Failure> {
        check_content_type(&self.headers)?;
        Ok(object(&self.body, &json::Limits::CALL)?)
    }

    /// The members of the body, which are read one by one.
    pub(crate) fn members(&self) -> Result<Members, Failure> {
        self.object().map(Members::new)
    }

    /// A cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let all = self.headers.get_all(http::header::COOKIE).iter();
        let mut pairs =
            all.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
        pairs
            .find_map(|pair| pair.trim().split_once('=').filter(|(key, _)| *key == name))
            .map(|p| p.1)
    }
}
