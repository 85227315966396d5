//! The operator's routes that concern everything at once: sealing anew, revoking, held runs, and
//! what there is to look at.

use std::time::Duration;

use http::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use skill_core::{
    Engine, Error, Result,
    access::Caller,
    connect::Tried,
    credential::Client,
    engine::{Extent, Unrevoked},
    id::ExecutionId,
    name::{OwnerId, Slug},
    record::{
        connection::{Connection, Status},
        delivery,
        execution::State,
    },
    reseal::Sealing,
    store::{DeliveryFilter, ExecutionFilter},
};

use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

/// How many owners a look goes through.
const OWNERS: u32 = 1_000;
/// How many connections of one owner it shows.
const CONNECTIONS: usize = 50;
/// How many held runs are released with one request.
const HELD: u32 = 100;

pub(super) fn routes() -> Vec<Route> {
    let access = || Access::Operator;
    let op = Operation::new;
    vec![
        Route::new(
            Method::POST,
            "/_operator/apps/try",
            access(),
            op("try_app", "Ask a provider whether it knows an OAuth client; nothing is kept"),
            |cx| Box::pin(try_app(cx)),
        ),
        Route::new(
            Method::GET,
            "/_operator/seal",
            access(),
            op("sealing", "Tell which keys seal, and how far sealing anew is"),
            |cx| Box::pin(async move { Ok(sealing(&cx.app.engine.sealing())) }),
        ),
        Route::new(
            Method::POST,
            "/_operator/seal/rotate",
            access(),
            op("rotate_seal", "Seal with a fresh key, and everything that is kept anew"),
            |cx| Box::pin(async move { Ok(sealing(&cx.app.engine.rotate_seal().await?)) }),
        ),
    ]
    .into_iter()
    .chain(widely())
    .collect()
}

/// The routes that look at, or change, what belongs to many.
fn widely() -> Vec<Route> {
    let access = || Access::Operator;
    let op = Operation::new;
    vec![
        Route::new(
            Method::POST,
            "/_operator/revoke",
            access(),
            op("revoke_everything", "End keys, runs and connections at once"),
            |cx| Box::pin(revoke(cx)),
        ),
        Route::new(
            Method::POST,
            "/_operator/held",
            access(),
            op("release_runs", "Let every held run of the owner go on"),
            |cx| Box::pin(release_all(cx)),
        ),
        Route::new(
            Method::POST,
            "/_operator/held/{execution_id}",
            access(),
            op("release_run", "Let a held run go on"),
            |cx| Box::pin(release(cx)),
        ),
        Route::new(
            Method::GET,
            "/_operator/checkup",
            access(),
            op("checkup", "Tell what somebody may have to look at"),
            |cx| Box::pin(checkup(cx)),
        ),
    ]
}

fn sealing(sealing: &Sealing) -> Reply {
    Reply::json(StatusCode::OK, &shown(sealing))
}

fn shown(sealing: &Sealing) -> Value {
    json!({
        "keys": sealing.keys,
        "is_under_way": sealing.is_under_way,
        "resealed": sealing.resealed,
        "unreadable": sealing.unreadable,
        "trouble": sealing.trouble,
    })
}

async fn try_app(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (integration, id) = (body.required_text("integration"), body.required_text("client_id"));
    let secret = body.text("client_secret").map(SecretString::from);
    body.end()?;
    let tried = Client { id, secret };
    let tried = cx.app.engine.connector().try_client(&Slug::parse(&integration)?, &tried).await?;
    let client = match tried {
        Tried::Known => "known",
        Tried::Unknown => "unknown",
        Tried::Unclear => "unclear",
    };
    Ok(Reply::json(StatusCode::OK, &json!({ "client": client })))
}

async fn revoke(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (owner, integration) = (body.text("owner"), body.text("integration"));
    let patience = body.count("patience").unwrap_or(60).min(300);
    body.end()?;
    let extent = Extent {
        owner: owner.map(|owner| OwnerId::parse(&owner)).transpose()?,
        integration: integration.map(|slug| Slug::parse(&slug)).transpose()?,
    };
    let engine = cx.app.engine.clone();
    // Whoever asked may go: what was begun is not left in the middle.
    let work =
        async move { engine.revoke_everything(&extent, Duration::from_secs(patience)).await };
    let revoked = tokio::spawn(work).await.map_err(Error::internal)??;
    let left = |left: &Unrevoked| {
        json!({
            "owner": left.owner.as_str(), "integration": left.integration.as_str(),
            "connection": left.connection.to_string(), "account": left.account, "why": left.why,
        })
    };
    let answer = json!({
        "keys": revoked.keys,
        "runs": revoked.runs,
        "connections": revoked.connections,
        "not_revoked_upstream": revoked.unrevoked.iter().map(left).collect::<Value>(),
    });
    Ok(Reply::json(StatusCode::OK, &answer))
}

