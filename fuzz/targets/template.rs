//! The grammar of templates, through the door that reads them: whatever the text of a declaration
//! looks like and whatever the facts of a connection hold, its address stays under the host that the
//! declaration names, and no fact becomes more than the place it fills.
//!
//! The lines of the input: the part of a host, a path with its query, a header, and the facts `a`, `b`
//! and `c`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Map;
use skill_core::{
    integration::{Overrides, declared},
    record::connection::Fields,
};

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (host, path, header) = (next(), next(), next());
    if host.contains(['/', '?', '#', '@', ':', '\\', '.']) || host.is_empty() {
        return; // The declaration itself names another host.
    }
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let base = quoted(&format!("https://{host}.example.com/{path}"));
    let mut declaration = format!(
        "name = \"Fuzz\"\ndescription = \"For fuzzing.\"\nbase_url = {base}\n\
         auth = {{ scheme = \"none\" }}\n[headers]\nx-tag = {}\n\
         [endpoints.read]\nsummary = \"Read\"\nmethod = \"GET\"\npath = \"/items\"\n",
        quoted(header)
    );
    let mut facts = Fields::new();
    for name in ["a", "b", "c"] {
        let place = format!("{{{name}");
        if [host, path, header].iter().any(|text| text.contains(&place)) {
            declaration += &format!("[fields.{name}]\nlabel = \"Fact\"\n");
            facts.insert(name.to_owned(), next().to_owned());
        }
    }
    let integration = match declared("fuzz.toml", &declaration, &Overrides::default()) {
        Ok(integration) => integration,
        Err(problems) => return assert!(!problems.is_empty(), "refused without a reason"),
    };
    let Ok(base) = integration.base(&facts) else { return };
    let name = base.host_str().unwrap_or_default();
    assert!(name.ends_with(".example.com") && name.matches('.').count() == 2, "{base}");
    assert_eq!((base.scheme(), base.port(), base.username()), ("https", None, ""), "{base}");
    assert!(!base.path().split('/').any(|part| part == ".." || part == "."), "{base}");
    assert!(base.query().is_none() || path.contains('?'), "a fact became a query: {base}");
    assert!(base.fragment().is_none(), "{base}");
    for endpoint in integration.endpoints() {
        let Ok(draft) = endpoint.request(&Map::new(), &facts) else { continue };
        let Ok(url) = draft.target.join(&base) else { continue };
        assert_eq!((url.host(), url.port()), (base.host(), base.port()), "{url}");
        let mut tags = draft.headers.get_all("x-tag").iter();
        // A declaration's own text may be other than ASCII; no control character ends the header.
        let is_plain = tags.all(|tag| !tag.as_bytes().iter().any(u8::is_ascii_control));
        assert!(is_plain, "a fact became a line");
        assert!(!draft.headers.contains_key("authorization"), "a fact became a credential");
    }
});
