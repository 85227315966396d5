//! Connecting an account: the flow from a link to a stored grant, as a state machine.
//!
//! `begin` or a failed call makes a link. The page behind it leads to `depart` (a person goes to
//! the provider) and back through `arrive`, or to `submit` (a person types a key in). Programs that
//! have a credential already use `hand_over`. A link and a state work once; both are stored as
//! hashes; the state is bound to the browser that left.

mod client;
mod fields;
mod hand_over;
mod journey;
mod manage;
mod mend;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio_util::task::TaskTracker;
use url::Url;

use self::fields::{check_whole, facts, missing};
pub use self::{
    client::Tried,
    journey::{ConnectRequest, Leaving, Return, Visit},
    manage::Change,
};
use crate::{
    access::{Caller, Intent, Keys, authorize},
    apps::Apps,
    clock::{Clock, Deadline},
    connections::Connections,
    credential::{
        Credential, CredentialStore, Exchange, Moment, Purpose, Step, Vault, seal::Binding,
    },
    error::{Error, ErrorKind, Result},
    executor::{Executor, negotiate},
    id::{self, ConnectionId, FlowId},
    integration::Integration,
    link::{Errand, Links, hash, is_token, token},
    name::{OwnerId, Slug},
    record::{
        audit::{Actor, Entry},
        connection::{Connection, ConnectionRef, Fields, Status},
        flow::{Departure, Flow},
        scope::Scope,
    },
    store::Store,
};

/// How long a provider may take to send the person back.
const STATE: Duration = Duration::from_secs(600);
/// How long exchanging a code may take.
const EXCHANGE: Duration = Duration::from_secs(30);

