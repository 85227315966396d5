//! Which endpoint of a declared integration a step means.

use std::{fmt, sync::Arc};

use super::site::{Origin, Site, Source};
use crate::{endpoint::Endpoint, integration::Integration, name::Slug};

/// An endpoint, and the integration that has it.
pub(super) struct Found {
    pub(super) integration: Arc<dyn Integration>,
    pub(super) endpoint: Arc<dyn Endpoint>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.integration.info().slug, self.endpoint.info().name)
    }
}

/// Finds an endpoint by `operationId`: its name, or `$sourceDescriptions.SOURCE.NAME`.
pub(super) fn by_id(site: &Site<'_>, text: &str) -> Result<Option<Found>, String> {
    let (source, name) = match text.strip_prefix("$sourceDescriptions.") {
        Some(rest) => site
            .source(rest)
            .ok_or_else(|| format!("`{text}`: there is no such source description"))?,
        None => {
            let is_other = |source: &&Source| !matches!(source.origin, Origin::Document(_));
            let mut sources = site.sources.iter().filter(is_other);
            match (sources.next(), sources.next()) {
                (Some(source), None) => (source, text),
                (None, _) => {
                    return Err(format!("`{text}`: no source description is of type openapi"));
                }
                (Some(_), Some(_)) => {
                    return Err(format!(
                        "`{text}`: with several source descriptions write \
                         `$sourceDescriptions.NAME.{text}`"
                    ));
                }
            }
        }
    };
    let Some(integration) = integration(source)? else { return Ok(None) };
    let endpoint = slug(name).and_then(|slug| integration.endpoint(slug.canonical()));
    match endpoint {
        Some(endpoint) => Ok(Some(Found { integration: integration.clone(), endpoint })),
        None => Err(format!(
            "the integration `{}` has no endpoint `{name}`: `skill catalog show {}` lists them",
            integration.info().slug,
            integration.info().slug,
        )),
    }
}

/// Finds an endpoint by `operationPath`: `{$sourceDescriptions.SOURCE.url}#/paths/~1a/get`.
pub(super) fn by_path(site: &Site<'_>, text: &str) -> Result<Option<Found>, String> {
    let expected = || {
        format!("expected `{{$sourceDescriptions.NAME.url}}#/paths/~1PATH/METHOD`, got `{text}`")
    };
    let (name, pointer) = text
        .strip_prefix("{$sourceDescriptions.")
        .and_then(|rest| rest.split_once(".url}#/paths/"))
        .ok_or_else(expected)?;
    let source = site.sources.iter().find(|source| source.name == name);
    let source = source.ok_or_else(|| format!("there is no source description `{name}`"))?;
    let (path, method) =
        pointer.split_once('/').ok_or_else(|| format!("{}: the method is missing", expected()))?;
    let path = path.replace("~1", "/").replace("~0", "~");
    let Some(integration) = integration(source)? else { return Ok(None) };
    let shape = shape(&path);
    let mut fitting = integration.endpoints().filter(|endpoint| {
        let info = endpoint.info();
        info.method.as_str().eq_ignore_ascii_case(method) && self::shape(&info.path) == shape
    });
    let slug = &integration.info().slug;
    match (fitting.next(), fitting.next()) {
        (Some(endpoint), None) => Ok(Some(Found { integration: integration.clone(), endpoint })),
        (None, _) => Err(format!(
            "no endpoint of the integration `{slug}` has the method `{method}` and the path `{path}`"
        )),
        (Some(one), Some(other)) => Err(format!(
            "several endpoints of the integration `{slug}` have this method and path: name one by \
             `operationId`, such as `{}` or `{}`",
            one.info().name,
            other.info().name,
        )),
    }
}

/// The integration of a source; `None` when it is none and that was noted.
fn integration(source: &Source) -> Result<Option<&Arc<dyn Integration>>, String> {
    match &source.origin {
        Origin::Integration(integration) => Ok(Some(integration)),
        Origin::Unknown => Ok(None),
        Origin::Document(_) => Err(format!(
            "the source description `{}` is an Arazzo document, which has workflows only: use \
             `workflowId`",
            source.name
        )),
    }
}

/// The name of an endpoint out of an `operationId`: as it is, or `findPets` as `find-pets`.
pub(super) fn slug(text: &str) -> Option<Slug> {
    let mut written = String::new();
    for (at, c) in text.char_indices() {
        let before = text[..at].chars().next_back();
        if c.is_ascii_uppercase()
            && before.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        {
            written.push('-');
        }
        written.push(c.to_ascii_lowercase());
    }
    Slug::parse(&written).ok()
}

/// A path without the names of its places.
fn shape(path: &str) -> String {
    let mut shape = String::new();
    let mut is_inside = false;
    for c in path.chars() {
        match c {
            '{' => is_inside = true,
            '}' => {
                is_inside = false;
                shape.push_str("{}");
            }
            _ if is_inside => {}
            _ => shape.push(c),
        }
    }
    shape
}
