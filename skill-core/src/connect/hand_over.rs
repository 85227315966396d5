//! Credentials that somebody has already: handed over by a program, or typed into a form.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{
    Connector, EXCHANGE,
    fields::{check_whole, facts, facts_of, missing, split},
    used,
};
use crate::{
    access::Caller,
    clock::Deadline,
    credential::{Credential, Exchange, Purpose, Step},
    error::{Error, Result},
    executor::negotiate,
    integration::Integration,
    name::Slug,
    record::{audit::Actor, connection::Connection},
};

impl Connector {
    /// Stores a credential that the caller has already, after the integration's verification call.
    /// Nothing is stored when that fails. Facts of the connection ([`Integration::fields`]) stand
    /// among what is given.
    ///
    /// # Errors
    /// As [`Connector::begin`], and [`InvalidInput`](crate::ErrorKind::InvalidInput) when the credential does not fit
    /// or the service refuses it.
    pub async fn hand_over(
        &self,
        caller: &Caller,
        slug: &Slug,
        given: &Map<String, Value>,
        label: Option<String>,
    ) -> Result<Connection> {
        let integration = self.integration(caller, slug)?;
        let (known, given) = split(&*integration, given);
        let known = facts(&*integration, &known, true)?;
        let mut credential = integration.auth().accept(&given)?;
        credential.facts.clone_from(&known);
        let mut connection = self.fresh(caller, &*integration, label).await?;
        connection.fields = known;
        connection.app = self.apps.standard(&caller.owner, slug).await?.map(|app| app.id);
        let (this, actor) = (self.clone(), caller.actor);
        // Trying an ended grant out renews it, which may end the one that was handed over.
        self.unbroken(async move {
            let (credential, account) = this.tried(&integration, &connection, credential).await?;
            connection.fields.extend(credential.facts.clone());
            check_whole(&*integration, &connection.fields, true)?;
            this.keep(&connection).await?;
            this.settle(connection, &credential, account, actor).await
        })
        .await
    }

    /// Gives the connection that `named` says another credential, after the same call; its id,
    /// label and facts stay, but for facts that are given. Nothing changes when the call fails.
    ///
    /// # Errors
    /// As [`Connector::hand_over`]; [`NotFound`](crate::ErrorKind::NotFound) when the caller has no
    /// such connection.
    pub async fn hand_over_again(
        &self,
        caller: &Caller,
        slug: &Slug,
        (named, given): (&str, &Map<String, Value>),
    ) -> Result<Connection> {
        let integration = self.integration(caller, slug)?;
        let (known, given) = split(&*integration, given);
        let known = facts(&*integration, &known, false)?;
        let mut credential = integration.auth().accept(&given)?;
        let mut connection = self.named(caller, slug, named).await?;
        connection.fields.extend(known);
        credential.facts.clone_from(&connection.fields);
        let (this, actor) = (self.clone(), caller.actor);
        self.unbroken(async move {
            let (credential, account) = this.tried(&integration, &connection, credential).await?;
            let mut fields = connection.fields.clone();
            fields.extend(credential.facts.clone());
            check_whole(&*integration, &fields, true)?;
            this.settle(connection, &credential, account, actor).await
        })
        .await
    }

    /// Uses a link up: the person typed a credential in. A refused one leaves the link usable.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) as [`Connector::open`]; [`InvalidInput`](crate::ErrorKind::InvalidInput) when the
    /// credential does not fit or the service refuses it.
    pub async fn submit(
        &self,
        link: &SecretString,
        given: &Map<String, Value>,
    ) -> Result<Connection> {
        let flow = self.flow(link).await?;
        let integration = self.known(&flow.integration)?;
        if integration.auth().asks_a_person() {
            return Err(Error::invalid("this integration asks a person, not for a key"));
        }
        let (known, given) = split(&*integration, given);
        let asked = missing(&*integration, &self.fields_of(&flow.connection).await?);
        let known = facts_of(&asked, &known)?;
        let mut credential = integration.auth().accept(&given)?;
        let mut connection = self.ensure(&flow, &*integration).await?;
        connection.fields.extend(known);
        check_whole(&*integration, &connection.fields, false)?;
        credential.facts.clone_from(&connection.fields);
        let (credential, account) = self.tried(&integration, &connection, credential).await?;
        let this = self.clone();
        // With the link used up there is no second try.
        self.unbroken(async move {
            if !this.store.depart(&flow.link, None, this.clock.now()).await? {
                return Err(used());
            }
            this.settle(connection, &credential, account, Actor::Browser).await
        })
        .await
    }

    /// Tries a handed-over credential out, renewing it once when it has ended.
    async fn tried(
        &self,
        integration: &Arc<dyn Integration>,
        connection: &Connection,
        credential: Credential,
    ) -> Result<(Credential, Option<String>)> {
        let auth = integration.auth();
        let has_ended = credential.is_over(self.clock.now(), Duration::ZERO);
        if !has_ended || !auth.is_renewable(&credential) {
            let account =
                self.executor.verify(integration, &credential, &connection.fields).await?;
            return Ok((credential, account));
        }
        let client =
            self.apps.client(&connection.owner, &connection.integration, connection.app).await?;
        let exchange = Exchange {
            client: client.as_ref(),
            fields: &connection.fields,
            scopes: &credential.scopes,
            redirect_url: "",
            purpose: Purpose::Renew(&credential),
            at: self.moment()?,
        };
        let transport = &*self.executor.transport;
        match negotiate(transport, &**integration, &exchange, Deadline::after(EXCHANGE)).await? {
            Step::Done(new) => {
                let mut fields = connection.fields.clone();
                fields.extend(new.facts.clone());
                let account = self.executor.verify(integration, &new, &fields).await?;
                Ok((new, account))
            }
            Step::Reconnect(_) | Step::Send(..) => {
                Err(Error::invalid("the service refuses these credentials: check them"))
            }
        }
    }
}
