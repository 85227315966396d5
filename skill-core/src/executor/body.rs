//! Inputs and outcomes as they are kept: sealed, and bound to their run.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Executor,
    replay::{self, Form, Kept},
};
use crate::{
    call::{CallRequest, Data, Known, Outcome},
    credential::seal::Binding,
    error::{Error, Result},
    id::ExecutionId,
    name::{ActionName, OwnerId},
    pages::Collect,
    record::Sealed,
};

/// Inputs as they are sealed. Version 1; members are only ever added.
#[derive(Deserialize)]
struct Read {
    params: Map<String, Value>,
    connection: Option<String>,
    timeout_ms: Option<u64>,
    /// Pages and items.
    #[serde(default)]
    collect: Option<(u32, u32)>,
}

#[derive(Serialize)]
struct Written<'a> {
    params: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collect: Option<(u32, u32)>,
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
            collect: call.collect.map(|collect| (collect.pages, collect.items)),
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
            collect: read.collect.map(|(pages, items)| Collect { pages, items }),
            known: Known::default(),
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

    /// Seals the outcome of a run; data of more than `most` bytes becomes an artifact first.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when artifacts cannot be kept.
    pub(crate) async fn keep_outcome(
        &self,
        (owner, id): (&OwnerId, ExecutionId),
        outcome: &Outcome,
        most: usize,
    ) -> Result<Sealed> {
        let Some((status, form, bytes)) = large(outcome, most) else {
            return self.seal_outcome(owner, id, outcome);
        };
        let artifact = Box::pin(self.artifacts.spill(owner, id, bytes)).await?;
        let text = replay::write_spilled(status, form, artifact)?;
        self.vault.seal(&text, &binding("outcome", owner, id))
    }

    /// Opens what [`Executor::keep_outcome`] sealed.
    pub(crate) fn open_outcome(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
        sealed: &Sealed,
    ) -> Result<Kept> {
        let text = self.vault.open(sealed, &binding("outcome", owner, id))?;
        replay::read_kept(text.expose_secret())
    }

    /// Opens it with its data, wherever that is.
    pub(crate) async fn whole_outcome(
        &self,
        owner: &OwnerId,
        id: ExecutionId,
        sealed: &Sealed,
    ) -> Result<Outcome> {
        let (status, form, artifact) = match self.open_outcome(owner, id, sealed)? {
            Kept::Whole(outcome) => return Ok(outcome),
            Kept::Spilled(status, form, artifact) => (status, form, artifact),
        };
        let mut bytes = BytesMut::new();
        while (bytes.len() as u64) < artifact.bytes {
            let from = bytes.len() as u64;
            let part = self.artifacts.read((owner, id), artifact, from, u32::MAX).await?;
            if part.is_empty() {
                return Err(Error::internal("an artifact is shorter than it was"));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(Outcome::Answer { status, data: form.data(bytes.freeze())? })
    }
}

/// What of an outcome is too large for a record.
fn large(outcome: &Outcome, most: usize) -> Option<(StatusCode, Form, Bytes)> {
    let Outcome::Answer { status, data } = outcome else { return None };
    let (form, bytes) = match data {
        Data::Empty => return None,
        Data::Json(bytes) => (Form::Json, bytes.clone()),
        Data::Text(text) if text.len() > most => (Form::Text, text.clone().into()),
        Data::Text(_) => return None,
        Data::Binary { content_type, bytes } => (Form::Binary(content_type.clone()), bytes.clone()),
    };
    (bytes.len() > most).then_some((*status, form, bytes))
}

pub(crate) fn binding(field: &str, owner: &OwnerId, id: ExecutionId) -> Binding {
    Binding::to(field, [owner.as_str(), id.to_string().as_str()])
}
