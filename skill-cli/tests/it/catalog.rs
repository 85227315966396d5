//! Declarations on the command line.

use std::fs;

use crate::fixture::{Skill, TOKEN, Upstream, stderr, stdout};

#[test]
fn the_listing_says_how_far_each_declaration_is_proven() {
    let listed = Skill::new().json(&["catalog", "list"]);
    let of = |slug: &str| {
        let all = listed["integrations"].as_array().unwrap();
        all.iter().find(|one| one["slug"] == slug).unwrap()["verified"].clone()
    };
    assert_eq!((of("github"), of("salesforce")), ("mocked".into(), "described".into()));
}

#[test]
fn a_declaration_is_shown_with_what_it_extends_and_what_the_configuration_changes() {
    let skill = Skill::new();
    skill.configure("[integrations.gmail]\nbase_url = \"http://127.0.0.1:9/gmail\"\n");
    let shown = skill.json(&["catalog", "show", "gmail"]);
    assert_eq!(shown["declaration"]["auth"]["client_auth"], "body", "{shown}");
    assert_eq!(shown["declaration"]["base_url"], "http://127.0.0.1:9/gmail");
    assert_eq!(shown["verified"], "mocked");
    let missing = skill.run(&["catalog", "show", "nothing"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("there is no integration `nothing`"));
}

#[test]
fn every_problem_is_named_with_file_and_line_and_ends_with_1() {
    let skill = Skill::new();
    fs::create_dir_all(skill.data()).unwrap();
    let (good, bad) = (skill.data().join("good.toml"), skill.data().join("bad.toml"));
    let text = "name = \"X\"\ndescription = \"X.\"\nbase_url = \"https://x.test\"\n\
                auth = { scheme = \"none\" }\n\n[endpoints.one]\nsummary = \"One\"\n\
                method = \"GET\"\npath = \"/a\"\n";
    fs::write(&good, text).unwrap();
    fs::write(&bad, text.replace("GET", "FETCH").replace("path =", "paht =")).unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    assert_eq!(skill.run(&["catalog", "check", good]).status.code(), Some(0));
    let checked = skill.run(&["catalog", "check", good, bad]);
    assert_eq!(checked.status.code(), Some(1));
    let said = serde_json::from_str::<serde_json::Value>(&stdout(&checked)).unwrap();
    assert_eq!(said["files"][0]["problems"], serde_json::json!([]));
    let problems = said["files"][1]["problems"].as_array().unwrap();
    let lines = problems.iter().map(|one| one["line"].as_u64().unwrap()).collect::<Vec<_>>();
    assert!(lines.contains(&8), "{problems:?}");
    assert!(problems.iter().all(|one| one["file"] == bad), "{problems:?}");
}

#[test]
fn a_new_declaration_passes_the_check_and_is_never_written_over() {
    let skill = Skill::new();
    let written = skill.json(&["catalog", "new", "acme-crm"]);
    let file = written["file"].as_str().unwrap();
    assert!(file.ends_with("integrations/acme-crm.toml"), "{file}");
    assert_eq!(skill.run(&["catalog", "check", file]).status.code(), Some(0));
    let listed = stdout(&skill.run(&["catalog", "list"]));
    assert!(listed.contains("acme-crm"), "{listed}");
    let again = skill.run(&["catalog", "new", "acme-crm"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("is there already"));
}

#[test]
fn a_probe_says_what_it_saw_and_what_that_proves() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    let alone = skill.run(&["catalog", "probe", "echo"]);
    assert_eq!(alone.status.code(), Some(1), "{}", stdout(&alone));
    assert!(stderr(&alone).contains("connect"), "{}", stderr(&alone));
    let token = format!("{{\"token\":\"{TOKEN}\"}}");
    skill.run_with(&["connection", "import", "echo"], &token);
    let seen = skill.json(&["catalog", "probe", "echo"]);
    assert_eq!((&seen["status"], &seen["account"]), (&200.into(), &"ada".into()));
    let proves = seen["proves"].as_str().unwrap();
    assert!(proves.contains("this connection's credential"), "{proves}");
    assert!(proves.contains("3 endpoints were not called"), "{proves}");
    let missing = skill.run(&["catalog", "probe", "httpbin"]);
    assert!(stderr(&missing).contains("names no call that may be made"), "{}", stderr(&missing));
}

/// A document with a workflow that calls `operation`.
fn document(operation: &str) -> String {
    format!(
        "arazzo: 1.0.1\ninfo: {{title: T, version: 1.0.0}}\nsourceDescriptions:\n\
         - {{name: httpbin, url: 'skill:httpbin', type: openapi}}\nworkflows:\n\
         - workflowId: look\n  x-skill: {{category: mine}}\n  steps:\n\
         \x20 - {{stepId: a, operationId: {operation}}}\n"
    )
}

#[test]
fn a_skill_that_is_a_document_is_checked_listed_shown_and_called() {
    let skill = Skill::new();
    let folder = skill.data().join("skills");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("look.arazzo.yaml");
    let file = file.to_str().unwrap();
    fs::write(file, document("nothing")).unwrap();
    let checked = skill.run(&["catalog", "check", file]);
    assert_eq!(checked.status.code(), Some(1));
    let said = serde_json::from_str::<serde_json::Value>(&stdout(&checked)).unwrap();
    let problem = &said["files"][0]["problems"][0];
    assert_eq!((&problem["file"], &problem["line"]), (&file.into(), &9.into()), "{said}");
    // A start names it too, and does not go on without it.
    let started = skill.run(&["catalog", "list"]);
    assert!(stderr(&started).contains("look.arazzo.yaml:9"), "{}", stderr(&started));
    fs::write(file, document("get")).unwrap();
    let checked = skill.json(&["catalog", "check", file]);
    assert_eq!(checked["files"][0]["skills"], serde_json::json!(["mine/v1.0/look"]));
    let listed = skill.json(&["catalog", "list"]);
    let all = listed["skills"].as_array().unwrap();
    let tool = |name: &str| &all.iter().find(|one| one["name"] == name).unwrap()["tool"];
    assert_eq!(tool("mine/v1.0/look"), "mine-look");
    assert_eq!(tool("github/v1.0/workflow"), "github-workflow");
    let shown = skill.json(&["catalog", "show", "slack/v1.0/notify"]);
    assert!(shown["document"].as_str().unwrap().contains("post_message"));
    let tools = skill.json(&["tools", "show", "mine-look"]);
    assert_eq!(tools["id"], "mine-look", "{tools}");
}

#[cfg(target_os = "linux")]
#[test]
fn commands_are_checked_with_file_and_line_and_enabled_by_name() {
    let skill = Skill::new();
    fs::create_dir_all(skill.data().join("commands")).unwrap();
    let file = skill.data().join("commands/count.toml");
    let text = "skill = \"files/v1.0/count\"\nsummary = \"Count\"\nprogram = \"wc\"\n\
                install = \"coreutils\"\nanswer = \"text\"\nargumenst = []\n";
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let checked = skill.run(&["catalog", "check", path]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(stdout(&checked).contains("\"line\":6"), "{}", stdout(&checked));
    fs::write(&file, text.replace("argumenst", "arguments")).unwrap();
    assert_eq!(skill.run(&["catalog", "check", path]).status.code(), Some(0));
    let tools = |skill: &Skill| stdout(&skill.run(&["tools", "list"]));
    assert!(!tools(&skill).contains("\"id\":\"count\""));
    skill.configure("[commands]\nenabled = [\"count\"]\n");
    assert!(tools(&skill).contains("\"id\":\"count\""), "{}", tools(&skill));
    skill.configure("[commands]\nenabled = [\"cuont\"]\n");
    let refused = skill.run(&["tools", "list"]);
    assert!(stderr(&refused).contains("`cuont`, which is no command"), "{}", stderr(&refused));
    let open = format!("[commands]\nenabled = [\"count\"]\nroots = [{:?}]\n", skill.data());
    skill.configure(&open);
    let refused = skill.run(&["tools", "list"]);
    assert!(stderr(&refused).contains("is not for them"), "{}", stderr(&refused));
}
