//! Backups, keys that seal, the way out, and the doctor: through a server and without one.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use crate::fixture::{Skill, TOKEN, Upstream, stderr, stdout, wait_for};

/// A data directory with `echo` connected.
fn connected(upstream: &Upstream) -> Skill {
    let skill = Skill::with_echo(upstream);
    let token = json!({ "token": TOKEN }).to_string();
    assert!(skill.run_with(&["connection", "import", "echo"], &token).status.success());
    skill
}

/// A backup of it, and how the program ended.
fn back_up(skill: &Skill, name: &str) -> (String, Value) {
    let file = skill.data().parent().unwrap().join(name).display().to_string();
    let answer = skill.json(&["backup", &file]);
    (file, answer)
}

fn key_file(skill: &Skill) -> String {
    skill.data().join("seal.key").display().to_string()
}

fn status(skill: &Skill, id: &str) -> String {
    skill.json(&["runs", "show", id])["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_restored_backup_does_nothing_twice() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    let run = skill.json(&["run", "--async", "echo/get_slow", "--ms", "1"]);
    let id = run["execution_id"].as_str().unwrap().to_owned();
    let (file, answer) = back_up(&skill, "backup.tar");
    assert_eq!(
        (answer["seal_keys"].clone(), answer["holds_the_key"].clone()),
        (json!([1]), json!(false))
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = fs::read_to_string(key_file(&skill)).unwrap();
    let bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(40).any(|part| part == &key.as_bytes()[2..42]));
    // Nothing is ever overwritten.
    assert_eq!(skill.run(&["backup", &file]).status.code(), Some(1));

    let copy = Skill::new();
    let output = copy.run(&["restore", &file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("needs the sealing key (version 1)"), "{}", stderr(&output));
    let wrong = Skill::new();
    wrong.json(&["connections"]);
    let output = copy.run(&["restore", &file, "--key-file", &key_file(&wrong)]);
    assert!(
        stderr(&output).contains("not the one this data was sealed with"),
        "{}",
        stderr(&output)
    );
    assert!(!copy.data().join("skill.db").exists() && !copy.data().join("seal.key").exists());

    let restored = copy.json(&["restore", &file, "--key-file", &key_file(&skill)]);
    assert_eq!(
        (restored["held_runs"].clone(), restored["grants_to_be_checked"].clone()),
        (json!(1), json!(1))
    );
    assert_eq!(copy.run(&["restore", &file]).status.code(), Some(1), "it is not empty any more");
    let _server = copy.serve();
    assert_eq!(status(&copy, &id), "held");
    let held = copy.json(&["runs", "list", "--status", "held"]);
    assert_eq!(held["executions"][0]["id"], json!(id));
    // The server works on what is asked for now, and the held run stays.
    assert_eq!(copy.run(&["run", "echo/get_user"]).status.code(), Some(0));
    assert_eq!((upstream.slow(), status(&copy, &id).as_str()), (0, "held"));
    let doctor = copy.run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(stdout(&doctor).contains("1 runs are held"), "{}", stdout(&doctor));
    copy.json(&["runs", "release", &id]);
    wait_for(|| (status(&copy, &id) == "success").then_some(()));
    assert_eq!(upstream.slow(), 1);
    assert_eq!(copy.run(&["runs", "release", &id]).status.code(), Some(1));
}

#[test]
fn a_backup_of_a_server_under_load_is_one_moment() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    let server = skill.serve();
    let key = server.first_key();
    let (mut acknowledged, mut backups) = (Vec::new(), Vec::new());
    for n in 0..60 {
        let body = json!({ "name": format!("thing-{n}") }).to_string();
        let (status, answer) =
            server.request(&key, "POST /v1/tools/echo-make-thing/invoke?async=true", &body);
        assert_eq!(status, 202, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        acknowledged.push(answer["execution_id"].as_str().unwrap().to_owned());
        if n % 20 == 10 {
            backups.push((acknowledged.len(), back_up(&skill, &format!("b{n}.tar")).0));
        }
    }
    for (count, file) in backups {
        let copy = Skill::new();
        copy.json(&["restore", &file, "--key-file", &key_file(&skill)]);
        // Whatever was acknowledged before the backup began is in it.
        for id in &acknowledged[..count] {
            let state = status(&copy, id);
            assert!(["held", "success"].contains(&state.as_str()), "{id} is {state}");
        }
        let listed = copy.json(&["runs", "list", "--limit", "100"]);
        let total = listed["total"].as_u64().unwrap();
        assert_eq!(listed["executions"].as_array().unwrap().len() as u64, total);
    }
}

#[test]
fn the_sealing_key_is_replaced_while_the_server_runs() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    let old = fs::read_to_string(key_file(&skill)).unwrap();
    let server = skill.serve();
    let sealing = skill.json(&["seal", "rotate"]);
    assert_eq!(
        (sealing["keys"].clone(), sealing["is_under_way"].clone()),
        (json!([1, 2]), json!(false))
    );
    assert_eq!(stdout(&skill.run(&["run", "echo/get_user"])), "{\"login\":\"ada\"}\n");
    assert_eq!(fs::metadata(key_file(&skill)).unwrap().permissions().mode() & 0o777, 0o600);
    let (file, answer) = back_up(&skill, "both.tar");
    assert_eq!(answer["seal_keys"], json!([1, 2]));
    assert!(server.stop().success());

    // The next start finds that nothing needs the old key.
    let server = skill.serve();
    wait_for(|| (skill.json(&["seal", "status"])["keys"] == json!([2])).then_some(()));
    let new = fs::read_to_string(key_file(&skill)).unwrap();
    assert!(new.starts_with("2:") && new.lines().count() == 1);
    assert_eq!(skill.run(&["run", "echo/get_user"]).status.code(), Some(0));
    assert!(server.stop().success());

    let copy = Skill::new();
    let output = copy.run(&["restore", &file, "--key-file", &key_file(&skill)]);
    assert!(stderr(&output).contains("sealed with key version 1"), "{}", stderr(&output));
    fs::write(skill.data().join("seal.key"), &old).unwrap();
    let output = skill.run(&["connections"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("version 2"), "{}", stderr(&output));
    fs::write(skill.data().join("seal.key"), &new).unwrap();
    // Without a server the same.
    skill.json(&["seal", "rotate"]);
    assert_eq!(skill.run(&["run", "echo/get_user"]).status.code(), Some(0));
    assert_eq!(skill.json(&["seal", "status"])["keys"].as_array().unwrap().last(), Some(&json!(3)));
}

#[test]
fn a_key_of_the_configuration_is_not_rotated_here() {
    let skill = Skill::new();
    let key = skill.data().parent().unwrap().join("elsewhere.key");
    skill.json(&["connections"]);
    let text = fs::read_to_string(key_file(&skill)).unwrap();
    fs::rename(skill.data().join("seal.key"), &key).unwrap();
    skill.configure(&format!("seal.key = \"{}\"\n", text.trim()));
    let output = skill.run(&["seal", "rotate"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("add a line with the next version"), "{}", stderr(&output));
    // A file elsewhere is.
    skill.configure(&format!("seal.key_file = \"{}\"\n", key.display()));
    assert_eq!(skill.json(&["seal", "rotate"])["keys"], json!([1, 2]));
    assert!(fs::read_to_string(&key).unwrap().contains("2:"));
}

#[test]
fn the_way_out_ends_everything() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    let server = skill.serve();
    let key = server.first_key();
    assert_eq!(skill.run(&["revoke-everything"]).status.code(), Some(2));
    assert_eq!(server.request(&key, "GET /api-keys", "").0, 200);
    let later = skill.json(&["run", "--async", "--delay", "1h", "echo/get_user"]);
    let revoked = skill.json(&["revoke-everything", "--yes"]);
    assert_eq!(
        (revoked["keys"].clone(), revoked["runs"].clone(), revoked["connections"].clone()),
        (json!(1), json!(1), json!(1))
    );
    assert_eq!(revoked["not_revoked_upstream"][0]["integration"], "echo");
    assert_eq!(server.request(&key, "GET /api-keys", "").0, 401);
    assert_eq!(status(&skill, later["execution_id"].as_str().unwrap()), "cancelled");
    assert_eq!(skill.run(&["run", "echo/get_user"]).status.code(), Some(1));
    assert!(skill.json(&["audit"]).to_string().contains("everything.revoked"));
}

#[test]
fn the_doctor_says_what_is_wrong_and_how_to_mend_it() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    let server = skill.serve();
    let url = format!("http://{}", server.address);
    let well = skill.command(&["doctor"]).env("SKILL_PUBLIC_URL", &url).output().unwrap();
    let found = printed(&well);
    assert_eq!((well.status.code(), found["is_well"].clone()), (Some(0), json!(true)), "{found:#}");

    drop(server);
    let seal = skill.data().join("seal.key");
    fs::set_permissions(&seal, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(skill.data().join("integrations/broken.toml"), "name = 7\n").unwrap();
    let mut command = skill.command(&["doctor"]);
    command.env("SKILL_LISTN", "x").env("SKILL_PUBLIC_URL", "http://skill.example.com");
    command.env("SKILL_EGRESS_ALLOW", format!("{},nowhere.test:1", upstream.address));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    for said in [
        "SKILL_LISTN",
        "mode 644",
        "chmod 600",
        "broken.toml:1",
        "is not encrypted",
        "egress.allow` of file",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains(TOKEN) && !text.contains(fs::read_to_string(&seal).unwrap().trim()));
    fs::remove_file(skill.data().join("integrations/broken.toml")).unwrap();
    fs::set_permissions(&seal, fs::Permissions::from_mode(0o600)).unwrap();
    // What an integration names is known when all of them are.
    let mut command = skill.command(&["doctor"]);
    command.env("SKILL_EGRESS_ALLOW", format!("{},nowhere.test:1", upstream.address));
    let text = stdout(&command.output().unwrap());
    assert!(text.contains("egress.allow opens nowhere.test:1"), "{text}");

    // Without the key, and with a store of a later program.
    fs::rename(&seal, skill.data().join("away")).unwrap();
    let text = stdout(&skill.run(&["doctor"]));
    assert!(text.contains("seal.key is missing"), "{text}");
    fs::rename(skill.data().join("away"), &seal).unwrap();
    skill.json(&["connections"]);
    let database = skill.data().join("skill.db");
    let mut bytes = fs::read(&database).unwrap();
    bytes[60..64].copy_from_slice(&999_u32.to_be_bytes());
    fs::write(&database, bytes).unwrap();
    let text = stdout(&skill.run(&["doctor"]));
    assert!(text.contains("the store has schema 999"), "{text}");
}

/// What it printed, however it ended.
fn printed(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn an_integration_with_a_key_is_set_up() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    // Without anything it says what is to be done.
    let told = skill.json(&["setup", "github"]);
    assert_eq!(told["register_at"], "https://github.com/settings/applications/new");
    assert_eq!(told["redirect_url"], "http://127.0.0.1:8080/oauth/callback");
    assert!(told["scopes"].as_array().unwrap().contains(&json!("repo")));
    let file = skill.data().parent().unwrap().join("token.json");
    fs::write(&file, json!({ "token": TOKEN }).to_string()).unwrap();
    let output = skill.run(&["setup", "echo", "--credentials-file", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((last["status"].clone(), last["account"].clone()), (json!(200), json!("ada")));
    assert!(!text.contains(TOKEN));
    fs::write(&file, json!({ "token": "wrong" }).to_string()).unwrap();
    let output = skill.run(&["setup", "echo", "--credentials-file", &file.display().to_string()]);
    assert_ne!(output.status.code(), Some(0));
    assert_eq!(skill.run(&["setup", "nothing"]).status.code(), Some(2));
}

#[test]
fn shells_complete_every_command() {
    let skill = Skill::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&skill.run(&["completions", shell]));
        for command in ["revoke-everything", "restore", "doctor", "setup"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    assert_eq!(skill.run(&["completions", "tcl"]).status.code(), Some(2));
}
