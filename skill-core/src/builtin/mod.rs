//! Skills that come with this crate, written in Rust. An engine has none of them unless its builder
//! is given them; the program gives it all.
//!
//! What they fetch was named by a caller, so it goes through the egress rules and carries no
//! credential; what needs one is a call of an integration. What they send is sent in steps that
//! are not repeated when nobody knows what became of them.

mod alert;
mod charset;
mod health;
mod lambda;
mod metrics;
mod page;
mod reach;
mod registry;
mod site;
mod webhook;

use std::sync::Arc;

use crate::{
    error::Result,
    name::Slug,
    skill::Skill,
    tool::{Category, Form},
};

/// Every one of these skills.
///
/// ```
/// let skills = skill_core::builtin::skills()?;
/// assert!(skills.iter().any(|skill| skill.info().action().to_string() == "web/retrieve-site"));
/// # Ok::<(), skill_core::Error>(())
/// ```
///
/// # Errors
/// None, as long as each is what it says.
pub fn skills() -> Result<Vec<Arc<dyn Skill>>> {
    Ok(vec![
        site::skill()?,
        registry::skill()?,
        webhook::skill()?,
        health::skill()?,
        metrics::skill()?,
        alert::skill()?,
        lambda::skill()?,
    ])
}

/// The form of a tool with this id.
fn form(id: &str, category: Category) -> Result<Form> {
    Ok(Form { id: Some(Slug::parse(id)?), category: Some(category), ..Form::default() })
}
