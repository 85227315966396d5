//! Tokens that the connection signs itself (RFC 7519): sent as they are, or exchanged for access,
//! as service accounts (RFC 7523) and GitHub's app installations do.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    accept_fields, credential_fields,
    key::{Algorithm, Key, jose},
    names::{Names, Values},
    names_of,
    placement::Placement,
    reading::Reading,
    request::{Node, Request},
};
use crate::{
    credential::{
        Answer, AuthScheme, Credential, Exchange, Field, Moment, Progress, Purpose, Step,
    },
    declaration::Table,
    error::{Error, Result},
    record::connection::Fields,
    template::Template,
    transport::Outgoing,
};

/// How the text of a shared key is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyText {
    Plain,
    Hex,
    Base64,
}

/// Signs tokens with a key of the connection.
#[derive(Debug, Clone)]
pub struct Jwt {
    algorithm: Algorithm,
    key: Template,
    key_text: KeyText,
    key_id: Option<Template>,
    claims: Node,
    lifetime: Duration,
    backdate: Duration,
    exchange: Option<(Request, Reading)>,
    placement: Placement,
    fields: Vec<Field>,
}

/// What the templates of claims may name besides the credential.
const MOMENT: [&str; 2] = ["moment.seconds", "moment.nonce"];

pub(super) fn declare(auth: &Table<'_>, fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    let own = credential_fields(auth, [Field::secret("private_key", "Private key (PEM)").lines()]);
    let names = Names::new(fields, &MOMENT).credential(names_of(&own));
    let key_text = match auth.text("key_encoding") {
        None | Some("text") => KeyText::Plain,
        Some("hex") => KeyText::Hex,
        Some("base64") => KeyText::Base64,
        Some(other) => {
            let expected = "`key_encoding`: expected `text`, `hex` or `base64`";
            auth.problem("key_encoding", format!("{expected}, got `{other}`"));
            return None;
        }
    };
    let claims = if auth.has("claims") { auth.json("claims")? } else { Value::Object(Map::new()) };
    let claims = Node::parse(claims, &names).map_err(|what| auth.problem("claims", what)).ok();
    let exchange = auth.table("exchange").map(|table| {
        let names = Names::new(fields, &["jwt"]).credential(names_of(&own));
        let request = Request::declare(&table, &names);
        let reading = Reading::declare(&table, fields);
        if reading.kept().all(|kept| kept != "access_token") {
            table.problem("keep", "expected `keep.access_token`: where the access stands");
        }
        table.end();
        Some((request?, reading))
    });
    let (signing, standard) = match &exchange {
        None => (Names::new(fields, &["jwt"]), "Bearer {jwt}"),
        Some(_) => (Names::new(fields, &[]), "Bearer {credential.access_token}"),
    };
    let signing = signing.credential(names_of(&own)).credential(["access_token"]);
    let seconds = |key, standard| Duration::from_secs(auth.count(key).map_or(standard, u64::from));
    let key = match auth.has("key") {
        true => names.template(auth, "key")?,
        false => Template::value(&format!("credential.{}", own.last()?.name)),
    };
    Some(Arc::new(Jwt {
        algorithm: Algorithm::declare(auth, "algorithm")?,
        key,
        key_text,
        key_id: names.template(auth, "key_id"),
        claims: claims?,
        lifetime: seconds("lifetime_s", 600),
        backdate: seconds("backdate_s", 0),
        exchange: match exchange {
            None => None,
            Some(declared) => Some(declared?),
        },
        placement: Placement::declare(auth, &signing, standard),
        fields: own,
    }))
}

impl Jwt {
    fn token(
        &self,
        credential: &Credential,
        fields: Option<&Fields>,
        at: &Moment,
    ) -> Result<String> {
        let (now, nonce) = (at.now.as_second(), data_encoding::HEXLOWER.encode(&at.nonce));
        let seconds = now.to_string();
        let others = [(MOMENT[0], seconds.as_str()), (MOMENT[1], nonce.as_str())];
        let values = Values { fields, client: None, credential, others: &others };
        let find = |name: &str| values.find(name);
        let mut claims = self.claims.fill(&find)?;
        if let Value::Object(claims) = &mut claims {
            let (backdate, lifetime) = (self.backdate.as_secs(), self.lifetime.as_secs());
            let issued = now.saturating_sub_unsigned(backdate);
            claims.insert("iat".to_owned(), issued.into());
            claims.insert("exp".to_owned(), now.saturating_add_unsigned(lifetime).into());
        }
        let key_id = self.key_id.as_ref().map(|id| id.fill(&find)).transpose()?;
        let header = jose(self.algorithm, key_id.as_ref().map(|id| id.as_str()));
        self.key(&self.key.fill(&find)?)?.jwt(&header, &claims)
    }

    fn key(&self, text: &str) -> Result<Key> {
        let unusable = || Error::invalid("the key of this connection cannot be used: reconnect it");
        match self.key_text {
            KeyText::Plain => Key::parse(self.algorithm, text),
            KeyText::Hex => {
                let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes());
                Key::shared(&bytes.map_err(|_| unusable())?)
            }
            KeyText::Base64 => Key::shared(&STANDARD.decode(text).map_err(|_| unusable())?),
        }
    }
}

impl AuthScheme for Jwt {
    fn kind(&self) -> &'static str {
        "jwt"
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// A key that cannot sign is refused. What is exchanged is asked for at once: until then the
    /// access is over.
    fn accept(&self, given: &Map<String, Value>) -> Result<Credential> {
        let credential = accept_fields(&self.fields, given)?;
        let values = Values { fields: None, client: None, credential: &credential, others: &[] };
        self.key(&self.key.fill(&|name| values.find(name))?)?;
        let expires_at = self.exchange.as_ref().map(|_| Timestamp::UNIX_EPOCH);
        Ok(Credential { expires_at, ..credential })
    }

    fn sign(&self, request: &mut Outgoing, credential: &Credential, at: &Moment) -> Result<()> {
        let token = match &self.exchange {
            None => self.token(credential, None, at)?,
            Some(_) => String::new(),
        };
        let others = [("jwt", token.as_str())];
        let values = Values { fields: None, client: None, credential, others: &others };
        self.placement.sign(request, &values)
    }

    fn is_renewable(&self, _: &Credential) -> bool {
        self.exchange.is_some()
    }

    fn finds(&self, field: &str) -> bool {
        let reading = self.exchange.as_ref().map(|(_, reading)| reading);
        reading.is_some_and(|reading| reading.captured().any(|known| known == field))
    }

    fn next(&self, exchange: &Exchange<'_>, last: Option<&Answer>) -> Result<Step> {
        let (Some((request, reading)), Purpose::Renew(known)) = (&self.exchange, exchange.purpose)
        else {
            return Ok(Step::Reconnect("this access cannot be renewed or taken back"));
        };
        if let Some(answer) = last {
            return reading.read(answer, exchange.at.now, &answer.after.credential);
        }
        let token = self.token(known, Some(exchange.fields), &exchange.at)?;
        let others = [("jwt", token.as_str())];
        let values = Values { others: &others, ..Values::of(exchange, known) };
        let request = request.fill(&|name| values.find(name))?;
        Ok(Step::Send(request, Progress { step: 0, credential: known.clone() }))
    }
}

#[cfg(test)]
mod tests;
