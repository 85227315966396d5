//! Where endpoints lie: under the base of their integration, or elsewhere on a host that it names.

use crate::{
    credential::{Field, field},
    declaration::Table,
    endpoint::Under,
    error::Result,
    record::connection::Fields,
    template::Address,
};

/// What lies under the base of an integration, or somewhere else.
#[derive(Debug)]
pub(super) enum Base {
    /// Another path on the host of the integration's base.
    Path(String),
    /// Another address, on one of the hosts that the declaration lists.
    Address(Address),
}

/// Reads the `base_url` of an integration.
pub(super) fn declare(top: &Table<'_>, fields: &[Field]) -> Option<Address> {
    read(top, top.required_text("base_url")?, fields)
}

fn read(table: &Table<'_>, text: &str, fields: &[Field]) -> Option<Address> {
    let address = field::address(text, fields).and_then(|address| match address.has_query() {
        true => Err(format!("expected a URL without a query, got `{text}`")),
        false => Ok(address),
    });
    address.map_err(|what| table.problem("base_url", format!("`base_url`: {what}"))).ok()
}

/// Reads a path on the host of the integration's base.
pub(super) fn path(table: &Table<'_>, key: &str) -> Option<String> {
    let path = table.text(key)?;
    let is_path = path.starts_with('/')
        && !path.contains(['?', '#', '%', '\\', '{', '}'])
        && !path.contains("//");
    if !is_path {
        table.problem(key, format!("`{key}`: expected a path such as `/`, got `{path}`"));
    }
    is_path.then(|| path.to_owned())
}

/// What endpoints may lie under.
pub(super) struct Hosts<'a> {
    fields: &'a [Field],
    /// That of the integration's base.
    own: String,
    others: Vec<String>,
}

impl<'a> Hosts<'a> {
    /// Reads `hosts`, the hosts besides that of `base`.
    pub(super) fn read(top: &Table<'_>, base: Option<&Address>, fields: &'a [Field]) -> Self {
        let others = top.texts("hosts").into_iter().map(str::to_owned).collect::<Vec<_>>();
        for host in &others {
            let is_label = |label: &str| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            };
            let is_host = host.contains('.') && host.split('.').all(is_label);
            if !is_host {
                top.problem("hosts", format!("`hosts`: expected a host, got `{host}`"));
            }
        }
        Self { fields, own: base.map(Address::host).unwrap_or_default(), others }
    }

    /// How people write the host of the integration's base.
    pub(super) fn own(&self) -> &str {
        &self.own
    }

    /// Reads the `base_url` of an endpoint: a credential goes with every request, so that it has to
    /// stay on a host that the declaration lists.
    pub(super) fn declare(&self, table: &Table<'_>) -> Option<Base> {
        let text = table.text("base_url")?;
        if text.starts_with('/') {
            return path(table, "base_url").map(Base::Path);
        }
        let address = read(table, text, self.fields)?;
        let host = address.host();
        if host != self.own && !self.others.contains(&host) {
            let what = format!("`base_url`: `{host}` is neither the host above nor one of `hosts`");
            table.problem("base_url", what);
            return None;
        }
        Some(Base::Address(address))
    }
}

impl Base {
    /// What requests of one connection lie under.
    pub(super) fn fill(&self, fields: &Fields) -> Result<Under> {
        let find = |name: &str| fields.get(name).map(String::as_str);
        match self {
            Self::Path(path) => Ok(Under::Path(path.clone())),
            Self::Address(address) => address.fill(&find).map(Under::Url),
        }
    }
}
