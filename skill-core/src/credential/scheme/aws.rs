//! AWS Signature Version 4, by the crate that AWS's own SDK signs with.

use std::{sync::Arc, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4::SigningParams,
};
use aws_smithy_runtime_api::client::identity::Identity;
use http::{HeaderName, HeaderValue};

use super::{
    credential_fields,
    names::{Names, Values},
    names_of,
};
use crate::{
    credential::{AuthScheme, Credential, Field, Moment},
    declaration::Table,
    error::{Error, Result},
    template::Template,
    transport::{Outgoing, Payload},
};

/// Signs requests as AWS wants them.
#[derive(Debug, Clone)]
pub struct Aws {
    region: Template,
    service: String,
    /// Whether it signs as S3 wants it: the hash of the body in a header, the path as it is.
    is_s3: bool,
    fields: Vec<Field>,
}

pub(super) fn declare(auth: &Table<'_>, fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    let own = credential_fields(auth, standard());
    for name in ["access_key_id", "secret_access_key"] {
        if own.iter().all(|field| field.name != name) {
            auth.problem("fields", format!("expected a field `{name}`"));
        }
    }
    let names = Names::new(fields, &[]).credential(names_of(&own));
    for key in ["region", "service"] {
        auth.required_text(key);
    }
    Some(Arc::new(Aws {
        region: names.template(auth, "region")?,
        service: auth.text("service")?.to_owned(),
        is_s3: auth.flag("s3"),
        fields: own,
    }))
}

fn standard() -> [Field; 3] {
    [
        Field::plain("access_key_id", "Access key id"),
        Field::secret("secret_access_key", "Secret access key"),
        Field::secret("session_token", "Session token").optional(),
    ]
}

impl AuthScheme for Aws {
    fn kind(&self) -> &'static str {
        "aws"
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn sign(&self, request: &mut Outgoing, credential: &Credential, at: &Moment) -> Result<()> {
        let values = Values { fields: None, client: None, credential, others: &[] };
        let region = self.region.fill(&|name| values.find(name))?;
        let credentials = Credentials::new(
            credential.secret("access_key_id")?,
            credential.secret("secret_access_key")?,
            credential.find("session_token").map(str::to_owned),
            None,
            "connection",
        );
        let mut settings = SigningSettings::default();
        if self.is_s3 {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let identity = Identity::from(credentials);
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&region)
            .name(&self.service)
            .time(SystemTime::from(at.now))
            .settings(settings)
            .build()
            .map_err(Error::internal)?;
        let body = match &request.body {
            Payload::Empty => SignableBody::Bytes(&[]),
            Payload::Bytes(bytes) => SignableBody::Bytes(bytes),
            Payload::Stream(_) => {
                return Err(Error::invalid("this service takes no streamed body"));
            }
        };
        let headers = request.headers.iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable =
            SignableRequest::new(request.method.as_str(), request.url.as_str(), headers, body);
        let signed = sign(signable.map_err(Error::internal)?, &parameters.into());
        let (instructions, _) = signed.map_err(Error::internal)?.into_parts();
        let (headers, _) = instructions.into_parts();
        for header in headers {
            let mut value = HeaderValue::from_str(header.value()).map_err(Error::internal)?;
            value.set_sensitive(true);
            request.headers.insert(HeaderName::from_static(header.name()), value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
