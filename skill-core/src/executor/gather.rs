//! Gathering the pages of a list into one answer.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::{Executor, Sending, send::Answered};
use crate::{
    access::Caller,
    call::{CallRequest, Data},
    catalog::Operation,
    clock::Deadline,
    error::{Error, Result},
    pages::{Collect, Pages},
    record::execution::Execution,
};

/// What was gathered, as the text of a list without its brackets.
#[derive(Default)]
struct Gathered {
    text: BytesMut,
    items: u64,
    pages: u32,
    /// What asks for the page after these.
    next: Option<Map<String, Value>>,
    /// Why a page is missing that was asked for.
    stopped: Option<Value>,
}

impl Executor {
    /// The answer to a call: of one request, or gathered page by page when the call asks for that.
    /// The deadline is that of the call, and what was gathered by then is not lost.
    pub(super) async fn answer(
        &self,
        caller: &Caller,
        (call, deadline, sending): (&CallRequest, Deadline, Option<Sending<'_>>),
        action: &Operation,
        run: &mut Execution,
    ) -> Result<Answered> {
        let Some(collect) = call.collect else {
            return self.attempt(caller, (call, deadline, sending), action, run).await;
        };
        let pages = pages_of(collect, action)?;
        let (mut call, mut gathered) = (call.clone(), Gathered::default());
        loop {
            let how = (&call, deadline, sending);
            let answered = self.attempt(caller, how, action, run).await;
            let is_first = gathered.pages == 0;
            let (status, headers, data) = match answered {
                Ok(answered) if answered.0.is_success() => answered,
                Ok((status, ..)) if !is_first => {
                    gathered.stopped = Some(json!({"status": status.as_u16()}));
                    return Ok(gathered.answer());
                }
                Err(error) if !is_first => {
                    let why = json!({"error": error.kind().as_str(), "message": error.message()});
                    gathered.stopped = Some(why);
                    return Ok(gathered.answer());
                }
                // The first is what there is: it is handed out as it came.
                other => return other,
            };
            if !gathered.add(pages, (&headers, &data), &call.params) {
                return if is_first { Ok((status, headers, data)) } else { Ok(gathered.answer()) };
            }
            let is_enough = gathered.pages >= collect.pages
                || gathered.items >= collect.items.into()
                || gathered.text.len() >= self.settings.answer_bytes;
            match &gathered.next {
                Some(next) if !is_enough => call.params.clone_from(next),
                Some(_) | None => return Ok(gathered.answer()),
            }
        }
    }
}

impl Gathered {
    /// Adds a page; false when it is none.
    fn add(
        &mut self,
        pages: &Pages,
        (headers, data): (&HeaderMap, &Data),
        params: &Map<String, Value>,
    ) -> bool {
        let Data::Json(bytes) = data else { return false };
        let text = std::str::from_utf8(bytes).ok();
        let Some(page) = text.and_then(|text| pages.read(text, headers, params)) else {
            return false;
        };
        for item in &page.items {
            if self.items > 0 {
                self.text.extend_from_slice(b",");
            }
            self.text.extend_from_slice(item.get().as_bytes());
            self.items += 1;
        }
        self.pages += 1;
        self.next = page.next;
        true
    }

    /// `{"items":[…],"pages":3,"more":true,"next":{…}}`: the items as they came.
    fn answer(self) -> Answered {
        let mut rest = json!({"pages": self.pages, "more": self.next.is_some()});
        if let Some(next) = self.next {
            rest["next"] = Value::Object(next);
        }
        if let Some(stopped) = self.stopped {
            rest["stopped"] = stopped;
        }
        let rest = rest.to_string();
        let mut whole = BytesMut::with_capacity(self.text.len() + rest.len() + 16);
        whole.extend_from_slice(b"{\"items\":[");
        whole.extend_from_slice(&self.text);
        whole.extend_from_slice(b"],");
        // The other members, without the brace that opens them.
        whole.extend_from_slice(rest.get(1..).unwrap_or("}").as_bytes());
        (StatusCode::OK, HeaderMap::new(), Data::Json(Bytes::from(whole)))
    }
}

fn pages_of(collect: Collect, action: &Operation) -> Result<&Pages> {
    collect.check()?;
    action.endpoint.info().pages.as_ref().ok_or_else(|| {
        let issue = "the answers of this endpoint are not known to come in pages: leave it out";
        Error::invalid(format!("`collect`: {issue}")).detail("collect", issue)
    })
}
