use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::*;
use crate::{credential::Client, declaration::Source, error::ErrorKind, transport::Payload};

const AUTH: &str = r#"
scheme = "oauth2"
authorize_url = "https://id.test/authorize?tenant=1"
token_url = "https://id.test/token"
revoke_url = "https://id.test/revoke"
scopes = ["repo", "user"]
authorize_parameters = { access_type = "offline" }
"#;

fn scheme(extra: &str) -> Arc<dyn AuthScheme> {
    let text = format!("[auth]{AUTH}{extra}");
    Source::new("x.toml", &text)
        .read(|top| super::super::declare(&top.table("auth")?, &[]))
        .unwrap()
}

fn exchange<'a>(client: &'a Client, fields: &'a Fields, purpose: Purpose<'a>) -> Exchange<'a> {
    let at = Moment { now: Timestamp::UNIX_EPOCH, nonce: [0; 16] };
    Exchange {
        client: Some(client),
        fields,
        scopes: &[],
        redirect_url: "https://us.test/cb",
        purpose,
        at,
    }
}

type Fields = crate::record::connection::Fields;

fn client() -> Client {
    Client { id: "id".into(), secret: Some("s e:cret".into()) }
}

fn answer(status: u16, body: &str) -> Answer {
    let status = StatusCode::from_u16(status).unwrap();
    Answer {
        status,
        headers: HeaderMap::new(),
        body: body.to_owned().into(),
        after: Progress::default(),
    }
}

fn renew(old: &Credential, answer: &Answer) -> Result<Step> {
    let (client, fields) = (client(), Fields::new());
    let mut answer =
        self::answer(answer.status.as_u16(), std::str::from_utf8(&answer.body).unwrap());
    answer.after.credential = old.clone();
    scheme("").next(&exchange(&client, &fields, Purpose::Renew(old)), Some(&answer))
}

fn grant() -> Credential {
    let mut old = Credential::new([("access_token", "A".into()), ("refresh_token", "R".into())]);
    old.lifetime = Some(Duration::from_secs(60));
    old
}

fn body(request: &Outgoing) -> String {
    let Payload::Bytes(bytes) = &request.body else { panic!("a form has bytes") };
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_authorization_request_carries_pkce_and_keeps_the_declared_query() {
    let (client, fields) = (client(), Fields::new());
    let purpose = Purpose::Authorize { state: "S", challenge: "C" };
    let url = scheme("").authorize(&exchange(&client, &fields, purpose)).unwrap().unwrap();
    let query = url.query().unwrap();
    assert!(query.starts_with("tenant=1&response_type=code&client_id=id&"));
    assert!(query.contains("&scope=repo+user&state=S&code_challenge=C&code_challenge_method=S256"));
    assert!(query.ends_with("&access_type=offline"));
}

#[test]
fn the_client_proves_itself_as_the_declaration_says() {
    let (client, fields, old) = (client(), Fields::new(), grant());
    let cx = exchange(&client, &fields, Purpose::Renew(&old));
    let Step::Send(basic, _) = scheme("").next(&cx, None).ok().unwrap() else { panic!("sends") };
    assert_eq!(basic.headers[header::AUTHORIZATION], "Basic aWQ6cytlJTNBY3JldA==");
    assert_eq!(body(&basic), "grant_type=refresh_token&refresh_token=R");
    let posted = scheme("client_auth = \"body\"");
    let Step::Send(posted, _) = posted.next(&cx, None).ok().unwrap() else { panic!("sends") };
    assert!(posted.headers.get(header::AUTHORIZATION).is_none());
    assert!(body(&posted).ends_with("&client_id=id&client_secret=s+e%3Acret"));
}

#[test]
fn a_renewal_keeps_what_the_provider_leaves_out() {
    let Step::Done(new) =
        renew(&grant(), &answer(200, r#"{"access_token":"B"}"#)).unwrap_or_else(|e| panic!("{e}"))
    else {
        panic!("done")
    };
    assert_eq!(new.find("access_token"), Some("B"));
    assert_eq!(new.find("refresh_token"), Some("R"));
    assert_eq!(new.expires_at.unwrap().as_second(), 60);
}

#[test]
fn odd_but_harmless_answers_are_understood() {
    for text in [
        r#"{"access_token":"B","expires_in":"3600","scope":"a,b"}"#,
        r#"{"access_token":"B","expires_in":3600.0,"scope":"a b","token_type":"weird"}"#,
    ] {
        let Ok(Step::Done(new)) = renew(&grant(), &answer(200, text)) else { panic!("{text}") };
        assert_eq!(new.expires_at.unwrap().as_second(), 3600);
        assert_eq!(new.scopes, ["a", "b"]);
    }
}

#[test]
fn only_a_refused_grant_asks_for_a_person() {
    for text in [r#"{"error":"invalid_grant"}"#, r#"{"error":"bad_refresh_token"}"#] {
        for status in [200, 400] {
            assert!(matches!(renew(&grant(), &answer(status, text)), Ok(Step::Reconnect(_))));
        }
    }
}

#[test]
fn trouble_of_the_token_endpoint_keeps_the_grant_and_leaks_nothing() {
    for (status, text) in [
        (500, r#"{"error":"invalid_grant"}"#),
        (200, "<html>"),
        (200, "[]"),
        (200, r#"{"access_token":7}"#),
        (200, "{\"access_token\":\"B\\nC\"}"),
        (200, r#"{"access_token":"TOKEN","refresh_token":"\u0000"}"#),
        (400, r#"{"error":"temporarily_unavailable","access_token":"TOKEN"}"#),
        (401, r#"{"error":"invalid_client"}"#),
        (302, "{}"),
        (200, &format!(r#"{{"access_token":"{}"}}"#, "x".repeat(70_000))),
    ] {
        let Err(error) = renew(&grant(), &answer(status, text)) else { panic!("{status} {text}") };
        assert_eq!(error.kind(), ErrorKind::UpstreamUnreachable);
        assert!(!error.log_line().contains("TOKEN"), "{error:?}");
    }
}

#[test]
fn an_existing_grant_is_brought_in_with_its_end_and_scopes() {
    let given = serde_json::json!({
        "access_token": "A", "refresh_token": "R",
        "expires_at": "2026-01-01T00:00:00Z", "scopes": ["repo"],
    });
    let grant = scheme("").accept(given.as_object().unwrap()).ok().unwrap();
    assert_eq!(grant.scopes, ["repo"]);
    assert_eq!(grant.expires_at.unwrap().to_string(), "2026-01-01T00:00:00Z");
    let wrong = serde_json::json!({"access_token": "A", "expires_at": 5});
    assert!(scheme("").accept(wrong.as_object().unwrap()).is_err());
}
