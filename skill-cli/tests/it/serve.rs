//! `skill serve`: starting, stopping, what it makes, and what it keeps to itself.

use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _, path::Path};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::fixture::{Skill, TOKEN, Upstream, keys_in, stderr, stdout, wait_for};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What connects an account of `echo`.
fn credentials(label: &str) -> Value {
    json!({ "integration": "echo", "label": label, "credentials": { "token": TOKEN } })
}

#[test]
fn the_first_start_prints_one_key_and_the_next_ones_print_none() {
    let skill = Skill::new();
    let server = skill.serve();
    server.first_key();
    assert_eq!(keys_in(&server.out()).len(), 1, "{}", server.out());
    assert!(server.stop().success());

    let server = skill.serve();
    server.request("", "GET /healthz", "");
    assert_eq!(server.out().lines().count(), 1, "{}", server.out());
    assert!(keys_in(&server.log()).is_empty());
}

#[test]
fn the_printed_key_opens_the_api_and_another_does_not() {
    let skill = Skill::new();
    let server = skill.serve();
    let key = server.first_key();
    let (status, body) = server.request(&key, "GET /api-keys", "");
    assert_eq!(status, 200, "{body}");
    assert_eq!(server.request(&key[..40], "GET /api-keys", "").0, 401);
    assert_eq!(server.request(&key, "GET /_operator/status", "").0, 404);
}

