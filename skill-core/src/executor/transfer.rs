//! Calls that carry a file, or whose answer is one: the stages of a call, with bodies that stream.

use http::{HeaderValue, StatusCode};
use url::Url;

use super::{
    Executor, NO_FIELDS,
    passage::{Pace, Passage, Way},
    quotas::Patience,
    recording::execution,
};
use crate::{
    access::{Admitted, Caller, Intent, authorize},
    call::{self, CallRequest},
    catalog::Operation,
    clock::Deadline,
    endpoint::File,
    error::{Error, Result},
    raw::Reply,
    record::scope::Scope,
    transport::{Outgoing, Response},
};

/// What came of a call whose answer is a file.
///
/// ```
/// use skill_core::executor::Download;
/// fn is_there(download: &Download) -> bool { matches!(download, Download::File(_)) }
/// ```
#[derive(Debug)]
pub enum Download {
    /// The file as it comes, or that the caller has it already (304). The run ends when the body has
    /// been read or dropped.
    File(Reply),
    /// Anything else that the service answers.
    Other(call::Reply),
}

impl Executor {
    /// Runs a call that carries `file`, which goes out as it comes. Whether the call makes sense is
    /// known before anything of a stream is read.
    ///
    /// It is sent once more where [`Executor::raw`] would send it once more: a file that streams is
    /// sent once, and a refusal of the access is the answer then; the next call goes out with what
    /// was renewed.
    ///
    /// # Errors
    /// As [`Executor::execute`]; [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an
    /// idempotency key and for `collect`, because what streams is not kept, and for an endpoint that
    /// takes no file.
    pub async fn upload(
        &self,
        admitted: &Admitted,
        call: CallRequest,
        file: File,
    ) -> Result<call::Reply> {
        let (action, mut passage) = self.set_out(admitted, &call).await?;
        let way = self.way(&call, &action);
        let caller = admitted.caller();
        match self.carry(caller, (call, Some(file)), (&action, &way), &mut passage).await {
            Ok((response, _)) => passage.whole(response, (&way, self.settings.answer_bytes)).await,
            Err(error) => Err(passage.fail(error)),
        }
    }

    /// Runs a call whose answer is read as it comes.
    ///
    /// # Errors
    /// As [`Executor::upload`].
    pub async fn download(&self, admitted: &Admitted, call: CallRequest) -> Result<Download> {
        let (action, mut passage) = self.set_out(admitted, &call).await?;
        let way = self.way(&call, &action);
        let caller = admitted.caller();
        match self.carry(caller, (call, None), (&action, &way), &mut passage).await {
            Ok((response, base)) if is_file(response.status) => {
                let method = &action.endpoint.info().method;
                Ok(Download::File(passage.reply((response, method), base, way.pace)))
            }
            Ok((response, _)) => {
                let bounds = (&way, self.settings.answer_bytes);
                passage.whole(response, bounds).await.map(Download::Other)
            }
            Err(error) => Err(passage.fail(error)),
        }
    }

    /// From the scope to the run's beginning.
    async fn set_out(
        &self,
        admitted: &Admitted,
        call: &CallRequest,
    ) -> Result<(Operation, Passage)> {
        let caller = admitted.caller();
        let scope = Scope::Action(call.action.clone());
        authorize(caller, &Intent { scope, class: None }).allowed()?;
        let action = self.find(&call.action)?;
        if let Some(per_minute) = action.endpoint.info().rate_limit {
            self.keys.admit_action(admitted, &call.action, per_minute).await?;
        }
        let run = execution(caller, &action, self.clock.now())?;
        let patience = self.deadline(call, &action).remaining();
        let passage = Passage::begin(self, run, patience).await?;
        Ok((action, passage))
    }

    fn way<'a>(&self, call: &CallRequest, action: &'a Operation) -> Way<'a> {
        let info = action.endpoint.info();
        Way {
            integration: &action.integration,
            endpoint: Some(&info.name),
            is_write: !info.method.is_safe(),
            may_repeat: info.may_repeat(true),
            deadline: Deadline::after(self.settings.transfer),
            pace: Pace::new(self.deadline(call, action).remaining()),
        }
    }

    /// From the schema to the head of the answer.
    async fn carry(
        &self,
        caller: &Caller,
        (mut call, file): (CallRequest, Option<File>),
        (action, way): (&Operation, &Way<'_>),
        passage: &mut Passage,
    ) -> Result<(Response, Url)> {
        let (endpoint, info) = (&action.endpoint, action.endpoint.info());
        if call.idempotency_key.is_some() || call.collect.is_some() {
            let message = "a call that carries a file, or is answered with one, is not kept: \
                           leave the idempotency key and `collect` out";
            return Err(Error::invalid(message));
        }
        info.schema.check_members(&mut call.params)?;
        let named = call.connection.as_deref();
        let connection = self.connection(caller, named, &*action.integration).await?;
        let run = &mut passage.execution;
        if let Some(connection) = &connection {
            (run.connection, run.app) = (Some(connection.id), connection.app);
            self.check(connection).await?;
        }
        let patience = Patience::Until(way.soon());
        passage.place = self.enter(way.called(), connection.as_deref(), patience).await?;
        let fields = connection.as_ref().map_or(&NO_FIELDS, |connection| &connection.fields);
        let key = passage.execution.id.to_string();
        let draft = match file {
            Some(file) => endpoint.upload(&call.params, fields, file.within(&key))?,
            None => endpoint.request(&call.params, fields)?,
        };
        let base = action.integration.base(fields)?;
        let (url, mut headers) = (draft.url(&base)?, draft.headers);
        if let Some(name) = &info.idempotency_header {
            headers.insert(name, HeaderValue::try_from(&key).map_err(Error::internal)?);
        }
        if info.method.is_safe() {
            call.known.ask(&mut headers);
        }
        let grant = self.grant(&action.integration, connection.as_deref(), way.soon()).await?;
        let body = way.pace.follow(draft.body);
        let request = Outgoing { method: info.method.clone(), url, headers, body };
        let at = (way, connection.as_deref());
        Ok((self.exchange(at, request, grant, &mut passage.execution).await?, base))
    }
}

/// Whether an answer is what was asked for. A redirect would send the caller somewhere else.
fn is_file(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::NOT_MODIFIED
}
