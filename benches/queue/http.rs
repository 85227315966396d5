//! A server whose one skill does nothing, for the kit's load generator.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::json;
use skill_core::{
    access::{Caller, NewKey},
    credential::seal::Keyring,
    name::OwnerId,
    record::key::Kind,
    store::sqlite::SqliteStore,
};
use tokio_util::sync::CancellationToken;

use crate::{Outcome, engine::engine, print};

/// Serves at `address` for so long; prints the key. Nothing is worked on.
pub(crate) async fn serve(file: &Path, address: &str, time: Duration) -> Outcome {
    let metrics = skill_http::Metrics::new();
    let store = Arc::new(SqliteStore::open(file)?);
    let builder = engine(store.clone(), Keyring::generate()?, 0).await?;
    let engine = builder.observer(metrics.clone()).build().await?;
    let operator = Caller::operator(OwnerId::standard());
    let (_, key) = engine.keys().create(&operator, NewKey::new("bench", Kind::Api)).await?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    let settings = skill_http::Settings::new(format!("http://{address}").parse()?);
    let server = skill_http::Server::new(engine.clone(), metrics, settings)?;
    print(&json!({ "key": key.expose() }));
    let shutdown = CancellationToken::new();
    let ends = shutdown.clone();
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        ends.cancel();
    });
    server.serve(listener, shutdown).await;
    engine.stop().await;
    Ok(())
}
