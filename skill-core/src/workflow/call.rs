//! The calls of one step: one, or one for each item of a list.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Map, Value};

use super::{
    fill::Known,
    plan::{Body, Call, Made, Output, Step, Target},
    run::{Run, hold},
    scope::{Exchange, Frame, Scope},
};
use crate::{
    call::{CallRequest, Reply},
    error::{Error, ErrorKind, Result, Retry},
};

/// The most items that a step goes through.
const ITEMS: usize = 1_000;
/// The longest pause before a step, in seconds.
const PAUSE: f64 = 30.0 * 24.0 * 3600.0;
/// The most characters that an error repeats of what a service said.
const SAID: usize = 300;

/// The call for one item, or the only one.
#[derive(Debug)]
struct Row {
    locals: Map<String, Value>,
    exchange: Exchange,
    /// Why there is no answer.
    error: Option<Error>,
    is_good: bool,
}

/// What came of a step.
#[derive(Debug)]
pub(super) struct Tried {
    /// What it was done for; one that is nothing, when it goes through no list.
    items: Vec<Option<Value>>,
    /// The calls so far.
    rows: Vec<Option<Row>>,
    /// What the answer says went wrong.
    said: Option<String>,
}

impl Tried {
    /// The call that the step failed with.
    fn failed(&self) -> Option<&Row> {
        self.rows.iter().flatten().find(|row| !row.is_good)
    }

    /// Whether every call succeeded.
    pub(super) fn is_good(&self) -> bool {
        self.failed().is_none()
    }

    /// Whether nobody knows if the call took effect.
    pub(super) fn is_unknown(&self) -> bool {
        let error = self.failed().and_then(|row| row.error.as_ref());
        error.is_some_and(|error| error.kind() == ErrorKind::OutcomeUnknown)
    }

    /// The exchange that criteria are about: the one that failed, or the last one.
    pub(super) fn exchange(&self) -> Option<&Exchange> {
        let last = || self.rows.iter().flatten().next_back();
        self.failed().or_else(last).map(|row| &row.exchange)
    }

    /// The error that the run ends in, when nothing follows the failure.
    pub(super) fn error(mut self, frame: &Frame<'_>, step: &Step) -> Error {
        let failed = self.rows.iter_mut().flatten().find(|row| !row.is_good);
        let Some(row) = failed else {
            return Error::internal("a step that succeeded has no error");
        };
        if let Some(error) = row.error.take() {
            return error;
        }
        let exchange = Some(&row.exchange);
        let status = exchange.and_then(|exchange| exchange.status).unwrap_or_default();
        let mut message = format!("the step `{}` of `{}` failed: ", step.id, frame.workflow.id);
        let is_good = status.is_success();
        match (&step.target, is_good) {
            (Some(Target::Endpoint(call)), false) => {
                message.push_str(&format!("`{}` answered {}", call.action, status.as_u16()));
            }
            _ => message.push_str("the answer does not meet the success criteria"),
        }
        if let Some(said) = &self.said {
            message.push_str(&format!(": {said}"));
        }
        let error = Error::new(ErrorKind::ActionFailed, message);
        match &step.target {
            Some(Target::Endpoint(call)) if asks_again(status, call) => error.retry(Retry::Safe),
            _ => error,
        }
    }
}

/// Whether another attempt makes the call again.
fn asks_again(status: StatusCode, call: &Call) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
        StatusCode::REQUEST_TIMEOUT => call.may_repeat,
        _ => status.is_server_error() && call.may_repeat,
    }
}

impl<'a> Run<'a> {
    /// Does a step once and keeps its outputs; of one that was tried before, what did not succeed.
    pub(super) async fn once(
        &mut self,
        frame: &mut Frame<'a>,
        step: &'a Step,
        before: Option<Tried>,
    ) -> Result<Tried> {
        let (items, mut rows) = match before {
            Some(tried) => (tried.items, tried.rows),
            None => {
                self.pause(frame, step).await?;
                let items = self.items(frame, step)?;
                let rows = items.iter().map(|_| None).collect::<Vec<_>>();
                (items, rows)
            }
        };
        let is_open = |at: &usize| rows[*at].as_ref().is_none_or(|row: &Row| !row.is_good);
        let open = (0..items.len()).filter(is_open).collect::<Vec<_>>();
        let at_once = step.each.as_ref().map_or(1, |each| each.at_once);
        for batch in open.chunks(at_once) {
            let mut all = Vec::new();
            for item in batch.iter().map(|at| &items[*at]) {
                let name = step.each.as_ref().map(|each| each.name.clone());
                let mut locals = name.zip(item.clone()).into_iter().collect();
                self.make(frame, step, &mut locals)?;
                all.push(locals);
            }
            let mut done = self.batch(frame, step, all).await?;
            for row in &mut done {
                let scope = self.scope(frame, &row.locals, Some(&row.exchange));
                row.is_good = row.error.is_none() && is_good(step, &scope);
            }
            let has_failed = done.iter().any(|row| !row.is_good);
            for (at, row) in batch.iter().zip(done) {
                rows[*at] = Some(row);
            }
            if has_failed {
                break;
            }
        }
        self.keep(frame, step, Tried { items, rows, said: None })
    }

