//! Secrets stay secret: every one is planted, every path is made to fail, and nothing shows one.

use std::{
    fmt::{Debug, Write as _},
    io,
    path::Path,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use skill_core::{
    Engine, Error, ErrorKind, Result,
    access::NewKey,
    call::CallRequest,
    connect::{ConnectRequest, Return},
    credential::{CredentialStore, Vault, seal::Keyring},
    executor::{Event, Observer},
    record::{
        app::{App, Holder},
        connection::Connection,
        key::Kind,
    },
    store::{ExecutionFilter, MemoryStore, Store, sqlite::SqliteStore},
    transport::{
        ReqwestTransport, Response,
        egress::{Egress, HostPort},
    },
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use super::{
    fixture::{World, call, keyring, members, noon, page, read, service_at, slug, token},
    script::{cut, json as answer, late, me, typed, unreachable},
};

/// Everything that is logged, by every test of this binary.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log(Arc::default());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    })
}

/// Everything that anybody could see, apart from the log.
#[derive(Debug, Default)]
struct Seen(Mutex<String>);

impl Seen {
    fn note(&self, what: impl Debug) {
        writeln!(self.0.lock().unwrap(), "{what:?}").unwrap();
    }

    fn error(&self, error: &Error) {
        self.note(error);
        self.note(error.to_string());
        self.note(error.log_line());
        self.note(error.field_details());
    }

    /// Notes the error of what has to fail.
    fn failed<T>(&self, outcome: Result<T>) -> ErrorKind {
        let error = outcome.err().expect("a failure");
        self.error(&error);
        error.kind()
    }
}

impl Observer for Seen {
    fn hear(&self, event: &Event<'_>) {
        self.note(event);
    }
}

/// Every planted secret, in every spelling in which it is sent.
#[derive(Default)]
struct Planted(Vec<String>);

impl Planted {
    fn plant(&mut self, secret: &str) {
        assert!(secret.len() > 8);
        self.0.push(secret.to_owned());
        self.0.push(STANDARD.encode(secret));
    }

    /// Plants the pair that goes out as `Authorization: Basic`.
    fn pair(&mut self, user: &str, secret: &str) {
        self.plant(secret);
        self.0.push(STANDARD.encode(format!("{user}:{secret}")));
    }

    fn find(&self, place: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for secret in &self.0 {
            let Some(at) = text.find(secret) else { continue };
            let around = text[..at].chars().rev().take(200).collect::<Vec<_>>();
            let around = around.into_iter().rev().collect::<String>();
            panic!("{place} shows a secret: {around}{secret}");
        }
    }

    fn check(&self, seen: &Seen, folder: &Path) {
        self.find("what is seen", seen.0.lock().unwrap().as_bytes());
        self.find("the log", &log().0.lock().unwrap());
        let mut files = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            self.find(&file.display().to_string(), &std::fs::read(&file).unwrap());
            files += 1;
        }
        assert!(files > 0);
    }
}

/// What services and providers answer when they are at their worst: they repeat what they got.
fn troubles(echo: &str) -> Vec<Result<Response>> {
    let error = |code: &str| json!({"error": code, "error_description": echo}).to_string();
    vec![
        answer(500, echo),
        answer(200, &format!("{{{echo}")),
        answer(200, &json!({"access_token": format!("{echo}\n")}).to_string()),
        answer(400, &error("invalid_request")),
        answer(401, &error("invalid_client")),
        answer(400, &error(echo)),
        typed(200, "application/json", &[echo.as_bytes(), b"\xff"].concat()),
        Err(unreachable()),
        Err(cut()),
        Err(late()),
    ]
}

const ECHO: &str = "CANARY-access-one CANARY-refresh-one CANARY-client CANARY-api-key \
                    CANARY-password CANARY-code CANARY-answer";

fn planted() -> Planted {
    let mut planted = Planted::default();
    ECHO.split_whitespace().for_each(|secret| planted.plant(secret));
    planted.pair("client-1", "CANARY-client");
    planted.pair("ann", "CANARY-password");
    for secret in ["CANARY-access-two", "CANARY-refresh-two", "CANARY-param"] {
        planted.plant(secret);
    }
    planted.plant("12345678901234567890123456789012");
    planted
}

fn grant() -> Value {
    json!({"access_token": "CANARY-access-one", "refresh_token": "CANARY-refresh-one"})
}

async fn world(seen: &Arc<Seen>, file: &Path) -> World {
    log();
    let store = Arc::new(SqliteStore::open(file).unwrap());
    let world = World::with(store, |builder| builder.observer(seen.clone())).await;
    let secret = SecretString::from("CANARY-client");
    let apps = world.engine.apps();
    let app = apps.put(Holder::System, &slug("desk"), "client-1", Some(&secret)).await.unwrap();
    seen.note(app);
    seen.note(&world.engine);
    world
}

