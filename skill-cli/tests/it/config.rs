//! The configuration as the program reads it, and its help.

use std::fs;

use serde_json::Value;

use crate::fixture::{Skill, stderr, stdout};

#[test]
fn config_names_every_source_and_shows_no_secret() {
    let skill = Skill::new();
    skill.configure("history_days = 7\n\n[limits]\ntimeout_s = 5\n");
    let output = skill
        .command(&["config", "--log-level", "debug"])
        .env("SKILL_LISTEN", "127.0.0.1:1")
        .env("SKILL_GITHUB_CLIENT_SECRET", "hunter2")
        .env("SKILL_SEAL_KEY", "1:hunter3")
        .env("SKILL_LISTNE", "x")
        .output()
        .unwrap();
    let shown = serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let source = |name: &str| shown[name]["source"].as_str().unwrap().to_owned();
    assert_eq!(source("listen"), "environment SKILL_LISTEN");
    assert_eq!(source("data"), "environment SKILL_DATA");
    assert_eq!(source("log.level"), "flag --log-level");
    assert_eq!(source("limits.body_bytes"), "default");
    assert!(source("limits.timeout_s").ends_with("skill.toml:4"), "{}", source("limits.timeout_s"));
    assert_eq!(shown["integrations.github.client_secret"]["value"], "(set)");
    assert!(!stdout(&output).contains("hunter"), "{}", stdout(&output));
    assert_eq!(stderr(&output), "warning: SKILL_LISTNE in the environment names no setting\n");
}

#[test]
fn an_unknown_setting_is_refused_with_its_line() {
    let skill = Skill::new();
    skill.configure("# mine\nhistory_dys = 7\n");
    let output = skill.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains("skill.toml:2: `history_dys`: unknown field"), "{error}");
    assert!(!skill.data().join("skill.db").exists());
}

#[test]
fn what_config_prints_as_defaults_is_a_configuration() {
    let skill = Skill::new();
    let defaults = stdout(&skill.run(&["config", "--defaults"]));
    skill.configure(&defaults);
    let shown = skill.json(&["config"]);
    assert!(shown["listen"]["source"].as_str().unwrap().starts_with("file "));
}

#[test]
fn every_problem_of_every_declaration_is_printed_with_file_and_line() {
    let skill = Skill::new();
    let directory = skill.data().join("integrations");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("a.toml"), "name = 1\nother = true\n").unwrap();
    fs::write(directory.join("b.toml"), "= 1\n").unwrap();
    let output = skill.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    for place in ["a.toml:1: ", "a.toml:2: ", "b.toml:1: "] {
        assert!(error.contains(place), "{error}");
    }
    assert!(!skill.data().join("skill.db").exists());
}

#[test]
fn settings_of_an_integration_that_is_not_there_are_refused() {
    let skill = Skill::new();
    skill.configure("[integrations.githb]\nclient_id = \"x\"\n");
    let error = stderr(&skill.run(&["key", "list"]));
    assert!(error.contains("`githb`") && error.contains("hint: there are "), "{error}");
    assert!(error.contains(" github,"), "{error}");
}

#[test]
fn every_command_helps() {
    let skill = Skill::new();
    let commands = [
        "",
        "serve",
        "demo",
        "call",
        "connect",
        "connections",
        "connection import",
        "connection remove",
        "key create",
        "key list",
        "key revoke",
        "key rotate",
        "run",
        "runs list",
        "runs show",
        "runs cancel",
        "runs watch",
        "tools list",
        "tools show",
        "tools search",
        "app add",
        "plan set",
        "audit",
        "config",
    ];
    for command in commands {
        let mut words = command.split_whitespace().collect::<Vec<_>>();
        words.push("--help");
        let output = skill.run(&words);
        assert!(output.status.success(), "{command}: {}", stderr(&output));
        assert!(stdout(&output).contains("Usage: skill"), "{command}");
    }
    assert_eq!(skill.run(&["nothing"]).status.code(), Some(2));
}
