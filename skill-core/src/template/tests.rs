use proptest::prelude::*;

use super::*;

fn rule(name: &str) -> Option<HostRule> {
    match name {
        "shop" => Some(HostRule::Label),
        "region" => Some(HostRule::OneOf(vec!["eu.api".into(), "us.api".into()])),
        "site" => Some(HostRule::Under(vec!["*.example.com".into()])),
        _ => None,
    }
}

fn fill(address: &str, value: &str) -> Result<Url> {
    Address::parse(address, &rule).unwrap().fill(&|_| Some(value))
}

#[test]
fn a_template_is_text_and_places() {
    let template = Template::parse("Bearer {credential.key}/{{x}}").unwrap();
    assert_eq!(template.names().collect::<Vec<_>>(), ["credential.key"]);
    assert_eq!(*template.fill(&|_| Some("{a}")).unwrap(), "Bearer {a}/{x}");
    assert!(Template::parse("{{}}").unwrap().is_literal());
    assert!(template.fill(&|_| None).is_err());
}

#[test]
fn what_is_no_template_is_refused() {
    for text in
        ["{", "}", "{a", "a}", "{}", "{a b}", "{a.b.c}", "{.a}", "{a.}", "{a{b}}", "{a...b}"]
    {
        assert!(Template::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_header_holds_one_line() {
    let template = Template::parse("Token {key}").unwrap();
    assert!(template.header(&|_| Some("k-1 x")).unwrap().is_sensitive());
    for value in ["a\r\nX: y", "a\0", "ü", "a\u{7f}", "\t"] {
        assert!(template.header(&|_| Some(value)).is_err(), "{value:?}");
    }
}

#[test]
fn a_label_of_a_host_stays_one_label() {
    let shop = |value| fill("https://{shop}.example.com:8443/admin", value);
    assert_eq!(shop("acme-1").unwrap().as_str(), "https://acme-1.example.com:8443/admin");
    for value in
        ["", "a.b", "evil.test/", "evil.test#", "a@b", "a:1", "-a", "a b", "ü", "..", "%2e", "\\"]
    {
        assert!(shop(value).is_err(), "{value:?}");
    }
    // Both would be a host that the declaration does not name.
    assert!(Address::parse("https://{shop}", &rule).is_err());
    assert!(Address::parse("https://api.{shop}", &rule).is_err());
    assert!(Address::parse("https://{shop}.com", &rule).is_err());
    assert!(Address::parse("https://{other}.example.com", &rule).is_err());
}

#[test]
fn a_whole_host_lies_under_a_pattern_and_a_region_is_declared() {
    let site = |value| fill("https://{site}/x", value);
    assert_eq!(site("a.b.example.com").unwrap().as_str(), "https://a.b.example.com/x");
    for value in [
        "example.com",
        "evilexample.com",
        "a.example.com.evil.test",
        ".example.com",
        "a..example.com",
    ] {
        assert!(site(value).is_err(), "{value:?}");
    }
    assert!(fill("https://{region}.example.com/", "eu.api").is_ok());
    assert!(fill("https://{region}.example.com/", "cn.api").is_err());
}

#[test]
fn paths_and_queries_of_an_address_keep_their_values() {
    let url = fill("https://a.test:1/v1/{tenant}/x?q={q}&fixed=1", "a/b&c").unwrap();
    assert_eq!(url.as_str(), "https://a.test:1/v1/a%2Fb&c/x?q=a%2Fb%26c&fixed=1");
    assert!(fill("https://a.test/{tenant}/x", "..").is_err());
    assert_eq!(fill("http://127.0.0.1:9/t?a=1", "").unwrap().as_str(), "http://127.0.0.1:9/t?a=1");
    for text in ["ftp://a/{x}", "https://u@a.test/{x}", "https://a.test/{x}#f", "a.test/{x}"] {
        assert!(Address::parse(text, &rule).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics_and_filling_is_plain(text in any::<String>(), value in any::<String>()) {
        let Ok(template) = Template::parse(&text) else { return Ok(()) };
        if template.pieces().iter().any(|piece| matches!(piece, Piece::Made(_))) {
            return Ok(());
        }
        let filled = template.fill(&|_| Some(&value)).unwrap();
        let lengths = template.pieces().iter().map(|piece| match piece {
            Piece::Literal(literal) => literal.len(),
            Piece::Value(_) | Piece::Rest(_) | Piece::Made(_) => value.len(),
        });
        prop_assert_eq!(filled.len(), lengths.sum::<usize>());
    }

    #[test]
    fn no_value_leaves_its_place(value in any::<String>()) {
        let shop = fill("https://{shop}.example.com/v1/{shop}/x?q={shop}", &value);
        if let Ok(url) = shop {
            prop_assert_eq!(url.host_str().unwrap(), format!("{}.example.com", value.to_ascii_lowercase()));
            prop_assert_eq!(url.path_segments().unwrap().count(), 3);
            prop_assert_eq!(url.query_pairs().count(), 1);
        }
        if let Ok(url) = fill("https://{site}/x", &value) {
            prop_assert!(url.host_str().unwrap().ends_with(".example.com"));
        }
        if let Ok(url) = fill("https://a.test/v1/{tenant}?q={q}", &value) {
            prop_assert_eq!(url.host_str(), Some("a.test"));
            prop_assert_eq!(url.path_segments().unwrap().count(), 2);
            prop_assert_eq!(&*url.query_pairs().next().unwrap().1, value.as_str());
        }
        let header = Template::parse("Token {key}").unwrap();
        if let Ok(header) = header.header(&|_| Some(&value)) {
            prop_assert_eq!(header.to_str().unwrap(), format!("Token {value}"));
        }
    }
}
