//! Every class of problem by example, and agreement with `serde_json` on anything at all.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Everything that is JSON, as far as `serde_json` follows.
const LOOSE: Limits = Limits { depth: 100, ..Limits::ANSWER };

fn problem(text: impl AsRef<[u8]>) -> String {
    check(text.as_ref(), &Limits::CALL).unwrap_err().to_string()
}

#[test]
fn json_of_every_kind_passes() {
    for text in [
        "0",
        "-0",
        "10",
        "1.5",
        "1e9",
        "-1.50E+09",
        "0e-1",
        "true",
        "false",
        "null",
        "\"\"",
        "[]",
        "{}",
        " [ ] ",
        "\t{\r\n}",
        "[[],{},\"\",0]",
        r#"{"":{"":{"":[]}},"a":{"":0}}"#,
        r#""\"\\\/\b\f\n\r\t\u00e9\uD83d\uDe00""#,
        "\"é😀\u{7f}\u{2028}\"",
        r#""\u0000""#,
        "{\"a\":1,\"A\":1,\"\u{e1}\":1,\"a\u{301}\":1}",
        r#"{"__proto__":{"x":1}}"#,
        "\"1234567\"",
        "\"12345678\"",
    ] {
        assert_eq!(check(text.as_bytes(), &Limits::CALL), Ok(()), "{text}");
    }
}

