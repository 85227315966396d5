//! `/api/agents/{id}/memories`.

use http::Method;
use serde_json::{Value, json};

use crate::world::{server, setup};

const ALL: &str = "/api/agents/default/memories";

#[tokio::test]
async fn a_memory_is_made_read_changed_and_forgotten() {
    for server in [server().await, setup().on_disk().start().await] {
        let body = json!({
            "content": "The year begins in July.", "tag": "tax", "metadata": {"by": ["ann"]},
        });
        let made = server.post(ALL, &body).await.ok(201);
        assert!(made["id"].as_str().unwrap().starts_with("mem_"), "{made}");
        for name in ["content", "tag", "metadata"] {
            assert_eq!(made[name], body[name]);
        }
        assert_eq!(made["agent_id"], "default");
        let one = format!("{ALL}/{}", made["id"].as_str().unwrap());
        assert_eq!(server.get(&one).await.ok(200), made);
        server.advance(1);
        let patch = |body: Value| server.with_key(Method::PATCH, &one).json(&body).send();
        let changed = patch(json!({"content": "It begins in May."})).await.ok(200);
        assert_eq!((&changed["tag"], &changed["metadata"]), (&made["tag"], &made["metadata"]));
        assert_eq!(changed["content"], "It begins in May.");
        assert_ne!(changed["updated_at"], made["updated_at"]);
        let bare = patch(json!({"tag": null, "metadata": null})).await.ok(200);
        assert_eq!((&bare["tag"], &bare["metadata"]), (&Value::Null, &json!({})));
        assert_eq!(server.get(ALL).await.ok(200)["data"], json!([bare]));
        assert_eq!(server.delete(&one).await.status.as_u16(), 204);
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            server.with_key(method, &one).send().await.is_error(404, "not_found");
        }
    }
}

#[tokio::test]
async fn memories_are_paged_and_found_by_their_tag() {
    let server = server().await;
    for n in 0..5 {
        let tag = if n % 2 == 0 { "even" } else { "odd" };
        server.post(ALL, &json!({"content": n.to_string(), "tag": tag})).await.ok(201);
        server.advance(1);
    }
    let page = server.get(&format!("{ALL}?tag=even&limit=2")).await.ok(200);
    let contents = page["data"].as_array().unwrap().iter().map(|one| &one["content"]);
    assert_eq!(contents.collect::<Vec<_>>(), ["4", "2"]);
    assert_eq!((&page["total"], &page["has_more"]), (&json!(3), &json!(true)));
    for query in ["limit=0", "limit=101", "offset=x", "tag=a&tag=b"] {
        server.get(&format!("{ALL}?{query}")).await.is_error(400, "validation_error");
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let server = server().await;
    for (body, field) in [
        (json!({}), "content"),
        (json!({"content": ""}), "content"),
        (json!({"content": "x".repeat(65_537)}), "content"),
        (json!({"content": "x", "tag": ""}), "tag"),
        (json!({"content": "x", "tag": "y".repeat(101)}), "tag"),
        (json!({"content": "x", "metadata": {"a": "y".repeat(17_000)}}), "metadata"),
        (json!({"content": "x", "metadata": [1]}), "metadata"),
        (json!({"content": "x", "agent_id": "y"}), "agent_id"),
    ] {
        let answer = server.post(ALL, &body).await.is_error(400, "validation_error");
        assert_eq!(answer["details"][0]["field"], field, "{answer}");
    }
    let body = json!({"content": "x"});
    server.post("/api/agents/nobody/memories", &body).await.is_error(404, "not_found");
    server.get("/api/agents/nobody/memories").await.is_error(404, "not_found");
}

#[tokio::test]
async fn memories_take_their_scope_and_belong_to_one_owner_and_user() {
    let server = server().await;
    let ask = |user: &str| server.with_key(Method::POST, ALL).header("skill-user", user);
    let made = ask("ann").json(&json!({"content": "about ann"})).send().await.ok(201);
    assert_eq!(made["user_id"], "ann");
    let one = format!("{ALL}/{}", made["id"].as_str().unwrap());
    server.get(&one).await.ok(200);
    let bob = server.with_key(Method::GET, &one).header("skill-user", "bob").send().await;
    bob.is_error(404, "not_found");
    let all = server.with_key(Method::GET, ALL).header("skill-user", "bob").send().await;
    assert_eq!(all.ok(200)["total"], 0);
    let rival = server.key_of("rival", "*").await;
    server.ask(Method::GET, &one).key(&rival).send().await.is_error(404, "not_found");
    let narrow = server.key_of("default", "github").await;
    server.ask(Method::GET, ALL).key(&narrow).send().await.is_error(403, "insufficient_scope");
    let memory = server.key_of("default", "memory").await;
    server.ask(Method::GET, ALL).key(&memory).send().await.ok(200);
}

#[tokio::test]
async fn what_is_kept_in_mind_is_sealed_on_disk() {
    let server = setup().on_disk().start().await;
    let canary = "MEMORY_CANARY_4711";
    let body = json!({"content": canary, "metadata": {"note": canary}});
    server.post(ALL, &body).await.ok(201);
    let directory = server.directory.as_ref().unwrap().path();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        let found = bytes.windows(canary.len()).any(|part| part == canary.as_bytes());
        assert!(!found, "{}", path.display());
    }
}
