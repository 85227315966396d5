//! `/healthz`, `/readyz` and `/metrics`.

use http::{Method, StatusCode};
use serde_json::json;

use crate::{
    app::Context,
    app::route::{Access, Operation, Route},
    reply::{Failure, Reply},
};

/// The routes of whoever watches the server.
pub(crate) fn routes() -> Vec<Route> {
    let status = || json!({"type": "object", "properties": {"status": {"const": "ok"}}});
    let alive =
        Operation::new("healthz", "Tell that the process answers").answer(200, "It does", status());
    let ready = Operation::new("readyz", "Tell that calls can be served")
        .answer(200, "They can", status())
        .errors(&[503]);
    let figures =
        Operation::new("metrics", "Figures for Prometheus, for this machine or the admin")
            .answer(200, "The text format", json!({"type": "string"}))
            .errors(&[401]);
    vec![
        Route::new(Method::GET, "/healthz", Access::Open, alive, |_| Box::pin(async { Ok(ok()) })),
        Route::new(Method::GET, "/readyz", Access::Open, ready, |cx| Box::pin(is_ready(cx))),
        Route::new(Method::GET, "/metrics", Access::Monitor, figures, |cx| {
            Box::pin(async move { Ok(metrics(&cx)) })
        }),
    ]
}

fn ok() -> Reply {
    Reply::json(StatusCode::OK, &json!({"status": "ok"}))
}

async fn is_ready(cx: Context) -> Result<Reply, Failure> {
    cx.app.ready().await?;
    Ok(ok())
}

fn metrics(cx: &Context) -> Reply {
    let text = "text/plain; version=0.0.4; charset=utf-8";
    Reply::text(StatusCode::OK, cx.app.metrics.render()).with(http::header::CONTENT_TYPE, text)
}
