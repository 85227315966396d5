//! The commands, through a server's socket and on a data directory that nobody holds.

use std::{fs, process::Output};

use serde_json::{Value, json};

use crate::fixture::{Skill, TOKEN, Upstream, json as parsed, stderr, stdout, wait_for};

fn import(skill: &Skill, token: &str) -> Output {
    skill.run_with(&["connection", "import", "echo"], &json!({ "token": token }).to_string())
}

/// What commands print, without what differs by nature: identifiers, times, keys and ports.
fn session(skill: &Skill) -> Vec<String> {
    let key = ["key", "create", "agent", "--scopes", "echo/get_user", "--expires-in", "1h"];
    let outputs = [
        import(skill, TOKEN),
        import(skill, "another"),
        skill.run(&["connections"]),
        skill.run(&["call", "echo", "get_user"]),
        skill.run(&["call", "echo", "get_missing"]),
        skill.run(&["call", "echo", "make_thing", "--count", "many", "--name", "x"]),
        skill.run(&["call", "nothing", "get_user"]),
        skill.run(&["call", "--owner", "acme", "echo", "get_user"]),
        skill.run(&key),
        skill.run(&["key", "create", "agent", "--scopes", "no scope"]),
        skill.run(&["key", "revoke", "key_0"]),
        skill.run_with(&["app", "add", "github", "--client-id", "Iv1"], "a secret\n"),
        skill.run(&["connection", "remove", "conn_0"]),
        skill.run(&["run", "echo/get_user"]),
        skill.run(&["run", "echo-get-missing"]),
        skill.run(&["run", "echo/make_thing", "--count", "many", "--name", "x"]),
        skill.run(&["run", "echo/nothing"]),
        skill.run(&["run", "--async", "--delay", "1h", "echo/get_user"]),
        skill.run(&["runs", "show", "exec_0"]),
        skill.run(&["runs", "cancel", "exec_0"]),
        skill.run(&["runs", "watch", "exec_0"]),
        skill.run(&["tools", "list", "--limit", "2"]),
        skill.run(&["tools", "show", "nothing"]),
        skill.run(&["key", "rotate", "key_0"]),
        skill.run(&["plan", "set", "nothing"]),
        skill.run(&["audit", "--limit", "1"]),
    ];
    outputs.iter().map(blurred).collect()
}

fn blurred(output: &Output) -> String {
    let text = format!("{:?} {}{}", output.status.code(), stdout(output), stderr(output));
    let is_own = |word: &str| {
        let prefixes = ["key_0", "conn_0", "app_0", "exec_0", "/executions", "sk_", "20", "http:"];
        prefixes.iter().any(|prefix| word.starts_with(prefix))
    };
    let words = text
        .split_inclusive(['"', ' ', '\n', ','])
        .map(|word| if is_own(word) { "…" } else { word });
    let text = words.collect::<String>();
    text.replace("\"last_used_at\":null", "\"last_used_at\":\"…")
}

#[test]
fn commands_give_the_same_with_a_server_and_without() {
    let upstream = Upstream::start();
    let (with, without) = (Skill::with_echo(&upstream), Skill::with_echo(&upstream));
    let _server = with.serve();
    assert_eq!(session(&with), session(&without));
}

#[test]
fn a_call_prints_the_data_and_its_exit_code_says_how_it_went() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    assert_eq!(parsed(&import(&skill, TOKEN))["status"], "connected");

    let output = skill.run(&["call", "echo", "get_user"]);
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(0), "{\"login\":\"ada\"}\n"));

    let output = skill.run(&["call", "echo", "get_missing"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "{\"message\":\"not found\"}\n");
    assert_eq!(stderr(&output), "error: the service answered with status 404\n");

    for wrong in [&["call", "echo"] as &[_], &["call", "echo", "make_thing", "--nme", "x"]] {
        assert_eq!(skill.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let refused = skill.run(&["call", "echo", "make_thing"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("`name`: expected a value"), "{}", stderr(&refused));
}

#[test]
fn an_upstream_status_that_is_mirrored_makes_no_difference_to_a_call() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    skill.configure(&format!("mirror_status = true\negress.allow = [\"{}\"]\n", upstream.address));
    import(&skill, TOKEN);
    let output = skill.run(&["call", "echo", "get_missing"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "{\"message\":\"not found\"}\n");
}

#[test]
fn a_call_gives_up_when_its_time_is_over() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    import(&skill, TOKEN);
    let call = ["call", "--timeout", "0.2", "echo", "get_slow", "--ms", "5000"];
    let output = skill.run(&call);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: no answer came within"), "{}", stderr(&output));
}

#[test]
fn parameters_arrive_with_the_types_that_the_endpoint_declares() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    import(&skill, TOKEN);
    let thing = ["--name", "007", "--count", "3", "--labels", "a,b", "--draft"];
    let output = skill.run(&[&["call", "echo", "make_thing"], &thing[..]].concat());
    let data = stdout(&output);
    assert!(data.contains("12345678901234567890123"), "digits are kept: {data}");
    let data = serde_json::from_str::<Value>(&data).unwrap();
    let body = json!({ "name": "007", "count": 3, "labels": ["a", "b"], "draft": true });
    assert_eq!(data["body"], body);
}

#[test]
fn the_help_of_an_endpoint_lists_its_parameters() {
    let skill = Skill::with_echo(&Upstream::start());
    let help = stdout(&skill.run(&["call", "echo", "make_thing", "--help"]));
    assert!(help.starts_with("Make a thing (POST /things)"), "{help}");
    assert!(help.contains("--labels") && help.contains("required"), "{help}");
    assert!(!skill.data().join("skill.db").exists());
}

#[test]
fn a_credential_that_the_service_refuses_is_not_kept_nor_shown() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    let output = import(&skill, "wrong-a4c1");
    assert!(!output.status.success());
    assert!(!stderr(&output).contains("wrong-a4c1"), "{}", stderr(&output));
    let output = skill.run_with(&["connection", "import", "echo"], "wrong-a4c1");
    assert_eq!(output.status.code(), Some(2));
    assert!(!stderr(&output).contains("wrong-a4c1"), "{}", stderr(&output));
    assert_eq!(skill.json(&["connections"])["total"], 0);
}

