//! Templates: text of a declaration with places for values.
//!
//! | Grammar | |
//! |---|---|
//! | template | text and places, in any order; `{{` and `}}` stand for braces |
//! | place | `{name}`, `{space.name}`, an expression of them, or `{name...}` for a value of several path segments |
//! | name, space | letters, digits, `_` and `-` |
//!
//! A template is parsed once, into a list; nothing is ever searched and replaced. A filled-in value
//! stays what the place makes it, whatever it holds: one label of a host, one segment of a path,
//! one value of a query, one line of a header ([`Address`], [`Template::header`]). A value is never
//! read as a template.

mod expression;

use http::HeaderValue;
use url::Url;
use zeroize::Zeroizing;

use self::expression::Expression;
use crate::{
    error::{Error, Result},
    transport::target::{self, LONGEST, Target},
};

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text of the declaration.
    Literal(String),
    /// A place for one value, by its name: `shop`, `credential.api_key`.
    Value(String),
    /// A place for a value whose slashes separate segments of a path.
    Rest(String),
    /// A place for what functions make of values.
    Made(Expression),
}

/// What stands in a place.
enum Filled<'a> {
    As(&'a str),
    Made(Zeroizing<String>),
}

impl Filled<'_> {
    fn text(&self) -> &str {
        match self {
            Self::As(text) => text,
            Self::Made(text) => text,
        }
    }
}

/// Text with places for values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Template(Vec<Piece>);

/// Finds the value of a name.
pub(crate) type Find<'f, 'v> = &'f dyn Fn(&str) -> Option<&'v str>;

impl Template {
    /// Reads a template; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after) = after.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let Some((name, after)) = after.split_once('}').filter(|_| brace == "{") else {
                return Err(format!("expected `{{name}}` with both braces in `{text}`"));
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(place(name)?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    /// A template that is one place.
    pub(crate) fn value(name: &str) -> Self {
        Self(vec![Piece::Value(name.to_owned())])
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The names of its places, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|piece| match piece {
            Piece::Literal(_) => Vec::new(),
            Piece::Value(name) | Piece::Rest(name) => vec![name.as_str()],
            Piece::Made(expression) => expression.names(),
        })
    }