/// Notes everything that the engine shows of itself.
async fn look(world: &World, seen: &Seen) {
    let filter = ExecutionFilter { limit: 1000, ..ExecutionFilter::default() };
    seen.note(world.engine.runs().list(&world.caller, &filter).await.unwrap());
    seen.note(world.engine.audit(&world.caller.owner, 1000).await.unwrap());
    seen.note(world.engine.connections().list(&world.caller).await.unwrap());
    seen.note(world.engine.keys().list(&world.caller).await.unwrap());
}

/// Every call that can fail, through every scheme.
async fn fail_calls(world: &World, seen: &Seen) {
    let make = |service: &str| call(service, "make_item").param("title", "CANARY-param");
    let bad: [fn(CallRequest) -> CallRequest; 4] = [
        |call| call.param("note", json!(["CANARY-param"])),
        |call| call.param("tag", "CANARY-param\r\nx: y"),
        |call| call.connection("CANARY-param"),
        |call| call.idempotency_key("CANARY-param \u{fc}"),
    ];
    for service in ["desk", "keyed", "queried", "basic"] {
        for bad in bad {
            seen.failed(world.engine.call(&world.caller, bad(make(service))).await);
        }
        let dots = call(service, "get_item").param("id", "CANARY-param/..");
        seen.failed(world.engine.call(&world.caller, dots.param("id", "..")).await);
        for n in 0..troubles(ECHO).len() {
            world.script.on(move |_| troubles(ECHO).remove(n));
            for key in [None, Some(format!("{service}-{n}"))] {
                let mut make = make(service);
                make.idempotency_key = key;
                if let Err(error) = world.engine.call(&world.caller, make).await {
                    seen.error(&error);
                }
            }
        }
    }
}

#[tokio::test]
async fn no_call_shows_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (seen, mut planted) = (Arc::new(Seen::default()), planted());
    let world = world(&seen, &dir.path().join("skill.db")).await;
    for (service, given) in [
        ("desk", grant()),
        ("keyed", json!({"api_key": "CANARY-api-key"})),
        ("queried", json!({"api_key": "CANARY-api-key"})),
        ("basic", json!({"username": "ann", "password": "CANARY-password"})),
    ] {
        seen.note(world.hand_over(service, given).await);
    }
    fail_calls(&world, &seen).await;
    let (key, plain) =
        world.engine.keys().create(&world.caller, NewKey::new("k", Kind::Api)).await.unwrap();
    planted.plant(plain.expose());
    seen.note(world.present(plain.expose()).await);
    seen.note(world.engine.keys().revoke(&world.caller, key.id).await);
    look(&world, &seen).await;
    planted.check(&seen, dir.path());
    world.engine.stop().await;
    drop(world);
    planted.check(&seen, dir.path());
}

#[tokio::test]
async fn no_renewal_shows_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (seen, planted) = (Arc::new(Seen::default()), planted());
    let world = world(&seen, &dir.path().join("skill.db")).await;
    world.hand_over("desk", grant()).await;
    for n in 0..troubles(ECHO).len() {
        world.script.on(move |sent| match sent.place().as_str() {
            "auth.test/token" => troubles(ECHO).remove(n),
            _ => answer(401, ECHO),
        });
        seen.failed(world.engine.call(&world.caller, read()).await);
        look(&world, &seen).await;
    }
    for body in [
        json!({"access_token": "CANARY-access-two", "refresh_token": "CANARY-refresh-two"}),
        json!({"error": "invalid_grant", "error_description": ECHO}),
    ] {
        let body = body.to_string();
        world.script.on(move |sent| match sent.place().as_str() {
            "auth.test/token" => answer(200, &body),
            _ => answer(401, ECHO),
        });
        for _ in 0..2 {
            let kind = seen.failed(world.engine.call(&world.caller, read()).await);
            assert_eq!(kind, ErrorKind::TokenExpired);
        }
    }
    look(&world, &seen).await;
    planted.check(&seen, dir.path());
    world.engine.stop().await;
}

/// Leaves for the provider and plants what only the browser and the provider may know.
async fn leave(world: &World, planted: &mut Planted) -> (Return, SecretString) {
    let connector = world.engine.connector();
    let wanted = ConnectRequest::new("desk").unwrap();
    let (_, link) = connector.begin(&world.caller, wanted).await.unwrap();
    let link = token(link.as_str());
    planted.plant(link.expose_secret());
    let leaving = connector.depart(&link, None).await.unwrap();
    planted.plant(leaving.browser.expose_secret());
    let state = leaving.url.query_pairs().find(|(name, _)| name == "state").unwrap().1;
    planted.plant(&state);
    let back = Return {
        state: state.into_owned().into(),
        code: Some("CANARY-code".into()),
        issuer: Some("https://auth.test".into()),
        ..Return::default()
    };
    (back, leaving.browser)
}

