//! The raw door: the stages of a call around a request that a service's own client wrote.
//!
//! They stand in one function, [`Executor::raw`] and what it calls in order, and are those of
//! [`Executor::execute`] but for the schema. Bodies stream both ways: memory does not grow with
//! them.

use url::Url;

use super::{
    Executor, NO_FIELDS,
    passage::{Pace, Passage, Way},
    quotas::Patience,
    recording::begun,
};
use crate::{
    access::{Admitted, Caller, Intent, authorize},
    clock::Deadline,
    error::{Error, Result},
    name::{ActionName, Slug},
    raw::{self, Reply, Request},
    record::scope::Scope,
    transport::{Outgoing, Response, target},
};

impl Executor {
    /// Passes a request on to a service, of whoever was [`Admitted`]; takes the scope `slug/_raw`.
    ///
    /// It is sent once more after the access was renewed, and where the connection failed and a
    /// repeat is harmless; a body that streams is sent once. Everything else, a 429 too, is the
    /// client's to see. The run ends when the body of the answer has been read or dropped.
    ///
    /// # Errors
    /// As [`Executor::execute`]; [`NotFound`](crate::ErrorKind::NotFound) when the integration has no raw door.
    pub async fn raw(&self, admitted: &Admitted, request: Request) -> Result<Reply> {
        let caller = admitted.caller();
        let (class, method) = (raw::class(&request.method), request.method.clone());
        let action = ActionName { namespace: request.integration.clone(), name: Slug::raw() };
        let scope = Scope::Action(action.clone());
        authorize(caller, &Intent { scope, class: Some(class) }).allowed()?;
        let found = self.catalog.load().integration(&action.namespace).cloned();
        let integration = found.ok_or_else(|| no_door(&action.namespace))?;
        let patience = request.timeout.unwrap_or(self.settings.timeout);
        let patience = patience.min(self.settings.longest_timeout);
        let pace = Pace::new(patience);
        let run = begun(caller, action, (&"raw".into(), class), self.clock.now())?;
        let mut passage = Passage::begin(self, run, patience).await?;
        let way = Way {
            integration: &integration,
            endpoint: None,
            is_write: !method.is_safe(),
            may_repeat: method.is_idempotent(),
            deadline: Deadline::after(self.settings.transfer),
            pace: pace.clone(),
        };
        match self.pass(caller, request, way, &mut passage).await {
            Ok((response, base)) => Ok(passage.reply((response, &method), base, pace)),
            Err(error) => Err(passage.fail(error)),
        }
    }

    /// From the connection to the head of the answer.
    async fn pass(
        &self,
        caller: &Caller,
        request: Request,
        way: Way<'_>,
        passage: &mut Passage,
    ) -> Result<(Response, Url)> {
        let integration = way.integration;
        let named = request.connection.as_deref();
        let connection = self.connection(caller, named, &**integration).await?;
        let run = &mut passage.execution;
        if let Some(connection) = &connection {
            (run.connection, run.app) = (Some(connection.id), connection.app);
            self.check(connection).await?;
        }
        let patience = Patience::Until(way.soon());
        passage.place = self.enter(way.called(), connection.as_deref(), patience).await?;
        let fields = connection.as_ref().map_or(&NO_FIELDS, |connection| &connection.fields);
        let door = integration.raw(fields)?;
        let door = door.ok_or_else(|| no_door(&integration.info().slug))?;
        let url = target::verbatim(&door.base, &request.path, &request.query)?;
        let mut headers = door.onward(&request.headers);
        request.announce(&mut headers);
        let grant = self.grant(integration, connection.as_deref(), way.soon()).await?;
        let body = way.pace.follow(request.body);
        let request = Outgoing { method: request.method, url, headers, body };
        let at = (&way, connection.as_deref());
        let response = self.exchange(at, request, grant, &mut passage.execution).await?;
        Ok((response, door.base))
    }
}

fn no_door(slug: &Slug) -> Error {
    Error::not_found(format!("there is no raw door to `{slug}`: check the integration"))
}
