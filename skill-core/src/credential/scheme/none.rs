//! No authentication: services that anybody may call.

use std::sync::Arc;

use crate::{
    credential::{AuthScheme, Credential, Field, Moment},
    declaration::Table,
    error::Result,
    transport::Outgoing,
};

/// Signs nothing and needs no connection.
///
/// ```
/// use skill_core::credential::{AuthScheme, scheme::NoAuth};
/// assert!(!NoAuth.needs_connection());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct NoAuth;

pub(super) fn declare(_auth: &Table<'_>, _fields: &[Field]) -> Option<Arc<dyn AuthScheme>> {
    Some(Arc::new(NoAuth))
}

impl AuthScheme for NoAuth {
    fn kind(&self) -> &'static str {
        "none"
    }

    fn needs_connection(&self) -> bool {
        false
    }

    fn fields(&self) -> &[Field] {
        &[]
    }

    fn sign(&self, _: &mut Outgoing, _: &Credential, _: &Moment) -> Result<()> {
        Ok(())
    }
}
