//! The guard in front of JSON: what it lets through is what `serde_json` reads, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use skill_core::json::{self, Limits};

fuzz_target!(|bytes: &[u8]| {
    let read = serde_json::from_slice::<Value>(bytes);
    // JSON has numbers that no float holds. They are passed on, and refused where they are read;
    // what stands behind such a number `serde_json` never sees.
    let is_cut =
        read.as_ref().is_err_and(|error| error.to_string().starts_with("number out of range"));
    let answer = json::check(bytes, &Limits::ANSWER);
    if json::check(bytes, &Limits::CALL).is_ok() {
        assert!(answer.is_ok(), "what a caller may send, a service may answer");
    }
    match answer {
        Ok(()) => assert!(read.is_ok() || is_cut, "let through what nobody can read"),
        Err(problem) => {
            let opened = bytes.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
            let is_deep = opened > Limits::ANSWER.depth;
            assert!(read.is_err() || is_deep, "refused what everybody can read: {problem}");
        }
    }
});