    /// Whether it has no places.
    pub(crate) fn is_literal(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Literal(_)))
    }

    /// The text with every value in its place.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) naming the value that is missing.
    pub(crate) fn fill(&self, find: Find<'_, '_>) -> Result<Zeroizing<String>> {
        let found = self.0.iter().map(|piece| match piece {
            Piece::Literal(text) => Ok(Filled::As(text)),
            Piece::Value(name) | Piece::Rest(name) => found(find, name).map(Filled::As),
            Piece::Made(expression) => expression.fill(find).map(Filled::Made),
        });
        let parts = found.collect::<Result<Vec<_>>>()?;
        // Room enough that the text does not grow and leave copies behind.
        let length = parts.iter().map(|part| part.text().len()).sum();
        let mut text = Zeroizing::new(String::with_capacity(length));
        parts.iter().for_each(|part| text.push_str(part.text()));
        Ok(text)
    }

    /// The value of a header that no log shows: visible ASCII and inner spaces (RFC 9110 section
    /// 5.5, less the obsolete bytes).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when a value is missing or
    /// cannot stand in a header.
    pub(crate) fn header(&self, find: Find<'_, '_>) -> Result<HeaderValue> {
        let text = self.fill(find)?;
        let fits = text.len() <= LONGEST && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        let mut value = HeaderValue::from_str(&text)
            .ok()
            .filter(|_| fits)
            .ok_or_else(|| Error::invalid("a header cannot hold a value of this connection"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn place(text: &str) -> Result<Piece, String> {
    if is_name(text) {
        return Ok(Piece::Value(text.to_owned()));
    }
    if let Some(rest) = text.strip_suffix("...").filter(|rest| is_word(rest)) {
        return Ok(Piece::Rest(rest.to_owned()));
    }
    let made = Expression::parse(text).map(Piece::Made);
    made.map_err(|what| format!("`{{{text}}}` is no place: {what}"))
}

/// Whether it is `name` or `space.name`.
fn is_name(text: &str) -> bool {
    let (space, word) = text.split_once('.').unwrap_or(("space", text));
    is_word(space) && is_word(word)
}

fn is_word(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !text.is_empty() && text.chars().all(fits)
}

fn found<'v>(find: Find<'_, 'v>, name: &str) -> Result<&'v str> {
    let missing = || {
        let what = format!("the connection lacks `{name}`: reconnect it");
        Error::invalid(what).detail(name, "expected a value, got nothing")
    };
    find(name).ok_or_else(missing)
}

/// What may stand in a place of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostRule {
    /// One label, or a part of one: no dots.
    Label,
    /// One of these.
    OneOf(Vec<String>),
    /// A whole host that fits one of these patterns: `api.example.com`, or `*.example.com` for
    /// everything below it.
    Under(Vec<String>),
}

impl HostRule {
    fn allows(&self, value: &str) -> bool {
        let is_text = |c: char| c.is_ascii_alphanumeric() || c == '-';
        match self {
            Self::Label => (1..=63).contains(&value.len()) && value.chars().all(is_text),
            Self::OneOf(values) => values.iter().any(|known| known == value),
            Self::Under(patterns) => is_under(patterns, value),
        }
    }
}

/// Whether a host fits one of the patterns.
///
/// `*.` stands for one label or more; upper and lower case are alike.
pub(crate) fn is_under(patterns: &[String], host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let is_host = host.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    });
    is_host
        && patterns.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => {
                host.strip_suffix(parent).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))
            }
            None => host == *pattern,
        })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// The declaration has it all.
    Fixed(Url),
    /// A connection has a part of it.
    Open { scheme: String, host: Template, rules: Vec<(String, HostRule)>, port: Option<u16> },
}

/// An address with places: `https://{shop}.example.com/v1/{tenant}?region={region}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    origin: Origin,
    segments: Vec<Template>,
    query: Vec<(String, Template)>,
}

impl Address {
    /// Reads an address; `rule` says what may stand in a place of its host, `None` that nothing
    /// may. The error says what is wrong.
    pub(crate) fn parse(
        text: &str,
        rule: &dyn Fn(&str) -> Option<HostRule>,
    ) -> Result<Self, String> {
        let wrong = || format!("expected a URL without user and fragment, got `{text}`");
        if Template::parse(text)?.is_literal() {
            let url = Url::parse(text).ok().filter(is_plain).ok_or_else(wrong)?;
            return Ok(Self {
                origin: Origin::Fixed(url),
                segments: Vec::new(),
                query: Vec::new(),
            });
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if !matches!(scheme, "https" | "http") || authority.contains('@') || rest.contains('#') {
            return Err(wrong());
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let origin = origin(scheme, authority, rule)?;
        let path = path.strip_prefix('/').unwrap_or(path);
        let segments = path.split('/').filter(|part| !part.is_empty()).map(segment);
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((name.to_owned(), Template::parse(value)?))
        });
        Ok(Self {
            origin,
            segments: segments.collect::<Result<_, _>>()?,
            query: pairs.collect::<Result<_, String>>()?,
        })
    }

