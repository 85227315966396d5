//! `/v1/webhooks/{id}/deliveries`: the messages to a subscriber, what became of each, and sending
//! one again.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skill_core::{
    Error,
    id::DeliveryId,
    record::delivery::{Delivery, State, Subject},
    store::DeliveryFilter,
};

use super::{
    page::{self, Page},
    webhooks::{CHANGING, key, named},
};
use crate::{
    app::Context,
    app::route::{Operation, Route},
    reply::{Failure, Reply},
};

pub(super) fn routes() -> Vec<Route> {
    let states = json!({"enum": State::ALL.map(State::as_str)});
    let listing = Operation::new("tools_list_deliveries", "List the messages to a subscriber")
        .query("status", states);
    let listing = page::query(listing)
        .answer(200, "A page of them, the newest first", page::schema("items", &schema()))
        .errors(&[400, 401, 403, 404, 429, 500, 503]);
    let replaying = Operation::new("tools_replay_delivery", "Send a message again")
        .answer(202, "It is on its way, under the same id", schema())
        .errors(CHANGING);
    let testing = Operation::new("tools_test_webhook", "Send a message that says nothing")
        .answer(202, "It is on its way", schema())
        .errors(CHANGING);
    let all = "/v1/webhooks/{webhook_id}/deliveries";
    let replay = "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay";
    let test = "/v1/webhooks/{webhook_id}/test";
    vec![
        Route::new(Method::GET, all, key(), listing, |cx| Box::pin(list(cx))),
        Route::new(Method::POST, replay, key(), replaying, |cx| Box::pin(send_again(cx))),
        Route::new(Method::POST, test, key(), testing, |cx| Box::pin(send_test(cx))),
    ]
}

/// The schema of a message to a subscriber.
pub(crate) fn schema() -> Value {
    let time = || json!({"type": ["string", "null"], "format": "date-time"});
    json!({
        "type": "object",
        "required": ["id", "event", "status", "attempts", "created_at"],
        "properties": {
            "id": {"type": "string", "description": "What the receiver sees as `webhook-id`."},
            "event": {"type": "string"},
            "execution_id": {"type": "string", "description": "The run that it is about."},
            "connection_id": {"type": "string", "description": "The connection that it is about."},
            "scheduled_job_id": {"type": "string", "description": "The scheduled job that it is about."},
            "status": {"enum": State::ALL.map(State::as_str)},
            "attempts": {"type": "integer", "minimum": 0},
            "response_status": {"type": ["integer", "null"]},
            "error": {"type": ["string", "null"], "description": "What went wrong last."},
            "created_at": {"type": "string", "format": "date-time"},
            "last_attempt_at": time(), "next_attempt_at": time(), "completed_at": time(),
        },
    })
}

/// A message to a subscriber, and what became of it.
pub(crate) fn shown(delivery: &Delivery) -> Value {
    let mut shown = json!({
        "id": delivery.id.to_string(),
        "event": delivery.event.as_str(),
        "status": delivery.state.as_str(),
        "attempts": delivery.attempts,
        "response_status": delivery.status,
        "error": delivery.error,
        "created_at": delivery.created_at.to_string(),
        "last_attempt_at": delivery.attempted_at.map(|at| at.to_string()),
        "next_attempt_at": delivery.due_at.map(|at| at.to_string()),
        "completed_at": delivery.ended_at.map(|at| at.to_string()),
    });
    match &delivery.subject {
        Subject::Run(id) => shown["execution_id"] = id.to_string().into(),
        Subject::Connection(facts) => shown["connection_id"] = facts.id.to_string().into(),
        Subject::Firing(facts) => shown["scheduled_job_id"] = facts.schedule.to_string().into(),
        Subject::Webhook(_) | Subject::Agent(_) => {}
    }
    shown
}

async fn list(cx: Context) -> Result<Reply, Failure> {
    let (id, bounds) = (named(&cx)?, page::bounds(&cx)?);
    let state = cx.query().one_of("status", State::parse, "waiting, delivered or dead")?;
    let limit = u32::try_from(bounds.limit).unwrap_or(u32::MAX);
    let filter = DeliveryFilter { state, limit, offset: bounds.offset };
    let found = cx.app.engine.webhooks().deliveries(cx.caller()?, id, &filter).await?;
    let (deliveries, total) = found;
    let has_more = bounds.offset.saturating_add(deliveries.len() as u64) < total;
    let page = Page { items: deliveries.iter().map(shown).collect(), total, bounds, has_more };
    Ok(Reply::json(StatusCode::OK, &page.named("items")))
}

async fn send_again(cx: Context) -> Result<Reply, Failure> {
    nothing_in(&cx)?;
    let unknown = || Error::not_found("there is no delivery with this id");
    let (id, message) = (named(&cx)?, DeliveryId::parse(cx.value(1)).ok_or_else(unknown)?);
    let delivery = cx.app.engine.webhooks().replay(cx.caller()?, id, message).await?;
    Ok(Reply::json(StatusCode::ACCEPTED, &shown(&delivery)))
}

async fn send_test(cx: Context) -> Result<Reply, Failure> {
    nothing_in(&cx)?;
    let delivery = cx.app.engine.webhooks().test(cx.caller()?, named(&cx)?).await?;
    Ok(Reply::json(StatusCode::ACCEPTED, &shown(&delivery)))
}

/// These routes take nothing: what stands in a body is refused like any unknown member.
fn nothing_in(cx: &Context) -> Result<(), Failure> {
    Ok(cx.members()?.end()?)
}
