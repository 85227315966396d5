//! Where a credential stands in a request: headers and query parameters with templates.

use http::{HeaderName, header};

use super::names::{Names, Values};
use crate::{declaration::Table, error::Result, template::Template, transport::Outgoing};

/// Headers and query parameters that sign a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    headers: Vec<(HeaderName, Template)>,
    query: Vec<(String, Template)>,
}

impl Placement {
    pub(super) fn header(name: HeaderName, value: Template) -> Self {
        Self { headers: vec![(name, value)], query: Vec::new() }
    }

    pub(super) fn query(name: &str, value: Template) -> Self {
        Self { headers: Vec::new(), query: vec![(name.to_owned(), value)] }
    }

    /// Reads `headers` and `query`; without either, `Authorization` holds `standard`.
    pub(super) fn declare(auth: &Table<'_>, names: &Names<'_>, standard: &str) -> Self {
        let placement =
            Self { headers: names.headers(auth), query: names.templates(auth, "query") };
        if !placement.headers.is_empty() || !placement.query.is_empty() {
            return placement;
        }
        match Template::parse(standard) {
            Ok(standard) => Self::header(header::AUTHORIZATION, standard),
            Err(_) => placement,
        }
    }

    pub(super) fn sign(&self, request: &mut Outgoing, values: &Values<'_>) -> Result<()> {
        let find = |name: &str| values.find(name);
        for (name, value) in &self.headers {
            request.headers.insert(name, value.header(&find)?);
        }
        for (name, value) in &self.query {
            request.url.query_pairs_mut().append_pair(name, &value.fill(&find)?);
        }
        Ok(())
    }
}
