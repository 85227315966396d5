//! `/api/skills`: which skills there are, in which versions.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    catalog::{Action, Catalog, title},
    name::Slug,
    record::scope::Scope,
};

use super::{execute, page, page::Page};
use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

pub(super) fn routes() -> Vec<Route> {
    let key = || Access::Key(None);
    let category =
        json!({"type": "string", "description": "Of this integration or category only."});
    let listing = Operation::new("list_skills", "List the skills").query("category", category);
    let listing = page::query(listing)
        .answer(200, "A page of them, by category and name", page::schema("data", &schema()))
        .errors(&[400, 401, 403, 429, 500, 503]);
    let showing = Operation::new("show_skill", "Show a skill in one version")
        .answer(200, "The skill", schema())
        .errors(&[400, 401, 403, 404, 429, 500, 503]);
    let one = "/api/skills/{category}/{version}/{skill_name}";
    vec![
        Route::new(Method::GET, "/api/skills", key(), listing, |cx| {
            Box::pin(async move { list(&cx) })
        }),
        Route::new(Method::GET, one, key(), showing, |cx| Box::pin(async move { show(&cx) })),
    ]
}

/// The schema of a row.
fn schema() -> Value {
    let text = || json!({"type": "string"});
    let time = || json!({"type": ["string", "null"], "format": "date-time"});
    json!({
        "type": "object",
        "required": [
            "category", "skill_name", "version", "display_name", "description",
            "parameters_schema", "output_schema", "required_scopes", "is_active",
        ],
        "properties": {
            "category": text(), "skill_name": text(), "version": text(), "display_name": text(),
            "description": text(),
            "parameters_schema": {"type": "object"},
            "output_schema": {"type": ["object", "boolean", "null"]},
            "required_scopes": {"type": "array", "items": text()},
            "is_active": {"type": "boolean"}, "is_deprecated": {"type": "boolean"},
            "created_at": time(), "updated_at": time(),
        },
    })
}

/// A row of the registry. When a skill came to be is not known: the catalogue is no record.
pub(super) fn row(action: &Action) -> Value {
    let name = action.name();
    let mut scopes = vec![name.namespace.canonical().to_owned()];
    let (mut version, mut is_deprecated) = ("v1".to_owned(), false);
    if let Action::Skill(skill) = action {
        let info = skill.info();
        scopes.extend(info.scopes.iter().map(Scope::to_string));
        version = info.version.to_string();
        is_deprecated = info.is_deprecated;
    }
    scopes.dedup();
    json!({
        "category": name.namespace.canonical(),
        "skill_name": name.name.canonical(),
        "version": version,
        "display_name": title(&name.name),
        "description": action.summary(),
        "parameters_schema": action.schema().as_value(),
        "output_schema": action.output().map(|schema| schema.as_value().clone()),
        "required_scopes": scopes,
        "is_active": true,
        "is_deprecated": is_deprecated,
        "created_at": Value::Null,
        "updated_at": Value::Null,
    })
}

/// Every action in every version.
fn all(catalog: &Catalog) -> Vec<Action> {
    let endpoints = catalog.actions().filter(|action| matches!(action, Action::Endpoint(_)));
    let skills = catalog.skills().cloned().map(Action::Skill);
    let mut all = endpoints.chain(skills).collect::<Vec<_>>();
    all.sort_by_key(|action| (action.name(), action.version()));
    all
}

fn list(cx: &Context) -> Result<Reply, Failure> {
    let bounds = page::bounds(cx)?;
    let category = cx.query().one_of("category", |text| Slug::parse(text).ok(), "a category")?;
    let mut found = all(&cx.app.engine.catalog());
    if let Some(category) = category {
        found.retain(|action| action.name().namespace == category);
    }
    let page = Page::cut(&found, bounds, row);
    Ok(Reply::json(StatusCode::OK, &page.named("data")))
}

fn show(cx: &Context) -> Result<Reply, Failure> {
    let values = [cx.value(0), cx.value(1), cx.value(2)];
    let action = execute::named(&cx.app.engine.catalog(), values)?;
    Ok(Reply::json(StatusCode::OK, &row(&action)))
}