#[tokio::test]
async fn no_sign_in_shows_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (seen, mut planted) = (Arc::new(Seen::default()), planted());
    let world = world(&seen, &dir.path().join("skill.db")).await;
    let connector = world.engine.connector();
    for n in 0..troubles(ECHO).len() {
        let (back, browser) = leave(&world, &mut planted).await;
        world.script.on(move |_| troubles(ECHO).remove(n));
        seen.failed(connector.arrive(&back, &"CANARY-code".into()).await);
        seen.failed(connector.arrive(&back, &browser).await);
    }
    let (back, browser) = leave(&world, &mut planted).await;
    let denied = Return { error: Some(ECHO.into()), ..back };
    seen.failed(connector.arrive(&denied, &browser).await);
    let (back, browser) = leave(&world, &mut planted).await;
    let body = json!({"access_token": "CANARY-access-two", "refresh_token": "CANARY-refresh-two"});
    world.script.on(move |sent| match sent.place().as_str() {
        "auth.test/token" => answer(200, &body.to_string()),
        _ => me(),
    });
    let (connection, _) = connector.arrive(&back, &browser).await.unwrap();
    for sent in world.script.sent() {
        sent.field("code_verifier").iter().for_each(|verifier| planted.plant(verifier));
        seen.note(sent.place());
    }
    for given in [json!({"api_key": "CANARY-api-key\n"}), json!({"key": "CANARY-api-key"})] {
        let given = members(given);
        seen.failed(connector.hand_over(&world.caller, &slug("keyed"), &given, None).await);
    }
    world.script.on(|_| answer(500, ECHO));
    connector.disconnect(&world.caller, connection.id).await.unwrap();
    look(&world, &seen).await;
    planted.check(&seen, dir.path());
    world.engine.stop().await;
    drop(world);
    planted.check(&seen, dir.path());
}

/// An engine that speaks to real sockets on this machine.
async fn real(seen: &Arc<Seen>, bases: &[(&str, String)]) -> Engine {
    log();
    let place = |base: &String| HostPort::parse(base.trim_start_matches("http://")).unwrap();
    let egress = Egress::new(bases.iter().map(|(_, base)| place(base)).collect());
    let auth = "scheme = \"api_key\"\nquery = \"key\"";
    let services = bases.iter().map(|(name, base)| service_at(name, base, auth));
    let transport = Arc::new(ReqwestTransport::new(egress).unwrap());
    Engine::builder(transport)
        .store(Arc::new(MemoryStore::new()), keyring())
        .observer(seen.clone())
        .integrations(services)
        .build()
        .await
        .unwrap()
}

#[tokio::test]
async fn no_socket_shows_the_key_in_a_query() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("placeholder"), "").unwrap();
    let (seen, planted) = (Arc::new(Seen::default()), planted());
    let server = MockServer::start().await;
    let html = ResponseTemplate::new(200).set_body_raw("<CANARY-answer>", "application/json");
    Mock::given(path("/me")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    Mock::given(path("/items/7")).respond_with(html).mount(&server).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cuts = format!("http://{}", listener.local_addr().unwrap());
    drop(closed);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.readable().await.unwrap();
        }
    });
    let engine = real(&seen, &[("good", server.uri()), ("nobody", nobody), ("cuts", cuts)]).await;
    let caller = skill_core::access::Caller::operator(skill_core::name::OwnerId::standard());
    let given = members(json!({"api_key": "CANARY-api-key"}));
    for name in ["nobody", "cuts"] {
        let made = engine.connector().hand_over(&caller, &slug(name), &given, None).await;
        assert_eq!(seen.failed(made), ErrorKind::UpstreamUnreachable);
    }
    engine.connector().hand_over(&caller, &slug("good"), &given, None).await.unwrap();
    let sent = engine.call(&caller, call("good", "get_item").param("id", "7")).await;
    assert_eq!(seen.failed(sent), ErrorKind::UpstreamInvalid);
    let asked = server.received_requests().await.unwrap();
    assert_eq!(asked[1].url.query(), Some("key=CANARY-api-key"));
    planted.check(&seen, dir.path());
    engine.stop().await;
}