#[test]
fn a_credential_may_come_from_a_file_and_its_connection_goes_again() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    let file = skill.data().join("credential");
    fs::write(&file, json!({ "token": TOKEN }).to_string()).unwrap();
    let file = file.to_str().unwrap();
    let args = ["connection", "import", "echo", "--credentials-file", file, "--label", "work"];
    let id = skill.json(&args)["connection_id"].as_str().unwrap().to_owned();
    let call = ["call", "--connection", "work", "echo", "get_user"];
    assert_eq!(skill.json(&call)["login"], "ada");
    let call = ["call", "echo", "get_user", "--connection", "home"];
    assert_eq!(skill.run(&call).status.code(), Some(1));
    assert_eq!(skill.json(&["connection", "remove", &id])["removed"], true);
    assert_eq!(skill.run(&["call", "echo", "get_user"]).status.code(), Some(1));
}

#[test]
fn connecting_waits_for_the_person() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    let refused = skill.run(&["connect", "echo"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("hint: start `skill serve` first"), "{}", stderr(&refused));

    let server = skill.serve();
    let printed = skill.data().join("printed");
    let mut waiting = skill.command(&["connect", "echo", "--label", "work"]);
    waiting.stdout(fs::File::create(&printed).unwrap());
    let mut waiting = waiting.spawn().unwrap();
    let begun = wait_for(|| {
        let text = fs::read_to_string(&printed).unwrap();
        serde_json::from_str::<Value>(text.lines().next()?).ok()
    });
    let page = begun["oauth_url"].as_str().unwrap().rsplit_once("/connect/").unwrap().1.to_owned();
    assert!(waiting.try_wait().unwrap().is_none());
    let form = format!("token={TOKEN}");
    assert_eq!(server.request("", &format!("POST /connect/{page}"), &form).0, 200);
    assert!(wait_for(|| waiting.try_wait().unwrap()).success());
    let last = fs::read_to_string(&printed).unwrap();
    let last = serde_json::from_str::<Value>(last.lines().last().unwrap()).unwrap();
    assert_eq!(last["status"], "connected");
    assert_eq!(skill.json(&["call", "echo", "get_user"])["login"], "ada");
}

#[test]
fn an_oauth_integration_without_a_client_says_how_to_add_one() {
    let skill = Skill::new();
    let _server = skill.serve();
    let output = skill.run(&["connect", "github"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("skill app add github"), "{}", stderr(&output));
    let added = skill.run_with(&["app", "add", "github", "--client-id", "Iv1"], "planted\n");
    assert_eq!(parsed(&added)["holder"], "system");
    let begun = skill.json(&["connect", "github", "--no-wait", "--scopes", "repo"]);
    assert!(begun["oauth_url"].is_string());
}

#[test]
fn an_oauth_client_of_the_environment_is_kept_without_it() {
    let skill = Skill::new();
    let mut command = skill.command(&["key", "list"]);
    command.env("SKILL_GITHUB_CLIENT_ID", "Iv1.1").env("SKILL_GITHUB_CLIENT_SECRET", "hunter2");
    assert!(command.output().unwrap().status.success());
    let _server = skill.serve();
    assert!(skill.json(&["connect", "github", "--no-wait"])["oauth_url"].is_string());
}

#[test]
fn a_key_does_what_its_scopes_say_until_it_is_revoked() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    import(&skill, TOKEN);
    let server = skill.serve();
    let made = skill.json(&["key", "create", "agent", "--scopes", "echo/get_user"]);
    let (key, id) = (made["full_key"].as_str().unwrap(), made["api_key"]["id"].as_str().unwrap());
    assert_eq!(server.request(key, "POST /v1/echo/get_user", "{}").0, 200);
    assert_eq!(server.request(key, "POST /v1/echo/get_missing", "{}").0, 403);
    assert_eq!(skill.json(&["key", "revoke", id])["revoked"], true);
    assert_eq!(server.request(key, "POST /v1/echo/get_user", "{}").0, 401);
}

#[test]
fn owners_see_nothing_of_each_other() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    import(&skill, TOKEN);
    assert_eq!(skill.json(&["connections"])["total"], 1);
    assert_eq!(skill.json(&["connections", "--owner", "acme"])["total"], 0);
    skill.json(&["key", "create", "theirs", "--owner", "acme"]);
    assert_eq!(skill.json(&["key", "list"]), json!([]));
    assert_eq!(skill.run(&["key", "list", "--owner", "no owner"]).status.code(), Some(2));
}
