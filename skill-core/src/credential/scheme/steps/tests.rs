use http::{HeaderMap, StatusCode};

use super::*;
use crate::{declaration::Source, record::connection::Fields, transport::Payload};

const AUTH: &str = r#"
[fields.site]
hosts = ["*.example.com"]
[fields.tenant]
required = false

[auth]
scheme = "steps"
headers = { x-session = "{credential.session}" }

[[auth.steps]]
url = "https://{site}/login"
basic = ["{credential.username}", "{credential.password}"]
json = { want = ["session"], deep = { user = "{credential.username}" } }
keep = { ticket = "/data/ticket" }

[[auth.steps]]
url = "https://{site}/session"
headers = { x-ticket = "{credential.ticket}" }
keep = { session = "/session" }
capture = { tenant = "/tenants/0/id" }
expires = "/until"
expires_unit = "time"
gone = ["locked"]
"#;

fn scheme() -> Arc<dyn AuthScheme> {
    Source::new("x.toml", AUTH)
        .read(|top| {
            let fields = crate::credential::field::declare(top, false);
            super::super::declare(&top.table("auth")?, &fields)
        })
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn answer(after: Progress, body: &str) -> Answer {
    let body = body.to_owned().into();
    Answer { status: StatusCode::OK, headers: HeaderMap::new(), body, after }
}

#[test]
fn a_login_of_two_steps_ends_in_a_session_that_is_made_again() {
    let scheme = scheme();
    let given = serde_json::json!({"username": "me", "password": "p:w"});
    let credential = scheme.accept(given.as_object().unwrap()).ok().unwrap();
    assert!(credential.is_over(Timestamp::UNIX_EPOCH, std::time::Duration::ZERO));
    assert!(scheme.is_renewable(&credential) && scheme.finds("tenant") && !scheme.finds("site"));
    let fields = Fields::from([("site".to_owned(), "a.example.com".to_owned())]);
    let exchange = Exchange {
        client: None,
        fields: &fields,
        scopes: &[],
        redirect_url: "",
        purpose: Purpose::Renew(&credential),
        at: Moment { now: Timestamp::UNIX_EPOCH, nonce: [0; 16] },
    };
    let Ok(Step::Send(login, after)) = scheme.next(&exchange, None) else { panic!("sends") };
    assert_eq!(login.url.as_str(), "https://a.example.com/login");
    assert_eq!(login.headers["authorization"], "Basic bWU6cDp3");
    let Payload::Bytes(body) = &login.body else { panic!("a body") };
    assert_eq!(&body[..], br#"{"deep":{"user":"me"},"want":["session"]}"#);
    let said = answer(after, r#"{"data":{"ticket":"T"}}"#);
    let Ok(Step::Send(second, after)) = scheme.next(&exchange, Some(&said)) else { panic!() };
    assert_eq!(second.headers["x-ticket"], "T");
    assert_eq!(second.method, http::Method::GET);
    let said = r#"{"session":"S","tenants":[{"id":42}],"until":"1970-01-01T01:00:00Z"}"#;
    let Ok(Step::Done(new)) = scheme.next(&exchange, Some(&answer(after, said))) else { panic!() };
    assert_eq!(new.expires_at.unwrap().as_second(), 3600);
    assert_eq!(new.facts["tenant"], "42");
    let mut request = Outgoing::get("https://a.example.com/x".parse().unwrap());
    scheme.sign(&mut request, &new, &exchange.at).unwrap();
    assert_eq!(request.headers["x-session"], "S");
}

#[test]
fn a_login_that_is_refused_for_good_asks_for_a_person() {
    let scheme = scheme();
    let (fields, credential) = (Fields::new(), Credential::default());
    let exchange = Exchange {
        client: None,
        fields: &fields,
        scopes: &[],
        redirect_url: "",
        purpose: Purpose::Renew(&credential),
        at: Moment { now: Timestamp::UNIX_EPOCH, nonce: [0; 16] },
    };
    let after = Progress { step: 1, credential: Credential::default() };
    let said = answer(after, r#"{"error":"locked"}"#);
    assert!(matches!(scheme.next(&exchange, Some(&said)), Ok(Step::Reconnect(_))));
    assert!(scheme.next(&exchange, None).is_err(), "the site is not known");
}

#[test]
fn a_session_may_come_in_headers_and_a_login_may_be_signed() {
    const LOGIN: &str = r#"
[auth]
scheme = "steps"
headers = { cookie = "{credential.session}", x-csrf = "{credential.csrf}" }

[[auth.steps]]
url = "https://a.test/login"
method = "POST"
headers = { x-sign = "{hex(hmac_sha256(credential.password, moment.seconds, credential.username))}" }
keep = { session = "header:set-cookie", csrf = "header:X-CSRF" }
"#;
    let scheme = Source::new("x.toml", LOGIN)
        .read(|top| super::super::declare(&top.table("auth")?, &[]))
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    let given = serde_json::json!({"username": "me", "password": "Jefe"});
    let credential = scheme.accept(given.as_object().unwrap()).ok().unwrap();
    let exchange = Exchange {
        client: None,
        fields: &Fields::new(),
        scopes: &[],
        redirect_url: "",
        purpose: Purpose::Renew(&credential),
        at: Moment { now: Timestamp::from_second(7).unwrap(), nonce: [0; 16] },
    };
    let Ok(Step::Send(request, after)) = scheme.next(&exchange, None) else { panic!("no login") };
    // HMAC-SHA-256 of "7me" under "Jefe".
    let code = "c15122ecf29e1cb42320a2ae792b60181792ec029c7a8d60aaf25b695ca0764a";
    assert_eq!(request.headers["x-sign"].to_str().unwrap(), code);
    let mut headers = HeaderMap::new();
    headers.append("set-cookie", "sid=1; Path=/; HttpOnly".parse().unwrap());
    headers.append("set-cookie", "lang=en; Secure".parse().unwrap());
    headers.insert("x-csrf", "c7".parse().unwrap());
    let answer = Answer { status: StatusCode::OK, headers, body: "welcome".into(), after };
    let Ok(Step::Done(session)) = scheme.next(&exchange, Some(&answer)) else {
        panic!("no session")
    };
    let mut request = Outgoing::get("https://a.test/x".parse().unwrap());
    scheme.sign(&mut request, &session, &exchange.at).unwrap();
    assert_eq!(request.headers["cookie"], "sid=1; lang=en");
    assert_eq!(request.headers["x-csrf"], "c7");
}
