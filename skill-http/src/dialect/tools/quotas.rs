//! `GET /v1/quotas`: how much of every limit is used.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    Error,
    access::{Allowance, Standing},
};

use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

pub(super) fn routes() -> Vec<Route> {
    let count = || json!({"type": ["integer", "null"]});
    let quota = || {
        json!({
            "type": "object",
            "required": ["used", "limit", "remaining", "reset"],
            "properties": {
                "used": count(), "limit": count(), "remaining": count(),
                "reset": {"type": ["string", "null"], "format": "date-time"},
            },
        })
    };
    let schema = json!({
        "type": "object",
        "description": "Null stands where there is no limit; without one requests are not counted.",
        "required": ["minute", "day", "connections", "keys", "queued_runs"],
        "properties": {
            "minute": quota(), "day": quota(), "connections": quota(), "keys": quota(),
            "queued_runs": quota(),
        },
    });
    let operation = Operation::new("tools_quotas", "Tell how much of every limit is used")
        .answer(200, "Requests of this key and of its owner, and what the owner has", schema)
        .errors(&[400, 401, 403, 429, 500, 503]);
    let key = Access::Key(None);
    vec![Route::new(Method::GET, "/v1/quotas", key, operation, |cx| Box::pin(show(cx)))]
}

async fn show(cx: Context) -> Result<Reply, Failure> {
    let caller = cx.caller()?;
    let Standing { minute, day, plan, connections, keys } =
        cx.app.engine.keys().standing(caller).await?;
    let (queued, depth) = cx.app.engine.runs().waiting(caller).await?;
    let answer = json!({
        "minute": window(&cx, &minute)?,
        "day": window(&cx, &day)?,
        "connections": having(connections, plan.connections.map(u64::from)),
        "keys": having(keys, plan.keys.map(u64::from)),
        "queued_runs": having(queued, Some(depth)),
    });
    Ok(Reply::json(StatusCode::OK, &answer))
}

/// What counts over time; some of it comes back at `reset`.
fn window(cx: &Context, allowance: &Allowance) -> Result<Value, Error> {
    let Some(limit) = allowance.limit else {
        return Ok(json!({"used": null, "limit": null, "remaining": null, "reset": null}));
    };
    let remaining = allowance.remaining.min(limit);
    let reset = cx.app.engine.clock().now().checked_add(allowance.reset);
    let reset = reset.map_err(Error::internal)?.to_string();
    Ok(json!({
        "used": limit - remaining, "limit": limit, "remaining": remaining, "reset": reset,
    }))
}

/// What the owner has at this moment.
fn having(used: u64, limit: Option<u64>) -> Value {
    let remaining = limit.map(|limit| limit.saturating_sub(used));
    json!({"used": used, "limit": limit, "remaining": remaining, "reset": null})
}
