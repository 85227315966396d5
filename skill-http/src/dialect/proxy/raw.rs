//! `ANY /v1/{integration}/_raw/{path}`: the raw door. A service's own client needs another base
//! URL and a key of this server; what it sends and gets is its service's own, not an envelope.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Value, json};
use skill_core::{Error, name::Slug, raw};
use url::Url;

use crate::{
    app::{
        Context,
        route::{Access, Operation, RAW, Route},
    },
    credentials,
    dialect::headers::{ANSWERED_BY, EXECUTION, SERVICE, named_connection},
    reply::{Failure, Reply},
};

/// Our other name for an idempotency key, which no service has.
const OUR_KEY: HeaderName = HeaderName::from_static("x-idempotency-key");

pub(super) fn routes() -> Vec<Route> {
    let methods = [
        (Method::GET, "raw_get"),
        (Method::POST, "raw_post"),
        (Method::PUT, "raw_put"),
        (Method::PATCH, "raw_patch"),
        (Method::DELETE, "raw_delete"),
    ];
    let route = |(method, id): (Method, &'static str)| {
        let what = "Pass a request of a service's own client on, as it is";
        let operation = Operation::new(id, what)
            .header("Skill-Connection", json!({"type": "string"}))
            .answer(200, "The service's own answer, under its own status", Value::Null)
            .errors(&[400, 401, 403, 404, 408, 409, 413, 429, 500, 502, 503, 504]);
        // The scope is `slug/_raw`: the engine checks it, on the canonical name.
        Route::new(method, RAW, Access::Key(None), operation, |cx| Box::pin(pass(cx))).streaming()
    };
    methods.map(route).into()
}

async fn pass(mut cx: Context) -> Result<Reply, Failure> {
    let slug = Slug::parse(cx.value(0)).map_err(|_| Failure::no_such_path())?;
    if cx.headers.contains_key(&OUR_KEY) {
        let message = "the raw door keeps no answers to give again: send the service's own \
                       idempotency key, or call a declared endpoint";
        return Err(Error::invalid(message).into());
    }
    let connection = named_connection(None, &cx.headers)?;
    let door = format!("{}/v1/{slug}/_raw", cx.app.public_url.as_str().trim_end_matches('/'));
    let mut request = raw::Request::new(slug, cx.method.clone(), cx.value(1));
    request.query = std::mem::take(&mut cx.query);
    request.headers = std::mem::take(&mut cx.headers);
    credentials::take_out(&mut request.headers);
    (request.body, request.length) = std::mem::take(&mut cx.sent).into();
    request.connection = connection;
    let answer = cx.app.engine.raw(cx.admitted()?, request).await?;
    Ok(render(answer, &door))
}

/// The service's answer. `Skill-Answered-By` tells it from one of ours: no service can send that.
fn render(mut answer: raw::Reply, door: &str) -> Reply {
    lead_back(&mut answer.headers, &answer.base, door);
    as_it_comes(answer)
}

/// An answer of the service, as it comes.
pub(super) fn as_it_comes(answer: raw::Reply) -> Reply {
    let mut headers = answer.headers;
    headers.insert(ANSWERED_BY, HeaderValue::from_static(SERVICE));
    // Whatever a service answers, it is no page of this server.
    let sandbox = HeaderValue::from_static("sandbox; default-src 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, sandbox);
    let reply = Reply { status: answer.status, headers, body: answer.body.into() };
    reply.with(EXECUTION, &answer.execution.to_string())
}

/// Turns addresses of the service in headers into addresses behind this door. A client that follows
/// the next page would otherwise take its key, which is ours, to the service.
fn lead_back(headers: &mut HeaderMap, base: &Url, door: &str) {
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let text = headers.get(&name).and_then(|value| value.to_str().ok());
        let led = text.and_then(|text| behind(text, base, door));
        if let Some(value) = led.and_then(|led| HeaderValue::try_from(led).ok()) {
            headers.insert(name, value);
        }
    }
    let links = headers.get_all(header::LINK).iter().map(|value| link(value, base, door));
    let links = links.collect::<Vec<_>>();
    headers.remove(header::LINK);
    headers.extend(links.into_iter().map(|value| (header::LINK, value)));
}

/// `<address>; rel=…, <address>; rel=…` (RFC 8288).
fn link(value: &HeaderValue, base: &Url, door: &str) -> HeaderValue {
    let led = value.to_str().ok().map(|text| {
        let mut parts = text.split('<');
        let mut led = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (address, rest) = part.split_once('>').unwrap_or((part, ""));
            let address = behind(address, base, door).unwrap_or_else(|| address.to_owned());
            led.push_str(&format!("<{address}>{rest}"));
        }
        led
    });
    led.and_then(|led| HeaderValue::try_from(led).ok()).unwrap_or_else(|| value.clone())
}

/// The address behind the door; `None` for one that does not lie under the door's base.
fn behind(address: &str, base: &Url, door: &str) -> Option<String> {
    let is_whole = address.starts_with('/') || address.contains("://");
    let url = base.join(address).ok().filter(|_| is_whole)?;
    let under = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
    (url.origin() == base.origin() && under.starts_with('/')).then(|| {
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{door}{under}{query}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOOR: &str = "https://skill.test/v1/github/_raw";

    fn led(address: &str) -> Option<String> {
        behind(address, &"https://api.test/v3".parse().unwrap(), DOOR)
    }

    #[test]
    fn only_addresses_under_the_base_lead_back() {
        let page = format!("{DOOR}/a/b?page=2");
        assert_eq!(led("https://api.test/v3/a/b?page=2").as_deref(), Some(&*page));
        assert_eq!(led("/v3/a/b?page=2").as_deref(), Some(&*page));
        for elsewhere in [
            "https://evil.test/v3/a",
            "http://api.test/v3/a",
            "https://api.test:8443/v3/a",
            "https://api.test/v31/a",
            "https://api.test/v3/../x",
            "//evil.test/v3/a",
            "a/b",
            "",
        ] {
            assert_eq!(led(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn links_keep_all_but_the_address() {
        let value = HeaderValue::from_static(
            "<https://api.test/v3/a?page=2>; rel=\"next\", <https://evil.test/x>; rel=\"last\"",
        );
        let led = link(&value, &"https://api.test/v3".parse().unwrap(), DOOR);
        let wanted =
            format!("<{DOOR}/a?page=2>; rel=\"next\", <https://evil.test/x>; rel=\"last\"");
        assert_eq!(led, wanted);
    }
}
