use std::{collections::BTreeSet, fs, path::Path};

use http::HeaderValue;
use serde_json::json;

use super::*;
use crate::{
    endpoint::{Draft, File},
    transport::Payload,
};

fn all() -> Vec<Arc<dyn Integration>> {
    bundled(&BTreeMap::new()).unwrap()
}

fn one(slug: &str) -> Arc<dyn Integration> {
    all().into_iter().find(|i| i.info().slug.canonical() == slug).unwrap()
}

/// The draft of a call whose parameters fit, and its address.
fn call(integration: &str, endpoint: &str, params: &Value) -> (Draft, String) {
    let integration = one(integration);
    let endpoint = integration.endpoint(endpoint).unwrap();
    endpoint.info().schema.check(params).unwrap();
    let draft = endpoint.request(params.as_object().unwrap(), &Fields::new()).unwrap();
    let url = draft.target.join(&integration.base(&Fields::new()).unwrap()).unwrap();
    (draft, url.to_string())
}

fn file() -> File {
    let kind = HeaderValue::from_static("application/pdf");
    File::new("a.pdf", kind, Payload::Bytes("%PDF".into())).unwrap()
}

fn body(draft: &Draft) -> Value {
    let Payload::Bytes(bytes) = &draft.body else { return Value::Null };
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn every_bundled_declaration_loads() {
    // What is bundled is trusted later: here every schema is compiled.
    for (file, text) in BUNDLED {
        let problems = declared(file, text, &Overrides::default()).err();
        assert_eq!(problems, None);
    }
    let loaded = bundled(&BTreeMap::new()).map(|integrations| integrations.len());
    assert_eq!(loaded, Ok(BUNDLED.len()));
}

#[test]
fn the_bundled_endpoints_are_pinned() {
    let mut lines = Vec::new();
    for integration in all() {
        lines.push(integration.info().slug.to_string());
        lines.extend(integration.endpoints().map(|endpoint| {
            let info = endpoint.info();
            format!("  {} ({}): {} {}", info.name, info.class.as_str(), info.method, info.path)
        }));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn every_endpoint_shows_a_call_that_can_be_made() {
    let fields = |integration: &Arc<dyn Integration>| {
        let fields = integration.fields().iter().map(|field| (field.name.clone(), "x".to_owned()));
        fields.collect::<Fields>()
    };
    for integration in all() {
        let fields = fields(&integration);
        for endpoint in integration.endpoints() {
            let info = endpoint.info();
            let whose = format!("{}/{}", integration.info().slug, info.name);
            let Some(example) = &info.example else {
                assert!(!info.tool.examples.is_empty(), "{whose} has no example");
                continue;
            };
            let drafted = match info.takes_file {
                true => endpoint.upload(example, &fields, file()),
                false => endpoint.request(example, &fields),
            };
            assert!(drafted.is_ok(), "{whose}: {:?}", drafted.err());
            assert!(
                info.takes_file || !info.tool.examples.is_empty(),
                "{whose}: the tool shows no example"
            );
        }
    }
}

#[test]
fn github_has_twelve_endpoints_or_more_each_documented() {
    let github = one("github");
    assert!(github.endpoints().count() >= 12);
    for endpoint in github.endpoints() {
        let info = endpoint.info();
        let docs = info.docs.as_deref().unwrap_or_default();
        assert!(docs.starts_with("https://docs.github.com/rest/"), "{}: {docs}", info.name);
    }
}

#[test]
fn github_takes_the_issue_of_the_manual() {
    let issue = json!({
        "repo": "acme/web", "title": "Bug report", "body": "It broke.", "labels": ["bug"],
    });
    let (draft, url) = call("github", "create-issue", &issue);
    assert_eq!(url, "https://api.github.com/repos/acme/web/issues");
    let sent = json!({"title": "Bug report", "body": "It broke.", "labels": ["bug"]});
    assert_eq!(body(&draft), sent);
    assert_eq!(draft.headers["user-agent"], "skill");
}

#[test]
fn github_files_keep_the_slashes_of_their_path() {
    let (_, url) = call("github", "get-file", &json!({"repo": "acme/web", "path": "src/a b.rs"}));
    assert_eq!(url, "https://api.github.com/repos/acme/web/contents/src/a%20b.rs");
}

#[test]
fn httpbin_shows_a_list_in_every_style() {
    let lists = json!({"repeat": ["a", "b"], "comma": ["a", "b"], "brackets": ["a", "b"]});
    let (_, url) = call("httpbin", "get", &lists);
    let query = url.split_once('?').unwrap().1.split('&').collect::<Vec<_>>();
    for pair in ["repeat=a", "repeat=b", "comma=a%2Cb", "brackets%5B%5D=a", "brackets%5B%5D=b"] {
        assert!(query.contains(&pair), "{pair}: {query:?}");
    }
}

#[test]
fn every_declaration_of_the_real_runs_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/integrations");
    let mut loaded = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        declared(name, &text, &Overrides::default()).unwrap();
        loaded += 1;
    }
    assert!(loaded > 0, "there is nothing to load");
}

/// Every key of a table of the manual, without what is not written as it stands.
fn documented() -> BTreeSet<String> {
    let manual = include_str!("../../integrations/README.md");
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `"));
    let keys = rows.filter_map(|row| row.split_once(" |").map(|(keys, _)| keys));
    let names = keys.flat_map(|keys| keys.split(['`', ',', ' ']).map(str::trim));
    let parts = names.flat_map(|name| name.split('.'));
    let parts = parts.filter(|part| !part.is_empty() && *part != "or");
    parts.filter(|part| part.to_uppercase() != **part).map(str::to_owned).collect()
}

/// Every key that the schema knows, at any depth.
fn known(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                found.extend(properties.keys().cloned());
            }
            members.values().for_each(|inner| known(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| known(inner, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn format() -> Value {
    serde_json::from_str(include_str!("../../integrations/schema.json")).unwrap()
}

#[test]
fn the_schema_has_what_the_manual_has_and_nothing_else() {
    let mut found = BTreeSet::new();
    known(&format(), &mut found);
    assert_eq!(documented(), found);
}

#[test]
fn every_declaration_fits_the_published_schema() {
    let schema = crate::schema::Schema::compile(format()).unwrap();
    for (file, text) in BUNDLED.iter().chain(BASES) {
        let table: toml::Table = text.parse().unwrap();
        let mut value = serde_json::to_value(table).unwrap();
        if BASES.iter().any(|(base, _)| base == file) {
            // What others extend is no integration by itself.
            value["extends"] = "nothing".into();
        }
        schema.check(&value).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    let wrong = json!({"extends": "google", "auth": {"scheme": "oauth2", "pkcee": true}});
    assert!(schema.check(&wrong).is_err());
}

#[test]
fn every_service_says_where_its_facts_are_from_and_how_far_it_is_proven() {
    for integration in all() {
        let info = integration.info();
        if ["tracker", "httpbin"].contains(&info.slug.canonical()) {
            continue;
        }
        assert!(info.verified.is_some(), "{}", info.slug);
        assert!(info.source.iter().any(|source| source.starts_with("https://")), "{}", info.slug);
        assert!(integration.endpoints().count() >= 6, "{}", info.slug);
    }
}

#[test]
fn github_has_forty_endpoints_or_more_in_six_groups() {
    let github = one("github");
    let groups = github.endpoints().map(|endpoint| endpoint.info().group.to_string());
    assert_eq!(groups.collect::<BTreeSet<_>>().len(), 6);
    assert!(github.endpoints().count() >= 40);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn calls_of_services_go_where_their_documentation_says() {
    let fields = Fields::from(
        [
            ("cloud_id", "c"),
            ("shop", "acme"),
            ("subdomain", "acme"),
            ("realm_id", "7"),
            ("environment", "quickbooks.api.intuit.com"),
            ("instance", "acme.my.salesforce.com"),
            ("tenant_id", "t"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    for (service, endpoint, params, address) in [
        (
            "slack",
            "list-messages",
            json!({"channel": "C1"}),
            "https://slack.com/api/conversations.history?channel=C1",
        ),
        (
            "jira",
            "get-issue",
            json!({"issue": "E-1", "fields": ["a", "b"]}),
            "https://api.atlassian.com/ex/jira/c/rest/api/3/issue/E-1?fields=a%2Cb",
        ),
        (
            "shopify",
            "get-shop",
            json!({}),
            "https://acme.myshopify.com/admin/api/2026-07/graphql.json",
        ),
        (
            "zendesk",
            "list-tickets",
            json!({"page_size": 5}),
            "https://acme.zendesk.com/api/v2/tickets?page%5Bsize%5D=5",
        ),
        (
            "quickbooks",
            "get-company",
            json!({}),
            "https://quickbooks.api.intuit.com/v3/company/7/query?query=select+*+from+CompanyInfo",
        ),
        (
            "salesforce",
            "describe-object",
            json!({"object": "Account"}),
            "https://acme.my.salesforce.com/services/data/v62.0/sobjects/Account/describe",
        ),
        (
            "xero",
            "get-contact",
            json!({"contact_id": "k"}),
            "https://api.xero.com/api.xro/2.0/Contacts/k",
        ),
        (
            "google-drive",
            "get-about",
            json!({}),
            "https://www.googleapis.com/drive/v3/about?fields=user%2CstorageQuota",
        ),
    ] {
        let integration = one(service);
        let found = integration.endpoint(endpoint).unwrap();
        found.info().schema.check(&params).unwrap();
        let draft = found.request(params.as_object().unwrap(), &fields).unwrap();
        let url = draft.target.join(&integration.base(&fields).unwrap()).unwrap();
        assert_eq!(url.as_str(), address);
        if service == "xero" {
            assert_eq!(draft.headers["xero-tenant-id"], "t");
        }
    }
    let issue = json!({"team_id": "t", "title": "It broke"});
    let (draft, _) = call("linear", "create-issue", &issue);
    let sent = body(&draft);
    assert_eq!(sent["variables"], json!({"input": {"teamId": "t", "title": "It broke"}}));
    assert!(sent["query"].as_str().unwrap().starts_with("mutation("));
}
