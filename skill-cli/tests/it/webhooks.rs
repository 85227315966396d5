//! Subscriptions and the messages to them from the command line, with a server and without one.

use serde_json::{Value, json};

use crate::fixture::{Skill, Upstream, stderr, wait_for};

#[test]
fn messages_are_listed_and_sent_again_with_and_without_a_server() {
    let upstream = Upstream::start();
    let skill = Skill::with_echo(&upstream);
    let server = skill.serve();
    let url = format!("http://{}/hook", upstream.address);
    let wanted = json!({ "url": url, "events": ["execution.completed"] }).to_string();
    let (status, made) = server.request(&server.first_key(), "POST /v1/webhooks", &wanted);
    assert_eq!(status, 201, "{made}");
    let made = serde_json::from_str::<Value>(&made).unwrap();
    let hook = made["id"].as_str().unwrap();
    let sent = skill.json(&["webhooks", "test", hook]);
    let newest = || skill.json(&["webhooks", "deliveries", hook])["items"][0].clone();
    let failed = wait_for(|| Some(newest()).filter(|newest| newest["error"].is_string()));
    assert_eq!((&failed["id"], &failed["response_status"]), (&sent["id"], &json!(401)));
    let listed = skill.json(&["webhooks", "list"]);
    assert_eq!(
        (&listed["items"][0]["url"], &listed["items"][0]["status"]),
        (&json!(url), &json!("enabled"))
    );
    let path = format!("/v1/webhooks/{hook}");
    let change = |enabled: bool| {
        let body = json!({ "enabled": enabled }).to_string();
        server.request(&server.first_key(), &format!("PATCH {path}"), &body).0
    };
    assert_eq!(change(false), 200);
    let doctor = String::from_utf8(skill.run(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains(&format!("{hook} is disabled")), "{doctor}");
    assert_eq!(change(true), 200);
    server.stop();

    let before = newest()["attempts"].clone();
    let id = sent["id"].as_str().unwrap();
    let again = skill.json(&["webhooks", "replay", hook, id]);
    assert_eq!((&again["id"], &again["status"]), (&sent["id"], &json!("waiting")));
    assert_eq!(newest()["attempts"], before, "only a server sends");
    let dead = skill.json(&["webhooks", "deliveries", hook, "--status", "dead", "--limit", "1"]);
    assert_eq!(dead["total"], 0);
    for wrong in [["webhooks", "test", "hook_1"], ["webhooks", "deliveries", "../keys"]] {
        let output = skill.run(&wrong);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    }
    let output = skill.run(&["webhooks", "deliveries", hook, "--status", "lost"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}
