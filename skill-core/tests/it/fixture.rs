//! The smallest engine that a topic needs: a few services, a script, a clock that stands still.

use std::sync::Arc;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use skill_core::{
    Engine, Error,
    access::{Authentication, Caller, NewKey},
    call::CallRequest,
    clock::ManualClock,
    credential::seal::Keyring,
    engine::Builder,
    integration::{Integration, Overrides, declared},
    name::{OwnerId, Slug, UserId},
    record::{app::Holder, connection::Connection, key::Kind},
    store::{MemoryStore, Store},
};
use url::Url;

use super::script::Script;

/// What every service of the tests can do.
const ENDPOINTS: &str = r#"
[verify]
endpoint = "whoami"
account = "/login"

[endpoints.whoami]
summary = "Tell whose account it is"
method = "GET"
path = "/me"

[endpoints.get_item]
summary = "Read an item"
method = "GET"
path = "/items/{id}"

[endpoints.get_item.params]
id = { in = "path", type = "string" }
q = { type = "string" }

[endpoints.make_item]
summary = "Make an item"
method = "POST"
path = "/items"

[endpoints.make_item.params]
title = { type = "string", required = true, minLength = 1 }
note = { type = "string" }
tag = { in = "header", name = "X-Tag", type = "string" }
more = { type = "object" }

[endpoints.charge]
summary = "Charge, once for each key"
method = "POST"
path = "/charges"
idempotency_header = "Idempotency-Key"
params = { amount = { type = "integer" } }

[endpoints.pay]
summary = "Pay, at most once"
method = "POST"
path = "/payments"
at_most_once = true
idempotency_header = "Idempotency-Key"
params = { amount = { type = "integer" } }

[endpoints.peek_once]
summary = "Read what can be read once"
method = "GET"
path = "/once"
at_most_once = true
"#;

/// How `desk` asks a person.
pub(crate) const OAUTH: &str = r#"
scheme = "oauth2"
authorize_url = "https://auth.test/authorize"
token_url = "https://auth.test/token"
revoke_url = "https://auth.test/revoke"
issuer = "https://auth.test"
scopes = ["read", "write"]
"#;

/// A service with an address of its own and the endpoints of all.
pub(crate) fn service(slug: &str, auth: &str) -> Arc<dyn Integration> {
    service_at(slug, &format!("https://{slug}.test"), auth)
}

/// A service under `base`.
pub(crate) fn service_at(slug: &str, base: &str, auth: &str) -> Arc<dyn Integration> {
    let text = format!(
        "name = \"The {slug}\"\ndescription = \"For tests.\"\nbase_url = \"{base}\"\n\
         [auth]\n{auth}\n{ENDPOINTS}"
    );
    declared(&format!("{slug}.toml"), &text, &Overrides::default()).unwrap()
}

/// `desk` (OAuth), `keyed`, `queried`, `basic` and `open`.
pub(crate) fn services() -> Vec<Arc<dyn Integration>> {
    vec![
        service("desk", OAUTH),
        service("keyed", "scheme = \"api_key\"\nheader = \"X-Api-Key\""),
        service("queried", "scheme = \"api_key\"\nquery = \"key\""),
        service("basic", "scheme = \"basic\""),
        service("open", "scheme = \"none\""),
    ]
}

/// The same key every time, so that a store can be opened again.
pub(crate) fn keyring() -> Keyring {
    "1:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=".parse().ok().unwrap()
}

pub(crate) fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(crate) fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

pub(crate) fn owner(name: &str) -> Caller {
    Caller::operator(OwnerId::parse(name).unwrap())
}

/// The caller acting for a person.
pub(crate) fn acting_for(caller: &Caller, user: &str) -> Caller {
    Caller { user: Some(UserId::parse(user).unwrap()), ..caller.clone() }
}

pub(crate) fn members(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("no object") };
    members
}

pub(crate) fn call(namespace: &str, name: &str) -> CallRequest {
    CallRequest::new(namespace, name).unwrap()
}

/// A read of `desk`.
pub(crate) fn read() -> CallRequest {
    call("desk", "get_item").param("id", "7")
}

