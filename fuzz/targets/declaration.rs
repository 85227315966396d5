//! The loader of declarations: any text is an integration or a list of problems, and what an
//! integration drafts from any parameters stays under its base.
//!
//! The input is a declaration, and behind a line `---` the parameters of every endpoint as JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use skill_core::{
    endpoint::Under,
    integration::{Overrides, declared},
    record::connection::Fields,
};

fuzz_target!(|text: &str| {
    let (declaration, params) = text.split_once("\n---\n").unwrap_or((text, "{}"));
    let integration = match declared("fuzz.toml", declaration, &Overrides::default()) {
        Ok(integration) => integration,
        Err(problems) => return assert!(!problems.is_empty(), "refused without a reason"),
    };
    let Ok(params) = serde_json::from_str::<Map<String, Value>>(params) else { return };
    let fields = Fields::default();
    let Ok(base) = integration.base(&fields) else { return };
    for endpoint in integration.endpoints() {
        if endpoint.info().schema.check(&Value::Object(params.clone())).is_err() {
            continue;
        }
        let Ok(draft) = endpoint.request(&params, &fields) else { continue };
        let Ok(url) = draft.url(&base) else { continue };
        let is_below = (url.host(), url.port()) == (base.host(), base.port());
        let is_named = url.host_str().is_some_and(|host| declaration.contains(host));
        let is_elsewhere = matches!(draft.under, Some(Under::Url(_)));
        assert!(is_below || (is_elsewhere && is_named), "{url}");
        assert!(!draft.headers.contains_key("authorization"), "a parameter became a credential");
    }
});
