//! Path templates: `/repos/{owner}/{repo}/contents/{path...}`.

use std::collections::BTreeMap;

use crate::{error::Result, transport::target::Target};

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Text of the declaration.
    Literal(String),
    /// One value, between text of the declaration.
    One { before: String, name: String, after: String },
    /// A value whose slashes separate segments.
    Rest(String),
}

/// A path with places for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Piece>);

impl Path {
    /// Reads a template; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err(format!("`path`: expected a path that begins with `/`, got `{text}`"));
        };
        if inner.is_empty() {
            return Ok(Self(Vec::new()));
        }
        inner.split('/').map(piece).collect::<Result<_, _>>().map(Self)
    }

    /// The names of its values.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::One { name, .. } | Piece::Rest(name) => Some(name.as_str()),
        })
    }

    /// Fills the template. `values` has every name.
    pub(super) fn fill(&self, values: &BTreeMap<&str, (&str, String)>) -> Result<Target> {
        let mut target = Target::default();
        let found = |name: &str| {
            values.get(name).cloned().ok_or_else(|| {
                crate::Error::internal("a path parameter was not given").with("parameter", name)
            })
        };
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => target.literal(text),
                Piece::One { before, name, after } => {
                    let (parameter, value) = found(name)?;
                    target.surrounded(parameter, before, &value, after)?;
                }
                Piece::Rest(name) => {
                    let (parameter, value) = found(name)?;
                    target.segments(parameter, &value)?;
                }
            }
        }
        Ok(target)
    }
}

/// Reads one segment of a template.
fn piece(text: &str) -> Result<Piece, String> {
    let Some((before, rest)) = text.split_once('{') else {
        let odd =
            text.is_empty() || text == "." || text == ".." || text.contains(['}', '?', '#', '%']);
        return if odd {
            Err(format!("`path`: the segment `{text}` cannot stand in a path"))
        } else {
            Ok(Piece::Literal(text.to_owned()))
        };
    };
    let Some((name, after)) = rest.split_once('}') else {
        return Err(format!("`path`: expected `}}` after `{{{rest}`"));
    };
    if after.contains(['{', '}']) {
        return Err(format!("`path`: expected one `{{parameter}}` per segment, got `{text}`"));
    }
    match name.strip_suffix("...") {
        Some(name) if before.is_empty() && after.is_empty() => Ok(Piece::Rest(name.to_owned())),
        Some(_) => {
            Err(format!("`path`: expected `{{name...}}` to be a whole segment, got `{text}`"))
        }
        None => Ok(Piece::One { before: before.into(), name: name.into(), after: after.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_that_make_no_path_are_refused() {
        for text in ["", "x", "/a//b", "/{a", "/{a}{b}", "/x{a...}", "/..", "/a?b", "/%2e"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_template_is_filled_segment_by_segment() {
        let path = Path::parse("/v1/{id}.json/{path...}").unwrap();
        assert_eq!(path.names().collect::<Vec<_>>(), ["id", "path"]);
        let values =
            [("id", ("id", "a/b".to_owned())), ("path", ("path", "src/main.rs".to_owned()))];
        let target = path.fill(&values.into_iter().collect()).unwrap();
        let url = target.join(&"https://a.test".parse().unwrap()).unwrap();
        assert_eq!(url.as_str(), "https://a.test/v1/a%2Fb.json/src/main.rs");
    }
}