/// Connects accounts. What has an effect at a provider goes on to its end even when nobody waits
/// for it any more.
#[derive(Clone)]
pub struct Connector {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) credentials: Arc<dyn CredentialStore>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) apps: Arc<Apps>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) links: Arc<Links>,
    pub(crate) executor: Arc<Executor>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where people may be sent whose owner has no list of its own.
    pub(crate) return_urls: BTreeSet<String>,
    pub(crate) tasks: TaskTracker,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// Begins: keeps a pending connection and makes the link to its page. One that is named is
    /// mended instead: it keeps its id, and works as before until the person has said yes.
    ///
    /// # Errors
    /// [`ErrorKind::ScopeMissing`], [`ErrorKind::NotFound`] for an unknown integration,
    /// [`ErrorKind::InvalidInput`] for a bad label or return URL, [`ErrorKind::Conflict`] when the
    /// label is taken, [`ErrorKind::PlanLimit`], and [`ErrorKind::Unavailable`] when the operator
    /// has set up no OAuth client.
    pub async fn begin(
        &self,
        caller: &Caller,
        wanted: ConnectRequest,
    ) -> Result<(Connection, Url)> {
        let integration = self.integration(caller, &wanted.integration)?;
        if let Some(url) = &wanted.return_url {
            self.check_return(&caller.owner, url).await?;
        }
        let connection = match &wanted.connection {
            Some(named) => self.to_mend(caller, &integration, (named, &wanted)).await?,
            None => {
                let label = wanted.label.clone();
                let mut connection = self.fresh(caller, &*integration, label).await?;
                connection.fields = facts(&*integration, &wanted.fields, false)?;
                self.choose_app(&mut connection, &*integration).await?;
                self.keep(&connection).await?;
                self.audit(caller.actor, &connection, "connection.created").await?;
                connection
            }
        };
        let errand = Errand {
            scopes: wanted.scopes,
            return_url: wanted.return_url,
            ..Errand::new(connection.at(), connection.integration.clone())
        };
        Ok((connection, self.links.make(errand).await?))
    }

    /// What the page behind a link shows.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the link is unknown, used or past its end.
    pub async fn open(&self, link: &SecretString) -> Result<Visit> {
        let flow = self.flow(link).await?;
        let integration = self.known(&flow.integration)?;
        let auth = integration.auth();
        let at = &flow.connection;
        let mut fields = missing(&*integration, &self.fields_of(at).await?);
        if !auth.asks_a_person() {
            fields.extend(auth.fields().iter().cloned());
        }
        Ok(Visit {
            integration: integration.info().name.clone(),
            owner: at.user.as_ref().map_or_else(|| at.owner.to_string(), ToString::to_string),
            leaves: auth.asks_a_person(),
            fields,
        })
    }

    /// Uses a link up: the person leaves for the provider.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] as [`Connector::open`]; [`ErrorKind::Unavailable`] when no OAuth
    /// client is set up; [`ErrorKind::InvalidInput`] when a fact is missing, see
    /// [`Connector::fill`].
    ///
    /// A browser that carries a token from an earlier flow keeps it, so that both can come back.
    pub async fn depart(
        &self,
        link: &SecretString,
        browser: Option<SecretString>,
    ) -> Result<Leaving> {
        let flow = self.flow(link).await?;
        let integration = self.known(&flow.integration)?;
        let mut connection = self.ensure(&flow, &*integration).await?;
        check_whole(&*integration, &connection.fields, false)?;
        if self.choose_app(&mut connection, &*integration).await? {
            self.connections.update(&connection).await?;
        }
        let client = self.apps.client(&connection.owner, &flow.integration, connection.app).await?;
        let browser = browser.filter(is_token).map_or_else(token, Ok)?;
        let (state, mut verifier) = (token()?, token()?);
        let challenge = Sha256::digest(verifier.expose_secret().as_bytes());
        let challenge = URL_SAFE_NO_PAD.encode(challenge);
        let mut exchange = Exchange {
            client: client.as_ref(),
            fields: &connection.fields,
            scopes: &flow.scopes,
            redirect_url: self.links.pages().callback.as_str(),
            purpose: Purpose::Authorize { state: state.expose_secret(), challenge: &challenge },
            at: self.moment()?,
        };
        if integration.auth().fetches_a_ticket() {
            verifier = self.ticket(&*integration, &exchange).await?;
            let (state, challenge) = (state.expose_secret(), verifier.expose_secret());
            exchange.purpose = Purpose::Authorize { state, challenge };
        }
        let url = integration.auth().authorize(&exchange)?;
        let url =
            url.ok_or_else(|| Error::invalid("this integration asks for a key, not a person"))?;
        let now = self.clock.now();
        let departure = Departure {
            state: hash(state.expose_secret()),
            browser: hash(browser.expose_secret()),
            verifier: self.vault.seal(verifier.expose_secret().as_bytes(), &verifier_of(&flow))?,
            issuer: integration.auth().issuer().map(str::to_owned),
            expires_at: now.checked_add(STATE).map_err(Error::internal)?,
        };
        if !self.store.depart(&flow.link, Some(&departure), now).await? {
            return Err(used());
        }
        Ok(Leaving { url, browser })
    }

    /// What a provider gives before it can be asked about a person.
    async fn ticket(
        &self,
        integration: &dyn Integration,
        exchange: &Exchange<'_>,
    ) -> Result<SecretString> {
        let transport = &*self.executor.transport;
        match negotiate(transport, integration, exchange, Deadline::after(EXCHANGE)).await? {
            Step::Done(credential) => credential.secret("ticket").map(SecretString::from),
            Step::Reconnect(_) | Step::Send(..) => {
                Err(Error::internal("a scheme that fetches a ticket fetched none"))
            }
        }
    }

    /// The person is back: exchanges the code for a grant and stores it. Returns the connection
    /// and where the person goes next.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the state is unknown, used, past its end or of another
    /// browser, when another issuer answers (RFC 9207), and when the person said no: nothing is
    /// sent to the token endpoint then. [`ErrorKind::UpstreamUnreachable`] when that gives nothing.
    pub async fn arrive(
        &self,
        back: &Return,
        browser: &SecretString,
    ) -> Result<(Connection, Option<String>)> {
        let (state, browser) = (hash(back.state.expose_secret()), hash(browser.expose_secret()));
        let left = self.store.arrive(&state, &browser, self.clock.now()).await?;
        let (flow, departure) = left.ok_or_else(|| {
            Error::invalid(
                "this sign-in is unknown, used, too old, or was begun in another browser",
            )
        })?;
        let integration = self.known(&flow.integration)?;
        let code = back.code(&departure, integration.auth());
        let (this, rest) = (self.clone(), back.rest.clone());
        // A code is good once: whatever comes for it is kept.
        self.unbroken(
            async move { this.land(flow, departure, code.map(|code| (code, rest))).await },
        )
        .await
    }

    async fn land(
        &self,
        flow: Flow,
        departure: Departure,
        code: Result<(SecretString, BTreeMap<String, String>)>,
    ) -> Result<(Connection, Option<String>)> {
        let integration = self.known(&flow.integration)?;
        let mut connection = self.ensure(&flow, &*integration).await?;
        let exchanged = match code {
            Ok(back) => self.exchange(&flow, &departure, &*integration, &connection, &back).await,
            Err(error) => Err(error),
        };
        let exchanged = exchanged.and_then(|mut credential| {
            connection.fields.extend(std::mem::take(&mut credential.facts));
            credential.facts.clone_from(&connection.fields);
            check_whole(&*integration, &connection.fields, true).map(|()| credential)
        });
        match exchanged {
            Ok(credential) => {
                let tried = self.executor.verify(&integration, &credential, &connection.fields);
                // Whose account it is, is good to know; the grant itself is good without.
                let account = tried.await.ok().flatten();
                let settled = self.settle(connection, &credential, account, Actor::Browser).await?;
                Ok((settled, flow.return_url))
            }
            Err(error) => {
                self.fail(connection, &error).await?;
                Err(error)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the five things that one exchange is about")]
    async fn exchange(
        &self,
        flow: &Flow,
        departure: &Departure,
        integration: &dyn Integration,
        connection: &Connection,
        (code, returned): &(SecretString, BTreeMap<String, String>),
    ) -> Result<Credential> {
        let verifier = self.vault.open(&departure.verifier, &verifier_of(flow))?;
        let client = self.apps.client(&connection.owner, &flow.integration, connection.app).await?;
        let exchange = Exchange {
            client: client.as_ref(),
            fields: &connection.fields,
            scopes: &flow.scopes,
            redirect_url: self.links.pages().callback.as_str(),
            purpose: Purpose::Code {
                code: code.expose_secret(),
                verifier: verifier.expose_secret(),
                returned,
            },
            at: self.moment()?,
        };
        let transport = &*self.executor.transport;
        match negotiate(transport, integration, &exchange, Deadline::after(EXCHANGE)).await? {
            Step::Done(credential) => Ok(credential),
            Step::Reconnect(_) => Err(Error::invalid("the service refused the sign-in: try again")),
            Step::Send(..) => Err(Error::internal("an exchange ended in the middle")),
        }
    }

    /// Does work that goes on when nobody waits for it any more.
    async fn unbroken<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.tasks.spawn(work).await.map_err(Error::internal)?
    }

    /// The integration, if the caller may use it.
    fn integration(&self, caller: &Caller, slug: &Slug) -> Result<Arc<dyn Integration>> {
        self.allow(caller, slug)?;
        let integration = self.known(slug)?;
        if integration.auth().needs_connection() {
            return Ok(integration);
        }
        Err(Error::invalid(format!("`{slug}` needs no connection: call it as it is")))
    }

    fn allow(&self, caller: &Caller, slug: &Slug) -> Result<()> {
        authorize(caller, &Intent { scope: Scope::Namespace(slug.clone()), class: None }).allowed()
    }

    fn known(&self, slug: &Slug) -> Result<Arc<dyn Integration>> {
        let found = self.executor.catalog.load().integration(slug).cloned();
        found.ok_or_else(|| Error::not_found(format!("there is no integration `{slug}`")))
    }

    async fn flow(&self, link: &SecretString) -> Result<Flow> {
        let found = self.store.flow_by_link(&hash(link.expose_secret()), self.clock.now()).await?;
        found.ok_or_else(used)
    }

    /// What is known of a connection, which need not exist yet.
    async fn fields_of(&self, at: &ConnectionRef) -> Result<Fields> {
        let known = self.store.connection(&at.owner, at.id).await?;
        Ok(known.map(|connection| connection.fields).unwrap_or_default())
    }

    /// A pending connection that is not kept yet.
    async fn fresh(
        &self,
        caller: &Caller,
        integration: &dyn Integration,
        label: Option<String>,
    ) -> Result<Connection> {
        let slug = &integration.info().slug;
        if let Some(label) = &label {
            self.check_label(caller, slug, label, None).await?;
        }
        let now = self.clock.now();
        let id = ConnectionId::fresh(now)?;
        let new = Connection::new(id, caller.owner.clone(), slug.clone(), now);
        Ok(Connection { user: caller.user.clone(), label, ..new })
    }

    async fn check_label(
        &self,
        caller: &Caller,
        slug: &Slug,
        label: &str,
        except: Option<ConnectionId>,
    ) -> Result<()> {
        let length = label.chars().count();
        if !(1..=200).contains(&length) || label.chars().any(char::is_control) {
            let issue = "expected 1 to 200 characters, none of them a control character";
            return Err(Error::invalid("the label cannot be used").detail("label", issue));
        }
        if ConnectionId::parse(label).is_some() {
            let issue = "expected a label that is no connection's id";
            return Err(Error::invalid("the label cannot be used").detail("label", issue));
        }
        let mine = self.connections.list(caller).await?;
        let is_taken = mine.iter().any(|other| {
            other.integration == *slug
                && other.label.as_deref() == Some(label)
                && Some(other.id) != except
        });
        if is_taken {
            let message = "another connection of this integration has this label";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Ok(())
    }

    async fn keep(&self, connection: &Connection) -> Result<()> {
        let most = self.keys.most_connections(&connection.owner).await?;
        self.connections.insert(connection, most).await
    }

    /// The connection of a flow; a link that a failed call made comes before its connection.
    async fn ensure(&self, flow: &Flow, integration: &dyn Integration) -> Result<Connection> {
        let at = &flow.connection;
        if let Some(known) = self.store.connection(&at.owner, at.id).await? {
            return Ok(known);
        }
        let new =
            Connection::new(at.id, at.owner.clone(), flow.integration.clone(), self.clock.now());
        let mut connection = Connection { user: at.user.clone(), ..new };
        self.choose_app(&mut connection, integration).await?;
        self.keep(&connection).await?;
        self.audit(Actor::Browser, &connection, "connection.created").await?;
        Ok(connection)
    }

    /// Stores the grant of a connection and marks it as usable. A person's fresh yes wins over
    /// whatever was there.
    async fn settle(
        &self,
        connection: Connection,
        credential: &Credential,
        account: Option<String>,
        actor: Actor,
    ) -> Result<Connection> {
        let at = connection.at();
        let mut connection = loop {
            let seen = match self.credentials.reload(&at).await {
                Ok(found) => found.map(|(_, revision)| revision),
                // What cannot be opened any more is replaced, not mended.
                Err(error) if error.kind() == ErrorKind::Internal => {
                    self.credentials.forget(&at).await?;
                    None
                }
                Err(error) => return Err(error),
            };
            let is_kept = self.credentials.replace(&at, credential, seen).await?;
            // Exchange and verification took their time: what was changed meanwhile stays.
            let current = self.store.connection(&at.owner, at.id).await?;
            let removed = || Error::not_found("the connection was removed meanwhile");
            let current = current.ok_or_else(removed)?;
            if is_kept {
                break current;
            }
        };
        connection.fields.extend(credential.facts.clone());
        connection.status = Status::Connected;
        connection.last_error = None;
        connection.expires_at = credential.expires_at;
        connection.rests_since = Some(self.clock.now());
        connection.scopes.clone_from(&credential.scopes);
        connection.account = account.or(connection.account);
        connection.updated_at = self.clock.now();
        self.connections.update(&connection).await?;
        self.executor.quotas.forget(connection.id);
        self.audit(actor, &connection, "connection.connected").await?;
        Ok(connection)
    }

    /// Notes that connecting failed. A connection that works stays as it is.
    async fn fail(&self, connection: Connection, error: &Error) -> Result<()> {
        let current = self.store.connection(&connection.owner, connection.id).await?;
        let Some(connection) = current else { return Ok(()) };
        let status = match connection.status {
            Status::Pending | Status::Error => Status::Error,
            kept @ (Status::Connected | Status::Expired) => kept,
        };
        let (last_error, updated_at) = (Some(error.message().to_owned()), self.clock.now());
        let failed = Connection { status, last_error, updated_at, ..connection };
        self.connections.update(&failed).await.map(drop)
    }

    async fn audit(&self, actor: Actor, connection: &Connection, event: &str) -> Result<()> {
        let entry = Entry::new(self.clock.now(), actor, connection.owner.clone());
        self.store.append_audit(&entry.event(event).target(connection.id)).await
    }

    fn moment(&self) -> Result<Moment> {
        Ok(Moment { now: self.clock.now(), nonce: id::random()? })
    }
}

fn verifier_of(flow: &Flow) -> Binding {
    verifier_binding(&flow.connection.owner, flow.id)
}

pub(crate) fn verifier_binding(owner: &OwnerId, flow: FlowId) -> Binding {
    Binding::to("verifier", [owner.as_str(), flow.to_string().as_str()])
}

fn used() -> Error {
    Error::not_found("this link is unknown, used, or too old: ask for a new one")
}
