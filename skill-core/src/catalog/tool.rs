//! Actions as tools.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Action;
use crate::{
    call::Data,
    error::Result,
    name::{ActionName, Slug, Version},
    record::scope::Scopes,
    schema::Schema,
    tool::{Category, Example, Form, Status},
};

/// An action as a tool.
///
/// ```
/// use serde_json::json;
/// use skill_core::catalog::Catalog;
/// let catalog = Catalog::build(skill_core::integration::bundled(&Default::default()).unwrap(), [])?;
/// let tool = catalog.tool("github-list-prs").expect("a bundled tool");
/// let inputs = json!({"owner": "acme", "repo": "web", "state": "open"});
/// let params = tool.call(inputs.as_object().unwrap().clone())?;
/// assert_eq!(tool.action.to_string(), "github/list_prs");
/// assert_eq!(params["repo"], "acme/web");
/// # Ok::<(), skill_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Tool {
    /// Its id: lower-case words with hyphens between them.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What kind of tool it is.
    pub category: Category,
    /// What it does, in one line.
    pub description: String,
    /// How far it is to be relied on.
    pub status: Status,
    /// The action that it calls.
    pub action: ActionName,
    /// The version of the action, when it is a skill.
    pub version: Option<Version>,
    /// How many calls of one owner it takes in any 60 seconds.
    pub rate_limit: Option<u32>,
    /// How long a call may take, when it is another time than the engine's own.
    pub timeout: Option<Duration>,
    /// Where it is documented.
    pub documentation: Option<String>,
    of: Action,
    /// The schema of its inputs, when they are not the action's parameters.
    inputs: Option<Schema>,
    outputs: Option<Value>,
}

impl Tool {
    /// Makes the tool of an action; the error says what is wrong with its form.
    pub(super) fn of(action: &Action) -> Result<Self, String> {
        let form = action.form();
        let inputs = if form.inputs.is_plain() {
            None
        } else {
            let schema = form.inputs.schema(action.schema().as_value())?;
            let schema = action.schema().derive(schema);
            Some(schema.map_err(|error| error.message().to_owned())?)
        };
        let name = action.name();
        let derived = || format!("{}-{}", name.namespace.canonical(), name.name.canonical());
        let title = || format!("{} {}", action.namespace_title(), title(&name.name));
        let declared = form.outputs.as_ref().map(|outputs| outputs.schema());
        Ok(Self {
            id: form.id.as_ref().map_or_else(derived, |id| id.canonical().to_owned()),
            name: form.name.clone().unwrap_or_else(title),
            category: form.category.unwrap_or_else(|| action.category()),
            description: form.description.clone().unwrap_or_else(|| action.summary().to_owned()),
            status: action.status(),
            version: action.version(),
            rate_limit: action.rate_limit(),
            timeout: action.timeout(),
            documentation: action.documentation().map(str::to_owned),
            action: name,
            inputs,
            outputs: declared.or_else(|| action.output().map(|schema| schema.as_value().clone())),
            of: action.clone(),
        })
    }

    fn form(&self) -> &Form {
        self.of.form()
    }

    /// The JSON Schema of its inputs.
    pub fn inputs(&self) -> &Value {
        self.inputs.as_ref().map_or_else(|| self.of.schema().as_value(), Schema::as_value)
    }

    /// The JSON Schema of what it returns; `None` when nobody says.
    pub fn outputs(&self) -> Option<&Value> {
        self.outputs.as_ref()
    }

    /// Calls that show how it is used.
    pub fn examples(&self) -> &[Example] {
        &self.form().examples
    }

    /// The action's parameters for these inputs. Parameters that are inputs as they are, are
    /// checked when the action is called; whoever may not call it should not come this far.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) naming the inputs that do not
    /// fit, when its inputs are not the action's parameters.
    pub fn call(&self, inputs: Map<String, Value>) -> Result<Map<String, Value>> {
        let Some(schema) = &self.inputs else { return Ok(inputs) };
        let inputs = Value::Object(inputs);
        schema.check(&inputs)?;
        let Value::Object(inputs) = inputs else { return Ok(Map::new()) };
        self.form().inputs.params(inputs)
    }

    /// What it returns for the answer of a call that succeeded. An answer that needs no projection
    /// is not read.
    #[must_use]
    pub fn project(&self, data: &Data) -> Data {
        match &self.form().outputs {
            None => data.clone(),
            Some(outputs) => outputs.project(data),
        }
    }
}

/// A name as a title.
///
/// ```
/// use skill_core::{catalog::title, name::Slug};
/// assert_eq!(title(&Slug::parse("list_prs")?), "List Prs");
/// # Ok::<(), skill_core::Error>(())
/// ```
pub fn title(slug: &Slug) -> String {
    let words = slug.canonical().split('-').filter(|word| !word.is_empty()).map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Which tools are asked for.
///
/// ```
/// use skill_core::{catalog::ToolFilter, tool::Category};
/// let filter = ToolFilter { category: Some(Category::Security), ..ToolFilter::default() };
/// assert_eq!(filter.limit, 50);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ToolFilter {
    /// Only those of this category.
    pub category: Option<Category>,
    /// Only those of this status.
    pub status: Option<Status>,
    /// Only those that have a word beginning with each of these; the best ones first.
    pub search: Option<String>,
    /// Only those that these scopes may call.
    pub scopes: Option<Scopes>,
    /// At most so many.
    pub limit: usize,
    /// Without the first ones.
    pub offset: u64,
}

impl Default for ToolFilter {
    fn default() -> Self {
        Self { category: None, status: None, search: None, scopes: None, limit: 50, offset: 0 }
    }
}
