//! Path templates: `/repos/{owner}/{repo}/contents/{path...}`.

use std::collections::BTreeMap;

use crate::{
    error::Result,
    template::{Piece, Template},
    transport::target::Target,
};

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Text of the declaration.
    Literal(String),
    /// One value, between text of the declaration.
    One { before: String, name: String, after: String },
    /// A value whose slashes separate segments.
    Rest(String),
}

/// A path with places for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Segment>);

impl Path {
    /// Reads a template; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err(format!("`path`: expected a path that begins with `/`, got `{text}`"));
        };
        if inner.is_empty() {
            return Ok(Self(Vec::new()));
        }
        inner.split('/').map(segment).collect::<Result<_, _>>().map(Self)
    }

    /// The names of its values.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::One { name, .. } | Segment::Rest(name) => Some(name.as_str()),
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
        for segment in &self.0 {
            match segment {
                Segment::Literal(text) => target.literal(text),
                Segment::One { before, name, after } => {
                    let (parameter, value) = found(name)?;
                    target.surrounded(parameter, before, &value, after)?;
                }
                Segment::Rest(name) => {
                    let (parameter, value) = found(name)?;
                    target.segments(parameter, &value)?;
                }
            }
        }
        Ok(target)
    }
}

/// Reads one segment of a template.
fn segment(text: &str) -> Result<Segment, String> {
    let template = Template::parse(text).map_err(|what| format!("`path`: {what}"))?;
    let (mut before, mut after, mut value) = (String::new(), String::new(), None);
    for piece in template.pieces() {
        match piece {
            Piece::Literal(literal) if value.is_none() => before.push_str(literal),
            Piece::Literal(literal) => after.push_str(literal),
            Piece::Value(_) | Piece::Rest(_) if value.is_some() => {
                return Err(format!(
                    "`path`: expected one `{{parameter}}` per segment, got `{text}`"
                ));
            }
            Piece::Value(_) | Piece::Rest(_) => value = Some(piece),
            Piece::Made(_) => {
                return Err(format!("`path`: expected the name of a parameter, got `{text}`"));
            }
        }
    }
    match value {
        None if ["", ".", ".."].contains(&&*before) || before.contains(['}', '?', '#', '%']) => {
            Err(format!("`path`: the segment `{text}` cannot stand in a path"))
        }
        None => Ok(Segment::Literal(before)),
        Some(Piece::Rest(name)) if before.is_empty() && after.is_empty() => {
            Ok(Segment::Rest(name.clone()))
        }
        Some(Piece::Rest(_)) => {
            Err(format!("`path`: expected `{{name...}}` to be a whole segment, got `{text}`"))
        }
        Some(Piece::Value(name)) if name.contains('.') => {
            Err(format!("`path`: expected the name of a parameter, got `{{{name}}}`"))
        }
        Some(Piece::Value(name) | Piece::Literal(name)) => {
            Ok(Segment::One { before, name: name.clone(), after })
        }
        Some(Piece::Made(_)) => Err(format!("`path`: `{text}` cannot stand in a path")),
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
