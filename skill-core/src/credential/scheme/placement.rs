//! Where a credential stands in a request: headers, query parameters and members of the body, with
//! templates.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use serde_json::{Value, value::RawValue};
use url::form_urlencoded;

use super::names::{Names, Values};
use crate::{
    declaration::Table,
    error::{Error, Result},
    template::Template,
    transport::{Outgoing, Payload},
};

/// What signs a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Placement {
    headers: Vec<(HeaderName, Template)>,
    query: Vec<(String, Template)>,
    /// Members of a JSON body, or fields of a form.
    body: Vec<(String, Template)>,
}

impl Placement {
    pub(super) fn header(name: HeaderName, value: Template) -> Self {
        Self { headers: vec![(name, value)], ..Self::default() }
    }

    pub(super) fn query(name: &str, value: Template) -> Self {
        Self { query: vec![(name.to_owned(), value)], ..Self::default() }
    }

    pub(super) fn body(name: &str, value: Template) -> Self {
        Self { body: vec![(name.to_owned(), value)], ..Self::default() }
    }

    /// Reads `headers`, `query` and `body`; without any, `Authorization` holds `standard`.
    pub(super) fn declare(auth: &Table<'_>, names: &Names<'_>, standard: &str) -> Self {
        let placement = Self {
            headers: names.headers(auth),
            query: names.templates(auth, "query"),
            body: names.templates(auth, "body"),
        };
        if placement != Self::default() {
            return placement;
        }
        match Template::parse(standard) {
            Ok(standard) => Self::header(header::AUTHORIZATION, standard),
            Err(_) => placement,
        }
    }

    pub(super) fn sign(&self, request: &mut Outgoing, values: &Values<'_>) -> Result<()> {
        let find = |name: &str| values.find(name);
        for (name, value) in &self.headers {
            request.headers.insert(name, value.header(&find)?);
        }
        for (name, value) in &self.query {
            request.url.query_pairs_mut().append_pair(name, &value.fill(&find)?);
        }
        if self.body.is_empty() {
            return Ok(());
        }
        let filled = self.body.iter().map(|(name, value)| Ok((name.as_str(), value.fill(&find)?)));
        let filled = filled.collect::<Result<Vec<_>>>()?;
        let pairs = filled.iter().map(|(name, value)| (*name, value.as_str()));
        request.body = Payload::Bytes(signed(request, pairs)?);
        Ok(())
    }
}

/// The body with these members. What a caller calls so too gives way; everything else stays as it is.
fn signed<'a>(
    request: &mut Outgoing,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Bytes> {
    let no_room = || {
        let message = "the credential of this integration stands in the body: expected a JSON \
                       object or a form";
        Error::invalid(message)
    };
    let body = match &request.body {
        Payload::Empty => Bytes::new(),
        Payload::Bytes(bytes) => bytes.clone(),
        Payload::Stream(_) => return Err(no_room()),
    };
    let kind = request.headers.get(header::CONTENT_TYPE).map(|value| value.to_str());
    let kind = kind.transpose().map_err(|_| no_room())?.unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "application/x-www-form-urlencoded" {
        let pairs = pairs.collect::<Vec<_>>();
        let others = form_urlencoded::parse(&body);
        let others = others.filter(|(name, _)| pairs.iter().all(|(own, _)| *own != &**name));
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(others).extend_pairs(&pairs);
        return Ok(form.finish().into());
    }
    if kind != "application/json" && !kind.ends_with("+json") {
        return Err(no_room());
    }
    let text = if body.is_empty() { &b"{}"[..] } else { &body[..] };
    let members = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(text);
    let mut members = members.map_err(|_| no_room())?;
    for (name, value) in pairs {
        let value = Value::from(value).to_string();
        members.insert(name.to_owned(), RawValue::from_string(value).map_err(Error::internal)?);
    }
    let json = HeaderValue::from_static("application/json");
    request.headers.entry(header::CONTENT_TYPE).or_insert(json);
    serde_json::to_vec(&members).map(Bytes::from).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Credential;

    /// The body of a request after it was signed, or that it has no room.
    fn body(kind: Option<&'static str>, body: Payload) -> Option<String> {
        let mut request = Outgoing::get("https://a.test".parse().unwrap());
        request.method = http::Method::POST;
        request.body = body;
        request.headers.extend(kind.map(|k| (header::CONTENT_TYPE, HeaderValue::from_static(k))));
        let credential = Credential::new([("key", "s\"&".into())]);
        let values = Values { fields: None, client: None, credential: &credential, others: &[] };
        let placement = Placement::body("key", Template::value("credential.key"));
        placement.sign(&mut request, &values).ok()?;
        let Payload::Bytes(bytes) = request.body else { return None };
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn a_key_stands_in_the_body_and_nobody_elses_does() {
        let (json, form) = ("application/json; charset=utf-8", "application/x-www-form-urlencoded");
        let bytes = |text: &'static str| Payload::Bytes(text.into());
        let signed = body(Some(json), bytes(r#"{"n":1.50,"key":"theirs"}"#));
        assert_eq!(signed.as_deref(), Some(r#"{"key":"s\"&","n":1.50}"#));
        assert_eq!(body(None, Payload::Empty).as_deref(), Some(r#"{"key":"s\"&"}"#));
        let signed = body(Some(form), bytes("a=1&key=theirs&k%65y=x"));
        assert_eq!(signed.as_deref(), Some("a=1&key=s%22%26"));
    }

    #[test]
    fn a_body_without_room_for_a_key_is_refused() {
        let stream =
            Payload::Stream(std::sync::Mutex::new(Box::pin(futures_util::stream::empty())));
        assert_eq!(body(None, stream), None);
        for (kind, text) in [("application/json", "[1]"), ("text/plain", "{}"), ("", "{}")] {
            assert_eq!(body(Some(kind), Payload::Bytes(text.into())), None, "{kind} {text}");
        }
    }
}
