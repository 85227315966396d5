//! One call, from the request to the history.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use skill_core::{
    ErrorKind,
    access::Caller,
    call::Data,
    id::ExecutionId,
    record::{connection::Status, execution::State, scope::Scopes},
    store::{ExecutionFilter, MemoryStore, Store, sqlite::SqliteStore},
    transport::{Body, Response},
};
use tokio::sync::Notify;

use super::{
    fixture::{World, acting_for, call, owner, page, read},
    script::{json as answer, typed, with},
};

#[tokio::test]
async fn a_call_goes_out_signed_and_comes_back() {
    let world = World::new().await;
    let connection = world.connect_desk().await;
    world.script.on(|_| with(answer(201, r#"{"id":9}"#), "x-served-by", "desk"));
    let make = call("desk", "make_item").param("title", "A").param("tag", "t1");
    let reply = world.engine.call(&world.caller, make).await.unwrap();
    assert_eq!(reply.status, 201);
    assert_eq!(reply.data, Data::Json(Bytes::from_static(br#"{"id":9}"#)));
    assert_eq!(reply.headers["x-served-by"], "desk");
    assert!(!reply.is_replay);
    let [sent] = &world.script.sent()[..] else { panic!("one request") };
    assert_eq!((sent.method.as_str(), sent.url.as_str()), ("POST", "https://desk.test/items"));
    assert_eq!(sent.header("authorization"), Some("Bearer access-0"));
    assert_eq!(sent.header("x-tag"), Some("t1"));
    assert_eq!(sent.json(), json!({"title": "A"}));
    let run = world.engine.runs().execution(&world.caller, reply.execution).await.unwrap();
    assert_eq!((run.state, run.attempts, run.upstream_status), (State::Success, 1, Some(201)));
    assert_eq!(run.connection, Some(connection.id));
    assert_eq!(run.app, connection.app);
}

#[tokio::test]
async fn underscores_and_hyphens_are_alike() {
    let world = World::new().await;
    let get = call("open", "get-item").param("id", "7");
    world.engine.call(&world.caller, get).await.unwrap();
    assert_eq!(world.script.sent()[0].place(), "open.test/items/7");
}

#[tokio::test]
async fn an_unknown_action_is_not_found() {
    let world = World::new().await;
    for (namespace, name) in [("nothing", "get_item"), ("desk", "nothing")] {
        let error = world.engine.call(&world.caller, call(namespace, name)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert!(world.script.sent().is_empty());
}

#[tokio::test]
async fn the_scope_is_asked_before_existence() {
    let world = World::new().await;
    let scopes = Scopes::parse(["keyed", "desk/get_item"]).unwrap();
    let caller = Caller { scopes, ..world.caller.clone() };
    for (namespace, name) in [("nothing", "x"), ("desk", "nothing"), ("desk", "make_item")] {
        let error = world.engine.call(&caller, call(namespace, name)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ScopeMissing, "{namespace}/{name}");
    }
    let error = world.engine.call(&caller, call("keyed", "nothing")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = world.engine.call(&caller, call("desk", "get-item")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn inputs_that_break_the_schema_are_named_and_sent_nowhere() {
    let world = World::new().await;
    let make = call("desk", "make_item").param("title", 7).param("note", json!([]));
    let error = world.engine.call(&world.caller, make).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let fields = error.field_details().iter().map(|d| d.field.as_str()).collect::<Vec<_>>();
    assert_eq!(fields, ["note", "title"]);
    let error = world.engine.call(&world.caller, call("desk", "make_item")).await.unwrap_err();
    assert_eq!(error.field_details()[0].field, "title");
    assert!(world.script.sent().is_empty());
}

#[tokio::test]
async fn parameters_that_are_not_declared_are_never_sent() {
    let world = World::new().await;
    let make = call("open", "make_item")
        .param("title", "A")
        .param("Authorization", "Bearer stolen")
        .param("host", "evil.test")
        .param("Idempotency-Key", "mine")
        .param("__proto__", json!({"x": "sneaky"}))
        .param("q", "sneaky");
    world.engine.call(&world.caller, make).await.unwrap();
    let get = call("open", "get_item").param("id", "a/b?x=1#y").param("page", "sneaky");
    world.engine.call(&world.caller, get).await.unwrap();
    let sent = world.script.sent();
    assert_eq!(sent[0].json(), json!({"title": "A"}));
    assert_eq!(sent[1].url.as_str(), "https://open.test/items/a%2Fb%3Fx=1%23y");
    for sent in sent {
        let shown = format!("{sent:?}");
        assert!(!["stolen", "evil.test", "mine", "sneaky"].iter().any(|no| shown.contains(no)));
    }
}

#[tokio::test]
async fn the_link_of_a_missing_connection_opens_its_page() {
    for service in ["desk", "keyed"] {
        let world = World::new().await;
        let get = call(service, "get_item").param("id", "7");
        let error = world.engine.call(&world.caller, get).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert_eq!(
            error.message(),
            format!("The user needs to connect their {service} account first.")
        );
        let visit = world.engine.connector().open(&page(&error)).await.unwrap();
        assert_eq!(visit.integration, format!("The {service}"));
        assert_eq!(visit.owner, "default");
        assert_eq!(visit.fields.is_empty(), service == "desk");
    }
    let world = World::new().await;
    let ann = acting_for(&world.caller, "ann");
    let error = world.engine.call(&ann, read()).await.unwrap_err();
    let visit = world.engine.connector().open(&page(&error)).await.unwrap();
    assert_eq!(visit.owner, "ann");
}

#[tokio::test]
async fn a_failed_call_makes_no_connection() {
    let world = World::new().await;
    world.engine.call(&world.caller, read()).await.unwrap_err();
    assert!(world.engine.connections().list(&world.caller).await.unwrap().is_empty());
}

#[tokio::test]
async fn one_of_several_connections_has_to_be_named() {
    let world = World::new().await;
    let key = |key: &str| json!({"api_key": key});
    let first = world.hand_over_as(&world.caller, "keyed", (key("one"), Some("work"))).await;
    let get = || call("keyed", "get_item").param("id", "7");
    world.engine.call(&world.caller, get()).await.unwrap();
    let second = world.hand_over_as(&world.caller, "keyed", (key("two"), Some("home"))).await;
    for (named, expected) in [
        (first.id.to_string(), "one"),
        (second.id.to_string(), "two"),
        ("work".to_owned(), "one"),
        ("home".to_owned(), "two"),
    ] {
        world.script.forget();
        world.engine.call(&world.caller, get().connection(named)).await.unwrap();
        assert_eq!(world.script.sent()[0].header("x-api-key"), Some(expected));
    }
}

#[tokio::test]
async fn several_connections_and_no_default_is_a_question() {
    let world = World::new().await;
    for (key, label) in [("one", "work"), ("two", "home")] {
        let given = json!({"api_key": key});
        world.hand_over_as(&world.caller, "keyed", (given, Some(label))).await;
        world.clock.advance(Duration::from_secs(2));
    }
    let get = || call("keyed", "get_item").param("id", "7");
    let error = world.engine.call(&world.caller, get()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChooseConnection);
    let issues = error.field_details().iter().map(|d| d.issue.as_str()).collect::<Vec<_>>();
    assert_eq!(issues, ["work", "home"]);
    assert!(world.script.sent().is_empty());
    let all = world.engine.connections().list(&world.caller).await.unwrap();
    let change = skill_core::connect::Change { is_default: Some(true), ..Default::default() };
    world.engine.connector().change(&world.caller, all[1].id, change).await.unwrap();
    world.engine.call(&world.caller, get()).await.unwrap();
    assert_eq!(world.script.sent()[0].header("x-api-key"), Some("two"));
}

#[tokio::test]
async fn nobody_calls_through_somebody_elses_connection() {
    let world = World::new().await;
    let mine = world.connect_desk().await;
    let ann = acting_for(&world.caller, "ann");
    let anns = json!({"access_token": "anns"});
    let anns = world.hand_over_as(&ann, "desk", (anns, Some("anns"))).await;
    let (rival, bob) = (owner("rival"), acting_for(&world.caller, "bob"));
    for (who, named) in [
        (&rival, mine.id.to_string()),
        (&rival, anns.id.to_string()),
        (&bob, anns.id.to_string()),
        (&bob, mine.id.to_string()),
        (&ann, mine.id.to_string()),
        (&world.caller, anns.id.to_string()),
        (&world.caller, "anns".to_owned()),
    ] {
        let foreign = world.engine.call(who, read().connection(named)).await.unwrap_err();
        let missing = world.engine.call(who, read().connection("no such")).await.unwrap_err();
        assert_eq!(foreign.kind(), ErrorKind::NotFound);
        assert_eq!(foreign.message(), missing.message());
    }
    for who in [&rival, &bob] {
        let error = world.engine.call(who, read()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }
    assert!(world.script.sent().is_empty());
    world.engine.call(&ann, read()).await.unwrap();
    assert_eq!(world.script.sent()[0].header("authorization"), Some("Bearer anns"));
}

#[tokio::test]
async fn data_passes_byte_for_byte() {
    let world = World::new().await;
    for text in
        [r#" { "b" : 1.0e0, "a":12345678901234567890123, "a" : "\u00fc\/" } "#, "null", "[]\n"]
    {
        let sent = text.to_owned();
        world.script.on(move |_| answer(200, &sent));
        let reply = world.engine.call(&world.caller, call("open", "whoami")).await.unwrap();
        assert_eq!(reply.data, Data::Json(Bytes::copy_from_slice(text.as_bytes())));
    }
}

#[tokio::test]
async fn an_upstream_error_is_a_reply() {
    let world = World::new().await;
    for status in [302, 400, 403, 404, 422, 500, 502, 503] {
        world.script.on(move |_| answer(status, r#"{"message":"no"}"#));
        let reply = world.engine.call(&world.caller, call("open", "whoami")).await.unwrap();
        assert_eq!(reply.status, status);
        assert_eq!(reply.data.json().unwrap(), json!({"message": "no"}));
        let run = world.engine.runs().execution(&world.caller, reply.execution).await.unwrap();
        let state = if status < 400 { State::Success } else { State::Error };
        assert_eq!((run.state, run.upstream_status), (state, Some(status)));
        assert_eq!(run.error, None);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_no_reply() {
    let settings = skill_core::executor::Settings { answer_bytes: 64, ..Default::default() };
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store, |builder| builder.settings(settings)).await;
    let deep = "[".repeat(2000) + &"]".repeat(2000);
    let long = format!("\"{}\"", "x".repeat(64));
    for body in ["{", "<html>", "{}{}", "\u{feff}{}", r#""\ud800""#, &deep, &long] {
        let body = body.to_owned();
        world.script.on(move |_| answer(200, &body));
        let error = world.engine.call(&world.caller, call("open", "whoami")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UpstreamInvalid, "{error:?}");
    }
    world.script.on(|_| typed(200, "application/json", b"\"\xff\""));
    let error = world.engine.call(&world.caller, call("open", "whoami")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UpstreamInvalid);
    world.script.on(|_| {
        let chunk = |_| Ok(Bytes::from_static(&[b'1'; 33]));
        let chunks = futures_util::stream::iter(0..1_000_000).map(chunk);
        Ok(Response::new(http::StatusCode::OK, Body::Chunks(chunks.boxed())))
    });
    let error = world.engine.call(&world.caller, call("open", "whoami")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UpstreamInvalid);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline() {
    let world = World::new().await;
    world.script.hang();
    for (wanted, expected) in [(None, 30), (Some(2), 2), (Some(100_000), 300)] {
        let started = tokio::time::Instant::now();
        let mut get = call("open", "whoami");
        get.timeout = wanted.map(Duration::from_secs);
        let error = world.engine.call(&world.caller, get).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(started.elapsed().as_secs(), expected);
    }
}

#[tokio::test]
async fn every_call_is_in_the_history_at_once() {
    let world = World::new().await;
    let caller = world.key().await;
    let world = World { caller, ..world };
    let good = world.engine.call(&world.caller, call("open", "whoami")).await.unwrap();
    world.engine.call(&world.caller, read()).await.unwrap_err();
    world.engine.call(&world.caller, call("open", "make_item")).await.unwrap_err();
    let caller = &world.caller;
    let run = world.engine.runs().execution(caller, good.execution).await.unwrap();
    assert_eq!((run.state, run.attempts, run.upstream_status), (State::Success, 1, Some(200)));
    assert_eq!((run.key, run.error), (world.caller.key(), None));
    assert!(run.timing.total >= run.timing.upstream && !run.timing.total.is_zero());
    assert_eq!(run.ended_at, run.started_at);
    let (runs, total) =
        world.engine.runs().list(caller, &ExecutionFilter::default()).await.unwrap();
    assert_eq!((runs.len(), total), (3, 3));
    let mut errors = runs.iter().map(|run| run.error).collect::<Vec<_>>();
    errors.sort_by_key(|error| error.map(ErrorKind::as_str));
    assert_eq!(errors, [None, Some(ErrorKind::InvalidInput), Some(ErrorKind::NotConnected)]);
    let failed =
        ExecutionFilter { state: Some(State::Error), limit: 1, ..ExecutionFilter::default() };
    let (runs, total) = world.engine.runs().list(caller, &failed).await.unwrap();
    assert_eq!((runs.len(), total), (1, 2));
}

#[tokio::test]
async fn a_foreign_run_is_not_found() {
    let world = World::new().await;
    let reply = world.engine.call(&world.caller, call("open", "whoami")).await.unwrap();
    let rival = owner("rival");
    let missing = ExecutionId::fresh(super::fixture::noon()).unwrap();
    let foreign = world.engine.runs().execution(&rival, reply.execution).await.unwrap_err();
    let unknown = world.engine.runs().execution(&rival, missing).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::NotFound);
    assert_eq!(foreign.message(), unknown.message());
    let filter = ExecutionFilter::default();
    assert_eq!(world.engine.runs().list(&rival, &filter).await.unwrap(), (vec![], 0));
}

#[tokio::test]
async fn the_history_is_on_the_disk_after_stop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("skill.db");
    let world = World::over(Arc::new(SqliteStore::open(&path).unwrap())).await;
    let connection = world.connect_desk().await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(world.engine.call(&world.caller, read()).await.unwrap().execution);
    }
    world.engine.stop().await;
    let caller = world.caller.clone();
    drop(world);
    let store = SqliteStore::open(&path).unwrap();
    for id in ids {
        let run = skill_core::store::ExecutionStore::execution(&store, &caller.owner, id).await;
        assert_eq!(run.unwrap().unwrap().connection, Some(connection.id));
    }
    let store: Arc<dyn Store> = Arc::new(store);
    let all = store.connections(&caller.owner, None).await.unwrap();
    assert_eq!(all[0].last_used_at, Some(super::fixture::noon()));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_nobody_waits_for_is_cancelled() {
    for name in ["whoami", "peek_once"] {
        let world = World::new().await;
        world.script.hang();
        {
            let mut going = pin!(world.engine.call(&world.caller, call("open", name)));
            let waited = tokio::time::timeout(Duration::from_secs(1), &mut going).await;
            assert!(waited.is_err());
        }
        let filter = ExecutionFilter::default();
        let (runs, _) = world.engine.runs().list(&world.caller, &filter).await.unwrap();
        let [run] = &runs[..] else { panic!("one run") };
        assert_eq!((run.state, run.attempts), (State::Cancelled, 1), "{name}");
        assert!(run.ended_at.is_some());
    }
}

#[tokio::test]
async fn a_failed_renewal_names_its_connection_in_the_history() {
    let world = World::new().await;
    let given = json!({"access_token": "a", "refresh_token": "r"});
    let connection = world.hand_over("desk", given).await;
    world.script.on(|sent| match sent.place().as_str() {
        "auth.test/token" => answer(400, r#"{"error":"invalid_grant"}"#),
        _ => answer(401, "{}"),
    });
    for _ in 0..2 {
        let error = world.engine.call(&world.caller, read()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TokenExpired);
    }
    let filter = ExecutionFilter::default();
    let (runs, _) = world.engine.runs().list(&world.caller, &filter).await.unwrap();
    let connections = runs.iter().map(|run| run.connection).collect::<Vec<_>>();
    assert_eq!(connections, [Some(connection.id); 2]);
    let kept = world.engine.connections().get(&world.caller, connection.id).await.unwrap();
    assert_eq!(kept.status, Status::Expired);
}

#[tokio::test(start_paused = true)]
async fn what_ends_while_the_engine_stops_is_recorded() {
    let world = World::new().await;
    let end = (super::fixture::noon() + Duration::from_secs(60)).to_string();
    let given = json!({"access_token": "a", "refresh_token": "r", "expires_at": end});
    world.hand_over("desk", given).await;
    world.clock.advance(Duration::from_secs(120));
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    world.script.play(move |sent| {
        let wait = wait.clone();
        async move {
            assert_eq!(sent.place(), "auth.test/token");
            wait.notified().await;
            answer(500, "")
        }
    });
    // The caller hangs up while its access is renewed: the run goes on without it.
    let engine = world.engine.clone();
    let (caller, keyed) = (world.caller.clone(), read().idempotency_key("k"));
    let going = tokio::spawn(async move { engine.call(&caller, keyed).await });
    while world.script.count("auth.test/token") == 0 {
        tokio::task::yield_now().await;
    }
    going.abort();
    let engine = world.engine.clone();
    let stopping = tokio::spawn(async move { engine.stop().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    go.notify_one();
    stopping.await.unwrap();
    let filter = ExecutionFilter::default();
    let (runs, _) = world.store.executions(&world.caller.owner, &filter).await.unwrap();
    let [run] = &runs[..] else { panic!("one run") };
    assert_eq!((run.state, run.error), (State::Error, Some(ErrorKind::UpstreamUnreachable)));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_engine_refuses_calls_and_still_answers_questions() {
    let world = World::new().await;
    world.engine.call(&world.caller, call("open", "whoami")).await.unwrap();
    world.engine.stop().await;
    world.script.forget();
    let error = world.engine.call(&world.caller, call("open", "whoami")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(world.script.sent().is_empty());
    let filter = ExecutionFilter::default();
    let listed = world.engine.runs().list(&world.caller, &filter);
    let listed = tokio::time::timeout(Duration::from_secs(60), listed).await;
    assert_eq!(listed.expect("an answer").unwrap().1, 1);
}
