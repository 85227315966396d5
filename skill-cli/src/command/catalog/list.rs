//! `skill catalog list`

use std::{process::ExitCode, sync::Arc};

use serde_json::{Value, json};
use skill_core::integration::Integration;

use super::verified;
use crate::{
    assemble,
    config::Config,
    context::{Context, Global},
    home::Home,
    output::table,
};

#[derive(Debug, clap::Args)]
pub(crate) struct List {}

impl List {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Context { loaded, output } = global.context()?;
        let all = assemble::integrations(&loaded.config, &Home::of(&loaded.config))?;
        let (mut items, mut rows) = (Vec::new(), Vec::new());
        for integration in &all {
            let info = integration.info();
            let (slug, auth) = (info.slug.as_str(), integration.auth().kind());
            let (count, proven) = (integration.endpoints().count(), verified(&**integration));
            items.push(json!({
                "slug": slug, "name": info.name, "auth_type": auth, "endpoint_count": count,
                "verified": proven, "description": info.description,
            }));
            let cells = [slug, auth, &count.to_string(), proven.unwrap_or("-"), &info.description];
            rows.push(cells.map(str::to_owned).to_vec());
        }
        let (skills, lines) = skills(&loaded.config, &all)?;
        let columns = ["integration", "auth", "endpoints", "verified", "description"];
        let shown = json!({ "integrations": items, "skills": skills });
        output.show(&shown, || {
            let skills = table(&["skill", "class", "tool", "file", "description"], &lines);
            format!("{}\n\n{skills}", table(&columns, &rows))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The skills that are documents: in JSON, and as rows.
fn skills(
    config: &Config,
    integrations: &[Arc<dyn Integration>],
) -> anyhow::Result<(Vec<Value>, Vec<Vec<String>>)> {
    let (mut items, mut rows) = (Vec::new(), Vec::new());
    for loaded in assemble::skills::workflows(config, &Home::of(config), integrations)? {
        let info = loaded.skill.info();
        let name = format!("{}/{}/{}", info.category, info.version, info.name);
        let tool = match (&info.tool.id, info.tool.is_hidden) {
            (_, true) => "-".to_owned(),
            (Some(id), false) => id.to_string(),
            (None, false) => format!("{}-{}", info.category.canonical(), info.name.canonical()),
        };
        items.push(json!({
            "name": name, "class": info.class.as_str(), "tool": tool, "file": loaded.file,
            "line": loaded.line, "description": info.summary,
        }));
        rows.push(vec![
            name,
            info.class.as_str().to_owned(),
            tool,
            loaded.file,
            info.summary.clone(),
        ]);
    }
    Ok((items, rows))
}