    /// What a step is done for.
    fn items(&self, frame: &Frame<'a>, step: &Step) -> Result<Vec<Option<Value>>> {
        let Some(each) = &step.each else { return Ok(vec![None]) };
        let locals = Map::new();
        let scope = self.scope(frame, &locals, None);
        let wrong =
            |kind, what: &str| Err(Error::new(kind, format!("the step `{}`: {what}", step.id)));
        match scope.find(&each.list).as_deref() {
            Some(Value::Array(items)) if items.len() <= ITEMS => {
                Ok(items.iter().cloned().map(Some).collect())
            }
            Some(Value::Array(_)) => {
                wrong(ErrorKind::TooLarge, "the list of `forEach` has more than 1000 items")
            }
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(_) => wrong(ErrorKind::ActionFailed, "expected a list for `forEach`"),
        }
    }

    /// Calls that all begin before one of them ends; workflows run one after another.
    async fn batch(
        &mut self,
        frame: &Frame<'a>,
        step: &'a Step,
        all: Vec<Map<String, Value>>,
    ) -> Result<Vec<Row>> {
        if let Some(Target::Workflow(index)) = step.target {
            let mut done = Vec::new();
            for locals in all {
                done.push(self.called(frame, (step, index), locals).await);
            }
            return Ok(done);
        }
        let prepared = all.into_iter().map(|locals| {
            let (exchange, request) = self.prepare(frame, step, &locals)?;
            Ok((locals, exchange, request))
        });
        let prepared = prepared.collect::<Result<Vec<_>>>()?;
        let context = &self.context;
        let calls = prepared.into_iter().map(|(locals, exchange, request)| async move {
            answered(locals, exchange, context.call(request).await)
        });
        Ok(join_all(calls).await)
    }

    /// Runs the workflow that a step calls.
    async fn called(
        &mut self,
        frame: &Frame<'a>,
        (step, index): (&'a Step, usize),
        locals: Map<String, Value>,
    ) -> Row {
        let parameters = self.given(frame, step, &locals);
        let inputs = parameters.iter();
        let inputs = inputs.map(|(_, name, value)| (name.clone(), value.clone())).collect();
        let mut exchange = Exchange { parameters, ..Exchange::default() };
        let error = match self.workflow(index, inputs).await {
            Ok(outputs) => {
                exchange.status = Some(StatusCode::OK);
                exchange.answer = Some(Value::Object(outputs));
                None
            }
            Err(error) => Some(error),
        };
        Row { locals, exchange, error, is_good: false }
    }

    async fn pause(&self, frame: &Frame<'a>, step: &Step) -> Result<()> {
        let Some(sleep) = &step.sleep else { return Ok(()) };
        let seconds = sleep.fill(&self.scope(frame, &Map::new(), None));
        let seconds = seconds.as_ref().and_then(Value::as_f64);
        let time =
            seconds.map(|seconds| std::time::Duration::try_from_secs_f64(seconds.min(PAUSE)));
        match time {
            Some(Ok(time)) => self.context.sleep(time).await,
            Some(Err(_)) | None => {
                let message =
                    format!("the step `{}`: expected a number of seconds for `sleep`", step.id);
                Err(Error::invalid(message))
            }
        }
    }

    /// Makes the values that the step names before its call.
    fn make(&self, frame: &Frame<'a>, step: &Step, locals: &mut Map<String, Value>) -> Result<()> {
        for (name, made) in &step.values {
            let value = made.make(&self.scope(frame, locals, None))?;
            locals.extend(value.map(|value| (name.clone(), value)));
        }
        Ok(())
    }

    fn given(
        &self,
        frame: &Frame<'a>,
        step: &Step,
        locals: &Map<String, Value>,
    ) -> Vec<(Option<String>, String, Value)> {
        let scope = self.scope(frame, locals, None);
        let given = step.parameters.iter().filter_map(|parameter| {
            let value = parameter.value.fill(&scope)?;
            Some((parameter.place.clone(), parameter.name.clone(), value))
        });
        given.collect()
    }

    /// The call of an endpoint.
    fn prepare(
        &self,
        frame: &Frame<'a>,
        step: &Step,
        locals: &Map<String, Value>,
    ) -> Result<(Exchange, CallRequest)> {
        let Some(Target::Endpoint(call)) = &step.target else {
            return Err(Error::internal("a step calls nothing"));
        };
        let scope = self.scope(frame, locals, None);
        let parameters = self.given(frame, step, locals);
        let body = step.body.as_ref().and_then(|body| body.fill(&scope));
        let mut params = body.as_ref().map_or(Ok(Map::new()), |body| call.body(step, body))?;
        params.extend(parameters.iter().map(|(_, name, value)| (name.clone(), value.clone())));
        let connection = step.connection.as_ref().and_then(|value| value.fill(&scope));
        let connection = match connection {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                let message = format!("the step `{}`: expected text for `connection`", step.id);
                return Err(Error::invalid(message));
            }
        };
        let mut request =
            CallRequest::new(call.action.namespace.as_str(), call.action.name.as_str())?;
        (request.params, request.connection) = (params, connection);
        let method = Some(Value::String(call.method.as_str().to_owned()));
        Ok((Exchange { method, parameters, body, ..Exchange::default() }, request))
    }

