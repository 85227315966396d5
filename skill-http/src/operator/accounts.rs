//! The operator's routes about OAuth clients, and about where people may be sent.

use http::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use skill_core::{
    Error,
    apps::Force,
    id::AppId,
    name::{OwnerId, Slug},
    record::app::{App, Holder},
};

use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

/// All of them.
pub(super) fn routes() -> impl Iterator<Item = Route> {
    clients().into_iter().chain(returns())
}

/// Those about OAuth clients.
fn clients() -> Vec<Route> {
    let access = || Access::Operator;
    let op = Operation::new;
    vec![
        Route::new(
            Method::POST,
            "/_operator/apps",
            access(),
            op("add_app", "Add an OAuth client, or give it a new secret"),
            |cx| Box::pin(add_app(cx)),
        ),
        Route::new(
            Method::GET,
            "/_operator/apps",
            access(),
            op("list_apps", "List the OAuth clients of the system or of an owner"),
            |cx| Box::pin(apps(cx)),
        ),
        Route::new(
            Method::PUT,
            "/_operator/apps/{app_id}/secret",
            access(),
            op("rotate_app", "Give an OAuth client another secret"),
            |cx| Box::pin(rotate_app(cx)),
        ),
        Route::new(
            Method::DELETE,
            "/_operator/apps/{app_id}",
            access(),
            op("remove_app", "Remove an OAuth client"),
            |cx| Box::pin(remove_app(cx)),
        ),
    ]
}

/// Those about where people may be sent.
fn returns() -> Vec<Route> {
    let access = || Access::Operator;
    let op = Operation::new;
    vec![
        Route::new(
            Method::GET,
            "/_operator/return-urls",
            access(),
            op("return_urls", "List where the owner's people may be sent"),
            |cx| Box::pin(return_urls(cx)),
        ),
        Route::new(
            Method::POST,
            "/_operator/return-urls",
            access(),
            op("allow_return", "Let the owner's people be sent to a URL"),
            |cx| Box::pin(allow_return(cx)),
        ),
        Route::new(
            Method::DELETE,
            "/_operator/return-urls",
            access(),
            op("forbid_return", "Take a URL from the owner's list"),
            |cx| Box::pin(forbid_return(cx)),
        ),
    ]
}

async fn add_app(cx: Context) -> Result<Reply, Failure> {
    let mut body = cx.members()?;
    let (integration, client_id) =
        (body.required_text("integration"), body.required_text("client_id"));
    let (secret, owner) = (body.text("client_secret").map(SecretString::from), body.text("owner"));
    body.end()?;
    let slug = Slug::parse(&integration)?;
    if cx.app.engine.catalog().integration(&slug).is_none() {
        return Err(Error::not_found(format!("there is no integration `{slug}`")).into());
    }
    let holder = holder(owner.as_deref())?;
    let app = cx.app.engine.apps().put(holder, &slug, &client_id, secret.as_ref()).await?;
    Ok(Reply::json(StatusCode::CREATED, &shown_app(&app)))
}

/// The owner that is named, or the system.
fn holder(owner: Option<&str>) -> Result<Holder, Error> {
    owner.map_or(Ok(Holder::System), |owner| OwnerId::parse(owner).map(Holder::Owner))
}

fn shown_app(app: &App) -> Value {
    json!({
        "id": app.id.to_string(),
        "integration": app.integration.as_str(),
        "client_id": app.client_id,
        "has_secret": app.client_secret.is_some(),
        "holder": app.holder.owner().map_or("system", OwnerId::as_str),
        "created_at": app.created_at.to_string(),
    })
}

/// Whose apps the query means, and the app that the path names.
fn app_of(cx: &Context) -> Result<(Holder, AppId), Error> {
    let unknown = || Error::not_found("there is no app with this id");
    Ok((
        holder(cx.query().text("owner")?.as_deref())?,
        AppId::parse(cx.value(0)).ok_or_else(unknown)?,
    ))
}

async fn apps(cx: Context) -> Result<Reply, Failure> {
    let holder = holder(cx.query().text("owner")?.as_deref())?;
    let all = cx.app.engine.apps().list(&holder).await?;
    Ok(Reply::json(StatusCode::OK, &all.iter().map(shown_app).collect()))
}

async fn rotate_app(cx: Context) -> Result<Reply, Failure> {
    let (holder, id) = app_of(&cx)?;
    let mut body = cx.members()?;
    let secret = body.text("client_secret").map(SecretString::from);
    body.end()?;
    let app = cx.app.engine.apps().rotate(&holder, id, secret.as_ref()).await?;
    Ok(Reply::json(StatusCode::OK, &shown_app(&app)))
}

async fn remove_app(cx: Context) -> Result<Reply, Failure> {
    let (holder, id) = app_of(&cx)?;
    let force = match cx.query().flag("force")? {
        Some(true) => Force::Whatever,
        Some(false) | None => Force::Unused,
    };
    cx.app.engine.apps().remove(&holder, id, force).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn return_urls(cx: Context) -> Result<Reply, Failure> {
    let urls = cx.app.engine.connector().return_urls(&cx.caller()?.owner).await?;
    Ok(Reply::json(StatusCode::OK, &json!({ "urls": urls })))
}

async fn allow_return(cx: Context) -> Result<Reply, Failure> {
    let url = url_of(&cx)?;
    cx.app.engine.connector().allow_return(&cx.caller()?.owner, &url).await?;
    return_urls(cx).await
}

async fn forbid_return(cx: Context) -> Result<Reply, Failure> {
    let url = url_of(&cx)?;
    cx.app.engine.connector().forbid_return(&cx.caller()?.owner, &url).await?;
    return_urls(cx).await
}

fn url_of(cx: &Context) -> Result<String, Failure> {
    let mut body = cx.members()?;
    let url = body.required_text("url");
    body.end()?;
    Ok(url)
}
