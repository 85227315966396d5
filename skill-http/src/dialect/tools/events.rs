//! `GET /v1/executions/{id}/events`: a run while it goes on, as server-sent events.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::Method;
use serde_json::json;
use skill_core::{queue::Watch, record::execution::Execution};
use tokio::time::timeout;

use super::executions::{READING, find, full, row};
use crate::{
    app::Context,
    app::{
        route::{Access, Operation, Route},
        streams::Place,
    },
    reply::{Failure, Pieces, Reply},
};

pub(super) fn routes() -> Vec<Route> {
    let schema = json!({
        "type": "string",
        "contentMediaType": "text/event-stream",
        "description": "Events `progress` while the run goes on, then one `end`. The data of each \
                        is the run as JSON; the first comes at once.",
    });
    let operation = Operation::new("execution_events", "Follow a run until it ends")
        .header("Last-Event-ID", json!({"type": "string", "description": "Changes nothing."}))
        .answer(200, "Server-sent events", schema)
        .errors(READING);
    let path = "/v1/executions/{execution_id}/events";
    vec![Route::new(Method::GET, path, Access::Key(None), operation, |cx| Box::pin(follow(cx)))]
}

/// One stream that is open.
struct Following {
    cx: Context,
    watch: Watch,
    _place: Place,
}

async fn follow(cx: Context) -> Result<Reply, Failure> {
    let id = find(&cx).await?.id;
    let place = cx.app.events.open(&cx.caller()?.owner)?;
    let watch = cx.app.engine.runs().watch(cx.caller()?, id).await?;
    let following = Following { cx, watch, _place: place };
    let events =
        stream::unfold(Some(following), |following| async move { following?.next().await });
    Ok(Reply::events(Box::pin(events)))
}

impl Following {
    /// What is sent next, and the stream as long as something follows. It is asked when the reader
    /// has room: a slow one sees fewer changes, and keeps nothing in memory.
    async fn next(mut self) -> Option<(Bytes, Option<Self>)> {
        if !self.is_welcome().await {
            return Some((comment("the key ended"), None));
        }
        let stopping = self.cx.app.stopping.clone();
        let change = timeout(self.cx.app.events_keep_alive, self.watch.next());
        match stopping.run_until_cancelled(change).await {
            // Whoever reads comes again.
            None => Some((comment("the server stops"), None)),
            Some(Err(_)) => Some((comment("still here"), Some(self))),
            Some(Ok(Ok(Some(run)))) if run.state.is_final() => {
                Some((event("end", &self.outcome(&run).await), None))
            }
            Some(Ok(Ok(Some(run)))) => Some((event("progress", &self.shown(&run)), Some(self))),
            Some(Ok(Ok(None) | Err(_))) => None,
        }
    }

    /// Whether the key that opened the stream still opens anything.
    async fn is_welcome(&self) -> bool {
        let (Ok(caller), engine) = (self.cx.caller(), &self.cx.app.engine) else { return false };
        let is_over = caller.until.is_some_and(|end| end <= engine.clock().now());
        !is_over && engine.keys().resume(caller.clone()).await.is_ok()
    }

    fn shown(&self, run: &Execution) -> Pieces {
        row(run, &self.cx.app.engine.catalog()).to_string().into_bytes().into()
    }

    /// A run that ended, with its outcome; without it when that cannot be read now.
    async fn outcome(&self, run: &Execution) -> Pieces {
        let Ok(caller) = self.cx.caller() else { return self.shown(run) };
        match self.cx.app.engine.runs().get(caller, run.id).await {
            Ok(run) => full(&self.cx, &run),
            Err(_) => self.shown(run),
        }
    }
}

fn comment(text: &str) -> Bytes {
    format!(": {text}\n\n").into()
}

/// An event. A line of its data ends where the text has one.
fn event(name: &str, data: &Pieces) -> Bytes {
    let mut text = BytesMut::from(format!("event: {name}\ndata: ").as_bytes());
    for byte in data.iter().flat_map(|piece| piece.iter().copied()) {
        match byte {
            b'\n' => text.put_slice(b"\ndata: "),
            // In JSON it stands between tokens only, and would end a line too.
            b'\r' => {}
            byte => text.put_u8(byte),
        }
    }
    text.put_slice(b"\n\n");
    text.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_in_the_data_begins_another_line_of_data() {
        let data = [Bytes::from("{\r\n\"a\":"), Bytes::from("1}")].into_iter().collect();
        assert_eq!(event("end", &data), "event: end\ndata: {\ndata: \"a\":1}\n\n");
    }
}
