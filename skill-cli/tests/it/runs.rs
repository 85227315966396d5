//! Runs from the command line, through a server and without one, and over its end.

use std::{fs, io::Read as _, net::TcpStream, process::Child};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::fixture::{Skill, TOKEN, Upstream, json as parsed, stderr, stdout, wait_for};

/// A data directory with `echo` connected.
fn connected(upstream: &Upstream) -> Skill {
    let skill = Skill::with_echo(upstream);
    let token = json!({ "token": TOKEN }).to_string();
    assert!(skill.run_with(&["connection", "import", "echo"], &token).status.success());
    skill
}

/// Adds settings to the ones that open the way to `upstream`.
fn configure(skill: &Skill, upstream: &Upstream, text: &str) {
    skill.configure(&format!("egress.allow = [\"{}\"]\n{text}", upstream.address));
}

/// Queues a run and does not wait.
fn queued(skill: &Skill, words: &[&str]) -> String {
    let queued = skill.json(&[&["run", "--async"], words].concat());
    assert_eq!(queued["status"], "queued");
    queued["execution_id"].as_str().unwrap().to_owned()
}

fn status(skill: &Skill, id: &str) -> String {
    skill.json(&["runs", "show", id])["status"].as_str().unwrap().to_owned()
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn a_run_prints_its_result_and_its_exit_code_says_how_it_ended() {
    let upstream = Upstream::start();
    let (with, without) = (connected(&upstream), connected(&upstream));
    let _server = with.serve();
    for skill in [&with, &without] {
        for action in ["echo-get-user", "echo_get_user", "echo/get_user"] {
            let output = skill.run(&["run", action]);
            let (out, error) = (stdout(&output), stderr(&output));
            assert_eq!(
                (output.status.code(), &*out),
                (Some(0), "{\"login\":\"ada\"}\n"),
                "{error}"
            );
        }
        let thing = ["run", "--priority", "-5", "echo/make_thing", "--name", "x", "--wait"];
        let output = skill.run(&thing);
        assert!(stdout(&output).contains("12345678901234567890123"), "{}", stderr(&output));

        let output = skill.run(&["run", "echo/get_missing"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stdout(&output).is_empty());
        let error = stderr(&output);
        assert!(error.starts_with("error: the service answered with status 404\n"), "{error}");
        assert!(error.contains("run: exec_"), "{error}");

        let wrong: [&[&str]; 6] = [
            &["run", "echo/make_thing"],
            &["run", "echo/make_thing", "--nme", "x"],
            &["run", "echo/get_user", "--priority", "101"],
            &["run", "echo/get_user", "--delay", "soon"],
            &["run", "--async", "echo/get_user", "--wait"],
            &["run", "--timeout", "1.5", "echo/get_user"],
        ];
        for wrong in wrong {
            let output = skill.run(wrong);
            assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", stderr(&output));
        }
        for nothing in ["echo/get_nothing", "echo/a%2fb", "echo-get-nothing", "echo/a/b", "/"] {
            assert_eq!(skill.run(&["run", nothing]).status.code(), Some(1), "{nothing}");
        }
    }
}

#[test]
fn a_run_that_is_not_waited_for_waits_for_the_next_server() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    let id = queued(&skill, &["echo/get_user", "--idempotency-key", "k"]);
    assert_eq!(queued(&skill, &["echo/get_user", "--idempotency-key", "k"]), id);
    let differs = ["run", "echo/get_slow", "--ms", "1", "--idempotency-key", "k"];
    assert!(skill.run(&differs).status.success(), "another action has keys of its own");
    // Commands that open the data directory work on no runs.
    let later = queued(&skill, &["echo/get_user", "--delay", "1h"]);
    skill.json(&["connections"]);
    skill.json(&["runs", "list"]);
    assert_eq!(status(&skill, &later), "queued");
    let _server = skill.serve();
    let output = skill.run(&["runs", "watch", &id]);
    assert_eq!(stdout(&output), "{\"login\":\"ada\"}\n", "{}", stderr(&output));
    assert_eq!(status(&skill, &later), "queued");
}

#[test]
fn whoever_watches_without_a_server_works_on_the_runs() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    let id = queued(&skill, &["echo/get_user"]);
    assert_eq!(status(&skill, &id), "queued");
    assert_eq!(stdout(&skill.run(&["runs", "watch", &id])), "{\"login\":\"ada\"}\n");
    let run = skill.json(&["runs", "show", &id]);
    assert_eq!((run["status"].as_str(), run["progress"].as_u64()), (Some("success"), Some(100)));
    assert_eq!(run["result"], json!({"login": "ada"}));
}

#[test]
fn runs_are_listed_by_state_and_tool() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    let (first, second) =
        (queued(&skill, &["echo/get_user"]), queued(&skill, &["echo/get_missing"]));
    skill.run(&["runs", "watch", &second]);
    let ids = |words: &[&str]| {
        let listed = skill.json(&[&["runs", "list"], words].concat());
        let runs = listed["executions"].as_array().unwrap().iter();
        runs.map(|run| run["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--tool", "echo-get-missing"]), std::slice::from_ref(&second));
    assert_eq!(ids(&["--after", &second]), [first]);
    assert_eq!(ids(&["--status", "error"]), std::slice::from_ref(&second));
    assert_eq!(ids(&["--status", "cancelled"]), [""; 0]);
    assert_eq!(ids(&["--limit", "1"]).len(), 1);
    assert_eq!(skill.run(&["runs", "list", "--status", "odd"]).status.code(), Some(2));
    assert_eq!(skill.run(&["runs", "list", "--owner", "acme"]).status.code(), Some(0));
    let foreign = skill.run(&["runs", "show", "--owner", "acme", &second]);
    assert_eq!(foreign.status.code(), Some(1), "{}", stderr(&foreign));
}

