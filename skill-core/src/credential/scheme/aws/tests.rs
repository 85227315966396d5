use super::*;
use crate::declaration::Source;

/// Source: AWS's own test suite for Signature Version 4, as the crate carries it
/// (aws-signing-test-suite/v4), whose key and moment these are.
fn signed(request: &mut Outgoing, extra: &str) {
    let text =
        format!("[auth]\nscheme = \"aws\"\nregion = \"us-east-1\"\nservice = \"service\"\n{extra}");
    let scheme = Source::new("x.toml", &text)
        .read(|top| super::super::declare(&top.table("auth")?, &[]))
        .unwrap();
    let given = serde_json::json!({
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    });
    let credential = scheme.accept(given.as_object().unwrap()).ok().unwrap();
    let at = Moment { now: "2015-08-30T12:36:00Z".parse().unwrap(), nonce: [0; 16] };
    scheme.sign(request, &credential, &at).unwrap();
}

const SCOPE: &str =
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";

#[test]
fn get_vanilla_of_the_test_suite_comes_out() {
    let mut request = Outgoing::get("https://example.amazonaws.com/".parse().unwrap());
    signed(&mut request, "");
    let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    assert_eq!(
        request.headers["authorization"],
        format!("{SCOPE}, SignedHeaders=host;x-amz-date, Signature={signature}")
    );
    assert_eq!(request.headers["x-amz-date"], "20150830T123600Z");
    assert!(request.headers["authorization"].is_sensitive());
}

#[test]
fn the_body_is_signed_too() {
    let sign = |body: &'static str| {
        let url = "https://example.amazonaws.com/a%20b?x=1".parse().unwrap();
        let mut request = Outgoing::new(http::Method::POST, url);
        request.body = Payload::Bytes(body.into());
        signed(&mut request, "s3 = true");
        let hash = request.headers["x-amz-content-sha256"].clone();
        (request.headers["authorization"].clone(), hash)
    };
    assert_ne!(sign("Param1=value1"), sign("Param1=value2"));
}
