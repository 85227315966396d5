use serde_json::{Value, json};

use super::*;
use crate::{
    call::Data,
    integration::{Overrides, bundled, declared},
    skill::{self, Function},
};

fn integration(slug: &str, endpoints: &str) -> Arc<dyn Integration> {
    let text = format!(
        "name = \"The {slug}\"\ndescription = \"X.\"\nbase_url = \"https://x.test\"\n\
         auth = {{ scheme = \"none\" }}\n{endpoints}"
    );
    declared(&format!("{slug}.toml"), &text, &Overrides::default()).unwrap()
}

/// An endpoint with further lines.
fn endpoint(name: &str, more: &str) -> String {
    format!("[endpoints.{name}]\nsummary = \"Get\"\nmethod = \"GET\"\npath = \"/\"\n{more}\n")
}

fn named(slug: &str) -> Arc<dyn Integration> {
    integration(slug, &endpoint("get_it", ""))
}

fn skill(
    category: &str,
    version: &str,
    name: &str,
    change: impl FnOnce(Made) -> Made,
) -> Arc<dyn Skill> {
    let made: Made =
        skill::from_fn(category, version, name, |_, _: Nothing| std::future::ready(Ok(())));
    change(made.summary("Scan it")).build().unwrap()
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Nothing {}

type Done = std::future::Ready<Result<()>>;
type Made = Function<Nothing, (), fn(crate::skill::SkillContext, Nothing) -> Done>;

fn github() -> Catalog {
    let all = bundled(&BTreeMap::new()).unwrap().into_iter();
    Catalog::build(all.filter(|one| one.info().slug.as_str() == "github"), []).unwrap()
}

fn name(namespace: &str, name: &str) -> ActionName {
    let parse = |text| Slug::parse(text).unwrap();
    ActionName { namespace: parse(namespace), name: parse(name) }
}

fn ids(catalog: &Catalog, filter: &ToolFilter) -> (Vec<String>, u64) {
    let (tools, total) = catalog.tools(filter);
    (tools.iter().map(|tool| tool.id.clone()).collect(), total)
}

fn search(catalog: &Catalog, text: &str) -> Vec<String> {
    let filter = ToolFilter { search: Some(text.to_owned()), limit: 1000, ..ToolFilter::default() };
    ids(catalog, &filter).0
}

#[test]
fn underscore_and_hyphen_find_the_same_endpoint() {
    let catalog = Catalog::build([named("my-x")], []).unwrap();
    let find = |namespace, endpoint| catalog.find(&name(namespace, endpoint)).is_some();
    assert!(find("my_x", "get-it") && find("my-x", "get_it"));
    assert!(!find("my-x", "get"));
    assert!(catalog.tool("my_x_get_it").is_some() && catalog.tool("my-x-get-it").is_some());
    assert_eq!(catalog.tool_of(&name("my_x", "get_it")).unwrap().id, "my-x-get-it");
}

#[test]
fn reserved_words_and_collisions_are_all_named() {
    let taken = [named("tools"), named("keys"), named("a_b"), named("a-b"), named("api_keys")];
    let error = Catalog::build(taken, []).unwrap_err();
    let fields = error.field_details().iter().map(|d| d.field.as_str()).collect::<Vec<_>>();
    assert_eq!(fields, ["tools", "keys", "a-b", "api_keys"]);
}

#[test]
fn two_actions_with_one_tool_id_are_refused_by_name() {
    let of = |slug: &str, endpoint_name: &str, more: &str| {
        integration(slug, &endpoint(endpoint_name, more))
    };
    let error = Catalog::build([of("a", "b_c", ""), of("a-b", "c", "")], []).unwrap_err();
    assert_eq!(
        error.message(),
        "the catalogue cannot be built: `a-b-c` is the tool id of both `a/b_c` and `a-b/c`: give \
         one of them another with `tool = { id = \"…\" }`"
    );
    for mended in ["tool = { id = \"other\" }", "tool = false"] {
        Catalog::build([of("a", "b_c", mended), of("a-b", "c", "")], []).unwrap();
    }
}

#[test]
fn a_declared_id_replaces_the_derived_one_and_false_leaves_none() {
    let text = endpoint("one", "tool = { id = \"the_one\" }") + &endpoint("two", "tool = false");
    let catalog = Catalog::build([integration("x", &text)], []).unwrap();
    assert_eq!(ids(&catalog, &ToolFilter::default()), (vec!["the-one".to_owned()], 1));
    assert!(catalog.tool("x-one").is_none() && catalog.tool("the_one").is_some());
    assert!(catalog.action(&name("x", "two")).is_some() && catalog.tool("x-two").is_none());
    assert!(catalog.tool_of(&name("x", "two")).is_none());
}

#[test]
fn skills_that_are_not_active_are_nowhere() {
    let plain = |made: Made| made;
    let catalog = Catalog::build(
        [],
        [
            skill("scans", "v1.0", "old", Made::inactive),
            skill("scans", "v1.0", "code", Made::deprecated),
            skill("scans", "v1.1", "code", Made::inactive),
            skill("scans", "v0.1", "new_one", plain),
        ],
    )
    .unwrap();
    assert_eq!(ids(&catalog, &ToolFilter::default()).0, ["scans-code", "scans-new-one"]);
    assert!(catalog.action(&name("scans", "old")).is_none());
    let code = catalog.action(&name("scans", "code")).unwrap();
    assert_eq!(code.version(), Version::parse("v1.0").ok());
    let find = |version, skill| {
        let (category, version) = (Slug::parse("scans").unwrap(), Version::parse(version).unwrap());
        let found = catalog.skill(&category, version, &Slug::parse(skill).unwrap());
        found.map(|skill| skill.info().version.to_string())
    };
    assert_eq!(find("v1", "code").as_deref(), Some("v1.0"));
    assert_eq!((find("v1.1", "code"), find("v1.0", "old")), (None, None));
    let status = |id: &str| catalog.tool(id).unwrap().status;
    assert_eq!(status("scans-code"), Status::Deprecated);
    assert_eq!(status("scans-new-one"), Status::Beta);
}

#[test]
fn a_skill_says_what_kind_of_tool_it_is() {
    let form = Form {
        id: Slug::parse("semgrep-scan").ok(),
        category: Some(Category::Security),
        ..Form::default()
    };
    let scan = skill("scans", "v1.0", "semgrep", |made| made.tool(form).rate_limit(100));
    let catalog = Catalog::build([named("x")], [scan]).unwrap();
    let tool = catalog.tool("semgrep-scan").unwrap();
    assert_eq!((tool.name.as_str(), tool.rate_limit), ("Scans Semgrep", Some(100)));
    let of = |category| ToolFilter { category: Some(category), ..ToolFilter::default() };
    assert_eq!(ids(&catalog, &of(Category::Security)).0, ["semgrep-scan"]);
    assert_eq!(ids(&catalog, &of(Category::Integration)).0, ["x-get-it"]);
    assert_eq!(ids(&catalog, &of(Category::Monitoring)), (Vec::new(), 0));
}

#[test]
fn the_published_tool_is_what_its_page_shows() {
    let catalog = github();
    let tool = catalog.tool("github-list-prs").unwrap();
    assert_eq!(tool.name, "GitHub List PRs");
    assert_eq!(tool.inputs()["required"], json!(["owner", "repo"]));
    assert_eq!(tool.inputs()["properties"]["state"]["default"], "open");
    let outputs = tool.outputs().unwrap();
    assert_eq!(outputs["properties"]["prs"]["type"], "array");
    assert_eq!(outputs["properties"]["count"]["type"], "number");
    let call = |inputs: Value| tool.call(inputs.as_object().unwrap().clone());
    let params = call(json!({"owner": "acme", "repo": "web", "state": "open"})).unwrap();
    assert_eq!(Value::Object(params), json!({"repo": "acme/web", "state": "open"}));
    for (wrong, field) in [
        (json!({"owner": "acme"}), "repo"),
        (json!({"owner": "a/b", "repo": "c"}), "owner"),
        (json!({"owner": "", "repo": "c"}), "owner"),
        (json!({"owner": "a", "repo": 5}), "repo"),
        (json!({"owner": "a", "repo": "b", "state": "x"}), "state"),
    ] {
        assert_eq!(call(wrong).unwrap_err().field_details()[0].field, field);
    }
    let answer = r#"[{"id":1,"user":{"login":"dev1"},"body":"long"}, {}]"#;
    let Data::Json(shown) = tool.project(&Data::Json(answer.into())) else { panic!("no JSON") };
    let shown = serde_json::from_slice::<Value>(&shown).unwrap();
    assert_eq!(shown["count"], 2);
    assert_eq!(
        (&shown["prs"][0]["author"], &shown["prs"][1]["id"]),
        (&json!("dev1"), &json!(null))
    );
    assert!(shown["prs"][0].get("body").is_none(), "{shown}");
}

#[test]
fn every_example_of_a_tool_fits_its_action() {
    let catalog = github();
    let filter = ToolFilter { limit: 1000, ..ToolFilter::default() };
    for tool in catalog.tools(&filter).0 {
        for example in tool.examples() {
            let params = Value::Object(tool.call(example.input.clone()).unwrap());
            catalog.action(&tool.action).unwrap().schema().check(&params).unwrap();
        }
    }
}

#[test]
fn the_inputs_of_every_bundled_tool_are_a_schema() {
    // What is bundled is trusted later: here every schema is compiled.
    let catalog = Catalog::build(bundled(&Default::default()).unwrap(), []).unwrap();
    let filter = ToolFilter { limit: usize::MAX, ..ToolFilter::default() };
    for tool in catalog.tools(&filter).0 {
        let compiled = Schema::compile(tool.inputs().clone());
        assert!(compiled.is_ok(), "{}: {compiled:?}", tool.id);
    }
}

#[test]
fn each_word_has_to_begin_a_word_of_the_tool() {
    let catalog = github();
    assert_eq!(search(&catalog, "github list prs"), ["github-list-prs"]);
    assert_eq!(search(&catalog, "GITHUB_LIST-PRS"), ["github-list-prs"]);
    assert!(search(&catalog, "pull req merge").contains(&"github-merge-pr".to_owned()));
    assert!(search(&catalog, "milestone").contains(&"github-create-issue".to_owned()), "an input");
    for nothing in
        ["' OR 1=1--%_", "%", "_", "--", "'", "ithub", "github zzz", "*", "\u{0}", "githubb"]
    {
        assert_eq!(search(&catalog, nothing), [""; 0], "{nothing}");
    }
    let all = ids(&catalog, &ToolFilter::default()).1;
    for everything in ["", "  \t"] {
        // One page of them.
        assert_eq!(search(&catalog, everything).len() as u64, all.min(100), "{everything:?}");
    }
}

#[test]
fn id_and_name_count_before_the_rest_and_whole_words_before_beginnings() {
    let of = |name: &str, summary: &str| {
        endpoint(name, "").replace("summary = \"Get\"", &format!("summary = \"{summary}\""))
    };
    let text = [
        of("a_other", "send mail"),
        of("b_mailbox", "open"),
        of("c_mail", "open"),
        of("d_last", "mailing"),
        of("e_mail", "open"),
    ];
    let catalog = Catalog::build([integration("x", &text.concat())], []).unwrap();
    assert_eq!(
        search(&catalog, "mail"),
        ["x-c-mail", "x-e-mail", "x-b-mailbox", "x-a-other", "x-d-last"]
    );
}

#[test]
fn pages_follow_each_other_and_the_total_stays() {
    let catalog = github();
    let all = ids(&catalog, &ToolFilter { limit: 1000, ..ToolFilter::default() });
    assert!(all.0.is_sorted(), "{:?}", all.0);
    for text in [None, Some("list".to_owned())] {
        let page = |limit, offset| {
            let search = text.clone();
            ids(&catalog, &ToolFilter { search, limit, offset, ..ToolFilter::default() })
        };
        let (whole, total) = page(1000, 0);
        let mut pages = Vec::new();
        for offset in (0..total).step_by(3) {
            let (page, of) = page(3, offset);
            assert_eq!(of, total);
            pages.extend(page);
        }
        assert_eq!(pages, whole);
        assert_eq!(page(3, u64::MAX), (Vec::new(), total));
    }
}

#[test]
fn scopes_and_status_narrow_what_is_found() {
    let catalog = github();
    let scopes = Scopes::parse(["github/list_prs"]).ok();
    let filter = ToolFilter { scopes, ..ToolFilter::default() };
    assert_eq!(ids(&catalog, &filter), (vec!["github-list-prs".to_owned()], 1));
    let filter = ToolFilter { status: Some(Status::Deprecated), ..ToolFilter::default() };
    assert_eq!(ids(&catalog, &filter).1, 0);
}

/// What is wrong with an endpoint that has these lines.
fn problems(more: &str) -> String {
    let text = format!(
        "name = \"X\"\ndescription = \"X.\"\nbase_url = \"https://x.test\"\n\
         auth = {{ scheme = \"none\" }}\n[endpoints.one]\nsummary = \"S\"\nmethod = \"GET\"\n\
         path = \"/\"\nparams.n = {{ type = \"integer\" }}\nparams.s = {{ type = \"string\" }}\n{more}"
    );
    let problems = declared("x.toml", &text, &Overrides::default()).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_form_that_does_not_fit_is_named_with_its_line() {
    let shown = [
        "tool = true",
        "rate_limit = 0",
        "status = \"old\"",
        "group = \"A B\"",
        "tool.id = \"A\"",
        "tool.category = \"cooking\"",
        "tool.colour = 1",
        "tool.inputs.s = \"{a}{b}\"",
        "tool.inputs.x = \"{a}\"",
        "tool.inputs.s = \"{n}/{b}\"",
        "tool.inputs.s = { to = \"{a}\" }",
        "tool.inputs.s = { from = \"{a}\", describe = { b = \"B\" } }",
        "tool.inputs.n = { value = \"text\" }",
        "tool.outputs.o = \"items\"",
        "tool.outputs.o = { at = \"\", count = \"\" }",
        "tool.outputs.o = { at = \"\", type = 7 }",
        "tool.outputs = {}",
        "tool.examples = [{ name = \"E\" }]",
        "tool.examples = [{ name = \"E\", input = { n = \"text\" } }]",
        "tool.outputs.o = \"\"\ntool.examples = [{ name = \"E\", input = {}, output = { p = 1 } }]",
    ]
    .map(|more| format!("{more}\n  {}", problems(more).replace('\n', "\n  ")));
    insta::assert_snapshot!(shown.join("\n"));
}