#[test]
fn what_is_not_json_is_named_with_its_place() {
    for (text, message) in [
        ("", "expected a value, found the end of the text (byte 0)"),
        ("  ", "expected a value, found the end of the text (byte 2)"),
        ("{not json", "expected a member name or `}`, found `not` (byte 1)"),
        ("[1,]", "expected a value, found `]` (byte 3)"),
        ("[1", "expected `,` or `]`, found the end of the text (byte 2)"),
        ("[1}", "expected `,` or `]`, found `}` (byte 2)"),
        ("[1 2]", "expected `,` or `]`, found `2` (byte 3)"),
        (r#"{"a":1,}"#, "expected a member name, found `}` (byte 7)"),
        (r#"{"a" 1}"#, "expected `:`, found `1` (byte 5)"),
        (r#"{"a":}"#, "expected a value, found `}` (byte 5)"),
        (r#"{"a":1"#, "expected `,` or `}`, found the end of the text (byte 6)"),
        (r#"{"a":1]"#, "expected `,` or `}`, found `]` (byte 6)"),
        ("{1:2}", "expected a member name or `}`, found `1` (byte 1)"),
        ("[é]", "expected a value, found `é` (byte 1)"),
        ("[\u{202e}]", r"expected a value, found `\u{202e}` (byte 1)"),
        ("'a'", r"expected a value, found `\'` (byte 0)"),
        ("nul", "expected a value, found `nul` (byte 0)"),
        ("True", "expected a value, found `True` (byte 0)"),
        ("NaN", "expected a value, found `NaN` (byte 0)"),
        ("truex", "there is more behind the JSON value (byte 4)"),
        ("{} x", "there is more behind the JSON value (byte 3)"),
        ("{}\0", "there is more behind the JSON value (byte 2)"),
        ("1\u{a0}", "there is more behind the JSON value (byte 1)"),
        ("\u{feff}{}", "the text begins with a byte order mark, which JSON does not have"),
    ] {
        assert_eq!(problem(text), message, "{text}");
    }
}

#[test]
fn numbers_follow_the_grammar_to_the_letter() {
    for text in ["-", "+1", ".5", "1.", "1.e1", "1e", "1e+", "-a", "01", "-01", "0x1", "1_0", "00"]
    {
        assert!(check(text.as_bytes(), &LOOSE).is_err(), "{text}");
    }
    assert_eq!(problem("[-]"), "expected a digit, found `]` (byte 2)");
    // In range or not: what a number means is its reader's business.
    assert!(check(b"1e999999", &Limits::CALL).is_ok());
    assert!(check("1".repeat(400).as_bytes(), &Limits::CALL).is_ok());
    let long = format!("[{}]", "1".repeat(401));
    assert_eq!(problem(&long), "a number longer than 400 characters (byte 1)");
}

#[test]
fn strings_follow_the_grammar_to_the_letter() {
    for (text, message) in [
        ("\"abc", "expected the end of a string, found the end of the text (byte 4)"),
        ("\"abc\\", "expected the end of a string, found the end of the text (byte 5)"),
        ("\"a\nb\"", "a string holds a control character that is not escaped (byte 2)"),
        (
            "\"0123456789\u{1f}\"",
            "a string holds a control character that is not escaped (byte 11)",
        ),
        (r#""\x""#, "a string holds an escape that JSON does not have (byte 1)"),
        (r#""\u12""#, "a string holds an escape that JSON does not have (byte 1)"),
        (r#""\u+123""#, "a string holds an escape that JSON does not have (byte 1)"),
        (r#""\U0041""#, "a string holds an escape that JSON does not have (byte 1)"),
        (r#""\ud800""#, "a string holds half of a surrogate pair (byte 1)"),
        (r#""\udc00\ud800""#, "a string holds half of a surrogate pair (byte 1)"),
        (r#""\ud800\ud800\udc00""#, "a string holds half of a surrogate pair (byte 1)"),
        (r#""ab\ud800\u0041""#, "a string holds half of a surrogate pair (byte 3)"),
    ] {
        assert_eq!(problem(text), message, "{text}");
    }
    assert_eq!(problem(b"{\"item\":\"\xff\xfe\"}"), "not valid UTF-8 (byte 9)");
    assert_eq!(problem(b"\"\xed\xa0\x80\""), "not valid UTF-8 (byte 1)");
    assert_eq!(problem(b"\xff\xfe{\0}\0"), "not valid UTF-8 (byte 0)");
}

#[test]
fn depth_and_nodes_are_counted_without_recursion() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(check(nested(64).as_bytes(), &Limits::CALL).is_ok());
    assert_eq!(problem(nested(65)), "deeper than 64 levels");
    assert_eq!(problem(nested(1_000_000)), "deeper than 64 levels");
    let endless = Limits { depth: usize::MAX, ..Limits::ANSWER };
    assert!(check(nested(1_000_000).as_bytes(), &endless).is_ok());

    let list = |items: usize| format!("[{}]", vec!["0"; items].join(","));
    assert!(check(list(19_999).as_bytes(), &Limits::CALL).is_ok());
    assert_eq!(problem(list(20_000)), "more than 20000 values");
    assert!(check(list(20_000).as_bytes(), &Limits::ANSWER).is_ok());
}

#[test]
fn a_member_that_stands_twice_is_found_however_it_is_written() {
    for (text, message) in [
        (r#"{"a":1,"b":2,"a":3,"b":4}"#, "the member `a` stands twice (byte 13)"),
        (r#"{"":{"x":[{"a":1,"a":1}]}}"#, "the member `a` stands twice (byte 17)"),
        (r#"{"a":{"a":{"a":0}},"a":0}"#, "the member `a` stands twice (byte 19)"),
        (r#"{"\n":1,"\u000A":1}"#, r"the member `\n` stands twice (byte 8)"),
        (r#"{"/":1,"\/":1}"#, "the member `/` stands twice (byte 7)"),
        (r#"{"😀":1,"\ud83d\uDE00":1}"#, "the member `😀` stands twice (byte 10)"),
    ] {
        assert_eq!(problem(text), message, "{text}");
        assert!(check(text.as_bytes(), &Limits::ANSWER).is_ok(), "{text}");
    }
    assert!(check(br#"[{"a":1},{"a":1},{"b":{"a":1}}]"#, &Limits::CALL).is_ok());
    let long = "x".repeat(100);
    let shown = format!("the member `{}…` stands twice (byte 106)", "x".repeat(40));
    assert_eq!(problem(format!(r#"{{"{long}":1,"{long}":1}}"#)), shown);
}

#[test]
fn many_members_in_one_object_take_linear_time() {
    let members: Vec<_> = (0..19_999).map(|at| format!("\"{}{at}\":0", "x".repeat(30))).collect();
    let text = format!("{{{}}}", members.join(","));
    let started = Instant::now();
    assert!(check(text.as_bytes(), &Limits::CALL).is_ok());
    // Some milliseconds even unoptimized; comparing all pairs would take minutes.
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// Tells whether `serde_json` reads the text, or nothing if they differ by design: a number that
/// no `f64` holds is JSON all the same.
fn oracle(bytes: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(_) => Some(false),
    }
}

/// Agrees with `serde_json`, for texts that are within depth 100 for the guard.
fn agree(bytes: &[u8]) {
    match (check(bytes, &LOOSE), oracle(bytes)) {
        (Err(Problem::Deep { .. }), _) | (_, None) => {}
        (ours, Some(theirs)) => {
            assert_eq!(ours.is_ok(), theirs, "{ours:?}: {}", String::from_utf8_lossy(bytes));
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A text made of pieces that belong into JSON, in any order.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{", "}", "[", "]", ":", ",", "\"", "\"a\"", "\"b\":", "\\", "\\u", "\\ud83d", "\\ude00",
        "0", "-", "1", ".", "e", "E+", "true", "false", "null", " ", "\n", "\0", "é", "\u{feff}",
        "/", "t",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_serde_json_writes_passes(value in json()) {
        prop_assert_eq!(check(&serde_json::to_vec(&value).unwrap(), &Limits::CALL), Ok(()));
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        prop_assert_eq!(check(&pretty, &Limits::CALL), Ok(()));
    }

    #[test]
    fn arbitrary_bytes_are_judged_as_by_serde_json(bytes: Vec<u8>, text: String) {
        agree(&bytes);
        agree(text.as_bytes());
        agree(format!("\"{text}\"").as_bytes());
    }

    #[test]
    fn arbitrary_tokens_are_judged_as_by_serde_json(text in pieces()) {
        agree(&text);
        agree(&[b"[".as_slice(), &text, b"]"].concat());
        agree(&[b"\"".as_slice(), &text, b"\""].concat());
    }

    #[test]
    fn mutated_json_is_judged_as_by_serde_json(
        value in json(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<Option<u8>>()), 1..4),
    ) {
        let mut text = serde_json::to_vec(&value).unwrap();
        for (at, byte) in edits {
            let at = at.index(text.len() + 1);
            match byte {
                Some(byte) if at < text.len() => text[at] = byte,
                Some(byte) => text.push(byte),
                None => text.truncate(at),
            }
        }
        agree(&text);
    }

    #[test]
    fn a_name_written_twice_is_always_found(name: String, others: Vec<String>, at: prop::sample::Index) {
        let quoted = |name: &String| serde_json::to_string(name).unwrap() + ":0";
        let escaped: String = name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let mut members: Vec<_> = others.iter().map(quoted).collect();
        members.insert(at.index(members.len() + 1), quoted(&name));
        members.insert(at.index(members.len() + 1), format!("\"{escaped}\":0"));
        let text = format!("{{{}}}", members.join(","));
        let found = check(text.as_bytes(), &Limits::CALL);
        prop_assert!(matches!(found, Err(Problem::Duplicate { .. })), "{found:?}");
    }
}
