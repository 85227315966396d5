//! The key parser: a text that it accepts is exactly a key, and no character can be changed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skill_core::record::key::PlainKey;

fuzz_target!(|text: &str| {
    let Some(key) = PlainKey::parse(text) else { return };
    assert_eq!(key.expose(), text);
    assert!(text.is_ascii());
    let last = text.len() - 1;
    let changed = if text.ends_with('0') { "1" } else { "0" };
    assert!(PlainKey::parse(&format!("{}{changed}", &text[..last])).is_none());
});
