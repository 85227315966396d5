//! The catalogue: every action there is, as an immutable snapshot.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    endpoint::Endpoint,
    error::{Detail, Error, Result},
    integration::Integration,
    name::{ActionName, Slug, Version},
    schema::Schema,
    skill::Skill,
};

/// Words that are scopes of management: an integration of that name would share its scope.
const MANAGEMENT: &[&str] = &["conversations", "keys", "memory", "scheduler", "webhooks"];

/// Every action there is. It is never edited: a changed catalogue is built anew and swapped whole.
///
/// ```
/// use skill_core::catalog::Catalog;
/// let catalog = Catalog::build(skill_core::integration::bundled(&Default::default()).unwrap(), [])?;
/// assert!(catalog.integrations().count() > 0);
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Catalog {
    integrations: BTreeMap<Slug, Arc<dyn Integration>>,
    skills: BTreeMap<(Slug, Slug), BTreeMap<Version, Arc<dyn Skill>>>,
}

/// An endpoint and the integration it belongs to.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The integration.
    pub integration: Arc<dyn Integration>,
    /// The endpoint.
    pub endpoint: Arc<dyn Endpoint>,
}

/// What can be asked for: an endpoint of an integration, or a skill.
#[derive(Debug, Clone)]
pub enum Action {
    /// One operation of an outside service.
    Endpoint(Operation),
    /// A piece of work.
    Skill(Arc<dyn Skill>),
}

impl Action {
    /// Its name.
    pub fn name(&self) -> ActionName {
        match self {
            Self::Endpoint(Operation { integration, endpoint }) => ActionName {
                namespace: integration.info().slug.clone(),
                name: endpoint.info().name.clone(),
            },
            Self::Skill(skill) => {
                let info = skill.info();
                ActionName { namespace: info.category.clone(), name: info.name.clone() }
            }
        }
    }

    /// What its inputs must look like.
    pub fn schema(&self) -> &Schema {
        match self {
            Self::Endpoint(operation) => &operation.endpoint.info().schema,
            Self::Skill(skill) => &skill.info().input,
        }
    }
}

impl Catalog {
    /// Builds a catalogue.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), with one detail per name that
    /// routes reserve or that stands twice.
    pub fn build(
        integrations: impl IntoIterator<Item = Arc<dyn Integration>>,
        skills: impl IntoIterator<Item = Arc<dyn Skill>>,
    ) -> Result<Self> {
        let (mut catalog, mut problems) = (Self::default(), Vec::new());
        for integration in integrations {
            let slug = integration.info().slug.clone();
            problems.extend(reserved(&slug));
            if catalog.integrations.insert(slug.clone(), integration).is_some() {
                problems.push(twice(slug.as_str()));
            }
        }
        for skill in skills {
            let info = skill.info();
            let (category, version) = (info.category.clone(), info.version);
            problems.extend(reserved(&category));
            let name = ActionName { namespace: category.clone(), name: info.name.clone() };
            let is_endpoint = catalog.find(&name).is_some();
            let versions = catalog.skills.entry((category, info.name.clone())).or_default();
            if is_endpoint || versions.insert(version, skill).is_some() {
                problems.push(twice(&format!("{name} {version}")));
            }
        }
        if problems.is_empty() {
            return Ok(catalog);
        }
        let all = problems.iter().map(|p| format!("`{}` {}", p.field, p.issue)).collect::<Vec<_>>();
        Err(Error::invalid(format!("the catalogue cannot be built: {}", all.join("; ")))
            .details(problems))
    }

    /// Finds an endpoint; `_` and `-` are alike.
    pub fn find(&self, name: &ActionName) -> Option<Operation> {
        let integration = self.integrations.get(&name.namespace)?;
        let endpoint = integration.endpoint(name.name.canonical())?;
        Some(Operation { integration: integration.clone(), endpoint })
    }

    /// Finds an action: an endpoint, or the newest version of a skill.
    pub fn action(&self, name: &ActionName) -> Option<Action> {
        let skill = || {
            let versions = self.skills.get(&(name.namespace.clone(), name.name.clone()))?;
            versions.values().next_back().cloned().map(Action::Skill)
        };
        self.find(name).map(Action::Endpoint).or_else(skill)
    }

    /// Finds an integration.
    pub fn integration(&self, slug: &Slug) -> Option<&Arc<dyn Integration>> {
        self.integrations.get(slug)
    }

    /// Every integration, by slug.
    pub fn integrations(&self) -> impl Iterator<Item = &Arc<dyn Integration>> {
        self.integrations.values()
    }

    /// Finds a skill in exactly this version; `v1` stands for the newest `v1.x`.
    pub fn skill(&self, category: &Slug, version: Version, name: &Slug) -> Option<&Arc<dyn Skill>> {
        let versions = self.skills.get(&(category.clone(), name.clone()))?;
        match version.minor {
            Some(_) => versions.get(&version),
            None => versions.iter().rfind(|(v, _)| v.major == version.major).map(|(_, s)| s),
        }
    }

    /// Every skill in every version.
    pub fn skills(&self) -> impl Iterator<Item = &Arc<dyn Skill>> {
        self.skills.values().flat_map(BTreeMap::values)
    }
}

fn reserved(slug: &Slug) -> Option<Detail> {
    let taken = slug.is_reserved() || MANAGEMENT.contains(&slug.canonical());
    taken.then(|| Detail::new(slug.as_str(), "is a reserved word: choose another name"))
}

fn twice(name: &str) -> Detail {
    Detail::new(name, "stands twice (`_` and `-` are alike): rename one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integration::{Overrides, declared};

    fn named(slug: &str) -> Arc<dyn Integration> {
        let text = "name = \"X\"\ndescription = \"X.\"\nbase_url = \"https://x.test\"\n\
                    auth = { scheme = \"none\" }\n[endpoints.get_it]\nsummary = \"Get\"\n\
                    method = \"GET\"\npath = \"/\"\n";
        declared(&format!("{slug}.toml"), text, &Overrides::default()).unwrap()
    }

    #[test]
    fn underscore_and_hyphen_find_the_same_endpoint() {
        let catalog = Catalog::build([named("my-x")], []).unwrap();
        let find = |namespace, name| {
            let namespace = Slug::parse(namespace).unwrap();
            catalog.find(&ActionName { namespace, name: Slug::parse(name).unwrap() }).is_some()
        };
        assert!(find("my_x", "get-it") && find("my-x", "get_it"));
        assert!(!find("my-x", "get"));
    }

    #[test]
    fn reserved_words_and_collisions_are_all_named() {
        let taken = [named("tools"), named("keys"), named("a_b"), named("a-b"), named("api_keys")];
        let error = Catalog::build(taken, []).unwrap_err();
        let fields = error.field_details().iter().map(|d| d.field.as_str()).collect::<Vec<_>>();
        assert_eq!(fields, ["tools", "keys", "a-b", "api_keys"]);
    }
}
