//! The one builder of addresses: whatever the values are, the request stays where it was meant.
//!
//! Each line of the input is one value; its first byte says where it goes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skill_core::{ErrorKind, transport::target::Target};
use url::Url;

fuzz_target!(|text: &str| {
    let base = Url::parse("https://api.example.com:8443/v2").expect("a URL");
    let mut target = Target::default();
    target.literal("items");
    let mut values = Vec::new();
    for line in text.split('\n').take(16) {
        let mut rest = line.chars();
        let taken = match rest.next() {
            Some('s') => target.segment("p", rest.as_str()),
            Some('m') => target.segments("p", rest.as_str()),
            Some('i') => target.surrounded("p", "x-", rest.as_str(), ".json"),
            Some(_) | None => {
                target.query("q", rest.as_str());
                values.push(rest.as_str().to_owned());
                Ok(())
            }
        };
        if taken.is_err() {
            return;
        }
    }
    match target.join(&base) {
        Ok(url) => {
            assert_eq!(
                (url.scheme(), url.host_str(), url.port()),
                ("https", Some("api.example.com"), Some(8443))
            );
            assert!(url.path().starts_with("/v2/items"), "{url}");
            assert!(!url.path().split('/').any(|part| part == ".." || part == "."), "{url}");
            let read: Vec<_> = url.query_pairs().map(|(_, value)| value.into_owned()).collect();
            assert_eq!(read, values, "a value became another");
            assert_eq!(Url::parse(url.as_str()).as_ref(), Ok(&url), "it does not read back");
        }
        // Anything else would mean that a check before let something through.
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}"),
    }
});
