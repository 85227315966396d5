//! Endpoints: one operation of an outside service, as pure functions.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, Method};
use serde_json::{Map, Value};

use crate::{
    error::Result,
    name::Slug,
    pages::Pages,
    record::{connection::Fields, execution::Class},
    schema::Schema,
    tool::{Form, Status},
    transport::{Payload, target::Target},
};

/// What is known about an endpoint without calling it.
#[derive(Debug)]
pub struct EndpointInfo {
    /// Its name.
    pub name: Slug,
    /// What it does, in one line.
    pub summary: String,
    /// Where its service documents it.
    pub docs: Option<String>,
    /// The method it is called with.
    pub method: Method,
    /// Its path under the base, as people write it.
    pub path: String,
    /// What its parameters must look like.
    pub schema: Schema,
    /// What it does to the outside.
    pub class: Class,
    /// Whether calling it twice does no more than calling it once.
    pub is_idempotent: bool,
    /// Whether it must never be sent again after an unknown outcome, whatever else is true.
    pub is_at_most_once: bool,
    /// The header in which the service takes an idempotency key.
    pub idempotency_header: Option<HeaderName>,
    /// How long a call may take, when it is another time than the engine's own.
    pub timeout: Option<Duration>,
    /// How many calls of one owner it takes in any 60 seconds.
    pub rate_limit: Option<u32>,
    /// How far it is to be relied on.
    pub status: Status,
    /// What it belongs to, among the endpoints of its integration: `issues`.
    pub group: Slug,
    /// How its answers come in pages, when they are known to.
    pub pages: Option<Pages>,
    /// Parameters of a call that is worth showing.
    pub example: Option<Map<String, Value>>,
    /// How it shows itself as a tool.
    pub tool: Form,
    /// The hash of everything above that changes what a call means.
    pub revision: Arc<str>,
}

impl EndpointInfo {
    /// Whether a call may be sent again although the first may have taken effect.
    ///
    /// The methods that RFC 9110 section 9.2.2 calls idempotent, and what is declared so.
    pub fn may_repeat(&self, has_idempotency_key: bool) -> bool {
        if self.is_at_most_once {
            return false;
        }
        self.is_idempotent || (has_idempotency_key && self.idempotency_header.is_some())
    }
}

/// A request before it has an address: everything of it that the parameters decide.
///
/// ```
/// let draft = skill_core::endpoint::Draft::default();
/// assert!(draft.headers.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Draft {
    /// Where under the base it goes.
    pub target: Target,
    /// Its headers; none of them is a credential.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Payload,
}

/// Where in a request a parameter goes.
///
/// ```
/// use skill_core::endpoint::Place;
/// assert_ne!(Place::Path, Place::Query);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Into the path.
    Path,
    /// Into the query.
    Query,
    /// Into a header.
    Header,
    /// It is a member of the body.
    Body,
    /// It is the whole body.
    WholeBody,
}

/// One operation of an outside service. No IO, no secrets.
pub trait Endpoint: fmt::Debug + Send + Sync + 'static {
    /// What is known about it.
    fn info(&self) -> &EndpointInfo;

    /// Where a parameter goes, when the endpoint has it and says.
    fn place(&self, _parameter: &str) -> Option<Place> {
        None
    }

    /// Drafts the request for parameters that fit the schema. Parameters that are not declared
    /// never reach it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) naming the parameter that
    /// cannot be sent.
    fn request(&self, params: &Map<String, Value>, fields: &Fields) -> Result<Draft>;
}

const _: Option<&dyn Endpoint> = None;
