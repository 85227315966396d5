use jiff::Timestamp;

use super::*;

/// RFC 7515 appendix A.1: the key is 64 bytes, written there in base64url.
#[test]
fn hs256_of_rfc_7515_comes_out() {
    let key =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let key = Key::shared(&URL_SAFE_NO_PAD.decode(key).unwrap()).unwrap();
    let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                   eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    assert_eq!(
        URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).unwrap()),
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
}

#[test]
fn a_token_has_three_parts_and_says_how_it_is_signed() {
    let key = Key::parse(Algorithm::Hs256, "secret").unwrap();
    let token = key.jwt(&jose(Algorithm::Hs256, Some("k1")), &json!({"sub": "me"})).unwrap();
    let parts = token.split('.').collect::<Vec<_>>();
    let read = |text: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    };
    assert_eq!(read(parts[0]), json!({"alg": "HS256", "typ": "JWT", "kid": "k1"}));
    assert_eq!(read(parts[1]), json!({"sub": "me"}));
    assert_eq!(parts.len(), 3);
}

#[test]
fn a_client_proves_itself_for_five_minutes_to_one_endpoint() {
    let key = Key::parse(Algorithm::Hs256, "secret").unwrap();
    let at = Moment { now: Timestamp::from_second(1000).unwrap(), nonce: [0xab; 16] };
    let whom = ("client", "https://id.test/token");
    let proof = assertion((Algorithm::Hs256, &key), None, whom, &at).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(proof.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(
        claims,
        json!({
            "iss": "client", "sub": "client", "aud": "https://id.test/token",
            "iat": 1000, "exp": 1300, "jti": "abababababababababababababababab",
        })
    );
}

#[cfg(feature = "private-keys")]
mod private {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    /// What appendix A of RFC 7515 signs, with `{"alg":"RS256"}` or `{"alg":"ES256"}` before it.
    const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    /// RFC 7515 appendix A.2; the key is the JWK there, written in PEM.
    const RSA: &str = include_str!("rfc7515-a2.pem");

    /// RFC 7515 appendix A.3; the key is the JWK there, written in PEM.
    const EC: &str = include_str!("rfc7515-a3.pem");

    #[test]
    fn rs256_of_rfc_7515_comes_out() {
        let message = format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}");
        let expected = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7\
                        AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4\
                        BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K\
                        0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv\
                        hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB\
                        p0igcN_IoypGlUPQGe77Rw";
        // With line breaks as they are, and as JSON writes them.
        for pem in [RSA.to_owned(), RSA.trim().replace('\n', "\\n")] {
            let key = Key::parse(Algorithm::Rs256, &pem).unwrap();
            assert_eq!(URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).unwrap()), expected);
        }
    }

    #[test]
    fn es256_is_verified_by_the_public_key_of_rfc_7515() {
        let key = Key::parse(Algorithm::Es256, EC).unwrap();
        let message = format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}");
        let signature = key.sign(message.as_bytes()).unwrap();
        assert_eq!(signature.len(), 64);
        let mut point = vec![4];
        for part in [
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        ] {
            point.extend(URL_SAFE_NO_PAD.decode(part).unwrap());
        }
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        assert!(public.verify(message.as_bytes(), &signature).is_ok());
    }

    #[test]
    fn what_is_no_private_key_is_refused_without_being_repeated() {
        for text in ["SECRET", "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----", EC]
        {
            let error = Key::parse(Algorithm::Rs256, text).err().unwrap();
            assert!(!error.log_line().contains("SECRET"));
        }
    }
}