/// Two connections of one kind, with what is sealed for each moved to the other.
async fn swapped(world: &World) -> [Connection; 2] {
    let rival = super::fixture::owner("rival");
    let mine = world.hand_over("keyed", json!({"api_key": "mine"})).await;
    let theirs = json!({"api_key": "theirs"});
    let theirs = world.hand_over_as(&rival, "keyed", (theirs, None)).await;
    let (a, at_a) = world.store.grant(&mine.at()).await.unwrap().unwrap();
    let (b, at_b) = world.store.grant(&theirs.at()).await.unwrap().unwrap();
    world.store.replace_grant(&mine.at(), &b, Some(at_a)).await.unwrap().unwrap();
    world.store.replace_grant(&theirs.at(), &a, Some(at_b)).await.unwrap().unwrap();
    world.clock.advance(Duration::from_secs(2));
    [mine, theirs]
}

#[tokio::test]
async fn a_grant_that_was_moved_to_another_row_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(&dir.path().join("skill.db")).unwrap();
    for store in [Arc::new(MemoryStore::new()) as Arc<dyn Store>, Arc::new(file)] {
        let world = World::over(store).await;
        for connection in swapped(&world).await {
            let caller = super::fixture::owner(connection.owner.as_str());
            let get = call("keyed", "get_item").param("id", "7");
            let error = world.engine.call(&caller, get).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
            let entry = &world.engine.audit(&caller.owner, 1).await.unwrap()[0];
            assert_eq!(entry.event, "grant.unreadable");
            assert_eq!((&*entry.target, &*entry.outcome), (&*connection.id.to_string(), "refused"));
            // It can still be removed.
            world.engine.connector().disconnect(&caller, connection.id).await.unwrap();
        }
        assert!(world.script.sent().is_empty());
        world.engine.stop().await;
    }
}

#[tokio::test]
async fn a_client_secret_that_was_moved_to_another_app_opens_nothing() {
    let world = World::new().await;
    let rival = Holder::Owner(super::fixture::owner("rival").owner);
    let secret = SecretString::from("theirs");
    let theirs = world.engine.apps().put(rival, &slug("desk"), "c", Some(&secret)).await.unwrap();
    let mine = world.store.apps(&Holder::System, Some(&slug("desk"))).await.unwrap().remove(0);
    world.connect_desk().await;
    let moved = App { client_secret: theirs.client_secret, ..mine };
    world.store.put_app(&moved).await.unwrap();
    world.script.on(|_| answer(401, "{}"));
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(world.script.count("auth.test/token"), 0);
}

#[tokio::test]
async fn a_person_mends_a_grant_that_does_not_open() {
    let world = World::new().await;
    let connection = world.connect_desk().await;
    let (_, revision) = world.store.grant(&connection.at()).await.unwrap().unwrap();
    let junk = skill_core::record::Sealed(vec![1; 80]);
    world.store.replace_grant(&connection.at(), &junk, Some(revision)).await.unwrap().unwrap();
    world.clock.advance(Duration::from_secs(2));
    let error = world.engine.call(&world.caller, read()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    // The operator sends the person to a page for this connection.
    let links = skill_core::link::Links::new(
        world.store.clone(),
        world.clock.clone(),
        world.engine.pages().clone(),
    );
    let errand = skill_core::link::Errand::new(connection.at(), slug("desk"));
    let link = token(links.make(errand).await.unwrap().as_str());
    let connector = world.engine.connector();
    let leaving = connector.depart(&link, None).await.unwrap();
    let state = leaving.url.query_pairs().find(|(name, _)| name == "state").unwrap().1;
    let back = Return {
        state: state.into_owned().into(),
        code: Some("c".into()),
        issuer: Some("https://auth.test".into()),
        ..Return::default()
    };
    world.script.on(|sent| match sent.place().as_str() {
        "auth.test/token" => answer(200, r#"{"access_token":"new"}"#),
        _ => me(),
    });
    connector.arrive(&back, &leaving.browser).await.unwrap();
    assert_eq!(world.engine.call(&world.caller, read()).await.unwrap().status, 200);
}

#[tokio::test]
async fn another_sealing_key_opens_no_store() {
    let world = World::new().await;
    let connection = world.connect_desk().await;
    let builder = Engine::builder(world.script.clone());
    let foreign = builder.store(world.store.clone(), Keyring::generate().unwrap()).build().await;
    let error = foreign.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let vault = Vault::new(world.store.clone(), keyring(), world.clock.clone());
    assert!(vault.load(&connection.at()).await.unwrap().is_some());
    assert_eq!(connection.created_at, noon());
    // The links of before still open.
    let error = world.engine.call(&super::fixture::owner("rival"), read()).await.unwrap_err();
    world.engine.connector().open(&page(&error)).await.unwrap();
}
