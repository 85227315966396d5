//! `skill catalog list`

use std::process::ExitCode;

use serde_json::json;

use super::verified;
use crate::{
    assemble,
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
        let columns = ["integration", "auth", "endpoints", "verified", "description"];
        output.show(&json!({ "integrations": items }), || table(&columns, &rows))?;
        Ok(ExitCode::SUCCESS)
    }
}