/// The token of a connect link.
pub(crate) fn token(link: &str) -> SecretString {
    link.strip_prefix("https://skill.test/connect/").unwrap().into()
}

/// The token of the page that an error leads to.
pub(crate) fn page(error: &Error) -> SecretString {
    token(error.action_page().unwrap())
}

/// An engine and everything around it that a test moves or looks at.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) script: Arc<Script>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) caller: Caller,
}

impl World {
    /// An engine over memory.
    pub(crate) async fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new())).await
    }

    /// An engine over a store.
    pub(crate) async fn over(store: Arc<dyn Store>) -> Self {
        Self::with(store, |builder| builder).await
    }

    /// An engine over a store, set up further by `change`.
    pub(crate) async fn with(store: Arc<dyn Store>, change: impl Fn(Builder) -> Builder) -> Self {
        let (script, clock) = (Script::new(), Arc::new(ManualClock::new(noon())));
        let world = Self {
            engine: build(&script, &clock, &store, change).await,
            script,
            clock,
            store,
            caller: Caller::operator(OwnerId::standard()),
        };
        let secret = SecretString::from("client-secret");
        let apps = world.engine.apps();
        apps.put(Holder::System, &slug("desk"), "client-1", Some(&secret)).await.unwrap();
        world
    }

    /// A second process over the same store: it shares script and clock.
    pub(crate) async fn another(&self) -> Self {
        self.another_with(|builder| builder).await
    }

    /// A second process over the same store, set up further by `change`.
    pub(crate) async fn another_with(&self, change: impl Fn(Builder) -> Builder) -> Self {
        let (script, clock, store) = (self.script.clone(), self.clock.clone(), self.store.clone());
        let engine = build(&script, &clock, &store, change).await;
        Self { engine, script, clock, store, caller: self.caller.clone() }
    }

    /// Connects `desk` with a grant that does not end; forgets the requests of that.
    pub(crate) async fn connect_desk(&self) -> Connection {
        let given = json!({"access_token": "access-0", "refresh_token": "refresh-0"});
        self.hand_over("desk", given).await
    }

    /// Hands a credential over; forgets the requests of that.
    pub(crate) async fn hand_over(&self, service: &str, given: Value) -> Connection {
        self.hand_over_as(&self.caller, service, (given, None)).await
    }

    /// Hands a credential over for somebody.
    pub(crate) async fn hand_over_as(
        &self,
        caller: &Caller,
        service: &str,
        (given, label): (Value, Option<&str>),
    ) -> Connection {
        let connector = self.engine.connector();
        let label = label.map(str::to_owned);
        let made = connector.hand_over(caller, &slug(service), &members(given), label).await;
        self.script.forget();
        made.unwrap()
    }

    /// A key of the caller's owner, and who presents it.
    pub(crate) async fn key(&self) -> Caller {
        let (_, plain) =
            self.engine.keys().create(&self.caller, NewKey::new("test", Kind::Api)).await.unwrap();
        self.present(plain.expose()).await.unwrap()
    }

    /// Who presents this key, if it is good.
    pub(crate) async fn present(&self, text: &str) -> Option<Caller> {
        match self.engine.keys().authenticate(text, None).await.unwrap() {
            Authentication::Good(caller) => Some(caller),
            Authentication::Bad(_) => None,
        }
    }

    /// The events of the owner's audit, the newest first.
    pub(crate) async fn events(&self) -> Vec<String> {
        let entries = self.engine.audit(&self.caller.owner, 100).await.unwrap();
        entries.into_iter().map(|entry| entry.event).collect()
    }
}

async fn build(
    script: &Arc<Script>,
    clock: &Arc<ManualClock>,
    store: &Arc<dyn Store>,
    change: impl Fn(Builder) -> Builder,
) -> Engine {
    let builder = Engine::builder(script.clone())
        .store(store.clone(), keyring())
        .clock(clock.clone())
        .integrations(services())
        .return_urls(["https://app.test/done".to_owned()])
        .public_url(Url::parse("https://skill.test").unwrap());
    change(builder).build().await.unwrap()
}