#[test]
fn what_it_makes_is_its_owners_alone() {
    let skill = Skill::new();
    let server = skill.serve();
    server.first_key();
    assert_eq!(mode(&skill.data()), 0o700);
    let entries = fs::read_dir(skill.data()).unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.collect::<Vec<_>>();
    assert!(entries.len() >= 4, "{entries:?}");
    for path in entries {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

#[test]
fn a_wrong_sealing_key_refuses_to_start_and_changes_nothing() {
    let skill = Skill::new();
    skill.key();
    let key = fs::read_to_string(skill.data().join("seal.key")).unwrap();
    let other = "1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let output = skill.command(&["serve"]).env("SKILL_SEAL_KEY", other).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains("error: the sealing key is not the one"), "{error}");
    assert!(!error.contains(other));
    assert_eq!(fs::read_to_string(skill.data().join("seal.key")).unwrap(), key);
    assert!(skill.serve().stop().success());
}

#[test]
fn a_sealing_key_that_is_gone_is_not_replaced() {
    let skill = Skill::new();
    skill.key();
    fs::remove_file(skill.data().join("seal.key")).unwrap();
    let output = skill.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is missing\nhint: restore it"), "{}", stderr(&output));
    assert!(!skill.data().join("seal.key").exists());
}

#[test]
fn the_sealing_key_comes_from_a_file_or_a_program_as_well() {
    let skill = Skill::new();
    skill.key();
    let (kept, moved) = (skill.data().join("seal.key"), skill.data().join("elsewhere"));
    fs::rename(kept, &moved).unwrap();
    let run = |name: &str, value: &str| {
        let output = skill.command(&["key", "list"]).env(name, value).output().unwrap();
        assert!(output.status.success(), "{name}: {}", stderr(&output));
    };
    run("SKILL_SEAL_KEY_FILE", moved.to_str().unwrap());
    run("SKILL_SEAL_COMMAND", &format!("/bin/cat,{}", moved.display()));
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let skill = Skill::new();
    let server = skill.serve();
    let key = server.first_key();
    let output = skill.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: another server holds"), "{}", stderr(&output));
    assert_eq!(server.request(&key, "GET /api-keys", "").0, 200);
    assert_eq!(skill.json(&["key", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn an_address_that_is_taken_is_said_with_a_hint() {
    let (skill, other) = (Skill::new(), Skill::new());
    let server = skill.serve();
    let output = other.run(&["serve", "--listen", &server.address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("hint: choose another address"), "{}", stderr(&output));
}

#[test]
fn a_signal_lets_requests_under_way_end() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    let mut server = skill.serve();
    let key = server.first_key();
    server.call(&key, "/v1/connect", &credentials("work"));
    let mut under_way = server.send(&key, "POST /v1/echo/get_slow", r#"{"params":{"ms":600}}"#);
    upstream.wait_for_slow();
    server.signal(Signal::TERM);
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(r#"{"status":200,"data":{"slow":true}}"#), "{answer}");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!skill.data().join("skill.sock").exists());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    let mut server = skill.serve();
    let key = server.first_key();
    server.call(&key, "/v1/connect", &credentials("work"));
    let _under_way = server.send(&key, "POST /v1/echo/get_slow", r#"{"params":{"ms":29000}}"#);
    upstream.wait_for_slow();
    server.signal(Signal::INT);
    wait_for(|| server.log().contains("stopping").then_some(()));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(143));
}

#[test]
fn a_killed_server_starts_again_with_its_keys_and_connections() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    let mut server = skill.serve();
    let key = server.first_key();
    server.call(&key, "/v1/connect", &credentials("work"));
    server.signal(Signal::KILL);
    server.wait();
    assert!(skill.data().join("skill.sock").exists());

    let server = skill.serve();
    let answer = server.call(&key, "/v1/echo/get_user", &json!({}));
    assert_eq!(answer["data"]["login"], "ada");
    assert_eq!(skill.json(&["connections"])["items"][0]["account"], "ada");
}

/// A server's life at the most talkative level: its log, and every secret that it met.
fn life_of_a_server(skill: &Skill) -> (String, Vec<String>) {
    let mut server = skill.serve_with(&["--log-level", "trace,hyper=trace,h2=trace,reqwest=trace"]);
    let key = skill.key();
    server.call(&key, "/v1/connect", &credentials("work"));
    let begun = server.call(&key, "/v1/connect", &json!({ "integration": "echo" }));
    let page = begun["oauth_url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(server.request("", &format!("GET /connect/{page}"), "").0, 200);
    let call = json!({ "connection": "work" });
    assert_eq!(server.call(&key, "/v1/echo/get_user", &call)["status"], 200);
    server.request("sk_wrong", "GET /api-keys", "");
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let seal = fs::read_to_string(skill.data().join("seal.key")).unwrap().trim().to_owned();
    (server.log(), vec![TOKEN.to_owned(), key, page, seal, "sk_wrong".to_owned()])
}

#[test]
fn no_secret_is_logged_at_the_most_talkative_level() {
    let skill = Skill::with_echo(&Upstream::start());
    let (log, secrets) = life_of_a_server(&skill);
    assert!(log.contains("/v1/{integration}/{endpoint}"), "{log}");
    for secret in secrets {
        assert!(!log.contains(&secret), "{log}");
    }
    assert!(!log.contains('\u{1b}'), "{log}");
}

#[test]
fn a_log_in_json_is_one_object_per_line_without_secrets() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    let allow = format!("egress.allow = [\"{}\"]\n", upstream.address);
    skill.configure(&format!("{allow}log.format = \"json\"\n"));
    let (log, secrets) = life_of_a_server(&skill);
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
    for secret in secrets {
        assert!(!log.contains(&secret), "{log}");
    }
}

#[test]
fn links_begin_with_the_public_url() {
    let skill = Skill::with_echo(&Upstream::start());
    let server = skill.serve_with(&["--public-url", "https://skill.example.com"]);
    let key = server.first_key();
    let begun = server.call(&key, "/v1/connect", &json!({ "integration": "echo" }));
    assert!(begun["oauth_url"].as_str().unwrap().starts_with("https://skill.example.com/connect/"));
}

#[test]
fn the_demo_walks_to_its_end_and_shows_its_key_once() {
    let skill = Skill::new();
    let output = skill.run(&["demo", "--once"]);
    let (out, error) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{out}{error}");
    assert_eq!(keys_in(&out).len(), 1, "{out}");
    assert!(out.contains("refreshes = 1"), "{out}");
    assert!(!out.contains("trk_") && error.is_empty(), "{out}{error}");
    assert!(!skill.data().exists());
}
