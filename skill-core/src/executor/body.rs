//! Inputs and outcomes as they are kept: sealed, and bound to their run.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Executor, replay};
use crate::{
    call::{CallRequest, Outcome},
    credential::seal::Binding,
    error::{Error, Result},
    id::ExecutionId,
    name::{ActionName, OwnerId},
    record::Sealed,
};

/// Inputs as they are sealed. Version 1; members are only ever added.
#[derive(Deserialize)]
struct Read {
    params: Map<String, Value>,
    connection: Option<String>,
    timeout_ms: Option<u64>,
}

#[derive(Serialize)]
struct Written<'a> {
    params: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
}

impl Executor {
    /// Seals the inputs of a run.
    pub(crate) fn seal_input(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
        call: &CallRequest,
    ) -> Result<Sealed> {
        let timeout = call.timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
        let written = Written {
            params: &call.params,
            connection: call.connection.as_deref(),
            timeout_ms: timeout,
        };
        let text = serde_json::to_vec(&written).map_err(Error::internal)?;
        self.vault.seal(&text, &binding("input", owner, id))
    }

    /// Opens what [`Executor::seal_input`] sealed.
    pub(crate) fn open_input(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
        (action, sealed): (&ActionName, &Sealed),
    ) -> Result<CallRequest> {
        let text = self.vault.open(sealed, &binding("input", owner, id))?;
        let read: Read = serde_json::from_str(text.expose_secret())
            .map_err(|_| Error::internal("recorded inputs cannot be read"))?;
        Ok(CallRequest {
            action: action.clone(),
            params: read.params,
            connection: read.connection,
            idempotency_key: None,
            timeout: read.timeout_ms.map(Duration::from_millis),
            keeps_bodies: true,
        })
    }

    /// Seals the outcome of a run.
    pub(crate) fn seal_outcome(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
        outcome: &Outcome,
    ) -> Result<Sealed> {
        self.vault.seal(&replay::write(outcome)?, &binding("outcome", owner, id))
    }

    /// Opens what [`Executor::seal_outcome`] sealed.
    pub(crate) fn open_outcome(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
        sealed: &Sealed,
    ) -> Result<Outcome> {
        let text = self.vault.open(sealed, &binding("outcome", owner, id))?;
        replay::read(text.expose_secret())
    }
}

fn binding(field: &str, owner: &OwnerId, id: ExecutionId) -> Binding {
    Binding::to(field, [owner.as_str(), id.to_string().as_str()])
}