    /// The names of its places.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let host = match &self.origin {
            Origin::Fixed(_) => None,
            Origin::Open { host, .. } => Some(host),
        };
        let parts = host.into_iter().chain(&self.segments);
        parts.chain(self.query.iter().map(|(_, value)| value)).flat_map(Template::names)
    }

    /// Whether it has a query.
    pub(crate) fn has_query(&self) -> bool {
        match &self.origin {
            Origin::Fixed(url) => url.query().is_some(),
            Origin::Open { .. } => !self.query.is_empty(),
        }
    }

    /// How people write its host.
    pub(crate) fn host(&self) -> String {
        match &self.origin {
            Origin::Fixed(url) => url.host_str().unwrap_or_default().to_owned(),
            Origin::Open { host, .. } => {
                host.pieces().iter().fold(String::new(), |text, piece| match piece {
                    Piece::Literal(literal) => text + literal,
                    Piece::Value(name) | Piece::Rest(name) => format!("{text}{{{name}}}"),
                    Piece::Made(_) => text,
                })
            }
        }
    }

    /// The address with every value in its place.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when a value is missing, or
    /// could leave its place.
    pub(crate) fn fill(&self, find: Find<'_, '_>) -> Result<Url> {
        let base = match &self.origin {
            Origin::Fixed(url) => url.clone(),
            Origin::Open { scheme, host, rules, port } => {
                for (name, rule) in rules {
                    if !rule.allows(found(find, name)?) {
                        let what = format!("`{name}` of the connection cannot stand in an address");
                        return Err(Error::invalid(what).detail(name, "expected a part of a host"));
                    }
                }
                target::origin(scheme, &host.fill(find)?, *port)?
            }
        };
        if self.segments.is_empty() && self.query.is_empty() {
            return Ok(base);
        }
        let mut target = Target::default();
        for segment in &self.segments {
            let text = segment.fill(find)?;
            match segment.is_literal() {
                true => target.literal(&text),
                false => target.segment(segment.names().next().unwrap_or("path"), &text)?,
            }
        }
        for (name, value) in &self.query {
            target.query(name, value.fill(find)?.as_str());
        }
        target.join(&base)
    }
}

fn is_plain(url: &Url) -> bool {
    url.has_host()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && matches!(url.scheme(), "https" | "http")
}

fn origin(
    scheme: &str,
    authority: &str,
    rule: &dyn Fn(&str) -> Option<HostRule>,
) -> Result<Origin, String> {
    let host = Template::parse(authority)?;
    if host.is_literal() {
        let text = format!("{scheme}://{authority}");
        let url = Url::parse(&text).ok().filter(is_plain);
        return url.map(Origin::Fixed).ok_or_else(|| format!("`{authority}` is no host"));
    }
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) => {
            (name, Some(port.parse().map_err(|_| format!("`{port}` is no port"))?))
        }
        None => (authority, None),
    };
    let host = Template::parse(name)?;
    if host.pieces().iter().any(|piece| matches!(piece, Piece::Made(_))) {
        return Err(format!("`{name}`: expected a field of the connection in a host, no function"));
    }
    let mut rules = Vec::new();
    for name in host.names() {
        let rule = rule(name).ok_or_else(|| {
            format!("`{{{name}}}` cannot stand in a host: expected a field of the connection")
        })?;
        rules.push((name.to_owned(), rule));
    }
    check_parent(&host, &rules)?;
    Ok(Origin::Open { scheme: scheme.to_owned(), host, rules, port })
}

/// A place of one label stands below a domain that the declaration names.
fn check_parent(host: &Template, rules: &[(String, HostRule)]) -> Result<(), String> {
    let Some(Piece::Value(last)) = host.pieces().iter().rfind(|p| matches!(p, Piece::Value(_)))
    else {
        return Ok(());
    };
    let is_label = rules.iter().any(|(name, rule)| name == last && *rule == HostRule::Label);
    let parent = match host.pieces().last() {
        Some(Piece::Literal(text)) => text.split_once('.').map_or("", |(_, parent)| parent),
        _ => "",
    };
    if is_label && !parent.contains('.') {
        return Err(format!("`{{{last}}}`: expected a domain such as `.example.com` behind it"));
    }
    Ok(())
}

fn segment(text: &str) -> Result<Template, String> {
    let template = Template::parse(text)?;
    let is_odd = |piece: &Piece| match piece {
        Piece::Literal(text) => text.contains(['%', '\\', '?', '#']) || text == "." || text == "..",
        Piece::Value(_) | Piece::Made(_) => false,
        Piece::Rest(_) => true,
    };
    if template.pieces().iter().any(is_odd) {
        return Err(format!("the segment `{text}` cannot stand in an address"));
    }
    Ok(template)
}

#[cfg(test)]
mod tests;
