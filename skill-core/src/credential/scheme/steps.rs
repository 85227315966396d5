//! Logins of one or several requests that end in a session; when it ends, they are made again.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    accept_fields, credential_fields,
    names::{Names, Values, Words},
    names_of,
    placement::Placement,
    reading::Reading,
    request::Request,
};
use crate::{
    credential::{
        Answer, AuthScheme, Credential, Exchange, Field, Moment, Progress, Purpose, Step,
    },
    declaration::Table,
    error::{Error, Result},
    transport::Outgoing,
};

/// Logs in by declared requests.
#[derive(Debug, Clone)]
pub struct Steps {
    steps: Vec<(Request, Reading)>,
    placement: Placement,
    fields: Vec<Field>,
}

pub(super) fn declare(auth: &Table<'_>, fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    let standard = [Field::plain("username", "User name"), Field::secret("password", "Password")];
    let own = credential_fields(auth, standard);
    let mut names = Names::new(fields, &[]).credential(names_of(&own));
    let (mut steps, tables) = (Vec::new(), auth.tables("steps"));
    let count = tables.len();
    for table in tables {
        let request = Request::declare(&table, &names.clone().moment());
        let reading = Reading::declare(&table, fields);
        table.end();
        names = names.credential(reading.kept());
        steps.extend(request.map(|request| (request, reading)));
    }
    if count == 0 {
        auth.problem("steps", "expected `[[auth.steps]]`: the requests of the login");
    }
    let placement = Placement::declare(auth, &names, "Bearer {credential.access_token}");
    (steps.len() == count).then(|| Arc::new(Steps { steps, placement, fields: own }) as _)
}

impl Steps {
    fn step(&self, at: usize, exchange: &Exchange<'_>, credential: Credential) -> Result<Step> {
        let Some((request, _)) = self.steps.get(at) else { return Ok(Step::Done(credential)) };
        let words = Words::of(&exchange.at);
        let values = Values { others: &words.pairs(), ..Values::of(exchange, &credential) };
        let request = request.fill(&|name| values.find(name))?;
        Ok(Step::Send(request, Progress { step: at, credential }))
    }
}

impl AuthScheme for Steps {
    fn kind(&self) -> &'static str {
        "steps"
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The login is made at once: until then the session is over.
    fn accept(&self, given: &Map<String, Value>) -> Result<Credential> {
        let credential = accept_fields(&self.fields, given)?;
        Ok(Credential { expires_at: Some(Timestamp::UNIX_EPOCH), ..credential })
    }

    fn sign(&self, request: &mut Outgoing, credential: &Credential, _: &Moment) -> Result<()> {
        let values = Values { fields: None, client: None, credential, others: &[] };
        self.placement.sign(request, &values)
    }

    fn is_renewable(&self, _: &Credential) -> bool {
        true
    }

    fn finds(&self, field: &str) -> bool {
        self.steps.iter().any(|(_, reading)| reading.captured().any(|known| known == field))
    }

    fn next(&self, exchange: &Exchange<'_>, last: Option<&Answer>) -> Result<Step> {
        let Purpose::Renew(known) = exchange.purpose else {
            return Ok(Step::Reconnect("this session cannot be taken back at the service"));
        };
        let Some(answer) = last else {
            // A session that never ends has no time; the one before said when it would.
            let fresh = Credential { expires_at: None, lifetime: None, ..known.clone() };
            return self.step(0, exchange, fresh);
        };
        let at = answer.after.step;
        let no_step = || Error::internal("a step that there is not");
        let (_, reading) = self.steps.get(at).ok_or_else(no_step)?;
        match reading.read(answer, exchange.at.now, &answer.after.credential)? {
            Step::Done(credential) => self.step(at + 1, exchange, credential),
            end @ (Step::Send(..) | Step::Reconnect(_)) => Ok(end),
        }
    }
}

#[cfg(test)]
mod tests;
