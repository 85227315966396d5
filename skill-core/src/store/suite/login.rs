//! Cases: logins of devices.

use std::sync::Arc;

use super::fixture::{acme, at, at_once, token, user};
use crate::{
    id::KeyId,
    record::{
        login::{Answer, Consent, Login},
        scope::Scopes,
    },
    store::Store,
};

/// A login that ends at 900.
pub(super) fn login() -> Login {
    Login {
        device: token(),
        code: token(),
        name: "laptop".into(),
        scopes: None,
        expires_at: at(900),
        answer: None,
    }
}

fn yes() -> Answer {
    Answer::Yes(Consent {
        owner: acme(),
        user: user("ann"),
        key: Some(KeyId::fresh(at(0)).unwrap()),
        scopes: Scopes::parse(["github", "keys"]).unwrap(),
        tier: Some("premium".into()),
        until: Some(at(9000)),
    })
}

async fn kept(store: &dyn Store, login: &Login) {
    assert!(store.insert_login(login, at(0), 100).await.unwrap());
}

pub(super) async fn a_login_reads_back_as_it_was_kept(store: Arc<dyn Store>) {
    let scopes = Some(Scopes::parse(["github"]).unwrap());
    for new in [login(), Login { scopes, ..login() }] {
        kept(&*store, &new).await;
        let found = store.login_by_device(&new.device, at(1)).await.unwrap();
        assert_eq!(found.as_ref(), Some(&new));
        assert_eq!(store.login_by_code(&new.code, at(1)).await.unwrap(), found);
    }
    assert_eq!(store.login_by_device(&token(), at(1)).await.unwrap(), None);
    assert_eq!(store.login_by_code(&token(), at(1)).await.unwrap(), None);
}

pub(super) async fn a_login_is_answered_once(store: Arc<dyn Store>) {
    for answer in [yes(), Answer::Yes(Consent::default()), Answer::No] {
        let new = login();
        kept(&*store, &new).await;
        assert!(store.answer_login(&new.code, &answer, at(1)).await.unwrap());
        assert!(!store.answer_login(&new.code, &Answer::No, at(2)).await.unwrap());
        assert_eq!(store.login_by_code(&new.code, at(2)).await.unwrap(), None);
        let answered = Login { answer: Some(answer), ..new };
        let found = store.login_by_device(&answered.device, at(2)).await.unwrap();
        assert_eq!(found.as_ref(), Some(&answered));
        assert_eq!(store.end_login(&answered.device, at(3)).await.unwrap(), Some(answered));
    }
}

pub(super) async fn a_login_ends_once_and_only_with_an_answer(store: Arc<dyn Store>) {
    let new = login();
    kept(&*store, &new).await;
    assert_eq!(store.end_login(&new.device, at(1)).await.unwrap(), None);
    assert!(store.answer_login(&new.code, &yes(), at(1)).await.unwrap());
    let device = new.device;
    let ended = at_once(&store, 20, move |store, _| async move {
        store.end_login(&device, at(2)).await.unwrap().is_some()
    });
    assert_eq!(ended.await.into_iter().filter(|ended| *ended).count(), 1);
    assert_eq!(store.login_by_device(&device, at(2)).await.unwrap(), None);
}

pub(super) async fn codes_end(store: Arc<dyn Store>) {
    let (new, answered) = (login(), login());
    kept(&*store, &new).await;
    kept(&*store, &answered).await;
    assert!(store.answer_login(&answered.code, &yes(), at(899)).await.unwrap());
    assert_eq!(store.login_by_device(&new.device, at(900)).await.unwrap(), None);
    assert_eq!(store.login_by_code(&new.code, at(900)).await.unwrap(), None);
    assert!(!store.answer_login(&new.code, &yes(), at(900)).await.unwrap());
    assert_eq!(store.end_login(&answered.device, at(900)).await.unwrap(), None);
}

pub(super) async fn logins_are_capped_and_swept(store: Arc<dyn Store>) {
    let first = login();
    assert!(store.insert_login(&first, at(0), 2).await.unwrap());
    assert!(store.insert_login(&login(), at(0), 2).await.unwrap());
    assert!(!store.insert_login(&login(), at(899), 2).await.unwrap());
    let later = Login { expires_at: at(1800), ..login() };
    assert!(store.insert_login(&later, at(900), 2).await.unwrap());
    // Before its sweep a clock may be set back: what was swept does not come back.
    assert_eq!(store.login_by_device(&first.device, at(1)).await.unwrap(), None);
}
