use super::*;
use crate::declaration::Source;

fn scheme(text: &str) -> Arc<dyn AuthScheme> {
    let text = format!("[auth]\nscheme = \"signature\"\n{text}");
    Source::new("x.toml", &text)
        .read(|top| super::super::declare(&top.table("auth")?, &[]))
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn signed(text: &str, key: &str, url: &str, body: &'static str) -> Outgoing {
    let mut request = Outgoing::new(http::Method::POST, url.parse().unwrap());
    request.body = Payload::Bytes(body.into());
    let given = serde_json::json!({"key_id": "me", "secret": key});
    let scheme = scheme(text);
    let credential = scheme.accept(given.as_object().unwrap()).ok().unwrap();
    let at = Moment { now: jiff::Timestamp::from_second(7).unwrap(), nonce: [1; 16] };
    scheme.sign(&mut request, &credential, &at).unwrap();
    request
}

/// RFC 4231 section 4.3 (test case 2), and RFC 2202 section 3 (test case 2) for SHA-1.
#[test]
fn the_codes_of_rfc_4231_and_rfc_2202_come_out() {
    let text = "what do ya want for nothing?";
    for (hash, code) in [
        ("sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        ("sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    ] {
        let declared = format!(
            "hash = \"{hash}\"\nmessage = \"{text}\"\nheaders = {{ x-signature = \"{{signature}}\" }}"
        );
        let request = signed(&declared, "Jefe", "https://a.test/", "");
        assert_eq!(request.headers["x-signature"], code);
        assert!(request.headers["x-signature"].is_sensitive());
    }
}

#[test]
fn the_signed_text_is_what_is_sent() {
    let declared = r#"
message = "{request.method}|{request.host}|{request.target}|{request.body}|{moment.seconds}"
headers = { x-time = "{moment.seconds}", x-key = "{credential.key_id}", x-text = "{request.target}" }
query = { sig = "{signature}" }
encoding = "base64"
"#;
    let request = signed(declared, "k", "https://a.test:8443/x%2Fy?b=1&a=2", "{}");
    assert_eq!(request.headers["x-time"], "7");
    assert_eq!(request.headers["x-key"], "me");
    assert_eq!(request.headers["x-text"], "/x%2Fy?b=1&a=2");
    let mac = Hmac::<Sha256>::new_from_slice(b"k").unwrap();
    let text = "POST|a.test:8443|/x%2Fy?b=1&a=2|{}|7";
    let expected = STANDARD.encode(mac.chain_update(text).finalize().into_bytes());
    assert_eq!(request.url.query_pairs().last().unwrap().1, expected);
}
