//! Trying a credential out.

use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;

use super::{
    Executor,
    recording::execution,
    send::{Grant, Prepared},
};
use crate::{
    access::Caller,
    call::CallRequest,
    catalog::Operation,
    clock::Deadline,
    credential::Credential,
    error::{Error, ErrorKind, Result},
    id::ExecutionId,
    integration::Integration,
    name::{ActionName, OwnerId, Slug},
    record::connection::{Fields, Revision},
};

impl Executor {
    /// Tries a credential out with the integration's verification call; returns whose it is.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the service refuses it, and
    /// [`ErrorKind::UpstreamUnreachable`] when it is in no state to say.
    pub(crate) async fn verify(
        &self,
        integration: &Arc<dyn Integration>,
        credential: &Credential,
        fields: &Fields,
    ) -> Result<Option<String>> {
        let Some(verification) = &integration.info().verification else { return Ok(None) };
        let tried = self.try_out(integration, &verification.endpoint, (credential, fields)).await?;
        let said = match &verification.profile {
            None => tried,
            // That the credential works is known by now, whatever it may look at.
            Some(profile) => {
                let asked = self.try_out(integration, profile, (credential, fields)).await;
                asked.ok().flatten()
            }
        };
        Ok(said.and_then(|said| match said.pointer(&verification.account) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
        }))
    }

    /// Calls an endpoint without parameters; what it answers, if that is JSON.
    async fn try_out(
        &self,
        integration: &Arc<dyn Integration>,
        endpoint: &Slug,
        (credential, fields): (&Credential, &Fields),
    ) -> Result<Option<Value>> {
        let namespace = integration.info().slug.clone();
        let name = ActionName { namespace, name: endpoint.clone() };
        let call = CallRequest::new(name.namespace.as_str(), name.name.as_str())?;
        let endpoint = integration
            .endpoint(name.name.canonical())
            .ok_or_else(|| Error::internal("a verification call names no endpoint"))?;
        let action = Operation { integration: integration.clone(), endpoint };
        let now = self.clock.now();
        let key = ExecutionId::fresh(now)?.to_string();
        let request = self.draft(&action, &call, fields, &key)?;
        let deadline = Deadline::after(self.settings.timeout);
        let (connection, may_repeat, gate) = (None, true, None);
        let action = &action;
        let prepared = Prepared { action, connection, request, may_repeat, deadline, gate };
        let caller = Caller::operator(OwnerId::standard());
        let mut run = execution(&caller, action, now)?;
        let (credential, revision) = (credential.clone(), Revision(0));
        let grant = Grant { credential, revision, is_fresh: false };
        let (status, _, data) = self.send(prepared, grant, &mut run).await?;
        let said = data.json().ok();
        // Some services say no with status 200.
        let is_refused = integration.says_expired(status, said.as_ref());
        check_verified(if is_refused { StatusCode::UNAUTHORIZED } else { status })?;
        Ok(said)
    }
}

/// Only a yes proves that a credential works: services refuse in many ways.
fn check_verified(status: StatusCode) -> Result<()> {
    if status.is_success() {
        return Ok(());
    }
    let is_busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    let error = if is_busy {
        let message = "the service cannot check these credentials at the moment: try again later";
        Error::new(ErrorKind::UpstreamUnreachable, message)
    } else {
        Error::invalid("the service refuses these credentials: check them")
    };
    Err(error.with("status", status))
}