async fn release(cx: Context) -> Result<Reply, Failure> {
    let none = || Error::not_found("there is no execution with this id");
    let id = ExecutionId::parse(cx.value(0)).ok_or_else(none)?;
    let run = cx.app.engine.runs().release(cx.caller()?, id).await?;
    let answer = json!({ "execution_id": run.id.to_string(), "status": run.state.as_str() });
    Ok(Reply::json(StatusCode::OK, &answer))
}

async fn release_all(cx: Context) -> Result<Reply, Failure> {
    let (runs, caller) = (cx.app.engine.runs(), cx.caller()?);
    let filter =
        ExecutionFilter { state: Some(State::Held), limit: HELD, ..ExecutionFilter::default() };
    let mut released = Vec::new();
    loop {
        let (held, _) = runs.list(caller, &filter).await?;
        if held.is_empty() {
            break;
        }
        for run in held {
            runs.release(caller, run.id).await?;
            released.push(run.id.to_string());
        }
    }
    Ok(Reply::json(StatusCode::OK, &json!({ "released": released })))
}

async fn checkup(cx: Context) -> Result<Reply, Failure> {
    let engine = &cx.app.engine;
    let owners = engine.owners(None, OWNERS).await?;
    let mut looked = Vec::new();
    for owner in &owners {
        looked.push(look(engine, owner).await?);
    }
    let mut apps = Vec::new();
    for integration in engine.catalog().integrations() {
        let slug = &integration.info().slug;
        if !integration.auth().asks_a_person() {
            continue;
        }
        let app = engine.apps().standard(&OwnerId::standard(), slug).await?;
        apps.push(json!({
            "integration": slug.as_str(),
            "client_id": app.as_ref().map(|app| app.client_id.as_str()),
            "has_secret": app.as_ref().is_some_and(|app| app.client_secret.is_some()),
        }));
    }
    let answer = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "public_url": cx.app.public_url,
        "sealing": shown(&engine.sealing()),
        "owners": looked,
        "owners_left_out": owners.len() as u32 == OWNERS,
        "apps": apps,
    });
    Ok(Reply::json(StatusCode::OK, &answer))
}

/// What of an owner somebody may have to look at.
async fn look(engine: &Engine, owner: &OwnerId) -> Result<Value> {
    let caller = Caller::operator(owner.clone());
    let mut runs = serde_json::Map::new();
    for state in [State::Queued, State::Running, State::Held, State::Error] {
        let filter = ExecutionFilter { state: Some(state), limit: 1, ..ExecutionFilter::default() };
        let (_, total) = engine.runs().list(&caller, &filter).await?;
        runs.insert(state.as_str().to_owned(), total.into());
    }
    let connections = engine.connections().list(&caller).await?;
    let broken = |connection: &&Connection| {
        matches!(connection.status, Status::Expired | Status::Error)
            || (connection.status == Status::Connected && connection.last_error.is_some())
    };
    let shown = |connection: &Connection| {
        json!({
            "id": connection.id.to_string(),
            "integration": connection.integration.as_str(),
            "label": connection.label,
            "user": connection.user.as_ref().map(|user| user.as_str()),
            "status": connection.status.as_str(),
            "last_error": connection.last_error,
        })
    };
    let used = connections.iter().map(|connection| connection.integration.canonical());
    let used: std::collections::BTreeSet<_> = used.collect();
    let broken = connections.iter().filter(broken).take(CONNECTIONS);
    let mut webhooks = Vec::new();
    for hook in engine.webhooks().list(&caller).await? {
        let dead =
            DeliveryFilter { state: Some(delivery::State::Dead), limit: 1, ..Default::default() };
        let (_, dead) = engine.webhooks().deliveries(&caller, hook.id, &dead).await?;
        webhooks.push(json!({
            "id": hook.id.to_string(),
            "url": hook.url,
            "disabled": hook.disabled.map(|disabled| disabled.reason),
            "dead": dead,
        }));
    }
    Ok(json!({
        "owner": owner.as_str(),
        "runs": runs,
        "connections": broken.map(shown).collect::<Value>(),
        "connected_to": used.iter().map(ToString::to_string).collect::<Value>(),
        "webhooks": webhooks,
    }))
}
