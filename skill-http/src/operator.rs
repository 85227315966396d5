//! The operator's own routes. They answer at the operator's door only; elsewhere they do not exist.

mod accounts;

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    Error,
    access::NewKey,
    call::CallRequest,
    name::{ActionName, Slug},
    record::{key::Kind, scope::Scopes},
};

use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    dialect::{
        headers::{idempotency_key, named_connection},
        proxy::create_key,
        tools::submit,
    },
    reply::{Failure, Reply},
};

/// The operator's routes.
pub(crate) fn routes() -> Vec<Route> {
    let access = || Access::Operator;
    let op = Operation::new;
    let mut routes = vec![
        Route::new(
            Method::GET,
            "/_operator/status",
            access(),
            op("status", "Tell what runs here"),
            |cx| Box::pin(async move { Ok(status(&cx)) }),
        ),
        Route::new(
            Method::POST,
            "/_operator/keys",
            access(),
            op("add_key", "Make a key of any kind and tier"),
            |cx| Box::pin(add_key(cx)),
        ),
        Route::new(
            Method::PUT,
            "/_operator/plan",
            access(),
            op("set_plan", "Put the owner on a plan"),
            |cx| Box::pin(set_plan(cx)),
        ),
        Route::new(
            Method::GET,
            "/_operator/audit",
            access(),
            op("audit", "Show the newest lines of the owner's audit"),
            |cx| Box::pin(audit(cx)),
        ),
        Route::new(
            Method::POST,
            "/_operator/runs/{integration}/{endpoint}",
            access(),
            op("add_run", "Queue an action under its own name, with its own parameters"),
            |cx| Box::pin(add_run(cx)),
        ),
    ];
    routes.extend(accounts::routes());
    routes
}

fn status(cx: &Context) -> Reply {
    let catalog = cx.app.engine.catalog();
    let slugs = catalog.integrations().map(|i| i.info().slug.to_string()).collect::<Vec<_>>();
    let answer = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "public_url": cx.app.public_url,
        "integrations": slugs,
    });
    Reply::json(StatusCode::OK, &answer)
}

async fn add_key(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (name, kind) = (body.required_text("name"), body.text("type"));
    let (scopes, tier) = (body.texts("scopes"), body.text("tier"));
    let expires_in = body.count("expires_in").map(Duration::from_secs);
    body.end()?;
    let kind = match kind.as_deref() {
        None => Kind::Api,
        Some(text) => Kind::parse(text).ok_or_else(|| {
            let issue = "expected `api`, `admin`, `user`, `service` or `temporary`";
            Error::invalid(issue).detail("type", issue)
        })?,
    };
    let scopes = match scopes {
        Some(scopes) => Scopes::parse(scopes.iter().map(String::as_str))?,
        None => Scopes::all(),
    };
    create_key(&cx, NewKey { scopes, tier, expires_in, ..NewKey::new(&name, kind) }).await
}

async fn set_plan(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let plan = body.required_text("plan");
    body.end()?;
    cx.app.engine.set_plan(&cx.caller()?.owner, &plan).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn audit(cx: Context) -> Result<Reply, Failure> {
    let limit = cx.query().number("limit", 1, 1000)?.unwrap_or(50);
    let most = u32::try_from(limit).unwrap_or(1000);
    let lines = cx.app.engine.audit(&cx.caller()?.owner, most).await?;
    let shown = |line: &skill_core::record::audit::Entry| {
        json!({
            "at": line.at.to_string(), "actor": line.actor.to_string(), "event": line.event,
            "target": line.target, "outcome": line.outcome,
        })
    };
    Ok(Reply::json(StatusCode::OK, &lines.iter().map(shown).collect::<Value>()))
}

async fn add_run(cx: Context) -> Result<Reply, Failure> {
    let name = (Slug::parse(cx.value(0)), Slug::parse(cx.value(1)));
    let (Ok(namespace), Ok(name)) = name else {
        return Err(Error::not_found("there is no action of this name").into());
    };
    let call = CallRequest {
        action: ActionName { namespace, name },
        params: cx.object()?,
        connection: named_connection(None, &cx.headers)?,
        idempotency_key: idempotency_key(&cx.headers)?,
        timeout: None,
        keeps_bodies: true,
    };
    submit(&cx, call).await
}
