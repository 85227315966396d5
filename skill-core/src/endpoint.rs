//! Endpoints: one operation of an outside service, as pure functions.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value};
use url::Url;

use crate::{
    error::{Error, Result},
    name::Slug,
    pages::Pages,
    record::{connection::Fields, execution::Class},
    schema::Schema,
    tool::{Form, Status},
    transport::{
        Payload,
        target::{self, Target},
    },
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
    /// Whether its calls carry a file, which is no parameter.
    pub takes_file: bool,
    /// Whether its answer is a file, which can be read as it comes.
    pub answers_file: bool,
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
    /// Where it goes, under that.
    pub target: Target,
    /// What it goes under, when that is not the base of its integration.
    pub under: Option<Under>,
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

impl Draft {
    /// The address; `base` is that of the integration.
    ///
    /// # Errors
    /// As [`Target::join`].
    pub fn url(&self, base: &Url) -> Result<Url> {
        match &self.under {
            None => self.target.join(base),
            Some(Under::Path(path)) => self.target.join(&target::rooted(base, path)),
            Some(Under::Url(url)) => self.target.join(url),
        }
    }
}

/// What a request goes under instead of the base of its integration. The credential goes there too:
/// this is a declaration's to say, and never a caller's.
///
/// ```
/// use skill_core::endpoint::{Draft, Under};
/// let base = "https://api.example.com/v2".parse().expect("a valid URL");
/// let draft = Draft { under: Some(Under::Path("/upload/v2".into())), ..Draft::default() };
/// assert_eq!(draft.url(&base)?.as_str(), "https://api.example.com/upload/v2");
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Under {
    /// Another path on the same host.
    Path(String),
    /// Another address.
    Url(Url),
}

/// A file that a call carries.
///
/// ```
/// use http::HeaderValue;
/// use skill_core::{endpoint::File, transport::Payload};
/// let text = HeaderValue::from_static("text/plain");
/// let file = File::new("a.txt", text.clone(), Payload::Bytes("a".into()))?;
/// assert_eq!(file.name(), "a.txt");
/// assert!(File::new("../a.txt", text, Payload::Empty).is_err());
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug)]
pub struct File {
    /// What it is called: no path, and nothing that could end the name where it is written.
    pub(crate) name: String,
    /// What it is.
    pub(crate) content_type: HeaderValue,
    /// How many bytes it has, when it is a stream and that is known.
    pub length: Option<u64>,
    /// Its bytes. A stream is sent once.
    pub(crate) body: Payload,
    /// What stands between the parts of a body. Whoever sends the file does not know it.
    pub(crate) boundary: String,
}

impl File {
    /// Returns a file whose length nobody knows before it ends.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a name that is a path, is
    /// longer than 255 bytes or holds control characters.
    pub fn new(name: &str, content_type: HeaderValue, body: Payload) -> Result<Self> {
        let is_path = matches!(name, "" | "." | "..") || name.contains(['/', '\\']);
        if is_path || name.len() > 255 || name.chars().any(char::is_control) {
            let message = "expected the name of a file of at most 255 bytes, without a path and \
                           without control characters";
            return Err(Error::invalid(message));
        }
        let (name, boundary) = (name.to_owned(), String::new());
        Ok(Self { name, content_type, length: None, body, boundary })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same file, for a body whose parts `mark` tells apart.
    pub(crate) fn within(self, mark: &str) -> Self {
        Self { boundary: format!("skill-{mark}"), ..self }
    }
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

    /// Drafts the request that carries a file.
    ///
    /// # Errors
    /// As [`request`](Self::request), and when it takes no file.
    fn upload(&self, _params: &Map<String, Value>, _fields: &Fields, _file: File) -> Result<Draft> {
        Err(no_file())
    }
}

/// What an endpoint says to a file that it does not take.
pub(crate) fn no_file() -> Error {
    Error::invalid("this endpoint takes no file: send its parameters alone, as JSON")
}

const _: Option<&dyn Endpoint> = None;
