use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::*;
use crate::declaration::Source;

fn scheme(text: &str) -> Arc<dyn AuthScheme> {
    let text = format!("[auth]\nscheme = \"jwt\"\nalgorithm = \"HS256\"\n{text}");
    Source::new("x.toml", &text)
        .read(|top| super::super::declare(&top.table("auth")?, &[]))
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn at() -> Moment {
    Moment { now: Timestamp::from_second(1000).unwrap(), nonce: [0; 16] }
}

const KEY: &str = r#"
key_id = "{credential.id}"
key_encoding = "hex"
lifetime_s = 300
backdate_s = 60
claims = { aud = "/admin/", iss = "{credential.id}" }
headers = { authorization = "Ghost {jwt}" }
[auth.fields.id]
secret = false
[auth.fields.secret]
label = "Secret"
"#;

#[test]
fn each_request_carries_a_token_that_was_signed_for_it() {
    let scheme = scheme(KEY);
    let given = json!({"id": "k1", "secret": "00ff"});
    let credential = scheme.accept(given.as_object().unwrap()).ok().unwrap();
    assert!(!scheme.is_renewable(&credential));
    let mut request = Outgoing::get("https://a.test".parse().unwrap());
    scheme.sign(&mut request, &credential, &at()).unwrap();
    let header = request.headers[header::AUTHORIZATION].to_str().unwrap();
    let token = header.strip_prefix("Ghost ").unwrap();
    assert_eq!(claims(token), json!({"aud": "/admin/", "iss": "k1", "iat": 940, "exp": 1300}));
    let wrong = json!({"id": "k1", "secret": "no hex"});
    assert!(scheme.accept(wrong.as_object().unwrap()).is_err());
}

const EXCHANGED: &str = r#"
claims = { iss = "{credential.email}", scope = "a b" }
[auth.fields.email]
secret = false
[auth.fields.private_key]
lines = true
[auth.exchange]
url = "https://id.test/token"
form = { grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion = "{jwt}" }
keep = { access_token = "/access_token" }
expires = "/expires_in"
"#;

#[test]
fn a_token_is_exchanged_for_access_and_again_when_that_ends() {
    let scheme = scheme(EXCHANGED);
    let given = json!({"email": "bot@x.test", "private_key": "k"});
    let credential = scheme.accept(given.as_object().unwrap()).ok().unwrap();
    assert!(credential.is_over(at().now, Duration::ZERO) && scheme.is_renewable(&credential));
    let fields = Fields::new();
    let exchange = Exchange {
        client: None,
        fields: &fields,
        scopes: &[],
        redirect_url: "",
        purpose: Purpose::Renew(&credential),
        at: at(),
    };
    let Ok(Step::Send(request, after)) = scheme.next(&exchange, None) else { panic!("sends") };
    let crate::transport::Payload::Bytes(body) = &request.body else { panic!("a form") };
    let form = url::form_urlencoded::parse(body).into_owned().collect::<Vec<_>>();
    let (_, token) = form.iter().find(|(name, _)| name == "assertion").unwrap();
    assert_eq!(claims(token)["iss"], "bot@x.test");
    let body = r#"{"access_token":"A","expires_in":3600}"#.into();
    let said = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body, after };
    let Ok(Step::Done(new)) = scheme.next(&exchange, Some(&said)) else { panic!("done") };
    assert_eq!(new.expires_at.unwrap().as_second(), 4600);
    assert_eq!(new.find("private_key"), Some("k"), "the key stays for the next time");
    let mut request = Outgoing::get("https://a.test".parse().unwrap());
    scheme.sign(&mut request, &new, &at()).unwrap();
    assert_eq!(request.headers[header::AUTHORIZATION], "Bearer A");
}
