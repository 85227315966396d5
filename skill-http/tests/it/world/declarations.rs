//! The integrations of the tests, all at the scripted service.

use std::{collections::BTreeMap, sync::Arc};

use skill_core::integration::{Integration, Overrides, bundled, declared};

/// Every integration: the bundled GitHub, one per scheme, and further ones.
pub(crate) fn all(base: &str, further: &[(&'static str, String)]) -> Vec<Arc<dyn Integration>> {
    let mut all = bundled(&BTreeMap::from([("github".to_owned(), github(base))])).unwrap();
    all.retain(|integration| integration.info().slug.as_str() == "github");
    let keyed = |name: &str, auth: &str| format!("{}{CHECKED}", head(name, base, auth));
    let own = [
        ("open", format!("{}{OPEN}", head("Open", base, r#"scheme = "none""#))),
        ("keyed", keyed("Keyed", "scheme = \"api_key\"\nheader = \"x-key\"")),
        ("queried", keyed("Queried", "scheme = \"api_key\"\nquery = \"key\"")),
        ("tokened", keyed("Tokened", r#"scheme = "bearer""#)),
        ("basic", keyed("Basic", r#"scheme = "basic""#)),
        ("scripty", keyed("<script>alert(1)</script>", r#"scheme = "bearer""#)),
        ("honest", keyed("Honest", &oauth(base))),
    ];
    for (slug, text) in own.into_iter().chain(further.iter().cloned()) {
        let file = format!("{slug}.toml");
        all.push(declared(&file, &text, &Overrides::default()).unwrap());
    }
    all
}

fn github(base: &str) -> Overrides {
    let mut overrides = Overrides::default();
    overrides.text("base_url", base);
    overrides.text("auth.authorize_url", format!("{base}/login/oauth/authorize"));
    overrides.text("auth.token_url", format!("{base}/login/oauth/access_token"));
    overrides
}

fn oauth(base: &str) -> String {
    format!(
        "scheme = \"oauth2\"\nissuer = \"https://honest.example\"\nscopes = [\"read\"]\n\
         authorize_url = \"{base}/authorize\"\ntoken_url = \"{base}/token\"\n\
         revoke_url = \"{base}/revoke\""
    )
}

/// How a declaration begins.
pub(crate) fn head(name: &str, base: &str, auth: &str) -> String {
    format!(
        "name = \"{name}\"\ndescription = \"A test.\"\nbase_url = \"{base}\"\n\n[auth]\n{auth}\n"
    )
}

/// A call that tells whose credential it is, and one more.
const CHECKED: &str = r#"
[verify]
endpoint = "whoami"
account = "/login"

[endpoints.whoami]
summary = "Tell whose it is"
method = "GET"
path = "/whoami"

[endpoints.get_item]
summary = "Show an item"
method = "GET"
path = "/items/{item}"
params = { item = { in = "path", type = "string" } }
"#;

/// Endpoints of every kind.
pub(crate) const OPEN: &str = r#"
[endpoints.get_item]
summary = "Show an item"
method = "GET"
path = "/items/{item}"

[endpoints.get_item.params]
item = { in = "path", type = "string" }
tag = { in = "header", name = "x-tag", type = "string" }

[endpoints.search]
summary = "Search"
method = "GET"
path = "/search"
params = { q = { type = "string" } }

[endpoints.create]
summary = "Make one"
method = "POST"
path = "/create"
params = { note = { type = "string", required = true }, count = { type = "integer" } }
"#;
