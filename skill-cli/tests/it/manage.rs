//! What an operator manages: keys that are replaced, plans, the audit; and what there is to run.

use serde_json::json;

use crate::fixture::{self, Skill, TOKEN, Upstream, stderr, stdout};

#[test]
fn a_replaced_key_goes_on_as_long_as_it_is_told() {
    let skill = Skill::new();
    let server = skill.serve();
    let made = skill.json(&["key", "create", "worker", "--type", "service"]);
    let (old, id) = (made["full_key"].as_str().unwrap(), made["api_key"]["id"].as_str().unwrap());
    assert!(old.starts_with("sk_svc_"));
    let next = skill.json(&["key", "rotate", id, "--overlap", "30m"]);
    let new = next["key"].as_str().unwrap();
    assert_eq!((&next["name"], &next["type"]), (&json!("worker"), &json!("service")));
    for key in [old, new] {
        assert_eq!(server.request(key, "GET /v1/keys", "").0, 200);
    }
    let last = skill.json(&["key", "rotate", next["id"].as_str().unwrap(), "--overlap", "0"]);
    assert_eq!(server.request(new, "GET /v1/keys", "").0, 401);
    assert_eq!(server.request(last["key"].as_str().unwrap(), "GET /v1/keys", "").0, 200);
    for (wrong, code) in [(&["--overlap", "8d"][..], 2), (&["--overlap", "soon"], 2)] {
        let rotate = [&["key", "rotate", last["id"].as_str().unwrap()], wrong].concat();
        assert_eq!(skill.run(&rotate).status.code(), Some(code), "{wrong:?}");
    }
    let again = skill.run(&["key", "rotate", next["id"].as_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).starts_with("error: this key has ended"), "{}", stderr(&again));
    assert_eq!(skill.run(&["key", "create", "x", "--type", "odd"]).status.code(), Some(2));
}

#[test]
fn an_owner_is_put_on_a_plan_at_once() {
    let skill = Skill::new();
    let server = skill.serve();
    let key = server.first_key();
    assert_eq!(skill.json(&["plan", "set", "free"]), json!({"owner": "default", "plan": "free"}));
    let full = skill.run(&["key", "create", "second"]);
    assert_eq!(full.status.code(), Some(1), "{}", stderr(&full));
    skill.json(&["plan", "set", "default"]);
    skill.json(&["key", "create", "second"]);
    let unknown = skill.run(&["plan", "set", "gold"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("no plan `gold`"), "{}", stderr(&unknown));
    assert_eq!(server.request(&key, "PUT /_operator/plan", "{}").0, 404);
}

#[test]
fn the_audit_says_who_did_what() {
    let skill = Skill::new();
    let made = skill.json(&["key", "create", "k"]);
    let id = made["api_key"]["id"].as_str().unwrap();
    skill.run(&["key", "revoke", id]);
    let audit = skill.json(&["audit"]);
    let events = audit.as_array().unwrap().iter();
    let events = events.map(|line| (line["event"].as_str().unwrap(), line["target"] == id));
    assert_eq!(events.collect::<Vec<_>>(), [("key.revoked", true), ("key.created", true)]);
    assert_eq!(audit[0]["actor"], "operator");
    assert_eq!(skill.json(&["audit", "--owner", "acme"]), json!([]));
}

#[test]
fn tools_are_listed_found_and_shown() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    let ids = |words: &[&str]| {
        let listed = skill.json(&[&["tools"], words].concat());
        let tools = listed["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["list", "--limit", "2", "--offset", "1"]), ids(&["list"])[1..3]);
    assert!(ids(&["search", "echo"]).contains(&"echo-make-thing".to_owned()));
    assert_eq!(ids(&["search", "make", "a", "thing"])[0], "echo-make-thing");
    assert_eq!(ids(&["list", "--category", "security"]), [""; 0]);
    assert_eq!(skill.run(&["tools", "list", "--status", "odd"]).status.code(), Some(2));
    let tool = skill.json(&["tools", "show", "echo_make_thing"]);
    assert_eq!(tool["inputs"]["name"]["required"], true);
    assert_eq!(skill.run(&["tools", "show", "nothing"]).status.code(), Some(1));
    let help = stdout(&skill.run(&["run", "echo/make_thing", "--help"]));
    assert!(help.contains("--labels") && help.contains("required"), "{help}");
    assert!(!help.contains(TOKEN));
}

#[test]
fn a_dialect_that_is_not_spoken_is_not_there_and_commands_go_on() {
    let skill = Skill::new();
    skill.configure("dialects = [\"proxy\"]\n");
    let server = skill.serve();
    let key = server.first_key();
    assert_eq!(server.request(&key, "GET /v1/tools", "").0, 404);
    assert_eq!(server.request(&key, "GET /api-keys", "").0, 200);
    assert!(skill.json(&["tools", "list"])["total"].as_u64().unwrap() > 0);
    skill.configure("dialects = [\"soap\"]\n");
    let output = skill.run(&["config"]);
    assert!(stderr(&output).contains("dialects"), "{}", stderr(&output));
}

#[test]
fn oauth_clients_are_added_listed_changed_and_removed() {
    let skill = Skill::new();
    let add = |words: &[&str], secret: &str| {
        fixture::json(&skill.run_with(&[&["app", "add", "github"], words].concat(), secret))
    };
    let system = add(&["--client-id", "one"], "secret-canary");
    let own = add(&["--client-id", "two", "--owner", "acme"], "secret-canary");
    assert_eq!((&system["holder"], &own["holder"]), (&json!("system"), &json!("acme")));
    let listed = skill.json(&["app", "list"]);
    assert_eq!((&listed[0]["id"], listed[0]["has_secret"].as_bool()), (&system["id"], Some(true)));
    assert!(!listed.to_string().contains("canary"));
    let acme = skill.json(&["app", "list", "--owner", "acme"]);
    assert_eq!((acme.as_array().unwrap().len(), &acme[0]["id"]), (1, &own["id"]));
    let id = own["id"].as_str().unwrap();
    let rotate = ["app", "rotate", id];
    let refused = skill.run_with(&rotate, "another");
    assert_eq!(refused.status.code(), Some(1), "it is no client of the operator's");
    fixture::json(&skill.run_with(&[&rotate[..], &["--owner", "acme"]].concat(), "another"));
    assert_eq!(skill.run(&["app", "remove", id]).status.code(), Some(1));
    skill.json(&["app", "remove", id, "--owner", "acme"]);
    assert_eq!(skill.json(&["app", "list", "--owner", "acme"]), json!([]));
}

#[test]
fn an_owners_people_go_where_its_own_list_says() {
    let skill = Skill::new();
    skill.configure("[connect]\nreturn_urls = [\"https://app.example.com/done\"]\n");
    let urls = |words: &[&str]| skill.json(&[&["return-url"], words].concat())["urls"].clone();
    assert_eq!(urls(&["list"]), json!(["https://app.example.com/done"]));
    let own = "https://acme.example.com/back?a=1";
    assert_eq!(urls(&["add", own, "--owner", "acme"]), json!([own]));
    assert_eq!(urls(&["list"]), json!(["https://app.example.com/done"]));
    assert_eq!(urls(&["remove", own, "--owner", "acme"]), json!(["https://app.example.com/done"]));
    let again = skill.run(&["return-url", "remove", own, "--owner", "acme"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(skill.run(&["return-url", "add", "javascript:x"]).status.code(), Some(2));
}
