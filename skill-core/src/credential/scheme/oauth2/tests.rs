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

fn declared(text: &str) -> Arc<dyn AuthScheme> {
    let read = Source::new("x.toml", text).read(|top| {
        let fields = crate::credential::field::declare(top, false);
        super::super::declare(&top.table("auth")?, &fields)
    });
    read.unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn code<'a>(returned: &'a std::collections::BTreeMap<String, String>) -> Purpose<'a> {
    Purpose::Code { code: "C", verifier: "V", returned }
}

fn sent(step: Result<Step>) -> (Outgoing, Progress) {
    match step {
        Ok(Step::Send(request, after)) => (request, after),
        Ok(Step::Done(_) | Step::Reconnect(_)) => panic!("it ends"),
        Err(error) => panic!("{error:?}"),
    }
}

fn done(step: Result<Step>) -> Credential {
    match step {
        Ok(Step::Done(credential)) => credential,
        Ok(Step::Send(..) | Step::Reconnect(_)) => panic!("it does not end"),
        Err(error) => panic!("{error:?}"),
    }
}

fn said(after: Progress, body: &str) -> Answer {
    Answer { after, ..answer(200, body) }
}

#[test]
fn names_bodies_and_scopes_are_what_the_provider_makes_of_them() {
    let scheme = declared(
        r#"
[fields.site]
hosts = ["*.example.com"]
[auth]
scheme = "oauth2"
authorize_url = "https://{site}/authorize"
token_url = "https://{site}/token"
pkce = false
client_auth = "body"
token_body = "json"
token_headers = { x-version = "7" }
token_parameters = { audience = "https://{site}" }
rename = { client_id = "client_key", scope = "user_scope" }
scopes = ["a", "b"]
optional_scopes = ["c"]
scope_separator = ","
headers = { x-token = "{credential.access_token}" }
"#,
    );
    let (client, returned) = (client(), std::collections::BTreeMap::new());
    let fields = Fields::from([("site".to_owned(), "acme.example.com".to_owned())]);
    let purpose = Purpose::Authorize { state: "S", challenge: "C" };
    let url = scheme.authorize(&exchange(&client, &fields, purpose)).unwrap().unwrap();
    assert_eq!(
        url.as_str(),
        "https://acme.example.com/authorize?response_type=code&client_key=id\
         &redirect_uri=https%3A%2F%2Fus.test%2Fcb&user_scope=a%2Cb&optional_scope=c&state=S"
    );
    let (request, after) = sent(scheme.next(&exchange(&client, &fields, code(&returned)), None));
    assert_eq!(request.url.as_str(), "https://acme.example.com/token");
    assert_eq!(request.headers["x-version"], "7");
    let sent: Value = serde_json::from_str(&body(&request)).unwrap();
    assert_eq!(
        sent,
        serde_json::json!({
            "grant_type": "authorization_code", "code": "C", "redirect_uri": "https://us.test/cb",
            "audience": "https://acme.example.com", "client_key": "id", "client_secret": "s e:cret",
        })
    );
    let cx = exchange(&client, &fields, code(&returned));
    let grant = done(scheme.next(&cx, Some(&said(after, r#"{"access_token":"A"}"#))));
    let mut api = Outgoing::get("https://acme.example.com/x".parse().unwrap());
    scheme.sign(&mut api, &grant, &cx.at).unwrap();
    assert_eq!(api.headers["x-token"], "A");
    assert!(api.headers.get(header::AUTHORIZATION).is_none());
    // A value of the connection cannot take the person, the code or the secret elsewhere.
    let evil = Fields::from([("site".to_owned(), "evil.test".to_owned())]);
    assert!(scheme.next(&exchange(&client, &evil, code(&returned)), None).is_err());
    assert!(scheme.authorize(&exchange(&client, &evil, purpose)).is_err());
}

#[test]
fn an_answer_is_read_where_its_parts_stand() {
    let scheme = declared(
        r#"
[fields.instance]
hosts = ["*.example.com"]
[fields.realm]
pattern = "^[0-9]+$"
[auth]
scheme = "oauth2"
authorize_url = "https://id.test/authorize"
token_url = "https://id.test/token"
callback = { realm = "realmId" }
[auth.answer]
access_token = "/data/token"
refresh_token = "/data/again"
expires = "/data/until"
expires_unit = "ms"
lifetime_s = 90
error = "/code"
gone = ["40001"]
capture = { instance = "/data/url" }
"#,
    );
    assert!(scheme.finds("instance") && scheme.finds("realm") && !scheme.finds("other"));
    let (client, fields) = (client(), Fields::new());
    let returned = [("realmId".to_owned(), "42".to_owned())].into();
    let cx = exchange(&client, &fields, code(&returned));
    let first = || sent(scheme.next(&cx, None)).1;
    let body =
        r#"{"code":0,"data":{"token":"A","again":"R","until":5000,"url":"https://a.example.com"}}"#;
    let grant = done(scheme.next(&cx, Some(&said(first(), body))));
    assert_eq!((grant.find("access_token"), grant.find("refresh_token")), (Some("A"), Some("R")));
    assert_eq!(grant.expires_at.unwrap().as_second(), 5);
    assert_eq!(grant.facts["instance"], "a.example.com");
    assert_eq!(grant.facts["realm"], "42");
    // Without a time it lives as long as the declaration says.
    let body = r#"{"data":{"token":"A","url":"https://a.example.com"}}"#;
    assert_eq!(
        done(scheme.next(&cx, Some(&said(first(), body)))).expires_at.unwrap().as_second(),
        90
    );
    let gone = scheme.next(&cx, Some(&said(first(), r#"{"code":40001}"#)));
    assert!(matches!(gone, Ok(Step::Reconnect(_))));
    let elsewhere = r#"{"data":{"token":"A","url":"https://evil.test"}}"#;
    assert!(scheme.next(&cx, Some(&said(first(), elsewhere))).is_err());
    let odd = [("realmId".to_owned(), "../x".to_owned())].into();
    assert!(scheme.next(&exchange(&client, &fields, code(&odd)), None).is_err());
}

#[test]
#[expect(clippy::too_many_lines, reason = "one grant from its beginning to its end")]
fn a_short_token_is_exchanged_for_a_long_one_that_renews_itself() {
    let scheme = declared(
        r#"
[fields.account]
required = false
[auth]
scheme = "oauth2"
authorize_url = "https://id.test/authorize"
token_url = "https://id.test/token"
[[auth.then]]
url = "https://id.test/long"
query = { grant_type = "exchange", client_secret = "{client.secret}", token = "{credential.access_token}" }
keep = { access_token = "/access_token" }
expires = "/expires_in"
once = true
[[auth.then]]
url = "https://api.test/me"
headers = { authorization = "Bearer {credential.access_token}" }
capture = { account = "/0/id" }
[auth.refresh]
url = "https://id.test/longer"
query = { token = "{credential.access_token}" }
[auth.revoke]
method = "DELETE"
url = "https://api.test/apps/{client.id}/grant"
basic = ["{client.id}", "{client.secret}"]
json = { access_token = "{credential.access_token}" }
"#,
    );
    let (client, mut fields, returned) = (client(), Fields::new(), [].into());
    let cx = exchange(&client, &fields, code(&returned));
    let (_, after) = sent(scheme.next(&cx, None));
    let short = said(after, r#"{"access_token":"SHORT","expires_in":60}"#);
    let (long, after) = sent(scheme.next(&cx, Some(&short)));
    assert_eq!(long.url.query(), Some("client_secret=s+e%3Acret&grant_type=exchange&token=SHORT"));
    let long = said(after, r#"{"access_token":"LONG","expires_in":5000}"#);
    let (me, after) = sent(scheme.next(&cx, Some(&long)));
    assert_eq!(me.headers[header::AUTHORIZATION], "Bearer LONG");
    let grant = done(scheme.next(&cx, Some(&said(after, r#"[{"id":7}]"#))));
    assert_eq!(grant.find("access_token"), Some("LONG"));
    assert_eq!(grant.expires_at.unwrap().as_second(), 5000);
    assert_eq!(grant.facts["account"], "7");
    assert!(scheme.is_renewable(&grant));

    fields.insert("account".to_owned(), "7".to_owned());
    let cx = exchange(&client, &fields, Purpose::Renew(&grant));
    let (renewal, after) = sent(scheme.next(&cx, None));
    assert_eq!(renewal.url.as_str(), "https://id.test/longer?token=LONG");
    let renewed = said(after, r#"{"access_token":"LONGER","expires_in":9000}"#);
    assert_eq!(done(scheme.next(&cx, Some(&renewed))).find("access_token"), Some("LONGER"));

    let cx = exchange(&client, &fields, Purpose::Revoke(&grant));
    let (revocation, _) = sent(scheme.next(&cx, None));
    assert_eq!(revocation.method, http::Method::DELETE);
    assert_eq!(body(&revocation), r#"{"access_token":"LONG"}"#);
    assert_eq!(revocation.headers[header::AUTHORIZATION], "Basic aWQ6cyBlOmNyZXQ=");
}

#[test]
fn an_application_asks_for_itself_and_asks_again() {
    let scheme = declared(
        r#"
[auth]
scheme = "client_credentials"
token_url = "https://id.test/token"
scopes = ["a", "b"]
"#,
    );
    let given = serde_json::json!({"client_id": "me", "client_secret": "s"});
    let credential = scheme.accept(given.as_object().unwrap()).ok().unwrap();
    assert!(credential.is_over(Timestamp::UNIX_EPOCH, Duration::ZERO));
    assert!(scheme.is_renewable(&credential));
    let fields = Fields::new();
    let at = Moment { now: Timestamp::UNIX_EPOCH, nonce: [0; 16] };
    let purpose = Purpose::Renew(&credential);
    let cx = Exchange { client: None, fields: &fields, scopes: &[], redirect_url: "", purpose, at };
    let (request, after) = sent(scheme.next(&cx, None));
    assert_eq!(body(&request), "grant_type=client_credentials&scope=a+b");
    assert_eq!(request.headers[header::AUTHORIZATION], "Basic bWU6cw==");
    let new = done(scheme.next(&cx, Some(&said(after, r#"{"access_token":"A","expires_in":60}"#))));
    assert_eq!((new.find("client_secret"), new.find("access_token")), (Some("s"), Some("A")));
}

#[cfg(feature = "private-keys")]
#[test]
fn a_client_may_prove_itself_by_a_private_key() {
    let scheme = declared(
        r#"
[auth]
scheme = "client_credentials"
token_url = "https://id.test/token"
client_auth = "private_key_jwt"
client_algorithm = "ES256"
client_key_id = "k1"
"#,
    );
    let pem = include_str!("../key/rfc7515-a3.pem");
    let given = serde_json::json!({"client_id": "me", "client_secret": pem});
    let credential = scheme.accept(given.as_object().unwrap()).ok().unwrap();
    let fields = Fields::new();
    let at = Moment { now: Timestamp::UNIX_EPOCH, nonce: [0; 16] };
    let purpose = Purpose::Renew(&credential);
    let cx = Exchange { client: None, fields: &fields, scopes: &[], redirect_url: "", purpose, at };
    let text = body(&sent(scheme.next(&cx, None)).0);
    assert!(text.starts_with("grant_type=client_credentials&client_id=me&client_assertion_type="));
    assert!(text.contains("jwt-bearer&client_assertion=ey") && !text.contains("PRIVATE"));
}

#[test]
fn what_a_scheme_cannot_mean_is_named_with_its_line() {
    for (text, line, what) in [
        ("scheme = \"oauth2\"\nauthorize_url = \"https://{x}.a.test\"\n", 3, "`{x}`"),
        ("scheme = \"oauth2\"\nclient_auth = \"magic\"\n", 3, "client_auth"),
        ("scheme = \"oauth2\"\nissuer_check = \"never\"\n", 3, "issuer_check"),
        ("scheme = \"oauth2\"\nanswer = { access_token = \"token\" }\n", 3, "JSON Pointer"),
        ("scheme = \"oauth2\"\nanswer = { capture = { x = \"/x\" } }\n", 3, "no field `x`"),
        ("scheme = \"api_key\"\nheaders = { x = \"{credential.y}\" }\n", 3, "credential.y"),
        ("scheme = \"steps\"\n", 1, "auth.steps"),
        ("scheme = \"signature\"\nmessage = \"{request.color}\"\n", 3, "request.color"),
        ("scheme = \"basic\"\nusername = \"{credential.z}\"\n", 3, "credential.z"),
    ] {
        let whole = format!("[auth]\n{text}");
        let read = Source::new("x.toml", &whole)
            .read(|top| super::super::declare(&top.table("auth")?, &[]));
        let problems = read.err().unwrap();
        let found = problems.iter().any(|p| p.line == line && p.what.contains(what));
        assert!(found, "{whole}{problems:?}");
    }
}
