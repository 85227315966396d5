//! Bodies on their way to a service: JSON, forms, and the forms that files go out in.

use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Map, Value};

use super::parameter::{self, Place, scalar};
use crate::{
    declaration::Table,
    endpoint::File,
    error::{Error, Result},
    transport::Payload,
};

/// How the body of a request is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoding {
    Json,
    Form,
    /// With a file, and what that is called as a part of a form.
    File(Form, String),
}

/// How a file goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// It is the body.
    Whole,
    /// It is the last part of a form (RFC 7578); other members are parts before it.
    Multipart,
    /// It follows the other members, which are one part of JSON (RFC 2387).
    Related,
}

impl Encoding {
    /// Reads `body` and `file`.
    pub(super) fn declare(table: &Table<'_>) -> Option<Self> {
        let form = match table.text("body") {
            None | Some("json") => return Some(Self::Json),
            Some("form") => return Some(Self::Form),
            Some("file") => Form::Whole,
            Some("multipart") => Form::Multipart,
            Some("related") => Form::Related,
            Some(other) => {
                let expected = "`body`: expected `json`, `form`, `file`, `multipart` or `related`";
                table.problem("body", format!("{expected}, got `{other}`"));
                return None;
            }
        };
        let part = match form {
            Form::Multipart => table.text("file").unwrap_or("file"),
            Form::Whole | Form::Related => "",
        };
        if !part.is_empty() && !is_name(part) {
            table.problem("file", "`file`: expected a name without quotes and control characters");
        }
        Some(Self::File(form, part.to_owned()))
    }

    /// Checks that what stands in the body can stand there.
    pub(super) fn check<'a>(&self, table: &Table<'_>, places: impl Iterator<Item = &'a Place>) {
        for place in places {
            let name = match (place, self) {
                (Place::WholeBody, Self::Json) => continue,
                (Place::WholeBody, Self::Form | Self::File(..)) => {
                    table.problem("params", "a parameter that is the whole body needs a JSON body");
                    continue;
                }
                (Place::Body(name), _) => name,
                (Place::Path | Place::Query(..) | Place::Header(_), _) => continue,
            };
            match self {
                Self::Json | Self::File(Form::Related, _) => {}
                Self::File(Form::Whole, _) => {
                    let what = "the body is the file, and has no room for it";
                    table.problem("params", format!("`{name}`: {what}"));
                }
                Self::Form | Self::File(Form::Multipart, _) if name.starts_with('/') => {
                    table.problem("params", "a name that begins with `/` needs a JSON body");
                }
                Self::File(Form::Multipart, part) if name == part => {
                    table.problem("params", format!("`{name}` is the file"));
                }
                Self::File(Form::Multipart, _) if !is_name(name) => {
                    table.problem("params", format!("`{name}` cannot name a part of a form"));
                }
                Self::Form | Self::File(Form::Multipart, _) => {}
            }
        }
    }

    /// Whether requests carry a file.
    pub(super) fn takes_file(&self) -> bool {
        matches!(self, Self::File(..))
    }

    /// Writes members that go without a file.
    pub(super) fn write(&self, members: Map<String, Value>) -> (String, &'static str) {
        match self {
            Self::Form => (parameter::form(&members), "application/x-www-form-urlencoded"),
            Self::Json | Self::File(..) => (Value::Object(members).to_string(), "application/json"),
        }
    }
}

/// Whether a text can stand between the quotes of a part's header.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_control() || c == '"')
}

/// Writes the body of an upload, and its headers.
pub(super) fn with_file(
    (form, part): (Form, &str),
    (members, file): (&Map<String, Value>, File),
    headers: &mut HeaderMap,
) -> Result<Payload> {
    let kind = file.content_type.clone();
    let boundary = file.boundary.clone();
    let mut before = BytesMut::new();
    let written = match form {
        Form::Whole => kind,
        Form::Multipart => {
            for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
                let text = scalar(value).unwrap_or_else(|| value.to_string());
                let named = format!("form-data; name=\"{name}\"");
                open(&mut before, &boundary, &[("Disposition", named.as_bytes())]);
                before.extend_from_slice(text.as_bytes());
                before.extend_from_slice(b"\r\n");
            }
            // The mark that would end a name is encoded, as browsers do.
            let name = file.name.replace('"', "%22");
            let named = format!("form-data; name=\"{part}\"; filename=\"{name}\"");
            let about = [("Disposition", named.as_bytes()), ("Type", kind.as_bytes())];
            open(&mut before, &boundary, &about);
            multipart("form-data", &boundary)?
        }
        Form::Related => {
            let json = Value::Object(members.clone()).to_string();
            open(&mut before, &boundary, &[("Type", &b"application/json; charset=UTF-8"[..])]);
            before.extend_from_slice(json.as_bytes());
            before.extend_from_slice(b"\r\n");
            open(&mut before, &boundary, &[("Type", kind.as_bytes())]);
            multipart("related", &boundary)?
        }
    };
    let after = match form {
        Form::Whole => Bytes::new(),
        Form::Multipart | Form::Related => format!("\r\n--{boundary}--\r\n").into(),
    };
    headers.insert(header::CONTENT_TYPE, written);
    Ok(around(before.freeze(), file, after, headers))
}

fn multipart(kind: &str, boundary: &str) -> Result<HeaderValue> {
    HeaderValue::try_from(format!("multipart/{kind}; boundary={boundary}")).map_err(Error::internal)
}

/// Begins a part: its headers, each without `Content-`, and the empty line.
fn open(body: &mut BytesMut, boundary: &str, about: &[(&str, &[u8])]) {
    body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
    for (name, value) in about {
        body.extend_from_slice(format!("Content-{name}: ").as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"\r\n");
}

/// The file between what goes before and after it. What is at hand stays at hand.
fn around(before: Bytes, file: File, after: Bytes, headers: &mut HeaderMap) -> Payload {
    let chunks = match file.body {
        Payload::Empty => return Payload::Bytes([before, after].concat().into()),
        Payload::Bytes(bytes) => return Payload::Bytes([before, bytes, after].concat().into()),
        Payload::Stream(chunks) => chunks.into_inner().unwrap_or_else(PoisonError::into_inner),
    };
    if let Some(length) = file.length {
        let length = length.saturating_add((before.len() + after.len()) as u64);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let piece = |bytes: Bytes| stream::iter((!bytes.is_empty()).then_some(Ok(bytes)));
    Payload::Stream(Mutex::new(piece(before).chain(chunks).chain(piece(after)).boxed()))
}
