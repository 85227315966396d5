//! JSON Pointers (RFC 6901) into text that is not read whole.

use std::collections::HashMap;

use serde_json::value::RawValue;

/// Where something stands in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer(Vec<String>);

impl Pointer {
    /// Reads a pointer; the empty one is the whole.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        let words = text.strip_prefix('/')?.split('/');
        Some(Self(words.map(|word| word.replace("~1", "/").replace("~0", "~")).collect()))
    }

    /// What stands there, as it is written.
    pub(crate) fn find<'a>(&self, whole: &'a RawValue) -> Option<&'a RawValue> {
        self.0.iter().try_fold(whole, |here, word| {
            if here.get().starts_with('[') {
                let at = word.parse::<usize>().ok()?;
                return serde_json::from_str::<Vec<&RawValue>>(here.get()).ok()?.get(at).copied();
            }
            let members = serde_json::from_str::<HashMap<String, &RawValue>>(here.get()).ok()?;
            members.get(word).copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_finds_text_as_it_is_written() {
        let whole = serde_json::from_str::<&RawValue>(r#"{"a/b": [0, {"~": 1.10}], "c": null}"#);
        let whole = whole.unwrap();
        let find = |text: &str| Pointer::parse(text).unwrap().find(whole).map(RawValue::get);
        assert_eq!(find("/a~1b/1/~0"), Some("1.10"));
        assert_eq!(find("/c"), Some("null"));
        assert_eq!(find(""), Some(whole.get()));
        for nowhere in ["/x", "/a~1b/7", "/a~1b/x", "/c/d", "/a~1b/0/x"] {
            assert_eq!(find(nowhere), None, "{nowhere}");
        }
        assert_eq!(Pointer::parse("a"), None);
    }
}
