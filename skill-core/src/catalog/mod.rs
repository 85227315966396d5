//! The catalogue: every action there is, as an immutable snapshot.

mod search;
mod tool;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use crate::{
    endpoint::Endpoint,
    error::{Detail, Error, Result},
    integration::Integration,
    name::{ActionName, Slug, Version},
    record::{
        execution::Class,
        scope::{Scope, Scopes},
    },
    schema::Schema,
    skill::Skill,
    tool::{Category, Form, Status},
};

use self::search::Index;
pub use self::tool::{Tool, ToolFilter, title};

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
    /// By id.
    tools: BTreeMap<String, Arc<Tool>>,
    tool_ids: BTreeMap<ActionName, String>,
    index: Index,
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

    /// What it returns, when that is known.
    pub fn output(&self) -> Option<&Schema> {
        match self {
            Self::Endpoint(_) => None,
            Self::Skill(skill) => skill.info().output.as_ref(),
        }
    }

    /// What it does, in one line.
    pub fn summary(&self) -> &str {
        match self {
            Self::Endpoint(operation) => &operation.endpoint.info().summary,
            Self::Skill(skill) => &skill.info().summary,
        }
    }

    /// How far it is to be relied on. A skill before its version 1 is beta.
    pub fn status(&self) -> Status {
        match self {
            Self::Endpoint(operation) => operation.endpoint.info().status,
            Self::Skill(skill) if skill.info().is_deprecated => Status::Deprecated,
            Self::Skill(skill) if skill.info().version.major == 0 => Status::Beta,
            Self::Skill(_) => Status::Ready,
        }
    }

    /// How many calls of one owner it takes in any 60 seconds.
    pub fn rate_limit(&self) -> Option<u32> {
        match self {
            Self::Endpoint(operation) => operation.endpoint.info().rate_limit,
            Self::Skill(skill) => skill.info().rate_limit,
        }
    }

    /// How long it may take, when it is another time than the engine's own.
    pub fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Endpoint(operation) => operation.endpoint.info().timeout,
            Self::Skill(skill) => Some(skill.info().timeout),
        }
    }

    /// Its version, when it is a skill.
    pub fn version(&self) -> Option<Version> {
        match self {
            Self::Endpoint(_) => None,
            Self::Skill(skill) => Some(skill.info().version),
        }
    }

    /// What it does to the outside.
    pub fn class(&self) -> Class {
        match self {
            Self::Endpoint(operation) => operation.endpoint.info().class,
            Self::Skill(skill) => skill.info().class,
        }
    }

    /// How it shows itself as a tool.
    pub fn form(&self) -> &Form {
        match self {
            Self::Endpoint(operation) => &operation.endpoint.info().tool,
            Self::Skill(skill) => &skill.info().tool,
        }
    }

    /// Where it is documented.
    pub fn documentation(&self) -> Option<&str> {
        match self {
            Self::Endpoint(operation) => operation.endpoint.info().docs.as_deref(),
            Self::Skill(_) => None,
        }
    }

    fn category(&self) -> Category {
        match self {
            Self::Endpoint(_) => Category::Integration,
            Self::Skill(_) => Category::Automation,
        }
    }

    /// What it belongs to, among the actions of its integration or category.
    pub fn group(&self) -> &str {
        match self {
            Self::Endpoint(operation) => operation.endpoint.info().group.as_str(),
            Self::Skill(_) => "skills",
        }
    }

    /// What people call its integration or category.
    pub fn namespace_title(&self) -> String {
        match self {
            Self::Endpoint(operation) => operation.integration.info().name.clone(),
            Self::Skill(skill) => title(&skill.info().category),
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
        problems.extend(catalog.add_tools());
        if problems.is_empty() {
            return Ok(catalog);
        }
        let all = problems.iter().map(|p| format!("`{}` {}", p.field, p.issue)).collect::<Vec<_>>();
        Err(Error::invalid(format!("the catalogue cannot be built: {}", all.join("; ")))
            .details(problems))
    }

    /// Makes the tools; returns what is wrong with them.
    fn add_tools(&mut self) -> Vec<Detail> {
        let mut problems = Vec::new();
        for action in self.actions().filter(|action| !action.form().is_hidden).collect::<Vec<_>>() {
            let name = action.name();
            if name.name.is_raw() {
                problems.push(Detail::new(name.to_string(), "has the name of the raw door"));
            }
            let tool = match Tool::of(&action) {
                Ok(tool) => tool,
                Err(what) => {
                    problems.push(Detail::new(name.to_string(), format!("as a tool: {what}")));
                    continue;
                }
            };
            match self.tools.entry(tool.id.clone()) {
                Entry::Occupied(taken) => {
                    let issue = format!(
                        "is the tool id of both `{}` and `{name}`: give one of them another with \
                         `tool = {{ id = \"…\" }}`",
                        taken.get().action
                    );
                    problems.push(Detail::new(tool.id, issue));
                }
                Entry::Vacant(place) => {
                    self.tool_ids.insert(name, tool.id.clone());
                    place.insert(Arc::new(tool));
                }
            }
        }
        self.index = Index::new(self.tools.values().map(|tool| &**tool));
        problems
    }

    /// Finds an endpoint; `_` and `-` are alike.
    pub fn find(&self, name: &ActionName) -> Option<Operation> {
        let integration = self.integrations.get(&name.namespace)?;
        let endpoint = integration.endpoint(name.name.canonical())?;
        Some(Operation { integration: integration.clone(), endpoint })
    }

    /// Finds an action: an endpoint, or the newest active version of a skill.
    pub fn action(&self, name: &ActionName) -> Option<Action> {
        let skill = || {
            let versions = self.skills.get(&(name.namespace.clone(), name.name.clone()))?;
            newest(versions).cloned().map(Action::Skill)
        };
        self.find(name).map(Action::Endpoint).or_else(skill)
    }

    /// Every action: the endpoints, and the newest active version of each skill.
    pub fn actions(&self) -> impl Iterator<Item = Action> {
        let endpoints = self.integrations.values().flat_map(operations).map(Action::Endpoint);
        let skills = self.skills.values().filter_map(newest).cloned().map(Action::Skill);
        endpoints.chain(skills)
    }

    /// The actions of an integration or a category.
    pub fn actions_of(&self, namespace: &Slug) -> Vec<Action> {
        let integration = self.integrations.get(namespace);
        let endpoints = integration.into_iter().flat_map(operations).map(Action::Endpoint);
        let skills = self.skills.iter().filter(|((category, _), _)| category == namespace);
        let skills = skills.filter_map(|(_, versions)| newest(versions)).cloned();
        endpoints.chain(skills.map(Action::Skill)).collect()
    }

    /// Every integration and every category of which there is an action, by name.
    pub fn namespaces(&self) -> BTreeSet<&Slug> {
        let active = self.skills.iter().filter(|(_, versions)| newest(versions).is_some());
        self.integrations.keys().chain(active.map(|((category, _), _)| category)).collect()
    }

    /// Finds a tool by its id; `_` and `-` are alike.
    pub fn tool(&self, id: &str) -> Option<&Arc<Tool>> {
        if id.contains('_') {
            return self.tools.get(&id.replace('_', "-"));
        }
        self.tools.get(id)
    }

    /// The tool that an action is, when it is one.
    pub fn tool_of(&self, action: &ActionName) -> Option<&Arc<Tool>> {
        self.tools.get(self.tool_ids.get(action)?)
    }

    /// The tools that fit `filter`, and how many there are without its limit and offset. The order
    /// is that of the ids; of a search, the best ones first.
    pub fn tools(&self, filter: &ToolFilter) -> (Vec<Arc<Tool>>, u64) {
        let all = self.tools.values().collect::<Vec<_>>();
        let found = filter.search.as_deref().and_then(|text| self.index.find(text));
        let ordered: Box<dyn Iterator<Item = &Arc<Tool>> + '_> = match found {
            None => Box::new(self.tools.values()),
            Some(found) => {
                Box::new(found.into_iter().filter_map(move |at| all.get(at as usize).copied()))
            }
        };
        let skip = usize::try_from(filter.offset).unwrap_or(usize::MAX);
        let (mut page, mut total) = (Vec::new(), 0_usize);
        for tool in ordered.filter(|tool| is_asked_for(tool, filter)) {
            if total >= skip && page.len() < filter.limit {
                page.push(tool.clone());
            }
            total += 1;
        }
        (page, total as u64)
    }

    /// Finds an integration.
    pub fn integration(&self, slug: &Slug) -> Option<&Arc<dyn Integration>> {
        self.integrations.get(slug)
    }

    /// Every integration, by slug.
    pub fn integrations(&self) -> impl Iterator<Item = &Arc<dyn Integration>> {
        self.integrations.values()
    }

    /// Finds an active skill in exactly this version; `v1` stands for the newest active `v1.x`.
    pub fn skill(&self, category: &Slug, version: Version, name: &Slug) -> Option<&Arc<dyn Skill>> {
        let versions = self.skills.get(&(category.clone(), name.clone()))?;
        match version.minor {
            Some(_) => versions.get(&version).filter(|skill| skill.info().is_active),
            None => {
                let is_it = |v: &Version, s: &Arc<dyn Skill>| {
                    v.major == version.major && s.info().is_active
                };
                versions.iter().rfind(|(v, s)| is_it(v, s)).map(|(_, s)| s)
            }
        }
    }

    /// Every active skill in every version.
    pub fn skills(&self) -> impl Iterator<Item = &Arc<dyn Skill>> {
        self.skills.values().flat_map(BTreeMap::values).filter(|skill| skill.info().is_active)
    }
}

fn operations(integration: &Arc<dyn Integration>) -> impl Iterator<Item = Operation> {
    let of = |endpoint| Operation { integration: integration.clone(), endpoint };
    integration.endpoints().map(of)
}

fn newest(versions: &BTreeMap<Version, Arc<dyn Skill>>) -> Option<&Arc<dyn Skill>> {
    versions.values().rfind(|skill| skill.info().is_active)
}

fn is_asked_for(tool: &Tool, filter: &ToolFilter) -> bool {
    filter.category.is_none_or(|category| category == tool.category)
        && filter.status.is_none_or(|status| status == tool.status)
        && filter.scopes.as_ref().is_none_or(|scopes| may_call(scopes, &tool.action))
}

fn may_call(scopes: &Scopes, action: &ActionName) -> bool {
    scopes.allows(&Scope::Action(action.clone()))
}

fn reserved(slug: &Slug) -> Option<Detail> {
    let taken = slug.is_reserved() || MANAGEMENT.contains(&slug.canonical());
    taken.then(|| Detail::new(slug.as_str(), "is a reserved word: choose another name"))
}

fn twice(name: &str) -> Detail {
    Detail::new(name, "stands twice (`_` and `-` are alike): rename one")
}

#[cfg(test)]
mod tests;
