//! Accounts of OAuth 1.0: a ticket, a person's yes, a token. The service here checks every proof as
//! RFC 5849 section 3.4 says, and shares no code with what it checks.

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha1::Sha1;
use skill_core::{
    Error, Result,
    integration::{Overrides, declared},
    record::app::Holder,
    transport::Response,
};

use super::*;

const PRINTS: &str = r#"
name = "Prints"
description = "For tests."
base_url = "https://prints.test/v1"

[auth]
scheme = "oauth1"
request_url = "https://auth.prints.test/initiate"
authorize_url = "https://auth.prints.test/authorize"
token_url = "https://auth.prints.test/token"
authorize_parameters = { name = "Skill" }

[verify]
endpoint = "get_me"
account = "/login"

[endpoints.get_me]
summary = "Tell who I am"
method = "GET"
path = "/me"
"#;

const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// The parameters of the protocol, if their proof holds for these secrets.
fn proven(sent: &Sent, token_secret: &str) -> Option<BTreeMap<String, String>> {
    let text = sent.header("authorization")?.strip_prefix("OAuth ")?;
    let mut said = BTreeMap::new();
    for part in text.split(", ") {
        let (name, value) = part.split_once('=')?;
        let value = percent_decode_str(value.trim_matches('"')).decode_utf8().ok()?;
        said.insert(name.to_owned(), value.into_owned());
    }
    let proof = said.remove("oauth_signature")?;
    let pairs = said.iter().map(|(k, v)| format!("{}={}", encoded(k), encoded(v)));
    let queried = sent.url.query_pairs().map(|(k, v)| format!("{}={}", encoded(&k), encoded(&v)));
    let mut pairs = pairs.chain(queried).collect::<Vec<_>>();
    pairs.sort();
    let place = format!("https://{}", sent.place());
    let base = format!("{}&{}&{}", sent.method, encoded(&place), encoded(&pairs.join("&")));
    let key = format!("secret%2F1&{}", encoded(token_secret));
    let mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).unwrap().chain_update(base);
    let code = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    (code == proof && said["oauth_consumer_key"] == "printer").then_some(said)
}

fn form(text: &'static str) -> Result<Response> {
    Ok(Response::new(http::StatusCode::OK, text.into()))
}

/// A service that gives nothing without a proof.
fn strict(sent: &Sent) -> Result<Response> {
    let refused = || answer(401, "{}");
    match sent.place().as_str() {
        "auth.prints.test/initiate" => match proven(sent, "") {
            Some(said) if said["oauth_callback"].starts_with("https://skill.test/") => form(
                "oauth_token=ticket%2B1&oauth_token_secret=t%26s&oauth_callback_confirmed=true",
            ),
            _ => refused(),
        },
        "auth.prints.test/token" => match proven(sent, "t&s") {
            Some(said) if said["oauth_verifier"] == "v 1" && said["oauth_token"] == "ticket+1" => {
                form("oauth_token=token-1&oauth_token_secret=secret-2")
            }
            _ => refused(),
        },
        "prints.test/v1/me" => match proven(sent, "secret-2") {
            Some(said) if said["oauth_token"] == "token-1" => me(),
            _ => refused(),
        },
        other => Err(Error::internal(other)),
    }
}

async fn world() -> World {
    let prints = declared("prints.toml", PRINTS, &Overrides::default()).unwrap();
    let store = Arc::new(MemoryStore::new());
    let world = World::with(store, |builder| builder.integrations([prints.clone()])).await;
    world.script.on(strict);
    world
}

async fn with_client(world: &World) {
    let secret = SecretString::from("secret/1");
    let apps = world.engine.apps();
    apps.put(Holder::System, &slug("prints"), "printer", Some(&secret)).await.unwrap();
}

async fn gone(world: &World) -> Result<(Connection, Leaving)> {
    let connector = world.engine.connector();
    let request = ConnectRequest::new("prints").unwrap();
    let (connection, link) = connector.begin(&world.caller, request).await?;
    Ok((connection, connector.depart(&token(link.as_str()), None).await?))
}

/// What the service sends back with a person who said yes.
fn yes(world: &World, ticket: &str) -> Return {
    let sent = world.script.sent();
    let initiated = sent.iter().rfind(|sent| sent.place().ends_with("/initiate")).unwrap();
    let back = proven(initiated, "").unwrap()["oauth_callback"].parse::<url::Url>().unwrap();
    let state = back.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let rest = [("oauth_token", ticket), ("oauth_verifier", "v 1")];
    let rest = rest.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Return { state: state.into(), rest, ..Return::default() }
}

#[tokio::test]
async fn a_ticket_and_a_yes_become_a_token_that_signs_calls() {
    let world = world().await;
    with_client(&world).await;
    let (connection, leaving) = gone(&world).await.unwrap();
    let expected = "https://auth.prints.test/authorize?oauth_token=ticket%2B1&name=Skill";
    assert_eq!(leaving.url.as_str(), expected);
    let back = yes(&world, "ticket+1");
    let arrived = arrive(&world, &back, &leaving.browser).await.unwrap();
    assert_eq!((arrived.id, arrived.status), (connection.id, Status::Connected));
    assert_eq!(arrived.account.as_deref(), Some("ada"));
    let reply = world.engine.call(&world.caller, call("prints", "get_me")).await.unwrap();
    assert_eq!(reply.status, 200);
    // A state is good once here too.
    let again = arrive(&world, &back, &leaving.browser).await;
    assert_eq!(again.unwrap_err(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn the_yes_to_another_ticket_is_exchanged_for_nothing() {
    let world = world().await;
    with_client(&world).await;
    let (_, leaving) = gone(&world).await.unwrap();
    let back = yes(&world, "ticket-of-somebody-else");
    let refused = arrive(&world, &back, &leaving.browser).await;
    assert_eq!(refused.unwrap_err(), ErrorKind::InvalidInput);
    assert!(world.script.sent().iter().all(|sent| !sent.place().ends_with("/token")));
    // Neither is a return without the word that says yes.
    let (_, leaving) = gone(&world).await.unwrap();
    let mut back = yes(&world, "ticket+1");
    back.rest.remove("oauth_verifier");
    assert_eq!(arrive(&world, &back, &leaving.browser).await.unwrap_err(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn nobody_leaves_without_a_ticket() {
    let world = world().await;
    assert_eq!(gone(&world).await.err().unwrap().kind(), ErrorKind::Unavailable);
    with_client(&world).await;
    // A service that knows no callbacks, one that refuses, one that says nothing of use.
    let answers: [fn() -> Result<Response>; 3] = [
        || form("oauth_token=t&oauth_token_secret=s"),
        || answer(401, "oauth_problem=consumer_key_unknown"),
        || form("<html>"),
    ];
    for given in answers {
        world.script.on(move |_| given());
        let refused = gone(&world).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::UpstreamUnreachable);
    }
}
