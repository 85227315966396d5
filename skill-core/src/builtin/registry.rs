//! `platform/v1/get-skill`: an entry of the registry.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    name::{Slug, Version},
    record::execution::Class,
    skill::{Skill, SkillContext, from_fn},
    tool::{Category, Form},
};

#[derive(Deserialize, JsonSchema)]
struct Input {
    /// The category, such as web.
    category: String,
    /// The version, such as v1 or v1.2.
    version: String,
    /// The name, such as retrieve-site.
    name: String,
}

#[derive(Serialize, JsonSchema)]
struct Output {
    /// The category.
    category: String,
    /// The version in full.
    version: String,
    /// The name.
    skill_name: String,
    /// What it does.
    description: String,
    /// What it does to the outside: `read`, `write`, `destructive`.
    class: String,
    /// The schema of its input.
    parameters_schema: Value,
    /// The schema of its output.
    output_schema: Option<Value>,
    /// What a key needs to call it.
    required_scopes: Vec<String>,
    /// Whether it can be called.
    is_active: bool,
    /// Whether callers should move on.
    is_deprecated: bool,
}

pub(super) fn skill() -> Result<Arc<dyn Skill>> {
    from_fn("platform", "v1", "get-skill", run)
        .summary("Look a skill up in the registry: what it takes, gives and needs")
        .class(Class::Read)
        .tool(Form { category: Some(Category::Analysis), ..Form::default() })
        .build()
}

async fn run(context: SkillContext, input: Input) -> Result<Output> {
    let about = |field: &'static str| {
        move |error: Error| {
            Error::invalid("this names no skill").detail(field, error.message().to_owned())
        }
    };
    let category = Slug::parse(&input.category).map_err(about("category"))?;
    let version = Version::parse(&input.version).map_err(about("version"))?;
    let name = Slug::parse(&input.name).map_err(about("name"))?;
    // Another one may be there, and not for this key: the two cannot be told apart.
    let found = context.find(&category, version, &name).ok_or_else(|| {
        Error::not_found(format!("there is no skill `{category}/{version}/{name}`"))
    })?;
    let info = found.info();
    let own = info.action().to_string();
    let scopes = info.scopes.iter().map(ToString::to_string);
    Ok(Output {
        category: info.category.to_string(),
        version: info.version.to_string(),
        skill_name: info.name.to_string(),
        description: info.summary.clone(),
        class: info.class.as_str().to_owned(),
        parameters_schema: info.input.as_value().clone(),
        output_schema: info.output.as_ref().map(|schema| schema.as_value().clone()),
        required_scopes: std::iter::once(own).chain(scopes).collect(),
        is_active: info.is_active,
        is_deprecated: info.is_deprecated,
    })
}
