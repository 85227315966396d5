//! Facts of a connection besides its credential: who fills them in, and when they are whole.

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::Connector;
use crate::{
    credential::{Field, field},
    error::{Detail, Error, Result},
    integration::Integration,
    record::connection::Fields,
};

impl Connector {
    /// Keeps what a person typed in about a connection before leaving for the provider.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) as [`Connector::open`];
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) naming each field that is missing or does
    /// not fit.
    pub async fn fill(&self, link: &SecretString, given: &Map<String, Value>) -> Result<()> {
        let flow = self.flow(link).await?;
        let integration = self.known(&flow.integration)?;
        let known = self.fields_of(&flow.connection).await?;
        let asked = missing(&*integration, &known);
        let found = facts_of(&asked, given)?;
        if found.is_empty() {
            return Ok(());
        }
        let mut connection = self.ensure(&flow, &*integration).await?;
        connection.fields.extend(found);
        connection.updated_at = self.clock.now();
        self.connections.update(&connection).await.map(drop)
    }
}

/// The fields that somebody still has to fill in: those that are neither known nor found out on
/// the way.
pub(super) fn missing(integration: &dyn Integration, known: &Fields) -> Vec<Field> {
    let auth = integration.auth();
    let fields = integration.fields().iter();
    fields.filter(|f| !known.contains_key(&f.name) && !auth.finds(&f.name)).cloned().collect()
}

/// Refuses to go on without what is required.
pub(super) fn check_whole(
    integration: &dyn Integration,
    known: &Fields,
    is_connected: bool,
) -> Result<()> {
    let auth = integration.auth();
    let lacking = integration.fields().iter().filter(|field| {
        let is_later = !is_connected && auth.finds(&field.name);
        field.is_required && !known.contains_key(&field.name) && !is_later
    });
    let issue = "expected a string, got nothing";
    let details = lacking.map(|field| Detail::new(&field.name, issue)).collect::<Vec<_>>();
    if details.is_empty() { Ok(()) } else { Err(refused(details)) }
}

/// Takes the facts out of what was given; the rest is the credential.
pub(super) fn split(
    integration: &dyn Integration,
    given: &Map<String, Value>,
) -> (Map<String, Value>, Map<String, Value>) {
    let fields = integration.fields();
    let pairs = given.clone().into_iter();
    pairs.partition(|(name, _)| fields.iter().any(|field| field.name == *name))
}

/// The facts that were given, with `is_all` the standard ones too.
pub(super) fn facts(
    integration: &dyn Integration,
    given: &Map<String, Value>,
    is_all: bool,
) -> Result<Fields> {
    let mut fields = integration.fields().to_vec();
    for field in &mut fields {
        // What is found out on the way may be given all the same.
        field.is_required &= !integration.auth().finds(&field.name);
    }
    field::check(&fields, given, is_all).map_err(refused)
}

/// The facts that a person was asked for.
pub(super) fn facts_of(asked: &[Field], given: &Map<String, Value>) -> Result<Fields> {
    field::check(asked, given, true).map_err(refused)
}

fn refused(details: Vec<Detail>) -> Error {
    let first = details.first().map(|detail| format!("`{}`: {}", detail.field, detail.issue));
    Error::invalid(first.unwrap_or_default()).details(details)
}
