//! A credential store of one's own: tokens that another system keeps, and the engine renews.
//!
//! Run with `cargo run --example own_credentials`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use skill_core::{
    Engine, Result,
    access::Caller,
    call::CallRequest,
    credential::{Credential, CredentialStore},
    id::ConnectionId,
    integration,
    name::{OwnerId, Slug},
    record::connection::{ConnectionRef, Revision},
};
use skill_examples::Answering;

/// Keeps credentials in a map: in its place stands a vault, a secret manager, a database.
#[derive(Default)]
struct Elsewhere(Mutex<HashMap<ConnectionId, (Credential, Revision)>>);

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Elsewhere")
    }
}

#[async_trait]
impl CredentialStore for Elsewhere {
    async fn load(&self, at: &ConnectionRef) -> Result<Option<(Credential, Revision)>> {
        Ok(self.0.lock().expect("no panics").get(&at.id).cloned())
    }

    /// Compare and swap: of two renewals at the same time only one may win.
    async fn replace(
        &self,
        at: &ConnectionRef,
        new: &Credential,
        seen: Option<Revision>,
    ) -> Result<bool> {
        let mut kept = self.0.lock().expect("no panics");
        let current = kept.get(&at.id).map(|(_, revision)| *revision);
        if current == seen {
            let next = Revision(current.map_or(1, |revision| revision.0 + 1));
            kept.insert(at.id, (new.clone(), next));
        }
        Ok(current == seen)
    }

    async fn forget(&self, at: &ConnectionRef) -> Result<()> {
        self.0.lock().expect("no panics").remove(&at.id);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let elsewhere = Arc::new(Elsewhere::default());
    let bundled = integration::bundled(&Default::default()).expect("the bundled ones are valid");
    let engine =
        Engine::builder(Arc::new(Answering(r#"{"login":"octocat"}"#))).integrations(bundled);
    let engine = engine.credentials(elsewhere.clone()).build().await?;

    let caller = Caller::operator(OwnerId::standard());
    let grant = [("access_token".to_owned(), "gho_example".into())].into_iter().collect();
    engine.connector().hand_over(&caller, &Slug::parse("github")?, &grant, None).await?;
    let reply = engine.call(&caller, CallRequest::new("github", "get_user")?).await?;
    println!("<- {} with a credential of {elsewhere:?}", reply.status);
    engine.stop().await;
    Ok(())
}