    /// Keeps the outputs of a step.
    fn keep(&self, frame: &mut Frame<'a>, step: &'a Step, mut tried: Tried) -> Result<Tried> {
        let mut all = Vec::new();
        for row in tried.rows.iter().flatten().filter(|row| row.error.is_none()) {
            let scope = self.scope(frame, &row.locals, Some(&row.exchange));
            all.push(outputs(step, &scope, row.is_good)?);
        }
        tried.said = tried.failed().zip(step.error.as_ref()).and_then(|(row, error)| {
            let scope = self.scope(frame, &row.locals, Some(&row.exchange));
            scope.find(error).and_then(|words| excerpt(&words))
        });
        let kept =
            if step.each.is_some() { columns(step, all) } else { all.pop().unwrap_or_default() };
        frame.steps.insert(step.id.as_str(), kept);
        Ok(tried)
    }
}

/// Whether an answer is what the step wants.
fn is_good(step: &Step, scope: &Scope<'_>) -> bool {
    match step.success.as_slice() {
        [] => scope.exchange.and_then(|e| e.status).is_some_and(|status| status.is_success()),
        criteria => hold(criteria, scope),
    }
}

/// The outputs of one exchange. What a function cannot make of an answer that is not good is left
/// out.
fn outputs(step: &Step, scope: &Scope<'_>, is_good: bool) -> Result<Map<String, Value>> {
    let mut made = Map::new();
    for (name, output) in &step.outputs {
        let value = match output {
            Output::Value(expression) => scope.find(expression).map(std::borrow::Cow::into_owned),
            Output::Made(function) => match function.make(scope) {
                Ok(value) => value,
                Err(_) if !is_good => None,
                Err(error) => return Err(error),
            },
        };
        made.extend(value.map(|value| (name.clone(), value)));
    }
    Ok(made)
}

/// One list for each output.
fn columns(step: &Step, mut rows: Vec<Map<String, Value>>) -> Map<String, Value> {
    let column = |name: &String| {
        let values = rows.iter_mut().map(|row| row.remove(name).unwrap_or_default());
        (name.clone(), Value::Array(values.collect()))
    };
    step.outputs.iter().map(|(name, _)| name).map(column).collect()
}

fn excerpt(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    Some(plain.take(SAID).collect())
}

fn answered(locals: Map<String, Value>, exchange: Exchange, reply: Result<Reply>) -> Row {
    let (exchange, error) = match reply {
        Ok(reply) => {
            let (status, answer) = (Some(reply.status), reply.data.json().ok());
            (Exchange { status, answer, headers: reply.headers, ..exchange }, None)
        }
        Err(error) => (exchange, Some(error)),
    };
    Row { locals, exchange, error, is_good: false }
}

impl Made {
    fn make(&self, known: &dyn Known) -> Result<Option<Value>> {
        self.function.call(self.with.fill(known))
    }
}

impl Body {
    fn fill(&self, known: &dyn Known) -> Option<Value> {
        let mut payload = self.payload.fill(known)?;
        for (target, value) in &self.replacements {
            if let Some(value) = value.fill(known) {
                put(&mut payload, target, value);
            }
        }
        Some(payload)
    }
}

/// Puts a value where a pointer leads; its last member may be a new one.
fn put(payload: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = payload.pointer_mut(pointer) {
        *place = value;
        return;
    }
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    let name = name.replace("~1", "/").replace("~0", "~");
    match payload.pointer_mut(parent) {
        Some(Value::Object(members)) => _ = members.insert(name, value),
        Some(Value::Array(items)) if name == "-" => items.push(value),
        Some(_) | None => {}
    }
}

impl Call {
    /// The parameters that a payload is.
    fn body(&self, step: &Step, payload: &Value) -> Result<Map<String, Value>> {
        if let Some(whole) = &self.whole {
            return Ok(Map::from_iter([(whole.clone(), payload.clone())]));
        }
        let wrong =
            |what: String| Err(Error::invalid(format!("the body of step `{}`: {what}", step.id)));
        let Value::Object(members) = payload else {
            return wrong("expected an object".to_owned());
        };
        match members.keys().find(|name| !self.members.contains(name)) {
            Some(name) => wrong(format!("`{}` has no `{name}`", self.action)),
            None => Ok(members.clone()),
        }
    }
}
