//! Logging in a program that has no browser.

use std::{net::IpAddr, sync::Arc, time::Duration};

use secrecy::ExposeSecret;
use skill_core::{
    ErrorKind, Result,
    access::{Caller, NewKey},
    login::{Asked, Codes, INTERVAL, LIFE, Standing, Word},
    record::{key::Kind, scope::Scopes},
    store::{MemoryStore, Store, sqlite::SqliteStore},
};

use super::fixture::{World, owner};

fn address() -> Option<IpAddr> {
    Some("192.0.2.7".parse().unwrap())
}

fn asked(scopes: Option<&str>) -> Asked {
    let scopes = scopes.map(|text| Scopes::parse([text]).unwrap());
    Asked { name: "laptop".into(), scopes }
}

async fn begun(world: &World, scopes: Option<&str>) -> Codes {
    world.engine.logins().begin(asked(scopes), address()).await.unwrap()
}

async fn poll(world: &World, codes: &Codes) -> Result<Standing> {
    world.engine.logins().poll(codes.device.expose_secret()).await
}

async fn answer(world: &World, caller: &Caller, codes: &Codes, word: Word) -> Result<()> {
    world.engine.logins().answer(caller, (&codes.person, word), address()).await
}

fn kind<T>(outcome: Result<T>) -> ErrorKind {
    outcome.err().unwrap().kind()
}

/// A key of the owner with these scopes, as who presents it.
async fn with_key(world: &World, owner: &Caller, scopes: &str) -> (Caller, skill_core::id::KeyId) {
    let scopes = Scopes::parse([scopes]).unwrap();
    let wanted = NewKey { scopes, ..NewKey::new("k", Kind::Api) };
    let (key, plain) = world.engine.keys().create(owner, wanted).await.unwrap();
    (world.present(plain.expose()).await.unwrap(), key.id)
}

#[tokio::test]
async fn a_program_is_logged_in_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(&dir.path().join("skill.db")).unwrap();
    for store in [Arc::new(MemoryStore::new()) as Arc<dyn Store>, Arc::new(file)] {
        let world = World::over(store).await;
        let codes = begun(&world, None).await;
        let device = codes.device.expose_secret();
        assert_eq!((device.len(), codes.person.len()), (40, 9));
        assert!(device.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(matches!(poll(&world, &codes).await, Ok(Standing::Pending { .. })));
        let typed = codes.person.to_lowercase().replace('-', " ");
        let seen = world.engine.logins().open(&typed, address()).await.unwrap();
        assert_eq!(seen, asked(None));
        let acme = owner("acme");
        answer(&world, &acme, &codes, Word::Yes).await.unwrap();
        assert_eq!(kind(answer(&world, &acme, &codes, Word::No).await), ErrorKind::NotFound);
        let Ok(Standing::Complete { by, key }) = poll(&world, &codes).await else { panic!() };
        assert_eq!((by.owner, by.user, key.is_none()), (acme.owner, None, true));
        assert_eq!(kind(poll(&world, &codes).await), ErrorKind::NotFound);
        world.engine.stop().await;
    }
}

#[tokio::test]
async fn a_program_that_wants_a_key_gets_one_with_no_more_than_it_asked_for() {
    let world = World::new().await;
    let acme = owner("acme");
    let codes = begun(&world, Some("desk,keyed/whoami")).await;
    let (caller, _) = with_key(&world, &acme, "desk,keyed,keys").await;
    answer(&world, &caller, &codes, Word::Yes).await.unwrap();
    let Ok(Standing::Complete { key: Some(made), .. }) = poll(&world, &codes).await else {
        panic!()
    };
    let (key, plain) = *made;
    assert_eq!((key.name.as_str(), &key.owner), ("laptop", &acme.owner));
    let present = world.present(plain.expose()).await.unwrap();
    assert_eq!(present.scopes, Scopes::parse(["desk,keyed/whoami"]).unwrap());
}

#[tokio::test]
async fn nobody_gives_away_more_than_they_have() {
    let world = World::new().await;
    let acme = owner("acme");
    let codes = begun(&world, Some("*")).await;
    for scopes in ["desk,keys", "desk", "keys"] {
        let (caller, _) = with_key(&world, &acme, scopes).await;
        let refused = answer(&world, &caller, &codes, Word::Yes).await;
        assert_eq!(kind(refused), ErrorKind::ScopeMissing);
    }
    assert!(matches!(poll(&world, &codes).await, Ok(Standing::Pending { .. })));
    // Whoever may only say who they are says that.
    let plain = begun(&world, None).await;
    let (caller, _) = with_key(&world, &acme, "desk").await;
    answer(&world, &caller, &plain, Word::Yes).await.unwrap();
}