#[test]
fn a_cancelled_run_stays_cancelled() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    let server = skill.serve();
    let slow = queued(&skill, &["echo/get_slow", "--ms", "20000"]);
    let later = queued(&skill, &["echo/get_user", "--delay", "1h"]);
    upstream.wait_for_slow();
    for id in [&slow, &later] {
        assert_eq!(skill.json(&["runs", "cancel", id])["status"], "cancelled");
        assert_eq!(status(&skill, id), "cancelled");
        let again = skill.run(&["runs", "cancel", id]);
        assert_eq!(again.status.code(), Some(2), "{}", stderr(&again));
        let watched = skill.run(&["runs", "watch", id]);
        assert_eq!(watched.status.code(), Some(1));
        assert_eq!(stderr(&watched), format!("error: {id} was cancelled\n"));
    }
    // The call that was under way was cut: the server has nothing to wait for.
    assert!(server.stop().success());
    assert_eq!(status(&skill, &slow), "cancelled");
}

#[test]
fn whoever_stops_waiting_leaves_the_run_alone() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    let _server = skill.serve();
    let run = ["run", "echo/get_slow", "--ms", "1500"];
    let child = skill.command(&run).spawn().unwrap();
    upstream.wait_for_slow();
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let said = stderr(&output);
    let (id, back) = said.trim_end().split_once(" goes on; to come back: skill ").unwrap();
    assert_eq!(back, format!("runs watch {id}"));
    let output = skill.run(&back.split(' ').collect::<Vec<_>>());
    assert_eq!(stdout(&output), "{\"slow\":true}\n", "{}", stderr(&output));
    assert_eq!(upstream.slow(), 1);
}

#[test]
fn whoever_watches_outlasts_a_server_that_starts_again() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    let mut server = skill.serve();
    let run = ["run", "echo/get_slow", "--ms", "1500"];
    let child = skill.command(&run).spawn().unwrap();
    upstream.wait_for_slow();
    server.signal(Signal::KILL);
    server.wait();
    let _server = skill.serve();
    let output = child.wait_with_output().unwrap();
    assert_eq!(stdout(&output), "{\"slow\":true}\n", "{}", stderr(&output));
    assert_eq!(upstream.slow(), 2, "the first attempt was lost with its process");
}

#[test]
fn a_result_that_is_too_large_for_the_database_is_printed_whole() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    configure(&skill, &upstream, "runs.result_bytes = 16\n");
    let name = "é".repeat(40_000);
    let output = skill.run(&["run", "echo/make_thing", "--name", &name]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(parsed(&output)["body"]["name"], *name);
    assert!(stdout(&output).contains("12345678901234567890123"), "digits are kept");
    let listed = skill.json(&["runs", "list"]);
    let id = listed["executions"][0]["id"].as_str().unwrap();
    let run = skill.json(&["runs", "show", id]);
    assert_eq!(run["result"], Value::Null);
    assert!(run["result_bytes"].as_u64().unwrap() > 80_000, "{run}");
    assert!(fs::read_dir(skill.data().join("artifacts")).unwrap().count() > 0);
}

#[test]
fn a_stop_delivers_every_answer_under_way_and_keeps_every_queued_run() {
    const CALLS: usize = 100;
    const RUNS: usize = 50;
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    configure(&skill, &upstream, "runs.workers = 2\n");
    let mut server = skill.serve();
    let key = server.first_key();
    let body = r#"{"params":{"ms":2500}}"#;
    let calls: Vec<TcpStream> =
        (0..CALLS).map(|_| server.send(&key, "POST /v1/echo/get_slow", body)).collect();
    let submit = "POST /v1/tools/echo-get-slow/invoke?async=true";
    let runs = (0..RUNS).map(|_| {
        let (status, answer) = server.request(&key, submit, r#"{"ms":1000}"#);
        assert_eq!(status, 202, "{answer}");
        let answer = serde_json::from_str::<Value>(&answer).unwrap();
        answer["execution_id"].as_str().unwrap().to_owned()
    });
    let runs = runs.collect::<Vec<_>>();
    wait_for(|| (upstream.slow() as usize > CALLS).then_some(()));
    server.signal(Signal::TERM);
    for mut call in calls {
        let mut answer = String::new();
        call.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with(r#"{"status":200,"data":{"slow":true}}"#), "{answer}");
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    let left = skill.json(&["runs", "list", "--status", "queued", "--limit", "100"]);
    let left = left["total"].as_u64().unwrap();
    assert!((1..=50).contains(&left), "{left} are queued");
    assert_eq!(skill.json(&["runs", "list", "--status", "running"])["total"], 0);

    configure(&skill, &upstream, "");
    let server = skill.serve();
    for id in runs {
        let path = format!("GET /v1/executions/{id}?wait=30");
        let (status, answer) = server.request(&key, &path, "");
        assert_eq!(status, 200, "{answer}");
        let run = serde_json::from_str::<Value>(&answer).unwrap();
        assert_eq!(run["status"], "success", "{answer}");
    }
    assert_eq!(upstream.slow() as usize, CALLS + RUNS, "none is lost and none is doubled");
    assert!(server.stop().success());
}

#[test]
fn a_run_that_does_not_end_in_time_goes_back_to_the_queue() {
    let upstream = Upstream::start();
    let skill = connected(&upstream);
    configure(&skill, &upstream, "timeouts.drain_s = 1\n");
    let server = skill.serve();
    let id = queued(&skill, &["echo/get_slow", "--ms", "25000"]);
    upstream.wait_for_slow();
    assert!(server.stop().success());
    assert_eq!(status(&skill, &id), "queued");
    assert_eq!(skill.json(&["runs", "cancel", &id])["status"], "cancelled");
}