#[tokio::test]
async fn a_no_and_a_yes_that_is_worth_nothing_any_more_are_a_no() {
    let world = World::new().await;
    let (denied, revoked) = (begun(&world, None).await, begun(&world, Some("desk")).await);
    let acme = owner("acme");
    answer(&world, &acme, &denied, Word::No).await.unwrap();
    assert!(matches!(poll(&world, &denied).await, Ok(Standing::Denied)));
    let (caller, id) = with_key(&world, &acme, "*").await;
    answer(&world, &caller, &revoked, Word::Yes).await.unwrap();
    world.engine.keys().revoke(&acme, id).await.unwrap();
    assert!(matches!(poll(&world, &revoked).await, Ok(Standing::Denied)));
    let keys = world.engine.keys().list(&acme).await.unwrap();
    assert_eq!(keys.len(), 1, "no key was made");
}

#[tokio::test]
async fn codes_end_after_a_quarter_of_an_hour() {
    let world = World::new().await;
    let (waiting, answered) = (begun(&world, None).await, begun(&world, None).await);
    world.clock.advance(LIFE - Duration::from_secs(1));
    answer(&world, &owner("acme"), &answered, Word::Yes).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    for codes in [&waiting, &answered] {
        assert_eq!(kind(poll(&world, codes).await), ErrorKind::NotFound);
        let late = answer(&world, &owner("acme"), codes, Word::Yes).await;
        assert_eq!(kind(late), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn who_asks_too_fast_waits_longer_each_time() {
    let world = World::new().await;
    let codes = begun(&world, None).await;
    let waits = async || match poll(&world, &codes).await {
        Ok(Standing::Pending { interval, is_hasty }) => (interval.as_secs(), is_hasty),
        _ => panic!("nobody has answered"),
    };
    assert_eq!(waits().await, (5, false));
    world.clock.advance(Duration::from_secs(4));
    assert_eq!(waits().await, (10, true));
    world.clock.advance(INTERVAL);
    assert_eq!(waits().await, (15, true));
    world.clock.advance(Duration::from_secs(15));
    assert_eq!(waits().await, (15, false));
    answer(&world, &owner("acme"), &codes, Word::Yes).await.unwrap();
    assert!(matches!(poll(&world, &codes).await, Ok(Standing::Complete { .. })));
}

#[tokio::test]
async fn guessing_codes_is_bounded_by_address() {
    let world = World::new().await;
    let codes = begun(&world, None).await;
    let logins = world.engine.logins();
    for n in 0..60 {
        let guessed = logins.open(&format!("BBBB-BB{n}"), address()).await;
        assert_eq!(kind(guessed), ErrorKind::NotFound, "{n}");
    }
    // Not even the right one: nobody learns whether a guess was good.
    for code in ["BBBB-BBBB", &codes.person] {
        assert_eq!(kind(logins.open(code, address()).await), ErrorKind::RateLimited);
    }
    let elsewhere = Some("198.51.100.1".parse().unwrap());
    logins.open(&codes.person, elsewhere).await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    logins.open(&codes.person, address()).await.unwrap();
}

#[tokio::test]
async fn beginning_is_bounded_by_address_and_names_can_be_shown() {
    let world = World::new().await;
    for _ in 0..30 {
        begun(&world, None).await;
    }
    let more = world.engine.logins().begin(asked(None), address()).await;
    assert_eq!(kind(more), ErrorKind::RateLimited);
    for name in [String::new(), "a\nb".into(), "x".repeat(101)] {
        let wrong = world.engine.logins().begin(Asked { name, scopes: None }, None).await;
        assert_eq!(kind(wrong), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn nonsense_is_no_code() {
    let world = World::new().await;
    let long = "B".repeat(100_000);
    for text in ["", "-", "  ", "é", "\0", &long, "' OR 1=1 --"] {
        assert_eq!(kind(world.engine.logins().poll(text).await), ErrorKind::NotFound);
        assert_eq!(kind(world.engine.logins().open(text, None).await), ErrorKind::NotFound);
    }
}
